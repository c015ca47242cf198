"""What MTA-STS a domain has, and whether its hosts are those of its policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.mtasts.policy import InvalidRecord, Mode, Policy, parse_record, record_name
from moxsmtp.mtasts.storage import Failure
from moxsmtp.names import MAXIMUM_DOMAIN, Domain, Host
from moxsmtp.outbound.next_hop import NextHop
from moxsmtp.outbound.unreachable import Unreachable

__all__ = ["Finding", "Hosts", "examine"]


class Hosts(Protocol):
    """As L{moxsmtp.outbound.next_hop.NextHops}."""

    def hosts(self, destination: Host) -> Awaitable[NextHop | Unreachable]:
        """Which take the mail of a domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    @ivar record_id: Empty: there is no record, or none that can be read.
    @ivar record_problem: Why not; empty: there is just none.
    @ivar policy: L{None}: there is none.
    @ivar failure: Why not; L{None}: without a record none was asked for.
    @ivar hosts: Those that take the domain's mail, and whether the policy
        names each; without a policy that is not known.
    @ivar hosts_problem: Why there are none.
    """

    domain: Domain
    record_id: str = ""
    record_problem: str = ""
    policy: Policy | None = None
    failure: Failure | None = None
    hosts: tuple[tuple[Host, bool | None], ...] = ()
    hosts_problem: str = ""

    @property
    def unnamed(self) -> tuple[Host, ...]:
        """Hosts that the policy would have to name, and does not."""
        if self.policy is None or self.policy.mode is Mode.NONE:
            return ()
        return tuple(host for host, is_named in self.hosts if is_named is False)

    @property
    def is_fine(self) -> bool:
        """There is nothing to be put right; a domain without MTA-STS is fine too."""
        problems = self.record_problem, self.failure, self.hosts_problem, self.unnamed
        return not any(problems)


async def examine(
    domain: Domain,
    *,
    resolver: IResolver,
    next_hops: Hosts,
    fetch: Callable[[Domain], Awaitable[Policy | Failure]],
) -> Finding:
    """Look at all of it, whatever fails on the way."""
    record_id, record_problem = await _record(domain, resolver)
    policy: Policy | None = None
    failure: Failure | None = None
    if record_id:
        fetched = await fetch(domain)
        if isinstance(fetched, Policy):
            policy = fetched
        else:
            failure = fetched
    hosts: tuple[Host, ...] = ()
    hosts_problem = ""
    match await next_hops.hosts(domain):
        case NextHop(hosts=hosts):
            pass
        case Unreachable(error=hosts_problem):
            pass
    return Finding(
        domain=domain,
        record_id=record_id,
        record_problem=record_problem,
        policy=policy,
        failure=failure,
        hosts=tuple((host, _is_named(host, policy)) for host in hosts),
        hosts_problem=hosts_problem,
    )


async def _record(domain: Domain, resolver: IResolver) -> tuple[str, str]:
    """The id, and what is wrong with the record."""
    name = record_name(domain)
    if len(name) > MAXIMUM_DOMAIN:
        return "", ""
    try:
        answer = await resolver.lookup(Question(name, RRType.TXT))
        return parse_record(answer.records) or "", ""
    except InvalidRecord as error:
        return "", str(error)
    except LookupFailed as error:
        return "", str(error) or "the DNS does not answer"


def _is_named(host: Host, policy: Policy | None) -> bool | None:
    if policy is None:
        return None
    return isinstance(host, Domain) and policy.matches(host)
