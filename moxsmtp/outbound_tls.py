"""What TLS towards other servers is made of, joined: policies, verdicts, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from twisted.application.service import IService
from twisted.logger import Logger

from moxsmtp.config import Settings
from moxsmtp.interfaces import (
    IMetrics,
    InsufficientStorage,
    IPolicies,
    IResolver,
    StorageUnavailable,
)
from moxsmtp.outbound.security import TLSPolicies
from moxsmtp.outbound.sources import Sources, sources_of
from moxsmtp.periodic import Periodic
from moxsmtp.store.database import Database
from moxsmtp.store.tls_results import TLSResults
from moxsmtp.store.tls_seen import TLSSeen
from moxsmtp.tls.client import client_context

__all__ = ["OutboundTLS", "sources"]

#: Results are gathered for so long before they are written.
_GATHERED: Final = timedelta(seconds=10)

#: Reports on a day are sent on the next; what is older is of no use (Q-87).
_KEPT: Final = timedelta(days=3)
_DAY: Final = timedelta(days=1)


def sources(settings: Settings) -> Sources:
    """From which addresses connections are made (Q-50)."""
    return sources_of(
        address
        for listener in settings.listeners
        if listener.smtp.enabled
        for address in listener.addresses
    )


class OutboundTLS:
    """
    @ivar policies: What attempts ask.
    @ivar results: Where they put down what came of it.
    @ivar seen: Where they put down what was offered (Q-62).
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        *,
        resolver: IResolver,
        sts: IPolicies | None,
        database: Database,
        reactor: Any,
        now: Callable[[], datetime],
        metrics: IMetrics,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self.results = TLSResults(database)
        self.seen = TLSSeen(database, now=now)
        self.policies = TLSPolicies(
            resolver=resolver,
            policies=sts,
            context=client_context(
                strict=False, certificates=settings.outbound.certificates or None
            ),
            clock=reactor,
            now=now,
            metrics=metrics,
            port=settings.queue.outbound_port,
        )

    def services(self) -> list[IService]:
        """Write results while they run, and forget old ones."""
        return [
            Periodic(
                "TLS results",
                self.results.flush,
                first=_GATHERED,
                interval=_GATHERED,
                clock=self._reactor,
            ),
            Periodic(
                "old TLS results",
                self._remove_old,
                first=timedelta(seconds=6),
                interval=_DAY,
                clock=self._reactor,
            ),
        ]

    async def _remove_old(self) -> None:
        await self.results.remove_before((self._now() - _KEPT).date())

    async def close(self) -> None:
        """Write what still waits; after the services have stopped, before the database does."""
        try:
            await self.results.flush()
        except (StorageUnavailable, InsufficientStorage) as error:
            self._log.warn("the latest TLS results are lost: {error}", error=error)
