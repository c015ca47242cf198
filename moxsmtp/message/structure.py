"""
The MIME parts of a message, by their offsets.  RFC 2045, RFC 2046.

One pass over the content finds every boundary of every open multipart, so
hostile nesting and boundaries that begin alike cost no second look.  The
content is never copied: it may be a map of a file.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from moxsmtp.message.header import MAXIMUM_SECTION, Header, parse_header
from moxsmtp.message.parameters import DEFAULT_TYPE, content_type, parse_parametrized
from moxsmtp.message.words import readable

__all__ = [
    "MAXIMUM_DEPTH", "MAXIMUM_PARTS", "Content", "Part", "is_dsn", "parse_structure", "part_header",
]  # fmt: skip

#: A message's octets, wherever they are.
Content = bytes | bytearray | memoryview | mmap.mmap

#: A multipart that stands this deep is not looked into.
MAXIMUM_DEPTH: Final = 100

#: Behind so many parts the rest of the message belongs to the last.
MAXIMUM_PARTS: Final = 1000

#: Octets of a part's own header that are read.
_PART_HEADER: Final = 1 << 16

#: A boundary has at most 70 characters (RFC 2046 section 5.1.1); some forget.
_MAXIMUM_BOUNDARY: Final = 200

#: How much is searched at once: a search lets no other thread run.
_WINDOW: Final = 1 << 20

_DASHES: Final = re.compile(rb"\n--")
_HEADER_END: Final = re.compile(rb"\n(?:\r?\n|--)")


@dataclass(frozen=True, slots=True)
class Part:
    """
    One part, or the message itself.

    @ivar content_type: Lower case, C{text/plain}.
    @ivar parameters: Of the content type; names in lower case.
    @ivar content_id: With its angle brackets, empty if there is none.
    @ivar disposition: Lower case, C{attachment}; empty if there is none.
    @ivar filename: Decoded; as the sender says, which may be a path.
    @ivar encoding: The transfer encoding in lower case, C{base64}; empty if
        there is none.
    @ivar start: Where the part's header begins.
    @ivar body: Where its body begins.
    @ivar end: Where its body ends; the line end before a boundary is not of it.
    @ivar parts: Of a multipart.
    """

    content_type: str
    start: int
    body: int
    end: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    content_id: str = ""
    disposition: str = ""
    filename: str = ""
    encoding: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def is_multipart(self) -> bool:
        """Whether it has parts instead of a content of its own."""
        return self.content_type.startswith("multipart/")


def parse_structure(content: Content) -> Part:
    """Find the parts of a whole message.  Whatever it holds, there is an answer."""
    return _Scan(content).message()


def is_dsn(structure: Part) -> bool:
    """Whether a message reports on the delivery of another (RFC 3464, RFC 6533)."""
    return (
        structure.content_type == "multipart/report"
        and len(structure.parts) > 1
        and structure.parts[1].content_type
        in {"message/delivery-status", "message/global-delivery-status"}
    )


def part_header(content: Content, part: Part) -> Header:
    """The header of a part, as far as it is read."""
    return parse_header(bytes(content[part.start : min(part.body, part.start + MAXIMUM_SECTION)]))


@dataclass(slots=True)
class _Open:
    """A part whose end is not found yet."""

    start: int
    body: int
    header: Header
    default_type: str
    boundary: bytes | None = None
    end: int = 0
    parts: list[_Open] = field(default_factory=list)

    def finished(self) -> Part:
        described = content_type(self.header, self.default_type)
        disposition = parse_parametrized(self.header.first("Content-Disposition") or "")
        name = disposition.parameters.get("filename") or described.parameters.get("name", "")
        encoding = parse_parametrized(self.header.first("Content-Transfer-Encoding") or "")
        return Part(
            content_type=described.value,
            start=self.start,
            body=self.body,
            end=self.end,
            parameters=described.parameters,
            content_id=self.header.first("Content-ID") or "",
            disposition=disposition.value,
            filename=readable(name),
            encoding=encoding.value,
            parts=tuple(part.finished() for part in self.parts),
        )


class _Scan:
    """
    The pass over the content.

    The open parts are a stack, outermost first.  A delimiter line of one of
    them ends all that are inside of it (RFC 2046 section 5.1.2).
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._size = len(content)
        self._open: list[_Open] = []
        #: Boundaries that may still come, with the place of their part in the stack.
        self._awaited: dict[bytes, int] = {}

    def message(self) -> Part:
        root = self._begin(0, DEFAULT_TYPE)
        position = max(root.body - 1, 0)
        count = 1
        while self._awaited and count < MAXIMUM_PARTS:
            delimiter = self._next_delimiter(position)
            if delimiter is None:
                break
            at, level, is_last, position = delimiter
            self._end_above(level, at)
            multipart = self._open[level]
            if is_last:
                self._forget(multipart, level)
                position -= 1
                continue
            count += 1
            default = DEFAULT_TYPE
            if multipart.header.first("Content-Type") is not None:
                described = content_type(multipart.header).value
                default = "message/rfc822" if described == "multipart/digest" else default
            part = self._begin(position, default)
            multipart.parts.append(part)
            position = max(part.body - 1, 0)
        self._end_above(-1, self._size)
        return root.finished()

    def _begin(self, start: int, default_type: str) -> _Open:
        """Read a part's header and put the part on the stack."""
        body = self._body_of(start)
        limit = _PART_HEADER if self._open else MAXIMUM_SECTION
        header = parse_header(bytes(self._content[start : min(body, start + limit)]))
        part = _Open(start, body, header, default_type)
        level = len(self._open)
        described = content_type(header, default_type)
        if described.value.startswith("multipart/") and level < MAXIMUM_DEPTH:
            boundary = described.parameters.get("boundary", "").rstrip().encode("utf-8", "replace")
            if 0 < len(boundary) <= _MAXIMUM_BOUNDARY and boundary not in self._awaited:
                part.boundary = boundary
                self._awaited[boundary] = level
        self._open.append(part)
        return part

    def _body_of(self, start: int) -> int:
        """Behind the empty line, or at the delimiter that comes first."""
        first = bytes(self._content[start : start + 2])
        if first[:1] == b"\n":
            return start + 1
        if first == b"\r\n":
            return start + 2
        position = max(start - 1, 0)
        while (found := self._search(_HEADER_END, position)) is not None:
            at, position = found
            if bytes(self._content[position - 1 : position]) == b"\n":
                return position
            if self._delimiter_at(position) is not None:
                return at + 1
        return self._size

    def _next_delimiter(self, position: int) -> tuple[int, int, bool, int] | None:
        """@return: Its line end before, whose it is, whether the last one, what is behind."""
        while (found := self._search(_DASHES, position)) is not None:
            at, position = found
            delimiter = self._delimiter_at(position)
            if delimiter is not None:
                return at, *delimiter
        return None

    def _delimiter_at(self, position: int) -> tuple[int, bool, int] | None:
        """
        Whether an awaited boundary stands behind the dashes, alone in its line.

        RFC 2046 would let a boundary match any line that it begins; whole
        lines are compared, so that of two that begin alike neither hides the
        other.
        """
        window = bytes(self._content[position : position + _MAXIMUM_BOUNDARY + 56])
        line, newline, _ = window.partition(b"\n")
        if not newline and position + len(window) < self._size:
            return None
        behind = position + len(line) + len(newline)
        line = line.rstrip(b" \t\r")
        level = self._awaited.get(line)
        if level is not None:
            return level, False, behind
        if line.endswith(b"--"):
            level = self._awaited.get(line[:-2])
            if level is not None:
                return level, True, behind
        return None

    def _end_above(self, level: int, at: int) -> None:
        """End every part inside of the one at C{level} before the line end at C{at}."""
        if at < self._size and at > 0 and bytes(self._content[at - 1 : at]) == b"\r":
            at -= 1
        end = at
        while len(self._open) > level + 1:
            part = self._open.pop()
            # A part without a body begins behind that line end, and so do those around it end.
            end = part.end = max(part.body, end)
            self._forget(part, len(self._open))

    def _forget(self, part: _Open, level: int) -> None:
        if part.boundary is not None and self._awaited.get(part.boundary) == level:
            del self._awaited[part.boundary]
        part.boundary = None

    def _search(self, pattern: re.Pattern[bytes], position: int) -> tuple[int, int] | None:
        """Where the next match begins and ends."""
        while position < self._size:
            found = pattern.search(self._content, position, position + _WINDOW)
            if found is not None:
                return found.span()
            position += _WINDOW - 3
        return None
