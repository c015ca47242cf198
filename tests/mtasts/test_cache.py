"""Which policy counts now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import InsufficientStorage, IPolicies, StorageUnavailable, StsFound
from moxsmtp.mtasts.cache import Policies, Refreshed
from moxsmtp.mtasts.policy import Policy
from moxsmtp.mtasts.storage import Failure, Kept, Known, ResultType
from moxsmtp.names import Domain
from moxsmtp.testing import MemoryResolver
from tests.mtasts.policies import MemoryPolicies, policy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOMAIN = Domain("a.example")
TXT = Question("_mta-sts.a.example", RRType.TXT)

OLD, NEW = policy(host="old.a.example"), policy(host="new.a.example")
AWAY = Failure(ResultType.FETCH_ERROR, "away")


class CacheTestCase(unittest.SynchronousTestCase):
    """
    @ivar fetches: Domain and seconds of each fetch, which gives C{outcome}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOON.timestamp())
        self.resolver = MemoryResolver()
        self.store = MemoryPolicies()
        self.fetches: list[tuple[str, float]] = []
        self.outcome: Policy | Failure | Deferred[Policy | Failure] = NEW
        self.policies = Policies(
            resolver=self.resolver, store=self.store, fetch=self.fetch, clock=self.clock
        )
        self.lines: list[LogEvent] = []
        hear = cast("ILogObserver", self.lines.append)
        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)

    def fetch(self, domain: Domain, limit: timedelta) -> Deferred[Policy | Failure]:
        """As L{moxsmtp.mtasts.fetch.Fetcher.fetch}."""
        self.fetches.append((domain.ascii, limit.total_seconds()))
        return self.outcome if isinstance(self.outcome, Deferred) else succeed(self.outcome)

    def say(self, *records: str) -> None:
        """What the DNS has."""
        found: Sequence[Record] = [record.encode() for record in records]
        self.resolver.zone[TXT] = found

    def find(self) -> StsFound:
        """What counts now."""
        return self.successResultOf(self.policies.policy_for(DOMAIN))

    def keep(self, kept: Policy = OLD, record_id: str = "1", age: timedelta = timedelta()) -> None:
        """It was fetched so long ago."""
        fetched = NOON - age
        self.store.rows[DOMAIN] = Known(
            Kept(kept, record_id, fetched, fetched + kept.max_age), NOON
        )

    @property
    def kept(self) -> Kept:
        """What is kept now."""
        kept = self.store.rows[DOMAIN].kept
        assert kept is not None
        return kept


class NothingKeptTests(CacheTestCase):
    """Domains of which no policy is known."""

    def test_interface(self) -> None:
        """It is what mail asks."""
        verifyObject(IPolicies, self.policies)

    def test_no_record(self) -> None:
        """Q-53: without a record there is no MTA-STS, nothing is fetched and nothing kept."""
        for answer in ((), (b"v=spf1 -all",), Answer((), exists=False)):
            self.resolver.zone[TXT] = answer
            self.assertEqual(self.find(), StsFound(None))
        self.assertEqual((self.fetches, self.store.writes), ([], []))

    def test_domain(self) -> None:
        """Q-51: the record is looked for below the domain given, no CNAME of it followed."""
        self.resolver.zone[Question("a.example", RRType.CNAME)] = ("b.example",)
        self.resolver.zone[Question("_mta-sts.b.example", RRType.TXT)] = (b"v=STSv1; id=1",)
        self.assertEqual(self.find(), StsFound(None))
        self.assertEqual(self.resolver.asked, [TXT])

    def test_fetched(self) -> None:
        """Q-51, Q-53: a record has the policy fetched within 60 seconds, and kept."""
        self.say("v=STSv1; id=7")
        self.assertEqual(self.find(), StsFound(NEW, record_id="7"))
        self.assertEqual(self.fetches, [("a.example", 60)])
        self.assertEqual(self.kept, Kept(NEW, "7", NOON, NOON + timedelta(days=1)))
        self.assertEqual(self.find(), StsFound(NEW, record_id="7"))
        self.assertEqual(len(self.fetches), 1)

    def test_bad_records(self) -> None:
        """Q-53: a record malformed or doubled is none, and who reports hears of it."""
        for records in (("v=STSv1; id=",), ("v=STSv1; id=1", "v=STSv1; id=2")):
            self.say(*records)
            found = self.find()
            self.assertEqual(
                (found.policy, found.failure, found.temporary), (None, "sts-policy-invalid", False)
            )
            self.assertTrue(found.reason)
        self.assertEqual(self.fetches, [])

    def test_dns_fails(self) -> None:
        """Q-53: where the DNS does not say whether there is a policy, mail has to wait."""
        self.resolver.zone[TXT] = LookupFailed("SERVFAIL")
        self.assertEqual(self.find(), StsFound(None, "", "DNS: SERVFAIL", temporary=True))
        self.assertEqual(self.store.writes, [])

    def test_failure(self) -> None:
        """Q-53: a fetch that fails means no MTA-STS, and is not tried again for 5 minutes."""
        self.say("v=STSv1; id=7")
        self.outcome = AWAY
        missing = StsFound(None, "sts-policy-fetch-error", "away", record_id="7")
        self.assertEqual(self.find(), missing)
        self.outcome = NEW
        self.clock.advance(299)
        self.assertEqual(self.find(), replace(missing, is_back_off=True))
        self.assertEqual(len(self.fetches), 1)
        self.clock.advance(1)
        self.assertEqual(self.find().policy, NEW)
        self.assertEqual([limit for _, limit in self.fetches], [60, 60])

    def test_clock_set_back(self) -> None:
        """A failure of the future, from before the clock was set back, is none."""
        self.say("v=STSv1; id=7")
        self.store.rows[DOMAIN] = Known(None, None, AWAY, NOON + timedelta(days=99))
        self.assertEqual(self.find().policy, NEW)

    def test_failure_is_told(self) -> None:
        """A policy that mail goes without is a line in the log."""
        self.say("v=STSv1; id=7")
        self.outcome = AWAY
        self.find()
        (line,) = self.lines
        self.assertEqual((line["domain"], line["reason"]), ("a.example", "away"))
        self.assertEqual(line["then"], "mail goes as if there were none")

    def test_long_name(self) -> None:
        """A domain that leaves no room for the record's name has none, and its mail goes."""
        domain = Domain(".".join(["a" * 63] * 3 + ["b" * 58]))
        self.assertEqual(len(domain.ascii), 250)
        found = self.successResultOf(self.policies.policy_for(domain))
        self.assertEqual(found, StsFound(None))
        self.assertEqual(self.resolver.asked, [])

    def test_expires_at_once(self) -> None:
        """A policy of no age counts for the mail that fetched it, and for no other."""
        self.say("v=STSv1; id=7")
        self.outcome = policy(age=0)
        self.assertEqual(self.find().policy, self.outcome)
        self.outcome = AWAY
        self.assertIsNone(self.find().policy)


class KeptTests(CacheTestCase):
    """Domains whose policy is kept."""

    def test_same_id(self) -> None:
        """Q-53: the record is looked up each time; the same id means the policy kept."""
        self.keep()
        self.say("v=STSv1; id=1")
        for _ in range(3):
            self.assertEqual(self.find(), StsFound(OLD, record_id="1"))
        self.assertEqual(self.resolver.asked, [TXT] * 3)
        self.assertEqual((self.fetches, self.store.writes), ([], []))

    def test_new_id(self) -> None:
        """Q-53: another id has the policy fetched within 30 seconds and replaced."""
        self.keep()
        self.say("v=STSv1; id=2")
        self.assertEqual(self.find(), StsFound(NEW, record_id="2"))
        self.assertEqual(self.fetches, [("a.example", 30)])
        self.assertEqual((self.kept.policy, self.kept.record_id), (NEW, "2"))

    def test_replaced_by_none(self) -> None:
        """Q-53: the way out of MTA-STS, a new policy of mode none, is taken."""
        self.keep()
        self.say("v=STSv1; id=2")
        self.outcome = policy("none")
        self.assertEqual(self.find().policy, self.outcome)
        self.assertEqual(self.kept.policy, self.outcome)

    def test_never_lost(self) -> None:
        """Q-53: neither DNS, nor record, nor fetch takes a policy away before its time."""
        self.keep()
        self.outcome = AWAY
        answers: list[Sequence[Record] | Answer | LookupFailed] = [
            LookupFailed("SERVFAIL"),
            (),
            Answer((), exists=False),
            (b"v=STSv1; id=",),
            (b"v=STSv1; id=2", b"v=STSv1; id=3"),
            (b"v=STSv1; id=2",),
        ]
        for answer in answers:
            self.resolver.zone[TXT] = answer
            found = self.find()
            self.assertEqual((found.policy, found.temporary), (OLD, False))
        self.assertEqual(self.kept.policy, OLD)
        self.clock.advance(86399)
        self.assertEqual(self.find().policy, OLD)

    def test_expired(self) -> None:
        """Q-53: a policy counts until its age is over, and is then as if there were none."""
        self.keep(age=timedelta(days=1))
        self.assertEqual(self.find(), StsFound(None))
        self.resolver.zone[TXT] = LookupFailed("SERVFAIL")
        self.assertTrue(self.find().temporary)
        self.say("v=STSv1; id=1")
        self.assertEqual(self.find(), StsFound(NEW, record_id="1"))
        self.assertEqual(self.fetches, [("a.example", 60)])

    def test_own_pause(self) -> None:
        """Q-53: a failed fetch of a new policy is not repeated with each mail."""
        self.keep()
        self.say("v=STSv1; id=2")
        self.outcome = AWAY
        found = StsFound(OLD, "sts-policy-fetch-error", "away", record_id="2")
        self.assertEqual(self.find(), found)
        self.clock.advance(599)
        self.assertEqual(self.find(), replace(found, is_back_off=True))
        self.assertEqual(len(self.fetches), 1)
        self.clock.advance(1)
        self.outcome = NEW
        self.assertEqual(self.find(), StsFound(NEW, record_id="2"))

    def test_back_to_old_id(self) -> None:
        """Q-53: the failure of a fetch is no matter while the record says what is kept."""
        self.keep()
        self.say("v=STSv1; id=2")
        self.outcome = AWAY
        self.find()
        self.say("v=STSv1; id=1")
        self.assertEqual(self.find(), StsFound(OLD, record_id="1"))

    def test_use_is_noted(self) -> None:
        """Q-54: that a policy is used is noted, though not more than once a day."""
        self.keep(policy(age=10**7))
        self.say("v=STSv1; id=1")
        self.clock.advance(86399)
        self.find()
        self.assertEqual(self.store.writes, [])
        self.clock.advance(1)
        self.find()
        self.find()
        self.assertEqual(self.store.writes, ["mark_used"])
        self.assertEqual(self.store.rows[DOMAIN].used, NOON + timedelta(days=1))

    def test_stand_in_is_told(self) -> None:
        """The log says of what time the policy is that goes on to count."""
        self.keep()
        self.say("v=STSv1; id=2")
        self.outcome = AWAY
        self.find()
        self.assertEqual(
            [line["then"] for line in self.lines],
            ["the one of 2026-03-01 12:00 UTC still counts"],
        )


class StoreTroubleTests(CacheTestCase):
    """A store that is away."""

    def test_unknown(self) -> None:
        """Where it cannot be told whether a policy is kept, mail has to wait."""
        self.store.trouble = StorageUnavailable("locked")
        found = self.find()
        self.assertEqual((found.policy, found.temporary), (None, True))
        self.assertIn("locked", found.reason)

    def test_not_kept(self) -> None:
        """What cannot be kept counts for the mail at hand."""
        self.say("v=STSv1; id=7")
        for outcome in (NEW, AWAY):
            self.outcome = Deferred()
            found = self.policies.policy_for(DOMAIN)
            self.store.trouble = InsufficientStorage("full")
            self.outcome.callback(outcome)
            self.assertEqual(
                self.successResultOf(found).policy, outcome if outcome is NEW else None
            )
            self.store.trouble = None


class SharedTests(CacheTestCase):
    """Look-ups at once."""

    def setUp(self) -> None:
        super().setUp()
        self.say("v=STSv1; id=7")
        self.cancelled = False

        def cancel(_: object) -> None:
            self.cancelled = True

        self.outcome: Deferred[Policy | Failure] = Deferred(cancel)

    def test_shared(self) -> None:
        """Look-ups of one domain at once share one fetch; those of another have their own."""
        found = [self.policies.policy_for(DOMAIN) for _ in range(5)]
        self.resolver.zone[Question("_mta-sts.b.example", RRType.TXT)] = (b"v=STSv1; id=8",)
        fetch, self.outcome = self.outcome, Deferred()
        other = self.policies.policy_for(Domain("b.example"))
        self.assertEqual([name for name, _ in self.fetches], ["a.example", "b.example"])
        fetch.callback(NEW)
        for one in found:
            self.assertEqual(self.successResultOf(one).policy, NEW)
        self.assertNoResult(other)
        self.outcome.callback(OLD)
        self.assertEqual(self.successResultOf(other).policy, OLD)

    def test_one_leaves(self) -> None:
        """Who waits no more harms no other; the last one ends the fetch, and that is no failure."""
        one, two = (self.policies.policy_for(DOMAIN) for _ in range(2))
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertNoResult(two)
        self.assertFalse(self.cancelled)
        two.cancel()
        self.failureResultOf(two, CancelledError)
        self.assertTrue(self.cancelled)
        self.assertEqual(self.store.writes, [])

    def test_after_leaving(self) -> None:
        """A look-up that begins when all others have left begins anew."""
        one = self.policies.policy_for(DOMAIN)
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.outcome = Deferred()
        two = self.policies.policy_for(DOMAIN)
        self.outcome.callback(NEW)
        self.assertEqual(self.successResultOf(two).policy, NEW)

    def test_cancelled_while_told(self) -> None:
        """One who waits may cancel another while they are told."""
        one, two = (self.policies.policy_for(DOMAIN) for _ in range(2))
        _ = one.addCallback(lambda _: two.cancel())
        self.outcome.callback(NEW)
        self.successResultOf(one)
        self.failureResultOf(two, CancelledError)

    def test_bug(self) -> None:
        """What is no normal outcome reaches everybody who waits, and nobody later."""
        found = [self.policies.policy_for(DOMAIN) for _ in range(2)]
        self.outcome.errback(ZeroDivisionError())
        for one in found:
            self.failureResultOf(one, ZeroDivisionError)
        self.outcome = Deferred()
        again = self.policies.policy_for(DOMAIN)
        self.outcome.callback(NEW)
        self.assertEqual(self.successResultOf(again).policy, NEW)


class RefreshTests(CacheTestCase):
    """One policy looked at between mails."""

    def refresh(self) -> Refreshed:
        """What comes of it."""
        return self.successResultOf(Deferred.fromCoroutine(self.policies.refresh(DOMAIN)))

    def test_same_id(self) -> None:
        """Q-54: the same id makes the policy count for its whole age again, text and all."""
        self.keep(age=timedelta(hours=13))
        self.say("v=STSv1; id=1")
        self.assertIs(self.refresh(), Refreshed.UNCHANGED)
        self.assertEqual(self.kept, Kept(OLD, "1", NOON, NOON + timedelta(days=1)))
        self.assertEqual(self.fetches, [])

    def test_new_id(self) -> None:
        """Q-54: another id has the policy fetched, and its text is kept too."""
        self.keep(age=timedelta(hours=13))
        self.say("v=STSv1; id=2")
        self.assertIs(self.refresh(), Refreshed.REPLACED)
        self.assertEqual(self.kept, Kept(NEW, "2", NOON, NOON + timedelta(days=1)))
        self.assertEqual(self.kept.policy.text, NEW.text)
        self.assertEqual(self.fetches, [("a.example", 30)])

    def test_failures(self) -> None:
        """Q-54: what fails leaves the policy and its time as they were."""
        self.keep(age=timedelta(hours=13))
        before = self.kept
        self.outcome = AWAY
        answers: list[Sequence[Record] | LookupFailed] = [
            LookupFailed(), (b"v=STSv1;",), (b"v=STSv1; id=2",),
        ]  # fmt: skip
        for answer in answers:
            self.resolver.zone[TXT] = answer
            self.assertIs(self.refresh(), Refreshed.FAILED)
            self.assertEqual(self.kept, before)
        self.assertEqual(self.store.rows[DOMAIN].failure, AWAY)

    def test_record_gone(self) -> None:
        """Q-54: without a record a policy of mode none is forgotten, another when it is over."""
        self.keep(policy("none"), age=timedelta(hours=13))
        self.assertIs(self.refresh(), Refreshed.REMOVED)
        self.assertEqual(self.store.rows, {})
        for mode in ("testing", "enforce"):
            self.keep(policy(mode), age=timedelta(hours=13))
            self.assertIs(self.refresh(), Refreshed.UNCHANGED)
            self.assertIn(DOMAIN, self.store.rows)
        self.keep(age=timedelta(days=1))
        self.assertIs(self.refresh(), Refreshed.REMOVED)

    def test_fresh(self) -> None:
        """Q-54: what was looked at within 12 hours, perhaps by another process, is left alone."""
        self.keep(age=timedelta(hours=11, minutes=59))
        self.assertIs(self.refresh(), Refreshed.UNCHANGED)
        self.store.rows.clear()
        self.assertIs(self.refresh(), Refreshed.UNCHANGED)
        self.assertEqual(self.resolver.asked, [])
