"""
The content that comes in chunks.  RFC 3030.

Nothing in it ends it, so dots mean nothing; all else is as behind DATA: line ends
become CRLF, and what might be taken for the end of data elsewhere is refused.
"""

from __future__ import annotations

import re
from typing import Final

from moxsmtp.smtp.body import Offence

__all__ = ["Chunks"]

# The stand-ins for the end of data (S-77): a dot between line ends, one of them bare.
_STAND_IN: Final = re.compile(rb"\r\n\.\n|(?<!\r)\n\.\r?\n")

#: So many octets before others tell whether those are part of a stand-in.
_MEMORY: Final = 3


class Chunks:
    """
    Takes octets as they come, chunk by chunk, and gives the content that they
    stand for.  After an offence nothing more is given.

    @ivar offence: The first one, if any.
    @ivar size: Octets of chunks that have come or were announced (S-78).
    """

    __slots__ = ("_carried", "_maximum", "_memory", "offence", "size")

    def __init__(self, maximum_size: int) -> None:
        self._maximum = maximum_size
        #: A CR whose LF may be in the next piece.
        self._carried = b""
        # As if a line end had come just before (S-76).
        self._memory = b"\r\n"
        self.offence: Offence | None = None
        self.size = 0

    def announce(self, size: int) -> None:
        """A chunk of so many octets comes next."""
        self.size += size
        if self.size > self._maximum and self.offence is None:
            self.offence = Offence.TOO_LARGE

    def feed(self, data: bytes) -> bytes:
        """@return: The content that is certain by now; empty after an offence."""
        if self.offence is not None:
            return b""
        piece = self._carried + data
        if piece.endswith(b"\r"):
            self._carried = b"\r"
            piece = piece[:-1]
        else:
            self._carried = b""
        if not piece:
            return b""
        line_ends = piece.count(b"\r\n")
        if piece.count(b"\r") != line_ends:
            self.offence = Offence.SMUGGLING
            return b""
        known = self._memory + piece
        self._memory = known[-_MEMORY:]
        if b"\n.\n" in known or (b"\n.\r\n" in known and _STAND_IN.search(known)):
            self.offence = Offence.SMUGGLING
            return b""
        if piece.count(b"\n") != line_ends:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return piece

    def finish(self) -> bytes:
        """
        The last chunk is whole.  May be repeated.

        @return: A line end, where the last line has none: all that is kept ends in one.
        """
        if self._carried:
            self.offence = self.offence or Offence.SMUGGLING
        if self.offence is not None or self._memory.endswith(b"\n"):
            return b""
        self._memory = b"\r\n"
        return b"\r\n"
