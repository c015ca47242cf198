"""Tests for L{moxsmtp.sockets}; they bind, but nothing travels."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address

from twisted.internet import endpoints
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactor
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxsmtp.sockets import PassedSockets, Socket, passed_descriptors

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


class PassedTests(SynchronousTestCase):
    """Sockets that systemd binds for us."""

    def passed(self, family: int = socket.AF_INET, *, only_six: bool = True) -> tuple[int, int]:
        """A descriptor of a listening socket on loopback, and its port."""
        made = socket.socket(family, socket.SOCK_STREAM)
        host = "127.0.0.1"
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_six)
            host = "::1" if only_six else "::"
        try:
            made.bind((host, 0))
        except OSError:
            made.close()
            raise SkipTest("no IPv6 on this machine") from None
        made.listen()
        port: int = made.getsockname()[1]
        return made.detach(), port

    def closed(self, made: Socket) -> Socket:
        """It is let go after the test."""
        self.addCleanup(made.unbind)
        return made

    def test_taken(self) -> None:
        """One whose address and port are wanted is used, and is no longer for children."""
        descriptor, port = self.passed()
        os.set_inheritable(descriptor, True)
        sockets = PassedSockets([descriptor])
        self.assertEqual(port, self.closed(Socket(LOOPBACK, port, sockets)).port)
        self.assertFalse(os.get_inheritable(descriptor))
        self.assertFalse(os.get_blocking(descriptor))
        sockets.check_all_taken()

    def test_others_bound(self) -> None:
        """What was not passed is bound as ever, on the port that nobody has."""
        descriptor, port = self.passed()
        sockets = PassedSockets([descriptor])
        other = self.closed(Socket(LOOPBACK, 0, sockets))
        self.assertNotEqual(port, other.port)
        self.closed(Socket(LOOPBACK, port, sockets))

    def test_left(self) -> None:
        """One that nothing is served on is told, with its address: its clients would wait."""
        descriptor, port = self.passed()
        sockets = PassedSockets([descriptor])
        error = self.assertRaises(CannotListenError, sockets.check_all_taken)
        self.assertEqual(("127.0.0.1", port), (error.interface, error.port))
        self.closed(Socket(LOOPBACK, port, sockets))

    def test_family(self) -> None:
        """An IPv6 socket that would take IPv4 too is refused; one of its own kind is used (S-1)."""
        descriptor, port = self.passed(socket.AF_INET6)
        self.closed(Socket(IPv6Address("::1"), port, PassedSockets([descriptor])))
        both, port = self.passed(socket.AF_INET6, only_six=False)
        sockets = PassedSockets([both])
        error = self.assertRaises(CannotListenError, Socket, IPv6Address("::"), port, sockets)
        self.assertIn("BindIPv6Only", str(error.socketError))

    def test_unsuitable(self) -> None:
        """What is no listening TCP socket is refused: a file, a datagram socket, another's."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        self.addCleanup(os.close, reading)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach()
        idle = socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()
        for descriptor in (reading, datagrams, local, idle):
            error = self.assertRaises(CannotListenError, PassedSockets, [descriptor])
            self.assertIn(f"descriptor {descriptor}".encode(), error.port)

    def test_descriptors(self) -> None:
        """All that systemd passes are found, however many have the same name; there may be none."""
        self.assertEqual([], list(passed_descriptors(MemoryReactor())))
        passed = ListenFDs([7, 9, 8], ("moxsmtp.socket", "moxsmtp.socket", "other.socket"))
        self.patch(endpoints._SystemdParser, "_sddaemon", passed)
        self.assertEqual([7, 9, 8], list(passed_descriptors(MemoryReactor())))
