"""Tests for L{moxsmtp.worker.passing}."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.passing import Arrival, receive_connections, send_connection, socket_pair


class PassingTests(SynchronousTestCase):
    """Descriptors on their way."""

    def setUp(self) -> None:
        """Both ends."""
        self.sender, self.receiver = socket_pair()
        self.addCleanup(self.sender.close)
        self.addCleanup(self.receiver.close)

    def received(self) -> list[tuple[Arrival, int]]:
        """What has come; closed after the test."""
        found = list(receive_connections(self.receiver))
        for _, descriptor in found:
            self.addCleanup(os.close, descriptor)
        return found

    def test_whole(self) -> None:
        """Each descriptor comes with what belongs to it, and is the same open file."""
        sent = {}
        for number in range(5):
            here, there = socket.socketpair()
            self.addCleanup(there.close)
            arrival = Arrival(number, 1_700_000_000_000 + number)
            send_connection(self.sender, here.fileno(), arrival)
            here.close()
            sent[arrival] = there
        found = self.received()
        self.assertEqual([arrival for arrival, _ in found], list(sent))
        for arrival, descriptor in found:
            os.write(descriptor, b"%d" % arrival.number)
            self.assertEqual(sent[arrival].recv(100), b"%d" % arrival.number)

    def test_full(self) -> None:
        """A sender whose receiver takes nothing never waits, and goes on afterwards."""
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        self.addCleanup(there.close)
        count = 0
        with self.assertRaises(BlockingIOError):
            while count < 100_000:
                send_connection(self.sender, here.fileno(), Arrival(0, count))
                count += 1
        first = self.received()
        self.assertEqual(len(first), 64)
        send_connection(self.sender, here.fileno(), Arrival(1, 1))
        while more := self.received():
            first += more
        self.assertEqual([one.number for one, _ in first], [*range(count), 1])

    def test_nothing(self) -> None:
        """Where nothing has come, nothing is received."""
        self.assertEqual(self.received(), [])

    def test_gone(self) -> None:
        """A receiver is told when there is nobody to send any more."""
        self.sender.close()
        self.assertRaises(EOFError, self.received)

    def test_nobody_receives(self) -> None:
        """A sender is told, too."""
        self.receiver.close()
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        self.addCleanup(there.close)
        self.assertRaises(OSError, send_connection, self.sender, here.fileno(), Arrival(0, 0))
