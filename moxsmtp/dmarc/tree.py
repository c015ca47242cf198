"""
The walk up a domain's tree, and what follows from the records on it.

RFC 9989 section 4.10.  A name that could not be looked up ends the walk: what
is above it might depend on what it would have said.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moxsmtp.dmarc.record import InvalidRecord, PublicSuffix, Record, parse_record
from moxsmtp.dmarc.result import Step
from moxsmtp.dns.asking import Asking
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.names import MAXIMUM_DOMAIN

__all__ = ["Found", "Tree", "Walk", "is_below"]

#: Labels of the second name of a walk, at most, so that there are no more than
#: eight questions.
_SECOND: Final = 7

#: Characters of a record that a trace shows.
_LONGEST_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A record, and the domain that has it."""

    domain: str
    record: Record | InvalidRecord


@dataclass(frozen=True, slots=True)
class Walk:
    """
    What a walk found.

    @ivar start: The domain where it began, as A-labels.
    @ivar found: Records, from the longest name to the shortest.
    @ivar failure: Why the walk ended before its time; empty: it did not.
    @ivar authentic: All answers were validated (DNSSEC).
    @ivar first_authentic: That for the start itself was.
    @ivar exists: The start has a name below it, so it exists; if not, that is not known.
    """

    start: str
    found: tuple[Found, ...]
    failure: str
    authentic: bool
    first_authentic: bool
    exists: bool

    @property
    def own(self) -> Found | None:
        """The record of the start itself."""
        return self.found[0] if self.found and self.found[0].domain == self.start else None

    @property
    def organizational_domain(self) -> str | None:
        """RFC 9989 section 4.10.2; L{None}: the walk failed."""
        if self.failure:
            return None
        if not self.found:
            return self.start
        # A walk ends at psd=y and psd=n: only the last record can say so, and
        # with psd=n the last is the organization's, as it is with neither.
        top = self.found[-1]
        if top.record.public_suffix is PublicSuffix.YES and top.domain != self.start:
            below = self.start[: -len(top.domain) - 1].rpartition(".")[2]
            return f"{below}.{top.domain}"
        return top.domain

    @property
    def policy(self) -> Found | None:
        """
        The record that applies to the start: its own, else its organizational
        domain's, else that of the public suffix above.  RFC 9989 section 4.10.1.
        """
        own = self.own
        if own is not None or self.failure or not self.found:
            return own
        organization = self.organizational_domain
        # The organization itself may have none only where the last is the suffix's.
        return next((one for one in self.found if one.domain == organization), self.found[-1])


@dataclass(frozen=True, slots=True)
class _Looked:
    """What one name said.  @ivar failure: It could not be asked.  @ivar exists: It does."""

    step: Step
    record: Record | InvalidRecord | None = None
    failure: str = ""
    authentic: bool = False
    exists: bool = False


class Tree:
    """
    The part of the DNS that one verification looks at: no name is asked twice.

    @ivar steps: What was asked and found, each name once, in order.
    """

    __slots__ = ("_asking", "_looked", "steps")

    def __init__(self, asking: Asking) -> None:
        self.steps: dict[str, Step] = {}
        self._asking = asking
        self._looked: dict[str, _Looked] = {}

    def another(self) -> Tree:
        """One with steps of its own; what either has learnt, both know."""
        tree = Tree(self._asking)
        tree._looked = self._looked
        return tree

    async def walk(self, start: str) -> Walk:
        """Up from C{start}, to the top or to a record that says where an organization ends."""
        found = []
        authentic = True
        failure = ""
        first: _Looked | None = None
        for domain in _names(start):
            looked = self._looked.get(domain)
            if looked is None:
                looked = self._looked[domain] = await self._look(domain)
            self.steps[looked.step.name] = looked.step
            first = first or looked
            authentic = authentic and looked.authentic
            if looked.failure:
                failure = looked.failure
                break
            if looked.record is not None:
                found.append(Found(domain, looked.record))
                if looked.record.public_suffix is not PublicSuffix.UNKNOWN:
                    break
        return Walk(
            start,
            tuple(found),
            failure,
            authentic,
            first is not None and first.authentic,
            first is not None and first.exists,
        )

    async def _look(self, domain: str) -> _Looked:
        name = f"_dmarc.{domain}"
        if len(name) > MAXIMUM_DOMAIN:
            # No failure: such a name cannot have a record, and what is above
            # must not go free because of it.
            return _Looked(Step(name, "too long for a name"), authentic=True)
        try:
            answer = await self._asking.answer(_question(name))
        except LookupFailed as error:
            problem = _shown(str(error)) or "the look-up failed"
            return _Looked(Step(name, problem), failure=problem)
        return _read(name, answer)

    async def existence(self, domain: str) -> tuple[bool, bool, str]:
        """
        Whether the DNS knows the name (RFC 9989 section 3.2.13), whether that
        was validated, and why it cannot be told; then it counts as known.
        """
        try:
            answer = await self._asking.answer(Question(domain, RRType.A))
        except LookupFailed as error:
            problem = _shown(str(error)) or "the look-up failed"
            self.steps[domain] = Step(domain, problem)
            return True, False, problem
        exists = _exists(domain, answer)
        self.steps[domain] = Step(domain, "exists" if exists else "does not exist")
        return exists, answer.authentic, ""


def is_below(domain: str, other: str) -> bool:
    """Whether C{domain} is C{other} or a name below it."""
    return domain == other or domain.endswith(f".{other}")


@functools.lru_cache(maxsize=2048)
def _question(name: str) -> Question:
    return Question(name, RRType.TXT)


def _names(start: str) -> Iterator[str]:
    """The names of a walk: the start, and each above it from seven labels on."""
    yield start
    labels = start.split(".")
    for left in range(min(len(labels) - 1, _SECOND), 0, -1):
        yield ".".join(labels[-left:])


def _read(name: str, answer: Answer) -> _Looked:
    """Several records at one name count as none (RFC 9989 section 4.10)."""
    exists = _exists(name, answer)
    records = []
    text: str | bytes = ""
    for one in answer.records:
        if isinstance(one, str | bytes):
            record = parse_record(one)
            if record is not None:
                records.append(record)
                text = one
    if len(records) != 1:
        outcome = f"{len(records)} records, so none counts" if records else "no record"
        return _Looked(Step(name, outcome), authentic=answer.authentic, exists=exists)
    record = records[0]
    shown = _shown(text)
    outcome = f"{shown} ({record.problem})" if isinstance(record, InvalidRecord) else shown
    return _Looked(Step(name, outcome), record, authentic=answer.authentic, exists=exists)


def _exists(name: str, answer: Answer) -> bool:
    """An alias exists, even if what it leads to does not (RFC 8020 section 2)."""
    return answer.exists or answer.canonical_name.lower() not in {"", name}


def _shown(text: str | bytes) -> str:
    """C{text} as far as a trace may show it: printable, and not too long."""
    return _printable(text[: _LONGEST_SHOWN + 1])


@functools.lru_cache(maxsize=2048)
def _printable(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if len(text) > _LONGEST_SHOWN:
        text = f"{text[:_LONGEST_SHOWN]}..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)
