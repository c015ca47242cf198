"""What a worker has to tell its parent, gathered over one turn of the reactor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from moxsmtp.worker.frames import Message

__all__ = ["News"]


class News:
    """
    Connections that ended, mail that waits to leave, accounts that got mail.
    However much happens in a turn, it is one message.
    """

    def __init__(self, reactor: Any, tell: Callable[[Message], None]) -> None:
        """@param reactor: IReactorTime."""
        self._reactor = reactor
        self._tell = tell
        self._ended: Counter[str] = Counter()
        self._accounts: set[str] = set()
        self._queued = False
        self._waits = False

    def ended(self, listener: str) -> None:
        """A connection of this listener is gone."""
        self._ended[listener] += 1
        self._soon()

    def queued(self) -> None:
        """There is mail to deliver."""
        self._queued = True
        self._soon()

    def stored(self, accounts: frozenset[str]) -> None:
        """Mail or webhook calls of these accounts were stored."""
        self._accounts |= accounts
        self._soon()

    def _soon(self) -> None:
        if not self._waits:
            self._waits = True
            self._reactor.callLater(0, self.flush)

    def flush(self) -> None:
        """Tell what there is."""
        self._waits = False
        if not (self._ended or self._accounts or self._queued):
            return
        message = {
            "kind": "news",
            "ended": dict(self._ended),
            "accounts": sorted(self._accounts),
            "queued": self._queued,
        }
        self._ended.clear()
        self._accounts.clear()
        self._queued = False
        self._tell(message)
