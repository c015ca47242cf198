"""Results of SPF that are found again."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.dns.memory import Memory
from moxsmtp.dns.records import MX, Answer, LookupFailed
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain
from moxsmtp.spf import Identity, Result, Status, verify
from tests.spf.asking import SlowResolver, Zone, identity, questions, resolver

ZONE: Final[Zone] = {
    "example.org": Answer((b"v=spf1 mx include:a.example -all",), authentic=True),
    "example.org MX": Answer((MX(10, "mx.example"),), authentic=True),
    "mx.example A": Answer(("192.0.2.2",), authentic=True),
    "a.example": Answer((b"v=spf1 ip4:192.0.2.1 -all",), authentic=True),
}
ASKED: Final = ["example.org", "example.org", "mx.example", "a.example"]


class MemoryTests(unittest.SynchronousTestCase):
    """L{verify} with a L{Memory}."""

    def setUp(self) -> None:
        self.memory = Memory[Result]()
        self.resolver = resolver(ZONE)

    def found(self, envelope: Identity | None = None, asked: IResolver | None = None) -> Result:
        """The result of a check, by default of the usual envelope."""
        return self.successResultOf(self.checking(envelope or identity(), asked or self.resolver))

    def checking(self, envelope: Identity, asked: IResolver) -> Deferred[Result]:
        """A check under way."""
        return Deferred.fromCoroutine(verify(asked, envelope, clock=Clock(), memory=self.memory))

    def after(self, zone: Zone) -> Result:
        """A result, once the DNS has changed."""
        self.resolver.zone.update(questions(zone))
        return self.found()

    def test_unchanged(self) -> None:
        """The same answers give the same result, and all of them are asked for again."""
        first = self.found()
        self.assertEqual((first.status, first.authentic), (Status.PASS, True))
        self.assertIs(self.found(), first)
        self.assertEqual([question.name for question in self.resolver.asked], ASKED + ASKED)

    def test_other_senders(self) -> None:
        """Who sends for the domain does not matter where no macro asks for it."""
        first = self.found()
        self.assertIs(self.found(identity(local_part="other", hello=None)), first)

    def test_other_client_or_domain(self) -> None:
        """A result is that of one client and of one domain."""
        self.found()
        self.assertEqual(self.found(identity("192.0.2.3")).status, Status.FAIL)
        self.assertEqual(self.found(identity("2001:db8::1")).status, Status.FAIL)
        other = self.found(identity(domain="a.example"))
        self.assertEqual((other.mechanism, other.domain), ("ip4:192.0.2.1", Domain("a.example")))

    def test_other_scope(self) -> None:
        """A domain in EHLO is not the same as in MAIL FROM."""
        first = self.found(identity(hello="example.org"))
        second = self.found(identity(domain=None, hello="example.org"))
        self.assertEqual((first.scope, second.scope), ("mailfrom", "helo"))

    def test_changed_record(self) -> None:
        """A record that changed, wherever it was read, is evaluated."""
        self.found()
        self.assertEqual(self.after({"a.example": "v=spf1 -all"}).status, Status.FAIL)
        self.assertEqual(self.after({"mx.example A": ("192.0.2.1",)}).mechanism, "mx")
        self.assertEqual(self.after({"example.org": "v=spf1 ?all"}).status, Status.NEUTRAL)
        self.assertEqual(self.after({"example.org": ()}).status, Status.NONE)

    def test_changed_authenticity(self) -> None:
        """A result is authentic only as long as its answers are."""
        self.assertTrue(self.found().authentic)
        self.assertFalse(self.after({"a.example": "v=spf1 ip4:192.0.2.1 -all"}).authentic)
        self.assertFalse(self.found().authentic)
        self.assertTrue(self.after(ZONE).authentic)

    def test_failing_lookup(self) -> None:
        """A look-up that fails is neither passed over nor kept."""
        first = self.found()
        self.assertEqual(
            self.after({"mx.example A": LookupFailed("timeout")}).status, Status.TEMPERROR
        )
        self.assertEqual(self.after(ZONE), first)
        self.resolver.asked.clear()
        again = self.after({"example.org": LookupFailed("timeout")})
        self.assertEqual(again.status, Status.TEMPERROR)
        self.assertEqual(len(self.resolver.asked), 1)

    def test_awaited_answer(self) -> None:
        """An answer that is not there at once is awaited, asked for once, and obeyed."""
        self.found()
        slow = SlowResolver({**ZONE, "a.example": "v=spf1 -all"})
        checking = self.checking(identity(), slow)
        for _ in ASKED:
            self.assertNoResult(checking)
            slow.answer()
        self.assertEqual(self.successResultOf(checking).status, Status.FAIL)
        self.assertEqual([question.name for question in slow.asked], ASKED)

    def test_macros_of_the_sender(self) -> None:
        """A record that looks at the local-part or at EHLO is evaluated for each sender."""
        self.resolver.zone.update(
            questions(
                {
                    "example.org": "v=spf1 exists:%{l}.l.example redirect=%{h}",
                    "user.l.example A": ("127.0.0.2",),
                    "client.example": "v=spf1 ~all",
                    "other.example": "v=spf1 ?all",
                }
            )
        )
        self.assertEqual(self.found().status, Status.PASS)
        self.assertEqual(self.found(identity(local_part="x")).status, Status.SOFTFAIL)
        other = identity(local_part="x", hello="other.example")
        self.assertEqual(self.found(other).status, Status.NEUTRAL)
        self.assertEqual(len(self.memory), 0)

    def test_explanation(self) -> None:
        """What a fail is explained with may tell of this very message."""
        self.resolver.zone.update(
            questions({"example.org": "v=spf1 -all exp=e.example", "e.example": "%{l} at %{t}"})
        )
        self.assertEqual(self.found().explanation, "user at 0")
        self.assertEqual(self.found(identity(local_part="x")).explanation, "x at 0")
        self.assertEqual(len(self.memory), 0)
