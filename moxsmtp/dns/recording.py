"""
What was looked up on the way to a result, for whoever has to explain it.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.dns.records import Answer, LookupFailed, Question
from moxsmtp.interfaces import IResolver

__all__ = ["RecordingResolver"]


@implementer(IResolver)
class RecordingResolver:
    """
    Asks another resolver, and keeps what it said.  Made for one message or
    check: it keeps all.

    @ivar looked_up: In the order in which the answers came, repeated look-ups
        included; what was cancelled is not in it.
    """

    def __init__(self, resolver: IResolver) -> None:
        self._resolver = resolver
        self.looked_up: list[tuple[Question, Answer | LookupFailed]] = []

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""

        def keep(answer: Answer) -> Answer:
            self.looked_up.append((question, answer))
            return answer

        def keep_failure(failure: Failure) -> Failure:
            if isinstance(failure.value, LookupFailed):
                self.looked_up.append((question, failure.value))
            return failure

        return self._resolver.lookup(question).addCallbacks(keep, keep_failure)
