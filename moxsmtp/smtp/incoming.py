"""
What comes between commands and is none: a message behind DATA, or in chunks.
RFC 5321 section 4.1.1.4, RFC 3030.

The octets of a chunk follow its command at once, whatever we think of it.  So they
are read before anything is answered, and where it is refused, read for nothing;
else they would be taken for commands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from moxsmtp.smtp.body import Body, Offence
from moxsmtp.smtp.chunks import Chunks
from moxsmtp.smtp.commands import Bdat, Verb
from moxsmtp.smtp.events import ChunkBegin, ChunkEnd, Content, ContentEnd, Refusal
from moxsmtp.smtp.input import Input
from moxsmtp.smtp.parameters import DEFAULT_MAXIMUM_SIZE
from moxsmtp.smtp.reply import Reply

__all__ = ["Incoming", "Piece"]

_SMUGGLING: Final = Reply(
    500, "5.2", "bare CR or LF round the end of data: possible SMTP smuggling, not taken"
)
_BARE: Final = Reply(
    554, "6.0", "a bare CR, or a dot between bare line ends: possible SMTP smuggling, not taken"
)

#: What an L{Incoming} gives; the last three want an answer.
Piece = ChunkBegin | Content | ChunkEnd | ContentEnd | Refusal


class Incoming:
    """
    The content of one transaction at a time.

    @ivar is_due: What waits in the input is for L{next}, and no line.
    """

    __slots__ = (
        "_body", "_chunk", "_chunks", "_input", "_is_begun", "_left", "_maximum", "_refusal",
        "is_due",
    )  # fmt: skip

    def __init__(self, octets: Input, maximum_size: int) -> None:
        self._input = octets
        self._maximum = maximum_size
        self._body: Body | None = None
        self._chunks: Chunks | None = None
        self._chunk = Bdat(0, last=False)
        self._refusal: Reply | None = None
        self._is_begun = False
        self._left = 0
        self.is_due = False

    def begin(self) -> None:
        """Behind 354."""
        self._body = Body(self._maximum)
        self.is_due = True

    def begin_chunk(self, chunk: Bdat, refusal: Reply | None) -> Refusal | None:
        """
        Behind a BDAT.

        @param refusal: Why it is not taken; its octets are read all the same.
        @return: The octets are too many to wait for: answer this, and end.
        """
        if chunk.size > 2 * self._maximum:
            return Refusal(Verb.BDAT, self._too_large(close=True), f"BDAT {chunk.size}")
        if refusal is None:
            if self._chunks is None:
                self._chunks = Chunks(self._maximum)
            self._chunks.announce(chunk.size)
        self._chunk, self._refusal = chunk, refusal
        self._left = chunk.size
        self._is_begun = refusal is not None
        self.is_due = True
        return None

    def forget(self) -> None:
        """The transaction is over."""
        self._body = self._chunks = None
        self.is_due = False

    def next(self) -> Piece | None:
        """What comes next; L{None} while more must come."""
        if self._body is not None:
            return self._next_of_body(self._body)
        if not self._is_begun:
            self._is_begun = True
            return ChunkBegin()
        return self._next_of_chunk()

    def _next_of_body(self, body: Body) -> Piece | None:
        if self._input and not (body.ended or body.is_hopeless):
            octets = body.feed(self._input.take_all())
            self._input.put_back(body.take_rest())
            if octets:
                return Content(octets)
        if body.ended or body.is_hopeless:
            self.is_due = False
            return ContentEnd(self._verdict(body))
        return None

    def _verdict(self, body: Body) -> Reply | None:
        if body.ended and body.offence is None:
            return None
        if body.offence is Offence.SMUGGLING:
            return _SMUGGLING if body.ended else replace(_SMUGGLING, close=True)
        return self._too_large(close=not body.ended)

    def _next_of_chunk(self) -> Piece | None:
        chunks = self._chunks if self._refusal is None else None
        while self._left and self._input:
            octets = self._input.take(self._left)
            self._left -= len(octets)
            content = chunks.feed(octets) if chunks is not None else b""
            if content:
                return Content(content)
        if self._left:
            return None
        if chunks is None:
            self.is_due = False
            return Refusal(Verb.BDAT, self._refusal) if self._refusal is not None else None
        return self._end_of(chunks)

    def _end_of(self, chunks: Chunks) -> Piece:
        """All octets of the chunk have come."""
        if self._chunk.last:
            rest = chunks.finish()
            if rest:
                return Content(rest)
        self.is_due = False
        if chunks.offence is Offence.TOO_LARGE:
            return ContentEnd(self._too_large(close=False), Verb.BDAT)
        if chunks.offence is not None:
            return ContentEnd(_BARE, Verb.BDAT)
        if self._chunk.last:
            return ContentEnd(None, Verb.BDAT)
        return ChunkEnd(self._chunk.size)

    def _too_large(self, *, close: bool) -> Reply:
        """S-78."""
        status = "2.3" if self._maximum < DEFAULT_MAXIMUM_SIZE else "3.4"
        return Reply(552, status, "message too large", close=close)
