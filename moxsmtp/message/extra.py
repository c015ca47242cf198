"""What a program says about its message for our webhooks alone (S-95)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from moxsmtp.message.header import Header

__all__ = ["BadExtra", "extra_fields"]

#: Before the key.
_PREFIX: Final = "x-mox-extra-"

#: Fields, and octets of all of them: they are kept with each recipient.
_MOST: Final = 64
_MOST_OCTETS: Final = 1 << 14


class BadExtra(ValueError):
    """They cannot be kept; the text says why, in ASCII, on one line."""


def extra_fields(header: Header) -> Mapping[str, str]:
    """
    Fields C{X-Mox-Extra-<key>}, by key in the usual case: C{my-ID} reads C{My-Id}.

    @raise BadExtra: A key is there twice, or there is too much of them.
    """
    if b"\n" + _PREFIX.encode() not in header.lines.lower():
        return {}
    found: dict[str, str] = {}
    octets = 0
    for name, raw in header.fields():
        if not name.lower().startswith(_PREFIX):
            continue
        key = "-".join(word.capitalize() for word in name[len(_PREFIX) :].split("-"))
        if not key:
            continue
        octets += len(key) + len(raw)
        if len(found) >= _MOST or octets > _MOST_OCTETS:
            raise BadExtra(f"more than {_MOST} X-Mox-Extra fields, or {_MOST_OCTETS} octets")
        if key in found:
            raise BadExtra("an X-Mox-Extra field is there twice")
        found[key] = header.first(name) or ""
    return found
