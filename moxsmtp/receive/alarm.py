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

    __slots__ = ("_clock", "_heard", "_timer")

    def __init__(self, clock: IReactorTime, heard: Callable[[], None]) -> None:
        self._clock = clock
        self._heard = heard
        self._timer: IDelayedCall | None = None

    def rings_by(self, moment: float) -> bool:
        """Whether it will have rung at that time of the clock: then it need not be set."""
        return self._timer is not None and self._timer.getTime() <= moment

    def set(self, seconds: float) -> None:
        """Ring after so many seconds, or before."""
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, seconds), self._ring)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(max(0.0, seconds))

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
