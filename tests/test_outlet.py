"""Tests for L{moxsmtp.outlet}; pairs of sockets, connected inside this process."""

from __future__ import annotations

import socket

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.outlet import Outlet
from tests.receive.wires import Line


class SocketTransport(StringTransport):
    """Has a socket, and notes what is written the usual way."""

    def __init__(self, handle: object) -> None:
        super().__init__()
        self.handle = handle
        self.socket = handle

    def getHandle(self) -> object:
        return self.handle


@implementer(IOpenSSLServerConnectionCreator)
class Connections:
    """Of a server without a certificate."""

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None)


class OutletTests(SynchronousTestCase):
    """What goes where."""

    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.ours.setblocking(False)
        self.theirs.settimeout(1)
        self.transport = SocketTransport(self.ours)

    def test_direct(self) -> None:
        """What the kernel takes never reaches the transport."""
        Outlet(self.transport).write(b"250 ok\r\n")
        self.assertEqual((b"250 ok\r\n", b""), (self.theirs.recv(99), self.transport.value()))

    def test_order(self) -> None:
        """What the kernel does not take is the transport's, and all that comes behind it."""
        outlet = Outlet(self.transport)
        much = b"x" * 10_000_000
        outlet.write(much)
        outlet.write(b"end")
        sent = len(much) + 3 - len(self.transport.value())
        self.assertTrue(0 < sent < len(much))
        self.assertTrue(self.transport.value().endswith(b"xend"))

    def test_broken(self) -> None:
        """A broken socket is for the transport to notice."""
        self.ours.close()
        Outlet(self.transport).write(b"250 ok\r\n")
        self.assertEqual(b"250 ok\r\n", self.transport.value())

    def test_close(self) -> None:
        """Once the kernel has all, the connection is closed now, as if it had ended well."""
        line = Line(self.ours, Protocol())
        outlet = Outlet(line)
        outlet.write(b"221 bye\r\n")
        self.assertTrue(outlet.close())
        self.assertEqual([ConnectionDone], [reason.type for reason in line.lost])

    def test_not_yet(self) -> None:
        """What is kept back leaves first: the transport closes when it has."""
        line = Line(self.ours, Protocol())
        outlet = Outlet(line)
        outlet.write(b"x" * 10_000_000)
        self.assertFalse(outlet.close())
        self.assertEqual([], line.lost)

    def test_close_tls(self) -> None:
        """TLS has an end of its own."""
        line = Line(self.ours, Protocol())
        outlet = Outlet(line)
        outlet.wrap()
        self.assertFalse(outlet.close())
        self.assertEqual([], line.lost)

    def test_close_through(self) -> None:
        """Where something stands between, through which the socket shines, that closes."""
        self.assertFalse(Outlet(self.transport).close())

    def test_starttls(self) -> None:
        """Once TLS comes between, nothing goes round it."""
        outlet = Outlet(self.transport)
        outlet.wrap()
        outlet.write(b"250 ok\r\n")
        self.assertEqual(b"250 ok\r\n", self.transport.value())

    def test_tls(self) -> None:
        """Where TLS was there first, nothing goes round it, though its socket shines through."""
        factory = TLSMemoryBIOFactory(Connections(), False, Factory.forProtocol(Protocol))
        tls = factory.buildProtocol(None)
        assert tls is not None
        tls.makeConnection(self.transport)
        self.assertIs(self.ours, tls.socket)
        Outlet(tls).write(b"secret")
        self.theirs.setblocking(False)
        self.assertRaises(BlockingIOError, self.theirs.recv, 99)
        self.assertNotIn(b"secret", self.transport.value())
