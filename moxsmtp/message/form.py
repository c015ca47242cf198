"""
How a whole message is written: its parts' headers, and whether it is MIME
throughout.  RFC 2046, RFC 6531 section 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from moxsmtp.message.structure import Content, Part, parse_structure, part_header

__all__ = ["has_8bit_header", "mime_problem"]

#: How much is looked at once: a header may be as long as the message.
_WINDOW: Final = 1 << 20


def has_8bit_header(content: Content) -> bool:
    """
    Whether the header of any part has more than ASCII.  Those of messages
    inside of it do not count: each is a message of its own (RFC 6532 section 3.7).
    """
    return any(_has_8bit(content, part) for part in _parts(parse_structure(content)))


def mime_problem(content: Content) -> str:
    """
    What a strict reader of MIME objects to in any part, in words for the
    sender; empty is good.
    """
    for part in _parts(parse_structure(content)):
        problems = part_header(content, part).problems
        if problems:
            return problems[0]
        if part.is_multipart and not _is_closed(content, part):
            return f"a {part.content_type} without its parts or their last boundary"
    return ""


def _parts(root: Part) -> Iterator[Part]:
    """All of them, outer ones first."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += reversed(part.parts)


def _has_8bit(content: Content, part: Part) -> bool:
    return any(
        not bytes(content[start : min(start + _WINDOW, part.body)]).isascii()
        for start in range(part.start, part.body, _WINDOW)
    )


def _is_closed(content: Content, part: Part) -> bool:
    """Whether the last boundary stands behind the last part.  RFC 2046 section 5.1.1."""
    if not part.parts:
        return False
    boundary = part.parameters.get("boundary", "").rstrip().encode("utf-8", "replace")
    end = part.parts[-1].end
    behind = bytes(content[end : end + len(boundary) + 6])
    # The line end before it is the part's last one where the part has no body.
    return behind.lstrip(b"\r\n").startswith(b"--" + boundary + b"--")
