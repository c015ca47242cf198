"""
Header fields written, with the words of strangers made harmless.  RFC 5322.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = [
    "CONTROL", "LAST_COLUMN", "MAXIMUM_LINE", "balanced", "comment", "field_line", "in_ascii",
    "number", "plain", "words",
]  # fmt: skip

#: Where lines are folded.
LAST_COLUMN: Final = 76

#: Octets that no line exceeds.  RFC 5322 section 2.1.1.
MAXIMUM_LINE: Final = 998

#: A longer word, in characters of up to four octets, is cut.
_LONG_WORD: Final = MAXIMUM_LINE // 5

#: Parentheses deeper than this are somebody's attack on readers.
_MAXIMUM_NESTING: Final = 8

#: What would end or disturb a line; half of a surrogate pair cannot be written.
CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

_NOT_ASCII: Final = re.compile(r"[^\0-\x7f]")
_BRACKETS: Final = str.maketrans("()", "[]")


def field_line(name: str, value: str) -> str:
    """
    A header field with its line end, folded before words that would pass the
    last column.

    @param value: On one line, as L{plain} makes it.
    """
    lines = [f"{name}:"]
    for word in words(value):
        fits = len(lines[-1]) + 1 + len(word) <= LAST_COLUMN
        is_first = lines == [f"{name}:"] and len(word.encode()) < MAXIMUM_LINE - 100
        if fits or is_first or not word:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\r\n".join(lines) + "\r\n"


def words(text: str) -> Iterator[str]:
    """What stands between spaces, cut where it would fill more than a line."""
    for word in text.split(" "):
        if len(word) <= _LONG_WORD or len(word.encode()) <= MAXIMUM_LINE - 10:
            yield word
        else:
            for start in range(0, len(word), _LONG_WORD):
                yield word[start : start + _LONG_WORD]


def plain(text: str, *, utf8: bool) -> str:
    """C{text} on one line with single spaces; other than UTF-8, in ASCII."""
    text = " ".join(CONTROL.sub(" ", text).split())
    return text if utf8 else in_ascii(text)


def in_ascii(text: str) -> str:
    """Other characters as numbers, which people and programs can read back."""
    return _NOT_ASCII.sub(number, text)


def number(letter: re.Match[str]) -> str:
    """C{\\x{HEX}}: EmbeddedUnicodeChar of RFC 6533 section 3."""
    return f"\\x{{{ord(letter[0]):X}}}"


def comment(text: str, *, utf8: bool) -> str:
    """The inside of a comment.  RFC 5322 section 3.2.2."""
    return balanced(plain(text, utf8=utf8)).replace("\\", "\\\\")


def balanced(text: str) -> str:
    """With brackets for parentheses, unless those are in order and none is escaped."""
    depth = deepest = 0
    for letter in text:
        if letter == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif letter == ")":
            depth -= 1
            if depth < 0:
                break
    in_order = depth == 0 and deepest <= _MAXIMUM_NESTING and "\\" not in text
    return text if in_order else text.translate(_BRACKETS)
