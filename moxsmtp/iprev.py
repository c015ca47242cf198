"""Whether a client's address has a name that leads back to it.  RFC 8601 section 3."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Result", "Status"]


class Status(enum.StrEnum):
    """RFC 8601 section 2.7.3."""

    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Result:
    """
    @ivar name: The one that leads back, else the first of C{names}; A-labels or
        whatever the PTR record holds, no dot at the end; empty: no name (I-13).
    @ivar names: All that the PTR records gave.
    @ivar authentic: All answers that were used were validated (DNSSEC).
    """

    status: Status
    name: str = ""
    names: tuple[str, ...] = ()
    authentic: bool = False
