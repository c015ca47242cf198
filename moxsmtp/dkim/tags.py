"""
Tag lists: the syntax of signatures and of key records.  RFC 6376 section 3.2.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

__all__ = ["InvalidTags", "base64_octets", "parse_tags", "without_space", "words"]

# tag-name = ALPHA *ALNUMPUNC
_NAME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")

# tval = 1*VALCHAR, with folding white space between; UTF-8 since RFC 8616.
_VALUES: Final = bytes([*b"\t\r\n", *range(0x20, 0x7F), *range(0x80, 0x100)])


class InvalidTags(ValueError):
    """What was given is no tag list, or a tag's value is not in its syntax; the text says why."""


def parse_tags(text: bytes) -> dict[bytes, bytes]:
    """
    Read a tag list.  Names are as written (they differ by case), values have
    no white space around them and may be folded.

    @param text: Of bounded length; the time is linear in it.
    @raise InvalidTags: A tag without a name or an equals sign, a control
        character, or a name that stands twice.
    """
    if text.translate(None, _VALUES):
        raise InvalidTags("control character in a tag list")
    tags: dict[bytes, bytes] = {}
    pieces = text.strip().split(b";")
    if not pieces[-1]:
        pieces.pop()
    for piece in pieces:
        name, equals, value = piece.partition(b"=")
        name = name.strip()
        if not equals or name in tags or not _NAME.fullmatch(name):
            raise InvalidTags(f"no tag list: {_excerpt(piece)}")
        tags[name] = value.strip()
    return tags


def without_space(value: bytes) -> bytes:
    """A value whose syntax lets it be folded anywhere."""
    return b"".join(value.split())


def words(value: bytes) -> tuple[str, ...]:
    """A list with colons between, in lower case; what is not ASCII is nobody's word."""
    return tuple(word.strip().decode("ascii", "replace").lower() for word in value.split(b":"))


def base64_octets(value: bytes) -> bytes:
    """
    What C{value}, perhaps folded, encodes.  RFC 6376 section 2.10.

    @raise InvalidTags: Other characters, or padding that is wrong.
    """
    try:
        return binascii.a2b_base64(without_space(value), strict_mode=True)
    except binascii.Error:
        raise InvalidTags("no base64") from None


def _excerpt(piece: bytes) -> str:
    """The beginning of what could not be read, fit for a log."""
    return ascii(piece.strip()[:20].decode("ascii", "replace"))
