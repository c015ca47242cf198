"""
Batches taken ahead for one lease, so that a store's transaction serves several.

How many are taken at once doubles with each that went well, from one; what was
taken ahead and is not tried goes back uncounted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from moxsmtp.queue.job import Batch

__all__ = ["Supply"]

#: Jobs taken ahead are under way to everybody else: an administrator who drops
#: one is late.  Few enough for a second's work.
_MOST: Final = 16


class Supply:
    """Of one lease."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._size = 1

    @property
    def size(self) -> int:
        """How many to take next."""
        return self._size

    def fill(self, batches: Sequence[Batch]) -> None:
        """They were taken."""
        self._batches.extend(batches)

    def next(self) -> Batch | None:
        """The one longest due."""
        return self._batches.popleft() if self._batches else None

    def went_well(self) -> None:
        """An attempt did, and did not last."""
        self._size = min(self._size * 2, _MOST)

    def leftover(self) -> Sequence[Batch]:
        """All that were not tried; none is left."""
        left = tuple(self._batches)
        self._batches.clear()
        return left
