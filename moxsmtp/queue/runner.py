"""
Works on what is due, destination by destination; shared by mail and webhooks.

A runner B{claims} destinations that have due work, as many as it has free
slots, and gives each a worker: take a task, attempt it, settle what came of
it, until nothing is due there, nor a moment later; then the destination is given back.
L{moxsmtp.queue.occupancy} says who holds the slots.

B{Fairness.}  While all slots are taken, a worker gives its destination back
after some seconds, so that nobody waits for the end of a large backlog.

B{Errors.}  After an error of the database nothing is claimed for a minute
(Q-9).  Results are kept and settled again, since a delivery that was forgotten
is a delivery repeated; only after a quarter of an hour, or when the lease is
lost, are they dropped with a line in the log.

B{Stopping.}  Nothing new is begun; attempts under way get a time of grace and
are then cancelled.  What is known of those by then is settled, for which there
are a few seconds more; nothing else is, and their destinations are not given
back: the rest of the task stays in flight, and the next start (or another node, once the
lease has run out) repeats it, once and not counted, as after a crash (Q-10).
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.queue.job import Lease
from moxsmtp.queue.occupancy import Occupancy
from moxsmtp.queue.storage import ILeases
from moxsmtp.queue.worker import Work, Worker

__all__ = ["Runner"]

Task = TypeVar("Task")
Found = TypeVar("Found")

#: How long a lease lasts without renewal; it is renewed three times as often.
_LEASE: Final = timedelta(seconds=30)

#: Seconds without claiming after the database failed (Q-9).
_AFTER_ERROR: Final = 60.0

#: Seconds to record what was known of attempts when they were cut short.
_LAST: Final = 5.0

#: Between two rounds however often we are woken.
_GAP: Final = 0.02

#: Before work is asked for again that seemed due and was not to be had.
_UNAVAILABLE: Final = 1.0


class Runner(Service, Generic[Task, Found]):
    """Runs due work while the service runs."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        leases: ILeases,
        work: Work[Task, Found],
        *,
        limit: int,
        poll: timedelta = timedelta(seconds=5),
        grace: timedelta = timedelta(seconds=20),
        sole: bool = False,
        steady: IReactorTime | None = None,
    ) -> None:
        """
        @param limit: Attempts under way at once.
        @param poll: How often to look for work that nobody woke us for.
        @param grace: What attempts under way get when the service stops.
        @param sole: No other process works on this store, so leases found at
            the start are those of the dead.
        @param steady: A clock that nobody sets; L{None}: there is none.
        """
        self._clock = clock
        #: Each of them tells of what the other one does not: that the clock was set back
        #: while no renewal was to be had, or that the machine slept.
        self._clocks = (clock,) if steady is None else (clock, steady)
        self._leases = leases
        self._work = work
        self._poll = poll.total_seconds()
        self._grace = grace.total_seconds()
        self._void_first = sole
        self._stopping = False
        self._workers: dict[Worker[Task, Found], Deferred[None] | None] = {}
        self._occupancy: Occupancy[Worker[Task, Found]] = Occupancy(limit)
        #: Claimed for slots that are being cleared.
        self._waiting: deque[Lease] = deque()
        #: Whoever is begun or cut may end at once, and must not begin the next one in turn.
        self._filling = False
        self._rounds: Deferred[None] | None = None
        self._renewal = LoopingCall(self._renew)
        self._renewal.clock = clock
        #: When leases were last renewed, all of them.
        self._renewed = self._moments()
        self._woken = False
        self._sleep: Deferred[None] | None = None
        self._wakeable = False
        self._reminder: IDelayedCall | None = None

    # -- service ----------------------------------------------------------------

    def startService(self) -> None:
        """Begin to work."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        self._stopping = False
        self._renewed = self._moments()
        _ = self._renewal.start(_LEASE.total_seconds() / 3, now=False)
        self._rounds = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """@return: Fires when the last attempt has ended, within the time of grace."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        return Deferred.fromCoroutine(self._stop())

    def wake(self) -> None:
        """Something may be due.  Cheap, and may be called as often as one likes."""
        self._woken = True
        if self._wakeable:
            self._end_sleep()

    # -- rounds -------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            try:
                if self._void_first:
                    await self._void()
                pause = await self._round()
            except CancelledError:
                return
            except (InsufficientStorage, StorageUnavailable) as error:
                self._log.warn("cannot claim work: {error}", error=error)
                await self._sleeping(_AFTER_ERROR)
            except Exception:  # noqa: BLE001 - whatever it is, the next round may go well
                self._log.failure("cannot claim work")
                await self._sleeping(_AFTER_ERROR)
            else:
                await self._rest(pause)
        await self._give_back()

    async def _give_back(self) -> None:
        """Leases that never got a slot."""
        try:
            while self._waiting:
                await self._leases.release(self._waiting.popleft(), troubled=False)
        except CancelledError:
            return
        except (InsufficientStorage, StorageUnavailable):
            return  # they run out by themselves
        except Exception:  # noqa: BLE001 - they run out by themselves
            self._log.failure("cannot give leases back")

    async def _void(self) -> None:
        count = await self._leases.void()
        self._void_first = False
        if count:
            self._log.info("repeating {count} attempts that were cut short", count=count)

    async def _round(self) -> float:
        """
        Claim what there are slots for.

        @return: Seconds until the next round, unless we are woken.
        """
        if not self.is_sure:
            # After a day's sleep, what is ours would look like what the dead left.
            await self._renew()
            if not self.is_sure:
                return self._poll
        self._fill()
        occupancy = self._occupancy
        room = occupancy.room_for_trouble
        # Where fewer were found than there was room for, none are left.
        found = await self._claim(room, troubled=True) if room > 0 else room
        wanted = max(0, occupancy.room) + len(occupancy.on_loan())
        if wanted > 0 and found == room:
            await self._claim(wanted, troubled=False)
        if occupancy.is_full and not occupancy.on_loan():
            return self._poll
        due = await self._leases.next_due()
        if due is None:
            return self._poll
        return min(self._poll, max(_UNAVAILABLE, (due - self._now()).total_seconds()))

    async def _claim(self, count: int, *, troubled: bool) -> int:
        """@return: How many there were."""
        now = self._now()
        claimed = await self._leases.claim(count, now, now + _LEASE, troubled=troubled)
        self._waiting += claimed
        self._fill()
        return len(claimed)

    def _fill(self) -> None:
        """Begin at what was claimed, and cut for each that there is no slot for yet."""
        if self._filling or self._stopping or not self._waiting:
            return
        self._filling = True
        try:
            self._begin_and_cut()
        finally:
            self._filling = False

    def _begin_and_cut(self) -> None:
        occupancy = self._occupancy
        on_loan = list(occupancy.on_loan())
        while self._waiting:
            if not occupancy.is_full:
                self._start(self._waiting.popleft())
            elif on_loan and occupancy.leaving < len(self._waiting):
                worker = on_loan.pop()
                occupancy.dismiss(worker)
                worker.cut()
            else:
                break

    async def _rest(self, seconds: float) -> None:
        began = self._clock.seconds()
        if not self._woken:
            await self._sleeping(seconds, wakeable=True)
        # The clock may have been set back meanwhile.
        gap = min(began + _GAP - self._clock.seconds(), _GAP)
        if gap > 0:
            await self._sleeping(gap)
        self._woken = False

    async def _sleeping(self, seconds: float, *, wakeable: bool = False) -> None:
        if self._stopping:
            return
        self._sleep, self._wakeable = Deferred(), wakeable
        call = self._clock.callLater(seconds, self._end_sleep)
        try:
            await self._sleep
        finally:
            if call.active():
                call.cancel()

    def _end_sleep(self) -> None:
        sleep, self._sleep, self._wakeable = self._sleep, None, False
        if sleep is not None:
            sleep.callback(None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)

    # -- slots ----------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether nobody else may begin."""
        return self._occupancy.is_full

    @property
    def is_sure(self) -> bool:
        """
        Whether no lease can have run out: not where this process was stopped for
        a while, or its clock was set.
        """
        passed = zip(self._moments(), self._renewed, strict=True)
        return all(0 <= now - then < _LEASE.total_seconds() for now, then in passed)

    def _moments(self) -> tuple[float, ...]:
        """What each clock says."""
        return tuple([clock.seconds() for clock in self._clocks])

    def slowed(self, worker: Worker[Task, Found]) -> None:
        """A worker's attempt has begun to crawl."""
        self._occupancy.slowed(worker)
        if self.is_full:
            self.wake()

    def recovered(self, worker: Worker[Task, Found]) -> None:
        """A worker's destination is in good health."""
        self._occupancy.recovered(worker)

    def waits(self, worker: Worker[Task, Found], *, aside: bool) -> None:
        """Whether a worker's attempt waits for a word."""
        if not aside:
            self._occupancy.step_back(worker)
            return
        was_full = self.is_full
        self._occupancy.step_aside(worker)
        if was_full:
            self.wake()

    def _start(self, lease: Lease) -> None:
        worker = Worker(self._clock, self._leases, self._work, self, lease)
        self._workers[worker] = None
        self._occupancy.begin(worker, troubled=lease.troubled)
        done = Deferred.fromCoroutine(worker.run())
        self._workers[worker] = done
        _ = done.addCallback(lambda _: self._ended(worker))

    def _ended(self, worker: Worker[Task, Found]) -> None:
        del self._workers[worker]
        self._occupancy.end(worker)
        if self._stopping:
            return
        self._fill()
        if worker.productive:
            self.wake()
        elif self._reminder is None:
            # Nothing was to be had: at once, the answer would be the same.
            self._reminder = self._clock.callLater(_UNAVAILABLE, self._remind)

    def _remind(self) -> None:
        self._reminder = None
        self.wake()

    # -- leases ---------------------------------------------------------------------

    async def _renew(self) -> None:
        workers = list(self._workers)
        leases = [worker.lease for worker in workers] + list(self._waiting)
        now = self._moments()
        if not leases:
            self._renewed = now
            return
        try:
            kept = await self._leases.renew(leases, self._now() + _LEASE)
        except CancelledError:
            return
        except (InsufficientStorage, StorageUnavailable) as error:
            self._log.warn("cannot renew leases: {error}", error=error)
            return
        except Exception:  # noqa: BLE001 - every write states the fence, so nothing is at risk
            self._log.failure("cannot renew leases")
            return
        ours = {(lease.name, lease.slot, lease.fence) for lease in kept}
        for worker in workers:
            lease = worker.lease
            if (lease.name, lease.slot, lease.fence) not in ours:
                worker.abandon()
        self._renewed = now

    # -- stopping -------------------------------------------------------------------

    async def _stop(self) -> None:
        self._stopping = True
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None
        for worker in self._workers:
            worker.stopping = True
        self._end_sleep()
        under_way = [d for d in (self._rounds, *self._workers.values()) if d is not None]
        ended: Deferred[None] = Deferred()
        _ = DeferredList(under_way).addCallback(lambda _: self._all_ended(ended))
        limits = [
            self._clock.callLater(self._grace, self._cut_short, ended),
            self._clock.callLater(self._grace + _LAST, self._all_ended, ended),
        ]
        await ended
        for limit in limits:
            if limit.active():
                limit.cancel()
        for done in list(self._workers.values()):
            if done is not None:
                done.cancel()
        if self._renewal.running:
            self._renewal.stop()

    def _cut_short(self, ended: Deferred[None]) -> None:
        """End at once, save where something is known that is to be recorded (Q-1)."""
        if self._workers:
            self._log.info("cutting {count} attempts short", count=len(self._workers))
        settling = []
        for worker, done in list(self._workers.items()):
            worker.abandon()
            if done is None:
                continue
            if worker.is_settling:
                settling.append(done)
            else:
                done.cancel()
        if self._rounds is not None:
            self._rounds.cancel()
        _ = DeferredList(settling).addCallback(lambda _: self._all_ended(ended))

    def _all_ended(self, ended: Deferred[None]) -> None:
        if not ended.called:
            ended.callback(None)
