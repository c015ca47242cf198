"""Reading what is to be sent."""

from __future__ import annotations

from moxsmtp.interfaces import IContent

__all__ = ["ShortContent", "some", "whole"]


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
