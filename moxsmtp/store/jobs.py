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

from moxsmtp.interfaces import Allowance, IContent, IQueue, NewJob, NewMessage, Spooled
from moxsmtp.names import IPAddress
from moxsmtp.queue.job import Batch, FromIdInUse, Job, Lease, Result, Retired, Retry, Settlement
from moxsmtp.queue.storage import IJobStore
from moxsmtp.smtp.address import Path
from moxsmtp.store.columns import read_time, write_addresses, write_results, write_time
from moxsmtp.store.content import StoredContent, insert_content, release_content
from moxsmtp.store.database import Database
from moxsmtp.store.hook_rows import add_hooks
from moxsmtp.store.job_rows import JOBS, insert_job, job_destination, read_job, retire_job
from moxsmtp.store.leases import Clock, Leases, add_due, database_clock, hold_fence
from moxsmtp.store.message_rows import insert_messages
from moxsmtp.store.schema import job, retired_job
from moxsmtp.store.sending import use_up, within
from moxsmtp.store.spool import Contents
from moxsmtp.store.transaction import Transaction

__all__ = ["JobStore", "remove_job"]

_FROM_ID: Final = (
    select(job.c.id)
    .where(job.c.from_id == bindparam("from_id"), text("from_id <> ''"))
    .union_all(
        select(retired_job.c.id).where(
            retired_job.c.from_id == bindparam("from_id"), text("from_id <> ''")
        )
    )
)
_SET_BASE: Final = update(job).where(job.c.id == bindparam("id")).values(base_id=bindparam("id"))

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
            _check_from_ids(tx, jobs)
            numbers = _insert_all(tx, spooled, jobs, moment)
            for name, due in sorted(_first_due(jobs, moment).items()):
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
        await self._database.read(
            lambda tx: within(tx, allowance, recipients, self._clock(tx, now))
        )

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
                if each.bounce is not None:
                    _store_bounce(tx, *each.bounce, now=now)
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
        _insert_all(tx, _composed(octets), [new], moment)
        add_due(tx, JOBS.kind, job_destination(new), moment, moment)

    def content(self, job: Job) -> IContent:
        """See L{IJobStore.content}."""
        return StoredContent(self._database, job.content, job.size - len(job.prefix))


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


def _check_from_ids(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """@raise FromIdInUse: The queue, its history or C{jobs} has one twice (Q-4)."""
    seen = set()
    for new in jobs:
        if not new.from_id:
            continue
        if new.from_id in seen or tx.execute(_FROM_ID, {"from_id": new.from_id}):
            raise FromIdInUse("a from-id is in use")
        seen.add(new.from_id)


def _insert_all(
    tx: Transaction, spooled: Spooled, jobs: Sequence[NewJob], now: int
) -> Sequence[int]:
    """Jobs of equal sender and prefix share the number of their first one (Q-15)."""
    content = insert_content(tx, spooled, len(jobs))
    firsts: dict[tuple[Path | None, bytes], int] = {}
    shared = set()
    numbers = []
    for new in jobs:
        first = firsts.get((new.reverse_path, new.prefix), 0)
        number = insert_job(tx, new, spooled, content=content, base=first, now=now)
        numbers.append(number)
        if not first:
            firsts[new.reverse_path, new.prefix] = number
        elif first not in shared:
            shared.add(first)
            tx.execute(_SET_BASE, {"id": first})
    return numbers


def _first_due(jobs: Sequence[NewJob], now: int) -> Mapping[str, int]:
    """By destination."""
    first: dict[str, int] = {}
    for new in jobs:
        name = job_destination(new)
        due = now if new.next_attempt is None else write_time(new.next_attempt)
        first[name] = min(due, first.get(name, due))
    return first


def _begun(waiting: Job, now: int) -> Job:
    """A job with the attempt that begins counted."""
    return replace(waiting, attempts=waiting.attempts + 1, last_attempt=read_time(now))


def _marked(tx: Transaction, begun: Job, now: int, next_attempt: datetime) -> Job:
    """Mark a job before anything is sent (Q-10)."""
    tx.execute(
        _BEGIN,
        {
            "id": begun.id,
            "attempts": begun.attempts,
            "now": now,
            "next_attempt": write_time(next_attempt),
        },
    )
    return replace(begun, next_attempt=next_attempt)


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


def _store_bounce(tx: Transaction, new: NewMessage, octets: bytes, *, now: int) -> None:
    spooled = _composed(octets)
    content = insert_content(tx, spooled, 1)
    insert_messages(tx, [new], content=content, size=spooled.size, now=now)


def _composed(octets: bytes) -> Spooled:
    """A DSN that we wrote."""
    return Spooled(size=len(octets), header=b"", has_8bit=not octets.isascii(), inline=octets)
