"""
Timers that keep their length when somebody sets the clock.

Twisted's timers end at a time of day.  Were the clock set back by a day, all that
wait would do so for a day longer: leases would not be renewed, and a server that
hangs would not be given up.  Were it set forward, all would end at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["SteadyTimers"]

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
