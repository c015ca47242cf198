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
    """The timers of one slow connection."""

    __slots__ = (
        "_clock", "_octets", "_rested", "_resting", "_said", "_saying", "_step", "_until", "_write",
    )  # fmt: skip

    def __init__(self, clock: IReactorTime, write: Callable[[bytes], None]) -> None:
        """@param write: Puts octets on the wire."""
        self._clock = clock
        self._write = write
        self._octets = b""
        self._step = 0.0
        self._until = 0.0
        self._saying: IDelayedCall | None = None
        self._resting: IDelayedCall | None = None

    @property
    def is_saying(self) -> bool:
        """Something is on its way out, octet by octet."""
        return self._saying is not None

    @property
    def is_resting(self) -> bool:
        """Nothing is to be read for a while."""
        return self._resting is not None

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
        self._said = said
        self._say_next()

    def rest(self, step: float, rested: Callable[[], None]) -> None:
        """@param rested: Called after C{step} seconds."""
        self._rested = rested
        self._resting = self._clock.callLater(step, self._wake)

    def hurry(self) -> None:
        """Say the rest at once, and rest no longer: the server stops."""
        if self._saying is not None:
            self._saying.cancel()
            self._until = 0.0
            self._say_more()
        if self._resting is not None:
            self._resting.cancel()
            self._wake()

    def end(self) -> None:
        """The connection is gone."""
        for timer in (self._saying, self._resting):
            if timer is not None:
                timer.cancel()
        self._saying = self._resting = None

    def _say_next(self) -> None:
        """Write what is due now; without a timer afterwards, that was all."""
        if len(self._octets) <= 1 or self._clock.seconds() + self._step > self._until:
            octets, self._octets = self._octets, b""
            self._write(octets)
            return
        octet, self._octets = self._octets[:1], self._octets[1:]
        self._write(octet)
        self._saying = self._clock.callLater(self._step, self._say_more)

    def _say_more(self) -> None:
        self._saying = None
        self._say_next()
        if self._saying is None:
            self._said()

    def _wake(self) -> None:
        self._resting = None
        self._rested()
