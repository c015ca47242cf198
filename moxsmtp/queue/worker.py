"""
Works on one leased destination: take a task, attempt it, settle what came of
it, until nothing is due.  L{moxsmtp.queue.runner} says who works when.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.queue.job import Lease, LeaseLost
from moxsmtp.queue.storage import ILeases

__all__ = ["CRAWLING", "LONGEST", "PATIENCE", "Slots", "Work", "Worker"]

Task = TypeVar("Task")
Found = TypeVar("Found")

#: Seconds after which it is asked, and asked again, whether an attempt waits aside.
PATIENCE: Final = 2.0

#: Seconds; an attempt that takes longer crawls.
CRAWLING: Final = 10.0

#: Seconds that an attempt takes at most.  Each host, and each wait, has its own limit,
#: but hosts may be many.  As long as one session (Q-68).
LONGEST: Final = 1800.0

#: A destination is held so long at most while others may be waiting.
_TURN: Final = 10.0

#: Between tries to settle; together a quarter of an hour.
_SETTLE_AGAIN: Final = (1, 2, 4, 8, 16, 32, *([60] * 14))

_CUT: Final = "attempt was slow and was cut in favour of other destinations"
_TOO_LONG: Final = f"the attempt took longer than {LONGEST / 60:.0f} minutes"
_BROKEN: Final = "attempt ended in an internal error"


class Work(Protocol[Task, Found]):
    """
    What a runner runs.  Only L{attempt} is ever cancelled: if it is I{cut} to make
    room, or takes too long, what it has left undone has failed; if it is I{abandoned}, because the
    process ends or the lease is lost, that stays under way, to be repeated once
    and not counted (Q-10).

    @ivar most_unrecorded: Results that may wait to be recorded while the next
        task is begun; 0: none.
    @ivar linger: Seconds for which a destination is kept when nothing is due there
        any more, unless others wait for the slot; 0: it is given back at once.
    """

    most_unrecorded: int
    linger: float

    def take(self, lease: Lease) -> Awaitable[Task | None]:
        """Begin the task longest due, recorded as begun; L{None}: nothing is due."""

    def attempt(self, task: Task) -> Awaitable[Found]:
        """
        Carry it out.  May be cancelled; then it tells what is known for good by
        then, or ends in C{CancelledError} if nothing is.
        """

    def is_waiting(self, task: Task, seconds: float) -> bool:
        """
        Whether the attempt under way has not heard a word for so long, or longer:
        then it waits aside, and others may begin.
        """

    def unfinished(self, task: Task, error: str, known: Found | None = None) -> Found:
        """
        What an attempt that was cut or broke counts as: a transient failure,
        save for what is C{known}.
        """

    def settle(self, lease: Lease, task: Task, found: Found) -> Awaitable[None]:
        """
        Record what came of it; repeated after errors.  Of what C{found} does not
        tell nothing is recorded.

        @raise LeaseLost: It belongs to someone else by now.
        """

    def is_trouble(self, found: Found) -> bool:
        """Whether the destination is in trouble, by what came of a task."""

    def leave(self, lease: Lease) -> Awaitable[datetime | None]:
        """
        The destination is given back: so is what was taken there and not begun.

        @return: Nobody should work on it before then; L{None}: anybody may.
        @raise LeaseLost: It belongs to someone else by now.
        """

    def forget(self, lease: Lease) -> None:
        """The lease is over, whether or not it was given back."""


class Slots(Protocol[Task, Found]):
    """What a worker tells those who wait for its slot."""

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""

    @property
    def is_sure(self) -> bool:
        """Whether no lease can have run out by now."""

    def slowed(self, worker: Worker[Task, Found]) -> None:
        """Its attempt has begun to crawl."""

    def recovered(self, worker: Worker[Task, Found]) -> None:
        """Its destination is in good health."""

    def waits(self, worker: Worker[Task, Found], *, aside: bool) -> None:
        """Whether its attempt waits for a word."""


class _End(enum.Enum):
    """Why an attempt was cancelled."""

    CUT = enum.auto()
    TOO_LONG = enum.auto()
    ABANDONED = enum.auto()


#: What an attempt that was cancelled counts as.
_INTERRUPTED: Final[Mapping[_End | None, str]] = {_End.CUT: _CUT, _End.TOO_LONG: _TOO_LONG}


class _Unrecorded(Exception):
    """What came of an attempt could not be recorded."""


class Worker(Generic[Task, Found]):
    """
    Works on one destination.

    @ivar productive: It had something to do.
    @ivar crawling: The attempt under way has taken too long.
    @ivar stopping: It ends after the task at hand.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        leases: ILeases,
        work: Work[Task, Found],
        slots: Slots[Task, Found],
        lease: Lease,
    ) -> None:
        self.lease = lease
        self.productive = False
        self.crawling = False
        self.stopping = False
        self._clock = clock
        self._leases = leases
        self._work = work
        self._slots = slots
        self._troubled = lease.troubled
        #: Results on their way to the store, oldest first.
        self._settling: deque[Deferred[None]] = deque()
        self._end: _End | None = None
        self._attempt: Deferred[Found] | None = None
        self._timer: IDelayedCall
        self._looks = 0
        self._is_aside = False
        self._began = clock.seconds()

    def cut(self) -> None:
        """End the attempt under way, if there is one; it has failed."""
        if self._attempt is not None:
            self._interrupt(_End.CUT)

    @property
    def is_settling(self) -> bool:
        """Whether something is known that is not recorded yet."""
        return bool(self._settling)

    def abandon(self) -> None:
        """
        End the attempt under way, of which only what is known by now is recorded, and
        begin no other one.
        """
        self._interrupt(_End.ABANDONED)

    async def run(self) -> None:
        """Until nothing is due; whatever goes wrong ends here."""
        kind, name = self.lease.kind, self.lease.name
        try:
            await self._tasks()
            until = await self._work.leave(self.lease)
            await self._leases.release(self.lease, troubled=self._troubled, rests_until=until)
        except CancelledError:
            self._log.info("left {kind} to {name} unfinished", kind=kind, name=name)
        except LeaseLost:
            self._log.warn("lost the lease of {kind} to {name}", kind=kind, name=name)
        except _Unrecorded:
            self._log.error("gave up recording a result of {kind} to {name}", kind=kind, name=name)
        except (InsufficientStorage, StorageUnavailable) as error:
            self._log.warn(
                "{kind} to {name} has to wait: {error}", kind=kind, name=name, error=error
            )
        except Exception:  # noqa: BLE001 - the lease runs out by itself and is claimed again
            self._log.failure("error while working on {kind} to {name}", kind=kind, name=name)
        finally:
            for settling in tuple(self._settling):
                # Nobody waits for it any more.
                _ = settling.addErrback(lambda _: None)
                settling.cancel()
            self._work.forget(self.lease)

    async def _tasks(self) -> None:
        try:
            await self._until_nothing_is_due()
        except CancelledError:
            if self._end is _End.ABANDONED:
                await self._settled(0)
            raise
        except Exception:
            # What is on its way to the store was delivered, and must not be forgotten.
            await self._settled(0)
            raise
        await self._settled(0)

    async def _until_nothing_is_due(self) -> None:
        # What was taken ahead may be another's by now, if we are not sure.
        while not self.stopping and self._slots.is_sure:
            task = await self._next()
            if task is None:
                break
            self.productive = True
            found = await self._attempted(task)
            crawled, self.crawling = self.crawling, False
            abandoned = self._end is _End.ABANDONED
            self._troubled = self._work.is_trouble(found) or crawled
            self._settling.append(Deferred.fromCoroutine(self._settle(task, found)))
            if abandoned:
                # The lease is kept: what was left undone is repeated after its end.
                raise CancelledError
            if self._troubled or self._turn_is_over():
                break
            await self._settled(self._work.most_unrecorded)
            self._slots.recovered(self)

    async def _next(self) -> Task | None:
        """
        The next task.  Where there was one, another may follow in a moment; to wait
        for it costs less than to give the destination back and to claim it again.  One
        who waits is enough: who came for a backlog leaves when there is none.
        """
        task = await self._work.take(self.lease)
        lingers = self.productive and self._work.linger and not self.lease.slot
        if task is None and lingers and not self._slots.is_full:
            await deferLater(self._clock, self._work.linger)
            if not self.stopping:
                task = await self._work.take(self.lease)
        if task is not None and self._end is _End.ABANDONED:
            # It is under way to everybody else, and repeated as all of that is.
            raise CancelledError
        return task

    async def _attempted(self, task: Task) -> Found:
        self._looks = 0
        self._timer = self._clock.callLater(PATIENCE, self._look, task)
        self._attempt = Deferred.fromCoroutine(self._begin(task))
        try:
            found = await self._attempt
            error = _INTERRUPTED.get(self._end)
            return self._work.unfinished(task, error, found) if error else found
        except CancelledError:
            if self._end is _End.ABANDONED:
                raise
            return self._work.unfinished(task, _INTERRUPTED.get(self._end, _BROKEN))
        except Exception:  # noqa: BLE001 - a bug in an attempt is a failure like another
            self._log.failure("error in an attempt for {name}", name=self.lease.name)
            return self._work.unfinished(task, _BROKEN)
        finally:
            self._attempt = None
            self._timer.cancel()
            self._waits(aside=False)

    async def _begin(self, task: Task) -> Found:
        return await self._work.attempt(task)

    async def _settled(self, most: int) -> None:
        """Wait until no more than C{most} results are unrecorded."""
        while self._settling and (self._settling[0].called or len(self._settling) > most):
            settling = self._settling[0]
            try:
                await settling
            finally:
                _ = self._settling.popleft()

    async def _settle(self, task: Task, found: Found) -> None:
        for delay in _SETTLE_AGAIN:
            try:
                await self._work.settle(self.lease, task, found)
            except (CancelledError, LeaseLost):
                raise
            except (InsufficientStorage, StorageUnavailable) as error:
                self._log.warn("cannot record a result yet: {error}", error=error)
            except Exception:  # noqa: BLE001 - what was delivered must not be forgotten
                self._log.failure("cannot record a result for {name}", name=self.lease.name)
            else:
                return
            await deferLater(self._clock, delay)
        raise _Unrecorded

    def _interrupt(self, end: _End) -> None:
        self._end = end
        if self._attempt is not None:
            self._attempt.cancel()

    def _look(self, task: Task) -> None:
        """How the attempt is getting on."""
        self._timer = self._clock.callLater(PATIENCE, self._look, task)
        # Counted, since the clock may be set.
        self._looks += 1
        taken = self._looks * PATIENCE
        if taken >= LONGEST and self._end is None:
            self._interrupt(_End.TOO_LONG)
            return
        if taken >= CRAWLING and not self.crawling:
            self.crawling = True
            self._slots.slowed(self)
        # Whoever heard that may have cut it.
        if self._attempt is not None:
            self._waits(aside=self._work.is_waiting(task, PATIENCE))

    def _waits(self, *, aside: bool) -> None:
        if aside is not self._is_aside:
            self._is_aside = aside
            self._slots.waits(self, aside=aside)

    def _turn_is_over(self) -> bool:
        return self._slots.is_full and self._clock.seconds() - self._began >= _TURN
