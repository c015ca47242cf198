"""Tests for L{moxsmtp.tls.client_key}."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import Domain
from moxsmtp.tls import client_key as module
from moxsmtp.tls.client_key import client_key, key_fingerprint, public_key_info
from moxsmtp.tls.server import Manners, ServerTLS
from tests.tls.hands import Pair, client_context, made_pair, meet


def der(pair: Pair) -> bytes:
    """The certificate's octets."""
    made = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
    return made.public_bytes(Encoding.DER)


class PublicKeyInfoTests(SynchronousTestCase):
    """Reading DER."""

    def test_found(self) -> None:
        """The key of a certificate is found, of each kind and however long its names are."""
        folder = self.mktemp()
        for pair in (
            made_pair(folder, "short"),
            made_pair(folder, "x" * 60, *(f"host{number}.example" for number in range(99))),
            made_pair(folder, "rivest", rsa_bits=2048),
        ):
            self.assertEqual(pair.public, public_key_info(der(pair)))
            self.assertEqual(pair.public, public_key_info(der(pair) + b"more"))

    def test_first_version(self) -> None:
        """A certificate of version 1 does not say its version; RFC 5280 section 4.1.2.1."""
        key = b"\x30\x03key"
        body = b"\x02\x01\x07" + b"\x30\x00" * 4 + key
        made = b"\x30" + bytes([len(body) + 2]) + b"\x30" + bytes([len(body)]) + body
        self.assertEqual(key, public_key_info(made))
        versioned = b"\xa0\x03\x02\x01\x00" + body
        made = b"\x30" + bytes([len(versioned) + 2]) + b"\x30" + bytes([len(versioned)]) + versioned
        self.assertEqual(key, public_key_info(made))

    def test_cut_off(self) -> None:
        """No beginning of a certificate is one."""
        octets = der(made_pair(self.mktemp(), "me"))
        for end in range(len(octets)):
            self.assertRaises(ValueError, public_key_info, octets[:end])

    def test_indefinite(self) -> None:
        """A length that is left open is no DER; nor is one that would never end."""
        for octets in (b"\x30\x80\x30\x80\0\0\0\0", b"\x30\xff" + b"\xff" * 300):
            self.assertRaises(ValueError, public_key_info, octets)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=80))
    def test_nonsense(self, octets: bytes) -> None:
        """Any octets have a key inside, or are refused."""
        try:
            found = public_key_info(octets)
        except ValueError:
            return
        self.assertIn(found, octets)
        self.assertEqual(b"\x30", found[:1])


class ClientKeyTests(SynchronousTestCase):
    """Of connections."""

    def setUp(self) -> None:
        folder = self.mktemp()
        self.mine = made_pair(folder, "me")
        pair = made_pair(folder, "mx.example")
        self.server = ServerTLS([pair], Domain("mx.example"), Manners(asks_client=True))

    def key(self, pair: Pair | None) -> str:
        """What is told of a client that has this."""
        return client_key(meet(self.server, client_context(pair=pair))[0])

    def test_fingerprint(self) -> None:
        """It is that of the key as it was sent (S-37)."""
        self.assertEqual(key_fingerprint(self.mine.public), self.key(self.mine))
        self.assertEqual("", self.key(None))

    def test_form(self) -> None:
        """It is a SHA-256 in base64url without padding (S-37); RFC 4648 section 5."""
        # FIPS 180-2 appendix B.1: ba7816bf 8f01cfea 414140de ... f20015ad.
        self.assertEqual("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0", key_fingerprint(b"abc"))

    def test_unreadable(self) -> None:
        """A certificate whose key is not found counts as one that is unknown, not as none (T-7)."""

        def refuse(_: bytes) -> bytes:
            raise ValueError

        self.patch(module, "public_key_info", refuse)
        self.assertEqual(key_fingerprint(der(self.mine)), self.key(self.mine))
