"""
Listening sockets: bound early, while privileges last and errors can be told
in one line; served once everything behind them stands.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from moxsmtp.names import IPAddress

__all__ = ["Socket"]

#: Connections that may wait to be accepted; the kernel has its own bound too.
_BACKLOG: Final = 511


class Socket:
    """
    A bound socket.  Connections that come before it is served wait.

    @ivar port: As bound; where 0 was asked for, the one that was given.
    """

    def __init__(self, address: IPAddress, port: int) -> None:
        """
        Bind it to its own address family only (S-1).

        @raise CannotListenError: The port is in use, not allowed, and so on.
        """
        self.address = address
        self._port: IListeningPort | None = None
        self.family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            self._socket = socket.socket(self.family, socket.SOCK_STREAM)
        except OSError as error:
            raise CannotListenError(str(address), port, error) from None
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((str(address), port))
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise CannotListenError(str(address), port, error) from None
        self.port: int = self._socket.getsockname()[1]

    def serve(self, factory: IProtocolFactory, reactor: Any) -> None:
        """
        Hand connections to C{factory}, those that wait first.

        @param reactor: IReactorSocket.
        """
        # The reactor works on a duplicate of its own.
        self._port = reactor.adoptStreamPort(self._socket.fileno(), self.family, factory)
        self._socket.close()

    def unbind(self) -> None:
        """Let go of the port, if it is not served yet.  May be repeated."""
        self._socket.close()

    async def close(self) -> None:
        """Take no more connections.  May be repeated."""
        self._socket.close()
        port, self._port = self._port, None
        stopping = port.stopListening() if port is not None else None
        if stopping is not None:
            await stopping

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"
