"""Tests for L{moxsmtp.receive.unverified}: mail that somebody in front of us has checked."""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxsmtp import spf
from moxsmtp.interfaces import Provenance
from moxsmtp.message.header import parse_header
from moxsmtp.names import parse_domain
from moxsmtp.receive.delivery import Delivery
from moxsmtp.smtp.commands import Helo
from tests.receive.houses import CLIENT, HouseTestCase, session_log

MAIL = b"From: Eve <eve@mail.away.example>\r\nSubject: s\r\n\r\nHi\r\n"


class UncheckedTests(HouseTestCase):
    """A port that makes no checks."""

    def setUp(self) -> None:
        """Checks that would say that nothing is good."""
        super().setUp()
        self.checks.spf = spf.Result(spf.Status.FAIL)
        self.receiver = Delivery(
            self.house,
            session_log(),
            hostname=parse_domain("in.ours.example"),
            tls_required=False,
            unknown_delay=timedelta(seconds=5),
            clock=Clock(),
            checked=False,
        )

    def test_nothing_is_asked(self) -> None:
        """Mail is stored, and neither a check nor the resolver was asked anything."""
        hello = Helo(parse_domain("filter.example"))
        self.successResultOf(Deferred.fromCoroutine(self.receiver.hello(CLIENT, hello)))
        reply = self.send(self.receiver, CLIENT, MAIL, "e@mail.away.example", "alice@ours.example")
        self.assertEqual(reply.code, 250)
        self.assertEqual((self.checks.asked, self.resolver.asked), ([], []))
        self.assertEqual(len(self.store.messages), 1)

    def test_fields(self) -> None:
        """
        Authentication-Results says that there are none (RFC 8601 section 2.2),
        Received-SPF is not there, the rest of the trace is.
        """
        self.send(self.receiver, CLIENT, MAIL, "e@mail.away.example", "alice@ours.example")
        header = parse_header(self.store.messages[-1][0].prefix + b"\r\n")
        self.assertEqual(header.first("Authentication-Results"), "mx.ours.example; none")
        self.assertEqual(header.count("Received-SPF"), 0)
        self.assertEqual((header.count("Received"), header.count("Return-Path")), (1, 1))

    def test_provenance(self) -> None:
        """Nothing is known of where it is from, only what it says itself."""
        self.send(self.receiver, CLIENT, MAIL, "e@mail.away.example", "alice@ours.example")
        self.assertEqual(
            self.store.messages[-1][0].provenance,
            Provenance(
                author_domain=parse_domain("mail.away.example"),
                author_organization=parse_domain("away.example"),
            ),
        )

    def test_several_recipients(self) -> None:
        """Nobody has to prove who he is before a second recipient, but the null sender (S-71)."""
        both = ("alice@ours.example", "mike@ours.example")
        reply = self.send(self.receiver, CLIENT, MAIL, "e@mail.away.example", *both)
        self.assertEqual((reply.code, len(self.store.messages[-1])), (250, 2))
        self.receiver.reset()
        codes = self.begin(self.receiver, CLIENT, None, *both)
        self.assertEqual(codes[-1][:3], "452")

    def test_what_stays(self) -> None:
        """Mail for nobody here and mail that goes in circles are refused all the same."""
        codes = self.begin(self.receiver, CLIENT, "e@mail.away.example", "eve@away.example")
        self.assertEqual(codes[-1], "550 5.1.1")
        self.receiver.reset()
        loop = b"Received: from a by b; x\r\n" * 101 + MAIL
        reply = self.send(self.receiver, CLIENT, loop, "e@mail.away.example", "alice@ours.example")
        self.assertEqual(reply.code, 550)
