"""Words that nobody can guess, from randomness that is drawn by the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["unique_words"]

_WORD: Final = 16
_PAGE: Final = 256 * _WORD


def unique_words(random_bytes: Callable[[int], bytes]) -> Callable[[], str]:
    """
    Hexadecimal digits of 128 bits, different in each call.  Asking the system
    for each of them costs a process with several threads more than the rest of
    what a word is for.
    """
    page = b""

    def word() -> str:
        nonlocal page
        if not page:
            page = random_bytes(_PAGE)
        found, page = page[:_WORD], page[_WORD:]
        return found.hex()

    return word
