"""Connecting through a reactor."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.outbound.dial import dialer
from moxsmtp.outbound.sources import Sources

SIX = ip_address("2001:db8::1")
OURS = ip_address("2001:db8::5")


class _Connector:
    """What connectTCP gives."""

    def __init__(self, factory: ClientFactory) -> None:
        self.factory = factory
        self.disconnected = False

    def disconnect(self) -> None:
        """See C{IConnector}."""
        self.disconnected = True
        self.factory.clientConnectionFailed(self, Failure(ConnectError()))  # type: ignore[arg-type]  # as much of it as is used


class DialerTests(SynchronousTestCase):
    """Connecting through a reactor."""

    def setUp(self) -> None:
        """Nothing dialed."""
        self.dialed: list[tuple[str, int, float]] = []
        self.bound: list[tuple[str, int] | None] = []
        self.connectors: list[_Connector] = []
        self.protocol = Protocol()
        self.connected = dialer(self)(self.protocol, SIX, 25, 7.5)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float,
        bindAddress: tuple[str, int] | None,
    ) -> _Connector:
        """See C{IReactorTCP}."""
        self.bound.append(bindAddress)
        self.dialed.append((host, port, timeout))
        self.connectors.append(_Connector(factory))
        factory.startedConnecting(self.connectors[-1])  # type: ignore[arg-type]  # as much of it as is used
        return self.connectors[-1]

    def test_connects(self) -> None:
        """The protocol is the one given."""
        self.assertEqual(self.dialed, [(str(SIX), 25, 7.5)])
        built = self.connectors[0].factory.buildProtocol(None)
        assert built is not None
        built.makeConnection(StringTransport())
        self.assertIs(built, self.protocol)
        self.assertIsNone(self.successResultOf(self.connected))

    def test_source(self) -> None:
        """Q-50: a connection is made from the source of its family; without one, from any."""
        for address in (SIX, ip_address("192.0.2.1")):
            _ = dialer(self, Sources(ipv6=OURS))(Protocol(), address, 25, 7.5)
        self.assertEqual(self.bound, [None, (str(OURS), 0), None])

    def test_fails(self) -> None:
        """A failure is the Deferred's."""
        connector = self.connectors[0]
        reason = Failure(Refused())
        connector.factory.clientConnectionFailed(connector, reason)  # type: ignore[arg-type]  # as much of it as is used
        self.failureResultOf(self.connected, Refused)

    def test_cancel(self) -> None:
        """Cancelling stops the connecting, and is no failure after which to go on elsewhere."""
        self.connected.cancel()
        self.failureResultOf(self.connected, CancelledError)
        self.assertTrue(self.connectors[0].disconnected)
