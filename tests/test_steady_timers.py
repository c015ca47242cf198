"""Tests for L{moxsmtp.steady_timers}."""

from __future__ import annotations

from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.steady_timers import SteadyTimers

DAY = 86_400.0


class SteadyTimersTests(SynchronousTestCase):
    """@ivar ended: Names of timers, in order."""

    def setUp(self) -> None:
        """Two timers wait."""
        self.ended: list[str] = []
        self.is_at_home = True
        self.passed = 0.0
        self.clock = Clock()
        self.clock.rightNow = 10 * DAY
        SteadyTimers(
            self.clock,
            steady=lambda: self.passed,
            is_at_home=lambda: self.is_at_home,
        )
        self.clock.callLater(10, self.ended.append, "ten")
        self.clock.callLater(5, self.ended.append, "five")

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.passed += seconds
        self.clock.rightNow += seconds
        self.turn()

    def turn(self) -> None:
        """As reactors do, which look at the time before they look at what is due."""
        self.clock.seconds()
        self.clock.advance(0)

    def set_clock(self, by: float) -> None:
        """Somebody does."""
        self.clock.rightNow += by

    def check_length(self) -> None:
        """Both end when they would have."""
        self.wait(4)
        self.assertEqual(self.ended, [])
        self.wait(1)
        self.assertEqual(self.ended, ["five"])
        self.wait(4)
        self.assertEqual(self.ended, ["five"])
        self.wait(1)
        self.assertEqual(self.ended, ["five", "ten"])

    def test_set_back(self) -> None:
        """A clock that is set back by a day makes no timer longer."""
        self.set_clock(-DAY)
        self.assertEqual(self.clock.seconds(), 9 * DAY)
        self.check_length()

    def test_set_forward(self) -> None:
        """One that is set forward ends none early."""
        self.set_clock(DAY)
        self.assertEqual(self.clock.seconds(), 11 * DAY)
        self.check_length()

    def test_late(self) -> None:
        """What was due while nobody looked is due now, whichever way the clock went."""
        self.passed += 7
        self.set_clock(7 - DAY)
        self.turn()
        self.assertEqual(self.ended, ["five"])

    def test_often(self) -> None:
        """What repeats itself goes on."""
        repeated = LoopingCall(self.ended.append, "again")
        repeated.clock = self.clock
        _ = repeated.start(2, now=False)
        self.addCleanup(repeated.stop)
        self.set_clock(-DAY)
        for _ in range(4):
            self.wait(1)
        self.assertEqual(self.ended, ["again", "again"])

    def test_drift(self) -> None:
        """A clock that is drawn straight is followed."""
        self.set_clock(3)
        self.wait(2)
        self.assertEqual(self.ended, ["five"])

    def test_elsewhere(self) -> None:
        """Another thread is told the time, and touches no timer."""
        self.is_at_home = False
        self.set_clock(DAY)
        self.assertEqual(self.clock.seconds(), 11 * DAY)
        self.assertEqual(self.clock.getDelayedCalls()[0].getTime(), 10 * DAY + 5)
        self.is_at_home = True
        self.check_length()
