"""
Taking jobs that are due, for one lease: several batches at once, each marked as
begun before anything is sent.  Q-9, Q-10, Q-16, Q-30.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select, text, update

from moxsmtp.queue.job import Batch, Job, Lease
from moxsmtp.store.clock import moved
from moxsmtp.store.columns import read_time
from moxsmtp.store.due import add_due
from moxsmtp.store.job_rows import JOBS, read_job
from moxsmtp.store.leases import open_slot
from moxsmtp.store.schema import content_chunk, job
from moxsmtp.store.suppressions import is_suppressed
from moxsmtp.store.transaction import Transaction

__all__ = ["put_back", "take_due"]

#: Octets of content that are read along with the jobs: what most mail has.  A
#: larger one is read when its turn comes.
_SMALL: Final = 32 * 1024

# Literals where a partial index has them: SQLite matches it by literals only, and where a
# parameter stands against one, it plans the statement anew each time.
_free = (
    text("hold = 0"), job.c.in_flight == text("0"), job.c.destination == bindparam("destination"),
)  # fmt: skip

# Rows that another worker on the same destination is taking are passed over.
_LEADERS: Final = (
    select(job)
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
_FIRST_CHUNK: Final = select(content_chunk.c.data).where(
    content_chunk.c.content_id == bindparam("content"), content_chunk.c.number == 0
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
            together = _together(tx, leader, taken)
            jobs = tuple(_begun(tx, together, lease, now, started, next_attempt))
            batches.append(Batch(jobs, started=started, body=_body(tx, jobs[0])))
    opened = (
        len(rows) > count
        and rows[count].id not in taken
        and lease.slot + 1 < slots
        and open_slot(tx, lease, now)
    )
    return batches, opened


def _together(tx: Transaction, leader: Any, taken: set[int]) -> Sequence[Job]:
    """
    The leader and its co-recipients (Q-16).  They agree on SMTPUTF8 as well:
    one that needs it must not fail the others at a host without it.
    """
    rows = [leader]
    if leader.base_id:
        agreed = {name: getattr(leader, name) for name in _AGREED}
        rows += [row for row in tx.execute(_CO_RECIPIENTS, agreed) if row.id not in taken]
    taken.update(row.id for row in rows)
    return [read_job(row) for row in rows]


def _begun(
    tx: Transaction,
    waiting: Sequence[Job],
    lease: Lease,
    now: int,
    started: datetime,
    next_attempt: Callable[[Job], datetime],
) -> Iterator[Job]:
    """Marked before anything is sent (Q-10); whether it may be is asked, too (Q-30)."""
    counted = [
        replace(each, attempts=each.attempts + 1, last_attempt=read_time(now)) for each in waiting
    ]
    # One time for all: each with a jitter of its own, they would be parted for good.
    following = moved(next_attempt(counted[0]), started, now)
    for each in counted:
        tx.execute(
            _BEGIN,
            {
                "id": each.id,
                "attempts": each.attempts,
                "now": now,
                "next_attempt": following,
                "slot": lease.slot,
            },
        )
        suppressed = is_suppressed(tx, each)
        yield replace(each, next_attempt=read_time(following), suppressed=suppressed)


def _body(tx: Transaction, leader: Job) -> bytes | None:
    """All of the content, if it is small and in the database."""
    size = leader.size - len(leader.prefix)
    if size > _SMALL:
        return None
    for (data,) in tx.execute(_FIRST_CHUNK, {"content": leader.content}):
        return bytes(data) if len(data) == size else None
    return None


def put_back(tx: Transaction, lease: Lease, jobs: Sequence[Job], until: int, now: int) -> None:
    """See L{moxsmtp.queue.storage.IJobStore.put_back}.  The lease is held."""
    for each in sorted(jobs, key=lambda each: each.id):
        tx.execute(_PUT_BACK, {"id": each.id, "next_attempt": until})
    add_due(tx, JOBS.kind, lease.name, until, now)
