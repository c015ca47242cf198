"""
Results that are found again: the same clients send for the same domains all day.

What a check says follows from what it is asked and from the answers that it
reads.  So the questions of a check are asked once more, one after the other; as
long as each answer is what it was, at once, the result is what it was too.
Nothing is believed for longer than the resolver believes it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from moxsmtp.dns.records import Answer, Question, Record
from moxsmtp.spf.lookups import Lookups
from moxsmtp.spf.result import Result

__all__ = ["Memory"]

#: Questions of a check, and octets of what was answered, that are kept: a policy
#: that says much costs more to compare, and the memory of all is bounded.
_MOST_QUESTIONS: Final = 20
_MOST_OCTETS: Final = 8192


@dataclass(frozen=True, slots=True)
class _Past:
    """@ivar read: The answers, as far as they matter."""

    read: tuple[tuple[Question, tuple[Record, ...], bool], ...]
    result: Result


class Memory:
    """Of a server's checks; what was of no use for longest makes room."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._past: OrderedDict[Hashable, _Past] = OrderedDict()

    def __len__(self) -> int:
        return len(self._past)

    def recall(self, asked: Hashable, lookups: Lookups) -> Result | None:
        """
        The result for what is C{asked}, if the DNS says what it said then.

        @param lookups: Those of the check that is needed otherwise; it finds
            there what was asked here.
        """
        past = self._past.get(asked)
        if past is None:
            return None
        for question, records, authentic in past.read:
            answer = lookups.at_once(question)
            if (
                not isinstance(answer, Answer)
                or answer.records != records
                or answer.authentic is not authentic
            ):
                return None
        self._past.move_to_end(asked)
        return past.result

    def keep(self, asked: Hashable, lookups: Lookups, result: Result) -> None:
        """
        Put down a result that followed from C{asked} and from what was read of
        C{lookups} alone, unless a look-up failed.
        """
        self._past.pop(asked, None)
        read = []
        octets = 0
        for question, answer in lookups.read():
            if not isinstance(answer, Answer):
                return
            read.append((question, answer.records, answer.authentic))
            octets += sum(len(r) if isinstance(r, str | bytes) else 64 for r in answer.records)
        if len(read) > _MOST_QUESTIONS or octets > _MOST_OCTETS:
            return
        self._past[asked] = _Past(tuple(read), result)
        if len(self._past) > self._size:
            self._past.popitem(last=False)
