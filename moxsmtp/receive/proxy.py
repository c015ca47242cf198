"""Connections that come through a proxy, which says first for whom it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.judge.limits import is_within
from moxsmtp.names import IPAddress
from moxsmtp.receive.entrance import host_of
from moxsmtp.receive.proxy_header import BadHeader, read_proxy_header

__all__ = ["ProxyFactory", "Relayed"]

#: Seconds for a header, which a proxy sends before anything else.
_HEADER: Final = 10.0

_log: Final = Logger()


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class Relayed:
    """
    Both ends of a connection behind a proxy.

    @ivar local: The address that the client connected to.
    """

    client: IPAddress
    local: IPAddress


class ProxyFactory(Factory[Protocol]):
    """
    Stands before the factory of a socket.

    @ivar networks: Where proxies are.  From them a header is demanded; from
        nowhere else it is read, for anybody could write one.
    @ivar wrapped: Makes a connection's protocol: C{buildProtocol} gets a
        L{Relayed} where a proxy named a client.
    @ivar missed: Called where a connection ended before that.
    """

    noisy = False

    def __init__(self, wrapped: Any, clock: IReactorTime) -> None:
        self.wrapped = wrapped
        self.networks: tuple[IPv4Network | IPv6Network, ...] = ()
        self.missed: Callable[[], None] = _nothing
        self._clock = clock

    def doStart(self) -> None:
        """See C{Factory}."""
        super().doStart()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        self.wrapped.doStart()

    def doStop(self) -> None:
        """See C{Factory}."""
        super().doStop()  # type: ignore[no-untyped-call]  # Twisted has no annotation
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """One for each connection."""
        if self.networks and addr is not None and is_within(host_of(addr), self.networks):
            return _Introduction(self.wrapped, self._clock, self.missed)
        return self.wrapped.buildProtocol(addr)


def _nothing() -> None:
    """Nobody wants to know."""


class _Introduction(Protocol):
    """
    A connection until its header has been read.  Then the client's protocol
    takes its place at the transport, so that nothing stands between them.
    """

    #: TCP or a double: what delivers to its attribute C{protocol}.
    transport: Any

    def __init__(self, factory: Any, clock: IReactorTime, missed: Callable[[], None]) -> None:
        self._missed = missed
        self._factory = factory
        self._clock = clock
        self._octets = bytearray()
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Wait for the header, but not for long."""
        self._timer = self._clock.callLater(_HEADER, self._refuse, "it does not come")

    def dataReceived(self, data: bytes) -> None:
        """More of the header, or the last of it."""
        if self._timer is None:
            return
        self._octets += data
        try:
            header = read_proxy_header(self._octets)
        except BadHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._end()
        transport = self.transport
        address: IAddress = transport.getPeer()
        if header.client is not None and header.local is not None:
            address = Relayed(header.client, header.local)
        protocol: IProtocol = self._factory.buildProtocol(address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        rest = bytes(self._octets[header.length :])
        if rest:
            protocol.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted passes it
        """It ended before anybody was introduced."""
        self._end()
        self._missed()

    def _refuse(self, why: str) -> None:
        """Without a word: a proxy would only hand it to its client."""
        self._end()
        _log.info(
            "connection from {peer} ended, its PROXY header is no good: {why}",
            peer=str(host_of(self.transport.getPeer())),
            why=why,
        )
        self.transport.abortConnection()

    def _end(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
