"""
The header section as a signature sees it: which fields it covers, and their
canonical form.  RFC 6376 sections 3.4.1, 3.4.2, 3.5 and 5.4.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from moxsmtp.dkim.white_space import without_runs

__all__ = [
    "MAXIMUM_LINES", "MAXIMUM_SECTION", "Section", "split_message", "without_signature",
]  # fmt: skip

#: Octets of a header section in which signatures are looked for: ten signatures
#: of a megabyte each take the reactor's time.
MAXIMUM_SECTION: Final = 1 << 18

#: Lines of it; a usual one has some dozens.
MAXIMUM_LINES: Final = 5_000

# The line end of the last field and the empty line behind it.
_END: Final = re.compile(rb"\n(\r?\n)")

# field-name *WSP ":", and lines that go on with white space; RFC 5322 sections 2.2 and 4.5.
# Lines that are no field, and what is folded under them, match nothing.
_FIELD: Final = re.compile(rb"\n([!-9;-~]++[ \t]*+):([^\n]*+(?:\n[ \t][^\n]*+)*+)")

# The b tag of a tag list that a semicolon was put before, for such a pattern is found
# fast: its value reaches up to the next semicolon.
_B_TAG: Final = re.compile(rb";[ \t\r\n]*+b[ \t\r\n]*+=([^;]*+)")


class Section:
    """
    A header section's fields.

    @ivar is_cut: It is longer than L{MAXIMUM_SECTION} or L{MAXIMUM_LINES}, so
        that fields that count may be missing.
    """

    def __init__(self, octets: bytes) -> None:
        octets, _ = split_message(octets)
        self.is_cut = len(octets) > MAXIMUM_SECTION or octets.count(b"\n") > MAXIMUM_LINES
        if self.is_cut:
            lines = octets[:MAXIMUM_SECTION].split(b"\n", MAXIMUM_LINES)
            octets = b"\n".join(lines[:MAXIMUM_LINES])
        end = b"" if octets.endswith(b"\n") else b"\r\n"
        self._fields: list[tuple[bytes, bytes]] = _FIELD.findall(b"\n" + octets + end)
        self._places: dict[bytes, list[int]] = {}
        for place, (name, _) in enumerate(self._fields):
            self._places.setdefault(name.rstrip(b" \t").lower(), []).append(place)
        self._relaxed: dict[int, bytes] = {}

    def places(self, name: bytes) -> Sequence[int]:
        """Where fields of that name, given in lower case, stand; from the top."""
        return self._places.get(name, ())

    def value(self, place: int) -> bytes:
        """What stands behind the colon, with folds and the line end."""
        return self._fields[place][1] + b"\n"

    def chosen(self, names: Sequence[bytes], *, but: int | None = None) -> list[int]:
        """
        The fields that a list of names covers: for each name the lowest that
        is not taken yet, nothing if there is none.  RFC 6376 section 5.4.2.

        @param names: In lower case.
        @param but: Never this one: a signature does not cover itself.
        """
        left: dict[bytes, list[int]] = {}
        found = []
        for name in names:
            rest = left.get(name)
            if rest is None:
                rest = left[name] = [*self._places.get(name, ())]
                if but in rest:
                    rest.remove(but)
            if rest:
                found.append(rest.pop())
        return found

    def canonical(self, places: Sequence[int], *, relaxed: bool) -> bytes:
        """Fields in that order, each canonical and with its line end."""
        if not relaxed:
            return b"".join([b"%b:%b\n" % self._fields[place] for place in places])
        known = self._relaxed
        new = [place for place in places if place not in known]
        known.update(zip(new, _relaxed([self._fields[place] for place in new]), strict=True))
        return b"".join([known[place] for place in places])

    def canonical_signature(self, place: int, *, relaxed: bool) -> bytes:
        """The field of a signature as it signs itself: its value is empty, and so is the end."""
        name, value = self._fields[place]
        return without_signature(name, value, relaxed=relaxed)


def without_signature(name: bytes, value: bytes, *, relaxed: bool) -> bytes:
    """
    A DKIM-Signature field, canonical, without what C{b=} says and without its
    line end.  RFC 6376 section 3.7.
    """
    found = _B_TAG.search(b";" + value)
    if found is not None:
        value = value[: found.start(1) - 1] + value[found.end(1) - 1 :]
    if relaxed:
        return _relaxed([(name, value.removesuffix(b"\n"))])[0][:-2]
    return b"%b:%b" % (name, value.removesuffix(b"\n").removesuffix(b"\r"))


def split_message(message: bytes) -> tuple[bytes, bytes]:
    """The header section without its empty line, and the body."""
    if message.startswith(b"\r\n"):
        return b"", message[2:]
    end = _END.search(message)
    if end is None:
        return message, b""
    return message[: end.start(1)], message[end.end() :]


def _relaxed(fields: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """
    Fields, each in one line, white space as single spaces; RFC 6376 section 3.4.2.

    Not dkimpy's: that also strips white space which the RFC has kept, and a
    megabyte of words takes it long enough to be felt by others.  All go through
    it together, which costs half; no value has an LF before a colon, since its
    lines go on with white space.
    """
    text = b"\n:".join([value for _, value in fields]) + b"\n:"
    text = text.replace(b"\r\n", b"\n").replace(b"\n ", b" ").replace(b"\n\t", b" ")
    values = without_runs(text).split(b"\n:")
    return [
        name.rstrip(b" \t").lower() + b":" + value.strip(b" ") + b"\r\n"
        for (name, _), value in zip(fields, values, strict=False)
    ]
