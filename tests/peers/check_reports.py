"""Reports on SMTPUTF8 messages that leave for a Postfix, which takes SMTPUTF8 or does not."""

from __future__ import annotations

import smtplib
from email import message_from_bytes
from email.message import Message
from typing import Final

from tests.peers.check_delivery import HOST, DeliveryTestCase
from tests.peers.postfix import Postfix
from tests.peers.process import PATIENCE, until
from tests.peers.server import ADDRESS, Server

SENDER: Final = "peer@there.test"

#: No such domain: it fails at once, for good.
LOST: Final = "grüße@lost.there.test"

_ZONE: Final = f"@ 60 IN MX 10 mx\nmx 60 IN A {HOST}\n"
_RELAY: Final = '[[relay]]\nname = "peer"\nnetworks = ["127.0.0.1/32"]\n'


class FormTests(DeliveryTestCase):
    """The two forms of a report (Q-6, Q-36, Q-38)."""

    programs = ("postfix", "unbound")

    def pair(self, settings: str, rest: str = _RELAY) -> tuple[Server, Postfix]:
        """Our server, which may relay for this machine, and a Postfix that has the sender."""
        dns = self.dns({"there.test": _ZONE})
        postfix = self.postfix(domains=("there.test",), address=HOST, settings=settings)
        return self.start_for(dns, postfix.port, rest=rest), postfix

    def hand_in(self, server: Server, recipient: str, *notify: str) -> None:
        """A message with more than ASCII in its header."""
        text = f"From: {SENDER}\r\nTo: {recipient}\r\nSubject: grüße\r\n\r\nß\r\n".encode()
        with smtplib.SMTP(
            "127.0.0.1", server.ports["smtp"], "client.test", timeout=PATIENCE
        ) as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            self.assertEqual(client.mail(SENDER, ["SMTPUTF8", "BODY=8BITMIME"])[0], 250)
            self.assertEqual(client.rcpt(recipient, notify)[0], 250)
            self.assertEqual(client.data(text)[0], 250)

    def report(self, server: Server, postfix: Postfix) -> bytes:
        """The one that comes to Postfix; then nothing of it waits any more."""
        until(lambda: len(postfix.messages()) == 1, what="it arrives", log=server.log)
        until(lambda: server.queue() == [], what="the queue is empty", log=server.log)
        return postfix.messages()[0]

    def assertWide(self, raw: bytes) -> None:
        """It is the form in UTF-8."""
        self.assertRegex(raw, rb"with UTF8SMTPS? ")
        self.assertEqual(
            types(raw), ["text/plain", "message/global-delivery-status", "message/global-headers"]
        )
        self.assertIn("Subject: grüße".encode(), raw)

    def assertPlain(self, raw: bytes) -> None:
        """It is the form in ASCII."""
        self.assertNotIn(b"UTF8SMTP", raw)
        self.assertTrue(raw.isascii())
        self.assertEqual(
            types(raw), ["text/plain", "message/delivery-status", "text/rfc822-headers"]
        )

    def test_postfix_with_smtputf8(self) -> None:
        """A report of failure goes to a Postfix that announces SMTPUTF8 in UTF-8 (Q-38)."""
        server, postfix = self.pair("smtputf8_enable = yes\n")
        self.hand_in(server, LOST)
        raw = self.report(server, postfix)
        self.assertWide(raw)
        self.assertIn(f"Final-Recipient: utf-8; {LOST}".encode(), raw)

    def test_postfix_without(self) -> None:
        """To one that does not it goes in ASCII, and arrives all the same (Q-38)."""
        server, postfix = self.pair("smtputf8_enable = no\n")
        self.hand_in(server, LOST)
        raw = self.report(server, postfix)
        self.assertPlain(raw)
        self.assertIn(rb"Final-Recipient: utf-8; gr\x{FC}\x{DF}e@lost.there.test", raw)

    def test_without_8bitmime(self) -> None:
        """SMTPUTF8 alone is not enough: without 8BITMIME it goes in ASCII (Q-38)."""
        server, postfix = self.pair(
            "smtputf8_enable = yes\nsmtpd_discard_ehlo_keywords = 8bitmime, silent-discard\n"
        )
        self.hand_in(server, LOST)
        self.assertPlain(self.report(server, postfix))

    def test_incoming(self) -> None:
        """A report on a message that came in has both forms, too (Q-38)."""
        server, postfix = self.pair("smtputf8_enable = yes\n", rest="")
        self.hand_in(server, ADDRESS, "NOTIFY=SUCCESS")
        raw = self.report(server, postfix)
        self.assertWide(raw)
        self.assertIn(b"Action: delivered", raw)

    def test_waiting(self) -> None:
        """
        While a report waits C{queue show} tells that it has a form in UTF-8 (Q-6); after
        a restart it leaves in that form.
        """
        server, postfix = self.pair("smtputf8_enable = yes\n")
        server.command("hold-rule", "add", "--to-domain", "there.test")
        self.hand_in(server, LOST)
        until(
            lambda: [job["rcpt_to"] for job in server.queue()] == [SENDER],
            what="the report waits",
            log=server.log,
        )
        (job,) = server.queue()
        self.assertGreater(job["utf8_size"], 300)
        self.assertIn("utf8_size:", server.command("queue", "show", str(job["id"])).stdout)
        server.end()
        server.restart()
        server.wait_until_up(page="/readyz")
        server.command("queue", "release", "--all")
        self.assertWide(self.report(server, postfix))


def types(raw: bytes) -> list[str]:
    """Of the parts of a message."""
    parts = message_from_bytes(raw).get_payload()
    assert isinstance(parts, list)
    return [part.get_content_type() for part in parts if isinstance(part, Message)]
