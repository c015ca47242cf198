"""
The queue of mail.  Q-2 to Q-10, Q-15, Q-16.

Statements here are those of a job's way: added, taken, settled.  What
administrators ask is in L{moxsmtp.store.queue_admin}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from zope.interface import implementer

from moxsmtp.interfaces import Allowance, IContent, IQueue, NewJob, Spooled
from moxsmtp.queue.job import Batch, FromIdInUse, Job, Lease, LeaseLost, Settlement
from moxsmtp.queue.storage import IJobStore
from moxsmtp.smtp.address import Path
from moxsmtp.store.alike import Alike
from moxsmtp.store.clock import Clock, database_clock, moved
from moxsmtp.store.columns import write_path, write_time
from moxsmtp.store.content import StoredContent
from moxsmtp.store.crew import Done, Outcome, Raised
from moxsmtp.store.database import Database
from moxsmtp.store.due import add_due
from moxsmtp.store.job_rows import JOBS, has_failed, job_destination
from moxsmtp.store.leases import Leases, hold_fence
from moxsmtp.store.queueing import (
    check_from_ids,
    check_quota,
    first_due,
    insert_all,
)
from moxsmtp.store.schema import retired_job
from moxsmtp.store.sending import use_up, within
from moxsmtp.store.settling import apply, hooked, told
from moxsmtp.store.spool import Contents
from moxsmtp.store.taking import Taken, changed_since, put_back, take_due
from moxsmtp.store.transaction import Transaction

__all__ = ["JobStore", "has_failed_before"]

_TWO: Final = 2
_LAST_TWO: Final = (
    select(retired_job.c.success, retired_job.c.event, retired_job.c.results)
    .where(
        retired_job.c.account == bindparam("account"),
        retired_job.c.rcpt_to == bindparam("rcpt_to"),
        retired_job.c.id != bindparam("id"),
    )
    .order_by(retired_job.c.last_activity.desc(), retired_job.c.id.desc())
    .limit(_TWO)
)


@dataclass(frozen=True, slots=True)
class _Results:
    """
    What became of the jobs of a lease.

    @ivar keep: How long the history of webhooks stays, by account.
    """

    lease: Lease
    settlements: Sequence[Settlement]
    now: datetime
    keep: Mapping[str, timedelta]


@implementer(IJobStore, IQueue)
class JobStore(Leases):
    """L{IJobStore} and L{IQueue} over the tables."""

    def __init__(
        self,
        database: Database,
        contents: Contents,
        *,
        owner: str,
        now: Callable[[], datetime],
        wake: Callable[[], None],
        stored: Callable[[frozenset[str]], None],
        keep_hooks: Callable[[str], timedelta],
        clock: Clock = database_clock,
    ) -> None:
        """
        @param wake: Called after jobs were added (Q-3).
        @param stored: Called after the commit with accounts that got a bounce
            or a webhook call.
        @param keep_hooks: How long an account's history of webhooks stays.
        """
        super().__init__(database, JOBS, owner=owner, now=now, clock=clock)
        self._contents = contents
        self._wake = wake
        self._stored = stored
        self._keep_hooks = keep_hooks

    async def add(
        self, spooled: Spooled, jobs: Sequence[NewJob], allowance: Allowance | None = None
    ) -> Sequence[int]:
        """See L{IQueue.add}."""
        if not jobs:
            raise ValueError("no jobs")
        for new in jobs:
            job_destination(new)
        now = self._now()
        taken = self._contents.custody(spooled)

        def work(tx: Transaction) -> Sequence[int]:
            moment = self._clock(tx, now)
            if allowance is not None:
                use_up(tx, allowance, [new.forward_path for new in jobs], moment)
                check_quota(tx, allowance, len(jobs))
            check_from_ids(tx, jobs)
            numbers = insert_all(tx, spooled, jobs, moment)
            for name, due in sorted(first_due(jobs, moment).items()):
                add_due(tx, JOBS.kind, name, due, moment)
            return numbers

        def settled(committed: bool) -> None:
            taken(committed)
            if committed:
                self._wake()

        try:
            return await self._database.transact(work, settled=settled)
        except IntegrityError as error:
            # Two nodes added the same from-id at once; the index let one pass.
            if "from_id" in str(error.orig):
                raise FromIdInUse("a from-id is in use") from error
            raise

    async def check(self, allowance: Allowance, recipients: Sequence[Path]) -> None:
        """See L{IQueue.check}."""
        now = self._now()

        def work(tx: Transaction) -> None:
            check_quota(tx, allowance, len(recipients))
            within(tx, allowance, recipients, self._clock(tx, now))

        await self._database.read(work)

    async def take(
        self, lease: Lease, now: datetime, next_attempt: Callable[[int], datetime]
    ) -> Batch | None:
        """See L{IJobStore.take}."""
        batches = await self.take_several(lease, now, next_attempt, count=1, slots=1)
        return batches[0] if batches else None

    async def take_several(
        self,
        lease: Lease,
        now: datetime,
        next_attempt: Callable[[int], datetime],
        *,
        count: int,
        slots: int,
    ) -> Sequence[Batch]:
        """See L{IJobStore.take_several}."""

        def work(tx: Transaction) -> tuple[Sequence[Taken], bool, int]:
            hold_fence(tx, self.owner, lease)
            moment = self._clock(tx, now)

            def following(attempts: int) -> int:
                return moved(next_attempt(attempts), now, moment)

            taken, is_opened = take_due(tx, lease, moment, following, count=count, slots=slots)
            return taken, is_opened, moment

        taken, is_opened, moment = await self._database.transact(work)
        if is_opened:
            self._wake()
        return [each.batch(moment, now) for each in taken]

    async def put_back(self, lease: Lease, batches: Sequence[Batch], until: datetime) -> None:
        """See L{IJobStore.put_back}."""
        now = self._now()

        def work(tx: Transaction) -> None:
            hold_fence(tx, self.owner, lease)
            jobs = [each for batch in batches for each in batch.jobs]
            moment = self._clock(tx, now)
            put_back(tx, lease, jobs, moved(until, now, moment), moment)

        await self._database.transact(work)

    async def changed(self, jobs: Sequence[Job]) -> frozenset[int]:
        """See L{IJobStore.changed}."""
        return await self._database.read(lambda tx: changed_since(tx, jobs))

    async def settle(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """
        See L{IJobStore.settle}.  A job that an administrator dropped while its
        attempt was under way is past settling: nothing is done for it.
        """
        to_tell = told(settlements)
        has_reports = any(each.report is not None for each in settlements)

        def settled(committed: bool) -> None:
            if committed and to_tell:
                self._stored(to_tell)
            if committed and has_reports:
                self._wake()

        results = _Results(
            lease,
            settlements,
            now=self._now(),
            keep={account: self._keep_hooks(account) for account in hooked(settlements)},
        )
        await self._database.transact(Alike(self._settle, results), settled=settled)

    def _settle(self, tx: Transaction, several: Sequence[_Results]) -> Sequence[Outcome]:
        """What leases that are ours have is written."""
        lost = {}
        for lease in dict.fromkeys(each.lease for each in several):
            try:
                hold_fence(tx, self.owner, lease)
            except LeaseLost as error:
                lost[lease] = Raised(error)
        held = [each for each in several if each.lease not in lost]
        if held:
            now = max(each.now for each in held)
            settlements = [one for each in held for one in each.settlements]
            has_reports = any(one.report is not None for one in settlements)
            apply(
                tx,
                settlements,
                now=write_time(now),
                due=self._clock(tx, now) if has_reports else write_time(now),
                keep={account: keep for each in held for account, keep in each.keep.items()},
            )
        return [lost.get(each.lease, Done(None)) for each in several]

    async def failed_before(self, job: Job) -> bool:
        """
        See L{IJobStore.failed_before}.  What an administrator ended or the
        list itself says nothing of the recipient.
        """
        return await self._database.read(lambda tx: has_failed_before(tx, job))

    def content(self, job: Job) -> IContent:
        """See L{IJobStore.content}."""
        return StoredContent(self._database, job.content, job.size - len(job.prefix))

    def alternative(self, job: Job) -> IContent | None:
        """See L{IJobStore.alternative}."""
        if job.alternative is None:
            return None
        return StoredContent(self._database, job.alternative, job.alternative_size)


def has_failed_before(tx: Transaction, job: Job) -> bool:
    """See L{IJobStore.failed_before}."""
    parameters = {
        "account": job.account,
        "rcpt_to": write_path(job.forward_path),
        "id": job.id,
    }
    rows = tx.execute(_LAST_TWO, parameters)
    return len(rows) == _TWO and all(has_failed(row) for row in rows)
