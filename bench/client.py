"""
A load of mail in which every message is another's.

Postfix's C{smtp-source} sends one message over and over.  This one waits with
epoll, says what was made ready before, and looks at no more of a reply than its
code, so that it takes less of a processor than any server.  The clock starts when
all connections are open.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.measure import Run
from bench.senders import HELLO

__all__ = ["Letter", "Sessions", "letter", "send"]

#: Seconds without any reply after which a run has failed.
_PATIENCE: Final = 120


@dataclass(frozen=True, slots=True)
class Letter:
    """@ivar steps: What a transaction says: MAIL, RCPT, DATA, the message with its end."""

    steps: tuple[bytes, ...]


def letter(sender: str, recipient: str, message: bytes) -> Letter:
    """A message ready to be sent."""
    stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    return Letter(
        (
            f"MAIL FROM:<{sender}>\r\n".encode(),
            f"RCPT TO:<{recipient}>\r\n".encode(),
            b"DATA\r\n",
            stuffed + b".\r\n",
        )
    )


class _Connection:
    """One session."""

    def __init__(self, port: int, opening: Sequence[bytes], context: ssl.SSLContext | None) -> None:
        """@raise RuntimeError: It was refused."""
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        self._reply = b""
        self._said: Iterator[bytes] = iter(())
        for words in (f"EHLO {HELLO}\r\n".encode(), *opening):
            self._await()
            self.socket.sendall(words)
        self._await()

    def _await(self) -> None:
        while not self._is_answered():
            pass

    def _is_answered(self) -> bool:
        """Read what came.  @return: Whether that is all of a reply."""
        came = self.socket.recv(4096)
        if not came:
            raise RuntimeError("it hung up")
        reply = self._reply + came
        line = reply[reply.rfind(b"\n", 0, -1) + 1 :]
        if reply[-1:] != b"\n" or line[3:4] == b"-":
            self._reply = reply
            return False
        self._reply = b""
        if line[:1] not in b"23":
            raise RuntimeError(f"refused: {line!r}")
        return True

    def proceed(self, letters: Iterator[Letter]) -> bool:
        """Read what came, say what is next.  @return: Whether it goes on."""
        return not self._is_answered() or self.say_next(letters)

    def say_next(self, letters: Iterator[Letter]) -> bool:
        """@return: Whether there was anything left to say."""
        words = next(self._said, None)
        if words is None:
            following = next(letters, None)
            if following is None:
                self.close()
                return False
            self._said = iter(following.steps)
            words = next(self._said)
        self.socket.sendall(words)
        return True

    def close(self) -> None:
        """Hang up; that all was acknowledged is known already."""
        self.socket.close()


class Sessions:
    """Connections on which a server waits for mail: greeted, and logged in."""

    def __init__(
        self,
        port: int,
        *,
        sessions: int = 16,
        opening: Sequence[bytes] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        """
        @param opening: Said behind EHLO.
        @param context: With it, the connection begins with TLS.
        @raise RuntimeError: The server refused.
        """
        self._connections = [_Connection(port, opening, context) for _ in range(sessions)]

    def send(self, letters: Sequence[Letter]) -> Run:
        """
        Send each once, and hang up.

        @raise RuntimeError: Not all were taken.
        """
        queue = iter(letters)
        begun, used = time.perf_counter(), time.process_time()
        waiting = select.epoll()
        at_work: dict[int, _Connection] = {}
        try:
            for connection in self._connections:
                number = connection.socket.fileno()
                if connection.say_next(queue):
                    at_work[number] = connection
                    waiting.register(number, select.EPOLLIN)
            while at_work:
                events = waiting.poll(_PATIENCE)
                if not events:
                    raise RuntimeError(f"no reply within {_PATIENCE} s")
                for number, _ in events:
                    if not at_work[number].proceed(queue):
                        del at_work[number]
        finally:
            for connection in self._connections:
                connection.close()
            waiting.close()
        return Run(len(letters), time.perf_counter() - begun, time.process_time() - used)


def send(port: int, letters: Sequence[Letter]) -> Run:
    """
    Send each once, on connections that are used again.

    @raise RuntimeError: Not all were taken.
    """
    return Sessions(port).send(letters)
