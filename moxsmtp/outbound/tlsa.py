"""Which TLSA records there are for a mail server.  RFC 7672 section 2.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twisted.internet.interfaces import IReactorTime

from moxsmtp.dane import usable
from moxsmtp.dns.records import TLSA, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain
from moxsmtp.outbound.lookups import ask, shortened, told
from moxsmtp.outbound.next_hop import Located, NextHop
from moxsmtp.outbound.tls_policy import NO_DANE, Dane

__all__ = ["DaneFound", "TLSALookups"]

#: CNAMEs of a name of TLSA records that are followed (Q-56).
_LONGEST_CHAIN: Final = 10


@dataclass(frozen=True, slots=True)
class DaneFound:
    """
    What was found, and the way to it.

    @ivar steps: What was asked and answered, for people.
    """

    dane: Dane
    steps: tuple[str, ...] = ()


class TLSALookups:
    """
    Asks for the TLSA records of a host at a port.

    A look-up that fails is never "no records": whoever can make the DNS fail
    would turn DANE off.  RFC 7672 section 2.1.2.
    """

    def __init__(self, *, resolver: IResolver, clock: IReactorTime, port: int = 25) -> None:
        """@param port: Where the host is connected to; part of the name."""
        self._resolver = resolver
        self._clock = clock
        self._port = port

    async def find(self, next_hop: NextHop, located: Located) -> DaneFound:
        """What DANE says of the host that C{located} is, as one of C{next_hop} (Q-56)."""
        bases = list(_bases(next_hop, located))
        steps: list[str] = []
        for base in bases:
            try:
                records = await self._records(base, steps)
            except LookupFailed as failure:
                steps.append(shortened(str(failure)))
                return DaneFound(Dane(base=base, error=str(failure)), tuple(steps))
            if records:
                names = _names(base, bases, next_hop, located)
                return DaneFound(
                    Dane(base=base, names=names, records=records, usable=usable(records)),
                    tuple(steps),
                )
        return DaneFound(NO_DANE, tuple(steps))

    async def _records(self, base: str, steps: list[str]) -> tuple[TLSA, ...]:
        """
        Authentic ones; others are as good as none.

        @raise LookupFailed: The DNS failed, or CNAMEs lead too far.
        """
        name = f"_{self._port}._tcp.{base}"
        answer = await self._ask(Question(name, RRType.TLSA), steps)
        if not answer.authentic or not await self._is_near(name, answer):
            return ()
        return tuple(record for record in answer.records if isinstance(record, TLSA))

    async def _is_near(self, name: str, answer: Answer) -> bool:
        """
        Whether the records are at the name itself, or at the end of a few
        CNAMEs, each of them authentic.

        @raise LookupFailed: Of more than a few, or the DNS failed.
        """
        if answer.canonical_name in {"", Question(name, RRType.TLSA).name}:
            return True
        for _ in range(_LONGEST_CHAIN):
            alias = await self._ask(Question(name, RRType.CNAME), [])
            if not alias.authentic:
                return False
            if not alias.records:
                return True
            name = str(alias.records[0])
            if Question(name, RRType.CNAME).name == answer.canonical_name:
                return True
        raise LookupFailed(f"the CNAMEs of {name[:255]} lead too far")

    async def _ask(self, question: Question, steps: list[str]) -> Answer:
        answer = await ask(self._resolver, self._clock, question)
        steps.append(told(question, answer))
        return answer


def _original(next_hop: NextHop, located: Located) -> str:
    """The name that stands before any CNAME: of the MX host, or of a domain without MX."""
    if next_hop.has_mx or next_hop.recipient_domain is None:
        return located.host.ascii
    return next_hop.recipient_domain.ascii


def _bases(next_hop: NextHop, located: Located) -> Iterator[str]:
    """
    TLSA base domains, the first that has records counts; none: DANE does not
    apply.  RFC 7672 sections 2.2.1 to 2.2.3.
    """
    if next_hop.recipient_domain is None or not isinstance(located.host, Domain):
        return
    if not next_hop.first_authentic or (next_hop.has_mx and not next_hop.authentic):
        return
    original = _original(next_hop, located)
    has_alias = located.expanded != located.host.ascii or original != located.host.ascii
    whole = located.authentic and next_hop.authentic
    # Without MX the first question of the way to the host was about the domain.
    first = located.first_authentic or original != located.host.ascii
    if has_alias and whole:
        yield located.expanded
    if first:
        yield original


def _names(base: str, bases: list[str], next_hop: NextHop, located: Located) -> tuple[str, ...]:
    """What a certificate may be for, the base first (Q-58).  RFC 7672 section 3.2.2."""
    names = [base]
    if next_hop.has_mx and next_hop.recipient_domain is not None:
        names += [located.host.ascii, next_hop.recipient_domain.ascii, next_hop.expanded]
    else:
        names += bases
    return tuple(dict.fromkeys(name for name in names if name))
