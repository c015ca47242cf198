"""
Answers kept for as long as they may be.  RFC 1035 section 7.4, RFC 2308.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from moxsmtp.dns.records import TLSA, Answer, Question

__all__ = ["FAILURE_TTL", "Cache"]

#: Seconds that a failure is kept.  RFC 2308 section 7 allows up to 300; a few
#: spare a failing server without hiding its recovery.
FAILURE_TTL: Final = 5

#: Octets of text beyond which an answer or failure is not kept, so that the bound
#: on answers is one on memory too.
_LARGEST: Final = 4096


class Cache:
    """
    Answers and failures by question; the one unused for longest makes room.

    A failure is kept as its text.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Question, tuple[float, Answer | str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question, now: float) -> Answer | str | None:
        """
        What is known, its time to live counted down; L{None}: nothing.

        Within one second it is the same object for everybody.
        """
        entry = self._entries.get(question)
        if entry is None:
            return None
        expiry, outcome = entry
        left = expiry - now
        ttl = outcome.ttl if isinstance(outcome, Answer) else FAILURE_TTL
        # Where the clock was set back, nobody knows how old it is.
        if not 0 < left <= ttl + 1:
            del self._entries[question]
            return None
        self._entries.move_to_end(question)
        if isinstance(outcome, Answer) and outcome.ttl != (seconds := int(left)):
            outcome = replace(outcome, ttl=seconds)
            self._entries[question] = expiry, outcome
        return outcome

    def put(self, question: Question, outcome: Answer | str, now: float) -> None:
        """Keep it, if it may be kept."""
        ttl = outcome.ttl if isinstance(outcome, Answer) else FAILURE_TTL
        if ttl <= 0 or self._size <= 0 or _is_large(question, outcome):
            self._entries.pop(question, None)
            return
        self._entries[question] = now + ttl, outcome
        self._entries.move_to_end(question)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()


def _is_large(question: Question, outcome: Answer | str) -> bool:
    if isinstance(outcome, str):
        return len(question.name) + len(outcome) > _LARGEST
    room = _LARGEST
    for record in outcome.records:
        if isinstance(record, TLSA):
            room -= len(record.association)
        # An MX is about as large as a name.
        room -= 64 + (len(record) if isinstance(record, str | bytes) else 64)
    return room < 0
