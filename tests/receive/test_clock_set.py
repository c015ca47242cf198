"""A connection while somebody sets the clock of the machine."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from moxsmtp.receive.alarm import Alarm
from moxsmtp.steady_timers import SteadyTimers, steady_clock
from tests.receive.test_conversation import ListeningCase

_DAY = 86_400.0


class ClockSetTests(ListeningCase):
    """@ivar passed: Seconds, by the clock that nobody sets."""

    def setUp(self) -> None:
        super().setUp()
        self.passed = 5_000.0
        self.reactor = Clock()
        self.reactor.rightNow = 1e9
        SteadyTimers(self.reactor, steady=lambda: self.passed, is_at_home=lambda: True)
        self.steady: Any = steady_clock(self.reactor)
        self.start(clock=self.steady, wall_clock=self.reactor)

    def wait(self, seconds: int) -> None:
        """Time passes."""
        for _ in range(seconds):
            self.passed += 1
            self.reactor.rightNow += 1
            self.turn()

    def turn(self) -> None:
        """As reactors do, which look at the time before they look at what is due."""
        self.reactor.seconds()
        self.reactor.advance(0)

    def set_clock(self, by: float) -> None:
        """Somebody does."""
        self.reactor.rightNow += by
        self.turn()

    def test_idle(self) -> None:
        """
        Who says nothing has its five minutes (S-16), no less where the clock is set forward
        by a day meanwhile, no more where it is set back.
        """
        for by in (_DAY, -_DAY):
            self.connect()
            self.speak(b"EHLO x.example\r\n")
            self.wait(100)
            self.set_clock(by)
            self.wait(190)
            self.assertFalse(self.wire.disconnecting)
            self.wait(20)
            self.assertTrue(self.wire.disconnecting)
            self.drop()

    def test_content(self) -> None:
        """The same goes for a message that comes slowly, of which each block may take long."""
        for by in (_DAY, -_DAY):
            self.connect()
            self.begin()
            self.wait(100)
            self.set_clock(by)
            self.wait(70)
            self.speak(b"Subject: x\r\n\r\n")
            self.wait(170)
            self.assertTrue(self.speak(b".\r\n").startswith(b"250 "))
            self.drop()

    def test_blocked(self) -> None:
        """And for who does not read."""
        for by in (_DAY, -_DAY):
            self.connect()
            self.server.pauseProducing()
            self.set_clock(by)
            self.wait(25)
            self.assertFalse(self.wire.disconnected)
            self.wait(10)
            self.assertTrue(self.wire.disconnected)
            self.drop()

    def test_log(self) -> None:
        """Lines of the log tell the time as it is set, and how long something took (S-9)."""
        self.speak(b"EHLO x.example\r\n")
        self.set_clock(_DAY)
        self.speak(b"MAIL FROM:nobody\r\n")
        line = self.events[-1]
        self.assertEqual((1e9 + _DAY, 0.0), (line["log_time"], line["delta"]))

    def test_alarm(self) -> None:
        """A timer that was moved because the clock was set rings when it would have."""
        heard: list[float] = []
        alarm = Alarm(self.steady, lambda: heard.append(self.passed))
        due = self.steady.seconds() + 5
        alarm.set(5)
        for by in (_DAY, -_DAY):
            self.set_clock(by)
            self.assertTrue(alarm.rings_by(due))
            self.assertFalse(alarm.rings_by(due - 1))
        alarm.set(20)
        self.wait(4)
        self.assertEqual([], heard)
        self.wait(1)
        self.assertEqual([5_005.0], heard)


class UnwatchedTests(ListeningCase):
    """Where nobody looks after the clock."""

    def test_itself(self) -> None:
        """It is used as it is."""
        clock = Clock()
        self.assertIs(clock, steady_clock(clock))
