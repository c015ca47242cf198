"""
Listening sockets: bound early, while privileges last and errors can be told
in one line, or passed to us by systemd; served once everything behind them
stands.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from moxsmtp.names import IPAddress

__all__ = ["PassedSockets", "Socket", "passed_descriptors"]

#: Connections that may wait to be accepted; the kernel has its own bound too.
_BACKLOG: Final = 511

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


def passed_descriptors(reactor: Any) -> Sequence[int]:
    """
    Those that systemd passed to this process.  sd_listen_fds(3).

    Twisted's endpoints have read, and removed from the environment, what says so
    as soon as they were imported; so they are asked, one by one.
    """
    found: list[int] = []
    while True:
        try:
            endpoint: Any = serverFromString(reactor, f"systemd:domain=INET:index={len(found)}")
        except IndexError:
            return found
        found.append(endpoint.fileno)


class PassedSockets:
    """
    Listening sockets that somebody bound for us before we started, as systemd
    does.  Each is used where its address and port are wanted.
    """

    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        """
        Own these file descriptors.

        @raise CannotListenError: One is no listening TCP socket.
        """
        self._waiting: dict[tuple[IPAddress, int], socket.socket] = {}
        for descriptor in descriptors:
            try:
                made = socket.socket(fileno=descriptor)
            except OSError as error:
                raise _refusal(f"descriptor {descriptor}", error) from None
            if made.family not in _FAMILIES.values() or not made.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            ):
                unsuitable = OSError(errno.EINVAL, "it was passed to us and takes no connections")
                raise _refusal(f"descriptor {descriptor}", unsuitable)
            made.set_inheritable(False)
            made.setblocking(False)
            host, port = made.getsockname()[:2]
            self._waiting[ip_address(host.partition("%")[0]), port] = made

    def take(self, address: IPAddress, port: int) -> socket.socket | None:
        """
        The one that is bound there; L{None}: none was passed.

        @raise CannotListenError: It takes IPv4 on an IPv6 address (S-1).
        """
        made = self._waiting.pop((address, port), None)
        if made is not None and not _is_of_one_family(made):
            error = OSError(
                errno.EINVAL, "it was passed to us and takes IPv4 too; BindIPv6Only=ipv6-only"
            )
            raise CannotListenError(str(address), port, error)
        return made

    def check_all_taken(self) -> None:
        """
        See that nobody waits at a socket that is not served.

        @raise CannotListenError: There is such a one.
        """
        for address, port in self._waiting:
            error = OSError(errno.EINVAL, "it was passed to us, but no listener is there")
            raise CannotListenError(str(address), port, error)


def _refusal(what: str, error: OSError) -> CannotListenError:
    return CannotListenError(None, what.encode(), error)


def _is_of_one_family(made: socket.socket) -> bool:
    return made.family != socket.AF_INET6 or bool(
        made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    )


class Socket:
    """
    A bound socket.  Connections that come before it is served wait.

    @ivar port: As bound; where 0 was asked for, the one that was given.
    """

    def __init__(self, address: IPAddress, port: int, passed: PassedSockets | None = None) -> None:
        """
        Bind it to its own address family only (S-1), or take the one that was passed.

        @raise CannotListenError: The port is in use, not allowed, and so on.
        """
        self.address = address
        self._port: IListeningPort | None = None
        self.family = _FAMILIES[address.version]
        taken = passed.take(address, port) if passed is not None else None
        self._socket = taken or self._bound(port)
        self.port: int = self._socket.getsockname()[1]

    def _bound(self, port: int) -> socket.socket:
        try:
            made = socket.socket(self.family, socket.SOCK_STREAM)
        except OSError as error:
            raise CannotListenError(str(self.address), port, error) from None
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((str(self.address), port))
            made.listen(_BACKLOG)
            made.setblocking(False)
        except OSError as error:
            made.close()
            raise CannotListenError(str(self.address), port, error) from None
        return made

    def serve(self, factory: IProtocolFactory, reactor: Any) -> None:
        """
        Hand connections to C{factory}, those that wait first.

        @param reactor: IReactorSocket.
        """
        # As Twisted's endpoint for adopted sockets does, but errors are ours:
        # the reactor works on a duplicate of its own.
        self._port = reactor.adoptStreamPort(self._socket.fileno(), self.family, factory)
        self._socket.close()

    @property
    def listening(self) -> socket.socket:
        """The bound socket itself, until it is served: for who accepts by himself."""
        return self._socket

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
