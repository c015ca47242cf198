"""Keys to sign with."""

from __future__ import annotations

import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.dkim import KEY_KINDS, InvalidKey, generate_key, load_private_key, public_record
from moxsmtp.dkim.key import parse_key_record
from tests.dkim import keys


class LoadTests(unittest.SynchronousTestCase):
    """Key files."""

    def test_made_by_openssl(self) -> None:
        """PKCS#1 and PKCS#8 hold the same RSA key; its record is what openssl prints."""
        expected = f"v=DKIM1; k=rsa; p={keys.RSA_PUBLIC.decode()}"
        for pem in (keys.RSA_PKCS1, keys.RSA_PKCS8):
            key = load_private_key(pem)
            self.assertIsInstance(key, RSAPrivateKey)
            self.assertEqual(public_record(key), expected)

    def test_ed25519_made_by_openssl(self) -> None:
        """An Ed25519 key's record has the bare 32 octets (RFC 8463 section 4.2)."""
        key = load_private_key(keys.ED25519)
        self.assertIsInstance(key, Ed25519PrivateKey)
        expected = f"v=DKIM1; k=ed25519; p={keys.ED25519_PUBLIC.decode()}"
        self.assertEqual(public_record(key), expected)

    def test_short(self) -> None:
        """1024 bits can be used; less, verifiers refuse, and so do we."""
        self.assertIsInstance(load_private_key(keys.RSA_1024), RSAPrivateKey)
        error = self.assertRaises(InvalidKey, load_private_key, keys.RSA_768)
        self.assertIn("768", str(error))

    def test_no_keys(self) -> None:
        """Other kinds, passphrases, public keys and damage are told without the file's text."""
        for pem in (
            keys.EC, keys.RSA_ENCRYPTED, b"", b"\0\xff", keys.RSA_PKCS8[:300],
            keys.RSA_PKCS8.replace(b"A", b"B"),
        ):  # fmt: skip
            error = self.assertRaises(InvalidKey, load_private_key, pem)
            self.assertIsNone(re.search(r"[A-Za-z0-9+/]{20}", str(error)))

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=60), st.integers(28, 1600))
    def test_anything(self, octets: bytes, place: int) -> None:
        """Damaged key files are keys or are refused in the declared way."""
        for pem in (octets, keys.RSA_PKCS8[:place] + octets + keys.RSA_PKCS8[place:]):
            try:
                load_private_key(pem)
            except InvalidKey:
                continue


class GenerateTests(unittest.SynchronousTestCase):
    """New keys."""

    def test_kinds(self) -> None:
        """A key of each kind can be loaded, is of its length and has a record to verify with."""
        for kind in ("rsa2048", "ed25519"):
            pem = generate_key(kind)
            self.assertTrue(pem.startswith(b"-----BEGIN PRIVATE KEY-----\n"))
            record = parse_key_record(public_record(load_private_key(pem)).encode())
            self.assertEqual((record.bits, record.problem), (KEY_KINDS[kind], ""))

    def test_two_differ(self) -> None:
        """No two keys are the same."""
        self.assertNotEqual(generate_key("ed25519"), generate_key("ed25519"))

    def test_other_kind(self) -> None:
        """There are no other kinds."""
        for kind in ("rsa1024", "", "dsa"):
            self.assertRaises(ValueError, generate_key, kind)

    def test_testing(self) -> None:
        """A record may ask that failures count for nothing."""
        text = public_record(load_private_key(keys.ED25519), testing=True)
        self.assertTrue(parse_key_record(text.encode()).testing)
        self.assertTrue(text.startswith("v=DKIM1; k=ed25519; t=y; p="))
