"""
How each transport finds the hosts of a destination, and what a connection to
one of them needs: where to, what to say, and how much TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from moxsmtp.interfaces import IMetrics
from moxsmtp.names import Domain, Host, IPAddress
from moxsmtp.outbound.dial import Connect
from moxsmtp.outbound.next_hop import FixedRoute, Located, NextHop, NextHops
from moxsmtp.outbound.security import DestinationTLS, TLSPolicies
from moxsmtp.outbound.sources import ANY_SOURCE, Sources
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.transport import Direct, Families, Smarthost, Socks
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.outbound.verdict import Security
from moxsmtp.queue.job import Job
from moxsmtp.smtp.opening import ClientLogin
from moxsmtp.tlsrpt import TLSResult

__all__ = ["DirectWay", "Environment", "SmarthostWay", "Target", "Way", "way_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    A host, and all that a session with it needs.

    @ivar name: For people.
    @ivar addresses: In the order to try them; at least one.
    @ivar security: Of one connection, made for each; L{None}: none in the clear.
    @ivar plain: The demand of the connection that may follow where TLS failed.
    @ivar hostname: What EHLO says.
    @ivar transport: By which it is reached.
    @ivar is_limited: A transaction has a minute and a second for each MiB (Q-45).
    """

    name: str
    addresses: tuple[IPAddress, ...]
    port: int
    demand: Demand
    plain: Demand
    security: Callable[[], Security]
    connect: Connect
    sources: Sources
    hostname: str
    transport: Direct | Socks | Smarthost
    login: ClientLogin | None = None
    is_limited: bool = False

    @property
    def is_dual_stack(self) -> bool:
        """It has addresses of both families."""
        return len({address.version for address in self.addresses}) > 1


class Way(Protocol):
    """One attempt's."""

    async def hosts(self) -> NextHop | Unreachable:
        """In the order to try them."""

    async def target(
        self, host: Host, dialed: Mapping[str, tuple[IPAddress, ...]]
    ) -> tuple[Target | Unreachable, Sequence[str]]:
        """
        What a session with one of them needs, and what was found out about it,
        for people.
        """

    def results(self) -> Sequence[TLSResult]:
        """What reports are told, after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """
    What ways are made of.

    @ivar route: The DNS, or the one server that everything goes to.
    @ivar connect: Direct connections, made from C{sources}.
    @ivar through: Makes connections by a proxy at these addresses and that port.
    @ivar login: Makes a login from a smarthost's user name and mechanisms.
    """

    route: NextHops | FixedRoute
    policies: TLSPolicies
    hostname: str
    connect: Connect
    sources: Sources = ANY_SOURCE
    through: Callable[[Sequence[IPAddress], int], Connect]
    login: Callable[[Smarthost], ClientLogin | None]
    metrics: IMetrics


def way_of(environment: Environment, transport: Direct | Socks | Smarthost, job: Job) -> Way:
    """For an attempt at the domain of C{job}."""
    if isinstance(environment.route, FixedRoute):
        return DirectWay(environment, Direct(), job)
    if isinstance(transport, Smarthost):
        return SmarthostWay(environment, environment.route, transport, job)
    return DirectWay(environment, transport, job)


@dataclass(slots=True)
class DirectWay:
    """To the hosts of the recipient's domain, perhaps through a proxy."""

    environment: Environment
    transport: Direct | Socks
    job: Job
    _destination: DestinationTLS | None = None
    _connect: Connect | None = None
    _results: list[TLSResult] = field(default_factory=list)

    async def hosts(self) -> NextHop | Unreachable:
        """See L{Way}."""
        environment, job = self.environment, self.job
        if isinstance(self.transport, Socks):
            error = await self._find_proxy(self.transport)
            if error is not None:
                return error
        next_hop = await environment.route.hosts(job.destination)
        if isinstance(next_hop, Unreachable):
            self._results += environment.policies.failed(job.destination, next_hop, job.report)
            return next_hop
        found = await environment.policies.destination(
            job.destination, next_hop, job.require_tls, job.report
        )
        if isinstance(found, Unreachable):
            return replace(found, steps=(*next_hop.steps, *found.steps))
        self._destination = found
        environment.metrics.count("mox_queue_destinations_total")
        if next_hop.authentic:
            environment.metrics.count("mox_queue_destinations_authentic_total")
        return replace(next_hop, steps=(*next_hop.steps, *found.steps))

    async def _find_proxy(self, proxy: Socks) -> Unreachable | None:
        located = await self.environment.route.addresses(proxy.address)
        if isinstance(located, Unreachable):
            return Unreachable(
                permanent=False,
                status="4.4",
                error=f"the proxy of transport {proxy.name} cannot be found: {located.error}",
            )
        self._connect = self.environment.through(located.addresses, proxy.port)
        return None

    async def target(
        self, host: Host, dialed: Mapping[str, tuple[IPAddress, ...]]
    ) -> tuple[Target | Unreachable, Sequence[str]]:
        """See L{Way}."""
        environment, transport, destination = self.environment, self.transport, self._destination
        if destination is None:
            raise RuntimeError("the hosts come before what they need")
        families = transport.families if isinstance(transport, Direct) else Families.BOTH
        located = await environment.route.addresses(host, families, dialed)
        if isinstance(located, Unreachable):
            destination.unreachable(host, located)
            return located, located.steps
        tls = await environment.policies.host(destination, located, self.job.require_tls)
        if isinstance(tls, Unreachable):
            return tls, (*located.steps, *tls.steps)
        is_socks = isinstance(transport, Socks)
        target = Target(
            name=_name(environment.route, located),
            addresses=located.addresses,
            port=environment.route.port,
            demand=tls.demand,
            plain=tls.plain,
            security=tls.security,
            connect=self._connect or environment.connect,
            sources=ANY_SOURCE if is_socks else environment.sources,
            hostname=transport.remote_hostname.ascii
            if isinstance(transport, Socks)
            else environment.hostname,
            transport=transport,
        )
        return target, (*located.steps, *tls.steps)

    def results(self) -> Sequence[TLSResult]:
        """See L{Way}."""
        own = () if self._destination is None else self._destination.results()
        return (*self._results, *own)


@dataclass(frozen=True, slots=True)
class SmarthostWay:
    """To one server, which has everything."""

    environment: Environment
    next_hops: NextHops
    transport: Smarthost
    job: Job

    async def hosts(self) -> NextHop | Unreachable:
        """See L{Way}."""
        return NextHop((self.transport.host,))

    async def target(
        self, host: Host, dialed: Mapping[str, tuple[IPAddress, ...]]
    ) -> tuple[Target | Unreachable, Sequence[str]]:
        """See L{Way}."""
        environment, transport = self.environment, self.transport
        tls = environment.policies.smarthost(transport, self.job.require_tls)
        if isinstance(tls, Unreachable):
            return tls, ()
        located = await self.next_hops.addresses(host, Families.BOTH, dialed)
        if isinstance(located, Unreachable):
            return located, (*tls.steps, *located.steps)
        target = Target(
            name=host.ascii if isinstance(host, Domain) else str(host),
            addresses=located.addresses,
            port=transport.port,
            demand=tls.demand,
            plain=tls.plain,
            security=tls.security,
            connect=environment.connect,
            sources=environment.sources,
            hostname=environment.hostname,
            transport=transport,
            login=environment.login(transport),
            is_limited=True,
        )
        return target, (*located.steps, *tls.steps)

    def results(self) -> Sequence[TLSResult]:
        """Nobody is told of a smarthost."""
        return ()


def _name(route: NextHops | FixedRoute, located: Located) -> str:
    return route.name if isinstance(route, FixedRoute) else located.host.ascii
