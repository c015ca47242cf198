"""
How answers look on a terminal.  Mail is written by strangers: none of its
control characters reaches the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from moxsmtp.logs import printable

__all__ = ["TextDecoder", "fields", "size", "table", "time"]

#: Columns that a cell may have; the rest is cut off.
_WIDEST: Final = 60


def _width(text: str) -> int:
    """Columns on a terminal: wide letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "FW" else 1
        for c in text
    )


def _cell(text: str) -> str:
    shown = printable(text)
    if _width(shown) <= _WIDEST:
        return shown
    while _width(shown) >= _WIDEST:
        shown = shown[: max(1, len(shown) - max(1, (_width(shown) - _WIDEST) // 2))]
    return shown + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned lines, the head first."""
    cells = [list(head), *([_cell(text) for text in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        padded = (
            text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def fields(entry: Mapping[str, Any]) -> Iterator[str]:
    """C{name: value} lines; what is empty is left out."""
    longest = max((len(name) for name in entry), default=0) + 1
    for name, value in entry.items():
        if value not in ("", None, []):
            yield f"{name + ':':<{longest}} {printable(str(value))}"


def size(octets: int) -> str:
    """Rounded, for people."""
    if octets < 1024:
        return str(octets)
    number = float(octets)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def time(text: str) -> str:
    """A time of the wire, to the second."""
    return text.partition("+")[0].partition(".")[0].replace("T", " ")


class TextDecoder:
    """
    A message's octets, in pieces, as text that a terminal may have: line ends
    of one octet, UTF-8 where it is, every other control character as escape.
    """

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, octets: bytes) -> str:
        """All but what may go on in the next piece."""
        octets = self._tail + octets
        # The last line may be in the middle of a character or of CRLF.
        cut = octets.rfind(b"\n") + 1
        if not cut and len(octets) > 65536:
            cut = len(octets) - 4
        self._tail = octets[cut:]
        return _shown(octets[:cut])

    def end(self) -> str:
        """The rest."""
        octets, self._tail = self._tail, b""
        return _shown(octets)


def _shown(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else printable(c) for c in text)
