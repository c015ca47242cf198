"""
The hash of a body while it streams.  RFC 6376 sections 3.4.3 to 3.4.5 and 3.7.

What ends a body (empty lines, white space) may not be hashed, and only the end
tells what ends it.  White space held back is at most one space, for a run of
it becomes one.  Empty lines held back are counted; when there are many, they
are hashed as if they stayed, beside a copy of the state before them.  So each
octet costs the same, whatever the body and however it is cut.
"""

from __future__ import annotations

import hashlib
from typing import Final

from moxsmtp.dkim.white_space import without_runs

__all__ = ["BodyHash", "BodyHashes"]

#: Octets that are canonicalised in one step.
_STEP: Final = 1 << 16

#: Empty lines that are held back before they are hashed.
_HELD: Final = 2048

_HELD_LINES: Final = b"\r\n" * _HELD


class BodyHash:
    """
    The SHA-256 of a canonical body.

    @ivar limit: Octets that are hashed (C{l=}); L{None} is all.
    @ivar length: Octets that the canonical body has; meaningful after
        L{BodyHashes.finish}.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.length = 0
        self._sha = hashlib.sha256()
        self._before_lines = self._sha
        self._length_before = -1

    @property
    def is_short(self) -> bool:
        """The body ended before the limit."""
        return self.limit is not None and self.length < self.limit

    def text(self, octets: bytes) -> None:
        """What is in the body, whatever follows."""
        self._length_before = -1
        self._take(octets)

    def lines(self, octets: bytes) -> None:
        """Empty lines that count only if text follows."""
        if self._length_before < 0:
            self._before_lines, self._length_before = self._sha.copy(), self.length
        self._take(octets)

    def end(self, octets: bytes) -> None:
        """The line end of the last line; empty lines before it did not count."""
        if self._length_before >= 0:
            self._sha, self.length = self._before_lines, self._length_before
        self._take(octets)

    def digest(self) -> bytes:
        """Of the body; after L{BodyHashes.finish}."""
        return self._sha.digest()

    def _take(self, octets: bytes) -> None:
        room = len(octets) if self.limit is None else self.limit - self.length
        self.length += len(octets)
        if room >= len(octets):
            self._sha.update(octets)
        elif room > 0:
            self._sha.update(octets[:room])


class _Canonical:
    """One canonicalisation of the body, and who hashes it."""

    def __init__(self, *, relaxed: bool) -> None:
        self.hashes: dict[int | None, BodyHash] = {}
        self._relaxed = relaxed
        self._carry = b""  # a space, a CR or both: what follows decides
        self._lines = 0  # empty lines held back
        self._is_empty = True

    def feed(self, octets: bytes) -> None:
        octets = self._carry + octets if self._carry else octets
        if self._relaxed:
            octets = without_runs(octets).replace(b" \r\n", b"\r\n")
        whole = octets.removesuffix(b"\r")
        if self._relaxed:
            whole = whole.removesuffix(b" ")
        self._carry = octets[len(whole) :]
        self._take(whole)

    def finish(self) -> None:
        if self._carry.endswith(b"\r"):
            self._take(self._carry)  # CR without LF is text
        end = b"" if self._relaxed and self._is_empty else b"\r\n"
        for one in self.hashes.values():
            one.end(end)

    def _take(self, octets: bytes) -> None:
        text, lines = _split(octets)
        if text:
            held = b"\r\n" * self._lines
            for one in self.hashes.values():
                one.text(held + text if held else text)
            self._lines = 0
            self._is_empty = False
        self._lines += lines
        while self._lines > _HELD:
            for one in self.hashes.values():
                one.lines(_HELD_LINES)
            self._lines -= _HELD


class BodyHashes:
    """
    All hashes of one body that anybody wants, each computed once.

    CRLF ends a line; a CR or LF alone is text.
    """

    def __init__(self) -> None:
        self._canonical: dict[bool, _Canonical] = {}

    def wanted(self, *, relaxed: bool, limit: int | None = None) -> BodyHash:
        """The hash that will be known in the end; ask before the first L{feed}."""
        if relaxed not in self._canonical:
            self._canonical[relaxed] = _Canonical(relaxed=relaxed)
        hashes = self._canonical[relaxed].hashes
        if limit not in hashes:
            hashes[limit] = BodyHash(limit)
        return hashes[limit]

    def feed(self, octets: bytes) -> None:
        """More of the body, cut anywhere."""
        if not octets:
            return
        for canonical in self._canonical.values():
            if len(octets) <= _STEP:
                canonical.feed(octets)
            else:
                for start in range(0, len(octets), _STEP):
                    canonical.feed(octets[start : start + _STEP])

    def finish(self) -> None:
        """The body is whole.  Once."""
        for canonical in self._canonical.values():
            canonical.finish()


def _split(octets: bytes) -> tuple[bytes, int]:
    """What stands before the CRLFs at the end, and how many those are."""
    if not octets.endswith(b"\r\n"):
        return octets, 0
    ends = octets[len(octets.rstrip(b"\r\n")) :].replace(b"\r\n", b".")
    count = len(ends) - len(ends.rstrip(b"."))
    return octets[: len(octets) - 2 * count], count
