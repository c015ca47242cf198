"""Connecting to the addresses of one host, one after the other (Q-50)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from moxsmtp.names import IPAddress
from moxsmtp.outbound.sources import ANY_SOURCE, Sources

__all__ = ["DIAL_LIMIT", "Connect", "dialer", "share_of"]

#: Seconds to find and reach one host, over all of its addresses (Q-50).
DIAL_LIMIT: Final = 30.0

#: However many they are, each address gets this long.
_SHORTEST: Final = 1.0

#: Connects a protocol to an address and port within so many seconds.
Connect = Callable[[Protocol, IPAddress, int, float], Deferred[None]]


def share_of(left: float, addresses: int) -> float:
    """Seconds for each address."""
    return max(left / addresses, _SHORTEST)


class _Dial(ClientFactory):
    """Connects one protocol once; Twisted's endpoints make a class for each connection."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._connector: Any = None
        self._is_cancelled = False
        self.connected: Deferred[None] = Deferred(self._cancel)

    def _cancel(self, connected: Deferred[None]) -> None:
        """The reactor tells of it as of a failure: another address must not follow."""
        del connected
        self._is_cancelled = True
        self._connector.disconnect()

    def startedConnecting(self, connector: IConnector) -> None:
        self._connector = connector

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002 -- Twisted's
        self.connected.callback(None)
        return self._protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002 -- Twisted's
        if not self.connected.called and not self._is_cancelled:
            self.connected.errback(reason)


def dialer(reactor: Any, sources: Sources = ANY_SOURCE) -> Connect:
    """
    @param reactor: IReactorTCP.
    @param sources: From where.
    """

    def connect(
        protocol: Protocol, address: IPAddress, port: int, seconds: float
    ) -> Deferred[None]:
        dial = _Dial(protocol)
        source = sources.towards(address)
        bind = None if source is None else (str(source), 0)
        reactor.connectTCP(str(address), port, dial, timeout=seconds, bindAddress=bind)
        return dial.connected

    return connect
