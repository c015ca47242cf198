"""
Which hosts take a domain's mail, and where they are.  RFC 5321 section 5,
RFC 7505.

What the DNS says is kept together with how far it is authentic: DANE stands on
that (RFC 7672 section 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import AddressLiteral, Domain, Host, InvalidName, IPAddress, parse_domain
from moxsmtp.outbound.lookups import ask, shortened, told
from moxsmtp.outbound.transport import Families
from moxsmtp.outbound.unreachable import Unreachable

__all__ = ["FixedRoute", "Located", "NextHop", "NextHops", "in_order"]

#: CNAMEs that are followed, of a recipient domain (Q-47) and of a host (Q-49).
_LONGEST_CHAIN: Final = 16
_LONGEST_HOST_CHAIN: Final = 11

#: Hosts tried in one attempt, and addresses of one host: a domain that lists
#: thousands gets no hours of ours.  RFC 5321 section 5.1 asks for two at least.
_MOST_HOSTS: Final = 16
_MOST_ADDRESSES: Final = 16

#: Not one that was tried yet.
_NONE_DIALED: Final[Mapping[str, tuple[IPAddress, ...]]] = {}


@dataclass(frozen=True, slots=True)
class NextHop:
    """
    Where a domain's mail goes.

    @ivar hosts: In the order to try them; at least one.
    @ivar recipient_domain: L{None} where the DNS was not asked: policies of
        domains do not count (Q-46).
    @ivar expanded: The end of the domain's CNAMEs, its own name where it has none.
    @ivar has_mx: The hosts are named by MX records.
    @ivar authentic: All of it is: CNAMEs, and that there are these MX records or none (Q-48).
    @ivar first_authentic: What the first question was answered with is: the
        first CNAME, or that there is none.
    @ivar is_given: It is so whatever the recipient is: no policy counts, not
        even the sender's (Q-89).
    @ivar steps: What was asked and answered, for people.
    """

    hosts: tuple[Host, ...]
    recipient_domain: Domain | None = None
    expanded: str = ""
    has_mx: bool = False
    authentic: bool = False
    first_authentic: bool = False
    is_given: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Located:
    """
    Where a host is.

    @ivar addresses: In the order to try them; at least one.
    @ivar expanded: The end of the host's CNAMEs; its own name where it has none.
    @ivar authentic: All of it is, addresses included.
    @ivar first_authentic: The first answer is: the host's CNAME; of a host that
        has none, all of it.  RFC 7672 section 2.2.2.
    @ivar steps: What was asked and answered, for people.
    """

    host: Host
    addresses: tuple[IPAddress, ...]
    expanded: str = ""
    authentic: bool = False
    first_authentic: bool = False
    steps: tuple[str, ...] = ()


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
        return NextHop((AddressLiteral(self.address),), is_given=True)

    async def addresses(
        self,
        host: Host,
        families: Families = Families.BOTH,
        dialed: Mapping[str, tuple[IPAddress, ...]] = _NONE_DIALED,
    ) -> Located | Unreachable:
        """As L{NextHops.addresses}."""
        del families, dialed
        return Located(host, (self.address,))


class _Trail:
    """What was asked on the way to one result, and how far it is authentic."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.first_authentic = False
        self.authentic = True

    def heard(self, question: Question, answer: Answer) -> None:
        if not self.steps:
            self.first_authentic = answer.authentic
        self.authentic = self.authentic and answer.authentic
        self.steps.append(told(question, answer))

    def ended(self, *, permanent: bool, status: str, error: str) -> Unreachable:
        """It leads nowhere."""
        return Unreachable(permanent, status, error, steps=tuple(self.steps))


@dataclass(frozen=True, slots=True)
class _End:
    """Of CNAMEs.  @ivar exists: There is such a name."""

    name: str
    exists: bool
    is_alias: bool


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
        trail = _Trail()
        try:
            end = await self._expanded(destination.ascii, _LONGEST_CHAIN, trail)
            if not end.exists:
                return _no_such(destination, trail)
            question = Question(end.name, RRType.MX)
            answer = await self._lookup(question)
        except LookupFailed as failure:
            return trail.ended(permanent=False, status="4.3", error=str(failure))
        trail.heard(question, answer)
        if not answer.exists:
            return _no_such(destination, trail)
        return self._chosen(destination, end.name, answer, trail)

    async def _expanded(self, name: str, longest: int, trail: _Trail) -> _End:
        """
        Follow CNAMEs, each asked for by itself.

        @raise LookupFailed: A loop, too many of them, or the DNS failed.
        """
        for number in range(longest):
            question = Question(name, RRType.CNAME)
            answer = await self._lookup(question)
            trail.heard(question, answer)
            if not answer.exists or not answer.records:
                return _End(name, answer.exists, is_alias=number > 0)
            name = Question(str(answer.records[0]), RRType.CNAME).name
        raise LookupFailed(f"the CNAMEs of {name[:255]} lead too far")

    def _chosen(
        self, destination: Domain, name: str, answer: Answer, trail: _Trail
    ) -> NextHop | Unreachable:
        records = [record for record in answer.records if isinstance(record, MX)]
        has_mx = bool(records)
        if not records:
            records = [MX(0, name)]
        elif len(records) == 1 and not records[0].host:
            return trail.ended(
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
            return trail.ended(
                permanent=False,
                status="4.4",
                error=f"no mail server of {destination} has a valid name",
            )
        return NextHop(
            tuple(hosts)[:_MOST_HOSTS],
            recipient_domain=destination,
            expanded=name,
            has_mx=has_mx,
            authentic=trail.authentic,
            first_authentic=trail.first_authentic,
            steps=tuple(trail.steps),
        )

    async def addresses(
        self,
        host: Host,
        families: Families = Families.BOTH,
        dialed: Mapping[str, tuple[IPAddress, ...]] = _NONE_DIALED,
    ) -> Located | Unreachable:
        """
        Where a host is, its CNAMEs followed.

        @param families: Others are not asked for.
        @param dialed: By host, the addresses that were connected to, in order;
            decides which come first (Q-49).
        """
        if isinstance(host, AddressLiteral):
            return _located_literal(host, families)
        trail = _Trail()
        try:
            end = await self._expanded(host.ascii, _LONGEST_HOST_CHAIN, trail)
        except LookupFailed as failure:
            return trail.ended(permanent=False, status="4.3", error=str(failure))
        found, errors = (
            await self._addresses_of(end.name, families, trail) if end.exists else ([], [])
        )
        if not found:
            return trail.ended(
                permanent=False,
                status="4.3" if errors else "4.4",
                error="; ".join(errors) or f"{host} has no address",
            )
        return Located(
            host,
            in_order(found, dialed.get(host.ascii, ()))[:_MOST_ADDRESSES],
            expanded=end.name,
            authentic=trail.authentic,
            first_authentic=trail.first_authentic and (end.is_alias or trail.authentic),
            steps=tuple(trail.steps),
        )

    async def _addresses_of(
        self, name: str, families: Families, trail: _Trail
    ) -> tuple[list[IPAddress], list[str]]:
        """Those that were found, IPv4 first, and which look-ups failed."""
        questions = [
            Question(name, type_)
            for type_, other in ((RRType.A, Families.IPV6), (RRType.AAAA, Families.IPV4))
            if families is not other
        ]
        lookups = [Deferred.fromCoroutine(self._lookup(question)) for question in questions]
        outcomes: list[tuple[bool, Any]] = await DeferredList(lookups, consumeErrors=True)
        found: list[IPAddress] = []
        errors: list[str] = []
        for question, (_, outcome) in zip(questions, outcomes, strict=True):
            if not isinstance(outcome, Failure):
                trail.heard(question, outcome)
                found += [ip_address(str(record)) for record in outcome.records]
            elif outcome.check(LookupFailed):
                errors.append(outcome.getErrorMessage())
                trail.steps.append(shortened(f"{question.type}: {errors[-1]}"))
            else:
                outcome.raiseException()
        return found, errors

    async def _lookup(self, question: Question) -> Answer:
        return await ask(self._resolver, self._clock, question)


def in_order(addresses: list[IPAddress], dialed: tuple[IPAddress, ...]) -> tuple[IPAddress, ...]:
    """
    Addresses in the order to try them, each once (Q-49).

    The family that was not used last comes first: where one is blocked or has
    a bad name, the other may do.  Within a family that was used just once the
    address that was used comes first, for greylisting waits for it to return.
    Without a past IPv4 comes first: what receivers ask of a sender's address,
    reverse names above all, is more often in order there.

    @param addresses: In the order of the DNS, IPv4 before IPv6.
    @param dialed: Connected to in earlier attempts, the latest last.
    """
    by_family: dict[int, list[IPAddress]] = {4: [], 6: []}
    for address in dict.fromkeys(addresses):
        by_family[address.version].append(address)
    for version, own in by_family.items():
        used = [address for address in dialed if address.version == version]
        if len(used) == 1 and used[0] in own:
            own.remove(used[0])
            own.insert(0, used[0])
    last = dialed[-1].version if dialed else 6
    first = 4 if last == 6 else 6
    return (*by_family[first], *by_family[last])


def _located_literal(host: AddressLiteral, families: Families) -> Located | Unreachable:
    if not families.admits(host.address):
        return Unreachable(
            permanent=False,
            status="4.4",
            error=f"{host} is not of the addresses that the transport connects to",
        )
    return Located(host, (host.address,))


def _no_such(destination: Domain, trail: _Trail) -> Unreachable:
    return trail.ended(
        permanent=True, status="1.2", error=f"{destination} does not exist in the DNS"
    )
