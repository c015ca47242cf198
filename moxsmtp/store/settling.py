"""What became of jobs, written in the transaction of whoever settles them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, text, update

from moxsmtp.interfaces import NewJob
from moxsmtp.names import IPAddress
from moxsmtp.queue.job import Retired, Retry, Settlement
from moxsmtp.store.columns import write_addresses, write_results, write_time
from moxsmtp.store.content import release_contents
from moxsmtp.store.due import add_due
from moxsmtp.store.hook_rows import add_hooks
from moxsmtp.store.job_rows import JOBS, job_destination, retire_job
from moxsmtp.store.listed import listed, listing, lock_listed
from moxsmtp.store.queueing import composed, insert_all, store_bounce
from moxsmtp.store.schema import job
from moxsmtp.store.suppressions import add_suppression
from moxsmtp.store.transaction import Transaction

__all__ = ["apply", "hooked", "told"]

#: Addresses that a job went to, of one host: of those before them nothing depends.
_MOST_DIALED: Final = 16

#: Only while the attempt is under way: settling it twice changes nothing more.  A literal
#: is compared, as in L{moxsmtp.store.taking}.
_AGAIN: Final = (
    update(job)
    .where(job.c.id == bindparam("id"), job.c.in_flight == text("1"))
    .values(
        next_attempt=bindparam("next_attempt"),
        results=bindparam("results"),
        dialed=bindparam("dialed"),
        in_flight=0,
        repeated=0,
    )
)
_LOCK: Final = lock_listed(job.c.id)
_DELETE: Final = {
    dialect: delete(job)
    .where(condition)
    .returning(job.c.id, job.c.content_id, job.c.alternative_id)
    for dialect, condition in listed(job.c.id).items()
}


def apply(
    tx: Transaction,
    settlements: Sequence[Settlement],
    *,
    now: int,
    due: int,
    keep: Mapping[str, timedelta],
) -> None:
    """
    Write all of it.  For a job that is gone already nothing is done.

    @param now: Microseconds since the epoch, by our clock; C{due} by the queue's.
    @param keep: How long the history of webhooks stays, by account.
    """
    # Jobs first, then the rest: rows are locked in one order everywhere.
    if tx.dialect == "postgresql" and _is_to_be_locked(settlements):
        tx.execute(_LOCK, listing(each.job.id for each in settlements))
    removed = _removed(tx, settlements)
    there = {row.id for row in removed} | _put_off(tx, settlements)
    applied = [each for each in settlements if each.job.id in there]
    contents = (each for row in removed for each in (row.content_id, row.alternative_id))
    release_contents(tx, [each for each in contents if each is not None])
    for each in applied:
        if each.suppress is not None:
            add_suppression(tx, each.suppress)
        if each.bounce is not None:
            store_bounce(tx, *each.bounce, now=now)
        if each.report is not None:
            _add_report(tx, *each.report, due=due)
    hooks = [each.hook for each in applied if each.hook is not None]
    add_hooks(tx, hooks, now=now, keep=keep)


def told(settlements: Sequence[Settlement]) -> frozenset[str]:
    """Accounts that get a bounce or a webhook call."""
    bounced = {each.bounce[0].account for each in settlements if each.bounce is not None}
    return hooked(settlements) | bounced


def hooked(settlements: Sequence[Settlement]) -> frozenset[str]:
    """Accounts that get a webhook call."""
    return frozenset(each.hook.account for each in settlements if each.hook is not None)


def _is_to_be_locked(settlements: Sequence[Settlement]) -> bool:
    """
    Whether more than one row is locked, by whatever comes first otherwise: those that
    are done with before those that wait, or a line of the history before its job.
    """
    return len(settlements) > 1 or any(
        isinstance(each.fate, Retired) and each.fate.keep_until is not None for each in settlements
    )


def _removed(tx: Transaction, settlements: Sequence[Settlement]) -> Sequence[Any]:
    """
    Take out of the queue what is done with, into the history if it is to be kept (Q-77).

    @return: What was there: its number, and the contents that it referred to.
    """
    done = []
    for each in settlements:
        if isinstance(each.fate, Retired):
            retire_job(tx, each.job.id, (*each.job.results, each.result), each.fate)
            done.append(each.job.id)
    return tx.execute(_DELETE[tx.dialect], listing(done)) if done else ()


def _put_off(tx: Transaction, settlements: Sequence[Settlement]) -> frozenset[int]:
    """
    Let those wait that are tried again.

    @return: What was there.
    """
    there = []
    for each in settlements:
        if isinstance(each.fate, Retry):
            waiting = each.job
            tx.execute(
                _AGAIN,
                {
                    "id": waiting.id,
                    "next_attempt": write_time(each.fate.next_attempt),
                    "results": write_results((*waiting.results, each.result)),
                    "dialed": write_addresses(_joined(waiting.dialed, each.dialed)),
                },
            )
            if tx.changed:
                there.append(waiting.id)
    return frozenset(there)


def _joined(
    before: Mapping[str, tuple[IPAddress, ...]], added: Mapping[str, tuple[IPAddress, ...]]
) -> Mapping[str, tuple[IPAddress, ...]]:
    """In the order they were gone to: the last one counts, and whether one is the only one."""
    hosts = dict.fromkeys((*before, *added))
    return {host: (*before.get(host, ()), *added.get(host, ()))[-_MOST_DIALED:] for host in hosts}


def _add_report(tx: Transaction, new: NewJob, octets: bytes, *, due: int) -> None:
    insert_all(tx, composed(octets), [new], due)
    add_due(tx, JOBS.kind, job_destination(new), due, due)
