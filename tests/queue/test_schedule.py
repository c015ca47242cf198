"""When mail is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.queue.schedule import gives_up, interval, next_attempt, remaining
from moxsmtp.queue.settings import QueueSettings

USUAL = QueueSettings()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def low(a: int, b: int) -> int:
    """The least that randomness may give."""
    del b
    return a


def high(a: int, b: int) -> int:
    """The most."""
    del a
    return b


def nothing(a: int, b: int) -> int:
    """No jitter at all."""
    return min(max(0, a), b)


class IntervalTests(unittest.SynchronousTestCase):
    """The back-off."""

    def test_table(self) -> None:
        """Q-11: 7.5 minutes after the first attempt, twice as long after each further one."""
        waits = [interval(n, USUAL.retry_after, nothing) for n in range(1, 8)]
        minutes = [wait / timedelta(minutes=1) for wait in waits]
        self.assertEqual(minutes, [7.5, 15, 30, 60, 120, 240, 480])

    def test_elapsed(self) -> None:
        """Q-11: the eighth attempt begins 15 hours 52.5 minutes after the first."""
        when = NOON
        for attempt in range(1, 8):
            when = next_attempt(when, attempt, USUAL, nothing)
        self.assertEqual(when - NOON, timedelta(hours=15, minutes=52, seconds=30))

    def test_jitter(self) -> None:
        """Q-11: whole seconds from -5 to +4 are added before doubling."""
        self.assertEqual(interval(1, USUAL.retry_after, low), timedelta(seconds=445))
        self.assertEqual(interval(1, USUAL.retry_after, high), timedelta(seconds=454))
        self.assertEqual(interval(3, USUAL.retry_after, low), timedelta(seconds=4 * 445))
        self.assertEqual(interval(3, USUAL.retry_after, high), timedelta(seconds=4 * 454))

    def test_first_interval_is_settable(self) -> None:
        """Q-11: another first interval is doubled the same way."""
        chosen = QueueSettings(retry_after=timedelta(hours=1))
        self.assertEqual(next_attempt(NOON, 2, chosen, nothing), NOON + timedelta(hours=2))

    def test_short_first_interval_stays_positive(self) -> None:
        """Jitter never eats a short first interval."""
        for seconds in (1, 2, 10):
            first = timedelta(seconds=seconds)
            self.assertGreater(interval(1, first, low), first * 0.98)
            self.assertLess(interval(1, first, high), first * 1.02)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(min_value=-1, max_value=10**6), st.integers(min_value=1, max_value=10**7))
    def test_any_number_of_attempts(self, attempts: int, seconds: int) -> None:
        """However often and with whatever first interval: a date, at most about a year ahead."""
        wait = interval(attempts, timedelta(seconds=seconds), high)
        self.assertGreater(wait, timedelta())
        self.assertLessEqual(wait, timedelta(days=366))


class GivesUpTests(unittest.SynchronousTestCase):
    """When a failure is the last."""

    def test_permanent(self) -> None:
        """Q-12: a permanent failure is the last, also at the first attempt."""
        self.assertTrue(gives_up(1, 0, USUAL, permanent=True))

    def test_default_limit(self) -> None:
        """Q-12: a transient failure of attempt 8 is the last, of attempt 7 it is not."""
        self.assertFalse(gives_up(7, 0, USUAL, permanent=False))
        self.assertTrue(gives_up(8, 0, USUAL, permanent=False))

    def test_own_limit(self) -> None:
        """Q-12: a job's own limit counts instead of the default, be it lower or higher."""
        self.assertTrue(gives_up(5, 5, USUAL, permanent=False))
        self.assertFalse(gives_up(8, 9, USUAL, permanent=False))

    def test_setting(self) -> None:
        """Q-12: the default can be set."""
        patient = QueueSettings(max_attempts=20)
        self.assertFalse(gives_up(19, 0, patient, permanent=False))
        self.assertTrue(gives_up(20, 0, patient, permanent=False))


class RemainingTests(unittest.SynchronousTestCase):
    """What is still to come."""

    def test_default(self) -> None:
        """Q-13: after attempt 5 come 2, 4 and 8 hours, 14 in all."""
        hours = [wait / timedelta(hours=1) for wait in remaining(5, 0, USUAL)]
        self.assertEqual(hours, [2, 4, 8])

    def test_as_they_come(self) -> None:
        """Q-13: the intervals told are those that are kept, but for jitter."""
        told = remaining(1, 0, USUAL)
        self.assertEqual(
            told, tuple(interval(number, USUAL.retry_after, nothing) for number in range(1, 8))
        )

    def test_own_limit(self) -> None:
        """Q-13: a job's own limit counts; at its last attempt nothing is to come."""
        self.assertEqual(remaining(5, 6, USUAL), (timedelta(hours=2),))
        self.assertEqual(remaining(6, 6, USUAL), ())
        self.assertEqual(remaining(9, 6, USUAL), ())

    @given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=0, max_value=10**6))
    @settings(max_examples=100, deadline=None)
    def test_bounded(self, attempts: int, limit: int) -> None:
        """However many attempts are allowed, a handful is told, and its end is a date."""
        told = remaining(attempts, limit, QueueSettings(retry_after=timedelta(days=300)))
        self.assertLessEqual(len(told), 20)
        self.assertLess((NOON + sum(told, timedelta())).year, 2100)
