"""Doubles of what workers and their parent stand on."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from typing import Any

from twisted.internet.task import Clock

from moxsmtp.worker.frames import Message
from moxsmtp.worker.passing import Arrival
from moxsmtp.worker.spawn import Watcher

__all__ = ["Bound", "Link", "Listening", "Reactor"]


class Reactor(Clock):
    """
    @ivar reading: Whose sockets are looked at.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reading: set[object] = set()

    def addReader(self, reader: object) -> None:
        """See L{IReactorFDSet}."""
        self.reading.add(reader)

    def removeReader(self, reader: object) -> None:
        """See L{IReactorFDSet}."""
        self.reading.discard(reader)


class Listening:
    """
    A listening socket.

    @ivar coming: Who comes next, by address; a number is an error.
    @ivar accepted: The other ends of the connections.
    """

    def __init__(self) -> None:
        self.coming: list[str | int] = []
        self.accepted: list[socket.socket] = []

    def close(self) -> None:
        """Let go of what is left."""
        for each in self.accepted:
            each.close()

    def fileno(self) -> int:
        """Of none."""
        return -1

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next one, or the next error."""
        if not self.coming:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        first = self.coming.pop(0)
        if isinstance(first, int):
            raise OSError(first, os.strerror(first))
        here, there = socket.socketpair()
        self.accepted.append(there)
        return here, (first, 1)


class Bound:
    """A bound socket of a server's."""

    def __init__(self) -> None:
        self.address = ip_address("127.0.0.1")
        self.port = 25
        self.listening = Listening()
        self.is_closed = False

    def serve(self, factory: Any, reactor: Any) -> None:
        """Workers do."""
        raise AssertionError("served here")

    def unbind(self) -> None:
        """Let go."""
        self.is_closed = True

    async def close(self) -> None:
        """Let go."""
        self.is_closed = True


class Link:
    """
    A process that does what the test says.

    @ivar arrivals: What it was given; the connections are closed after the test.
    """

    def __init__(self, number: int, watcher: Watcher) -> None:
        self.number = number
        self.watcher = watcher
        self.told: list[Message] = []
        self.arrivals: list[Arrival] = []
        self.connections: list[socket.socket] = []
        self.killed = False
        self.is_clogged = False

    @property
    def pid(self) -> int:
        """Of nobody."""
        return -1

    def tell(self, message: Message) -> None:
        """Keep it."""
        self.told.append(message)

    def close(self) -> None:
        """Let go of what is left."""
        for each in self.connections:
            each.close()

    def kinds(self) -> list[str]:
        """Of what it was told."""
        return [message["kind"] for message in self.told]

    def pass_on(self, connection: socket.socket, arrival: Arrival) -> None:
        """Keep it."""
        self.connections.append(connection)
        self.arrivals.append(arrival)

    def kill(self) -> None:
        """It is gone at once."""
        self.killed = True
        self.watcher.ended("signal 9")

    def ready(self) -> None:
        """It takes connections."""
        self.watcher.heard({"kind": "ready"})
