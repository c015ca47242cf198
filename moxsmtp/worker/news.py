"""What a worker has to tell its parent, gathered for a while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from moxsmtp.worker.frames import Message

__all__ = ["News"]

#: Seconds that the end of a connection may wait for others, where there is room for more:
#: each message wakes the parent up.
_SLOWLY: Final = 0.02


class News:
    """
    Connections that ended, mail that waits to leave, accounts that got mail.
    However much happens in a turn of the reactor, it is one message.
    """

    def __init__(self, reactor: Any, tell: Callable[[Message], None]) -> None:
        """@param reactor: IReactorTime."""
        self._reactor = reactor
        self._tell = tell
        self._ended: Counter[str] = Counter()
        self._accounts: set[str] = set()
        self._queued = False
        self._timer: IDelayedCall | None = None
        self._is_urgent = False

    def ended(self, listener: str, *, is_crowded: bool = True) -> None:
        """
        A connection of this listener is gone.

        @param is_crowded: Its place may be waited for.
        """
        self._ended[listener] += 1
        if is_crowded:
            self._soon()
        elif self._timer is None:
            self._timer = self._reactor.callLater(_SLOWLY, self.flush)

    def queued(self) -> None:
        """There is mail to deliver."""
        self._queued = True
        self._soon()

    def stored(self, accounts: frozenset[str]) -> None:
        """Mail or webhook calls of these accounts were stored."""
        self._accounts |= accounts
        self._soon()

    def _soon(self) -> None:
        if self._is_urgent:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._is_urgent = True
        self._timer = self._reactor.callLater(0, self.flush)

    def flush(self) -> None:
        """Tell what there is."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._is_urgent = False
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
