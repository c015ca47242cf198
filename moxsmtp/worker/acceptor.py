"""Accepts the connections of a bound socket, for others to speak on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["NO_ROOM", "Acceptor"]

#: Connections accepted in one turn.
_TURN: Final = 64

#: Seconds without accepting once this process, or the system, has no room for more.
_REST: Final = 1.0

#: No more can be opened, by this process or the system.
NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: That connection only.  accept(2).
_LOST: Final = frozenset({errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.EINTR})

_log: Final = Logger()


@implementer(IReadDescriptor)
class Acceptor:
    """Of one socket; it does not close it."""

    def __init__(
        self, listening: socket.socket, welcome: Callable[[socket.socket, str], None], reactor: Any
    ) -> None:
        """
        @param welcome: Owns the connection from then on; given the client's
            address, too.
        @param reactor: IReactorFDSet and IReactorTime.
        """
        self._listening = listening
        self._welcome = welcome
        self._reactor = reactor
        self._is_open = False
        self._resting: IDelayedCall | None = None

    def resume(self) -> None:
        """Accept.  May be repeated."""
        self._is_open = True
        if self._resting is None:
            self._reactor.addReader(self)

    def pause(self) -> None:
        """Let them wait.  May be repeated."""
        self._is_open = False
        self._reactor.removeReader(self)

    def close(self) -> None:
        """For good."""
        self.pause()
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()

    def fileno(self) -> int:
        """See L{IReadDescriptor}."""
        return self._listening.fileno()

    def logPrefix(self) -> str:
        """See L{IReadDescriptor}."""
        return "accepting"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the interface has it
        """The reactor ends."""
        self.close()

    def doRead(self) -> None:
        """Take those that wait."""
        for _ in range(_TURN):
            if not self._is_open:
                return
            try:
                made, address = self._listening.accept()
            except OSError as error:
                if error.errno in _LOST:
                    continue
                if error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK}:
                    self._rest(error)
                return
            self._welcome(made, address[0])

    def _rest(self, error: OSError) -> None:
        """To try again at once would keep a processor busy with nothing else."""
        level = _log.warn if error.errno in NO_ROOM else _log.error
        level("no connection can be accepted, for a second: {error}", error=error)
        self._reactor.removeReader(self)
        self._resting = self._reactor.callLater(_REST, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        if self._is_open:
            self._reactor.addReader(self)
