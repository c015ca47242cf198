"""How a connection ends that we end, with L{moxsmtp.receive.protocol}."""

from __future__ import annotations

import socket
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone

from tests.receive.wires import Line, WireCase


class LineTests(WireCase):
    """Sessions on a pair of sockets, connected inside this process."""

    def line(self) -> tuple[Line, socket.socket]:
        """A connection and its other end."""
        self.drop()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            self.addCleanup(end.close)
            end.setblocking(False)
        self.server = self.factory.buildProtocol(None)
        line = Line(ours, self.server)
        self.server.makeConnection(line)
        return line, theirs

    def check_gone(self, line: Line) -> None:
        """Closed for good, and nothing of it is left."""
        self.assertEqual([reason.type for reason in line.lost], [ConnectionDone])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.connections.open, 0)
        self.assertIsNone(self.server.transport)

    def test_quit(self) -> None:
        """A session that has said all is over within the same turn; what comes behind is lost."""
        line, theirs = self.line()
        self.server.dataReceived(b"EHLO x.example\r\nQUIT\r\nNOOP\r\n")
        self.assertTrue(theirs.recv(9999).endswith(b"\r\n221 2.0.0 goodbye\r\n"))
        self.check_gone(line)
        self.server.dataReceived(b"NOOP\r\n")

    def test_sent_away(self) -> None:
        """So is one that is sent away before it began."""
        _ = self.factory.drain()
        line, theirs = self.line()
        self.assertTrue(theirs.recv(9999).startswith(b"421 "))
        self.check_gone(line)

    def test_drained(self) -> None:
        """Those who wait for their greeting when we stop are told so, and all is over."""
        self.drop()
        self.start(greeting_delay=timedelta(seconds=5))
        line, theirs = self.line()
        drained = self.factory.drain()
        self.assertTrue(theirs.recv(9999).startswith(b"421 "))
        self.check_gone(line)
        self.successResultOf(drained)

    def test_waited_for(self) -> None:
        """An answer that took its time ends the session, too."""
        waiting: Deferred[None] = Deferred()
        line, theirs = self.line()
        self.told.outcomes["mail"] = waiting
        self.server.dataReceived(b"EHLO x.example\r\nMAIL FROM:<>\r\nQUIT\r\n")
        waiting.callback(None)
        self.assertTrue(theirs.recv(9999).endswith(b"\r\n221 2.0.0 goodbye\r\n"))
        self.check_gone(line)

    def test_idle(self) -> None:
        """Who is silent for too long is gone when that is noticed."""
        line, _ = self.line()
        self.clock.pump([10] * 100)
        self.check_gone(line)
