"""
Where the keys of a TOML file stand.  TOML 1.0.

C{tomllib} reads values and forgets their lines.  This scanner reads a text that
C{tomllib} has accepted before, so it need not refuse anything; it steps over
values and keeps the line of each key and of each element of an array.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Mapping
from typing import Final

from moxsmtp.config.mistakes import KeyPath

__all__ = ["line_of", "places"]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")
_SPACE = re.compile(r"[ \t]*+")
_REST_OF_LINE = re.compile(r"[^\n]*+")

# simple-key = quoted-key / unquoted-key
_KEY = re.compile(r"""[A-Za-z0-9_-]++|"(?:\\.|[^"\\\n])*+"|'[^'\n]*+'""")

# The multi-line strings may end in five quotes, of which two are content.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)

# Numbers, dates, truth values.  A date may have a space in it.
_BARE = re.compile(r"[^,\[\]{}#\n]*+")

_OPENING: Final = {"[": "]", "{": "}"}


def places(text: str) -> dict[KeyPath, int]:
    """
    Find every key.

    @param text: TOML that C{tomllib.loads} accepts.
    @return: Line from 1 by key path: a table's is that of its header or of the
        first key that makes it, an array's element that of its first octet.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of C{path}, or of the innermost table around it; 0: it has none."""
    for length in range(len(path), 0, -1):
        line = lines.get(path[:length])
        if line:
            return line
    return 0


class _Scanner:
    """One pass over one text; C{_position} only ever grows."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._position = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        #: Arrays made by C{[[header]]}, with the number of their last element.
        self._arrays: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._position < len(self._text):
            start = self._position
            if self._text.startswith("[[", start):
                table = self._header(2)
            elif self._text.startswith("[", start):
                table = self._header(1)
            else:
                self._key_value(table)
            self._skip(_REST_OF_LINE)
            self._skip(_BLANK)
            if self._position == start:
                raise ValueError("not TOML")

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise ValueError("not TOML")
        self._position = match.end()
        return match[0]

    def _line(self) -> int:
        return bisect.bisect_left(self._newlines, self._position) + 1

    def _header(self, brackets: int) -> KeyPath:
        line = self._line()
        self._position += brackets
        keys = self._keys()
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._entered((*path, key))
            self.lines.setdefault(path, line)
        path = (*path, keys[-1])
        if brackets == 2:
            self.lines.setdefault(path, line)
            self._arrays[path] = self._arrays.get(path, -1) + 1
            path = self._entered(path)
        self.lines[path] = line
        return path

    def _entered(self, path: KeyPath) -> KeyPath:
        """A name in a header means the last element of an array of tables."""
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            keys.append(_unquoted(self._skip(_KEY)))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._position):
                return keys
            self._position += 1

    def _key_value(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._position += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._position : self._position + 1]
        if first in _OPENING:
            self._collection(path, _OPENING[first])
        else:
            self._skip(_STRING if first and first in "\"'" else _BARE)

    def _collection(self, path: KeyPath, closing: str) -> None:
        self._position += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self._position >= len(self._text):
                raise ValueError("not TOML")
            if self._text.startswith(closing, self._position):
                self._position += 1
                return
            if self._text.startswith(",", self._position):
                self._position += 1
                number += 1
            elif closing == "}":
                self._key_value(path)
            else:
                start = self._position
                self.lines.setdefault((*path, number), self._line())
                self._value((*path, number))
                if self._position == start:
                    raise ValueError("not TOML")


def _unquoted(key: str) -> str:
    if key[:1] not in {'"', "'"}:
        return key
    return str(tomllib.loads(f"key = {key}")["key"])
