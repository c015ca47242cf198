"""Work that is done again and again while the server runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable

__all__ = ["Periodic"]


class Periodic(Service):
    """
    Does C{work} first after C{first}, then C{interval} after each end of it.
    What it raises is logged, and it is done again all the same; a store that is
    away is worth a line, anything else its traceback.  Stopping cancels it.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        first: timedelta,
        interval: timedelta,
        clock: IReactorTime,
    ) -> None:
        self.name = name
        self._work = work
        self._first = first
        self._interval = interval
        self._clock = clock
        self._next: IDelayedCall | None = None
        self._working: Deferred[None] | None = None

    def startService(self) -> None:
        """Set the clock for the first time."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        self._schedule(self._first)

    def stopService(self) -> None:
        """End what is under way and do no more."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._working is not None:
            self._working.cancel()

    def _schedule(self, delay: timedelta) -> None:
        self._next = self._clock.callLater(delay.total_seconds(), self._begin)

    def _begin(self) -> None:
        self._next = None
        self._working = Deferred.fromCoroutine(self._once())
        _ = self._working.addErrback(self._failed).addCallback(self._ended)

    async def _once(self) -> None:
        await self._work()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is not None:
            return
        text = "{name} failed, and will be tried again"
        if failure.check(StorageUnavailable, InsufficientStorage) is not None:
            self._log.warn(text + ": {error}", name=self.name, error=failure.value)
        else:
            self._log.failure(text, failure, name=self.name)

    def _ended(self, _: None) -> None:
        self._working = None
        if self.running:
            self._schedule(self._interval)
