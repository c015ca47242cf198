"""Tests for L{moxsmtp.time_limit}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.steady_timers import SteadyTimers
from moxsmtp.time_limit import TimeLimit
from tests.clock import CrowdedClock

DAY = 86_400.0


class TimeLimitTests(SynchronousTestCase):
    """@ivar late: Who was told, and when."""

    def setUp(self) -> None:
        """Nobody has begun; five seconds."""
        self.clock: Clock = CrowdedClock()
        self.late: list[tuple[str, float]] = []
        self.limit = TimeLimit[str](self.clock, 5.0, self.tell)

    def tell(self, who: str) -> None:
        """Put it down."""
        self.late.append((who, self.clock.seconds()))

    def begin(self, who: str) -> None:
        """Now."""
        self.limit.begin(who, self.clock.seconds())

    def test_each_at_its_time(self) -> None:
        """Each is told five seconds after it began, whoever ended meanwhile; one timer waits."""
        for who in "abc":
            self.begin(who)
            self.clock.advance(1.0)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.limit.end("b")
        self.limit.end("b")
        for _ in range(100):
            self.clock.advance(0.125)
        self.assertEqual(self.late, [("a", 5.0), ("c", 7.0)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_begins_again(self) -> None:
        """Who has ended may begin anew; the time is that of the second beginning."""
        self.begin("a")
        self.clock.advance(4.0)
        self.limit.end("a")
        self.begin("a")
        self.clock.advance(4.0)
        self.assertEqual(self.late, [])
        self.clock.advance(1.0)
        self.assertEqual(self.late, [("a", 9.0)])

    def test_one_ends_another(self) -> None:
        """Who is ended by one that was told is not told."""

        def tell(who: str) -> None:
            self.tell(who)
            limit.end("b")

        limit = TimeLimit[str](self.clock, 5.0, tell)
        limit.begin("a", 0.0)
        limit.begin("b", 0.0)
        self.clock.advance(5.0)
        self.assertEqual(self.late, [("a", 5.0)])

    def test_begins_when_told(self) -> None:
        """Who is told may begin again at once."""

        def tell(who: str) -> None:
            self.tell(who)
            limit.begin(who, self.clock.seconds())

        limit = TimeLimit[str](self.clock, 5.0, tell)
        limit.begin("a", 0.0)
        for _ in range(3):
            self.clock.advance(5.0)
        self.assertEqual([when for _, when in self.late], [5.0, 10.0, 15.0])

    def test_close(self) -> None:
        """Nobody is told, and no timer is left."""
        self.begin("a")
        self.limit.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.limit.close()
        self.clock.advance(5.0)
        self.assertEqual(self.late, [])

    def test_slow_reactor(self) -> None:
        """A reactor that is late each time makes nobody later than it is itself."""
        self.clock = clock = Clock()
        self.limit = TimeLimit[str](clock, 5.0, self.tell)
        for number in range(200):
            self.begin(str(number))
            clock.rightNow += 0.0625
            clock.advance(0.0)
            if number % 16 == 7:
                clock.rightNow += 0.5
        for _ in range(20):
            clock.advance(0.5)
        told = dict(self.late)
        self.assertEqual(len(told), 200)
        begun = 0.0
        for number in range(200):
            self.assertTrue(5.0 <= told[str(number)] - begun <= 6.5, number)
            begun += 0.5625 if number % 16 == 7 else 0.0625

    @given(st.lists(st.floats(0.0, 3.0), max_size=30))
    @settings(max_examples=50, deadline=None)
    def test_any_order(self, pauses: list[float]) -> None:
        """However they begin, each is told after five seconds."""
        self.setUp()
        begun = {}
        for number, pause in enumerate(pauses):
            self.clock.advance(pause)
            begun[str(number)] = self.clock.seconds()
            self.begin(str(number))
        self.clock.advance(1.0)
        for _ in range(60):
            self.clock.advance(0.25)
        self.assertEqual(list(begun), [who for who, _ in self.late])
        for who, when in self.late:
            self.assertTrue(-1e-9 <= when - begun[who] - 5.0 <= 3.0)

    def test_clock_is_set(self) -> None:
        """
        Whichever way somebody sets the clock, nobody waits for longer than twice
        the time, and who begins behind that has all of it.
        """
        for jump in (DAY, -DAY):
            self.late.clear()
            self.check_set(jump)

    def check_set(self, jump: float) -> None:
        """The clock is set after three seconds."""
        passed = 0.0
        self.clock = clock = Clock()
        clock.rightNow = 10 * DAY
        SteadyTimers(clock, steady=lambda: passed, is_at_home=lambda: True)
        self.limit = TimeLimit[str](clock, 5.0, self.tell)
        begun: dict[str, float] = {}
        told: dict[str, float] = {}
        for step in range(40):
            if step == 6:
                clock.rightNow += jump
            if step < 14:
                begun[str(step)] = passed
                self.begin(str(step))
            passed += 0.5
            clock.rightNow += 0.5
            clock.seconds()
            clock.advance(0.0)
            told |= {who: passed for who, _ in self.late if who not in told}
        self.assertEqual(told.keys(), begun.keys())
        for who, since in begun.items():
            self.assertLessEqual(told[who] - since, 10.0)
            if int(who) >= 6:
                self.assertGreaterEqual(told[who] - since, 5.0)
