"""
Which hosts take a domain's mail, and where they are.  RFC 5321 section 5,
RFC 7505.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as LookupTimeout
from twisted.internet.interfaces import IReactorTime

from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import AddressLiteral, Domain, Host, InvalidName, IPAddress, parse_domain
from moxsmtp.outbound.unreachable import Unreachable

__all__ = ["FixedRoute", "NextHop", "NextHops", "Unreachable"]

#: CNAMEs of a recipient domain that are followed (Q-47).
_LONGEST_CHAIN: Final = 16

#: Seconds for one look-up (Q-47).
_LOOKUP_LIMIT: Final = 30.0

#: Hosts tried in one attempt, and addresses of one host: a domain that lists
#: thousands gets no hours of ours.  RFC 5321 section 5.1 asks for two at least.
_MOST_HOSTS: Final = 16
_MOST_ADDRESSES: Final = 16


@dataclass(frozen=True, slots=True)
class NextHop:
    """@ivar hosts: In the order to try them; at least one."""

    hosts: tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class FixedRoute:
    """
    Everything goes to one server, without asking the DNS (Q-89).

    @ivar name: For logs and DSNs.
    """

    address: IPAddress
    port: int
    name: str = "localhost"

    async def hosts(self, destination: Host) -> NextHop | Unreachable:
        """As L{NextHops.hosts}."""
        del destination
        return NextHop((AddressLiteral(self.address),))

    async def addresses(self, host: Host) -> tuple[IPAddress, ...] | Unreachable:
        """As L{NextHops.addresses}."""
        del host
        return (self.address,)


class NextHops:
    """
    Finds next hops in the DNS.

    @ivar port: Where mail servers listen.
    """

    def __init__(
        self,
        *,
        resolver: IResolver,
        clock: IReactorTime,
        randbelow: Callable[[int], int],
        port: int = 25,
    ) -> None:
        """@param randbelow: Shuffles hosts of equal preference."""
        self.port = port
        self._resolver = resolver
        self._clock = clock
        self._randbelow = randbelow

    async def hosts(self, destination: Host) -> NextHop | Unreachable:
        """
        Where mail for C{destination} goes: an address literal to itself
        (Q-46), a domain to its MX hosts or, without any, to itself (Q-47).
        """
        if isinstance(destination, AddressLiteral):
            return NextHop((destination,))
        try:
            name = await self._expanded(destination.ascii)
            answer = await self._lookup(Question(name, RRType.MX)) if name else None
        except LookupFailed as failure:
            return Unreachable(permanent=False, status="4.3", error=str(failure))
        if answer is None or not answer.exists:
            return Unreachable(
                permanent=True, status="1.2", error=f"{destination} does not exist in the DNS"
            )
        return self._chosen(destination, name, answer)

    async def _expanded(self, name: str) -> str:
        """
        The end of the domain's CNAMEs, each asked for by itself; empty if
        there is no such name.

        @raise LookupFailed: A loop, too many of them, or the DNS failed.
        """
        for _ in range(_LONGEST_CHAIN):
            answer = await self._lookup(Question(name, RRType.CNAME))
            if not answer.exists:
                return ""
            if not answer.records:
                return name
            name = Question(str(answer.records[0]), RRType.CNAME).name
        raise LookupFailed(f"the CNAMEs of {name} lead too far")

    def _chosen(self, destination: Domain, name: str, answer: Answer) -> NextHop | Unreachable:
        records = [record for record in answer.records if isinstance(record, MX)]
        if not records:
            records = [MX(0, name)]
        elif len(records) == 1 and not records[0].host:
            return Unreachable(
                permanent=True, status="1.10", error=f"{destination} takes no mail (null MX)"
            )
        order = sorted(records, key=lambda mx: (mx.preference, self._randbelow(1 << 32)))
        hosts: dict[Host, None] = {}
        for record in order:
            try:
                hosts[parse_domain(record.host)] = None
            except InvalidName:
                continue
        if not hosts:
            return Unreachable(
                permanent=False,
                status="4.4",
                error=f"no mail server of {destination} has a valid name",
            )
        return NextHop(tuple(hosts)[:_MOST_HOSTS])

    async def addresses(self, host: Host) -> tuple[IPAddress, ...] | Unreachable:
        """
        Addresses of a host, in the order of the DNS.  IPv4 comes first: what
        receivers ask of a sender's address, reverse names above all, is more
        often in order there.
        """
        if isinstance(host, AddressLiteral):
            return (host.address,)
        lookups = [
            Deferred.fromCoroutine(self._lookup(Question(host.ascii, family)))
            for family in (RRType.A, RRType.AAAA)
        ]
        answers: list[tuple[bool, Any]] = await DeferredList(lookups, consumeErrors=True)
        found: list[IPAddress] = []
        errors: list[str] = []
        for success, outcome in answers:
            if success:
                found += [ip_address(str(record)) for record in outcome.records]
            elif outcome.check(LookupFailed):
                errors.append(outcome.getErrorMessage())
            else:
                outcome.raiseException()
        if found:
            return tuple(dict.fromkeys(found))[:_MOST_ADDRESSES]
        return Unreachable(
            permanent=False,
            status="4.3" if errors else "4.4",
            error="; ".join(errors) or f"{host} has no address",
        )

    async def _lookup(self, question: Question) -> Answer:
        asking = self._resolver.lookup(question).addTimeout(_LOOKUP_LIMIT, self._clock)
        try:
            return await asking
        except LookupTimeout:
            raise LookupFailed(
                f"{question.type} of {question.name}: no answer in {_LOOKUP_LIMIT:g} s"
            ) from None
