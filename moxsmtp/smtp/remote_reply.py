"""
Replies of a server, read as they arrive.  RFC 5321 sections 4.2 and 4.2.1.

A server may say anything: what is not exactly a reply ends the conversation,
because nobody can know which command the rest belongs to.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["MAXIMUM_LINE", "MAXIMUM_REPLY", "ProtocolError", "RemoteReply", "ReplyReader"]

#: Octets of one line, its end included.  RFC 5321 section 4.5.3.1.5 says 512;
#: real servers write more.
MAXIMUM_LINE: Final = 2048

#: Octets of one reply.
MAXIMUM_REPLY: Final = 16_384

#: Octets that may wait unread: the replies to a long pipelined transaction.
_MAXIMUM_UNREAD: Final = 262_144

#: Octets that one part of a session may bring, with as many again as RFC 5321
#: section 4.5.3.1.5 has in a line for each reply that is due: replies are kept
#: for the sender to read, and a thousand of the longest are not.
_MAXIMUM_HEARD: Final = 131_072
_USUAL_REPLY: Final = 512

# Reply-line = %x32-35 2DIGIT [ ("-" / SP) textstring ]; RFC 5321 section 4.2,
# with first digits as in section 4.2.1 and more for the second than the
# grammar has, since servers invent codes.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)

# status-code = class "." subject "." detail; RFC 2034 section 4.
_STATUS = re.compile(r"([245])\.([0-9]{1,3}\.[0-9]{1,3})(?:\s|$)")

#: Control characters have no business in a log or a DSN.
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160)), "?") | {9: " "}


class ProtocolError(Exception):
    """The server does not speak SMTP, or too much of it."""


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """
    A whole reply.

    @ivar code: 200 to 599.
    @ivar lines: The text of each line, without its code; no control characters.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def is_success(self) -> bool:
        """2xx."""
        return self.code // 100 == 2

    @property
    def is_permanent(self) -> bool:
        """5xx."""
        return self.code // 100 == 5

    @property
    def text(self) -> str:
        """The reply as it was sent, its lines joined by newlines."""
        if len(self.lines) == 1:
            return f"{self.code} {self.lines[0]}".rstrip()
        last = len(self.lines) - 1
        return "\n".join(
            f"{self.code}{' ' if number == last else '-'}{line}".rstrip()
            for number, line in enumerate(self.lines)
        )

    @property
    def status(self) -> str:
        """
        Subject and detail of the enhanced status code, C{"7.1"}; empty if
        there is none, or if its class is not that of the code (Q-64).
        """
        match = _STATUS.match(self.lines[0])
        return match[2] if match and match[1] == str(self.code // 100) else ""


class ReplyReader:
    """Octets in, replies out; linear in the octets however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._code = 0
        self._lines: list[str] = []
        self._size = 0
        self._allowed = _MAXIMUM_HEARD

    def allow(self, replies: int) -> None:
        """Another part of the session begins, in which so many replies are due."""
        self._allowed = _MAXIMUM_HEARD + replies * _USUAL_REPLY

    @property
    def has_unread(self) -> bool:
        """Whether octets came that belong to no reply read so far."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """@raise ProtocolError: Far more waits than any reply may have."""
        if len(self._buffer) + len(data) > _MAXIMUM_UNREAD:
            raise ProtocolError("the server sends without being asked")
        self._buffer += data

    def next_reply(self) -> RemoteReply | None:
        """
        The next whole reply; L{None}: more octets are needed.

        @raise ProtocolError: There will never be one.
        """
        while True:
            end = self._buffer.find(b"\n", self._scanned, MAXIMUM_LINE)
            if end < 0:
                self._scanned = len(self._buffer)
                if self._scanned >= MAXIMUM_LINE:
                    raise ProtocolError("a line of the reply is too long")
                return None
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            self._size += end + 1
            self._allowed -= end + 1
            if self._size > MAXIMUM_REPLY or self._allowed < 0:
                raise ProtocolError("the reply is too long")
            if self._is_last(line.removesuffix(b"\r")):
                reply = RemoteReply(self._code, tuple(self._lines))
                self._lines.clear()
                self._size = 0
                return reply

    def _is_last(self, line: bytes) -> bool:
        code, text, is_last = _read(line)
        if self._lines and code != self._code:
            raise ProtocolError("one reply has several codes")
        self._code = code
        self._lines.append(text)
        return is_last


@functools.lru_cache(maxsize=256)
def _read(line: bytes) -> tuple[int, str, bool]:
    """
    Code, text, and whether no more follows.  Servers say few things over and over.

    @raise ProtocolError: It is no line of a reply.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProtocolError("the server's answer is no SMTP reply")
    text = (match[3] or b"").decode("utf-8", "backslashreplace")
    tidy = text if text.isprintable() else text.translate(_CONTROLS)
    return int(match[1]), tidy, match[2] != b"-"
