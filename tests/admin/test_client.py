"""The control socket's client side, without a socket."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from twisted.trial import unittest

from moxsmtp.admin.client import CommandRefused, NoServer, call


class Connection:
    """A socket with the server's answer in it already."""

    def __init__(self, answer: bytes, error: OSError | None = None) -> None:
        self.answer = answer
        self.error = error
        self.sent = b""
        self.closed = False
        self.limit: float | None = -1

    def settimeout(self, limit: float | None) -> None:
        self.limit = limit

    def sendall(self, data: bytes) -> None:
        if self.error:
            raise self.error
        self.sent += data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.answer)

    def close(self) -> None:
        self.closed = True


class ClientTests(unittest.SynchronousTestCase):
    """Calls."""

    def call(self, connection: Any, *, limit: float | None = 5.0, **arguments: object) -> list[Any]:
        return list(call("/f", "c", arguments, time_limit=limit, connect=lambda _: connection))

    def test_call(self) -> None:
        """The request goes out in one line; answers come until done."""
        connection = Connection(b'{"a": 1}\n{"error": 1, "b": 2}\n{"done": true}\n{"z": 1}\n')
        self.assertEqual(self.call(connection, x="\u00e9"), [{"a": 1}, {"error": 1, "b": 2}])
        self.assertEqual(
            json.loads(connection.sent), {"command": "c", "arguments": {"x": "\u00e9"}}
        )
        self.assertEqual(connection.limit, 5.0)
        self.assertTrue(connection.closed)

    def test_no_time_limit(self) -> None:
        """A backup may take its time."""
        connection = Connection(b'{"done": true}\n')
        self.call(connection, limit=None)
        self.assertIsNone(connection.limit)

    def test_refused(self) -> None:
        """The server's reason is the error, behind what it said before."""
        answers = call("/f", "c", {}, connect=lambda _: Connection(b'{"a": 1}\n{"error": "no"}\n'))  # type: ignore[arg-type, return-value]  # a double
        self.assertEqual(next(answers), {"a": 1})
        error = self.assertRaises(CommandRefused, next, answers)
        self.assertEqual(str(error), "no")

    def test_broken_answers(self) -> None:
        """A server that ends, stammers or is none is told apart from one that refuses."""
        for answer in (b"", b'{"a": 1}\n', b"HTTP/1.1 400\r\n", b'{"a', b"[]\n"):
            error = self.assertRaises(NoServer, self.call, Connection(answer))
            self.assertNotIn("\n", str(error))

    def test_broken_connection(self) -> None:
        """So is one that goes away or falls silent."""
        gone = Connection(b"", BrokenPipeError(32, "Broken pipe"))
        self.assertIn("went away", str(self.assertRaises(NoServer, self.call, gone)))
        silent = Connection(b"", TimeoutError("timed out"))
        self.assertIn("does not answer", str(self.assertRaises(NoServer, self.call, silent)))
        self.assertTrue(gone.closed and silent.closed)

    def test_too_much(self) -> None:
        """What the server would not take is not sent."""
        self.assertRaises(CommandRefused, self.call, None, x="x" * 70_000)

    def test_no_server(self) -> None:
        """A folder without server, or that is none, is one line with its name."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "file").touch()
        for name in (folder, folder / "none", folder / "file"):
            error = self.assertRaises(NoServer, next, call(str(name), "c", {}))
            self.assertEqual(str(error), f"no server runs on {name}")
