"""Policies kept fresh (Q-54): one round of them, which is done every day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - Twisted's
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from moxsmtp.interfaces import IMetrics, InsufficientStorage, StorageUnavailable
from moxsmtp.mtasts.cache import Refreshed
from moxsmtp.mtasts.storage import IPolicyStore
from moxsmtp.names import Domain

__all__ = ["Refresh"]

#: Policies that nothing was done about since then are looked at.
_FRESH: Final = timedelta(hours=12)

#: Over how long a round is spread, so that neither we nor a host of many policies has
#: it all at once; and for one policy at most.
_ROUND: Final = timedelta(hours=3)
_ONE: Final = timedelta(minutes=1)

#: How many are looked at at once, where they are slow.
_WORKERS: Final = 8

#: Policies unused for so long are forgotten, and failures by themselves.
_UNUSED: Final = timedelta(days=180)
_FAILED: Final = timedelta(hours=1)


class Refresh:
    """Looks at what is kept."""

    _log = Logger()

    def __init__(
        self,
        store: IPolicyStore,
        refresh: Callable[[Domain], Awaitable[Refreshed]],
        metrics: IMetrics,
        *,
        clock: IReactorTime,
        now: Callable[[], datetime],
        shuffle: Callable[[list[Domain]], object],
    ) -> None:
        """
        @param refresh: Of one, as L{moxsmtp.mtasts.cache.Policies.refresh}.
        @param shuffle: Puts a list into another order, which nobody foresees.
        """
        self._store = store
        self._refresh = refresh
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._shuffle = shuffle

    async def round(self) -> None:
        """All of them, in random order."""
        now = self._now()
        removed = await self._store.remove_old(unused=now - _UNUSED, failed=now - _FAILED)
        domains = list(await self._store.due(now - _FRESH))
        if not domains:
            return
        self._shuffle(domains)
        self._log.info(
            "MTA-STS: {count} policies are looked at; {removed} were forgotten",
            count=len(domains),
            removed=removed,
        )
        begin = self._clock.seconds()
        pace = _ROUND.total_seconds() / len(domains)
        turns = iter([(begin + number * pace, domain) for number, domain in enumerate(domains)])
        workers = [Deferred.fromCoroutine(self._work(turns)) for _ in range(_WORKERS)]
        try:
            for worker in workers:
                await worker
        finally:
            for worker in workers:
                # One of them has failed already, or all are told to end.
                _ = worker.addErrback(lambda _: None)
                worker.cancel()

    async def _work(self, turns: Iterator[tuple[float, Domain]]) -> None:
        for when, domain in turns:
            wait = when - self._clock.seconds()
            if wait > 0:
                await deferLater(self._clock, wait)
            await self._one(domain)

    async def _one(self, domain: Domain) -> None:
        refreshing = Deferred.fromCoroutine(_awaited(self._refresh, domain))
        problem = ""
        try:
            found = await refreshing.addTimeout(_ONE.total_seconds(), self._clock)
        except TimeoutError:
            found, problem = Refreshed.FAILED, "it takes too long"
        except (StorageUnavailable, InsufficientStorage) as error:
            found, problem = Refreshed.FAILED, str(error)
        if problem:
            self._log.warn(
                "the MTA-STS policy of {domain} was not looked at: {problem}",
                domain=domain.ascii,
                problem=problem,
            )
        self._metrics.count("moxsmtp_mtasts_refreshes_total", result=found.value)


async def _awaited(refresh: Callable[[Domain], Awaitable[Refreshed]], domain: Domain) -> Refreshed:
    return await refresh(domain)
