"""
Replies and commands on their way out.

Twisted keeps what is written until the socket is known to be ready, which costs
two system calls and a turn of the reactor for every reply.  A socket of which
nothing is kept back takes a reply at once, nearly always; so it is offered
there first.  That halves what the kernel does for a session.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

__all__ = ["Outlet"]


class _Nowhere:
    """What a transport is once its connection is lost."""

    def write(self, octets: bytes) -> None:
        """Octets are lost too."""


_NOWHERE: Final = _Nowhere()

#: What a connection that we end is lost by, in Twisted's words.
_DONE: Final = Failure(ConnectionDone())


class Outlet:
    """Writes to a transport, in order."""

    __slots__ = ("_socket", "_transport")

    def __init__(self, transport: Any) -> None:
        """@param transport: TCP, TLS or a double of it; nothing was written to it yet."""
        self._transport = transport
        # Not the attribute "socket": TLS hands through what lies beneath it.
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        self._socket = handle if isinstance(handle, socket.socket) else None

    def write(self, octets: bytes) -> None:
        """As the transport's own."""
        if self._socket is not None:
            octets = octets[self._offer(octets) :]
            if not octets:
                return
            # The transport keeps some back from here on; it alone knows until when.
            self._socket = None
        self._transport.write(octets)

    def close(self) -> bool:
        """
        Close the connection now, which ends in its C{connectionLost}.  That spares
        it another turn of the reactor, to find that there is nothing left to write.

        @return: C{False}: there may be, or TLS has to end first; nothing is done.
        """
        # Wrappers let a socket shine through that is not theirs to close.
        if self._socket is None or not isinstance(self._transport, FileDescriptor):
            return False
        self._transport.connectionLost(_DONE)
        return True

    def wrap(self) -> None:
        """TLS comes between: from here on all is the transport's."""
        self._socket = None

    def forget(self) -> None:
        """The connection is gone."""
        self._socket = None
        self._transport = _NOWHERE

    def _offer(self, octets: bytes) -> int:
        """@return: How many octets the kernel took.  Of an error the transport hears soon."""
        try:
            return self._socket.send(octets) if self._socket is not None else 0
        except OSError:
            return 0
