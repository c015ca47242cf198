"""
The queue of mail.  Q-2 to Q-10, Q-15, Q-16.

Statements here are those of a job's way: added, taken, settled.  What
administrators ask is in L{moxsmtp.store.queue_admin}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.exc import IntegrityError
from zope.interface import implementer

from moxsmtp.interfaces import Allowance, IContent, IQueue, NewJob, Spooled
from moxsmtp.names import IPAddress
from moxsmtp.queue.job import Batch, FromIdInUse, Job, Lease, Result, Retired, Retry, Settlement
from moxsmtp.queue.storage import IJobStore
from moxsmtp.smtp.address import Path
from moxsmtp.store.columns import (
    read_time,
    write_addresses,
    write_path,
    write_results,
    write_time,
)
from moxsmtp.store.content import StoredContent, release_content
from moxsmtp.store.database import Database
from moxsmtp.store.hook_rows import add_hooks
from moxsmtp.store.job_rows import JOBS, has_failed, job_destination, read_job, retire_job
from moxsmtp.store.leases import Clock, Leases, add_due, database_clock, hold_fence
from moxsmtp.store.queueing import (
    check_from_ids,
    check_quota,
    composed,
    first_due,
    insert_all,
    store_bounce,
)
from moxsmtp.store.schema import job, retired_job
from moxsmtp.store.sending import use_up, within
from moxsmtp.store.spool import Contents
from moxsmtp.store.suppressions import add_suppression, is_suppressed
from moxsmtp.store.transaction import Transaction

__all__ = ["JobStore", "has_failed_before", "remove_job"]

# As text where a partial index is to be used: SQLite matches it by literals only.
_free = (text("hold = 0"), job.c.in_flight == 0, job.c.destination == bindparam("destination"))

_LEADER: Final = (
    select(job)
    .where(*_free, job.c.next_attempt <= bindparam("now"))
    .order_by(job.c.next_attempt, job.c.id)
    .limit(1)
    .with_for_update()
)
_CO_RECIPIENTS: Final = (
    select(job)
    .where(
        *_free,
        job.c.base_id == bindparam("base_id"),
        text("base_id <> 0"),
        job.c.id != bindparam("id"),
        job.c.next_attempt <= bindparam("next_attempt"),
        job.c.attempts == bindparam("attempts"),
        job.c.require_tls == bindparam("require_tls"),
        job.c.transport == bindparam("transport"),
        job.c.smtputf8 == bindparam("smtputf8"),
    )
    .order_by(job.c.id)
    .with_for_update()
)
_BEGIN: Final = (
    update(job)
    .where(job.c.id == bindparam("id"))
    .values(
        attempts=bindparam("attempts"),
        last_attempt=bindparam("now"),
        next_attempt=bindparam("next_attempt"),
        in_flight=1,
    )
)
#: Only while the attempt is under way: settling it twice changes nothing more.
_AGAIN: Final = (
    update(job)
    .where(job.c.id == bindparam("id"), job.c.in_flight == 1)
    .values(
        next_attempt=bindparam("next_attempt"),
        results=bindparam("results"),
        dialed=bindparam("dialed"),
        in_flight=0,
        repeated=0,
    )
)
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
_DELETE: Final = delete(job).where(job.c.id == bindparam("id")).returning(job.c.content_id)


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
        self, lease: Lease, now: datetime, next_attempt: Callable[[Job], datetime]
    ) -> Batch | None:
        """
        See L{IJobStore.take}.  Beyond Q-16, co-recipients agree on SMTPUTF8:
        one that needs it must not fail the others at a host without it.
        """

        def work(tx: Transaction) -> Batch | None:
            hold_fence(tx, self.owner, lease)
            moment = self._clock(tx, now)
            rows = list(tx.execute(_LEADER, {"destination": lease.name, "now": moment}))
            if not rows:
                return None
            leader = rows[0]
            if leader.base_id:
                rows += tx.execute(
                    _CO_RECIPIENTS,
                    {
                        name: getattr(leader, name)
                        for name in (
                            "destination", "base_id", "id", "next_attempt", "attempts",
                            "require_tls", "transport", "smtputf8",
                        )
                    },
                )  # fmt: skip
            begun = [_begun(read_job(row), moment) for row in rows]
            # One for all: each with a jitter of its own, they would be parted for good.
            following = next_attempt(begun[0])
            return Batch(tuple(_marked(tx, each, moment, following) for each in begun), started=now)

        return await self._database.transact(work)

    async def settle(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """
        See L{IJobStore.settle}.  A job that an administrator dropped while its
        attempt was under way is past settling: nothing is done for it.
        """
        now = write_time(self._now())
        hooks = [each.hook for each in settlements if each.hook is not None]
        keep = {hook.account: self._keep_hooks(hook.account) for hook in hooks}
        told = frozenset(
            {hook.account for hook in hooks}
            | {each.bounce[0].account for each in settlements if each.bounce is not None}
        )

        def work(tx: Transaction) -> None:
            hold_fence(tx, self.owner, lease)
            # Jobs first, then the rest: rows are locked in one order everywhere.
            applied = [each for each in settlements if _applied(tx, each)]
            for each in applied:
                if each.suppress is not None:
                    add_suppression(tx, each.suppress)
                if each.bounce is not None:
                    store_bounce(tx, *each.bounce, now=now)
                if each.report is not None:
                    self._add_report(tx, *each.report)
            hooks = [each.hook for each in applied if each.hook is not None]
            add_hooks(tx, hooks, now=now, keep=keep)

        def settled(committed: bool) -> None:
            if committed and told:
                self._stored(told)
            if committed and any(each.report is not None for each in settlements):
                self._wake()

        await self._database.transact(work, settled=settled)

    def _add_report(self, tx: Transaction, new: NewJob, octets: bytes) -> None:
        moment = self._clock(tx, self._now())
        insert_all(tx, composed(octets), [new], moment)
        add_due(tx, JOBS.kind, job_destination(new), moment, moment)

    async def failed_before(self, job: Job) -> bool:
        """
        See L{IJobStore.failed_before}.  What an administrator ended or the
        list itself says nothing of the recipient.
        """
        return await self._database.read(lambda tx: has_failed_before(tx, job))

    def content(self, job: Job) -> IContent:
        """See L{IJobStore.content}."""
        return StoredContent(self._database, job.content, job.size - len(job.prefix))


def has_failed_before(tx: Transaction, job: Job) -> bool:
    """See L{IJobStore.failed_before}."""
    parameters = {
        "account": job.account,
        "rcpt_to": write_path(job.forward_path),
        "id": job.id,
    }
    rows = tx.execute(_LAST_TWO, parameters)
    return len(rows) == _TWO and all(has_failed(row) for row in rows)


def remove_job(tx: Transaction, job: Job, results: tuple[Result, ...], fate: Retired) -> bool:
    """
    Take a job out of the queue, into the history if it is to be kept (Q-77).

    @return: Whether it was there.
    """
    retire_job(tx, job.id, results, fate)
    for (content,) in tx.execute(_DELETE, {"id": job.id}):
        release_content(tx, content)
        return True
    return False


def _begun(waiting: Job, now: int) -> Job:
    """A job with the attempt that begins counted."""
    return replace(waiting, attempts=waiting.attempts + 1, last_attempt=read_time(now))


def _marked(tx: Transaction, begun: Job, now: int, next_attempt: datetime) -> Job:
    """Mark a job before anything is sent (Q-10), and see whether it may be (Q-30)."""
    tx.execute(
        _BEGIN,
        {
            "id": begun.id,
            "attempts": begun.attempts,
            "now": now,
            "next_attempt": write_time(next_attempt),
        },
    )
    return replace(begun, next_attempt=next_attempt, suppressed=is_suppressed(tx, begun))


def _applied(tx: Transaction, settlement: Settlement) -> bool:
    """@return: False: the job is gone."""
    job = settlement.job
    results = (*job.results, settlement.result)
    match settlement.fate:
        case Retired() as fate:
            return remove_job(tx, job, results, fate)
        case Retry(next_attempt=next_attempt):
            tx.execute(
                _AGAIN,
                {
                    "id": job.id,
                    "next_attempt": write_time(next_attempt),
                    "results": write_results(results),
                    "dialed": write_addresses(_joined(job.dialed, settlement.dialed)),
                },
            )
            return tx.changed > 0


def _joined(
    before: Mapping[str, tuple[IPAddress, ...]], added: Mapping[str, tuple[IPAddress, ...]]
) -> Mapping[str, tuple[IPAddress, ...]]:
    """Each address once, in the order they were connected to."""
    hosts = dict.fromkeys((*before, *added))
    return {
        host: tuple(dict.fromkeys((*before.get(host, ()), *added.get(host, ())))) for host in hosts
    }
