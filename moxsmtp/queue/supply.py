"""
Batches taken ahead for one lease, so that a store's transaction serves several.

How many are taken at once doubles with each that went well, from one; what was
taken ahead and is not tried goes back uncounted.  Where a store had fewer than were
asked for, the destination is known to have had no more: it is not asked at once
whether that has changed, as each answer costs a transaction.
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
        self._was_emptied = False

    @property
    def size(self) -> int:
        """How many to take next."""
        return self._size

    def fill(self, batches: Sequence[Batch]) -> None:
        """They were taken, as many of L{size} jobs as there were."""
        self._batches.extend(batches)
        self._was_emptied = 0 < sum(len(batch.jobs) for batch in batches) < self._size

    def next(self) -> Batch | None:
        """The one longest due."""
        return self._batches.popleft() if self._batches else None

    def is_emptied(self) -> bool:
        """Whether there was no more to be had, a moment ago; told once."""
        was_emptied, self._was_emptied = self._was_emptied, False
        return was_emptied

    def went_well(self) -> None:
        """An attempt did, and did not last."""
        self._size = min(self._size * 2, _MOST)

    def leftover(self) -> Sequence[Batch]:
        """All that were not tried; none is left."""
        left = tuple(self._batches)
        self._batches.clear()
        return left
