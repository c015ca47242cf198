"""
One time limit for many at once.

A timer of the reactor for each would cost more than what most of them wait for.
Whoever began first is out of time first, so that one timer is enough.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall

__all__ = ["TimeLimit"]

T = TypeVar("T")

#: Seconds by which a reactor may well be late; more says that the clock was set.
_LATE: Final = 5.0


class TimeLimit(Generic[T]):
    """
    Tells each who has not ended in time, at that time.

    When everybody has ended the timer stays until it is up, and does nothing then.
    """

    def __init__(self, clock: Any, seconds: float, too_late: Callable[[T], object]) -> None:
        """
        @param clock: L{IReactorTime}, or as much of it as C{seconds} and C{callLater}.
        @param too_late: Given who is out of time, and not to be ended any more.
        """
        self._clock = clock
        self._seconds = seconds
        self._too_late = too_late
        self._begun: OrderedDict[T, float] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def begin(self, who: T, now: float) -> None:
        """@param now: What the clock says."""
        self._begun[who] = now
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._expire, now)

    def end(self, who: T) -> None:
        """No limit any more; may be repeated."""
        self._begun.pop(who, None)

    def close(self) -> None:
        """Nobody is told any more."""
        self._begun.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, since: float) -> None:
        """Those are out of time who began at C{since} or before."""
        self._timer = None
        late = self._clock.seconds() - since - self._seconds
        if not 0.0 <= late < _LATE:
            late = 0.0
        due = []
        for who, begun in self._begun.items():
            left = begun - since - late
            if begun < since or left > self._seconds:
                # The clock was set: who began since then has all of the time from now on.
                left = self._seconds
            if left > 0.0:
                self._timer = self._clock.callLater(left, self._expire, begun)
                break
            due.append(who)
        for who in due:
            # One may have ended another.
            if self._begun.pop(who, None) is not None:
                self._too_late(who)
