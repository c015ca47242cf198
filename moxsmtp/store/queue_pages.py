"""
The queue and its history as people look at them: searched, in an order, by
pages.  Q-22.

A search reads one index that has all that it needs, and sorts what it finds: a
scan of rows would read every job's header octets.  Addresses are narrowed down
by the database, as far as every engine agrees, and compared here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Integer, Table, Text, bindparam, func, select, tuple_
from sqlalchemy.sql.expression import Executable

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
from moxsmtp.store.schema import job, retired_job
from moxsmtp.store.transaction import Transaction

__all__ = ["Found", "QueuePages"]

#: Beyond any time and any number of a row.
_LAST: Final = 2**62

#: Rows that are compared at once.
_STEP: Final = 5000

_ASCII_RUN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Found:
    """
    Where something stands in a list.

    @ivar key: What the list is sorted by: microseconds since the epoch.
    @ivar id: What ties are sorted by.
    """

    key: int
    id: int


def _unless(anything: str, condition: Any) -> Any:
    """C{condition}, or anything where the parameter is 1; that is looked at first."""
    return (bindparam(anything, type_=Integer) == 1) | condition


def _conditions(table: Table, activity: Column[Any], state: Column[Any]) -> list[Any]:
    """The sums keep engines from using an index of times, which would be looked up row by row."""
    return [
        _unless("any_account", table.c.account == bindparam("account", type_=Text)),
        _unless("any_transport", table.c.transport == bindparam("transport", type_=Text)),
        state >= bindparam("least_state", type_=Integer),
        state <= bindparam("most_state", type_=Integer),
        table.c.queued + 0 > bindparam("queued_after", type_=BigInteger),
        table.c.queued + 0 < bindparam("queued_before", type_=BigInteger),
        activity + 0 > bindparam("active_after", type_=BigInteger),
        activity + 0 < bindparam("active_before", type_=BigInteger),
        *(
            _unless(
                f"any_{name}",
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


def _search(table: Table, activity: Column[Any], state: Column[Any], order: Order) -> Executable:
    """A page of a search, sorted by sums for the reason given above."""
    key = table.c.queued if order.by_queued else activity
    columns = (key + 0, table.c.id + 0)
    last = tuple_(bindparam("key", type_=BigInteger), bindparam("id", type_=BigInteger))
    return (
        select(key.label("key"), table.c.id, table.c.mail_from, table.c.rcpt_to)
        .where(
            *_conditions(table, activity, state),
            tuple_(*columns) > last if order.ascending else tuple_(*columns) < last,
        )
        .order_by(*(each.asc() if order.ascending else each.desc() for each in columns))
        .limit(bindparam("limit"))
    )


def _walk(table: Table, key: Column[Any], *, ascending: bool) -> Executable:
    """A page of everything, along an index."""
    place = tuple_(key, table.c.id)
    last = tuple_(bindparam("key", type_=BigInteger), bindparam("id", type_=BigInteger))
    return (
        select(key.label("key"), table.c.id)
        .where(place > last if ascending else place < last)
        .order_by(*(each.asc() if ascending else each.desc() for each in (key, table.c.id)))
        .limit(bindparam("limit"))
    )


_EITHER: Final = (False, True)
_ORDERS: Final = [Order(queued, ascending) for queued in _EITHER for ascending in _EITHER]
_JOBS: Final = {order: _search(job, job.c.next_attempt, job.c.hold, order) for order in _ORDERS}
_ALL_JOBS: Final = {up: _walk(job, job.c.next_attempt, ascending=up) for up in _EITHER}
_RETIRED: Final = {
    order: _search(retired_job, retired_job.c.last_activity, retired_job.c.success, order)
    for order in _ORDERS
}
_ALL_RETIRED: Final = {
    up: _walk(retired_job, retired_job.c.last_activity, ascending=up) for up in _EITHER
}

_NUMBERS: Final = (
    select(job.c.id, job.c.mail_from, job.c.rcpt_to)
    .where(
        *_conditions(job, job.c.next_attempt, job.c.hold),
        job.c.id + 0 > bindparam("after", type_=BigInteger),
        job.c.id + 0 <= bindparam("until", type_=BigInteger),
    )
    .order_by(job.c.id + 0)
    .limit(_STEP)
)
_LAST_NUMBER: Final = select(func.max(job.c.id))
_ONE: Final = select(job).where(job.c.id == bindparam("id"))
_ONE_RETIRED: Final = select(retired_job).where(retired_job.c.id == bindparam("id"))


class QueuePages:
    """Reads, never writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def job(self, number: int) -> Job | RetiredJob | None:
        """One job with its results, from the queue or its history."""

        def work(tx: Transaction) -> Job | RetiredJob | None:
            for row in tx.execute(_ONE, {"id": number}):
                return read_job(row)
            for row in tx.execute(_ONE_RETIRED, {"id": number}):
                return read_retired_job(row)
            return None

        return await self._database.read(work)

    async def jobs(self, numbers: Sequence[int]) -> Sequence[Job]:
        """In this order, without those that wait no more."""
        return await self._database.read(
            lambda tx: [
                read_job(row) for number in numbers for row in tx.execute(_ONE, _id(number))
            ]
        )

    async def retired_jobs(self, numbers: Sequence[int]) -> Sequence[RetiredJob]:
        """In this order, without those that are forgotten."""
        return await self._database.read(
            lambda tx: [
                read_retired_job(row)
                for number in numbers
                for row in tx.execute(_ONE_RETIRED, _id(number))
            ]
        )

    async def find_jobs(
        self, wanted: JobFilter, order: Order, *, after: Found | None = None, limit: int = _STEP
    ) -> Sequence[Found]:
        """
        Where the jobs stand that are meant, in order.

        @param after: The last one of the page before this.
        """
        first = _before_all(order) if after is None else after
        if wanted.ids:
            return await self._given(wanted, order, first, limit)
        if wanted == JobFilter() and not order.by_queued:
            return await self._walked(_ALL_JOBS[order.ascending], first, limit)
        parameters = _parameters(wanted, wanted.next_attempt, wanted.hold)
        return await self._searched(_JOBS[order], parameters, wanted, first, limit)

    async def find_retired(
        self, wanted: RetiredFilter, order: Order, *, after: Found | None = None, limit: int = _STEP
    ) -> Sequence[Found]:
        """As L{find_jobs}, in the history; the key is the last activity, or as there."""
        first = _before_all(order) if after is None else after
        if wanted == RetiredFilter() and not order.by_queued:
            return await self._walked(_ALL_RETIRED[order.ascending], first, limit)
        parameters = _parameters(wanted, wanted.last_activity, wanted.success)
        return await self._searched(_RETIRED[order], parameters, wanted, first, limit)

    async def last_number(self) -> int:
        """The highest one in the queue, 0 if it is empty."""

        def work(tx: Transaction) -> int:
            ((number,),) = tx.execute(_LAST_NUMBER)
            return number or 0

        return await self._database.read(work)

    async def numbers(self, wanted: JobFilter, *, after: int, until: int) -> Sequence[int]:
        """
        Some of the jobs that are meant, ascending: those between two numbers,
        the lower one excluded; none are left if there are none.
        """
        if wanted.ids:
            found = await self.jobs(sorted({each for each in wanted.ids if after < each <= until}))
            return [each.id for each in found if wanted.matches(each)]
        parameters = _parameters(wanted, wanted.next_attempt, wanted.hold) | {"until": until}

        def work(tx: Transaction) -> Sequence[int]:
            start = after
            while rows := tx.execute(_NUMBERS, parameters | {"after": start}):
                met = [row.id for row in rows if _matches(wanted, row)]
                if met:
                    return met
                start = rows[-1].id
            return ()

        return await self._database.read(work)

    async def _walked(self, statement: Executable, first: Found, limit: int) -> Sequence[Found]:
        parameters = {"key": first.key, "id": first.id, "limit": limit}
        return await self._database.read(
            lambda tx: [Found(row.key, row.id) for row in tx.execute(statement, parameters)]
        )

    async def _searched(
        self,
        statement: Executable,
        parameters: Mapping[str, object],
        wanted: JobFilter | RetiredFilter,
        first: Found,
        limit: int,
    ) -> Sequence[Found]:
        exact = bool(wanted.sender or wanted.recipient)

        def work(tx: Transaction) -> Sequence[Found]:
            found: list[Found] = []
            last = first
            # What the database finds is nearly always what is meant.
            step = limit
            while len(found) < limit:
                place = {"key": last.key, "id": last.id, "limit": step}
                rows = tx.execute(statement, {**parameters, **place})
                found += [
                    Found(row.key, row.id) for row in rows if not exact or _matches(wanted, row)
                ]
                if len(rows) < step:
                    break
                last = Found(rows[-1].key, rows[-1].id)
                step = _STEP
            return found[:limit]

        return await self._database.read(work)

    async def _given(
        self, wanted: JobFilter, order: Order, first: Found, limit: int
    ) -> Sequence[Found]:
        found = sorted(
            (
                Found(write_time(each.queued if order.by_queued else each.next_attempt), each.id)
                for each in await self.jobs(sorted(set(wanted.ids)))
                if wanted.matches(each)
            ),
            key=_place,
            reverse=not order.ascending,
        )
        start = _place(first)
        if order.ascending:
            return [each for each in found if _place(each) > start][:limit]
        return [each for each in found if _place(each) < start][:limit]


def _id(number: int) -> Mapping[str, object]:
    return {"id": number}


def _place(found: Found) -> tuple[int, int]:
    return found.key, found.id


def _before_all(order: Order) -> Found:
    return Found(-_LAST, -_LAST) if order.ascending else Found(_LAST, _LAST)


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
        **_bounds("queued", wanted.submitted),
        **_bounds("active", activity),
    }


def _bounds(name: str, span: Span) -> dict[str, object]:
    return {
        f"{name}_after": -_LAST if span.after is None else write_time(span.after),
        f"{name}_before": _LAST if span.before is None else write_time(span.before),
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


def _matches(wanted: JobFilter | RetiredFilter, row: Any) -> bool:
    sender = None if row.mail_from is None else read_path(row.mail_from)
    return matches_address(wanted.sender, sender) and matches_address(
        wanted.recipient, read_path(row.rcpt_to)
    )
