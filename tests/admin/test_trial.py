"""A message checked as if it came in now."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.admin.trial import Envelope, Trial, try_message
from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import parse_mailbox
from moxsmtp.testing import MemoryResolver
from tests.bridge.test_delivery import MESSAGE, NOW, SENDER, SIGNED, ZONE

ENVELOPE = Envelope(
    ip_address("192.0.2.1"),
    parse_mailbox("a@sender.example"),
    parse_domain("mail.sender.example"),
    parse_domain("mx.example"),
)


class TrialTests(SynchronousTestCase):
    """The checks as a server would make them."""

    def tried(self, message: bytes, envelope: Envelope = ENVELOPE) -> Trial:
        """What comes of C{message}."""
        clock = Clock()
        clock.rightNow = NOW.timestamp()
        trying = try_message(clock, MemoryResolver(ZONE), envelope, message)
        return self.successResultOf(trying)  # type: ignore[no-any-return]  # trial has no types

    def test_good(self) -> None:
        """A good message passes, and the fields say so."""
        trial = self.tried(SIGNED)
        found = trial.authentication
        self.assertEqual(
            (found.iprev.status, found.spf.status, found.dmarc.status, found.authors),
            (iprev.Status.PASS, spf.Status.PASS, dmarc.Status.PASS, (SENDER,)),
        )
        self.assertEqual(found.dkim.verified_domains, (SENDER,))
        self.assertTrue(trial.fields.startswith(b"Authentication-Results: mx.example;\r\n"))
        self.assertIn(b"\r\nReceived-SPF: pass", trial.fields)
        self.assertFalse(trial.is_forged)

    def test_line_ends(self) -> None:
        """A file with LF alone is the message it was; so is one that has both."""
        for message in (SIGNED.replace(b"\r\n", b"\n"), SIGNED.replace(b"\r\n", b"\n", 3)):
            self.assertEqual(self.tried(message), self.tried(SIGNED))

    def test_answers(self) -> None:
        """Every answer that was used is told, each question once."""
        self.assertEqual(
            [(question.name, question.type) for question, _ in self.tried(SIGNED).looked_up],
            [
                ("1.2.0.192.in-addr.arpa", RRType.PTR),
                ("mail.sender.example", RRType.A),
                ("sender.example", RRType.TXT),
                ("s._domainkey.sender.example", RRType.TXT),
                ("_dmarc.sender.example", RRType.TXT),
                ("_dmarc.example", RRType.TXT),
            ],
        )

    def test_failures(self) -> None:
        """So are look-ups that failed."""
        zone = {**ZONE, Question("sender.example", RRType.TXT): LookupFailed("SERVFAIL")}
        trying = try_message(Clock(), MemoryResolver(zone), ENVELOPE, MESSAGE)
        trial = self.successResultOf(trying)
        self.assertIs(trial.authentication.spf.status, spf.Status.TEMPERROR)
        answers = dict(trial.looked_up)
        self.assertIsInstance(answers[Question("sender.example", RRType.TXT)], LookupFailed)

    def test_forged(self) -> None:
        """A field that claims to be ours is seen, in the header section only."""
        own = b"Authentication-Results: mx.example; spf=pass\r\n"
        self.assertTrue(self.tried(own + MESSAGE).is_forged)
        self.assertFalse(self.tried(MESSAGE + own).is_forged)

    def test_odd_messages(self) -> None:
        """Nothing, a body alone, a header alone: each has results."""
        for message in (b"", b"\n", b"\nbody\n", b"From: a@sender.example", b"no header\n\nbody"):
            found = self.tried(message).authentication
            self.assertEqual(found.dkim, dkim.Results())
            self.assertIs(found.spf.status, spf.Status.PASS)

    def test_unicode(self) -> None:
        """An internationalized message has U-labels in its fields."""
        path = parse_mailbox("ü@bücher.example")
        fields = self.tried(MESSAGE, replace(ENVELOPE, reverse_path=path, smtputf8=True)).fields
        self.assertIn("smtp.mailfrom=bücher.example\r\n\t(xn--bcher-kva.example)", fields.decode())
