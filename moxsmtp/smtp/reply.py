"""
Replies as values, and their form on the wire.  RFC 5321 section 4.2, RFC 2034.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["LOCAL_ERROR", "NO_SPACE", "Refused", "Rejected", "Reply", "Unjudged", "without_space"]

#: Octets of a reply line without its CRLF.  RFC 5321 section 4.5.3.1.5.
_MAXIMUM_LINE: Final = 510

#: A line that is too long is not cut before this octet of its text (S-19).
_EARLIEST_CUT: Final = 400

# Neither ours nor a peer's words may end a line or ring a bell.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One server reply.  RFC 5321 section 4.2, RFC 2034.

    @ivar code: 200 to 599.
    @ivar status: Subject and detail of the enhanced status code, C{"7.26"};
        the class is the first digit of C{code}, so the two cannot disagree.
        L{None} where none may be sent: greeting, EHLO, 3xx.
    @ivar text: What the peer may read.  ASCII; a newline starts another line.
    @ivar close: The connection ends once this is written.
    """

    code: int
    status: str | None
    text: str
    close: bool = False

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"not a reply code: {self.code}")

    @property
    def enhanced_status(self) -> str | None:
        """For example C{"5.7.26"}."""
        return self.status and f"{self.code // 100}.{self.status}"

    @property
    def is_positive(self) -> bool:
        """Whether the command was accepted: 2xx or 3xx."""
        return self.code < 400

    def encode(self, reply_id: str = "") -> bytes:
        """
        The reply as sent, with its line ends (S-19).

        Non-ASCII characters are written as escapes, for a peer without
        SMTPUTF8 may read this; control characters become spaces.

        @param reply_id: Stands in parentheses at the end, if not empty (S-21).
        """
        if reply_id:
            return _encoded(self.code, self.status, f"{self.text} ({reply_id})")
        return _often_encoded(self.code, self.status, self.text)


def _encoded(code: int, status: str | None, text: str) -> bytes:
    if not text.isascii():
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    begin = f"{code // 100}.{status} " if status else ""
    room = _MAXIMUM_LINE - 4 - len(begin)
    # A challenge is one line, however long.  RFC 4954 section 4.
    if code == 334 or ("\n" not in text and len(text) <= room):
        return f"{code} {begin}{text}\r\n".encode("ascii")
    lines = [piece for line in text.split("\n") for piece in _pieces(line, room)]
    last = len(lines) - 1
    return "".join(
        f"{code}{' ' if number == last else '-'}{begin}{line}\r\n"
        for number, line in enumerate(lines)
    ).encode("ascii")


#: Without the session's number, nearly all replies are the same few.
_often_encoded: Final = functools.lru_cache(maxsize=256)(_encoded)


def _pieces(line: str, room: int) -> Iterator[str]:
    start = 0
    while len(line) - start > room:
        # The space starts the next piece, so it is the first octet left out.
        cut = line.rfind(" ", start + _EARLIEST_CUT + 1, start + room + 1)
        cut = cut if cut >= 0 else start + _EARLIEST_CUT
        yield line[start:cut]
        start = cut
    yield line[start:]


class Refused(Exception):
    """
    A command that cannot be carried out.  Caught in one place, the protocol (S-112).

    @ivar reply: What to answer.
    @ivar reason: For the log, not for the peer; empty if the reply says it all.
    @ivar is_ours: The trouble is on our side, and worth a warning; else the
        peer did something that we do not take, which is everyday life.
    """

    def __init__(self, reply: Reply, reason: str = "", *, is_ours: bool = False) -> None:
        super().__init__(reply, reason)
        self.reply = reply
        self.reason = reason
        self.is_ours = is_ours


class Rejected(Refused):
    """
    A message that was judged for what it is, and found bad: whoever brings such
    is served slowly from then on (S-17).
    """


class Unjudged(Refused):
    """What came is no message that anybody could judge, good or bad (S-113)."""


#: For a bug or a broken environment; what it was, the peer need not know (S-112).
LOCAL_ERROR: Final = Reply(451, "3.0", "local error, try again later")

#: What "other" statuses are called where it is known that room is lacking.
#: RFC 3463 sections 3.3 and 3.4: system full, mailbox full.
_WITHOUT_SPACE: Final[Mapping[str | None, str]] = {"3.0": "3.1", "2.0": "2.2"}


def without_space(reply: Reply) -> Reply:
    """
    The same refusal where the cause is that there is no room: disk full, quota,
    or below what must stay free (S-112).
    """
    status = _WITHOUT_SPACE.get(reply.status)
    if status is None:
        return reply
    if reply.code != 451:
        return replace(reply, status=status)
    return replace(reply, code=452, status=status, text="no space for more mail, try again later")


#: For most of what lacks room.
NO_SPACE: Final = without_space(LOCAL_ERROR)
