"""Clients that mean no good: what one connection costs, and that others have their turn."""

from __future__ import annotations

import tracemalloc

from zope.interface import implementer

from moxsmtp.interfaces import IMetrics, Role
from tests.receive.wires import Wire, WireCase

#: Octets that a connection may hold, whatever it is sent.
_BOUND = 300_000


class Sink(Wire):
    """Keeps nothing of what is written but its length."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)


@implementer(IMetrics)
class Uncounted:
    """Counts nothing, for the usual double keeps all."""

    def count(self, name: str, **labels: str) -> None:
        """Nothing."""

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Nothing."""

    def move(self, name: str, step: int, **labels: str) -> None:
        """Nothing."""


class HostileTests(WireCase):
    """Memory and turns."""

    def setUp(self) -> None:
        super().setUp()
        self.start(metrics=Uncounted())

    def connect_sink(self) -> None:
        self.wire = self.sink = Sink()
        self.server = self.factory.buildProtocol(None)
        self.server.makeConnection(self.wire)

    def grown(self, pieces: int, piece: bytes) -> int:
        """How much more is held after all of it was sent, as long as we read."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(pieces):
            if self.wire.producerState == "producing" and not self.wire.disconnecting:
                self.server.dataReceived(piece)
            self.clock.advance(0)
        after, _ = tracemalloc.get_traced_memory()
        return after - before

    def test_noops(self) -> None:
        """However many NOOPs come at once, neither they nor their answers pile up (S-22)."""
        self.connect_sink()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        piece = b"NOOP\r\n" * 10_000
        sent = answered = most = 0
        while answered < 30_000:
            if self.wire.producerState == "producing" and sent < 30_000:
                self.server.dataReceived(piece)
                sent += 10_000
                # A turn: others come before the next.
                self.assertLess(self.sink.written, (answered + 200) * 20)
            now, _ = tracemalloc.get_traced_memory()
            most = max(most, now - before)
            self.clock.advance(0)
            answered = self.sink.written // len(b"250 2.0.0 done\r\n")
        self.assertLess(most, _BOUND)

    def test_never_reads(self) -> None:
        """To a client that never reads, no more is written than the transport takes (S-16)."""
        self.connect_sink()
        self.server.pauseProducing()
        before = self.sink.written
        self.assertLess(self.grown(200, b"NOOP\r\n" * 5000), _BOUND)
        self.assertEqual(self.wire.producerState, "paused")
        self.assertEqual(self.sink.written, before)
        self.clock.pump([1] * 30)
        self.assertTrue(self.wire.disconnected)

    def test_endless_line(self) -> None:
        """Of a line without end nothing is kept once it is too long (S-18)."""
        self.connect_sink()
        self.assertLess(self.grown(500, b"x" * 60_000), _BOUND)
        self.assertTrue(self.wire.disconnecting)

    def test_endless_response(self) -> None:
        """So it is with the line of a log-in (S-18)."""
        self.start(role=Role.SUBMISSION)
        self.connect_sink()
        self.server.dataReceived(b"EHLO x.example\r\nAUTH PLAIN\r\n")
        self.assertLess(self.grown(500, b"x" * 60_000), _BOUND)
        self.assertTrue(self.wire.disconnecting)

    def test_endless_refused_chunk(self) -> None:
        """Chunks that are read for nothing are not kept."""
        self.start(maximum_size=10**9)
        self.connect_sink()
        self.server.dataReceived(b"EHLO x.example\r\nBDAT 1000000000\r\n")
        self.assertLess(self.grown(500, b"x" * 60_000), _BOUND)
        self.assertFalse(self.wire.disconnecting)

    def test_oversize(self) -> None:
        """Content beyond the limit is not kept (S-78)."""
        self.start(maximum_size=100_000)
        self.connect_sink()
        self.server.dataReceived(
            b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n"
        )
        self.assertLess(self.grown(500, b"x" * 60_000), _BOUND)
        self.assertTrue(self.wire.disconnecting)

    def test_octet_a_second(self) -> None:
        """Who sends an octet a second is left after five minutes without a command (S-16)."""
        self.connect()
        seconds = 0
        while not self.wire.disconnecting:
            self.server.dataReceived(b"N")
            self.clock.advance(1)
            seconds += 1
            self.assertLessEqual(seconds, 300)
        self.assertEqual(seconds, 300)

    def test_turns(self) -> None:
        """Another connection is greeted and answered while a flood is worked off (S-22)."""
        self.connect_sink()
        self.server.dataReceived(b"NOOP\r\n" * 10_000)
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")
