"""
A message's header section.  RFC 5322 section 2.2, RFC 6532.

The octets are kept as they came.  Fields are looked for by name when somebody
asks: a handful of searches over a usual header costs less than an index of it,
and a megabyte of hostile fields costs no memory.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

from moxsmtp.message.words import readable

__all__ = [
    "MAXIMUM_LINES", "MAXIMUM_SECTION", "MAXIMUM_VALUE", "Header", "is_message_id", "message_id",
    "message_ids", "parse_header", "unfolded",
]  # fmt: skip

#: Octets of a header section that are looked at.
MAXIMUM_SECTION: Final = 1 << 20

#: Lines of a header section that a message may come with; a usual one has dozens.
MAXIMUM_LINES: Final = 20_000

#: Octets of one field that are unfolded: a field of nothing but folds takes
#: the reactor's time.
MAXIMUM_VALUE: Final = 1 << 17

# The line end of the last field and the empty line behind it.
_END: Final = re.compile(rb"\n\r?\n")

# folding: CRLF before white space; RFC 5322 section 2.2.3.
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")

# field-name = 1*%d33-57 / %d59-126; white space before the colon is obsolete
# (RFC 5322 section 4.5), and a line may go on in lines that begin with white space.
_NAME: Final = rb"[!-9;-~]"
_FIELD: Final = re.compile(rb"\n(%s++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)" % _NAME)
_NO_FIELD: Final = re.compile(rb"\n(?!%s++[ \t]*+:|[ \t])" % _NAME)
_SPACE_BEFORE_COLON: Final = re.compile(rb"\n%s++[ \t]++:" % _NAME)
# What either of them finds.
_UNUSUAL: Final = re.compile(rb"\n(?!%s++:|[ \t])" % _NAME)

# msg-id = "<" id-left "@" id-right ">", read loosely; RFC 5322 section 3.6.4.
# Its length leaves room for a field name in a line of 998 octets.
_MESSAGE_ID: Final = re.compile(r"<([^<>]{1,960})>")
_WHITE: Final = re.compile(r"\s+")
#: Characters of a text for people, and of a list of identifiers, that are read.
_MAXIMUM_TEXT: Final = 1 << 16

# Neither brackets nor control characters, nor white space, which Unicode has more of.
_ONE_MESSAGE_ID: Final = re.compile(r"<[^<>\s\x00-\x20\x7f-\xa0]{1,960}>")


@functools.lru_cache(maxsize=256)
def _named(name: str) -> re.Pattern[bytes]:
    escaped = re.escape(name.encode("ascii"))
    return re.compile(rb"\n(?i:%s)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)" % escaped)


@dataclass(frozen=True, slots=True)
class Header:
    """
    Fields in their order.  Make one with L{parse_header}.

    Reading is lenient: lines that are no field are passed over.  Names are
    compared without regard to case.

    @ivar lines: Each line with the LF that ends the one before it; the last
        line's end and the empty line are not among them.
    @ivar cut: There was more than L{MAXIMUM_SECTION}.
    """

    lines: bytes
    cut: bool = False

    @property
    def section(self) -> bytes:
        """The fields as they came, each with its line end; without the empty line."""
        if not self.lines:
            return b""
        return self.lines[1:] + (b"\n" if self.lines.endswith(b"\r") else b"\r\n")

    def has(self, name: str) -> bool:
        """Whether there is a field of that name."""
        return _named(name).search(self.lines) is not None

    def count(self, name: str) -> int:
        """How many fields have that name."""
        return len(_named(name).findall(self.lines))

    def raw(self, name: str) -> list[bytes]:
        """What stands behind the colon, folds kept, without the last line end."""
        return [value.removesuffix(b"\r") for value in _named(name).findall(self.lines)]

    def values(self, name: str) -> list[str]:
        """The fields' values, unfolded.  No UTF-8 and NUL show as U+FFFD."""
        return [unfolded(value) for value in _named(name).findall(self.lines)]

    def first(self, name: str) -> str | None:
        """The first field's value, unfolded; L{None} if there is none."""
        found = _named(name).search(self.lines)
        return None if found is None else unfolded(found[1])

    def text(self, name: str) -> str:
        """The first field's value for people: encoded words decoded; empty for none."""
        return readable((self.first(name) or "")[:_MAXIMUM_TEXT])

    def fields(self) -> list[tuple[str, bytes]]:
        """All of them: the name as written, and what L{raw} gives."""
        return [
            (field[1].decode("ascii"), field[2].removesuffix(b"\r"))
            for field in _FIELD.finditer(self.lines)
        ]

    @property
    def is_ascii(self) -> bool:
        """Whether no octet is above 127."""
        return self.lines.isascii()

    @property
    def problems(self) -> tuple[str, ...]:
        """What a strict reader objects to, in words for the sender; empty is good."""
        found: list[str] = []
        if self.cut:
            found.append("header section is longer than 1 MiB")
        if self.lines[1:2] in {b" ", b"\t"}:
            found.append("header section begins with a folded line")
        if _UNUSUAL.search(self.lines):
            bad = _NO_FIELD.search(self.lines)
            if bad is not None:
                number = self.lines.count(b"\n", 0, bad.end())
                found.append(f"line {number} of the header section is no header field")
            if _SPACE_BEFORE_COLON.search(self.lines):
                found.append("white space between a header field's name and its colon")
        if b"\0" in self.lines:
            found.append("NUL in the header section")
        return tuple(found)


def parse_header(section: bytes) -> Header:
    """
    Read a header section.

    @param section: It may go on behind the empty line, or lack that line.
        Lines end with CRLF; LF alone is understood.
    """
    cut = len(section) > MAXIMUM_SECTION
    lines = b"\n" + (section[:MAXIMUM_SECTION] if cut else section)
    end = _END.search(lines)
    if end is not None:
        return Header(lines[: end.start()])
    return Header(lines.rstrip(b"\r\n"), cut)


def unfolded(raw: bytes) -> str:
    """A value as L{Header.first} gives it, from what L{Header.raw} gives."""
    raw = raw[:MAXIMUM_VALUE]
    if b"\n" in raw:
        raw = _FOLD.sub(b"", raw)
    return raw.strip(b" \t\r\n").decode("utf-8", "replace").replace("\0", "\ufffd")


# -- message identifiers ----------------------------------------------------------------


def message_ids(value: str) -> list[str]:
    """
    The identifiers in a References or In-Reply-To field, with angle brackets.

    White space inside the brackets, a relic of folding, goes.
    """
    found = (f"<{_WHITE.sub('', text)}>" for text in _MESSAGE_ID.findall(value[:_MAXIMUM_TEXT]))
    return [text for text in found if is_message_id(text)]


def message_id(header: Header) -> str:
    """
    The Message-ID with angle brackets, put there if the sender forgot them.

    @return: Empty if there is none that one could refer to.
    """
    value = header.first("Message-ID")
    if not value:
        return ""
    if is_message_id(value):
        return value
    found = message_ids(value)
    if found:
        return found[0]
    bare = f"<{value}>"
    return bare if is_message_id(bare) else ""


def is_message_id(text: str) -> bool:
    """Whether it may be written as one: brackets, no white space, of bounded length."""
    return _ONE_MESSAGE_ID.fullmatch(text) is not None
