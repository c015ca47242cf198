"""A mail server that takes mail for the programs here, and fails as often as wanted."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Receipt", "Sink"]

_SUBJECT: Final = re.compile(rb"^Subject: (\S+)\r\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    A message that was taken.

    @ivar began: By C{time.monotonic}, when its MAIL was read.
    @ivar at: Likewise, right before the reply was sent.
    @ivar answered: Whether the reply was sent at all.
    """

    subject: str
    octets: int
    began: float
    at: float
    answered: bool


class _Dropped(Exception):
    """The sink hangs up, as a network would."""


class Sink:
    """
    Takes mail on C{address} and C{port}, one thread a connection.

    @param fails: In how many of 100 transactions a 4xx is given.
    @param drops: In how many of 100 transactions it hangs up, before the reply to
        RCPT, in the middle of the content or instead of the last reply.
    @ivar receipts: What was taken, in order.
    """

    def __init__(self, address: str, port: int, *, fails: int = 0, drops: int = 0) -> None:
        self.receipts: list[Receipt] = []
        self._fails = fails
        self._drops = drops
        self._lock = threading.Lock()
        self._server = socket.create_server((address, port), backlog=200)
        self._is_open = True
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take no more."""
        self._is_open = False
        # A thread in accept() does not notice that its socket is closed.
        with socket.socket() as knock:
            knock.connect_ex(self._server.getsockname())
        self._thread.join(10)
        self._server.close()

    def _accept(self) -> None:
        while self._is_open:
            connection, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(120)
        with connection, connection.makefile("rb") as lines:
            try:
                self._talk(connection, lines.readline)
            except (OSError, _Dropped):
                return

    def _chance(self, percent: int) -> bool:
        return secrets.randbelow(100) < percent

    def _talk(self, connection: socket.socket, line: Callable[[], bytes]) -> None:
        drop = ""
        recipients = 0
        began = 0.0
        connection.sendall(b"220 sink.test ESMTP\r\n")
        while command := line():
            verb = command[:4].upper()
            if verb == b"EHLO":
                connection.sendall(
                    b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
                )
            elif verb == b"RCPT" and drop == "rcpt":
                raise _Dropped
            elif verb == b"RCPT" and self._chance(self._fails):
                connection.sendall(b"451 4.3.0 not now\r\n")
            elif verb == b"DATA" and not recipients:
                connection.sendall(b"554 5.5.1 no recipients\r\n")
            elif verb == b"DATA":
                recipients = 0
                connection.sendall(b"354 go on\r\n")
                self._take(connection, line, drop, began)
            elif verb == b"QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            else:
                if verb == b"MAIL":
                    began = time.monotonic()
                    if self._chance(self._drops):
                        drop = secrets.choice(["rcpt", "data", "end"])
                recipients += verb == b"RCPT"
                connection.sendall(b"250 2.0.0 ok\r\n")

    def _take(
        self, connection: socket.socket, line: Callable[[], bytes], drop: str, began: float
    ) -> None:
        octets = 0
        subject = b""
        while (text := line()) != b".\r\n":
            if not text or (drop == "data" and octets > 100):
                raise _Dropped
            octets += len(text)
            if not subject and (found := _SUBJECT.match(text)):
                subject = found[1]
        answered = drop != "end"
        with self._lock:
            self.receipts.append(
                Receipt(subject.decode(), octets, began, time.monotonic(), answered)
            )
        if not answered:
            raise _Dropped
        connection.sendall(b"250 2.0.0 taken\r\n")
