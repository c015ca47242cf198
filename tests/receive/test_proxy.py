"""Connections that come through proxies."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import Role
from moxsmtp.judge.limiters import Limiters, LimitSettings
from moxsmtp.names import parse_host
from moxsmtp.receive.proxy import ProxyFactory, Relayed
from tests.receive.test_proxy_header import GOOD, SIGNATURE, version_2
from tests.receive.wires import Wire, WireCase

PROXY = IPv4Address("TCP", "203.0.113.5", 4000)
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 25\r\n"


class Recorder(Protocol):
    """@ivar address: What the factory was told."""

    def __init__(self, address: Any) -> None:
        self.address = address
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class Recorders(Factory[Recorder]):
    """Notes what it made."""

    def __init__(self) -> None:
        self.made: list[Recorder] = []
        self.runs = 0

    def doStart(self) -> None:
        self.runs += 1

    def doStop(self) -> None:
        self.runs -= 1

    def buildProtocol(self, addr: Any) -> Recorder:
        self.made.append(Recorder(addr))
        return self.made[-1]


class ProxyTests(SynchronousTestCase):
    """Who is heard, and how."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.recorders = Recorders()
        self.factory = ProxyFactory(self.recorders, self.clock)
        self.factory.networks = (ip_network("203.0.113.0/24"),)

    #: TCP has more attributes than the double says.
    transport: Any

    def connect(self, address: IPv4Address = PROXY) -> None:
        """Like TCP: what comes goes to the transport's protocol of the moment."""
        self.transport = StringTransport(peerAddress=address)
        self.transport.protocol = self.factory.buildProtocol(address)
        self.transport.protocol.makeConnection(self.transport)

    def hear(self, octets: bytes) -> None:
        if not self.transport.disconnected:
            self.transport.protocol.dataReceived(octets)

    def test_every_octet(self) -> None:
        """The client's octets begin behind the header, wherever that is cut; both versions."""
        for octets, ends in GOOD.items():
            for way in (
                [octets + b"EHLO x\r\n"],
                [bytes([octet]) for octet in octets + b"EHLO x\r\n"],
            ):
                self.connect()
                for piece in way:
                    self.hear(piece)
                made = self.recorders.made[-1]
                self.assertEqual(made.heard, b"EHLO x\r\n")
                self.assertIs(made.transport, self.transport)
                if ends is None:
                    self.assertEqual(made.address, PROXY)
                else:
                    client, local = (parse_host(f"[{end}]" if "." in end else f"[IPv6:{end}]")
                                     for end in ends)  # fmt: skip
                    self.assertEqual(made.address, Relayed(client.address, local.address))  # type: ignore[union-attr]  # literals
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_others(self) -> None:
        """From elsewhere no header is read: it is what any client might say."""
        elsewhere = IPv4Address("TCP", "203.0.114.5", 4000)
        self.connect(elsewhere)
        self.hear(HEADER)
        self.assertEqual(self.recorders.made[-1].address, elsewhere)
        self.assertEqual(self.recorders.made[-1].heard, HEADER)

    def test_no_networks(self) -> None:
        """Without proxies nobody is one."""
        self.factory.networks = ()
        self.connect()
        self.assertEqual(self.recorders.made[-1].address, PROXY)

    def test_bad(self) -> None:
        """Without a header the connection ends, without a word, at the first wrong octet."""
        for octets in (
            b"EHLO x\r\n",
            b"PROXY TCP4 x\r\n",
            b"\x16\x03\x01",
            version_2(0x31, 0x11, b""),
        ):
            self.connect()
            self.hear(octets)
            self.assertTrue(self.transport.disconnected, octets)
            self.assertEqual(self.transport.value(), b"")
            self.hear(HEADER)
        self.assertEqual(self.recorders.made, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """A header is waited for ten seconds, however it trickles."""
        self.connect()
        for octet in SIGNATURE[:9]:
            self.clock.advance(1)
            self.hear(bytes([octet]))
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.transport.value(), b"")

    def test_gone(self) -> None:
        """A connection that is lost before its header leaves nothing behind."""
        self.connect()
        self.transport.protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_started(self) -> None:
        """The factory behind it is started and stopped with it."""
        self.factory.doStart()
        self.assertEqual(self.recorders.runs, 1)
        self.factory.doStop()
        self.assertEqual(self.recorders.runs, 0)

    def test_address(self) -> None:
        """What names both ends is an address to Twisted."""
        one = parse_host("[192.0.2.1]").address  # type: ignore[union-attr]  # a literal
        self.assertTrue(verifyObject(IAddress, Relayed(one, one)))


class ClientTests(WireCase):
    """Whom the server takes such a client for."""

    role = Role.SMTP

    def relayed(self) -> None:
        client, local = parse_host("[192.0.2.7]"), parse_host("[198.51.100.1]")
        self.wire = Wire()
        self.server = self.factory.buildProtocol(Relayed(client.address, local.address))  # type: ignore[union-attr]  # literals
        self.server.makeConnection(self.wire)
        self.greeting = self.said()

    def test_client(self) -> None:
        """The receiver hears of the client's address, not the proxy's."""
        self.relayed()
        self.speak(b"EHLO x.example\r\n")
        client = self.told.clients[-1]
        self.assertEqual((str(client.address), str(client.local_address)),
                         ("192.0.2.7", "198.51.100.1"))  # fmt: skip

    def test_limits(self) -> None:
        """The limits count the client, not the proxy (S-12)."""
        self.entrance = replace(
            self.entrance, limiters=Limiters(LimitSettings(open_connections=(1, 9, 9)))
        )
        self.factory.obey(self.entrance)
        self.relayed()
        self.assertTrue(self.greeting.startswith(b"220 "))
        self.relayed()
        self.assertTrue(self.greeting.startswith(b"421 4.7.0 "))
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))
