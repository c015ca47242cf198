"""
How fast a connection is served: at once, or, for those who have given trouble,
so slowly that it is no fun (S-17).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Pace"]

#: So many seconds before a peer would have to have taken all, the rest leaves at once.
_SPARE: Final = 5.0


class Pace:
    """
    The timers of one slow connection.

    @ivar is_saying: Something is on its way out, octet by octet.
    @ivar is_resting: Nothing is read for a while.
    """

    __slots__ = ("_clock", "_octets", "_rested", "_said", "_step", "_timer", "_until", "_write")

    def __init__(self, clock: IReactorTime, write: Callable[[bytes], None]) -> None:
        """@param write: Puts octets on the wire."""
        self._clock = clock
        self._write = write
        self._octets = b""
        self._until = 0.0
        self._said: Callable[[], None] | None = None
        self._rested: Callable[[], None] | None = None
        self._timer: IDelayedCall | None = None
        self._step = 0.0

    @property
    def is_saying(self) -> bool:
        return self._said is not None

    @property
    def is_resting(self) -> bool:
        return self._rested is not None

    def say(self, octets: bytes, step: float, limit: float, said: Callable[[], None]) -> None:
        """
        Write one octet, wait, and so on.

        @param step: Seconds between two of them.
        @param limit: Seconds that a peer has to take all of it.
        @param said: Called later, once all is written; not at all, if that is
            so already.
        """
        self._step = step
        self._octets = octets
        self._until = self._clock.seconds() + limit - _SPARE
        if not self._has_said_all():
            self._said = said

    def rest(self, step: float, rested: Callable[[], None]) -> None:
        """@param rested: Called after C{step} seconds."""
        self._rested = rested
        self._timer = self._clock.callLater(step, self._wake)

    def hurry(self) -> None:
        """Say the rest at once, and rest no longer: the server stops."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._until = -1.0
            self._wake()

    def end(self) -> None:
        """The connection is gone."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._said = self._rested = None

    def _has_said_all(self) -> bool:
        """Write what is due now."""
        if len(self._octets) <= 1 or self._clock.seconds() + self._step > self._until:
            octets, self._octets = self._octets, b""
            self._write(octets)
            return True
        octet, self._octets = self._octets[:1], self._octets[1:]
        self._write(octet)
        self._timer = self._clock.callLater(self._step, self._wake)
        return False

    def _wake(self) -> None:
        self._timer = None
        rested, self._rested = self._rested, None
        if rested is not None:
            rested()
        elif self._said is not None and self._has_said_all():
            said, self._said = self._said, None
            said()
