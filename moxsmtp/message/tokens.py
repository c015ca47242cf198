"""
Structured header fields written: tokens, quoted strings, comments.  RFC 5322
section 3.2.

Whatever a text holds, it cannot end the quotes, the comment or the line that
it stands in.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

from moxsmtp.message.writing import CONTROL, in_ascii

__all__ = ["MAXIMUM_TEXT", "bounded", "comment_words", "folded", "one_line", "quoted"]

#: Octets of a value or a comment before it is quoted.  Quoted it is at most
#: twice as long, so that a line stays below the 998 of RFC 5322 section 2.1.1.
MAXIMUM_TEXT: Final = 400

_COMMENT_SPECIALS: Final = re.compile(r"[()\\]")


def one_line(text: str, *, utf8: bool, octets: int = MAXIMUM_TEXT) -> str:
    """C{text} with a space for what would end a line; bounded; other than UTF-8, in ASCII."""
    if text.isascii() and text.isprintable() and len(text) <= octets:
        return text
    text = CONTROL.sub(" ", text)
    return bounded(text if utf8 else in_ascii(text), octets)


def bounded(text: str, octets: int = MAXIMUM_TEXT) -> str:
    """As many whole characters of C{text} as fit."""
    encoded = text.encode()
    if len(encoded) <= octets:
        return text
    return encoded[:octets].decode(errors="ignore")


def quoted(text: str) -> str:
    """A quoted-string.  RFC 5322 section 3.2.4."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@functools.lru_cache(maxsize=256)
def comment_words(text: str, *, utf8: bool) -> tuple[str, ...]:
    """
    The words of a comment; none, if there is nothing to say.  RFC 5322 section 3.2.2.

    Most comments come again and again.
    """
    words = one_line(text, utf8=utf8).split()
    if not words:
        return ()
    if not text.isascii() or _COMMENT_SPECIALS.search(text):
        words = [_COMMENT_SPECIALS.sub(_escaped, word) for word in words]
    words[0] = f"({words[0]}"
    words[-1] += ")"
    return tuple(words)


def _escaped(letter: re.Match[str]) -> str:
    return f"\\{letter[0]}"


def folded(tokens: Sequence[str], last_column: int) -> str:
    """Tokens with a space between them, or CRLF TAB before one that would not fit."""
    line = " ".join(tokens)
    if len(line) <= last_column:
        return line
    pieces = [tokens[0]]
    column = len(tokens[0])
    for token in tokens[1:]:
        width = len(token)
        if column + 1 + width > last_column:
            pieces.append(f"\r\n\t{token}")
            column = 1 + width
        else:
            pieces.append(f" {token}")
            column += 1 + width
    return "".join(pieces)
