"""One timer for all that a connection waits for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Alarm"]


def _nobody() -> None:
    """Hears nothing."""


class Alarm:
    """
    Rings early rather than late: whoever hears it looks what is waited for now,
    and sets it anew.  So it is seldom set, though what is waited for changes
    with every command.
    """

    __slots__ = ("_clock", "_heard", "_moment", "_timer")

    def __init__(self, clock: IReactorTime, heard: Callable[[], None]) -> None:
        self._clock = clock
        self._heard = heard
        self._timer: IDelayedCall | None = None
        #: When it rings.  The timer's own time is by another clock, which may be set.
        self._moment = 0.0

    def rings_by(self, moment: float) -> bool:
        """Whether it will have rung at that time of the clock: then it need not be set."""
        return self._timer is not None and self._moment <= moment

    def set(self, seconds: float) -> None:
        """Ring after so many seconds, or before."""
        seconds = max(0.0, seconds)
        moment = self._clock.seconds() + seconds
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._ring)
        elif self._moment > moment:
            self._timer.reset(seconds)
        else:
            return
        self._moment = moment

    def set_anew(self, seconds: float) -> None:
        """Ring after so many seconds, not before."""
        self.end()
        self.set(seconds)

    def end(self) -> None:
        """Ring no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def forget(self) -> None:
        """Ring no more, for nobody."""
        self.end()
        self._heard = _nobody

    def _ring(self) -> None:
        self._timer = None
        self._heard()
