"""
Whether a client's address has a name that leads back to it.  RFC 8601 section 3.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import IPAddress

__all__ = ["MAXIMUM_NAMES", "Result", "Status", "verify"]

#: Names of an address that are looked up; a PTR answer may hold thousands.
MAXIMUM_NAMES: Final = 10


class Status(enum.StrEnum):
    """RFC 8601 section 2.7.3."""

    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Result:
    """
    @ivar name: The one that leads back, else the first of C{names}; A-labels or
        whatever the PTR record holds, no dot at the end; empty: no name (I-13).
    @ivar names: All that the PTR records gave.
    @ivar authentic: All answers that were used were validated (DNSSEC).
    """

    status: Status
    name: str = ""
    names: tuple[str, ...] = ()
    authentic: bool = False


async def verify(resolver: IResolver, address: IPAddress) -> Result:
    """
    Look C{address} up, and its names back: the first that leads to it passes.

    Names behind the first L{MAXIMUM_NAMES} are not looked up.  The address
    records of the client's own family are asked for first; the others can match
    no client, but where they cannot be had the names are not known whole, which
    is C{TEMPERROR} (I-11).  A name with an escaped octet is no host's, and no
    resolver can be asked for it: it is like one that does not exist.

    @return: A status in every case: a DNS that fails is C{TEMPERROR}.
    """
    plain = _without_zone(address)
    try:
        reverse = await resolver.lookup(Question(plain.reverse_pointer, RRType.PTR))
    except LookupFailed:
        return Result(Status.TEMPERROR)
    names = _names(reverse)
    if not names:
        return Result(Status.PERMERROR, authentic=reverse.authentic)
    own, other = (RRType.A, RRType.AAAA) if plain.version == 4 else (RRType.AAAA, RRType.A)
    written = str(plain)
    authentic = reverse.authentic
    status = Status.FAIL
    for name in names[:MAXIMUM_NAMES]:
        if "\\" in name:
            continue
        for kind in (own, other):
            try:
                answer = await resolver.lookup(Question(name, kind))
            except LookupFailed:
                status, authentic = Status.TEMPERROR, False
                continue
            authentic = authentic and answer.authentic
            if kind is own and _holds(answer.records, written, plain):
                return Result(Status.PASS, name, names, authentic)
    return Result(status, names[0], names, authentic)


def _without_zone(address: IPAddress) -> IPAddress:
    """The DNS knows no zones of link-local addresses."""
    return IPv6Address(int(address)) if isinstance(address, IPv6Address) else address


def _names(answer: Answer) -> tuple[str, ...]:
    names = (one.rstrip(".") for one in answer.records if isinstance(one, str))
    return tuple(dict.fromkeys(name for name in names if name))


def _holds(records: Sequence[Record], written: str, address: IPAddress) -> bool:
    """Whether an address is among C{records}, however it is written there."""
    return written in records or any(
        _parsed(one, address) == address for one in records if isinstance(one, str)
    )


def _parsed(text: str, like: IPAddress) -> IPAddress | None:
    try:
        return IPv4Address(text) if like.version == 4 else IPv6Address(text)
    except ValueError:
        return None
