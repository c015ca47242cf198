"""What the store obeys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

__all__ = ["MIB", "StoreSettings"]

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """
    @ivar url: Empty: SQLite in the data folder.  Else C{postgresql://...}.
    @ivar minimum_free: Octets of disk below which mail is refused, 452 4.3.1.
    @ivar memory: Octets of content that may wait in memory, over all sessions;
        beyond it content goes to a file first.
    @ivar orphan_age: When content in the folder that no row knows is removed.
    """

    url: str = field(default="", repr=False)
    minimum_free: int = 256 * MIB
    memory: int = 64 * MIB
    orphan_age: timedelta = timedelta(hours=24)
