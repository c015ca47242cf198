"""Reading what is to be sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from moxsmtp.interfaces import IContent
from moxsmtp.smtp.stuffing import DotStuffer

__all__ = ["PIECE", "Forms", "ShortContent", "some", "streamed", "whole"]

#: Octets of content read and sent at a time.
PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class Forms:
    """
    A message in the forms in which it may leave.

    @ivar content: What stands behind its prefix.
    @ivar alternative: All of it in UTF-8, for hosts that take 8BITMIME and SMTPUTF8;
        L{None}: there is no such form.
    """

    content: IContent
    alternative: IContent | None = None


class ShortContent(Exception):
    """The store gave less than it promised."""


async def some(content: IContent, offset: int, length: int) -> bytes:
    """
    At least one octet, where there has to be one.

    @raise ShortContent: There is none.
    """
    read = await content.read(offset, length)
    if not read:
        raise ShortContent(f"it ends after {offset} of {content.size} octets")
    return read


async def whole(prefix: bytes, content: IContent) -> bytes:
    """
    Prefix and content, for those that are short.

    @raise ShortContent: It is shorter than that.
    """
    pieces = [prefix]
    offset = 0
    while offset < content.size:
        read = await some(content, offset, content.size - offset)
        offset += len(read)
        pieces.append(read)
    return b"".join(pieces)


async def streamed(
    prefix: bytes, content: IContent, write: Callable[[bytes], Awaitable[None]]
) -> None:
    """
    Prefix and content in pieces, dots stuffed, without the end of data; there is
    never more than one piece in memory.

    @param write: Waits until there is room for more.
    @raise ShortContent: It is shorter than it says.
    @raise BareLineEnd: It is not made of lines; what was before has been written.
    """
    stuffer = DotStuffer()
    piece = prefix
    offset, size = 0, content.size
    while offset < size:
        # One write for what is small.
        wanted = min(size - offset, max(1, PIECE - len(piece)))
        read = await some(content, offset, wanted)
        offset += len(read)
        piece += read
        if offset < size:
            await write(stuffer.encode(piece))
            piece = b""
    # The exchange says the dot, if the server has been silent.
    await write(stuffer.encode(piece) + stuffer.finish().removesuffix(b".\r\n"))
