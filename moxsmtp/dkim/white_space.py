"""
White space as the relaxed canonicalisations see it.  RFC 6376 sections 3.4.2 and 3.4.4.
"""

from __future__ import annotations

from typing import Final

__all__ = ["without_runs"]

_TABS: Final = bytes.maketrans(b"\t", b" ")


def without_runs(octets: bytes) -> bytes:
    """
    Each run of spaces and tabs as one space.

    Pairs of spaces are halved until there are none: as many passes as the
    longest run has bits, each of them one search in C.
    """
    if b"\t" in octets:
        octets = octets.translate(_TABS)
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets
