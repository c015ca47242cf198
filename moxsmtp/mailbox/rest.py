"""Waiting that ends early when there is something to do."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["Rest"]


class Rest:
    """Of one coroutine, which waits at most once at a time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: Deferred[None] | None = None

    async def wait(self, seconds: float | None) -> None:
        """
        Wait until L{end}.

        @param seconds: At most so long; L{None}: without limit.
        """
        self._waiting = Deferred()
        timer = None if seconds is None else self._clock.callLater(max(0.0, seconds), self.end)
        try:
            await self._waiting
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    def end(self) -> None:
        """Nobody need wait any longer; nothing if nobody does."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
