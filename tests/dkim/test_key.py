"""Key records."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.dkim.key import InvalidKey, KeyRecord, parse_key_record
from tests.dkim import keys
from tests.dkim.forging import ED25519_RECORD, RECORD


def record_of(der: bytes) -> bytes:
    """A record with that key."""
    return b"p=" + base64.b64encode(der)


class ReadTests(unittest.SynchronousTestCase):
    """RFC 6376 section 3.6.1."""

    def test_usual(self) -> None:
        """A usual record is an RSA key for all services and hashes."""
        record = parse_key_record(RECORD)
        self.assertIsInstance(record.key, RSAPublicKey)
        self.assertEqual(
            (record.type, record.problem, record.bits, record.hashes, record.services),
            ("rsa", "", 2048, (), ("*",)),
        )
        self.assertFalse(record.testing or record.strict)

    def test_defaults(self) -> None:
        """C{p=} is enough."""
        self.assertEqual(parse_key_record(b"p=" + keys.RSA_PUBLIC).bits, 2048)

    def test_every_tag(self) -> None:
        """All tags are read, unknown ones and notes passed over; white space does no harm."""
        folded = b" \r\n ".join(keys.RSA_PUBLIC[at : at + 70] for at in range(0, 400, 70))
        text = (
            b"v=DKIM1 ; h = sha1 : SHA256;k=rsa; n=some=20notes here; zz=1; s=email:other;"
            b"t=y : s : u; p=" + folded
        )
        record = parse_key_record(text)
        self.assertEqual(record.hashes, ("sha1", "sha256"))
        self.assertEqual(record.services, ("email", "other"))
        self.assertEqual((record.testing, record.strict, record.bits), (True, True, 2048))

    def test_pkcs1(self) -> None:
        """A bare RSAPublicKey, which many publish, is the same key."""
        bare = parse_key_record(b"p=" + keys.RSA_PUBLIC_PKCS1)
        self.assertEqual(bare.key, parse_key_record(RECORD).key)

    def test_ed25519(self) -> None:
        """RFC 8463 section 4: 32 octets as they are."""
        record = parse_key_record(ED25519_RECORD)
        self.assertIsInstance(record.key, Ed25519PublicKey)
        self.assertEqual((record.type, record.bits), ("ed25519", 0))

    def test_revoked(self) -> None:
        """An empty C{p=} is a key that was revoked."""
        for text in (b"v=DKIM1; p=", b"p=;", b"k=ed25519; p= ;t=y"):
            record = parse_key_record(text)
            self.assertEqual((record.key, record.problem), (None, "key is revoked"))

    def test_unknown_type(self) -> None:
        """A type that nobody knows is told, and its key not decoded."""
        record = parse_key_record(b"k=rot13; p=!")
        self.assertEqual((record.key, record.problem), (None, "unknown type of key"))

    def test_no_records(self) -> None:
        """Other records, other versions and what cannot be decoded are no key."""
        for text in (
            b"v=spf1 -all", b"", b"hello", b"v=DKIM2; p=" + keys.RSA_PUBLIC,
            b"k=rsa; v=DKIM1; p=" + keys.RSA_PUBLIC, b"v=dkim1; p=" + keys.RSA_PUBLIC,
            b"v=DKIM1; k=rsa", b"p=A", b"p=!!!!", b"p=AAAA", b"k=ed25519; p=AAAA",
            b"k=ed25519; p=" + keys.RSA_PUBLIC, b"p=" + keys.ED25519_PUBLIC,
            b"p=" + keys.RSA_PUBLIC + b"; p=", RECORD + b"\0", RECORD[:-9], RECORD + b"AAAA",
        ):  # fmt: skip
            self.assertRaises(InvalidKey, parse_key_record, text)

    def test_key_of_another_kind(self) -> None:
        """A key of elliptic curves does not pass for RSA."""
        public = load_pem_private_key(keys.EC, None).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertRaises(InvalidKey, parse_key_record, record_of(der))


class LengthTests(unittest.SynchronousTestCase):
    """Keys that are too short to prove anything or too long to compute.  RFC 8301 section 3.2."""

    def test_lengths(self) -> None:
        """1024 to 8192 bits are used; of others the length is told."""
        lengths = {512: False, 1023: False, 1024: True, 8192: True, 8193: False, 16384: False}
        records = {bits: parse_key_record(record_of(keys.rsa_public(bits))) for bits in lengths}
        self.assertEqual({bits: one.key is not None for bits, one in records.items()}, lengths)
        self.assertEqual([one.bits for one in records.values()], list(lengths))
        self.assertIn("too short", records[1023].problem)
        self.assertIn("too long", records[16384].problem)

    def test_longer_than_told(self) -> None:
        """Beyond 16384 bits a key is not even decoded."""
        record = parse_key_record(record_of(keys.rsa_public(20000)))
        self.assertEqual((record.key, record.bits, record.problem), (None, 0, "key is too long"))

    def test_exponent(self) -> None:
        """An exponent made to cost time is refused."""
        usual = parse_key_record(record_of(keys.rsa_public(2048, 3)))
        self.assertIsNotNone(usual.key)
        costly = parse_key_record(record_of(keys.rsa_public(2048, 2**2000 + 1)))
        self.assertEqual((costly.key, costly.problem), (None, "key is too long"))

    def test_long_record(self) -> None:
        """A record of 64 KiB is not read."""
        self.assertRaises(InvalidKey, parse_key_record, RECORD + b"; n=" + b"x" * 65000)
        self.assertEqual(parse_key_record(RECORD + b"; n=" + b"x" * 5000).bits, 2048)

    def test_no_verification_without_key(self) -> None:
        """Nothing is signed by a key that is not there."""
        self.assertFalse(KeyRecord("rsa", None).has_signed(b"", b""))


class AnythingTests(unittest.SynchronousTestCase):
    """Records made by anybody."""

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=80) | st.text("vkptsh=; DKIM1rsa:y", max_size=50).map(str.encode))
    def test_octets(self, text: bytes) -> None:
        """Any octets are a record or are refused in the declared way."""
        try:
            parse_key_record(text)
        except InvalidKey:
            return

    @settings(max_examples=300, deadline=None)
    @given(
        st.integers(0, 293),
        st.binary(min_size=1, max_size=3),
        st.sampled_from([b"rsa", b"ed25519"]),
    )
    def test_damaged_keys(self, place: int, octets: bytes, type_: bytes) -> None:
        """A key with some octets changed is a key or is refused; and it verifies nothing."""
        der = base64.b64decode(keys.RSA_PUBLIC)
        der = der[:place] + octets + der[place + len(octets) :]
        try:
            record = parse_key_record(b"k=" + type_ + b"; " + record_of(der))
        except InvalidKey:
            return
        self.assertFalse(record.has_signed(octets * 128, b"x"))
