"""Tests for L{moxsmtp.admin.cli_tlspubkey}."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from moxsmtp.admin.client import CommandRefused
from tests.admin.test_cli import CLITestCase

PRIVATE: Final = ec.generate_private_key(ec.SECP256R1())
PUBLIC: Final = PRIVATE.public_key()
SPKI: Final = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
FINGERPRINT: Final = (
    base64.urlsafe_b64encode(hashlib.sha256(SPKI).digest()).decode().removesuffix("=")
)


def certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "laptop")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(PUBLIC)
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(PRIVATE, hashes.SHA256())
    )


ENTRY = {
    "fingerprint": FINGERPRINT, "account": "alice", "login": "a\x1b@example.org",
    "name": "laptop", "created": "2026-01-02T03:04:05.000+00:00",
}  # fmt: skip


class KeyTests(CLITestCase):
    """C{moxsmtp tlspubkey}."""

    def file(self, octets: bytes) -> str:
        path = self.folder / "key"
        path.write_bytes(octets)
        return str(path)

    def test_add(self) -> None:
        """
        Certificates and public keys, PEM or DER, by their key: its
        SubjectPublicKeyInfo is what counts (S-37).
        """
        self.answer = [ENTRY]
        made = certificate()
        for octets in (
            made.public_bytes(Encoding.PEM),
            made.public_bytes(Encoding.DER),
            SPKI,
            PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ):
            self.calls.clear()
            result = self.run_cli("tlspubkey", "add", "a@example.org", self.file(octets))
            self.assertEqual(
                [call[1:3] for call in self.calls],
                [
                    (
                        "tlspubkey.add",
                        {"login": "a@example.org", "fingerprint": FINGERPRINT, "name": ""},
                    )
                ],
            )
            self.assertIn(FINGERPRINT, result.output)
            self.assertNotIn("\x1b", result.output)

    def test_standard_input(self) -> None:
        """Without a file, and for C{-}, it is read from standard input."""
        pem = certificate().public_bytes(Encoding.PEM).decode()
        for more in ((), ("-",)):
            self.calls.clear()
            self.run_cli("tlspubkey", "add", "a@example.org", *more, "--name", "x", input=pem)
            self.assertEqual(self.calls[0][2]["fingerprint"], FINGERPRINT)
            self.assertEqual(self.calls[0][2]["name"], "x")

    def test_mistakes(self) -> None:
        """A private key, something else, no file: told, and the server is not asked."""
        private = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for octets, told in (
            (private, "holds a private key"),
            (private + certificate().public_bytes(Encoding.PEM), "holds a private key"),
            (b"", "neither a certificate nor a public key"),
            (b"-----BEGIN CERTIFICATE-----\nx\n", "neither a certificate"),
            (b"-----BEGIN PUBLIC KEY-----\nx\n", "neither a certificate"),
            (SPKI[:-1], "neither a certificate"),
        ):
            result = self.run_cli("tlspubkey", "add", "a@x.example", self.file(octets), status=1)
            self.assertIn(told, result.output)
        result = self.run_cli("tlspubkey", "add", "a@x.example", "/nowhere/x.pem", status=1)
        self.assertIn("cannot read /nowhere/x.pem", result.output)
        self.assertEqual(self.calls, [])

    def test_refused(self) -> None:
        """What the server says against it is told."""
        self.answer = [CommandRefused("no account has the address")]
        result = self.run_cli("tlspubkey", "add", "a@x.example", self.file(SPKI), status=1)
        self.assertIn("moxsmtp: no account has the address", result.output)

    def test_list(self) -> None:
        """Each with whose it is, without control characters; or JSON; or that there are none."""
        self.answer = [ENTRY]
        result = self.run_cli("tlspubkey", "list", "alice")
        self.assertEqual(
            result.output.splitlines(),
            [
                FINGERPRINT,
                '    a\\x1b@example.org of account alice, "laptop" added 2026-01-02 03:04:05',
            ],
        )
        self.assertEqual(self.calls[0][1:3], ("tlspubkey.list", {"account": "alice"}))
        result = self.run_cli("tlspubkey", "list", "--json")
        self.assertEqual(json.loads(result.output), ENTRY)
        self.answer = []
        self.assertEqual(self.run_cli("tlspubkey", "list").output, "no keys\n")

    def test_remove(self) -> None:
        """By its fingerprint, which may begin with a dash or two."""
        self.answer = [ENTRY]
        result = self.run_cli("tlspubkey", "remove", FINGERPRINT)
        self.assertEqual(self.calls[0][1:3], ("tlspubkey.remove", {"fingerprint": FINGERPRINT}))
        self.assertIn("removed the key of a", result.output)
        for text in ("-4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg", "--bQgYhMf", "-j"):
            self.run_cli("tlspubkey", "remove", text)
            self.assertEqual(self.calls[-1][2], {"fingerprint": text})
        self.assertEqual(
            json.loads(self.run_cli("tlspubkey", "remove", "x", "--json").output), ENTRY
        )
