"""Messages between a server and one of its workers, either way."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxsmtp.worker.frames import BadFrame, Frames, Message, framed

__all__ = ["Channel", "open_channel"]


class Channel(Protocol):
    """One end."""

    _log = Logger()

    transport: Any = None

    def __init__(self, hear: Callable[[Message], None], lost: Callable[[], None]) -> None:
        """@param lost: Called once, when nothing more can come."""
        self._hear = hear
        self._lost = lost
        self._frames = Frames()

    @property
    def is_open(self) -> bool:
        """Whether the other process is still there."""
        return self.transport is not None

    def tell(self, message: Message) -> None:
        """If it is still open."""
        if self.transport is not None:
            self.transport.write(framed(message))

    def close(self) -> None:
        """When all that was told has left."""
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """One message after the other."""
        try:
            for message in self._frames.feed(data):
                self._hear(message)
        except BadFrame as error:
            self._log.error("what another process of this server says is broken: {error}",
                            error=error)  # fmt: skip
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted passes it
        """The other process is gone, or wants no more."""
        self.transport = None
        self._lost()


def open_channel(reactor: Any, end: socket.socket, channel: Channel) -> None:
    """
    Speak over C{end}, which is the reactor's from now on.

    @param reactor: IReactorSocket.
    """
    end.setblocking(False)
    factory = Factory.forProtocol(lambda: channel)
    factory.noisy = False
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
    end.close()
