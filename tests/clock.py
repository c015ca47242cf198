"""A clock for thousands of timers."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

__all__ = ["CrowdedClock"]


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
