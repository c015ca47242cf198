"""
One check's look-ups: what was wanted, and what the answers were.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from moxsmtp.dns.records import Answer, LookupFailed, Question
from moxsmtp.interfaces import IResolver

__all__ = ["Asking"]


class Asking:
    """
    Asks a resolver for one check, so that L{moxsmtp.dns.memory.Memory} may keep
    what follows from the answers.

    @ivar read: What was answered, in the order in which it was first wanted.
    """

    __slots__ = ("_asked", "_resolver", "read")

    def __init__(self, resolver: IResolver) -> None:
        self.read: dict[Question, Answer | BaseException] = {}
        self._resolver = resolver
        self._asked: dict[Question, Deferred[Answer]] = {}

    def at_once(self, question: Question) -> Answer | None:
        """The answer to what will be wanted anyhow; L{None}: it has to be waited for."""
        asking = self._asked[question] = self._resolver.lookup(question)
        return asking.result if asking.called and isinstance(asking.result, Answer) else None

    async def answer(self, question: Question) -> Answer:
        """@raise LookupFailed: There is none."""
        asking = self._asked.pop(question, None) or self._resolver.lookup(question)
        try:
            answer = self.read[question] = await asking
        except LookupFailed as error:
            self.read[question] = error
            raise
        return answer
