"""What the tests of SPF share: zones in short, envelopes, and resolvers that are slow."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain, Host, parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.spf import Identity, Result, verify
from moxsmtp.testing import MemoryResolver

Zone = Mapping[str, Sequence[Record] | Answer | LookupFailed | str]


def questions(zone: Zone) -> dict[Question, Sequence[Record] | Answer | LookupFailed]:
    """
    A zone by questions: keys are C{"name type"}, or C{"name"} for TXT, whose
    value may be the text of one record.
    """
    known: dict[Question, Sequence[Record] | Answer | LookupFailed] = {}
    for key, value in zone.items():
        name, _, rrtype = key.partition(" ")
        records = (value.encode(),) if isinstance(value, str) else value
        known[Question(name, RRType(rrtype or "TXT"))] = records
    return known


def resolver(zone: Zone) -> MemoryResolver:
    """One that answers at once."""
    return MemoryResolver(questions(zone))


def identity(
    address: str = "192.0.2.1",
    *,
    local_part: str = "user",
    domain: Host | str | None = "example.org",
    hello: Host | str | None = "client.example",
) -> Identity:
    """An envelope.  C{domain}: L{None} for the null reverse-path."""
    if isinstance(domain, str):
        domain = parse_domain(domain)
    if isinstance(hello, str):
        hello = parse_domain(hello)
    return Identity(
        address=ipaddress.ip_address(address),
        reverse_path=None if domain is None else Path(local_part, domain),
        hello=hello,
        hostname=Domain("mx.receiver.example"),
    )


def result(zone: Zone | IResolver, envelope: Identity | None = None) -> Result:
    """What a check says whose answers are all there at once."""
    found: list[Result] = []
    asked = zone if not isinstance(zone, Mapping) else resolver(zone)
    checking = Deferred.fromCoroutine(verify(asked, envelope or identity(), clock=Clock()))
    _ = checking.addCallback(found.append)
    _ = checking.addErrback(lambda failure: failure.raiseException())
    (only,) = found
    return only


@implementer(IResolver)
class SlowResolver:
    """
    Answers what the zone knows when it is told to.

    @ivar waiting: Questions without answer, with what waits for it.
    @ivar cancelled: Questions that were given up.
    """

    def __init__(self, zone: Zone) -> None:
        self._memory = resolver(zone)
        self.waiting: dict[Question, Deferred[Answer]] = {}
        self.asked: list[Question] = []
        self.cancelled: list[Question] = []

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        self.asked.append(question)
        waiter: Deferred[Answer] = Deferred(lambda _: self._leave(question))
        self.waiting[question] = waiter
        return waiter

    def answer(self) -> None:
        """Answer whatever waits now, first come first served."""
        for question, waiter in list(self.waiting.items()):
            if self.waiting.pop(question, None) is not None:
                _ = self._memory.lookup(question).chainDeferred(waiter)

    def _leave(self, question: Question) -> None:
        del self.waiting[question]
        self.cancelled.append(question)


@implementer(IResolver)
class LimitlessResolver:
    """Answers every question of a type alike: what a hostile DNS can do."""

    def __init__(self, answers: Mapping[RRType, Sequence[Record]]) -> None:
        self._answers = answers
        self.asked: list[Question] = []

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        self.asked.append(question)
        return succeed(Answer(tuple(self._answers.get(question.type, ()))))
