"""
Taking jobs that are due, for one lease: several batches at once, each marked as
begun before anything is sent.  Q-9, Q-10, Q-16, Q-30.

What the transaction takes are rows: they become jobs when others may write again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, case, exists, select, text, update

from moxsmtp.queue.job import Batch, Job, Lease
from moxsmtp.store.columns import read_path, read_time, write_time
from moxsmtp.store.due import add_due
from moxsmtp.store.job_rows import JOBS, Begun, read_job
from moxsmtp.store.leases import open_slot
from moxsmtp.store.listed import among, listing
from moxsmtp.store.schema import content_chunk, job, suppression
from moxsmtp.store.suppressions import is_suppressed
from moxsmtp.store.transaction import Transaction

__all__ = ["Taken", "changed_since", "put_back", "take_due"]

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

_HAS_LIST: Final = exists().where(suppression.c.account == job.c.account).label("has_list")

# Rows that another worker on the same destination is taking are passed over.
_LEADERS: Final = (
    select(job, _SMALL_BODY, _HAS_LIST)
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
# Another time than was set with the mark is an administrator's.
_PUT_BACK: Final = (
    update(job)
    .where(job.c.id == bindparam("id"), job.c.in_flight == text("1"))
    .values(
        in_flight=0,
        attempts=job.c.attempts - 1,
        last_attempt=bindparam("before"),
        next_attempt=case(
            (job.c.next_attempt == bindparam("planned"), bindparam("until", type_=BigInteger)),
            else_=job.c.next_attempt,
        ),
    )
)

#: What the mark has set, and what an administrator can change.
_PRESENT: Final = {
    dialect: select(
        job.c.id,
        job.c.in_flight,
        job.c.attempts,
        job.c.next_attempt,
        job.c.hold,
        job.c.transport,
        job.c.require_tls,
    ).where(condition)
    for dialect, condition in among(job.c.id).items()
}


@dataclass(frozen=True, slots=True)
class Taken:
    """
    One batch, as it is in the table.

    @ivar leader: Columns of L{job}, and what small content stands behind the prefix.
    @ivar rows: Those of all, the leader's first.
    @ivar next_attempt: One time for all: each with a jitter of its own, they would be
        parted for good.
    @ivar suppressed: Jobs whose recipient the account's list names (Q-30).
    """

    leader: Any
    rows: Sequence[Any]
    next_attempt: int
    suppressed: frozenset[int]

    def batch(self, now: int, started: datetime) -> Batch:
        """@param now: When the attempt begins, by the queue's clock; C{started} by ours."""
        next_attempt = read_time(self.next_attempt)
        jobs = tuple(
            [
                read_job(row, begun=Begun(now, next_attempt, row.id in self.suppressed))
                for row in self.rows
            ]
        )
        return Batch(jobs, started=started, body=_body(self.leader))


def take_due(
    tx: Transaction,
    lease: Lease,
    now: int,
    next_attempt: Callable[[int], int],
    *,
    count: int,
    slots: int,
) -> tuple[Sequence[Taken], bool]:
    """
    See L{moxsmtp.queue.storage.IJobStore.take_several}.  The lease is held.

    @param next_attempt: By the attempts begun, this one included, by the queue's clock.
    @return: What was taken, and whether a further slot was opened.
    """
    leaders = tx.execute(
        _LEADERS, {"destination": lease.name, "now": now, "count": count + (slots > 1)}
    )
    several: list[Taken] = []
    ids: set[int] = set()
    for leader in leaders[:count]:
        if leader.id not in ids:
            rows = _together(tx, leader, ids)
            ids.update(row.id for row in rows)
            several.append(
                Taken(
                    leader, rows, next_attempt(leader.attempts + 1), _suppressed(tx, leader, rows)
                )
            )
    _mark(tx, lease, several, now)
    opened = (
        len(leaders) > count
        and leaders[count].id not in ids
        and lease.slot + 1 < slots
        and open_slot(tx, lease, now)
    )
    return several, opened


def _together(tx: Transaction, leader: Any, taken: Set[int]) -> Sequence[Any]:
    """
    The leader and its co-recipients (Q-16).  They agree on SMTPUTF8 as well:
    one that needs it must not fail the others at a host without it.
    """
    if not leader.base_id:
        return (leader,)
    agreed = {name: getattr(leader, name) for name in _AGREED}
    others = tx.execute(_CO_RECIPIENTS, agreed)
    return (leader, *(row for row in others if row.id not in taken))


def _suppressed(tx: Transaction, leader: Any, rows: Sequence[Any]) -> frozenset[int]:
    """All are of one account, and few accounts have such a list."""
    if not leader.has_list:
        return frozenset()
    return frozenset(
        row.id for row in rows if is_suppressed(tx, row.account, read_path(row.rcpt_to))
    )


def _mark(tx: Transaction, lease: Lease, several: Sequence[Taken], now: int) -> None:
    """All are begun, before anything is sent (Q-10)."""
    tx.execute_many(
        _BEGIN,
        [
            {
                "id": row.id,
                "attempts": row.attempts + 1,
                "now": now,
                "next_attempt": taken.next_attempt,
                "slot": lease.slot,
            }
            for taken in several
            for row in taken.rows
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
        before = each.attempt_before
        tx.execute(
            _PUT_BACK,
            {
                "id": each.id,
                "before": None if before is None else write_time(before),
                "planned": write_time(each.next_attempt),
                "until": until,
            },
        )
    add_due(tx, JOBS.kind, lease.name, until, now)


def changed_since(tx: Transaction, jobs: Sequence[Job]) -> frozenset[int]:
    """See L{moxsmtp.queue.storage.IJobStore.changed}."""
    rows = tx.execute(_PRESENT[tx.dialect], listing(each.id for each in jobs))
    present: Mapping[int, tuple[object, ...]] = {row.id: tuple(row) for row in rows}
    return frozenset(each.id for each in jobs if present.get(each.id) != _as_taken(each))


def _as_taken(taken: Job) -> tuple[object, ...]:
    """How its row was marked, as in L{_PRESENT}."""
    return (
        taken.id,
        1,
        taken.attempts,
        write_time(taken.next_attempt),
        int(taken.hold),
        taken.transport,
        taken.require_tls.value,
    )
