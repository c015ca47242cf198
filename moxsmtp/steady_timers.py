"""
Timers that keep their length when somebody sets the clock, and a clock for how long
something has lasted.

Twisted's timers end at a time of day.  Were the clock set back by a day, all that
wait would do so for a day longer: leases would not be renewed, and a server that
hangs would not be given up.  Were it set forward, all would end at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

__all__ = ["SteadyTimers", "steady_clock"]

#: Seconds; what a clock is off by less than this is drawn straight little by little.
_SET: Final = 5.0

#: Seconds for which the two are not compared again, as long as time goes on by itself.
_TRUSTED: Final = 1.0


class SteadyTimers:
    """Looks, whenever a reactor asks for the time, whether the clock was set."""

    def __init__(
        self,
        reactor: Any,
        *,
        steady: Callable[[], float],
        is_at_home: Callable[[], bool],
    ) -> None:
        """
        @param reactor: L{IReactorTime}, whose C{seconds} is looked through from now on.
        @param steady: Seconds that nobody sets.
        @param is_at_home: Whether this is the reactor's thread, which alone may
            touch its timers.
        """
        self._reactor = reactor
        self._wall: Callable[[], float] = reactor.seconds
        self._steady = steady
        self._is_at_home = is_at_home
        #: Where durations are to be measured.
        self.clock = _SteadyClock(reactor, steady, self._wall() - steady())
        self._compared = self._wall()
        self._apart = self._compared - steady()
        reactor.seconds = self.seconds

    def seconds(self) -> float:
        """The time of day."""
        now = self._wall()
        # Asked for dozens of times a message.  Whoever sets the clock by more than
        # that leads out of these bounds at once.
        if not 0.0 <= now - self._compared < _TRUSTED:
            self._compare(now)
        return now

    def _compare(self, now: float) -> None:
        jump = now - self._steady() - self._apart
        if abs(jump) > _SET:
            if not self._is_at_home():
                return
            self._apart += jump
            for call in self._reactor.getDelayedCalls():
                call.reset(max(0.0, call.getTime() + jump - now))
        self._compared = now


@implementer(IReactorTime)
class _SteadyClock:
    """The timers of a reactor, beside the time of day as if nobody had set it since the start."""

    def __init__(self, reactor: Any, steady: Callable[[], float], apart: float) -> None:
        self._reactor = reactor
        self._steady = steady
        self._apart = apart

    def seconds(self) -> float:
        """What passes between two calls is what has passed."""
        return self._steady() + self._apart

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - the interface calls it so
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """The reactor's: C{getTime} is by its own clock."""
        call: IDelayedCall = self._reactor.callLater(delay, callable, *args, **kwargs)
        return call

    def getDelayedCalls(self) -> Any:
        """The reactor's."""
        return self._reactor.getDelayedCalls()


def steady_clock(reactor: Any) -> IReactorTime:
    """
    For who asks how long something lasts, and not what time it is.

    @return: C{reactor} itself, unless L{SteadyTimers} look after its clock.
    """
    timers = getattr(reactor.seconds, "__self__", None)
    clock: IReactorTime = timers.clock if isinstance(timers, SteadyTimers) else reactor
    return clock
