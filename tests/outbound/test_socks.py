"""Connections through a SOCKS5 proxy.  RFC 1928."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Closed
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import IPAddress
from moxsmtp.outbound.socks import SocksFailed, socks_connect
from tests.clock import SetClock

PROXY, OTHER = ip_address("192.0.2.8"), ip_address("2001:db8::8")
REMOTE = ip_address("192.0.2.1")

GREETING, METHOD = b"\x05\x01\x00", b"\x05\x00"
REQUEST = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19"
BOUND = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x12\x34"


class Remembering(Protocol):
    """What the far end's protocol is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connectionMade(self) -> None:
        self.heard.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.heard.append("lost")


class SocksConnectTests(SynchronousTestCase):
    """
    Through a proxy with two addresses.

    @ivar refused: Proxies that cannot be connected to, and why.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.dials: list[tuple[IPAddress, int, float]] = []
        self.refused: dict[IPAddress, Exception] = {}
        self.wire: Any = None
        self.client = Remembering()

    def connect(
        self, protocol: Protocol, address: IPAddress, port: int, seconds: float
    ) -> Deferred[None]:
        self.dials.append((address, port, seconds))
        connected: Deferred[None] = Deferred()
        if address in self.refused:
            connected.errback(self.refused[address])
            return connected
        self.wire = StringTransport()
        self.wire.protocol = protocol
        connected.callback(None)
        protocol.makeConnection(self.wire)
        return connected

    def begin(self) -> Deferred[None]:
        through = socks_connect(self.connect, (PROXY, OTHER), 1080, self.clock)
        return through(self.client, REMOTE, 25, 30.0)

    def hears(self, octets: bytes) -> None:
        """As a transport delivers: to whoever is its protocol now."""
        self.wire.protocol.dataReceived(octets)

    def said(self) -> bytes:
        said: bytes = self.wire.value()
        self.wire.clear()
        return said

    def test_opens(self) -> None:
        """
        Greeting, request, reply; the protocol then has the transport for
        itself, and hears what came behind the reply (Q-43).
        """
        connecting = self.begin()
        self.assertEqual(GREETING, self.said())
        self.hears(METHOD)
        self.assertEqual(REQUEST, self.said())
        self.assertNoResult(connecting)
        self.assertEqual([], self.client.heard)
        self.hears(BOUND + b"220 mx\r\n")
        self.successResultOf(connecting)
        self.assertEqual(["made", b"220 mx\r\n"], self.client.heard)
        self.assertIs(self.wire, self.client.transport)
        self.hears(b"more")
        self.assertEqual([b"more"], self.client.heard[2:])
        self.assertEqual([(PROXY, 1080, 15.0)], self.dials)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_clock_set(self) -> None:
        """
        A clock that is set by a day while the proxy is connected to, either way, leaves
        it the time that it has (Q-43).
        """
        for by in (86_400, -86_400):
            clock = SetClock()
            connected: Deferred[None] = Deferred()

            def connect(
                protocol: Protocol, *_: object, connected: Deferred[None] = connected
            ) -> Deferred[None]:
                return connected.addCallback(lambda _: protocol.makeConnection(StringTransport()))

            through = socks_connect(connect, (PROXY,), 1080, clock.steady)
            connecting = through(self.client, REMOTE, 25, 30.0)
            clock.wait(10)
            clock.set_by(by)
            connected.callback(None)
            clock.wait(19)
            self.assertNoResult(connecting)
            clock.wait(1)
            self.failureResultOf(connecting, ConnectTimeout)

    def test_octet_by_octet(self) -> None:
        """It makes no difference in which pieces it comes."""
        connecting = self.begin()
        for octet in METHOD + BOUND + b"220":
            self.hears(bytes([octet]))
        self.successResultOf(connecting)
        self.assertEqual(["made", b"2", b"2", b"0"], self.client.heard)
        self.assertEqual(GREETING + REQUEST, self.said())

    def test_refused(self) -> None:
        """The proxy's reason is that of the failure, which is one to connect; no octet leaks."""
        connecting = self.begin()
        self.hears(METHOD)
        self.hears(b"\x05\x05\x00\x01\0\0\0\0\0\0")
        failure = self.failureResultOf(connecting, SocksFailed)
        self.assertIsInstance(failure.value, ConnectError)
        self.assertEqual("connection refused", str(failure.value))
        self.assertTrue(self.wire.disconnected or self.wire.aborting)
        self.hears(b"220 mx\r\n")
        self.wire.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([], self.client.heard)

    def test_closed(self) -> None:
        """A proxy that closes, at whichever octet."""
        for count in range(len(METHOD + BOUND)):
            connecting = self.begin()
            for octet in (METHOD + BOUND)[:count]:
                self.hears(bytes([octet]))
            self.wire.protocol.connectionLost(Failure(ConnectionDone()))
            failure = self.failureResultOf(connecting, SocksFailed)
            self.assertIn("closed", str(failure.value))
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_silent(self) -> None:
        """A proxy that drips has no more time than there was for connecting at all."""
        connecting = self.begin()
        self.clock.advance(20.0)
        self.hears(METHOD)
        self.clock.advance(9.0)
        self.hears(BOUND[:4])
        self.assertNoResult(connecting)
        self.clock.advance(1.0)
        self.failureResultOf(connecting, ConnectTimeout)
        self.assertTrue(self.wire.disconnected or self.wire.aborting)

    def test_other_address(self) -> None:
        """The proxy's next address is tried where one cannot be reached, in the time left."""
        self.refused = {PROXY: Closed(111, "no")}
        connecting = self.begin()
        self.hears(METHOD)
        self.hears(BOUND)
        self.successResultOf(connecting)
        self.assertEqual([(PROXY, 1080, 15.0), (OTHER, 1080, 30.0)], self.dials)

    def test_unreachable(self) -> None:
        """No address of the proxy, or none that answers."""
        self.refused = {PROXY: Closed(111, "no"), OTHER: OSError(101, "way")}
        failure = self.failureResultOf(self.begin(), SocksFailed)
        self.assertIn(f"the proxy ({OTHER}) cannot be reached", str(failure.value))
        through = socks_connect(self.connect, (), 1080, self.clock)
        self.failureResultOf(through(self.client, REMOTE, 25, 30.0), SocksFailed)

    def test_cancelled(self) -> None:
        """Who gives up is rid of the connection."""
        connecting = self.begin()
        self.hears(METHOD)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertTrue(self.wire.disconnected or self.wire.aborting)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.hears(BOUND)
        self.assertEqual([], self.client.heard)
