"""Tests for L{moxsmtp.receive.alarm}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.receive.alarm import Alarm


class AlarmTests(SynchronousTestCase):
    """One timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.heard: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.heard.append(self.clock.seconds()))

    def test_earliest(self) -> None:
        """The earliest time that was asked for counts, and one timer is enough."""
        for seconds in (9, 3, 6):
            self.alarm.set(seconds)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([1] * 10)
        self.assertEqual(self.heard, [3])

    def test_again(self) -> None:
        """It can be set once it has rung; what is past is now."""
        self.alarm.set(-5)
        self.clock.advance(0)
        self.alarm.set(2)
        self.clock.advance(2)
        self.assertEqual(self.heard, [0, 2])

    def test_anew(self) -> None:
        """A time of its own forgets the ones before."""
        self.alarm.set(1)
        self.alarm.set_anew(5)
        self.clock.pump([1] * 6)
        self.assertEqual(self.heard, [5])

    def test_known(self) -> None:
        """It tells whether it will have rung by some time."""
        self.assertFalse(self.alarm.rings_by(100))
        self.alarm.set(5)
        found = [self.alarm.rings_by(moment) for moment in (4.9, 5, 9)]
        self.assertEqual(found, [False, True, True])
        self.clock.advance(5)
        self.assertFalse(self.alarm.rings_by(100))

    def test_end(self) -> None:
        """Ended, it leaves no timer; that may be repeated."""
        self.alarm.set(1)
        self.alarm.end()
        self.alarm.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
