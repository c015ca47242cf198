"""
A check under way: it ends with a value whatever happens to it.

Most checks find all they ask for in the resolver's cache and end before they
have begun to wait; those cost no timer.  One that waits is resumed here, which
costs a third of what a C{Deferred} round it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from moxsmtp.interfaces import IMetrics
from moxsmtp.receive.checks import Work
from moxsmtp.receive.session_log import SessionLog

__all__ = ["LIMIT", "LOCAL_ERROR", "TOO_LATE", "Kind", "Running", "Site"]

T = TypeVar("T")

#: Seconds that one check may take (I-2).
LIMIT: Final = 60.0

TOO_LATE: Final = f"not done within {LIMIT:.0f} seconds"
LOCAL_ERROR: Final = "local error"


@dataclass(frozen=True, slots=True)
class Site:
    """What all checks of a connection work with."""

    clock: IReactorTime
    metrics: IMetrics
    log: SessionLog

    def bug(self, package: str, failure: Failure) -> None:
        """Tell and count what should never happen (I-3)."""
        self.metrics.count("mox_panic_total", pkg=package)
        self.log.write(
            LogLevel.critical,
            "{package} failed: {failure}",
            package=package,
            failure=failure,
            log_failure=failure,
        )


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """
    @ivar package: Its name as a label of the metrics.
    @ivar trouble: Its value where it has found none; given why.
    @ivar measured: Puts down its value, and how many seconds it took.
    """

    package: str
    trouble: Callable[[str], T]
    measured: Callable[[IMetrics, T, float], None]


class Running(Generic[T]):
    """
    One check.  Its owner calls L{cancel} if nobody wants to know any more.

    @ivar value: What it found; L{None} as long as it looks.
    @ivar is_broken: It was stopped by the time limit or a bug.
    """

    __slots__ = (
        "_begun", "_is_over", "_kind", "_site", "_timer", "_waiters", "_waiting", "_work",
        "is_broken", "value",
    )  # fmt: skip

    def __init__(
        self, site: Site, kind: Kind[T], check: Callable[..., Work[T]], *given: object
    ) -> None:
        """@param check: Called with C{given}."""
        self._site = site
        self._kind = kind
        self._begun = site.clock.seconds()
        self._work: Work[T] | None = None
        self._waiting: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []
        self._is_over = False
        self.is_broken = False
        self.value: T | None = None
        try:
            work = check(*given)
            waiting = work.send(None)
        except StopIteration as end:
            self._found(end.value)
        except Exception:  # noqa: BLE001 - a bug in a check costs its value, not the message
            self._break(Failure())
        else:
            self._timer = site.clock.callLater(LIMIT, self._too_late)
            self._work = work
            self._wait(waiting)

    def _wait(self, waiting: Deferred[Any]) -> None:
        """What it awaits takes it on, whatever comes of that."""
        self._waiting = waiting
        _ = waiting.addBoth(self._resume)

    def _resume(self, outcome: object) -> None:
        self._waiting = None
        work = self._work
        assert work is not None  # noqa: S101 - it has begun to wait
        try:
            if isinstance(outcome, Failure):
                waiting = outcome.throwExceptionIntoGenerator(work)
            else:
                waiting = work.send(outcome)
        except StopIteration as end:
            self._work = None
            self._found(end.value)
        except BaseException:  # noqa: BLE001 - a bug in a check costs its value, not the message
            self._work = None
            self._break(Failure())
        else:
            self._wait(waiting)

    async def result(self) -> T:
        """What it finds; being cancelled here leaves it running."""
        while self.value is None:
            if self._is_over:
                raise CancelledError
            waiter: Deferred[None] = Deferred(self._waiters.remove)
            self._waiters.append(waiter)
            await waiter
        return self.value

    def cancel(self) -> None:
        """Stop.  Whoever waits is cancelled too."""
        if self.value is not None:
            return
        self._end()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(CancelledError())

    def _too_late(self) -> None:
        self._timer = None
        value = self._kind.trouble(TOO_LATE)
        self.is_broken = True
        self._settle(value)
        self._end()

    def _break(self, failure: Failure) -> None:
        """What it raises after its end is the end's own doing."""
        if self._is_over:
            return
        # Cancelled by none of us: what it waited for is gone.
        if not failure.check(CancelledError):
            self._site.bug(self._kind.package, failure)
        self.is_broken = True
        self._settle(self._kind.trouble(LOCAL_ERROR))

    def _found(self, value: T) -> None:
        if not self._is_over:
            self._settle(value)

    def _settle(self, value: T) -> None:
        self.value = value
        site = self._site
        self._kind.measured(site.metrics, value, site.clock.seconds() - self._begun)
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting is not None:
            self._waiting.cancel()
