"""The far end of HTTP connections that a reactor without sockets began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IProtocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["PUBLIC", "Handshakes", "Line", "Wire", "refuse", "take"]

#: An address that may be called.
PUBLIC = "198.41.0.4"


@implementer(IOpenSSLClientConnectionCreator)
class Handshakes:
    """Remembers for which hosts TLS was begun."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    def __call__(self, host: str) -> Handshakes:
        """For one host."""
        self.hosts.append(host)
        return self

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection that nobody answers."""
        del protocol
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


class Wire(StringTransport):
    """A transport that tells its end of being aborted."""

    aborted: Callable[[], None]

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As a TCP connection has it."""

    def abortConnection(self) -> None:
        """The connection is lost, at once."""
        self.aborted()


@dataclass
class Line:
    """One TCP connection as its other end sees it."""

    protocol: IProtocol
    transport: StringTransport

    def say(self, octets: bytes) -> None:
        """Answer."""
        if not self.transport.disconnected:
            self.protocol.dataReceived(octets)

    def hang_up(self) -> None:
        """End it."""
        if not self.transport.disconnected:
            self.transport.disconnected = True
            self.protocol.connectionLost(Failure(error.ConnectionLost()))


def take(reactor: MemoryReactorClock, number: int = -1) -> Line:
    """Take a connection."""
    factory = reactor.tcpClients[number][2]
    protocol = factory.buildProtocol(IPv4Address("TCP", PUBLIC, 80))
    assert protocol is not None
    transport = Wire()
    line = Line(protocol, transport)
    transport.aborted = line.hang_up
    protocol.makeConnection(transport)
    return line


def refuse(reactor: MemoryReactorClock, number: int = -1) -> None:
    """Do not take it."""
    factory = reactor.tcpClients[number][2]
    connector = reactor.connectors[number]
    factory.clientConnectionFailed(connector, Failure(error.ConnectionRefusedError()))
