"""
Lists of what waits and of what did, as people look at them: searched, in an
order, by pages.  Q-22.

A search reads one index that has all that it needs, and sorts what it finds: a
scan of rows would read every header section and every payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, Column, Integer, Table, bindparam, func, select, tuple_
from sqlalchemy.sql.expression import Executable

from moxsmtp.queue.filter import Order, Span
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.transaction import Transaction

__all__ = [
    "Found", "Pages", "any_or", "before_all", "bounds", "numbered", "placed", "searches", "walks",
    "within",
]  # fmt: skip

T = TypeVar("T")

#: Beyond any time and any number of a row.
_LAST: Final = 2**62

#: Rows that are compared at once.
_STEP: Final = 5000

_ORDERS: Final = [
    Order(by_queued, ascending) for by_queued in (False, True) for ascending in (False, True)
]


@dataclass(frozen=True, slots=True)
class Found:
    """
    Where something stands in a list.

    @ivar key: What the list is sorted by: microseconds since the epoch.
    @ivar id: What ties are sorted by.
    """

    key: int
    id: int


# -- statements ---------------------------------------------------------------------


def any_or(name: str, condition: Any) -> Any:
    """C{condition}, or anything where the parameter C{any_name} is 1; that is looked at first."""
    return (bindparam(f"any_{name}", type_=Integer) == 1) | condition


def within(name: str, column: Column[Any]) -> Sequence[Any]:
    """
    A time between two parameters, those of L{bounds}.

    The sums keep engines from using an index of times, which would be looked up row by row.
    """
    return (
        column + 0 > bindparam(f"{name}_after", type_=BigInteger),
        column + 0 < bindparam(f"{name}_before", type_=BigInteger),
    )


def bounds(name: str, span: Span) -> Mapping[str, object]:
    """Parameters of L{within}."""
    return {
        f"{name}_after": -_LAST if span.after is None else write_time(span.after),
        f"{name}_before": _LAST if span.before is None else write_time(span.before),
    }


def searches(
    table: Table,
    conditions: Sequence[Any],
    *compared: Column[Any],
    queued: Column[Any],
    activity: Column[Any],
) -> Mapping[Order, Executable]:
    """
    A page of a search, for each order.

    @param compared: Read as well, for conditions that are looked at here.
    """
    return {
        order: _search(
            table,
            conditions,
            queued if order.by_queued else activity,
            *compared,
            ascending=order.ascending,
        )
        for order in _ORDERS
    }


def _search(
    table: Table,
    conditions: Sequence[Any],
    key: Column[Any],
    *compared: Column[Any],
    ascending: bool,
) -> Executable:
    """Sorted by sums for the reason given above."""
    columns = (key + 0, table.c.id + 0)
    last = tuple_(bindparam("key", type_=BigInteger), bindparam("id", type_=BigInteger))
    return (
        select(key.label("key"), table.c.id, *compared)
        .where(*conditions, tuple_(*columns) > last if ascending else tuple_(*columns) < last)
        .order_by(*(each.asc() if ascending else each.desc() for each in columns))
        .limit(bindparam("limit"))
    )


def walks(table: Table, key: Column[Any]) -> Mapping[bool, Executable]:
    """A page of everything, along an index, by whether that is ascending."""
    return {ascending: _walk(table, key, ascending=ascending) for ascending in (False, True)}


def _walk(table: Table, key: Column[Any], *, ascending: bool) -> Executable:
    place = tuple_(key, table.c.id)
    last = tuple_(bindparam("key", type_=BigInteger), bindparam("id", type_=BigInteger))
    return (
        select(key.label("key"), table.c.id)
        .where(place > last if ascending else place < last)
        .order_by(*(each.asc() if ascending else each.desc() for each in (key, table.c.id)))
        .limit(bindparam("limit"))
    )


def numbered(table: Table, conditions: Iterable[Any], *compared: Column[Any]) -> Executable:
    """Some of those with numbers between two, ascending."""
    return (
        select(table.c.id, *compared)
        .where(
            *conditions,
            table.c.id + 0 > bindparam("after", type_=BigInteger),
            table.c.id + 0 <= bindparam("until", type_=BigInteger),
        )
        .order_by(table.c.id + 0)
        .limit(bindparam("limit"))
    )


# -- places -------------------------------------------------------------------------


def before_all(order: Order) -> Found:
    """Where a list begins."""
    return Found(-_LAST, -_LAST) if order.ascending else Found(_LAST, _LAST)


def placed(found: Iterable[Found], order: Order, first: Found, limit: int) -> Sequence[Found]:
    """A page of what is known already; C{first} and what is before it excluded."""
    ordered = sorted(found, key=_place, reverse=not order.ascending)
    start = _place(first)
    if order.ascending:
        return [each for each in ordered if _place(each) > start][:limit]
    return [each for each in ordered if _place(each) < start][:limit]


def _place(found: Found) -> tuple[int, int]:
    return found.key, found.id


class Pages:
    """What the lists of jobs and of webhook calls have in common.  Reads, never writes."""

    def __init__(self, database: Database, table: Table) -> None:
        """@param table: Of what waits."""
        self._database = database
        self._last_number = select(func.max(table.c.id))

    async def last_number(self) -> int:
        """The highest one that waits, 0 if nothing does."""

        def work(tx: Transaction) -> int:
            ((number,),) = tx.execute(self._last_number)
            return number or 0

        return await self._database.read(work)

    async def _each(
        self, statement: Executable, numbers: Iterable[int], read: Callable[[Any], T]
    ) -> Sequence[T]:
        """In this order, without those that are gone."""
        return await self._database.read(
            lambda tx: [
                read(row) for number in numbers for row in tx.execute(statement, {"id": number})
            ]
        )

    async def _page(
        self,
        statement: Executable,
        parameters: Mapping[str, object],
        first: Found,
        limit: int,
        matches: Callable[[Any], bool] | None = None,
    ) -> Sequence[Found]:
        """
        What stands behind C{first}.

        @param matches: What the database cannot tell of a row; L{None}: it tells all.
        """

        def work(tx: Transaction) -> Sequence[Found]:
            found: list[Found] = []
            last = first
            # What the database finds is nearly always what is meant.
            step = limit
            while len(found) < limit:
                place = {"key": last.key, "id": last.id, "limit": step}
                rows = tx.execute(statement, {**parameters, **place})
                found += [Found(row.key, row.id) for row in rows if matches is None or matches(row)]
                if len(rows) < step:
                    break
                last = Found(rows[-1].key, rows[-1].id)
                step = _STEP
            return found[:limit]

        return await self._database.read(work)

    async def _some(
        self,
        statement: Executable,
        parameters: Mapping[str, object],
        *,
        after: int,
        until: int,
        matches: Callable[[Any], bool] | None = None,
    ) -> Sequence[int]:
        """Of those with numbers between two, the lower one excluded; none: there are no more."""
        fixed = {**parameters, "until": until, "limit": _STEP}

        def work(tx: Transaction) -> Sequence[int]:
            start = after
            while rows := tx.execute(statement, {**fixed, "after": start}):
                met = [row.id for row in rows if matches is None or matches(row)]
                if met:
                    return met
                start = rows[-1].id
            return ()

        return await self._database.read(work)
