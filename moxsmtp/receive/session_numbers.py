"""Numbers for sessions (S-9)."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IReactorTime

__all__ = ["session_numbers"]


def session_numbers(clock: IReactorTime) -> Iterator[int]:
    """
    A number for each session: the milliseconds since 1970 at its beginning, or
    the number behind the last one, whichever is greater.  So numbers are unique
    over all runs of the server, and each tells when its session began.
    """
    number = 0
    while True:
        number = max(number + 1, int(clock.seconds() * 1000))
        yield number
