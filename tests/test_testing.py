"""The doubles keep the promises of what they stand for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.testing import MemoryResolver


class MemoryResolverTests(SynchronousTestCase):
    """A DNS out of a dictionary."""

    def ask(self, resolver: MemoryResolver, name: str, type_: RRType = RRType.A) -> Answer:
        """The answer, which is there at once."""
        return self.successResultOf(resolver.lookup(Question(name, type_)))

    def test_interface(self) -> None:
        """It is a resolver."""
        self.assertTrue(verifyObject(IResolver, MemoryResolver()))

    def test_outcomes_are_told_apart(self) -> None:
        """Records, a name without such records, and no such name are three answers."""
        resolver = MemoryResolver({Question("mx.example", RRType.A): ("192.0.2.1",)})
        self.assertEqual(
            [
                self.ask(resolver, "mx.example"),
                self.ask(resolver, "mx.example", RRType.AAAA),
                self.ask(resolver, "example"),
                self.ask(resolver, "other.example"),
            ],
            [
                Answer(("192.0.2.1",), canonical_name="mx.example"),
                Answer((), canonical_name="mx.example"),
                Answer((), canonical_name="example"),
                Answer((), exists=False, canonical_name="other.example"),
            ],
        )

    def test_answer_is_given_as_it_is(self) -> None:
        """An Answer's authenticity and time to live are kept."""
        resolver = MemoryResolver(
            {Question("a.example", RRType.A): Answer(("192.0.2.1",), authentic=True, ttl=7)}
        )
        self.assertEqual(
            self.ask(resolver, "A.example."),
            Answer(("192.0.2.1",), authentic=True, canonical_name="a.example", ttl=7),
        )

    def test_alias(self) -> None:
        """A CNAME is followed; asked for itself, it is the answer."""
        resolver = MemoryResolver(
            {
                Question("a.example", RRType.CNAME): ("B.example",),
                Question("b.example", RRType.A): ("192.0.2.1",),
            }
        )
        self.assertEqual(
            [self.ask(resolver, "a.example"), self.ask(resolver, "a.example", RRType.CNAME)],
            [
                Answer(("192.0.2.1",), canonical_name="b.example"),
                Answer(("B.example",), canonical_name="a.example"),
            ],
        )

    def test_alias_loop(self) -> None:
        """Aliases in a circle fail and do not run for ever."""
        resolver = MemoryResolver(
            {
                Question("a.example", RRType.CNAME): ("b.example",),
                Question("b.example", RRType.CNAME): ("a.example",),
            }
        )
        self.failureResultOf(resolver.lookup(Question("a.example", RRType.MX)), LookupFailed)

    def test_failure(self) -> None:
        """A failing look-up fails each time, with its text."""
        resolver = MemoryResolver({Question("a.example", RRType.A): LookupFailed("SERVFAIL")})
        for _ in range(2):
            failure = self.failureResultOf(
                resolver.lookup(Question("a.example", RRType.A)), LookupFailed
            )
            self.assertEqual(str(failure.value), "SERVFAIL")

    def test_asked(self) -> None:
        """What was asked is kept, in order."""
        resolver = MemoryResolver()
        self.ask(resolver, "b.example")
        self.ask(resolver, "a.example", RRType.MX)
        self.assertEqual(
            resolver.asked, [Question("b.example", RRType.A), Question("a.example", RRType.MX)]
        )
