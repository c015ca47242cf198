"""What an attempt to deliver would do, up to connecting: asked by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from moxsmtp.interfaces import RequireTLS
from moxsmtp.mtasts.policy import Policy
from moxsmtp.names import Host, IPAddress
from moxsmtp.outbound.next_hop import FixedRoute, Located, NextHop, NextHops
from moxsmtp.outbound.route import Chosen, Consignment, Router, failure_of
from moxsmtp.outbound.security import DestinationTLS, TLSPolicies
from moxsmtp.outbound.sources import ANY_SOURCE, Sources, sources_behind
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.transport import Direct, Fail, Families, Smarthost, Socks
from moxsmtp.outbound.unreachable import Unreachable

__all__ = ["Forecast", "Forecaster", "HostForecast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostForecast:
    """
    One host that would be tried.

    @ivar located: L{None}: its addresses are not known.
    @ivar sources: From where each address would be connected to; L{None}: the
        system chooses, or a proxy.
    @ivar demand: L{None}: it gets nothing.
    @ivar failure: Why not.
    @ivar steps: What was asked and answered.
    """

    host: Host
    port: int
    located: Located | None = None
    sources: tuple[IPAddress | None, ...] = ()
    demand: Demand | None = None
    failure: Unreachable | None = None
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """
    What would happen.

    @ivar chosen: L{None}: the message may not leave.
    @ivar failure: Why nothing would be connected to, if so.
    @ivar next_hop: L{None} for a smarthost, and where none was found.
    @ivar policy: Of MTA-STS; L{None}: there is none that counts.
    @ivar hosts: In the order in which they would be tried.
    @ivar steps: What was asked and answered beside that of the hosts.
    """

    chosen: Chosen | None = None
    failure: Unreachable | None = None
    next_hop: NextHop | None = None
    policy: Policy | None = None
    hosts: tuple[HostForecast, ...] = ()
    steps: tuple[str, ...] = ()


class Forecaster:
    """Asks everybody who is asked for a delivery, and connects to nobody."""

    def __init__(
        self,
        *,
        router: Router,
        next_hops: NextHops | FixedRoute,
        tls: TLSPolicies,
        sources: Sources = ANY_SOURCE,
    ) -> None:
        """@param tls: Best one that counts nothing: this is no delivery."""
        self._router = router
        self._next_hops = next_hops
        self._tls = tls
        self._sources = sources

    async def forecast(
        self, consignment: Consignment, require_tls: RequireTLS = RequireTLS.UNSET
    ) -> Forecast:
        """Say what would happen to a message now."""
        chosen = self._router.chosen(consignment)
        if isinstance(chosen, Unreachable):
            return Forecast(failure=chosen)
        match chosen.transport:
            case Fail() as transport:
                return Forecast(chosen=chosen, failure=failure_of(transport))
            case Smarthost() as transport:
                return await self._by_smarthost(chosen, transport, require_tls)
            case Direct(families=families):
                return await self._directly(
                    chosen, consignment.recipient, require_tls, families, self._sources
                )
            case Socks() as transport:
                # The proxy connects from where it is.
                behind = sources_behind(transport)
                return await self._directly(
                    chosen, consignment.recipient, require_tls, Families.BOTH, behind
                )

    async def _by_smarthost(
        self, chosen: Chosen, transport: Smarthost, require_tls: RequireTLS
    ) -> Forecast:
        needed = self._tls.smarthost(transport, require_tls)
        if isinstance(needed, Unreachable):
            return Forecast(chosen=chosen, failure=needed)
        located = await self._next_hops.addresses(transport.host)
        found = _host(transport.host, transport.port, located, self._sources)
        if found.located is None:
            return Forecast(chosen=chosen, hosts=(found,), failure=found.failure)
        host = replace(found, demand=needed.demand, steps=(*found.steps, *needed.steps))
        return Forecast(chosen=chosen, hosts=(host,))

    async def _directly(
        self,
        chosen: Chosen,
        recipient: Host,
        require_tls: RequireTLS,
        families: Families,
        sources: Sources,
    ) -> Forecast:
        next_hop = await self._next_hops.hosts(recipient)
        if isinstance(next_hop, Unreachable):
            return Forecast(chosen=chosen, failure=next_hop, steps=next_hop.steps)
        destination = await self._tls.destination(recipient, next_hop, require_tls)
        if isinstance(destination, Unreachable):
            return Forecast(
                chosen=chosen, next_hop=next_hop, failure=destination, steps=next_hop.steps
            )
        hosts = [
            await self._of_host(destination, host, require_tls, families, sources)
            for host in next_hop.hosts
        ]
        return Forecast(
            chosen=chosen,
            next_hop=next_hop,
            policy=destination.policy,
            hosts=tuple(hosts),
            failure=None if any(host.demand for host in hosts) else _failure(hosts),
            steps=(*next_hop.steps, *destination.steps),
        )

    async def _of_host(
        self,
        destination: DestinationTLS,
        host: Host,
        require_tls: RequireTLS,
        families: Families,
        sources: Sources,
    ) -> HostForecast:
        located = await self._next_hops.addresses(host, families)
        found = _host(host, self._next_hops.port, located, sources)
        if found.located is None:
            return found
        needed = await self._tls.host(destination, found.located, require_tls)
        if isinstance(needed, Unreachable):
            return replace(found, failure=needed, steps=(*found.steps, *needed.steps))
        return replace(found, demand=needed.demand, steps=(*found.steps, *needed.steps))


def _failure(hosts: Sequence[HostForecast]) -> Unreachable | None:
    """What all come to; for good where that is so of all of them (Q-61)."""
    last = hosts[-1].failure
    if last is not None and any(each.failure and not each.failure.permanent for each in hosts):
        return replace(last, permanent=False)
    return last


def _host(host: Host, port: int, located: Located | Unreachable, sources: Sources) -> HostForecast:
    """Where it is; its TLS is not known yet."""
    if isinstance(located, Unreachable):
        return HostForecast(host=host, port=port, failure=located, steps=located.steps)
    return HostForecast(
        host=host,
        port=port,
        located=located,
        sources=tuple(map(sources.towards, located.addresses)),
        steps=located.steps,
    )
