"""When a webhook is called again, and when it is given up (Q-74)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

__all__ = ["MAX_ATTEMPTS", "Randint", "gives_up", "next_attempt"]

#: C{randint(low, high)}: a whole number, both ends included.
Randint = Callable[[int, int], int]

#: What follows attempts 1 to 11.
_INTERVALS: Final = (
    timedelta(minutes=1),
    timedelta(minutes=2),
    timedelta(minutes=4),
    timedelta(minutes=7, seconds=30),
    timedelta(minutes=15),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=16),
)

#: The last attempt, about 32 hours after the first.
MAX_ATTEMPTS: Final = len(_INTERVALS) + 1


def next_attempt(now: datetime, attempts: int, randint: Randint) -> datetime:
    """
    When attempt number C{attempts}, begun at C{now}, is followed by another if
    it fails: within one per cent of the table's interval.
    """
    interval = _INTERVALS[min(max(attempts, 1), len(_INTERVALS)) - 1]
    return now + interval * (10_000 + randint(-100, 100)) / 10_000


def gives_up(attempts: int) -> bool:
    """Whether a failure of attempt number C{attempts} is the last."""
    return attempts >= MAX_ATTEMPTS
