"""
The queue of mail and its history as people look at them.  Q-22.

Addresses are narrowed down by the database, as far as every engine agrees, and
compared here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Column, Integer, Table, Text, bindparam, func, select

from moxsmtp.names import InvalidName, parse_host
from moxsmtp.queue.filter import (
    NULL_SENDER,
    JobFilter,
    Order,
    RetiredFilter,
    Span,
    matches_address,
)
from moxsmtp.queue.job import Job
from moxsmtp.store.columns import read_path, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.job_rows import RetiredJob, read_job, read_retired_job
from moxsmtp.store.pages import (
    Found,
    Pages,
    any_or,
    before_all,
    bounds,
    numbered,
    placed,
    searches,
    walks,
    within,
)
from moxsmtp.store.schema import job, retired_job

__all__ = ["QueuePages"]

_ASCII_RUN: Final = re.compile(r"[\x21-\x7e]+")


def _conditions(table: Table, activity: Column[Any], state: Column[Any]) -> list[Any]:
    return [
        any_or("account", table.c.account == bindparam("account", type_=Text)),
        any_or("transport", table.c.transport == bindparam("transport", type_=Text)),
        state >= bindparam("least_state", type_=Integer),
        state <= bindparam("most_state", type_=Integer),
        *within("queued", table.c.queued),
        *within("active", activity),
        *(
            any_or(
                name,
                func.lower(column).like(bindparam(name, type_=Text), escape="/")
                # Whose name people see is not the one that is stored.
                | column.like("%xn--%"),
            )
            for name, column in (
                ("sender", func.coalesce(table.c.mail_from, NULL_SENDER)),
                ("recipient", table.c.rcpt_to),
            )
        ),
    ]


_JOB: Final = _conditions(job, job.c.next_attempt, job.c.hold)
_JOBS: Final = searches(
    job,
    _JOB,
    job.c.mail_from,
    job.c.rcpt_to,
    queued=job.c.queued,
    activity=job.c.next_attempt,
)
_ALL_JOBS: Final = walks(job, job.c.next_attempt)
_RETIRED: Final = searches(
    retired_job,
    _conditions(retired_job, retired_job.c.last_activity, retired_job.c.success),
    retired_job.c.mail_from,
    retired_job.c.rcpt_to,
    queued=retired_job.c.queued,
    activity=retired_job.c.last_activity,
)
_ALL_RETIRED: Final = walks(retired_job, retired_job.c.last_activity)
_NUMBERS: Final = numbered(job, _JOB, job.c.mail_from, job.c.rcpt_to)
_ONE: Final = select(job).where(job.c.id == bindparam("id"))
_ONE_RETIRED: Final = select(retired_job).where(retired_job.c.id == bindparam("id"))


class QueuePages(Pages):
    """Reads, never writes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, job)

    async def job(self, number: int) -> Job | RetiredJob | None:
        """One job with its results, from the queue or its history."""
        for waiting in await self.jobs([number]):
            return waiting
        for retired in await self.retired_jobs([number]):
            return retired
        return None

    async def jobs(self, numbers: Sequence[int]) -> Sequence[Job]:
        """In this order, without those that wait no more."""
        return await self._each(_ONE, numbers, read_job)

    async def retired_jobs(self, numbers: Sequence[int]) -> Sequence[RetiredJob]:
        """In this order, without those that are forgotten."""
        return await self._each(_ONE_RETIRED, numbers, read_retired_job)

    async def find_jobs(
        self, wanted: JobFilter, order: Order, *, after: Found | None = None, limit: int = 5000
    ) -> Sequence[Found]:
        """
        Where the jobs stand that are meant, in order.

        @param after: The last one of the page before this.
        """
        first = before_all(order) if after is None else after
        if wanted.ids:
            return placed(await self._given(wanted, order), order, first, limit)
        if wanted == JobFilter() and not order.by_queued:
            return await self._page(_ALL_JOBS[order.ascending], {}, first, limit)
        parameters = _parameters(wanted, wanted.next_attempt, wanted.hold)
        return await self._page(_JOBS[order], parameters, first, limit, _comparison(wanted))

    async def find_retired(
        self, wanted: RetiredFilter, order: Order, *, after: Found | None = None, limit: int = 5000
    ) -> Sequence[Found]:
        """As L{find_jobs}, in the history; the key is the last activity, or as there."""
        first = before_all(order) if after is None else after
        if wanted == RetiredFilter() and not order.by_queued:
            return await self._page(_ALL_RETIRED[order.ascending], {}, first, limit)
        parameters = _parameters(wanted, wanted.last_activity, wanted.success)
        return await self._page(_RETIRED[order], parameters, first, limit, _comparison(wanted))

    async def numbers(self, wanted: JobFilter, *, after: int, until: int) -> Sequence[int]:
        """
        Some of the jobs that are meant, ascending: those between two numbers,
        the lower one excluded; none are left if there are none.
        """
        if wanted.ids:
            found = await self.jobs(sorted({each for each in wanted.ids if after < each <= until}))
            return [each.id for each in found if wanted.matches(each)]
        parameters = _parameters(wanted, wanted.next_attempt, wanted.hold)
        return await self._some(
            _NUMBERS, parameters, after=after, until=until, matches=_comparison(wanted)
        )

    async def _given(self, wanted: JobFilter, order: Order) -> Sequence[Found]:
        return [
            Found(write_time(each.queued if order.by_queued else each.next_attempt), each.id)
            for each in await self.jobs(sorted(set(wanted.ids)))
            if wanted.matches(each)
        ]


def _parameters(
    wanted: JobFilter | RetiredFilter, activity: Span, state: bool | None
) -> dict[str, object]:
    """@param state: Whether it is on hold, or was delivered."""
    return {
        "any_account": int(not wanted.account),
        "account": wanted.account,
        "any_transport": int(wanted.transport is None),
        "transport": wanted.transport or "",
        "least_state": int(state is True),
        "most_state": int(state is not False),
        "any_sender": int(not wanted.sender),
        "sender": _pattern(wanted.sender),
        "any_recipient": int(not wanted.recipient),
        "recipient": _pattern(wanted.recipient),
        **bounds("queued", wanted.submitted),
        **bounds("active", activity),
    }


def _pattern(part: str) -> str:
    """A pattern for LIKE that all addresses match which have C{part}, and others may."""
    run = max(_ASCII_RUN.findall(part), key=len, default="")
    if part.startswith("@"):
        try:
            run = f"@{parse_host(part[1:]).ascii}"
        except InvalidName:
            run = "@"
    quoted = run.lower().replace("/", "//").replace("%", "/%").replace("_", "/_")
    return f"%{quoted}%"


def _comparison(wanted: JobFilter | RetiredFilter) -> Callable[[Any], bool] | None:
    """What the database has not compared."""
    return partial(_matches, wanted) if wanted.sender or wanted.recipient else None


def _matches(wanted: JobFilter | RetiredFilter, row: Any) -> bool:
    sender = None if row.mail_from is None else read_path(row.mail_from)
    return matches_address(wanted.sender, sender) and matches_address(
        wanted.recipient, read_path(row.rcpt_to)
    )
