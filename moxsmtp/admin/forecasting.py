"""Who foretells where mail would go: in a server, and without one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from moxsmtp import __version__
from moxsmtp.bridge.surroundings import Uncounted
from moxsmtp.config import Settings
from moxsmtp.interfaces import IPolicies, IResolver
from moxsmtp.mtasts.cache import Policies
from moxsmtp.mtasts.fetch import Fetcher
from moxsmtp.mtasts.storage import Failure, Kept, Known
from moxsmtp.names import AddressLiteral, Domain, Host, parse_domain
from moxsmtp.outbound.forecast import Forecaster
from moxsmtp.outbound.next_hop import FixedRoute, NextHops
from moxsmtp.outbound.route import Router
from moxsmtp.outbound.security import TLSPolicies
from moxsmtp.outbound_tls import sources
from moxsmtp.sts import policy_client
from moxsmtp.tls.client import StrictTLS, client_context

__all__ = ["forecaster", "offline_forecaster"]


def forecaster(
    settings: Settings,
    *,
    router: Router,
    next_hops: NextHops | FixedRoute,
    resolver: IResolver,
    policies: IPolicies,
    reactor: Any,
) -> Forecaster:
    """One that sees what deliveries see, and counts nothing."""
    certificates = settings.outbound.certificates or None
    tls = TLSPolicies(
        resolver=resolver,
        policies=policies,
        context=client_context(strict=False, certificates=certificates),
        clock=reactor,
        now=lambda: datetime.fromtimestamp(reactor.seconds(), UTC),
        metrics=Uncounted(),
        port=settings.queue.outbound_port,
    )
    return Forecaster(router=router, next_hops=next_hops, tls=tls, sources=sources(settings))


def offline_forecaster(settings: Settings, resolver: IResolver, reactor: Any) -> Forecaster:
    """One for a configuration that no server obeys yet: no policy is kept, each is fetched."""
    context = client_context(strict=True, certificates=settings.outbound.certificates or None)
    client = policy_client(
        reactor,
        resolver,
        lambda host: StrictTLS(context, _host(host)),
        settings.outbound,
        allow_loopback=False,
    )
    fetcher = Fetcher(client, Uncounted(), user_agent=f"moxsmtp/{__version__}")
    return forecaster(
        settings,
        router=Router(lambda: settings.routing),
        next_hops=NextHops(
            resolver=resolver,
            clock=reactor,
            randbelow=secrets.randbelow,
            port=settings.queue.outbound_port,
        ),
        resolver=resolver,
        policies=Policies(
            resolver=resolver, store=_NothingKept(), fetch=fetcher.fetch, clock=reactor
        ),
        reactor=reactor,
    )


def _host(text: str) -> Host:
    try:
        return AddressLiteral(ip_address(text))
    except ValueError:
        return parse_domain(text)


class _NothingKept:
    """A store of policies that forgets."""

    async def known(self, domain: Domain) -> Known:
        """Nothing."""
        del domain
        return Known()

    async def keep(self, domain: Domain, kept: Kept) -> None:
        """Not at all."""

    async def keep_failure(self, domain: Domain, failure: Failure, when: datetime) -> None:
        """Not at all."""

    async def mark_used(self, domain: Domain, when: datetime) -> None:
        """Not at all."""

    async def extend(self, domain: Domain, kept: Kept) -> None:
        """Not at all."""

    async def due(self, before: datetime) -> Sequence[Domain]:
        """Nobody's."""
        del before
        return ()

    async def remove(self, domain: Domain, kept: Kept) -> None:
        """It is not there."""

    async def remove_old(self, *, unused: datetime, failed: datetime) -> int:
        """There are none."""
        del unused, failed
        return 0
