"""
What the queue's runner does for mail: take a batch that is due, attempt to
deliver it, settle what became of each recipient.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.interfaces import (
    INBOX,
    IAccounts,
    IMetrics,
    StorageUnavailable,
)
from moxsmtp.names import Domain
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.queue.fate import (
    Circumstances,
    in_trouble,
    outcome_of,
    postmaster_mailbox,
    unsigned,
)
from moxsmtp.queue.job import (
    Attempt,
    Batch,
    Delivered,
    Failed,
    Job,
    Lease,
    Outcome,
    Retry,
    Settlement,
)
from moxsmtp.queue.notification import MAXIMUM_TOGETHER, bounces, returns_all
from moxsmtp.queue.schedule import Randint, next_attempt
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.settle import SUPPRESSED, asks_history, settle, settle_silently
from moxsmtp.queue.shaping import Shaper
from moxsmtp.queue.storage import IJobStore
from moxsmtp.queue.supply import Supply

__all__ = ["MailWork"]

#: Octets of a header section that are sent back in a DSN.
_HEADER: Final = 256 * 1024

_PIECE: Final = 16 * 1024

#: In the trace of an attempt that was none (Q-30).
_LISTED: Final = "the account's suppression list names the recipient: nobody is connected to"


class MailWork:
    """Queued mail as work for a runner."""

    #: So many results are recorded behind the next attempts: a connection does
    #: not wait for the disk.
    most_unrecorded = 4

    #: Mail to one domain comes in bursts; not so long that anybody notices.
    linger = 0.05

    _log = Logger()

    def __init__(  # noqa: PLR0913 - ports and values that have nothing in common
        self,
        clock: IReactorTime,
        store: IJobStore,
        deliver: Callable[[Batch], Awaitable[Attempt]],
        accounts: IAccounts,
        *,
        settings: QueueSettings,
        hostname: Domain,
        randint: Randint,
        unique: Callable[[], str],
        sign: Callable[[bytes], bytes] = unsigned,
        metrics: IMetrics | None = None,
        detained: Callable[[Job], Unreachable | None] = lambda _: None,
        shaper: Shaper | None = None,
        steady: IReactorTime | None = None,
        is_waiting: Callable[[Batch, float], bool] = lambda *_: False,
        is_shared: bool = False,
    ) -> None:
        """
        @param deliver: Tries once, and says what each job of the batch met; if
            it is cancelled, what is known of some.
        @param hostname: Who reports in DSNs.
        @param unique: Unguessable letters and digits, different in each call.
        @param sign: The DKIM-Signature fields for a whole message from the
            postmaster at C{hostname}; empty: it leaves unsigned.
        @param metrics: Counts reports of ours that fail; L{None}: nobody does.
        @param detained: Why a job's sender may send nothing at present (Q-14).
        @param shaper: How hard a destination may be worked (Q-93).
        @param steady: For how long things last, the one by which others ask C{shaper};
            nobody sets it; L{None}: C{clock}.
        @param is_waiting: Whether what delivers a batch has not heard a word for so
            many seconds.
        @param is_shared: Other processes work on the store, and do not tell us what
            is changed there.
        """
        self._clock = clock
        self._store = store
        self._deliver = deliver
        self._accounts = accounts
        self._settings = settings
        self._hostname = hostname
        self._randint = randint
        self._unique = unique
        self._sign = sign
        self._metrics = metrics
        self._detained = detained
        self._shaper = shaper or Shaper()
        self._steady = steady or clock
        self._is_waiting = is_waiting
        self._is_shared = is_shared
        self._supplies: dict[Lease, Supply] = {}

    async def take(self, lease: Lease) -> Batch | None:
        """
        What is due, unless the destination has to wait; counts and next times are
        saved first (Q-10).
        """
        if self._shaper.wait(lease.name, self._steady.seconds()):
            return None
        supply = self._supplies.setdefault(lease, Supply())
        if self._is_shared:
            await self._look_again(supply)
        batch = supply.next()
        if batch is not None:
            return Batch(batch.jobs, self._now(), batch.body)
        if supply.is_emptied():
            return None
        now, seen = self._now(), self._steady.seconds()
        supply.fill(
            await self._store.take_several(
                lease,
                now,
                lambda attempts: next_attempt(now, attempts, self._settings, self._randint),
                count=supply.size,
                slots=self._shaper.connections(lease.name),
            ),
            seen,
        )
        supply.went_well()
        return supply.next()

    async def _look_again(self, supply: Supply) -> None:
        """What waits here somebody may have changed at another process (Q-23)."""
        now = self._steady.seconds()
        jobs = supply.stale(now)
        if jobs:
            supply.seen(await self._store.changed(jobs), now)

    async def leave(self, lease: Lease) -> datetime | None:
        """What was taken ahead goes back; and when there is room again (Q-93)."""
        now = self._now()
        supply = self._supplies.pop(lease, None)
        left = () if supply is None else supply.leftover()
        wait = self._shaper.wait(lease.name, self._steady.seconds())
        until = now + timedelta(seconds=wait)
        if left:
            await self._store.put_back(lease, left, until)
        return until if wait else None

    def forget(self, lease: Lease) -> None:
        """What was taken ahead stays under way until the lease has run out."""
        self._supplies.pop(lease, None)

    def withdraw(self, numbers: Set[int]) -> None:
        """
        These jobs are not what they were, or are gone (Q-23): none that was taken
        ahead is begun before it has been back in the store.
        """
        for supply in self._supplies.values():
            supply.withdraw(numbers)

    async def attempt(self, task: Batch) -> Attempt:
        """Try, as one of those under way at the destination."""
        name = task.leader.destination.ascii
        self._shaper.begin(name, self._steady.seconds())
        try:
            return await self._attempt(task)
        finally:
            self._shaper.end(name)

    async def _attempt(self, task: Batch) -> Attempt:
        """
        Try to deliver.  Cancelled, it tells the fates that are known, if any.
        What may not leave fails before all else.  Who is on the account's
        suppression list fails at once, each by himself (Q-14, Q-17, Q-30).
        """
        detained = self._detained(task.leader)
        if detained is not None:
            failed = Failed(permanent=False, error=detained.error, status=detained.status)
            return Attempt(dict.fromkeys((job.id for job in task.jobs), failed))
        suppressed = _suppressed(task)
        if not suppressed:
            return await self._deliver(task)
        if len(suppressed) == len(task.jobs):
            return Attempt(suppressed, trace=(_LISTED,))
        wanted = tuple(job for job in task.jobs if job.id not in suppressed)
        found = await self._deliver(replace(task, jobs=wanted))
        return replace(found, outcomes={**found.outcomes, **suppressed})

    def is_waiting(self, task: Batch, seconds: float) -> bool:
        """Whether it waits for a name server or for a server's word."""
        return self._is_waiting(task, seconds)

    def unfinished(self, task: Batch, error: str, known: Attempt | None = None) -> Attempt:
        """An attempt that was cut or broke down: a transient failure for all the rest."""
        known = known or Attempt({})
        fates = {**known.outcomes, **_suppressed(task)}
        failed = Failed(permanent=False, error=error)
        return replace(known, outcomes={job.id: fates.get(job.id, failed) for job in task.jobs})

    async def settle(self, lease: Lease, task: Batch, found: Attempt) -> None:
        """
        Record what became of each job that C{found} knows of, in one
        transaction; the others stay under way.
        """
        now = self._now()
        jobs = [job for job in task.jobs if job.id in found.outcomes]
        told = [job for job in jobs if bounces(job, outcome_of(job, found), self._settings)]
        header = await self._returned(task.leader, told, found) if told else b""
        settlements = []
        for job in jobs:
            failed_before = False
            if asks_history(job, outcome_of(job, found), self._settings):
                failed_before = await self._store.failed_before(job)
            around = self._circumstances(
                job, task.started, now, header, failed_before=failed_before, is_told=bool(told)
            )
            settlements.append(self._settlement(job, found, around))
        await self._store.settle(lease, settlements)
        if found.rests_until is not None:
            left = tuple(job for job in task.jobs if job.id not in found.outcomes)
            await self._store.put_back(lease, [replace(task, jobs=left)], found.rests_until)
        for settlement in settlements:
            self._report(settlement)

    def is_trouble(self, found: Attempt) -> bool:
        """Somebody was put off, and nobody served."""
        return in_trouble(found)

    def _circumstances(
        self,
        job: Job,
        started: datetime,
        now: datetime,
        header: bytes,
        *,
        failed_before: bool,
        is_told: bool,
    ) -> Circumstances:
        """@param is_told: There may be a DSN: what only those need is there."""
        return Circumstances(
            hostname=self._hostname,
            settings=self._settings,
            started=started,
            now=now,
            account=self._accounts.account(job.account) if job.account else None,
            postmaster=self._accounts.postmaster(),
            postmaster_mailbox=postmaster_mailbox(self._accounts) if is_told else INBOX,
            header=header,
            failed_before=failed_before,
            unique=self._unique() if is_told else "",
            sign=self._sign,
        )

    def _settlement(self, job: Job, attempt: Attempt, around: Circumstances) -> Settlement:
        try:
            return settle(job, attempt, around)
        except Exception:  # noqa: BLE001 - what cannot be told must still be recorded
            self._log.failure("cannot compose DSN or webhook of job {job}", job=job.id)
            return settle_silently(job, attempt, around)

    async def _returned(self, leader: Job, told: Sequence[Job], found: Attempt) -> bytes:
        """What reports on these jobs bring back."""
        failed = any(not isinstance(outcome_of(job, found), Delivered) for job in told)
        is_small = len(told) * told[0].size <= MAXIMUM_TOGETHER
        return await self._original(leader, whole=failed and is_small and returns_all(told[0]))

    async def _original(self, job: Job, *, whole: bool) -> bytes:
        """
        The header section that was sent, or as much of it as can be had.

        @param whole: All of the message is to be sent back.
        """
        content = self._store.content(job)
        header = job.prefix
        most = job.size if whole else _HEADER
        try:
            while len(header) < most and (whole or b"\r\n\r\n" not in header[-_PIECE - 3 :]):
                piece = await content.read(len(header) - len(job.prefix), _PIECE)
                if not piece:
                    break
                header += piece
        except (CancelledError, StorageUnavailable):
            raise
        except Exception:  # noqa: BLE001 - a DSN without the header is better than none
            # Who has ended a job meanwhile has let go of its content: all this is for nothing.
            if not await self._store.changed([job]):
                self._log.failure("cannot read the content of job {job}", job=job.id)
        return header[:most]

    def _report(self, settlement: Settlement) -> None:
        job, result = settlement.job, settlement.result
        if isinstance(settlement.fate, Retry):
            word, until = "delayed", f", next attempt {settlement.fate.next_attempt:%H:%M:%S}"
        else:
            word, until = settlement.fate.event.value, ""
            if self._metrics is not None and job.report == "dmarc" and not result.success:
                self._metrics.count("mox_queue_dmarcreport_failure_total")
        self._log.info(
            "{word} {recipient}, job {job}, attempt {attempt}: {code} {error}{until}",
            word=word,
            recipient=job.forward_path.unicode,
            job=job.id,
            attempt=job.attempts,
            code=result.code,
            error=result.error or "ok",
            until=until,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)


def _suppressed(task: Batch) -> dict[int, Outcome]:
    """What those of a batch meet who are on the suppression list."""
    return {job.id: SUPPRESSED for job in task.jobs if job.suppressed}
