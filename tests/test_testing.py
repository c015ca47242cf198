"""The doubles keep the promises of what they stand for."""

from __future__ import annotations

from ipaddress import IPv4Address

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import (
    IMailStore,
    IMetrics,
    InsufficientStorage,
    IQueue,
    IResolver,
    ISpool,
    NewJob,
)
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.spf import Identity, Result, Status
from moxsmtp.testing import (
    MemoryChecks,
    MemoryMetrics,
    MemoryQueue,
    MemoryResolver,
    MemorySpool,
    MemoryStore,
)


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


class MemoryMailTests(SynchronousTestCase):
    """Stores and queues in memory."""

    def test_interfaces(self) -> None:
        """Each is what it stands for."""
        verifyObject(ISpool, MemorySpool())
        verifyObject(IMailStore, MemoryStore())
        verifyObject(IQueue, MemoryQueue())
        verifyObject(IMetrics, MemoryMetrics())

    def test_spooled(self) -> None:
        """The header ends with its empty line, wherever that is."""
        contents = (b"A: b\r\n\r\nbody\r\n", b"\r\nbody\r\n", b"A: b\r\n", b"")
        self.assertEqual(
            [b"A: b\r\n\r\n", b"\r\n", b"A: b\r\n", b""],
            [MemorySpool.spooled(content).header for content in contents],
        )

    def test_room(self) -> None:
        """A spool without room says so."""
        spool = MemorySpool(room=3)
        self.assertIsNone(spool.write(b"abc"))
        self.assertRaises(InsufficientStorage, spool.write, b"d")

    def test_trouble(self) -> None:
        """A queue in trouble keeps nothing."""
        queue = MemoryQueue()
        job = NewJob(
            account="a",
            reverse_path=None,
            forward_path=Path("b", parse_domain("example.org")),
            prefix=b"",
            message_id="",
        )
        queue.trouble = OSError("broken")
        spooled = MemorySpool.spooled(b"")
        self.failureResultOf(Deferred.fromCoroutine(queue.add(spooled, [job])), OSError)
        queue.trouble = None
        numbers = self.successResultOf(Deferred.fromCoroutine(queue.add(spooled, [job])))
        self.assertEqual(([1], 1), (list(numbers), len(queue.jobs)))

    def test_metrics(self) -> None:
        """Counts are written as Prometheus writes them."""
        metrics = MemoryMetrics()
        metrics.count("a_total", result="ok", reason="")
        metrics.move("open", 2)
        metrics.move("open", -1)
        metrics.observe("seconds", 0.5, cmd="mail")
        self.assertEqual({'a_total{reason="",result="ok"}': 1}, metrics.counts)
        self.assertEqual({"open": 1}, metrics.levels)
        self.assertEqual({'seconds{cmd="mail"}': [0.5]}, metrics.durations)


class MemoryChecksTests(SynchronousTestCase):
    """Checks that say what they are told."""

    def test_says(self) -> None:
        """A value is said, an exception raised, and a Deferred waited for."""
        told = MemoryChecks()
        checks = told.checks()
        identity = Identity(IPv4Address("192.0.2.1"), None, None, parse_domain("mx.example"))

        def asked() -> Deferred[Result]:
            return Deferred.fromCoroutine(checks.spf(identity, ()))

        told.spf = said = Result(Status.PASS)
        self.assertIs(said, self.successResultOf(asked()))
        told.spf = ValueError()
        self.failureResultOf(asked(), ValueError)
        told.spf = waiting = Deferred[Result]()
        later = asked()
        self.assertNoResult(later)
        waiting.callback(said)
        self.assertIs(said, self.successResultOf(later))
        self.assertEqual([("spf", identity, ())] * 3, told.asked)

    def test_signatures(self) -> None:
        """The signatures' check notes what it is shown, and whether it was called off."""
        told = MemoryChecks()
        check = told.checks().dkim(b"From: a\r\n\r\n", ())
        check.feed(b"Hi")
        check.feed(b"\r\n")
        self.assertEqual((b"Hi\r\n", 0), (told.body, told.cancelled))
        self.assertEqual(told.dkim, self.successResultOf(Deferred.fromCoroutine(check.finish())))
        check.cancel()
        self.assertEqual(1, told.cancelled)
