"""
Servers that speak STARTTLS, take all mail at once and throw it away.

C{python -m bench.tls_sink PORT CERTIFICATE KEY ADDRESS...} listens at each address
and prints C{mesg=} and the count of messages so far, as C{smtp-sink -c} does, which
knows no TLS.  One process with one loop, which reads no more of a session than it
has to; several share the addresses of a load.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["main"]

_GREETING: Final = b"220 sink.test ESMTP\r\n"
_EXTENSIONS: Final = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
_REPLIES: Final = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
_END: Final = b"\r\n.\r\n"


class _Session:
    """@ivar taken: Messages."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = connection
        self.taken = 0
        self._context = context
        self._shakes_hands = False
        self._in_content = False
        self._unread = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_GREETING)
        connection.setblocking(False)

    def proceed(self) -> bool:
        """Read what came, and answer.  @return: Whether it goes on."""
        try:
            if self._shakes_hands and isinstance(self.socket, ssl.SSLSocket):
                self.socket.do_handshake()
                self._shakes_hands = False
            # OpenSSL may hold more than one reading gave, of which epoll knows nothing.
            while came := self.socket.recv(65536):
                self._unread += came
                replies, goes_on = self._answers()
                if replies:
                    self.socket.sendall(replies)
                if self._shakes_hands:
                    self._begin_tls()
                if not goes_on:
                    return False
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError:
            return False
        return False

    def _begin_tls(self) -> None:
        self.socket = self._context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.socket.do_handshake()
        self._shakes_hands = False

    def _answers(self) -> tuple[bytes, bool]:
        """To all that is whole."""
        replies = b""
        while True:
            end = self._unread.find(_END if self._in_content else b"\r\n")
            if end < 0:
                return replies, True
            verb = self._unread[:4].upper()
            self._unread = self._unread[end + (len(_END) if self._in_content else 2) :]
            if self._in_content:
                self._in_content = False
                self.taken += 1
                replies += b"250 taken\r\n"
            elif verb == b"STAR":
                # What came in the clear behind it counts for nothing.
                self._unread, self._shakes_hands = b"", True
                return b"220 go on\r\n", True
            elif verb == b"EHLO":
                offers = b"" if isinstance(self.socket, ssl.SSLSocket) else b"250-STARTTLS\r\n"
                replies += _EXTENSIONS + offers + b"250 SIZE\r\n"
            elif verb == b"MAIL" and not isinstance(self.socket, ssl.SSLSocket):
                # What is measured is mail under TLS.
                replies += b"530 STARTTLS first\r\n"
            else:
                self._in_content = verb == b"DATA"
                replies += _REPLIES.get(verb, b"250 ok\r\n")
                if verb == b"QUIT":
                    return replies, False


def main(arguments: Sequence[str]) -> None:
    """Until it is killed."""
    port, certificate, key, *addresses = arguments
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    waiting = select.epoll()
    doors = {}
    for address in addresses:
        door = socket.create_server((address, int(port)), backlog=200)
        doors[door.fileno()] = door
        waiting.register(door, select.EPOLLIN)
    sessions: dict[int, _Session] = {}
    taken = 0
    while True:
        before = taken
        for number, _ in waiting.poll():
            if number in doors:
                connection, _ = doors[number].accept()
                sessions[connection.fileno()] = _Session(connection, context)
                waiting.register(connection, select.EPOLLIN)
                continue
            session = sessions[number]
            taken -= session.taken
            goes_on = session.proceed()
            taken += session.taken
            if not goes_on:
                del sessions[number]
                waiting.unregister(number)
                session.socket.close()
        if taken != before:
            print(f"mesg={taken}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
