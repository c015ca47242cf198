"""Tests for L{moxsmtp.worker.acceptor}."""

from __future__ import annotations

import errno
import socket
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.acceptor import Acceptor
from tests.worker.doubles import Listening, Reactor


class AcceptorTests(SynchronousTestCase):
    """Taking connections."""

    def setUp(self) -> None:
        """Open."""
        self.reactor = Reactor()
        self.listening = Listening()
        self.came: list[str] = []
        self.acceptor = self.made()

    def made(self, *, once: bool = False) -> Acceptor:
        """@param once: It is paused by the first who comes."""

        def welcome(connection: socket.socket, host: str) -> None:
            connection.close()
            self.came.append(host)
            if once:
                self.acceptor.pause()

        acceptor = Acceptor(cast("socket.socket", self.listening), welcome, self.reactor)
        acceptor.resume()
        self.addCleanup(self.listening.close)
        return acceptor

    @property
    def is_reading(self) -> bool:
        """Whether it wants to hear of connections."""
        return self.acceptor in self.reactor.reading

    def test_all(self) -> None:
        """All who wait, with their addresses."""
        self.listening.coming = ["192.0.2.1", "192.0.2.2"]
        self.acceptor.doRead()
        self.assertEqual(self.came, ["192.0.2.1", "192.0.2.2"])
        self.assertTrue(self.is_reading)

    def test_turn(self) -> None:
        """A flood leaves time for others: the rest comes in the next turn."""
        self.listening.coming = ["192.0.2.1"] * 100
        self.acceptor.doRead()
        self.assertEqual(len(self.came), 64)
        self.acceptor.doRead()
        self.assertEqual(len(self.came), 100)

    def test_lost_one(self) -> None:
        """One that has gone already keeps nobody else waiting."""
        self.listening.coming = [errno.ECONNABORTED, errno.EPERM, "192.0.2.1"]
        self.acceptor.doRead()
        self.assertEqual(len(self.came), 1)

    def test_no_room(self) -> None:
        """With too many files open it is tried again in a second, not at once and for ever."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            self.listening.coming = [number, "192.0.2.1"]
            self.acceptor.doRead()
            self.assertFalse(self.is_reading)
            self.reactor.advance(0.9)
            self.assertFalse(self.is_reading)
            self.reactor.advance(0.1)
            self.assertTrue(self.is_reading)
            self.acceptor.doRead()
        self.assertEqual(len(self.came), 4)

    def test_paused(self) -> None:
        """Paused it takes none, a rest that ends meanwhile included."""
        self.listening.coming = [errno.EMFILE]
        self.acceptor.doRead()
        self.acceptor.pause()
        self.reactor.advance(1)
        self.assertFalse(self.is_reading)
        self.acceptor.resume()
        self.assertTrue(self.is_reading)

    def test_resting(self) -> None:
        """Resuming ends no rest."""
        self.listening.coming = [errno.EMFILE]
        self.acceptor.doRead()
        self.acceptor.pause()
        self.acceptor.resume()
        self.assertFalse(self.is_reading)
        self.reactor.advance(1)
        self.assertTrue(self.is_reading)

    def test_paused_within(self) -> None:
        """Whoever pauses it while it accepts gets no more in that turn."""
        self.acceptor = self.made(once=True)
        self.listening.coming = ["192.0.2.1", "192.0.2.2"]
        self.acceptor.doRead()
        self.assertEqual((len(self.came), len(self.listening.coming)), (1, 1))

    def test_closed(self) -> None:
        """Closed it leaves nothing behind."""
        self.listening.coming = [errno.EMFILE]
        self.acceptor.doRead()
        self.acceptor.close()
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.reading), ([], set()))
