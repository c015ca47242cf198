"""
A look-up under way, and everybody who waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from moxsmtp.dns.records import Answer, Question
from moxsmtp.dns.upstream import Query, Server
from moxsmtp.dns.wire import Response

__all__ = ["Asker", "Shared"]


class Asker(Protocol):
    """Whose look-ups they are."""

    def left(self, shared: Shared, /) -> None:
        """Nobody waits for it any more."""

    def heard(self, shared: Shared, said: Response, /) -> None:
        """The first server answered."""

    def unheard(self, shared: Shared, why: str, /) -> None:
        """The first server does not answer."""


class Shared(Query):
    """
    A look-up under way, and everybody who waits for it.

    Most are over with the first server's answer, so that asking it is a part of
    the look-up itself; only what comes after that is a coroutine.

    @ivar site: Whose turn it has.
    @ivar servers: In the order in which they are asked.
    @ivar asking: What comes after the first query.
    """

    __slots__ = ("_resolver", "asking", "servers", "site", "waiters")

    def __init__(self, resolver: Asker, question: Question) -> None:
        super().__init__(question)
        self._resolver = resolver
        self.site = ""
        self.servers: Sequence[Server] = ()
        self.asking: Deferred[Answer] | None = None
        self.waiters: list[Deferred[Answer]] = []

    def waiter(self) -> Deferred[Answer]:
        """One more."""
        waiter: Deferred[Answer] = Deferred(self._leave)
        self.waiters.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[Answer]) -> None:
        # Even while the others are being told: nobody is told after having left.
        self.waiters.remove(waiter)
        if not self.waiters:
            self._resolver.left(self)

    def said(self, response: Response) -> None:
        self._resolver.heard(self, response)

    def failed(self, why: str) -> None:
        self._resolver.unheard(self, why)
