"""The control socket's server side, without a socket."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial import unittest

from moxsmtp.admin.control import CommandFailed, ControlFactory, ControlService, Send
from moxsmtp.admin.wire import MAXIMUM_REQUEST, SOCKET
from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.mailbox.maildir import Vanished
from moxsmtp.store.errors import DatabaseUnavailable


class Transport(StringTransport):
    """Remembers how it ended."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class ControlTestCase(unittest.SynchronousTestCase):
    """Commands of the test's own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cancelled: list[object] = []
        self.waiting: Deferred[None] = Deferred(self.cancelled.append)
        self.asked: list[Mapping[str, Any]] = []
        self.error: Exception = CommandFailed("no such thing")
        self.sent = 0
        commands = {"echo": self.echo, "wait": self.wait, "fail": self.fail_with, "many": self.many}
        self.factory = ControlFactory(commands, self.clock)

    async def echo(self, arguments: Mapping[str, Any], send: Send) -> None:
        self.asked.append(arguments)
        await send({"echo": dict(arguments)})

    async def wait(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self.waiting

    async def fail_with(self, arguments: Mapping[str, Any], send: Send) -> None:
        await send({"first": 1})
        raise self.error

    async def many(self, arguments: Mapping[str, Any], send: Send) -> None:
        for number in range(10):
            await send({"number": number})
            self.sent += 1

    def connect(self) -> tuple[Any, Transport]:
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        transport = Transport()
        protocol.makeConnection(transport)
        return protocol, transport

    def request(self, command: str, **arguments: object) -> bytes:
        return json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"

    def answers(self, transport: Transport) -> list[dict[str, Any]]:
        return [json.loads(line) for line in transport.value().splitlines()]

    def dialog(self, *pieces: bytes) -> list[dict[str, Any]]:
        """What is answered to a request that comes in C{pieces}; it ended cleanly."""
        protocol, transport = self.connect()
        for piece in pieces:
            protocol.dataReceived(piece)
        self.assertTrue(transport.disconnecting)
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.factory.open, set())
        return self.answers(transport)

    def lose(self, protocol: Any) -> None:
        protocol.connectionLost(Failure(ConnectionDone()))


class RequestTests(ControlTestCase):
    """Requests and their ends."""

    def test_whole(self) -> None:
        """Objects, then done."""
        self.assertEqual(
            self.dialog(self.request("echo", a=1)), [{"echo": {"a": 1}}, {"done": True}]
        )

    def test_octet_by_octet(self) -> None:
        """A request may come in any pieces."""
        request = self.request("echo", a="\u00e9")
        pieces = [request[number : number + 1] for number in range(len(request))]
        self.assertEqual(self.dialog(*pieces), [{"echo": {"a": "\u00e9"}}, {"done": True}])

    def test_bytes_following(self) -> None:
        """One connection, one command: what follows is not obeyed."""
        request = self.request("echo")
        expected = [{"echo": {}}, {"done": True}]
        self.assertEqual(self.dialog(request + request), expected)
        self.assertEqual(self.dialog(request, request), expected)
        self.assertEqual(len(self.asked), 2)

    def test_not_a_request(self) -> None:
        """Whatever else comes is answered with an error."""
        for line in (
            b"\n",
            b"GET / HTTP/1.1\r\n",
            b"[]\n",
            b"{}\n",
            b'{"command": 1}\n',
            b"\xff\n",
        ):
            ((entry),) = self.dialog(line)
            self.assertEqual(set(entry), {"error"}, line)

    def test_unknown_command(self) -> None:
        """A command of a newer client is named as such."""
        ((entry),) = self.dialog(self.request("fly"))
        self.assertIn("does not know", entry["error"])

    def test_odd_arguments(self) -> None:
        """Arguments that are none count as empty."""
        self.assertEqual(
            self.dialog(b'{"command": "echo", "arguments": 3}\n'), [{"echo": {}}, {"done": True}]
        )

    def test_too_long(self) -> None:
        """A request is bounded, whether it ends or not, in whatever pieces."""
        expected = [{"error": f"a request has at most {MAXIMUM_REQUEST} octets"}]
        self.assertEqual(self.dialog(b"x" * MAXIMUM_REQUEST), expected)
        self.assertEqual(self.dialog(*[b"x" * 1000] * 66), expected)
        self.assertEqual(self.dialog(b"x" * MAXIMUM_REQUEST + b"\n"), expected)

    def test_longest(self) -> None:
        """The bound itself is allowed."""
        request = self.request("echo", a="")
        request = self.request("echo", a="x" * (MAXIMUM_REQUEST - len(request)))
        self.assertEqual(len(request), MAXIMUM_REQUEST)
        self.assertEqual(self.dialog(request)[-1], {"done": True})

    def test_failed(self) -> None:
        """A command that fails says why, behind what it had to say before."""
        for error, text in {
            CommandFailed("no such thing"): "no such thing",
            DatabaseUnavailable("locked"): "locked",
            InsufficientStorage("disk full"): "disk full",
            StorageUnavailable("not now"): "not now",
            Vanished("the Maildir of alice at /m is not there"): (
                "the Maildir of alice at /m is not there"
            ),
            OSError(13, "Permission denied", "/x"): "/x: Permission denied",
        }.items():
            self.error = error
            self.assertEqual(self.dialog(self.request("fail")), [{"first": 1}, {"error": text}])

    def test_bug(self) -> None:
        """A bug is logged with its traceback; the operator is told no more than that."""
        self.error = ZeroDivisionError("secret")
        *_, last = self.dialog(self.request("fail"))
        self.assertIn("internal error", last["error"])
        self.assertNotIn("secret", last["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TimeTests(ControlTestCase):
    """Clients that are slow, gone or too many."""

    def test_silent_client(self) -> None:
        """Who never asks is cut off."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"{")
        self.clock.advance(29)
        self.assertFalse(transport.aborted)
        self.clock.advance(1)
        self.assertTrue(transport.aborted)

    def test_long_command(self) -> None:
        """A command may take its time."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.request("wait"))
        self.clock.advance(3600)
        self.assertFalse(transport.aborted)
        self.waiting.callback(None)
        self.assertEqual(self.answers(transport), [{"done": True}])

    def test_client_gone(self) -> None:
        """Who hangs up cancels his command."""
        protocol, _ = self.connect()
        protocol.dataReceived(self.request("wait"))
        self.lose(protocol)
        self.assertEqual(self.cancelled, [self.waiting])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow_client(self) -> None:
        """A client that does not read stops the command until it does."""
        protocol, transport = self.connect()
        self.assertIs(transport.producer, protocol)
        protocol.pauseProducing()
        protocol.dataReceived(self.request("many"))
        self.assertEqual(self.sent, 0)
        protocol.resumeProducing()
        self.assertEqual(self.sent, 10)
        self.assertEqual(len(self.answers(transport)), 11)

    def test_stuck_client(self) -> None:
        """A client that never reads again is cut off, with its command."""
        protocol, transport = self.connect()
        protocol.pauseProducing()
        protocol.dataReceived(self.request("many"))
        self.clock.advance(120)
        self.assertTrue(transport.aborted)
        self.lose(protocol)
        self.assertEqual(self.sent, 0)

    def test_stuck_at_the_end(self) -> None:
        """So is one that does not take the last line."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.request("echo"))
        self.assertIsNone(transport.producer)
        self.clock.advance(120)
        self.assertTrue(transport.aborted)

    def test_too_many(self) -> None:
        """Connections are bounded; one that ends makes room."""
        protocols = [self.connect()[0] for _ in range(20)]
        self.assertIsNone(self.factory.buildProtocol(None))
        self.lose(protocols[0])
        self.assertIsNotNone(self.factory.buildProtocol(None))


class ServiceTests(unittest.SynchronousTestCase):
    """Listening in the data folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.reactor = MemoryReactorClock()
        self.service = ControlService(str(self.folder), {}, self.reactor)

    def test_listens(self) -> None:
        """In the folder, for its owner alone, and without Twisted's lock file."""
        self.service.startService()
        ((path, factory, _, mode, want_pid),) = self.reactor.unixServers
        self.assertTrue(path.endswith(f"/{SOCKET}"))
        self.assertIsInstance(factory, ControlFactory)
        self.assertEqual((mode, want_pid), (0o600, False))

    def test_stale(self) -> None:
        """What a dead server left behind is removed; what is no socket is not."""
        path = self.folder / SOCKET
        os.mknod(path, 0o140600)
        self.service.startService()
        self.assertFalse(path.exists())
        path.write_text("precious")
        error = self.assertRaises(
            OSError, ControlService(str(self.folder), {}, self.reactor).startService
        )
        self.assertIn("in the way", error.strerror)
        self.assertEqual(path.read_text(), "precious")

    def test_stop(self) -> None:
        """Stopping cuts connections."""
        self.service.startService()
        ((_, factory, *_),) = self.reactor.unixServers
        transport = Transport()
        factory.buildProtocol(None).makeConnection(transport)
        self.successResultOf(self.service.stopService())
        self.assertTrue(transport.aborted)
        self.assertFalse(self.service.running)

    def test_never_started(self) -> None:
        """What never listened stops as well."""
        self.successResultOf(self.service.stopService())
