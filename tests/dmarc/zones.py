"""Zones with DMARC records, and what SPF and DKIM may have said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.dkim.result import Result as DKIMResult
from moxsmtp.dkim.result import Status as DKIMStatus
from moxsmtp.dmarc import Result, verify
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.dns.records import Record as DNSRecord
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain, parse_domain
from moxsmtp.spf.result import Result as SPFResult
from moxsmtp.spf.result import Scope
from moxsmtp.spf.result import Status as SPFStatus
from moxsmtp.testing import MemoryResolver

__all__ = ["FAILED", "SilentResolver", "VerifyTestCase", "asked", "dkim", "dmarc_zone", "spf"]

FAILED = LookupFailed("SERVFAIL")


def dmarc_zone(records: Mapping[str, str | bytes | Answer | LookupFailed]) -> MemoryResolver:
    """A DNS with a TXT record, or whatever is given, at C{_dmarc.} of each name."""
    zone: dict[Question, Sequence[DNSRecord] | Answer | LookupFailed] = {}
    for domain, one in records.items():
        value = (one,) if isinstance(one, str | bytes) else one
        zone[Question(f"_dmarc.{domain}", RRType.TXT)] = value
    return MemoryResolver(zone)


def spf(
    domain: str | None = None,
    status: SPFStatus = SPFStatus.PASS,
    scope: Scope = Scope.MAIL_FROM,
) -> SPFResult:
    """SPF's result; without a domain, there was none to check."""
    if domain is None:
        return SPFResult(SPFStatus.NONE)
    return SPFResult(status, scope, parse_domain(domain))


def dkim(*domains: str, status: DKIMStatus = DKIMStatus.PASS) -> tuple[DKIMResult, ...]:
    """DKIM's results, one for each domain."""
    return tuple(DKIMResult(status, parse_domain(one)) for one in domains)


def asked(resolver: MemoryResolver) -> list[str]:
    """The names that were looked up, in order."""
    return [question.name for question in resolver.asked]


@implementer(IResolver)
class SilentResolver:
    """
    A DNS that never answers.

    @ivar cancelled: Questions that nobody waits for any more.
    """

    def __init__(self, others: IResolver | None = None, *, below: str = "") -> None:
        """@param others: Who answers for names that do not end with C{below}."""
        self.cancelled: list[Question] = []
        self._others = others
        self._below = below

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        if self._others is not None and not question.name.endswith(self._below):
            return self._others.lookup(question)
        return Deferred(lambda _: self.cancelled.append(question))


class VerifyTestCase(SynchronousTestCase):
    """Cases that ask for a verdict."""

    def verify(
        self,
        resolver: MemoryResolver,
        *authors: str,
        spf: SPFResult = spf(),  # noqa: B008 - a frozen value
        dkim: Sequence[DKIMResult] = (),
    ) -> Result:
        """What DMARC says of mail from C{authors}."""
        domains: list[Domain] = [parse_domain(one) for one in authors]
        return self.successResultOf(
            Deferred.fromCoroutine(verify(resolver, domains, spf=spf, dkim=dkim))
        )
