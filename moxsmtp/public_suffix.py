"""
Which part of a domain its owner registered, by the public suffix list.

DMARC walks the tree instead (RFC 9989); the list serves reputation, rate
limits, and the question whether a signature is in the name of a whole suffix.
"""

from __future__ import annotations

import functools
from typing import Final

from publicsuffixlist import PublicSuffixList

from moxsmtp.names import Domain

__all__ = ["PublicSuffixes"]

#: Domains whose answer is remembered.
_REMEMBERED: Final = 8192


@functools.cache
def _read() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)


class PublicSuffixes:
    """
    The list.  The first one of a process reads it, which takes some 30 ms: it is made at
    the start, not when a message waits for it.

    Only its ICANN section counts: who lets others use names below a domain of
    his own is still one organization.  A top-level domain that the list does
    not know is a suffix.
    """

    def __init__(self) -> None:
        self._list = _read()
        self._remembered = functools.lru_cache(maxsize=_REMEMBERED)(self._registered)

    def organizational_domain(self, domain: Domain) -> Domain:
        """The suffix and one label more; a domain at or above a suffix is its own."""
        return self._remembered(domain) or domain

    def is_public_suffix(self, domain: Domain) -> bool:
        """Whether C{domain} is nobody's own: others register below it."""
        return self._remembered(domain) is None

    def _registered(self, domain: Domain) -> Domain | None:
        registered = self._list.privatesuffix(domain.ascii)
        return None if registered is None else Domain(registered)
