"""
Does a domain take mail at all?  RFC 5321 section 5.1, RFC 7505.

Nobody can be answered at one that does not.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from moxsmtp.dns.asking import Asking
from moxsmtp.dns.memory import Memory
from moxsmtp.dns.records import MX, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain

__all__ = ["Reachability", "reachability"]

#: Hosts that are looked up: a domain that lists thousands gets no hours of ours.
_MOST_HOSTS: Final = 16


class Reachability(enum.Enum):
    """What the DNS says of a domain's mail servers."""

    #: One of them has an address.
    REACHABLE = enum.auto()
    #: It says that it takes no mail.  RFC 7505 section 3.
    NULL_MX = enum.auto()
    #: None of them has an address.
    UNREACHABLE = enum.auto()
    #: The DNS did not answer.
    UNKNOWN = enum.auto()


async def reachability(
    resolver: IResolver, domain: Domain, *, memory: Memory[Reachability] | None = None
) -> Reachability:
    """
    Ask for the domain's MX hosts, and for their addresses until one is found (S-65).

    @param memory: Of the domains before; L{None}: nothing is kept.
    """
    asking = Asking(resolver)
    found = None if memory is None else memory.recall(domain.ascii, asking.at_once)
    if found is None:
        found = await _looked_for(asking, domain)
        if memory is not None:
            memory.keep(domain.ascii, asking.read, found)
    return found


async def _looked_for(asking: Asking, domain: Domain) -> Reachability:
    try:
        answer = await asking.answer(Question(domain.ascii, RRType.MX))
    except LookupFailed:
        return Reachability.UNKNOWN
    records = [record for record in answer.records if isinstance(record, MX)]
    if len(records) == 1 and not records[0].host:
        return Reachability.NULL_MX
    records.sort(key=lambda record: record.preference)
    hosts = [record.host for record in records if record.host] or [domain.ascii]
    return await _any_address(asking, hosts[:_MOST_HOSTS])


async def _any_address(asking: Asking, hosts: Sequence[str]) -> Reachability:
    failed = False
    for host in dict.fromkeys(hosts):
        for rrtype in (RRType.A, RRType.AAAA):
            try:
                answer = await asking.answer(Question(host, rrtype))
            except LookupFailed:
                failed = True
            else:
                if answer.records:
                    return Reachability.REACHABLE
    return Reachability.UNKNOWN if failed else Reachability.UNREACHABLE
