"""
How jobs get into the queue, in the transaction of whoever adds them.  Q-3,
Q-4, Q-15, Q-20, Q-95; and how DSNs get to their readers, in that which settles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import bindparam, func, select, text, update

from moxsmtp.interfaces import Allowance, NewJob, NewMessage, Spooled
from moxsmtp.queue.job import FromIdInUse, QueueFull
from moxsmtp.smtp.address import Path
from moxsmtp.store.columns import write_time
from moxsmtp.store.content import insert_content
from moxsmtp.store.hold_rules import hold_new
from moxsmtp.store.job_rows import insert_job, job_destination, sender_domain
from moxsmtp.store.message_rows import insert_messages
from moxsmtp.store.schema import job, retired_job
from moxsmtp.store.transaction import Transaction

__all__ = [
    "check_from_ids", "check_quota", "composed", "first_due", "insert_all", "store_bounce",
]  # fmt: skip

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
_QUEUED: Final = select(func.count()).where(job.c.account == bindparam("account"))


def check_quota(tx: Transaction, allowance: Allowance, count: int) -> None:
    """
    See that C{count} more jobs may wait (Q-95).

    @raise QueueFull: There are too many already.
    """
    if not allowance.queued:
        return
    ((waiting,),) = tx.execute(_QUEUED, {"account": allowance.account})
    if waiting + count > allowance.queued:
        raise QueueFull(allowance.queued)


def check_from_ids(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """@raise FromIdInUse: The queue, its history or C{jobs} has one twice (Q-4)."""
    seen = set()
    for new in jobs:
        if not new.from_id:
            continue
        if new.from_id in seen or tx.execute(_FROM_ID, {"from_id": new.from_id}):
            raise FromIdInUse("a from-id is in use")
        seen.add(new.from_id)


def insert_all(
    tx: Transaction, spooled: Spooled, jobs: Sequence[NewJob], now: int
) -> Sequence[int]:
    """
    Jobs of equal sender, prefix and alternative share the number of their first
    one (Q-15); what the rules say is put on hold (Q-20).
    """
    content = insert_content(tx, spooled, len(jobs))
    alternatives = _insert_alternatives(tx, jobs)
    firsts: dict[tuple[Path | None, bytes, bytes], int] = {}
    shared = set()
    numbers = []
    for new in jobs:
        key = new.reverse_path, new.prefix, new.alternative
        first = firsts.get(key, 0)
        alternative = alternatives.get(new.alternative)
        number = insert_job(
            tx, new, spooled, content=content, alternative=alternative, base=first, now=now
        )
        numbers.append(number)
        if not first:
            firsts[key] = number
        elif first not in shared:
            shared.add(first)
            tx.execute(_SET_BASE, {"id": first})
    hold_new(
        tx,
        [
            (number, new.account, sender_domain(new.reverse_path), job_destination(new))
            for number, new in zip(numbers, jobs, strict=True)
        ],
    )
    return numbers


def _insert_alternatives(tx: Transaction, jobs: Sequence[NewJob]) -> Mapping[bytes, int]:
    """@return: The numbers of what may be sent in UTF-8 instead, each stored once."""
    counts = Counter(new.alternative for new in jobs if new.alternative)
    return {octets: insert_content(tx, composed(octets), count) for octets, count in counts.items()}


def first_due(jobs: Sequence[NewJob], now: int) -> Mapping[str, int]:
    """When the first job of each destination is due."""
    first: dict[str, int] = {}
    for new in jobs:
        name = job_destination(new)
        due = now if new.next_attempt is None else write_time(new.next_attempt)
        first[name] = min(due, first.get(name, due))
    return first


def store_bounce(tx: Transaction, new: NewMessage, octets: bytes, *, now: int) -> None:
    """Put a DSN that we wrote into a mailbox."""
    spooled = composed(octets)
    content = insert_content(tx, spooled, 1)
    insert_messages(tx, [new], content=content, size=spooled.size, now=now)


def composed(octets: bytes) -> Spooled:
    """A DSN that we wrote."""
    return Spooled(size=len(octets), header=b"", has_8bit=not octets.isascii(), inline=octets)
