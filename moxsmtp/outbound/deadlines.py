"""
Until when a session may take, and until when whatever it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Deadlines"]


def _nobody(error: str) -> None:
    """@param error: Too late to tell."""


class Deadlines:
    """
    Two limits, of which the earlier one counts.

    One delayed call serves them all: that a limit was moved is seen when the
    call is due, so that a session of many messages makes few of them.
    """

    def __init__(self, clock: IReactorTime, late: Callable[[str], None]) -> None:
        """
        @param clock: One that nobody sets.
        @param late: Called when time is up, with what took so long.
        """
        self._clock = clock
        self._late = late
        self._session = 0.0
        self._wait: float | None = None
        self._since = 0.0
        self._error = ""
        self._timer: IDelayedCall | None = None
        #: When it ends.  The timer's own time is by another clock, which may be set.
        self._moment = 0.0
        self._is_stopped = False

    def allow(self, limit: timedelta) -> None:
        """The session may take so long from now."""
        self._session = self._clock.seconds() + limit.total_seconds()
        self._arm()

    def set(self, limit: timedelta, error: str) -> None:
        """What is waited for now has so long, or C{error}."""
        self._since = self._clock.seconds()
        self._wait = self._since + limit.total_seconds()
        self._error = error
        self._arm()

    def clear(self) -> None:
        """Nothing is waited for."""
        self._wait = None

    def has_waited(self, seconds: float) -> bool:
        """Whether something is waited for, and has been for so long."""
        return self._wait is not None and self._clock.seconds() - self._since >= seconds

    def stop(self) -> None:
        """For good: later limits are those of nothing, and nobody is held to be told."""
        self._is_stopped = True
        self._late = _nobody
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    @property
    def _due(self) -> float:
        return self._session if self._wait is None else min(self._wait, self._session)

    def _arm(self) -> None:
        if self._is_stopped:
            return
        due = self._due
        timer = self._timer
        if timer is not None and timer.active():
            if self._moment <= due:
                return
            timer.cancel()
        self._moment = due
        self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._look)

    def _look(self) -> None:
        """Whether the time is really up."""
        now = self._clock.seconds()
        if now < self._due:
            self._arm()
        elif self._wait is None or now < self._wait:
            self._late("the session took too long")
        else:
            self._late(self._error)
