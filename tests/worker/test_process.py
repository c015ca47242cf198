"""Tests for L{moxsmtp.worker.process}."""

from __future__ import annotations

import errno
import gc
import os
import socket
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from moxsmtp.config import Settings
from moxsmtp.engine import Engine, open_engine
from moxsmtp.interfaces import Account, HookTarget, Role
from moxsmtp.logs import Threshold
from moxsmtp.worker.frames import Frames, Message, framed
from moxsmtp.worker.orders import Doorway, Orders, packed
from moxsmtp.worker.passing import Arrival, send_connection, socket_pair
from moxsmtp.worker.process import WorkerServer
from tests.running import LOOPBACK, Alone, RunningCase, StillReactor, Visitor

_HOOK = HookTarget("https://hooks.example/in")


class _Reactor(StillReactor):
    """
    Takes connections, too.

    @ivar visitors: Who came.
    """

    def __init__(self) -> None:
        super().__init__()
        self.visitors: list[Visitor] = []
        self.refuses = 0

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        """See C{IReactorSocket}."""
        if self.refuses:
            raise OSError(self.refuses, os.strerror(self.refuses))
        assert not os.get_blocking(descriptor)
        assert family == socket.AF_INET
        self.visitors.append(Visitor(self, factory))


class WorkerServerTests(RunningCase):
    """A worker whose parent is the test."""

    reactor: _Reactor

    def setUp(self) -> None:
        """Begun, and not heard of yet."""
        super().setUp()
        self.reactor = _Reactor()
        self.sender, receiver = socket_pair()
        self.addCleanup(self.sender.close)
        self.addCleanup(receiver.close)
        self.left: list[int] = []
        self.server = WorkerServer(self.reactor, Alone(), receiver, Threshold(), self.left.append)
        self.transport = StringTransport()
        self.server.channel.makeConnection(self.transport)
        self.frames = Frames()
        self.told: list[Message] = []

    def heard(self, kind: str) -> list[Message]:
        """What it has told of that kind."""
        self.told += self.frames.feed(self.transport.value())
        self.transport.clear()
        return [message for message in self.told if message["kind"] == kind]

    def tell(self, kind: str, **others: Any) -> None:
        """Say something to it."""
        self.server.channel.dataReceived(framed({"kind": kind, **others}))

    def started(self, **others: Any) -> Settings:
        """It is ready; the store is its parent's."""
        settings = self.settings(workers=2, **others)
        engine = open_engine(settings.data_directory, settings.store, self.reactor, workers=2)
        self.addCleanup(self.closed, engine)
        door = Doorway("public", Role.SMTP, LOOPBACK, 25)
        self.tell("start", orders=packed(Orders(settings, (door,))), crowds=[])
        self.addCleanup(gc.unfreeze)
        self.addCleanup(self.ended)
        self.reactor.until(lambda: self.heard("ready"))
        return settings

    def closed(self, engine: Engine) -> None:
        """Let go of the store."""
        engine.pool.start()
        engine.hashing.start()
        self.result(engine.close())

    def ended(self) -> None:
        """Told to stop; it is gone once it has closed the channel."""
        self.server.stop()
        self.assertTrue(self.reactor.patiently(lambda: self.transport.disconnecting))

    def come(self, number: int) -> Visitor:
        """A client, whose session has that number."""
        here, there = socket.socketpair()
        self.addCleanup(there.close)
        send_connection(self.sender, here.fileno(), Arrival(0, number))
        here.close()
        self.server.doRead()
        return self.reactor.visitors[-1]

    def test_mail(self) -> None:
        """
        It speaks with who is handed to it, by the number that the parent gave the
        session (S-9), stores, and tells who has gone.  What it stored it tells where
        something follows from that.
        """
        settings = self.started()
        self.assertIn(self.server, self.reactor.getReaders())
        visitor = self.come(77)
        self.assertTrue(visitor.reply()[0].startswith("220 mx.ours.example"))
        visitor.say("EHLO client.example")
        self.assertEqual(visitor.send("alice@ours.example"), "250")
        self.reactor.advance(0)
        self.assertEqual(self.heard("news"), [])
        hooked = [replace(one, incoming_webhook=_HOOK) for one in settings.accounts]
        self.tell("obey", settings=packed(replace(settings, accounts=tuple(hooked))), round=1)
        self.assertEqual(visitor.send("alice@ours.example"), "250")
        visitor.protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.until(lambda: self.heard("news"))
        self.reactor.advance(0.02)
        news = self.heard("news")
        self.assertEqual({name for one in news for name in one["accounts"]}, {"alice"})
        self.assertEqual([one["ended"] for one in news if one["ended"]], [{"public": 1}])

    def test_samples(self) -> None:
        """Asked, it tells what it has counted."""
        self.started()
        self.come(1)
        self.tell("samples", round=5)
        (answer,) = self.heard("samples")
        self.assertEqual(answer["round"], 5)
        self.assertIn(
            ["mox_smtpserver_connection_total", [["kind", "smtp"]], 1.0, True], answer["samples"]
        )

    def test_lost(self) -> None:
        """Who has gone before it was looked at gives its place back; the next one is served."""
        self.started()
        self.reactor.refuses = errno.ENOTCONN
        here, there = socket.socketpair()
        there.close()
        send_connection(self.sender, here.fileno(), Arrival(0, 1))
        here.close()
        self.server.doRead()
        self.reactor.advance(0.02)
        self.assertEqual(self.heard("news")[0]["ended"], {"public": 1})
        self.reactor.refuses = 0
        self.assertTrue(self.come(2).reply()[0].startswith("220 "))

    def test_no_room(self) -> None:
        """Where no more files can be opened, clients are told to come again, and it goes on."""
        self.started()
        self.reactor.refuses = errno.EMFILE
        here, there = socket.socketpair()
        self.addCleanup(there.close)
        send_connection(self.sender, here.fileno(), Arrival(0, 1))
        here.close()
        self.server.doRead()
        self.assertEqual(b"421 4.7.0 too many connections, try again later\r\n", there.recv(100))
        self.assertEqual(b"", there.recv(100))
        self.reactor.advance(0.02)
        self.assertEqual(self.heard("news")[0]["ended"], {"public": 1})
        self.reactor.refuses = 0
        self.assertTrue(self.come(2).reply()[0].startswith("220 "))

    def test_obeys(self) -> None:
        """Other settings count from then on, and it says that it obeys them."""
        settings = self.started()
        visitor = self.come(1)
        visitor.reply()
        visitor.say("EHLO client.example")
        visitor.code("MAIL FROM:<somebody@far.example>")
        carol = Account("carol", addresses=("carol@ours.example",))
        more = replace(settings, accounts=(*settings.accounts, carol))
        self.tell("obey", settings=packed(more), round=3)
        self.assertEqual(self.heard("obeyed"), [{"kind": "obeyed", "round": 3}])
        self.assertEqual(visitor.code("RCPT TO:<carol@ours.example>"), "250")

    def test_crowded(self) -> None:
        """How crowded the listener is, it knows from its parent (S-16)."""
        self.started()
        self.tell("crowded", listener="public", is_crowded=True)
        self.come(1)
        entrance = self.server._doors[0].factory
        assert entrance is not None
        self.assertTrue(entrance.entrance.connections.is_busy)

    def test_alive(self) -> None:
        """Asked whether it lives, it says so."""
        self.started()
        self.tell("alive")
        self.assertEqual(len(self.heard("alive")), 1)

    def test_stop(self) -> None:
        """
        Told to stop, it says 421 to who goes on, stores what is under way, tells its
        last counts, and only then leaves (S-15).
        """
        self.started()
        visitor = self.come(1)
        visitor.reply()
        visitor.say("EHLO client.example")
        self.tell("stop")
        self.assertEqual(visitor.code("NOOP"), "421")
        visitor.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.left, [])
        self.ended()
        self.assertEqual(self.heard("samples")[-1]["round"], 0)
        self.server.channel.connectionLost()
        self.assertEqual(self.left, [0])

    def test_orphaned(self) -> None:
        """Its parent gone, it ends by itself as soon as its connections have ended."""
        self.started()
        visitor = self.come(1)
        visitor.reply()
        self.server.channel.connectionLost()
        self.assertEqual(visitor.code("NOOP"), "421")
        visitor.protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.until(lambda: self.left)
        self.assertEqual(self.left, [1])
        self.transport.disconnecting = True

    def test_orphaned_and_stuck(self) -> None:
        """Whatever keeps it from that, it ends in eight seconds."""
        self.started()
        self.addCleanup(self.stopped)
        self.come(1).reply()
        self.server.channel.connectionLost()
        self.assertTrue(self.reactor.sleeps(8))
        self.reactor.advance(8)
        self.assertIn(1, self.left)
        self.transport.disconnecting = True

    def test_orphaned_twice(self) -> None:
        """Its parent gone while it ends, it leaves at once: it was told a second time."""
        self.started()
        self.addCleanup(self.stopped)
        self.come(1).reply()
        self.tell("stop")
        self.server.channel.connectionLost()
        self.assertEqual(self.left, [1])
        self.transport.disconnecting = True

    def test_broken_start(self) -> None:
        """What cannot start leaves, and says why."""
        settings = self.settings(workers=2, data_directory=str(self.folder / "nowhere"))
        orders = packed(Orders(settings, (Doorway("public", Role.SMTP, LOOPBACK, 25),)))
        self.tell("start", orders=orders, crowds=[])
        self.addCleanup(self.stopped)
        self.reactor.until(lambda: self.left)
        self.assertEqual(self.left, [1])
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_stop_while_starting(self) -> None:
        """Told to stop before it is up, it ends as it does at any time: nothing has failed."""
        settings = self.settings(workers=2)
        engine = open_engine(settings.data_directory, settings.store, self.reactor, workers=2)
        self.addCleanup(self.closed, engine)
        self.addCleanup(gc.unfreeze)
        orders = packed(Orders(settings, (Doorway("public", Role.SMTP, LOOPBACK, 25),)))
        self.tell("start", orders=orders, crowds=[])
        self.assertEqual(self.heard("ready"), [])
        self.ended()
        self.assertEqual((self.heard("ready"), self.left), ([], []))

    def stopped(self) -> None:
        """No thread is left."""
        parts = self.server._parts
        assert parts is not None
        closing = Deferred.fromCoroutine(parts.engine.close())
        self.reactor.until(lambda: closing.called)
