"""
The checks of a server that has only itself around it (I-114).

Mail in the name of its own domains passes as it would with their records in
the DNS: signatures by our keys, and SPF for clients on this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from moxsmtp import dkim, spf
from moxsmtp.config import Settings
from moxsmtp.dns.records import Answer, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain
from moxsmtp.reachability import Reachability
from moxsmtp.receive.checks import Checks, SignatureCheck, Work, dns_checks

__all__ = ["local_checks"]

_LOOPBACK_ONLY: Final = "v=spf1 ip4:127.0.0.0/8 ip6:::1 ~all"


@implementer(IResolver)
class _Records:
    """A DNS of some TXT records; no other name exists."""

    def __init__(self, records: Mapping[str, str]) -> None:
        self._records = records

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        text = self._records.get(question.name)
        if text is None:
            return succeed(Answer((), exists=False, canonical_name=question.name))
        records = (text.encode(),) if question.type is RRType.TXT else ()
        return succeed(Answer(records, canonical_name=question.name))


async def _reachable(domain: Domain) -> Reachability:  # noqa: ARG001 - as one who looks
    return Reachability.REACHABLE


def local_checks(
    settings: Settings,
    resolver: IResolver,
    *,
    clock: IReactorTime,
    now: Callable[[], datetime],
    is_public_suffix: Callable[[Domain], bool],
) -> Checks:
    """
    Those of the internet, but for mail from our own domains.

    SPF waits for the author, whose domain decides whom it asks.  Whether senders
    can be answered is not asked: nothing leaves the machine.
    """
    usual = dns_checks(resolver, clock=clock, now=now, is_public_suffix=is_public_suffix)
    keys = _Records(settings.key_records())

    def sender(identity: spf.Identity, authors: Sequence[Domain]) -> Work[spf.Result]:
        hosted = [author for author in authors if author in settings.domains]
        if not hosted or not identity.address.is_loopback:
            return usual.spf(identity, authors)
        records = _Records({author.ascii: _LOOPBACK_ONLY for author in hosted})
        return spf.verify(records, identity, clock=clock)

    def signatures(section: bytes, authors: Sequence[Domain]) -> SignatureCheck:
        if not any(settings.selectors.get(author) for author in authors):
            return usual.dkim(section, authors)
        # "localhost" is all of a top-level domain, and ours.
        return dkim.Verifier(
            keys,
            section,
            now=now(),
            is_public_suffix=lambda domain: (
                domain not in settings.domains and is_public_suffix(domain)
            ),
        )

    return replace(usual, spf=sender, dkim=signatures, spf_waits=True, reachability=_reachable)
