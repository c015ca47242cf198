"""Clocks: one for thousands of timers, and one that is set."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from moxsmtp.steady_timers import SteadyTimers, steady_clock

__all__ = ["CrowdedClock", "SetClock"]


class CrowdedClock(Clock):
    """
    As its base, which sorts all of its timers whenever one is added or is up: so many
    times so many steps.  Here each is put where it belongs, and is not to be moved.
    """

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - the interface calls it so
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        call = DelayedCall(
            self.seconds() + delay,
            callable,
            args,
            kw,
            self.calls.remove,
            lambda _: None,
            self.seconds,
        )
        insort(self.calls, call, key=DelayedCall.getTime)
        return call

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        while self.calls and self.calls[0].getTime() <= self.seconds():
            call = self.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)


class SetClock(Clock):
    """
    What a machine has whose clock somebody sets.

    @ivar steady: The clock that nobody sets.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed = 5_000.0
        self.rightNow = 1e9
        SteadyTimers(self, steady=lambda: self._passed, is_at_home=lambda: True)
        self.steady = steady_clock(self)

    def wait(self, seconds: int) -> None:
        """Time passes."""
        for _ in range(seconds):
            self._passed += 1
            self.rightNow += 1
            self._turn()

    def set_by(self, seconds: float) -> None:
        """Somebody does."""
        self.rightNow += seconds
        self._turn()

    def _turn(self) -> None:
        """As reactors do, which look at the time before they look at what is due."""
        self.seconds()
        self.advance(0)
