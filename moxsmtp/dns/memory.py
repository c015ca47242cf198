"""
Results of checks that are found again: the same senders write all day.

What a check says follows from what it is asked and from the answers that it
reads.  So its questions are asked once more, one after the other; as long as
each answer is what it was, the result is what it was too.  Nothing is believed
for longer than the resolver believes it; and of a sender who writes many times a
second, nobody asks each time what can hardly have changed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Final, Generic, TypeGuard, TypeVar

from moxsmtp.dns.records import Answer, Question

__all__ = ["Memory"]

T = TypeVar("T")

#: Questions of a check, and octets of what was answered, that are kept: what
#: reads more costs more to compare, and the memory of all is bounded.
_MOST_QUESTIONS: Final = 20
_MOST_OCTETS: Final = 8192

#: Seconds for which answers that were just compared, and may be kept for so long,
#: are not asked for again; short for the sake of a resolver that keeps nothing.
_UNASKED: Final = 10.0


class _Past(Generic[T]):
    """
    A result, and what it followed from.

    @ivar since: When all answers were as they had been, and C{until} when nobody
        needs to ask for them again.
    """

    __slots__ = ("read", "result", "since", "until")

    def __init__(self, read: Mapping[Question, Answer], result: T) -> None:
        self.read = read
        self.result = result
        self.since = self.until = 0.0


class Memory(Generic[T]):
    """Results of one kind of check; the one that was of no use for longest makes room."""

    def __init__(self, size: int = 1024, *, seconds: Callable[[], float] | None = None) -> None:
        """@param seconds: The time; L{None}: all answers are compared each time."""
        self._size = size
        self._seconds = seconds
        self._past: OrderedDict[Hashable, _Past[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._past)

    def recall(self, asked: Hashable, answer_of: Callable[[Question], object]) -> T | None:
        """
        The result for what is C{asked}, if the DNS says what it said then.

        @param answer_of: Gives the L{Answer} to a question, or anything else
            where there is none at once.
        """
        past = self._past.get(asked)
        if past is None:
            return None
        # Without a clock it is never now; a clock may have been set back.
        now = math.nan if self._seconds is None else self._seconds()
        if not past.since <= now < past.until:
            room = _UNASKED
            for question, then in past.read.items():
                answer = answer_of(question)
                if not _says(answer, then):
                    return None
                room = min(room, answer.ttl)
            past.since, past.until = now, now + room
        self._past.move_to_end(asked)
        return past.result

    def keep(
        self, asked: Hashable, read: Mapping[Question, Answer | BaseException], result: T
    ) -> None:
        """
        Put a result down, unless a look-up failed.

        @param read: What was answered, in the order in which it was wanted.
            The result follows from it and from C{asked} alone.
        """
        self._past.pop(asked, None)
        answers = {
            question: answer for question, answer in read.items() if isinstance(answer, Answer)
        }
        if len(read) == len(answers) <= _MOST_QUESTIONS and _octets(answers) <= _MOST_OCTETS:
            self._past[asked] = _Past(answers, result)
            if len(self._past) > self._size:
                self._past.popitem(last=False)


def _says(now: object, then: Answer) -> TypeGuard[Answer]:
    """Whether an answer is the same but for what becomes of it with time."""
    return now is then or (
        isinstance(now, Answer)
        and now.records == then.records
        and now.authentic is then.authentic
        and now.exists is then.exists
        and now.canonical_name == then.canonical_name
    )


def _octets(answers: Mapping[Question, Answer]) -> int:
    return sum(
        len(record) if isinstance(record, str | bytes) else 64
        for answer in answers.values()
        for record in answer.records
    )
