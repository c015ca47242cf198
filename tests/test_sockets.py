"""Tests for L{moxsmtp.sockets}; they bind, but nothing travels."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxsmtp.sockets import Socket

LOOPBACK = IPv4Address("127.0.0.1")


class SocketTests(SynchronousTestCase):
    """Binding."""

    def bound(self, address: IPv4Address | IPv6Address, port: int = 0) -> Socket:
        made = Socket(address, port)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(made.close())))
        return made

    def test_waits(self) -> None:
        """Who connects before the socket is served waits and is not refused."""
        made = self.bound(LOOPBACK)
        with socket.create_connection(("127.0.0.1", made.port), timeout=1) as client:
            self.assertEqual(("127.0.0.1", made.port), client.getpeername())

    def test_in_use(self) -> None:
        """A port in use is told with address and port, when binding (S-1)."""
        made = self.bound(LOOPBACK)
        error = self.assertRaises(CannotListenError, Socket, LOOPBACK, made.port)
        self.assertEqual(("127.0.0.1", made.port), (error.interface, error.port))

    def test_families(self) -> None:
        """An IPv6 wildcard leaves the port free for IPv4 (S-1)."""
        try:
            wide = self.bound(IPv6Address("::"))
        except CannotListenError:
            raise SkipTest("no IPv6 on this machine") from None
        self.assertEqual(wide.port, self.bound(IPv4Address("0.0.0.0"), wide.port).port)

    def test_names(self) -> None:
        """It is shown as one writes it in a URL."""
        made = self.bound(LOOPBACK)
        self.assertEqual(f"127.0.0.1:{made.port}", str(made))

    def test_served(self) -> None:
        """It is handed to the reactor with its family; closing it is repeatable."""
        adopted = []

        class Reactor(MemoryReactor):
            def adoptStreamPort(self, fileno: int, family: int, factory: object) -> object:
                adopted.append((family, factory))
                return super().adoptStreamPort(fileno, family, factory)

        made = self.bound(LOOPBACK)
        factory = ServerFactory()
        made.serve(factory, Reactor())
        self.assertEqual([(socket.AF_INET, factory)], adopted)
