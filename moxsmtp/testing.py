"""
Doubles for tests of programs that use our parts, and for our own.

They keep the promises of the real interfaces, wait for nothing and open
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from mmap import mmap
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import (
    Allowance,
    IMailStore,
    IMetrics,
    InsufficientStorage,
    IQueue,
    IResolver,
    ISpool,
    NewJob,
    NewMessage,
    Spooled,
)
from moxsmtp.names import Domain
from moxsmtp.queue.job import Job, LimitReached
from moxsmtp.queue.reported import reported, results_with
from moxsmtp.queue.suppression import Suppression
from moxsmtp.reachability import Reachability
from moxsmtp.receive.checks import Checks, SignatureCheck
from moxsmtp.smtp.address import Path

__all__ = [
    "MemoryChecks", "MemoryMetrics", "MemoryQueue", "MemoryResolver", "MemorySpool", "MemoryStore",
]  # fmt: skip

T = TypeVar("T")

#: CNAMEs followed before the chain counts as broken.
_LONGEST_CHAIN: Final = 16


@implementer(IResolver)
class MemoryResolver:
    """
    A DNS that is a dictionary::

        MemoryResolver({
            Question("example.org", RRType.MX): (MX(10, "mx.example.org"),),
            Question("mx.example.org", RRType.A): ("192.0.2.1",),
            Question("signed.example", RRType.A): Answer(("192.0.2.2",), authentic=True),
            Question("broken.example", RRType.A): LookupFailed("SERVFAIL"),
        })

    A sequence of records answers as they are; an L{Answer} is given as it is,
    its canonical name filled in; a L{LookupFailed} fails the look-up.  CNAME
    records are followed.  A name without an entry of the type asked for has no
    such records if it, or a name below it, has any entry; else it does not
    exist.

    @ivar zone: What is known; may be changed between look-ups.
    @ivar asked: Every question, in order.
    """

    def __init__(
        self, zone: Mapping[Question, Sequence[Record] | Answer | LookupFailed] | None = None
    ) -> None:
        self.zone: dict[Question, Sequence[Record] | Answer | LookupFailed] = dict(zone or {})
        self.asked: list[Question] = []

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}.  The result is there at once."""
        self.asked.append(question)
        try:
            return succeed(self._answer(question))
        except LookupFailed as failure:
            return fail(failure)

    def _answer(self, question: Question) -> Answer:
        name = question.name
        for _ in range(_LONGEST_CHAIN):
            entry = self.zone.get(Question(name, question.type))
            match entry:
                case LookupFailed():
                    raise LookupFailed(*entry.args)
                case Answer():
                    return replace(entry, canonical_name=entry.canonical_name or name)
                case None:
                    alias = self._alias(name)
                    if alias is None:
                        return Answer((), exists=self._exists(name), canonical_name=name)
                    name = alias
                case _:
                    return Answer(tuple(entry), canonical_name=name)
        raise LookupFailed("CNAME chain too long")

    def _alias(self, name: str) -> str | None:
        entry = self.zone.get(Question(name, RRType.CNAME))
        if isinstance(entry, LookupFailed):
            raise LookupFailed(*entry.args)
        records = entry.records if isinstance(entry, Answer) else entry
        if not records:
            return None
        target = records[0]
        if not isinstance(target, str):
            raise TypeError(f"the CNAME of {name} is not a name")
        return Question(target, RRType.CNAME).name

    def _exists(self, name: str) -> bool:
        return any(
            known.name == name or known.name.endswith(f".{name}")
            for known, entry in self.zone.items()
            if not (isinstance(entry, Answer) and not entry.exists)
        )


@implementer(ISpool)
class MemorySpool:
    """
    Content that is kept in memory.

    @ivar room: Octets it may hold; beyond them there is no space.
    @ivar aborted: Whether it was given up.
    """

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.aborted = False
        self._data = bytearray()

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{ISpool.write}.  There is never anything to wait for."""
        if len(self._data) + len(data) > self.room:
            raise InsufficientStorage("the double is full")
        self._data += data
        return None

    async def finish(self) -> Spooled:
        """See L{ISpool.finish}."""
        return self.spooled(bytes(self._data))

    def abort(self) -> None:
        """See L{ISpool.abort}."""
        self.aborted = True

    @staticmethod
    def spooled(content: bytes) -> Spooled:
        """What a spool makes of C{content}, whose lines end with CRLF."""
        end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n") + 2
        header = content if end == 1 else content[: end + 2]
        return Spooled(
            size=len(content), header=header, has_8bit=not content.isascii(), inline=content
        )


@implementer(IMailStore)
class MemoryStore:
    """
    Mail that is kept in memory.

    @ivar messages: What was delivered, with its content, in order.
    @ivar sent: What left the queue, for mail that comes back to its from-id;
        what such mail says is added to its results (Q-40).
    @ivar failed: Numbers of those of C{sent} that failed, by whatever is known.
    @ivar failed_before: Numbers of those before which two others failed (Q-31).
    @ivar suppressions: What such mail has put on lists, in order.
    @ivar trouble: Raised instead of storing anything, while it is set.
    @ivar room: Octets that a spool may hold.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[NewMessage, bytes]] = []
        self.sent: list[Job] = []
        self.failed: set[int] = set()
        self.failed_before: set[int] = set()
        self.suppressions: list[Suppression] = []
        self.trouble: Exception | None = None
        self.room = 1 << 30

    def spool(self) -> MemorySpool:
        """See L{IMailStore.spool}."""
        return MemorySpool(self.room)

    async def examine(self, spooled: Spooled, look: Callable[[bytes | mmap], T]) -> T:
        """See L{IMailStore.examine}."""
        return look(_content(spooled))

    async def deliver(self, spooled: Spooled, messages: Sequence[NewMessage]) -> Sequence[int]:
        """See L{IMailStore.deliver}.  Numbers count from 1."""
        if self.trouble is not None:
            raise self.trouble
        first = len(self.messages) + 1
        self.messages += [(self._matched(message), _content(spooled)) for message in messages]
        return range(first, len(self.messages) + 1)

    def _matched(self, message: NewMessage) -> NewMessage:
        """With the webhook that is called: for what it says of one sent before, if it does."""
        echo = message.echo
        for place, job in enumerate(self.sent):
            if echo is None or (job.account, job.from_id) != (message.account, echo.from_id):
                continue
            found = reported(
                job, echo, message.received, failed_before=job.id in self.failed_before
            )
            self.sent[place] = replace(job, results=results_with(job.results, found.result))
            if found.failed:
                self.failed.add(job.id)
            if found.suppress is not None:
                self.suppressions.append(found.suppress)
            return replace(message, hook=found.hook)
        return message


@implementer(IQueue)
class MemoryQueue:
    """
    A queue that delivers nothing.

    @ivar jobs: What was added, with its content, in order.
    @ivar allowances: What each call was given.
    @ivar trouble: Raised instead of adding anything, while it is set.
    """

    def __init__(self) -> None:
        self.jobs: list[tuple[NewJob, bytes]] = []
        self.allowances: list[Allowance | None] = []
        self.trouble: Exception | None = None

    async def add(
        self, spooled: Spooled, jobs: Sequence[NewJob], allowance: Allowance | None = None
    ) -> Sequence[int]:
        """See L{IQueue.add}.  Numbers count from 1, and no allowance is too small."""
        self.allowances.append(allowance)
        if not jobs:
            raise ValueError("no jobs")
        if self.trouble is not None:
            raise self.trouble
        first = len(self.jobs) + 1
        self.jobs += [(job, _content(spooled)) for job in jobs]
        return range(first, len(self.jobs) + 1)

    async def check(self, allowance: Allowance, recipients: Sequence[Path]) -> None:
        """See L{IQueue.check}.  Limits are reached where C{trouble} says so."""
        del allowance, recipients
        if isinstance(self.trouble, LimitReached):
            raise self.trouble


def _content(spooled: Spooled) -> bytes:
    if spooled.inline is None:
        raise ValueError("this double keeps content in memory only")
    return spooled.inline


@implementer(IMetrics)
class MemoryMetrics:
    """
    Counts that can be looked at.

    @ivar counts: How often each was counted, by name and labels as Prometheus
        writes them, labels sorted: C{a_total{reason="",result="ok"}}.
    @ivar durations: What was observed.
    @ivar levels: Where each gauge stands.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.durations: dict[str, list[float]] = {}
        self.levels: dict[str, int] = {}

    def count(self, name: str, **labels: str) -> None:
        """See L{IMetrics.count}."""
        key = _series(name, labels)
        self.counts[key] = self.counts.get(key, 0) + 1

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """See L{IMetrics.observe}."""
        self.durations.setdefault(_series(name, labels), []).append(seconds)

    def move(self, name: str, step: int, **labels: str) -> None:
        """See L{IMetrics.move}."""
        key = _series(name, labels)
        self.levels[key] = self.levels.get(key, 0) + step


def _series(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


class MemoryChecks:
    """
    Checks of incoming mail that say what they are told, at once.

    @ivar iprev: What that check says, and so on; an exception is raised; a
        C{Deferred} is waited for first, and what it gives is said.
    @ivar asked: The name of each check, in the order they were begun, with what
        it was given.
    @ivar body: What the signatures' check was shown behind the header section.
    @ivar cancelled: How often that check was told to stop.
    """

    def __init__(self) -> None:
        self.iprev: object = iprev.Result(iprev.Status.PERMERROR)
        self.spf: object = spf.Result(spf.Status.NONE)
        self.dkim: object = dkim.Results()
        self.dmarc: object = dmarc.Result(dmarc.Status.NONE)
        self.reachability: object = Reachability.REACHABLE
        self.asked: list[tuple[Any, ...]] = []
        self.body = b""
        self.cancelled = 0

    def checks(self, *, spf_waits: bool = False) -> Checks:
        """As a receiver takes them."""
        return Checks(
            iprev=lambda *given: self._say("iprev", *given),
            spf=lambda *given: self._say("spf", *given),
            dkim=self._signatures,
            dmarc=lambda *given: self._say("dmarc", *given),
            spf_waits=spf_waits,
            reachability=lambda *given: self._say("reachability", *given),
        )

    def _signatures(self, section: bytes, authors: Sequence[Domain]) -> SignatureCheck:
        self.asked.append(("dkim", section, authors))
        self.body = b""
        return self

    def feed(self, body: bytes) -> None:
        """See L{SignatureCheck.feed}."""
        self.body += body

    async def finish(self) -> dkim.Results:
        """See L{SignatureCheck.finish}."""
        results: dkim.Results = await _said(self.dkim)
        return results

    def cancel(self) -> None:
        """See L{SignatureCheck.cancel}."""
        self.cancelled += 1

    async def _say(self, name: str, *given: object) -> Any:
        self.asked.append((name, *given))
        return await _said(getattr(self, name))


async def _said(outcome: object) -> Any:
    if isinstance(outcome, Deferred):
        outcome = await outcome
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
