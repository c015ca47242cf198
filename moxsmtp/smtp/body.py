"""
The content behind DATA, while it streams.  RFC 5321 sections 4.1.1.4 and 4.5.2.

Works on whole buffers at the speed of C{bytes.find}, C{count} and C{replace}.
The theory: a buffer is cut only where no line end and nothing that could be
part of CRLF C{.} CRLF is torn apart.  So each piece that is worked on begins
either in the middle of a line or with the line end before it, and a look at the
piece alone tells what a dot or a CR in it means.  The content begins as if a
CRLF had come just before.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Body", "Offence"]

_END: Final = b"\r\n.\r\n"

# What the end of a buffer may be that belongs to what comes next, longest first:
# the beginnings of the end of data, and of its stand-ins after a bare LF.
_UNDECIDED: Final = (b"\r\n.\r", b"\r\n.", b"\n.\r", b"\r\n", b"\n.", b"\r", b"\n")


class Offence(enum.Enum):
    """Why a content is refused."""

    #: A bare CR, or a stand-in for the end of data (S-77).
    SMUGGLING = enum.auto()
    #: More octets than are taken here (S-78).
    TOO_LARGE = enum.auto()


class Body:
    """
    Takes octets as they come and gives the content that they stand for: dots
    unstuffed, every line end CRLF.

    After an offence, nothing more is given, but all is read up to the real end
    of data, so that what follows is a command again.

    @ivar ended: The end of data has been seen.
    @ivar offence: The first one, if any.
    @ivar size: Octets without stuffed dots, bare LFs counted as one (S-78).
    @ivar has_8bit: An octet above 127 was in it.
    """

    __slots__ = (
        "_carried",
        "_maximum",
        "_rest",
        "_virtual",
        "ended",
        "has_8bit",
        "offence",
        "size",
    )

    def __init__(self, maximum_size: int) -> None:
        self._maximum = maximum_size
        self._carried = b"\r\n"
        self._virtual = True
        self.ended = False
        self._rest = b""
        self.offence: Offence | None = None
        self.size = 0
        self.has_8bit = False

    @property
    def is_hopeless(self) -> bool:
        """Twice what may come has come: no use to go on reading (S-78)."""
        return self.size > 2 * self._maximum

    def take_rest(self) -> bytes:
        """What came behind the end of data, once."""
        rest, self._rest = self._rest, b""
        return rest

    def feed(self, data: bytes) -> bytes:
        """
        Take more octets.  Not to be called once L{ended}.

        @return: The content that is certain by now; empty after an offence.
        """
        octets = self._carried + data if self._carried else data
        end = octets.find(_END)
        if end >= 0:
            self.ended = True
            self._rest = octets[end + len(_END) :]
            self._carried = b""
            whole = piece = octets[: end + 2]
        else:
            tail = _undecided(octets)
            self._carried = octets[len(octets) - tail :]
            # Stand-ins may reach into the tail.
            whole, piece = octets, octets[: len(octets) - tail] if tail else octets
        if not piece:
            return b""
        return self._decoded(whole, piece)

    def _decoded(self, whole: bytes, piece: bytes) -> bytes:
        line_ends = piece.count(b"\r\n")
        has_bare_lf = piece.count(b"\n") != line_ends
        if self.offence is None and (
            piece.count(b"\r") != line_ends
            # Each stand-in has a bare LF in it, perhaps in the tail.
            or ((has_bare_lf or whole.startswith(b"\n", len(piece))) and _has_stand_in(whole))
        ):
            self.offence = Offence.SMUGGLING
        if b"\r\n." in piece:
            piece = piece.replace(b"\r\n.", b"\r\n")
        self.size += len(piece)
        if self._virtual:
            self._virtual = False
            piece = piece[2:]
            self.size -= 2
        if self.size > self._maximum and self.offence is None:
            self.offence = Offence.TOO_LARGE
        if self.offence is not None:
            return b""
        self.has_8bit = self.has_8bit or not piece.isascii()
        if has_bare_lf:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return piece


def _has_stand_in(octets: bytes) -> bool:
    """
    S-77.  In the second form the first LF is bare: were it part of a CRLF, this
    would be the real end, which is never in here.
    """
    return b"\n.\n" in octets or b"\n.\r\n" in octets


def _undecided(octets: bytes) -> int:
    """How many octets at the end belong to what comes next."""
    if octets[-1:] not in b"\r\n.":
        return 0
    for beginning in _UNDECIDED:
        if octets.endswith(beginning):
            return len(beginning)
    return 0
