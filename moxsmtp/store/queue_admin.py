"""What administrators see of the queue of mail, and do to it.  Q-23."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Text, bindparam, func, select, text

from moxsmtp.interfaces import NewHook, OutgoingEvent
from moxsmtp.queue.job import Job, Result, Retired
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.hook_rows import add_hooks
from moxsmtp.store.job_rows import RetiredJob, read_job, read_retired_job
from moxsmtp.store.jobs import remove_job
from moxsmtp.store.schema import job, retired_job
from moxsmtp.store.transaction import Transaction

__all__ = ["CANCELED", "QueueAdmin"]

#: The error in the last result of a job that was dropped (Q-23).
CANCELED: Final = "cancelled by admin"

#: Greater than any number of a row.
_ABOVE_ALL: Final = 2**63 - 1

_PAGE: Final = (
    select(job)
    .where(
        job.c.id < bindparam("before"),
        (bindparam("account", type_=Text) == text("''")) | (job.c.account == bindparam("account")),
        func.lower(job.c.rcpt_to).like(bindparam("recipient"), escape="/"),
    )
    .order_by(job.c.id.desc())
    .limit(bindparam("limit"))
)
_ONE: Final = select(job).where(job.c.id == bindparam("id"))
_LOCK_ONE: Final = _ONE.with_for_update()
_RETIRED: Final = select(retired_job).where(retired_job.c.id == bindparam("id"))


class QueueAdmin:
    """The queue of mail, for people."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        stored: Callable[[frozenset[str]], None],
        keep_hooks: Callable[[str], timedelta],
    ) -> None:
        """
        @param stored: Called after the commit with accounts that got a webhook call.
        @param keep_hooks: How long an account's history of webhooks stays; a
            pure function.
        """
        self._database = database
        self._now = now
        self._stored = stored
        self._keep_hooks = keep_hooks

    async def list_jobs(
        self,
        *,
        before: int | None = None,
        limit: int = 100,
        account: str = "",
        recipient: str = "",
    ) -> Sequence[Job]:
        """
        Jobs that wait, the newest first.

        @param before: Only those with a lower number: the last one of the page
            before this.
        @param account: Empty for all.
        @param recipient: Some part of the address, with A-labels; C{@example.com}
            is a domain.
        """
        parameters = {
            "before": before or _ABOVE_ALL,
            "limit": limit,
            "account": account,
            "recipient": _like(recipient),
        }
        return await self._database.read(
            lambda tx: [read_job(row) for row in tx.execute(_PAGE, parameters)]
        )

    async def job(self, number: int) -> Job | RetiredJob | None:
        """One job with its results, from the queue or its history."""

        def work(tx: Transaction) -> Job | RetiredJob | None:
            for row in tx.execute(_ONE, {"id": number}):
                return read_job(row)
            for row in tx.execute(_RETIRED, {"id": number}):
                return read_retired_job(row)
            return None

        return await self._database.read(work)

    async def drop(
        self,
        numbers: Sequence[int],
        *,
        keep_until: Callable[[Job], datetime | None],
        hook: Callable[[Job, Result], NewHook | None],
    ) -> Sequence[int]:
        """
        Take jobs out of the queue without a DSN.  An attempt under way is not
        cut, but nothing comes of it.

        @param keep_until: How long the history keeps a job; L{None}: not at all.
        @param hook: The webhook call that tells of it, C{canceled}.  Both are
            pure functions and run in a thread.
        @return: Numbers of those that waited, ascending.
        """
        now = self._now()
        result = Result(start=now, duration=timedelta(), success=False, error=CANCELED)

        def work(tx: Transaction) -> tuple[Sequence[int], frozenset[str]]:
            dropped = [
                waiting for number in sorted(set(numbers)) for waiting in _locked(tx, number)
            ]
            for each in dropped:
                fate = Retired(OutgoingEvent.CANCELED, keep_until(each))
                remove_job(tx, each, (*each.results, result), fate)
            hooks = [new for each in dropped if (new := hook(each, result)) is not None]
            accounts = frozenset(new.account for new in hooks)
            keep = {account: self._keep_hooks(account) for account in accounts}
            add_hooks(tx, hooks, now=write_time(now), keep=keep)
            return [each.id for each in dropped], accounts

        gone, accounts = await self._database.transact(work)
        if accounts:
            self._stored(accounts)
        return gone


def _locked(tx: Transaction, number: int) -> Sequence[Job]:
    return [read_job(row) for row in tx.execute(_LOCK_ONE, {"id": number})]


def _like(part: str) -> str:
    """A pattern for LIKE that matches text with C{part} in it."""
    quoted = part.lower().replace("/", "//").replace("%", "/%").replace("_", "/_")
    return f"%{quoted}%"
