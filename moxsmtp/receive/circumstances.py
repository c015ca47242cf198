"""What the conversations of a socket have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from moxsmtp.interfaces import IMetrics
from moxsmtp.judge.limiters import Limiters

__all__ = ["Circumstances"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """
    What all conversations of a socket share.

    @ivar kind: C{smtp} or C{submission}: a label of the metrics.
    @ivar clock: For how long things take.
    @ivar wall: What time it is: seconds since 1970.
    @ivar authentication_delay: Seconds, for each failure too many (S-42).
    @ivar objection: What is known at once against the key of a client's certificate;
        empty: nothing (S-37).
    @ivar limiters: Hear how attempts to log in came out (S-12).
    @ivar data_limit: Seconds that DATA may take, its processing included (S-16).
    """

    kind: str
    clock: IReactorTime
    wall: Callable[[], float]
    metrics: IMetrics
    authentication_delay: float
    data_limit: float
    limiters: Limiters
    objection: Callable[[str], str] = lambda _: ""
