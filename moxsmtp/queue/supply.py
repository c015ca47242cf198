"""
Batches taken ahead for one lease, so that a store's transaction serves several.

How many are taken at once doubles with each that went well, from one; what was
taken ahead and is not tried goes back uncounted.  Where a store had fewer than were
asked for, the destination is known to have had no more: it is not asked at once
whether that has changed, as each answer costs a transaction.

What somebody changes meanwhile is not begun as it was: all that was taken ahead
along with it goes back, and is taken again as it is then.  What is changed by another
process is found by a look at the store, before something is begun, if the last one was
a moment ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from typing import Final

from moxsmtp.queue.job import Batch, Job

__all__ = ["Supply"]

#: Jobs taken ahead are under way to everybody else, and are tried once more if this
#: process dies.  Few enough for a second's work.
_MOST: Final = 16

#: Seconds for which it need not be looked whether they are what they were: where
#: attempts are quick, one look serves many.
_FRESH: Final = 0.25


class Supply:
    """Of one lease."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._size = 1
        self._was_emptied = False
        self._is_over = False
        self._seen = 0.0

    @property
    def size(self) -> int:
        """How many to take next."""
        return self._size

    def fill(self, batches: Sequence[Batch], now: float) -> None:
        """They were taken at C{now}, in seconds, as many of L{size} jobs as there were."""
        self._batches.extend(batches)
        self._seen = now
        self._was_emptied = 0 < sum(len(batch.jobs) for batch in batches) < self._size

    def next(self) -> Batch | None:
        """The one longest due."""
        return self._batches.popleft() if self._batches and not self._is_over else None

    def is_emptied(self) -> bool:
        """Whether there was no more to be had, a moment ago; told once, unless it is over."""
        was_emptied, self._was_emptied = self._was_emptied, False
        return was_emptied or self._is_over

    def withdraw(self, numbers: Set[int]) -> None:
        """If any of these jobs is there, nothing is begun any more: all is left over."""
        if any(job.id in numbers for batch in self._batches for job in batch.jobs):
            self._is_over = True

    def stale(self, now: float) -> Sequence[Job]:
        """Those that have to be looked at again, as nobody has for a while; L{seen} follows."""
        if 0 <= now - self._seen < _FRESH:
            return ()
        return [job for batch in self._batches for job in batch.jobs]

    def seen(self, changed: Set[int], now: float) -> None:
        """They were looked at, at C{now}: which of them are not what they were."""
        self._seen = now
        self.withdraw(changed)

    def went_well(self) -> None:
        """An attempt did, and did not last."""
        self._size = min(self._size * 2, _MOST)

    def leftover(self) -> Sequence[Batch]:
        """All that were not tried; none is left."""
        left = tuple(self._batches)
        self._batches.clear()
        return left
