"""
Macro strings: read once, expanded as often as needed.  RFC 7208 section 7.

Reading is strict and takes linear time; what has been read always expands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

__all__ = ["InvalidMacros", "MacroString", "parse_domain_spec", "parse_explanation", "parse_macros"]

#: Octets of a domain name; what is longer loses labels on the left.  RFC 7208
#: section 7.3.
_MAXIMUM_DOMAIN: Final = 253

#: Macros that are read.  No record has as many, since each takes two octets; of
#: an explanation, what stands behind them is never shown.
_MOST_MACROS: Final = 2048

# macro-expand = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
# transformers = *DIGIT [ "r" ], and the number is not zero (section 7.3).
_EXPAND: Final = r"%(?:[%_-]|\{[slodiphcrtv](?:0*+[1-9][0-9]*+)?r?[.+,/_=-]*+\})"
# macro-string = *( macro-expand / macro-literal ); macro-literal = %x21-24 / %x26-7E
_MACRO_STRING = re.compile(rf"(?>(?:[!-$&-~]++|{_EXPAND})*)", re.IGNORECASE)
# explain-string = *( macro-string / SP )
_EXPLAIN_STRING = re.compile(rf"(?>(?:[ -$&-~]++|{_EXPAND})*)", re.IGNORECASE)
_ENDS_WITH_EXPAND = re.compile(rf"(?>(?:[!-$&-~]*+{_EXPAND})+)", re.IGNORECASE)
# toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum )
_TOPLABEL = re.compile(r"(?![0-9]+\Z)[0-9a-z](?:[0-9a-z-]*[0-9a-z])?", re.IGNORECASE)

_PART = re.compile(r"%(?:([%_-])|\{([a-z])([0-9]*+)(r?+)([.+,/_=-]*+)\})", re.IGNORECASE)
_LITERALS: Final = {"%": "%", "_": " ", "-": "%20"}


class InvalidMacros(ValueError):
    """The text is no macro string; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class _Macro:
    """
    @ivar letter: In lower case.
    @ivar keep: How many parts are kept, from the right; 0 for all.
    @ivar is_escaped: It was an upper-case letter: escaped as in a URI.
    """

    letter: str
    keep: int
    is_reversed: bool
    delimiters: str
    is_escaped: bool

    def expand(self, value: str) -> str:
        """RFC 7208 section 7.3.  Parts are joined with dots, whatever stood between them."""
        if self.keep or self.is_reversed or self.delimiters:
            delimiters = self.delimiters or "."
            for other in delimiters[1:]:
                value = value.replace(other, delimiters[0])
            parts = value.split(delimiters[0])
            if self.is_reversed:
                parts.reverse()
            value = ".".join(parts[-self.keep :])
        return quote(value, safe="", errors="replace") if self.is_escaped else value


@dataclass(frozen=True, slots=True)
class MacroString:
    """A macro string that has been read: text and macros in turn."""

    parts: tuple[str | _Macro, ...]

    def uses(self, letters: str) -> bool:
        """Whether one of these macros stands in it."""
        return any(isinstance(part, _Macro) and part.letter in letters for part in self.parts)

    def domain(self, value_of: Callable[[str], str]) -> str:
        """
        As a name for the DNS, without a dot at the end, shortened from the left.

        @param value_of: What each macro letter stands for.
        """
        pieces: list[str] = []
        length = 0
        # From the right, since that is what is kept of a name that is too long.
        for part in reversed(self.parts):
            piece = part if isinstance(part, str) else part.expand(value_of(part.letter))
            pieces.append(piece)
            length += len(piece)
            if length > _MAXIMUM_DOMAIN + 1:
                break
        name = "".join(reversed(pieces)).removesuffix(".")
        if len(name) > _MAXIMUM_DOMAIN:
            name = name[-_MAXIMUM_DOMAIN - 1 :].partition(".")[2]
        return name

    def text(self, value_of: Callable[[str], str], most: int) -> str:
        """As text for people; expansion ends where more than C{most} characters are there."""
        pieces: list[str] = []
        length = 0
        for part in self.parts:
            piece = part if isinstance(part, str) else part.expand(value_of(part.letter))
            pieces.append(piece)
            length += len(piece)
            if length > most:
                break
        return "".join(pieces)


def parse_macros(text: str) -> MacroString:
    """
    Read C{macro-string} where it names something in the DNS: the macros C{c},
    C{r} and C{t} are for explanations only (RFC 7208 section 7.2).

    @raise InvalidMacros: It is none.
    """
    if _MACRO_STRING.fullmatch(text) is None:
        raise InvalidMacros("a macro or a character that may not stand there")
    read = _parts(text)
    if read.uses("crt"):
        raise InvalidMacros("the macros c, r and t are for explanations only")
    return read


def parse_domain_spec(text: str) -> MacroString:
    """
    Read C{domain-spec = macro-string domain-end}, where C{domain-end = ( "."
    toplabel [ "." ] ) / macro-expand}.

    @raise InvalidMacros: It is none.
    """
    read = parse_macros(text)
    _, dot, last = text.removesuffix(".").rpartition(".")
    if not (dot and _TOPLABEL.fullmatch(last)) and not _ENDS_WITH_EXPAND.fullmatch(text):
        raise InvalidMacros("not a domain with a top-level label")
    return read


def parse_explanation(text: str) -> MacroString:
    """
    Read C{explain-string}, the text of an explanation.  All of it is looked at,
    but what follows after thousands of macros is left out.

    @raise InvalidMacros: It is none.
    """
    if _EXPLAIN_STRING.fullmatch(text) is None:
        raise InvalidMacros("a macro or a character that may not stand there")
    return _parts(text)


def _parts(text: str) -> MacroString:
    if "%" not in text:
        return MacroString((text,) if text else ())
    parts: list[str | _Macro] = []
    end = 0
    for count, found in enumerate(_PART.finditer(text)):
        if count == _MOST_MACROS:
            return MacroString(tuple(parts))
        if found.start() > end:
            parts.append(text[end : found.start()])
        end = found.end()
        literal, letter, digits, backwards, delimiters = found.groups()
        if literal:
            parts.append(_LITERALS[literal])
        else:
            parts.append(
                _Macro(
                    letter=letter.lower(),
                    # No value has a thousand parts; int() refuses very long numbers.
                    keep=int(digits.lstrip("0")[:4] or 0),
                    is_reversed=bool(backwards),
                    delimiters=delimiters,
                    is_escaped=letter.isupper(),
                )
            )
    if end < len(text):
        parts.append(text[end:])
    return MacroString(tuple(parts))
