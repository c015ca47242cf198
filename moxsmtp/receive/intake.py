"""
Content on its way to the spool: its header section is looked at, perhaps
changed, once it is complete; its body is shown to whoever hashes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from moxsmtp.interfaces import InsufficientStorage, ISpool, Spooled
from moxsmtp.message.header import MAXIMUM_LINES, MAXIMUM_SECTION
from moxsmtp.smtp.reply import Reply, Unjudged

__all__ = ["TOO_LARGE", "HeaderTaken", "Intake", "Room"]

#: What others are told that have more of a header than anybody would look at.
TOO_LARGE: Final = Reply(
    552, "3.4", f"the header section is larger than 1 MiB or {MAXIMUM_LINES} lines"
)

#: Octets of a header section that every message may have, however many come.
_USUAL: Final = 1 << 16

_EMPTY_LINE: Final = b"\r\n"
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class HeaderTaken:
    """
    What becomes of a message whose header section is complete.

    @ivar section: Goes to the spool in place of what came.
    @ivar body: Takes the octets behind it, in order, cut anywhere.
    """

    section: bytes
    body: Callable[[bytes], None]


class Room:
    """
    Memory for unusually long header sections, over all connections: a thousand
    of a megabyte each, held open, must not be the end of the process.
    """

    def __init__(self, octets: int = 1 << 26) -> None:
        self._left = octets

    def take(self, octets: int) -> None:
        """@raise InsufficientStorage: There is not so much left."""
        if octets > self._left:
            raise InsufficientStorage("too many long header sections at once")
        self._left -= octets

    def give(self, octets: int) -> None:
        """They are needed no more."""
        self._left += octets


@implementer(ISpool)
class Intake:
    """
    A spool before a spool.

    The header section is the octets up to and with the first empty line; without
    one, all of the content.  One that is larger than L{MAXIMUM_SECTION} or
    L{MAXIMUM_LINES} is passed to nobody and refused by L{finish}: whatever was
    not looked at would be taken for checked.  How the octets are cut when they
    come makes no difference.
    """

    def __init__(
        self,
        spool: ISpool,
        header_complete: Callable[[bytes], HeaderTaken],
        room: Room | None = None,
    ) -> None:
        """
        @param header_complete: Called once, with the section as it came, empty
            line and all.  What it raises, L{write} or L{finish} raises.
        @param room: For long sections, until L{release}; L{None}: unlimited.
        """
        self._spool = spool
        self._header_complete = header_complete
        self._room = room
        self._taken = 0
        self._begun = bytearray()
        self._lines = 0
        self._is_too_large = False
        self._body: Callable[[bytes], None] | None = None

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{ISpool.write}."""
        if self._body is not None:
            self._body(data)
            return self._spool.write(data)
        if self._is_too_large:
            return None
        begun = self._begun
        # The end may have begun in what came before.
        known = len(begun)
        if known:
            begun += data
            end = _header_end(begun, max(0, known - len(_END) + 1))
        else:
            end = _header_end(data, 0)
        self._lines += data.count(b"\n", 0, len(data) if end is None else end - known)
        if self._is_beyond(known + len(data), end):
            self._is_too_large = True
            begun.clear()
            self.release()
            return None
        if end is None:
            if not known:
                begun += data
            self._hold(len(begun))
            return None
        if known:
            data = bytes(begun)
            begun.clear()
        return self._take(data, end)

    def _is_beyond(self, octets: int, end: int | None) -> bool:
        """@param octets: Have come so far.  @param end: Of the header section."""
        if end is None:
            return octets > MAXIMUM_SECTION or self._lines > MAXIMUM_LINES
        return end > MAXIMUM_SECTION or self._lines > MAXIMUM_LINES + 1

    async def finish(self) -> Spooled:
        """
        See L{ISpool.finish}.  Without an empty line, all was header.

        @raise Unjudged: The header section is too large.
        """
        if self._is_too_large:
            raise Unjudged(TOO_LARGE)
        if self._body is None:
            data = bytes(self._begun)
            self._begun.clear()
            waiting = self._take(data, len(data))
            if waiting is not None:
                await waiting
        return await self._spool.finish()

    def abort(self) -> None:
        """See L{ISpool.abort}."""
        self._begun.clear()
        self._spool.abort()

    def release(self) -> None:
        """Nobody holds the header section any more.  May be repeated."""
        taken, self._taken = self._taken, 0
        if self._room is not None:
            self._room.give(taken)

    def _hold(self, octets: int) -> None:
        """@param octets: So many of the header section are in memory by now."""
        more = octets - _USUAL - self._taken
        if self._room is not None and more > 0:
            self._room.take(more)
            self._taken += more

    def _take(self, data: bytes, end: int) -> Deferred[None] | None:
        """@param data: All that has come; the header section ends at C{end}."""
        self._hold(end)
        section, rest = data[:end], data[end:]
        taken = self._header_complete(section)
        self._body = taken.body
        if rest:
            taken.body(rest)
        # What was not changed is not copied once more.
        return self._spool.write(data if taken.section is section else taken.section + rest)


def _header_end(data: bytes | bytearray, start: int) -> int | None:
    """
    Where the header section ends; L{None}: not yet.

    @param start: No end begins before it.
    """
    if start == 0 and data.startswith(_EMPTY_LINE):
        return len(_EMPTY_LINE)
    found = data.find(_END, start)
    return found + len(_END) if found >= 0 else None
