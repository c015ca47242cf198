"""
The checks that mail from outside goes through, as one value.

A server has those of the internet; a test, or a server for developers, has its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.dkim import Result as Signature
from moxsmtp.dkim import Results as Signatures
from moxsmtp.dmarc import Result as DMARCResult
from moxsmtp.dns.memory import Memory
from moxsmtp.interfaces import IResolver
from moxsmtp.iprev import Result as ReverseName
from moxsmtp.names import Domain, IPAddress
from moxsmtp.reachability import Reachability, reachability
from moxsmtp.spf import Identity
from moxsmtp.spf import Result as SPFResult

__all__ = ["Checks", "SignatureCheck", "Work", "dns_checks"]

T = TypeVar("T")

#: What a check is while it is not done.
Work = Coroutine[Deferred[Any], Any, T]


class SignatureCheck(Protocol):
    """
    Verifies the signatures of one message.  Its key look-ups are under way once
    it is made.
    """

    def feed(self, body: bytes, /) -> None:
        """More of the body, cut anywhere."""

    def finish(self) -> Work[Signatures]:
        """The body is whole."""

    def cancel(self) -> None:
        """Nobody asks any more.  May be repeated, and come after the end."""


async def _all_reachable(domain: Domain) -> Reachability:  # noqa: ARG001 - as one who looks
    return Reachability.REACHABLE


@dataclass(frozen=True, slots=True)
class Checks:
    """
    Each gives a value in every case; whatever it raises is a bug of its own.

    @ivar spf: Also given the domains of the message's authors: none at MAIL,
        where they are not known yet.
    @ivar dkim: Given the header section as received, empty line and all, and
        the authors' domains.
    @ivar dmarc: Given at least one author's domain.
    @ivar spf_waits: SPF is not begun before the authors are known.
    @ivar reachability: Of a sender's domain.
    """

    iprev: Callable[[IPAddress], Work[ReverseName]]
    spf: Callable[[Identity, Sequence[Domain]], Work[SPFResult]]
    dkim: Callable[[bytes, Sequence[Domain]], SignatureCheck]
    dmarc: Callable[[Sequence[Domain], SPFResult, Sequence[Signature]], Work[DMARCResult]]
    spf_waits: bool = False
    reachability: Callable[[Domain], Work[Reachability]] = _all_reachable


def dns_checks(
    resolver: IResolver,
    *,
    clock: IReactorTime,
    now: Callable[[], datetime],
    is_public_suffix: Callable[[Domain], bool],
) -> Checks:
    """Those that ask C{resolver} for everything."""

    def signatures(section: bytes, _authors: Sequence[Domain]) -> SignatureCheck:
        return dkim.Verifier(resolver, section, now=now(), is_public_suffix=is_public_suffix)

    by_sender = Memory[SPFResult](seconds=clock.seconds)
    by_author = Memory[DMARCResult](seconds=clock.seconds)
    by_domain = Memory[Reachability](seconds=clock.seconds)
    return Checks(
        iprev=lambda address: iprev.verify(resolver, address),
        spf=lambda identity, _authors: spf.verify(
            resolver, identity, clock=clock, memory=by_sender
        ),
        dkim=signatures,
        dmarc=lambda authors, sender, signed: dmarc.verify(
            resolver, authors, spf=sender, dkim=signed, clock=clock, memory=by_author
        ),
        reachability=lambda domain: reachability(resolver, domain, memory=by_domain),
    )
