"""How slowly those are served who give trouble."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.receive.pace import Pace


class PaceTests(SynchronousTestCase):
    """The timers of a slow connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.written: list[tuple[float, bytes]] = []
        self.over: list[float] = []
        self.pace = Pace(self.clock, self.write)

    def write(self, octets: bytes) -> None:
        self.written.append((self.clock.seconds(), octets))

    def done(self) -> None:
        self.over.append(self.clock.seconds())

    def test_octet_by_octet(self) -> None:
        """One octet, a second, and so on; the end is told once (S-17)."""
        self.pace.say(b"abc", 1, 30, self.done)
        self.assertTrue(self.pace.is_saying)
        self.clock.pump([0.5] * 8)
        self.assertEqual(self.written, [(0, b"a"), (1, b"b"), (2, b"c")])
        self.assertEqual(self.over, [2])
        self.assertFalse(self.pace.is_saying)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_rest_at_once(self) -> None:
        """With less than five seconds left of the write deadline, the rest leaves (S-17, T-19)."""
        self.pace.say(b"x" * 100, 1, 30, self.done)
        self.clock.pump([1] * 40)
        self.assertEqual(sum(len(octets) for _, octets in self.written), 100)
        self.assertEqual(self.over, [25])
        self.assertEqual(self.written[-1], (25, b"x" * 75))

    def test_no_time(self) -> None:
        """With a short deadline, all leaves at once, and no end is told of (S-17)."""
        self.pace.say(b"abc", 1, 5, self.done)
        self.assertEqual(self.written, [(0, b"abc")])
        self.assertFalse(self.pace.is_saying)
        self.assertEqual(self.over, [])

    def test_rest(self) -> None:
        """A rest ends after its time (S-17)."""
        self.pace.rest(1, self.done)
        self.assertTrue(self.pace.is_resting)
        self.clock.advance(1)
        self.assertFalse(self.pace.is_resting)
        self.assertEqual(self.over, [1])

    def test_hurry(self) -> None:
        """At shutdown the rest leaves at once, and no rest goes on (S-17)."""
        self.pace.say(b"abc", 1, 30, self.done)
        self.pace.hurry()
        self.assertEqual([octets for _, octets in self.written], [b"a", b"bc"])
        self.pace.rest(1, self.done)
        self.pace.hurry()
        self.assertEqual(self.over, [0, 0])
        self.pace.hurry()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """A connection that is gone leaves no timer (S-17)."""
        self.pace.say(b"abc", 1, 30, self.done)
        self.pace.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pace.rest(1, self.done)
        self.pace.end()
        self.assertEqual((self.clock.getDelayedCalls(), self.over), ([], []))
