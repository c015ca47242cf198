"""Signed mail by way of Postfix into our checks, whose word a strict reader reads."""

from __future__ import annotations

import smtplib
from email import message_from_bytes
from typing import Final

import dkim  # type: ignore[import-untyped]  # has no annotations
from authres import (  # type: ignore[import-untyped]  # has no annotations
    AuthenticationResultsHeader,
)
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from moxsmtp.dkim import public_record
from tests.peers.check_delivery import resolver
from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.server import ADDRESS, Layout, Server, ServerTestCase
from tests.peers.unbound import Unbound

_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PEM: Final = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

_HEADER: Final = (
    b"From: Peer <peer@mail.there.test>\r\n"
    b"To: " + ADDRESS.encode() + b"\r\n"
    b"Subject: =?utf-8?q?relayed_caf=C3=A9?=\r\n"
    b"Date: Sun, 01 Mar 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@mail.there.test>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
)

#: What a relay, a reader of dots or a canonicalisation might stumble over.
_BODY: Final = (
    b"gr\xc3\xbc\xc3\x9fe  with   spaces \t \r\n.\r\n..\r\n.dots\r\n\r\n\r\nFrom here\r\n"
    + b"x" * 900
    + b"\r\n \t\r\n\r\n"
)


def quoted(text: str) -> str:
    """The strings of a TXT record in a zone file."""
    return " ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))


class RelayedTests(ServerTestCase):
    """A domain with a key, SPF and a DMARC policy; Postfix is its mail server."""

    programs = ("postfix", "unbound")

    def setUp(self) -> None:
        super().setUp()
        zone = (
            f"good._domainkey 60 IN TXT {quoted(public_record(_KEY))}\n"
            '_dmarc 60 IN TXT "v=DMARC1; p=reject"\n'
            'mail 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n'
            "@ 60 IN A 192.0.2.1\nmail 60 IN A 192.0.2.1\nelsewhere 60 IN A 192.0.2.1\n"
            'elsewhere 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"\n'
        )
        unbound = Unbound(self.folder / "unbound", {"there.test": zone})
        self.addCleanup(unbound.end)
        self.server = self.start(Layout(tables={"resolver": resolver(unbound)}), page="/readyz")
        smtp = self.server.ports["smtp"]
        self.postfix = Postfix(self.folder / "postfix", routes={"here.test": f"127.0.0.1:{smtp}"})
        self.addCleanup(self.postfix.end)

    def signed(self, body: bytes = _BODY) -> bytes:
        """The message, with dkimpy's signature in front."""
        message = _HEADER + b"\r\n" + body
        signature: bytes = dkim.sign(message, b"good", b"there.test", _PEM)
        return signature + message

    def relayed(self, message: bytes, sender: str) -> bytes:
        """The message as our server stored it when Postfix had relayed it."""
        with smtplib.SMTP(self.postfix.address, self.postfix.port) as client:
            client.sendmail(sender, [ADDRESS], message, ["BODY=8BITMIME"])
        until(lambda: bool(self.server.mail()), what="it comes", log=self.server.log)
        return self.server.raw(self.server.mail()[0]["id"])

    def results(self, raw: bytes) -> dict[str, str]:
        """The first Authentication-Results, as the library authres reads it."""
        fields = message_from_bytes(raw).get_all("Authentication-Results") or []
        self.assertEqual(1, len(fields))
        header = AuthenticationResultsHeader.parse(f"Authentication-Results: {fields[0]}")
        self.assertEqual("mx.here.test", header.authserv_id)
        return {result.method: result.result for result in header.results}

    def known(self, server: Server) -> dict[str, object]:
        """What C{moxsmtp mail list --json} says of the message's sender."""
        entry = server.mail()[0]
        names = ("mail_from_validation", "author_validation", "author_domain", "dkim_domains")
        return {name: entry[name] for name in names}

    def test_unharmed(self) -> None:
        """
        What Postfix relays is stored as it was signed, every check passes, and
        the outcome is kept with it (I-1, I-105).
        """
        message = self.signed()
        raw = self.relayed(message, "peer@mail.there.test")
        self.assertTrue(raw.endswith(message), raw[-len(message) - 500 :])
        self.assertEqual(
            {"iprev": "pass", "dkim": "pass", "spf": "pass", "dmarc": "pass"}, self.results(raw)
        )
        self.assertEqual(
            {
                "mail_from_validation": "pass",
                "author_validation": "strict",
                "author_domain": "mail.there.test",
                "dkim_domains": ["there.test"],
            },
            self.known(self.server),
        )
        received_spf = message_from_bytes(raw)["Received-SPF"]
        self.assertTrue(received_spf.startswith("pass "), received_spf)
        self.assertIn("identity=mailfrom", received_spf)

    def test_forwarded(self) -> None:
        """
        SPF alone fails where another server's client forwards; the signature
        still speaks for the author.
        """
        raw = self.relayed(self.signed(), "peer@elsewhere.there.test")
        self.assertEqual(
            {"iprev": "pass", "dkim": "pass", "spf": "fail", "dmarc": "pass"}, self.results(raw)
        )

    def test_altered(self) -> None:
        """
        A message that was altered fails, whatever it says of itself: a field
        in our name is gone (I-119).  It is stored: nothing is refused for it.
        """
        forged = b"Authentication-Results: mx.here.test; dmarc=pass\r\n"
        message = forged + self.signed() + b"and more\r\n"
        raw = self.relayed(message, "peer@elsewhere.there.test")
        self.assertEqual(
            {"iprev": "pass", "dkim": "fail", "spf": "fail", "dmarc": "fail"}, self.results(raw)
        )
        self.assertEqual("none", self.known(self.server)["author_validation"])
