"""
Answers that an evaluation has, and those it has to wait for.

An evaluation runs from its beginning, reads answers as if it never waited, and
is stopped by L{NotYet} where one is missing.  Then the answer is awaited and
the evaluation runs again; what is known at once never stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from moxsmtp.dns.records import Answer, LookupFailed, Question
from moxsmtp.interfaces import IResolver

__all__ = ["TIME_LIMIT", "Lookups", "NotYet", "OutOfTime"]

T = TypeVar("T")

#: Seconds that the answers to one check may take together.  RFC 7208 section 4.6.4.
TIME_LIMIT: Final = 20.0


class NotYet(BaseException):
    """
    An answer has not come.  Not an L{Exception}: it has to pass whatever stands
    between the look-up and L{Lookups.replay}.
    """

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class OutOfTime(Exception):
    """The answers take too long."""


class Lookups:
    """
    The look-ups of one check.  Whoever makes it calls L{close} in the end.

    @ivar read: What L{get} gave, in the order in which it was first wanted.
    """

    def __init__(self, resolver: IResolver, clock: IReactorTime) -> None:
        self._resolver = resolver
        self._clock = clock
        self._known: dict[Question, Answer | BaseException] = {}
        self._pending: dict[Question, Deferred[None]] = {}
        self._timer: IDelayedCall | None = None
        self._late = False
        self.read: dict[Question, Answer | BaseException] = {}

    def get(self, question: Question) -> Answer:
        """
        The answer, if it is there.

        @raise LookupFailed: There will be none.
        @raise NotYet: It has to be waited for.
        """
        outcome = self.at_once(question)
        if outcome is None:
            raise NotYet(question)
        self.read[question] = outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def at_once(self, question: Question) -> Answer | BaseException | None:
        """What is known, or was just said; L{None}: it has to be waited for.  It is not read."""
        outcome = self._known.get(question)
        if outcome is None:
            self.begin((question,))
            outcome = self._known.get(question)
        return outcome

    @property
    def authentic(self) -> bool:
        """Whether answers were read, and all that were had been validated."""
        return bool(self.read) and all(
            isinstance(outcome, Answer) and outcome.authentic for outcome in self.read.values()
        )

    def begin(self, questions: Iterable[Question]) -> None:
        """Ask what has not been asked."""
        for question in questions:
            if question not in self._known and question not in self._pending:
                asking = self._resolver.lookup(question)
                if asking.called and isinstance(asking.result, Answer):
                    self._known[question] = asking.result
                    continue
                waiting = asking.addBoth(self._settle, question)
                if question not in self._known:
                    self._pending[question] = waiting

    async def replay(self, evaluation: Callable[[], T]) -> T:
        """
        Run C{evaluation} until it needs nothing more: once, and once more for
        each answer that it had to wait for.

        @raise OutOfTime: The answers took longer than L{TIME_LIMIT}.
        """
        while True:
            try:
                return evaluation()
            except NotYet as missing:
                await self._wait(missing.question)

    def close(self) -> None:
        """Give up what is still looked up."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for asking in tuple(self._pending.values()):
            asking.cancel()

    async def _wait(self, question: Question) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(TIME_LIMIT, self._give_up)
        try:
            await self._pending[question]
        except GeneratorExit:
            # The coroutine is thrown away; what it waited for cannot resume it.
            del self._pending[question]
            raise
        if self._late:
            raise OutOfTime

    def _give_up(self) -> None:
        self._late = True
        self.close()

    def _settle(self, outcome: Answer | Failure, question: Question) -> None:
        _ = self._pending.pop(question, None)
        if isinstance(outcome, Failure):
            self._known[question] = outcome.value or LookupFailed("no reason given")
        else:
            self._known[question] = outcome
