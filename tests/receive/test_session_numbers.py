"""Tests for L{moxsmtp.receive.session_numbers}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.receive.session_numbers import session_numbers


class NumberTests(SynchronousTestCase):
    """Numbers of sessions."""

    def test_from_the_start(self) -> None:
        """They count on from the milliseconds at the start of the process (S-9)."""
        clock = Clock()
        clock.advance(1_700_000_000)
        numbers = session_numbers(clock)
        self.assertEqual(
            [next(numbers) for _ in range(3)], [1_700_000_000_000 + n for n in range(3)]
        )

    def test_time(self) -> None:
        """A number is never behind the clock, so it tells when its session began (S-9)."""
        clock = Clock()
        numbers = session_numbers(clock)
        next(numbers)
        clock.advance(2.5)
        self.assertEqual(next(numbers), 2500)

    def test_clock_back(self) -> None:
        """A clock that is set back makes no number twice (S-9)."""
        clock = Clock()
        clock.advance(10)
        numbers = session_numbers(clock)
        first = next(numbers)
        clock.rightNow = 3.0
        self.assertEqual(next(numbers), first + 1)
