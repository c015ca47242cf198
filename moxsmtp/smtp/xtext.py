"""
Text in parameters that may hold no spaces: xtext (RFC 3461 section 4) and
utf-8-addr-xtext (RFC 6533 section 3).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "InvalidXtext", "decode_utf8_address", "decode_xtext", "encode_utf8_address", "encode_xtext",
    "is_xtext",
]  # fmt: skip

# xtext = *( xchar / hexchar ); xchar = %d33-42 / %d44-60 / %d62-126;
# hexchar = "+" two upper-case hexadecimal digits
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F][0-9A-F])++")
_HEXCHAR: Final = re.compile(r"\+([0-9A-F]{2})")

# 1*(QUCHAR / EmbeddedUnicodeChar); QUCHAR is QCHAR, which is printable ASCII
# without space, "+", "=" and the backslash, or UTF8-2, UTF8-3, UTF8-4.
_UTF8_ADDRESS: Final = re.compile(
    r"(?>(?:[!-*,-<>-\[\]-~\u0080-\U0010ffff]|\\x\{[1-9A-Fa-f][0-9A-Fa-f]{1,5}\})+)"
)
# EmbeddedUnicodeChar = "\x{" HEXPOINT "}"
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")

#: ASCII that utf-8-addr-xtext writes as numbers.
_ESCAPED: Final = frozenset(map(ord, " +=\\"))


class InvalidXtext(ValueError):
    """What was given is not of that form."""


def is_xtext(text: str) -> bool:
    """Whether C{text} is xtext, of whatever octets; an empty one is none."""
    return _XTEXT.fullmatch(text) is not None


def decode_xtext(text: str) -> str:
    """
    Read what must be printable ASCII once it is decoded, as envelope
    identifiers and original recipients must (RFC 3461 sections 4.2 and 4.4).

    @raise InvalidXtext: It is not xtext, an escape is cut (S-108), or a control
        character hides in it.
    """
    if not is_xtext(text):
        raise InvalidXtext("not xtext")
    decoded = _HEXCHAR.sub(lambda escape: chr(int(escape[1], 16)), text)
    if not (decoded.isascii() and decoded.isprintable()):
        raise InvalidXtext("more than printable ASCII in xtext")
    return decoded


#: What xtext writes as numbers: all but xchar.
_NO_XCHAR: Final = re.compile(r"[^!-*,-<>-~]")


def encode_xtext(text: str) -> str:
    """
    Write printable ASCII as xtext.

    @raise InvalidXtext: It is something else.
    """
    if not (text.isascii() and text.isprintable()):
        raise InvalidXtext("more than printable ASCII for xtext")
    return _NO_XCHAR.sub(lambda match: f"+{ord(match[0]):02X}", text)


def encode_utf8_address(text: str, *, smtputf8: bool) -> str:
    """
    Write an address as utf-8-addr-unitext where C{smtputf8} goes, else as
    utf-8-addr-xtext.

    @raise InvalidXtext: It holds what is no character, or controls something.
    """
    if _CONTROL.search(text) or _SURROGATE.search(text):
        raise InvalidXtext("control characters in an address")
    return "".join(
        character
        if ord(character) not in _ESCAPED and (smtputf8 or character.isascii())
        else f"\\x{{{ord(character):X}}}"
        for character in text
    )


def decode_utf8_address(text: str) -> str:
    """
    Read utf-8-addr-xtext and utf-8-addr-unitext alike: where the second may
    stand is for the caller to know, by its being more than ASCII.

    @raise InvalidXtext: It is neither.
    """
    if not _UTF8_ADDRESS.fullmatch(text) or _SURROGATE.search(text):
        raise InvalidXtext("not utf-8-addr-xtext")
    decoded = _EMBEDDED.sub(_embedded, text)
    # C1 controls end or disturb the lines that this is to be written in.
    if _CONTROL.search(decoded):
        raise InvalidXtext("control characters in an address")
    return decoded


def _embedded(escape: re.Match[str]) -> str:
    code = int(escape[1], 16)
    is_ascii = code in _ESCAPED
    is_beyond = 0x80 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    if not (is_ascii or is_beyond):
        raise InvalidXtext("a number that stands for no character")
    return chr(code)
