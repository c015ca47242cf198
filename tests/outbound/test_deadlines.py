"""Limits of time."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.outbound.deadlines import Deadlines
from tests.clock import SetClock


class DeadlinesTests(SynchronousTestCase):
    """The earlier one counts, however they were moved."""

    def setUp(self) -> None:
        """A session of 100 s."""
        self.clock = Clock()
        self.told: list[tuple[float, str]] = []
        self.deadlines = Deadlines(
            self.clock, lambda error: self.told.append((self.clock.seconds(), error))
        )
        self.deadlines.allow(timedelta(seconds=100))

    def pass_seconds(self, seconds: int) -> None:
        """One by one."""
        self.clock.pump([1] * seconds)

    def test_wait(self) -> None:
        """What is waited for has its limit, and then it is said what that was."""
        self.deadlines.set(timedelta(seconds=10), "no reply")
        self.pass_seconds(11)
        self.assertEqual(self.told, [(10, "no reply")])

    def test_session(self) -> None:
        """No wait is longer than the session."""
        self.pass_seconds(95)
        self.deadlines.set(timedelta(seconds=10), "no reply")
        self.pass_seconds(10)
        self.assertEqual(self.told, [(100, "the session took too long")])

    def test_has_waited(self) -> None:
        """It is known for how long the latest thing is waited for, if anything is."""
        self.pass_seconds(5)
        self.assertFalse(self.deadlines.has_waited(0))
        self.deadlines.set(timedelta(seconds=50), "no reply")
        self.pass_seconds(2)
        self.assertEqual([self.deadlines.has_waited(n) for n in (2, 3)], [True, False])
        self.deadlines.set(timedelta(seconds=50), "no other reply")
        self.assertFalse(self.deadlines.has_waited(1))
        self.pass_seconds(2)
        self.deadlines.clear()
        self.assertFalse(self.deadlines.has_waited(1))

    def test_one_call(self) -> None:
        """A thousand waits, each later than the one before, make one delayed call (Q-68)."""
        for _ in range(1000):
            self.deadlines.allow(timedelta(seconds=100))
            self.deadlines.set(timedelta(seconds=10), "no reply")
            self.clock.advance(0.001)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.deadlines.stop()
        self.deadlines.allow(timedelta(seconds=1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["allow", "set", "clear"]), st.integers(1, 40)), max_size=12
        ),
        st.lists(st.integers(0, 30), max_size=12),
    )
    def test_any(self, moves: list[tuple[str, int]], pauses: list[int]) -> None:
        """Whatever is moved when: time is up in the second in which the earlier limit is."""
        self.setUp()
        session, wait = 100.0, None
        for number, (what, seconds) in enumerate(moves):
            pause = pauses[number] if number < len(pauses) else 0
            due = session if wait is None else min(session, wait)
            self.pass_seconds(pause)
            if self.clock.seconds() >= due:
                self.assertEqual([at for at, _ in self.told], [due])
                return
            self.assertEqual(self.told, [])
            if what == "allow":
                self.deadlines.allow(timedelta(seconds=seconds))
                session = self.clock.seconds() + seconds
            elif what == "set":
                self.deadlines.set(timedelta(seconds=seconds), "late")
                wait = self.clock.seconds() + seconds
            else:
                self.deadlines.clear()
                wait = None
        self.pass_seconds(200)
        self.assertEqual(
            [at for at, _ in self.told], [session if wait is None else min(session, wait)]
        )


class ClockSetTests(SynchronousTestCase):
    """While somebody sets the machine's clock by a day, either way."""

    def deadlines(self, clock: SetClock) -> tuple[Deadlines, list[str]]:
        """Of a session of 100 s, and what it is told."""
        told: list[str] = []
        deadlines = Deadlines(clock.steady, told.append)
        deadlines.allow(timedelta(seconds=100))
        return deadlines, told

    def test_wait(self) -> None:
        """A server has its time for a reply, no less and no more (Q-68)."""
        for by in (86_400, -86_400):
            clock = SetClock()
            deadlines, told = self.deadlines(clock)
            deadlines.set(timedelta(seconds=10), "no reply")
            clock.wait(5)
            clock.set_by(by)
            self.assertTrue(deadlines.has_waited(5))
            self.assertFalse(deadlines.has_waited(6))
            clock.wait(4)
            self.assertEqual(told, [])
            clock.wait(1)
            self.assertEqual(told, ["no reply"])

    def test_session(self) -> None:
        """So does a session of many replies."""
        for by in (86_400, -86_400):
            clock = SetClock()
            deadlines, told = self.deadlines(clock)
            clock.wait(50)
            clock.set_by(by)
            for _ in range(7):
                deadlines.set(timedelta(seconds=20), "no reply")
                clock.wait(7)
            self.assertEqual(told, [])
            clock.wait(1)
            self.assertEqual(told, ["the session took too long"])

    def test_earlier(self) -> None:
        """A limit that is set afterwards and is earlier than the others counts from then."""
        for by in (86_400, -86_400):
            clock = SetClock()
            deadlines, told = self.deadlines(clock)
            clock.set_by(by)
            deadlines.set(timedelta(seconds=10), "no reply")
            clock.wait(9)
            self.assertEqual(told, [])
            clock.wait(1)
            self.assertEqual(told, ["no reply"])
