"""
Taking jobs that are due, for one lease: several batches at once, each marked as
begun before anything is sent.  Q-9, Q-10, Q-16, Q-30.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select, text, update

from moxsmtp.queue.job import Batch, Job, Lease
from moxsmtp.store.clock import moved
from moxsmtp.store.columns import read_time, write_time
from moxsmtp.store.due import add_due
from moxsmtp.store.job_rows import JOBS, read_job
from moxsmtp.store.leases import open_slot
from moxsmtp.store.schema import content_chunk, job
from moxsmtp.store.suppressions import is_suppressed
from moxsmtp.store.transaction import Transaction

__all__ = ["put_back", "take_due"]

#: Octets of messages that are read along with the jobs: what most mail has.  A
#: larger one is read when its turn comes.
_SMALL: Final = 32 * 1024

# Literals where a partial index has them: SQLite matches it by literals only, and where a
# parameter stands against one, it plans the statement anew each time.
_free = (
    text("hold = 0"), job.c.in_flight == text("0"), job.c.destination == bindparam("destination"),
)  # fmt: skip

_SMALL_BODY: Final = (
    select(content_chunk.c.data)
    .where(
        content_chunk.c.content_id == job.c.content_id,
        text("content_chunk.number = 0"),
        text(f"job.size <= {_SMALL}"),
    )
    .scalar_subquery()
    .label("body")
)

# Rows that another worker on the same destination is taking are passed over.
_LEADERS: Final = (
    select(job, _SMALL_BODY)
    .where(*_free, job.c.next_attempt <= bindparam("now"))
    .order_by(job.c.next_attempt, job.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
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
    .with_for_update(skip_locked=True)
)
_AGREED: Final = (
    "destination", "base_id", "id", "next_attempt", "attempts", "require_tls", "transport",
    "smtputf8",
)  # fmt: skip
_BEGIN: Final = (
    update(job)
    .where(job.c.id == bindparam("id"))
    .values(
        attempts=bindparam("attempts"),
        last_attempt=bindparam("now"),
        next_attempt=bindparam("next_attempt"),
        in_flight=1,
        slot=bindparam("slot"),
    )
)
_PUT_BACK: Final = (
    update(job)
    .where(job.c.id == bindparam("id"), job.c.in_flight == text("1"))
    .values(in_flight=0, attempts=job.c.attempts - 1, next_attempt=bindparam("next_attempt"))
)


def take_due(
    tx: Transaction,
    lease: Lease,
    now: int,
    next_attempt: Callable[[Job], datetime],
    *,
    count: int,
    slots: int,
    started: datetime,
) -> tuple[Sequence[Batch], bool]:
    """
    See L{moxsmtp.queue.storage.IJobStore.take_several}.  The lease is held.

    @return: The batches, and whether a further slot was opened.
    """
    rows = tx.execute(
        _LEADERS, {"destination": lease.name, "now": now, "count": count + (slots > 1)}
    )
    batches: list[Batch] = []
    taken: set[int] = set()
    for leader in rows[:count]:
        if leader.id not in taken:
            begun = _together(tx, leader, taken, now)
            # One time for all: each with a jitter of its own, they would be parted for good.
            following = read_time(moved(next_attempt(begun[0]), started, now))
            jobs = tuple(
                replace(each, next_attempt=following, suppressed=is_suppressed(tx, each))
                for each in begun
            )
            batches.append(Batch(jobs, started=started, body=_body(leader)))
    _mark(tx, lease, batches, now)
    opened = (
        len(rows) > count
        and rows[count].id not in taken
        and lease.slot + 1 < slots
        and open_slot(tx, lease, now)
    )
    return batches, opened


def _together(tx: Transaction, leader: Any, taken: set[int], now: int) -> Sequence[Job]:
    """
    The leader and its co-recipients, this attempt counted (Q-16).  They agree on SMTPUTF8 as well:
    one that needs it must not fail the others at a host without it.
    """
    rows = [leader]
    if leader.base_id:
        agreed = {name: getattr(leader, name) for name in _AGREED}
        rows += [row for row in tx.execute(_CO_RECIPIENTS, agreed) if row.id not in taken]
    taken.update(row.id for row in rows)
    return [read_job(row, begun=now) for row in rows]


def _mark(tx: Transaction, lease: Lease, batches: Sequence[Batch], now: int) -> None:
    """All are begun, before anything is sent (Q-10)."""
    tx.execute_many(
        _BEGIN,
        [
            {
                "id": each.id,
                "attempts": each.attempts,
                "now": now,
                "next_attempt": write_time(each.next_attempt),
                "slot": lease.slot,
            }
            for batch in batches
            for each in batch.jobs
        ],
    )


def _body(leader: Any) -> bytes | None:
    """All of the content, if it is small and in the database."""
    body = leader.body
    whole = leader.size - len(leader.prefix)
    return bytes(body) if body is not None and len(body) == whole else None


def put_back(tx: Transaction, lease: Lease, jobs: Sequence[Job], until: int, now: int) -> None:
    """See L{moxsmtp.queue.storage.IJobStore.put_back}.  The lease is held."""
    for each in sorted(jobs, key=lambda each: each.id):
        tx.execute(_PUT_BACK, {"id": each.id, "next_attempt": until})
    add_due(tx, JOBS.kind, lease.name, until, now)
