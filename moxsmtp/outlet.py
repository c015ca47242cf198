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

__all__ = ["Outlet"]


class _Nowhere:
    """What a transport is once its connection is lost."""

    def write(self, octets: bytes) -> None:
        """Octets are lost too."""


_NOWHERE: Final = _Nowhere()


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
