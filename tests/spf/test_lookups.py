"""Replaying until every answer is there."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial import unittest

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.spf.lookups import TIME_LIMIT, Lookups, OutOfTime
from tests.spf.asking import SlowResolver, Zone, resolver

ONE = Question("one.example", RRType.TXT)
TWO = Question("two.example", RRType.TXT)
ZONE: Zone = {"one.example": "1", "two.example": Answer((b"2",), authentic=True)}


class Sum:
    """An evaluation that reads two answers.  @ivar runs: How often it began."""

    def __init__(self, lookups: Lookups, *ahead: Question) -> None:
        self.runs = 0
        self._lookups = lookups
        self._ahead = ahead

    def __call__(self) -> list[object]:
        self.runs += 1
        self._lookups.begin(self._ahead)
        return [self._lookups.get(question).records[0] for question in (ONE, TWO)]


class ReplayTests(unittest.SynchronousTestCase):
    """L{Lookups.replay}."""

    def setUp(self) -> None:
        self.clock = Clock()

    def replay(self, lookups: Lookups, evaluation: Sum) -> Deferred[list[object]]:
        """The replay under way."""
        return Deferred.fromCoroutine(lookups.replay(evaluation))

    def test_known_answers(self) -> None:
        """Answers that are there are used at once: one run, no timer."""
        lookups = Lookups(resolver(ZONE), self.clock)
        evaluation = Sum(lookups)
        self.assertEqual(self.successResultOf(self.replay(lookups, evaluation)), [b"1", b"2"])
        self.assertEqual(evaluation.runs, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_awaited_answers(self) -> None:
        """Each answer that has to be waited for costs one run more and is asked for once."""
        slow = SlowResolver(ZONE)
        lookups = Lookups(slow, self.clock)
        evaluation = Sum(lookups)
        replaying = self.replay(lookups, evaluation)
        self.assertNoResult(replaying)
        slow.answer()
        slow.answer()
        self.assertEqual(self.successResultOf(replaying), [b"1", b"2"])
        self.assertEqual((evaluation.runs, slow.asked), (3, [ONE, TWO]))

    def test_begun_ahead(self) -> None:
        """What is begun ahead is under way together, and then costs no further run."""
        slow = SlowResolver(ZONE)
        lookups = Lookups(slow, self.clock)
        evaluation = Sum(lookups, ONE, TWO)
        replaying = self.replay(lookups, evaluation)
        self.assertEqual(list(slow.waiting), [ONE, TWO])
        slow.answer()
        self.successResultOf(replaying)
        # The first answer came before the second, so the second had to be waited for too.
        self.assertEqual((evaluation.runs, slow.asked), (3, [ONE, TWO]))

    def test_failed_lookup(self) -> None:
        """A look-up that failed is raised to the evaluation each time it asks."""
        lookups = Lookups(resolver({"one.example": LookupFailed("SERVFAIL")}), self.clock)
        for _ in range(2):
            error = self.assertRaises(LookupFailed, lookups.get, ONE)
            self.assertEqual(str(error), "SERVFAIL")

    def test_bug_in_resolver(self) -> None:
        """What is no answer and no failed look-up goes to whoever replays."""
        slow = SlowResolver({})
        lookups = Lookups(slow, self.clock)
        replaying = self.replay(lookups, Sum(lookups))
        slow.waiting[ONE].errback(Failure(ZeroDivisionError()))
        self.failureResultOf(replaying, ZeroDivisionError)

    def test_time_limit(self) -> None:
        """All answers together have 20 s; then whatever is under way is given up."""
        slow = SlowResolver(ZONE)
        lookups = Lookups(slow, self.clock)
        replaying = self.replay(lookups, Sum(lookups))
        self.clock.advance(TIME_LIMIT / 2)
        slow.answer()
        lookups.begin([Question("more.example", RRType.A)])
        self.clock.advance(TIME_LIMIT / 2 - 0.01)
        self.assertNoResult(replaying)
        self.clock.advance(0.01)
        self.failureResultOf(replaying, OutOfTime)
        self.assertEqual(slow.waiting, {})
        self.assertEqual(len(slow.cancelled), 2)

    def test_cancelled(self) -> None:
        """Cancelling reaches the look-up, and closing gives up all others and the timer."""
        slow = SlowResolver(ZONE)
        lookups = Lookups(slow, self.clock)
        replaying = self.replay(lookups, Sum(lookups, ONE, TWO))
        replaying.cancel()
        self.failureResultOf(replaying, CancelledError)
        lookups.close()
        self.assertEqual(slow.cancelled, [ONE, TWO])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_authentic(self) -> None:
        """Authentic is what was read, if anything was, and all of it was validated."""
        lookups = Lookups(resolver(ZONE), self.clock)
        self.assertFalse(lookups.authentic)
        lookups.begin([ONE, TWO])
        lookups.get(TWO)
        self.assertTrue(lookups.authentic)
        lookups.get(ONE)
        self.assertFalse(lookups.authentic)

    def test_failure_is_not_authentic(self) -> None:
        """A look-up that failed was not validated."""
        zone = {**ZONE, "one.example": LookupFailed("SERVFAIL")}
        lookups = Lookups(resolver(zone), self.clock)
        lookups.get(TWO)
        self.assertRaises(LookupFailed, lookups.get, ONE)
        self.assertFalse(lookups.authentic)
