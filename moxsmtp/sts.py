"""What MTA-STS is made of, joined."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.https.client import Client
from moxsmtp.https.endpoint import IReactorTCPTime, TLSFor
from moxsmtp.interfaces import IMetrics, IResolver
from moxsmtp.mtasts.cache import Policies
from moxsmtp.mtasts.fetch import Fetcher
from moxsmtp.mtasts.refresh import Refresh
from moxsmtp.names import Domain
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.periodic import Periodic
from moxsmtp.store.database import Database
from moxsmtp.store.sts_policies import StsPolicies

__all__ = ["StsParts", "policy_client"]

#: The first look at what is kept comes soon, for a server that never runs a whole day.
_FIRST: Final = timedelta(minutes=10)
_DAY: Final = timedelta(days=1)


def policy_client(
    reactor: IReactorTCPTime,
    resolver: IResolver,
    tls_for: TLSFor,
    settings: OutboundSettings,
    *,
    allow_loopback: bool,
) -> Client:
    """Whoever fetches policies; hosts of them are asked once and not again for long."""
    addresses = AddressPolicy(settings.allow_private, allow_loopback=allow_loopback)
    return Client(reactor, resolver, tls_for, addresses, persistent=False)


class StsParts:
    """@ivar policies: What mail asks (L{moxsmtp.interfaces.IPolicies})."""

    def __init__(
        self,
        *,
        resolver: IResolver,
        database: Database,
        client: Client,
        metrics: IMetrics,
        reactor: IReactorTCPTime,
        shuffle: Callable[[list[Domain]], object],
        user_agent: str,
    ) -> None:
        self._client = client
        self._clock = reactor
        store = StsPolicies(database)
        fetcher = Fetcher(client, metrics, user_agent=user_agent)
        self.policies = Policies(resolver=resolver, store=store, fetch=fetcher.fetch, clock=reactor)
        self._refresh = Refresh(
            store,
            self.policies.refresh,
            metrics,
            clock=reactor,
            now=self.policies.now,
            shuffle=shuffle,
        )

    def service(self) -> IService:
        """Keeps the policies fresh while it runs (Q-54)."""
        return Periodic(
            "MTA-STS policies", self._refresh.round, first=_FIRST, interval=_DAY, clock=self._clock
        )

    def close(self) -> Deferred[None]:
        """Let go of idle connections."""
        return self._client.close()
