"""
Doubles for tests of programs that use our parts, and for our own.

They keep the promises of the real interfaces, wait for nothing and open
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver

__all__ = ["MemoryResolver"]

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
                    return Answer(
                        records=entry.records,
                        authentic=entry.authentic,
                        exists=entry.exists,
                        canonical_name=entry.canonical_name or name,
                        ttl=entry.ttl,
                    )
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
