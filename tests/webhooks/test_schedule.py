"""When a webhook is called again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.trial import unittest

from moxsmtp.webhooks.schedule import MAX_ATTEMPTS, gives_up, next_attempt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def after(attempts: int, percent: float = 0.0) -> timedelta:
    """The wait with so much of the jitter."""

    def randint(low: int, high: int) -> int:
        self_made = round(percent * high)
        return max(low, min(high, self_made))

    return next_attempt(NOON, attempts, randint) - NOON


class ScheduleTests(unittest.SynchronousTestCase):
    """The table."""

    def test_intervals(self) -> None:
        """Q-74: 1, 2, 4, 7.5, 15, 30 minutes, then 1, 2, 4, 8, 16 hours."""
        minutes = [after(n) / timedelta(minutes=1) for n in range(1, 12)]
        self.assertEqual(minutes, [1, 2, 4, 7.5, 15, 30, 60, 120, 240, 480, 960])

    def test_jitter(self) -> None:
        """Q-74: each wait is one per cent shorter to one per cent longer."""
        self.assertEqual(after(1, -1), timedelta(seconds=59.4))
        self.assertEqual(after(1, 1), timedelta(seconds=60.6))
        self.assertEqual((after(1, -2), after(1, 2)), (after(1, -1), after(1, 1)))
        self.assertEqual(after(11, 1), timedelta(hours=16) * 1.01)

    def test_last(self) -> None:
        """Q-74: attempt 12 is the last, about 32 hours after the first."""
        self.assertEqual(MAX_ATTEMPTS, 12)
        self.assertEqual([gives_up(n) for n in (1, 11, 12, 13)], [False, False, True, True])
        whole = sum((after(n) for n in range(1, 12)), timedelta())
        self.assertApproximates(whole / timedelta(hours=1), 32, 0.1)

    def test_beyond_the_table(self) -> None:
        """A count beyond the last, which an administrator may cause, still gives a time."""
        self.assertEqual(after(99), timedelta(hours=16))
