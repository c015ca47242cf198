"""When destinations are due: what whoever adds a job writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable

from moxsmtp.store.schema import destination
from moxsmtp.store.transaction import Transaction

__all__ = ["add_all_due", "add_due"]


def _lowering(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    row = insert.values(
        kind=bindparam("kind"),
        name=bindparam("name"),
        slot=0,
        next_due=bindparam("next_due"),
        fence=bindparam("fence"),
    )
    return row.on_conflict_do_update(
        index_elements=["kind", "name", "slot"],
        set_={"next_due": row.excluded.next_due},
        where=row.excluded.next_due < destination.c.next_due,
    )


_ADD_DUE: Final[Mapping[str, Executable]] = {
    "sqlite": _lowering(sqlite.insert(destination)),
    "postgresql": _lowering(postgresql.insert(destination)),
}


def add_due(tx: Transaction, kind: str, name: str, due: int, now: int) -> None:
    """
    A job for C{name} is due at C{due}.

    On PostgreSQL the row stays locked until the commit, also if it is not
    changed.  Who adds several does so in the order of their names.
    """
    tx.execute(_ADD_DUE[tx.dialect], {"kind": kind, "name": name, "next_due": due, "fence": now})


def add_all_due(tx: Transaction, kind: str, due: Iterable[tuple[str, int]], now: int) -> None:
    """
    As L{add_due} for each name with its time, in the order that it demands.

    @param due: A name may come several times; its earliest time counts.
    """
    first: dict[str, int] = {}
    for name, time in due:
        first[name] = min(time, first.get(name, time))
    for name in sorted(first):
        add_due(tx, kind, name, first[name], now)
