"""
Fields of the form C{value; name=value}.  RFC 2045 section 5.1, RFC 2183, RFC 2231.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from moxsmtp.message.charset import codec
from moxsmtp.message.header import Header

__all__ = ["DEFAULT_TYPE", "Parametrized", "content_type", "media_type", "parse_parametrized"]

#: What a body is if nobody says anything valid.  RFC 2045 section 5.2.
DEFAULT_TYPE: Final = "text/plain"

#: Characters of a field, and parameters in it, that are read.
_MAXIMUM: Final = 1 << 16
_MAXIMUM_PARAMETERS: Final = 100

# token = 1*<any CHAR except SPACE, CTLs, or tspecials>; RFC 2045 section 5.1
_TOKEN: Final = r"[^\s\0-\x1f\x7f()<>@,;:\\\"/\[\]?=]++"  # noqa: S105 a pattern, no secret
_TYPE: Final = re.compile(rf"\s*+({_TOKEN})\s*+/\s*+({_TOKEN})")
_WORD: Final = re.compile(rf"\s*+({_TOKEN})\s*+(?=[;(]|\Z)")
# parameter = attribute "=" value; values with tspecials are common without quotes.
_PARAMETER: Final = re.compile(
    rf"[\s;]*+({_TOKEN})\s*+=\s*+(?:\"((?:[^\"\\]++|\\.)*+)\"?|([^;\s\"]*+))", re.DOTALL
)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
# RFC 2231: name*, name*0, name*0*
_EXTENDED: Final = re.compile(r"([^*]+)(?:\*([0-9]{1,3}))?(\*)?")


@dataclass(frozen=True, slots=True)
class Parametrized:
    """
    @ivar value: Lower case; empty if there is none.
    @ivar parameters: Names in lower case, values as they are.
    """

    value: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def content_type(header: Header, default: str = DEFAULT_TYPE) -> Parametrized:
    """The Content-Type of what stands behind C{header}."""
    value = header.first("Content-Type")
    found = parse_parametrized(value) if value else Parametrized("")
    return found if "/" in found.value else Parametrized(default)


def media_type(header: Header) -> str:
    """The value of L{content_type} alone, which costs much less."""
    value = header.first("Content-Type")
    found, _ = _value(value[:_MAXIMUM]) if value else ("", 0)
    return found if "/" in found else DEFAULT_TYPE


def parse_parametrized(text: str) -> Parametrized:
    """
    Read a Content-Type or Content-Disposition field, leniently.

    A parameter given twice counts as first given.  One whose charset is not
    known is decoded as UTF-8.
    """
    text = text[:_MAXIMUM]
    value, end = _value(text)
    if not value:
        return Parametrized("")
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    position = text.find(";", end)
    for _ in range(_MAXIMUM_PARAMETERS):
        if position < 0:
            break
        found = _PARAMETER.match(text, position)
        if found is None:
            position = text.find(";", position + 1)
            continue
        quoted = found[2]
        content = _PAIR.sub(r"\1", quoted) if quoted is not None else found[3]
        _keep(plain, pieces, found[1].lower(), content)
        position = text.find(";", found.end())
    for name, segments in pieces.items():
        plain[name] = _joined(segments)
    return Parametrized(value, plain)


def _value(text: str) -> tuple[str, int]:
    """What stands before the parameters, in lower case, and where it ends."""
    found = _TYPE.match(text)
    if found is not None:
        return f"{found[1]}/{found[2]}".lower(), found.end()
    found = _WORD.match(text)
    return (found[1].lower(), found.end()) if found is not None else ("", 0)


def _keep(
    plain: dict[str, str],
    pieces: dict[str, dict[int, tuple[str, bool]]],
    name: str,
    content: str,
) -> None:
    extended = _EXTENDED.fullmatch(name)
    if extended is None or (extended[2] is None and extended[3] is None):
        plain.setdefault(name, content)
    else:
        segments = pieces.setdefault(extended[1], {})
        segments.setdefault(int(extended[2] or 0), (content, extended[3] is not None))


def _joined(segments: Mapping[int, tuple[str, bool]]) -> str:
    """Continuations in their order, up to the first gap.  RFC 2231 section 4.1."""
    charset = ""
    octets = bytearray()
    for number in range(len(segments)):
        if number not in segments:
            break
        content, is_encoded = segments[number]
        if is_encoded and number == 0 and content.count("'") >= 2:
            charset, _, content = content.split("'", 2)
        if is_encoded:
            octets += unquote_to_bytes(content)
        else:
            octets += content.encode("utf-8", "replace")
    return octets.decode(codec(charset) or "utf-8", "replace")
