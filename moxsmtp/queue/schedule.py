"""
When a message is tried again, and when it is given up.  RFC 5321 section
4.5.4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.queue.settings import QueueSettings

__all__ = ["Randint", "gives_up", "interval", "next_attempt", "remaining"]

#: C{randint(low, high)}: a whole number, both ends included.
Randint = Callable[[int, int], int]

#: The interval that the jitter below is made for.
_USUAL_FIRST: Final = timedelta(seconds=450)

#: Jitter of the first interval, in seconds (Q-11).
_JITTER: Final = (-5, 4)

#: No interval is longer, however often it was doubled.
_LONGEST: Final = timedelta(days=365)

#: Intervals that are told at most.
_TOLD: Final = 20

#: Where doubling ends: a first interval of one second has become half a year.
_DOUBLINGS: Final = 24


def interval(attempts: int, first: timedelta, randint: Randint) -> timedelta:
    """
    How long to wait after attempt number C{attempts} (Q-11).

    @param attempts: From 1.
    @param first: The interval after attempt 1.  The jitter is made for 450 s;
        a shorter first interval has less of it in proportion, so that it never
        eats the interval.
    """
    jitter = timedelta(seconds=randint(*_JITTER)) * min(1.0, first / _USUAL_FIRST)
    factor: int = 1 << min(max(attempts, 1) - 1, _DOUBLINGS)
    return min(first + jitter, _LONGEST / factor) * factor


def next_attempt(
    now: datetime, attempts: int, settings: QueueSettings, randint: Randint
) -> datetime:
    """
    When attempt number C{attempts}, begun at C{now}, is followed by another if
    it fails.
    """
    return now + interval(attempts, settings.retry_after, randint)


def remaining(attempts: int, max_attempts: int, settings: QueueSettings) -> tuple[timedelta, ...]:
    """
    The intervals still to come after attempt number C{attempts}, as they are
    without jitter (Q-13); no more than anybody wants to read.
    """
    last = min(max_attempts or settings.max_attempts, attempts + _TOLD)
    return tuple(
        interval(number, settings.retry_after, _no_jitter) for number in range(attempts, last)
    )


def _no_jitter(low: int, high: int) -> int:  # noqa: ARG001 - the form of Randint
    """None."""
    return 0


def gives_up(attempts: int, max_attempts: int, settings: QueueSettings, *, permanent: bool) -> bool:
    """
    Whether a failure is the last (Q-12).

    @param attempts: Those begun, the failed one included.
    @param max_attempts: The job's own limit, 0 for none.
    """
    return permanent or attempts >= (max_attempts or settings.max_attempts)
