"""Duties that one of the processes which share a database has at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from zope.interface import implementer

from moxsmtp.mailbox.duty import IDuty
from moxsmtp.store.clock import Clock, database_clock
from moxsmtp.store.columns import duration_microseconds
from moxsmtp.store.database import Database
from moxsmtp.store.schema import destination
from moxsmtp.store.transaction import Transaction

__all__ = ["Duty"]

#: How long it is had without being taken again.
_WHILE: Final = timedelta(seconds=30)

_POLL: Final = 5.0

_KIND: Final = "duty"


def _taking(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    row = insert.values(
        kind=_KIND,
        name=bindparam("name"),
        slot=0,
        next_due=bindparam("now"),
        owner=bindparam("owner"),
        lease_until=bindparam("until"),
        fence=bindparam("now"),
    )
    return row.on_conflict_do_update(
        index_elements=["kind", "name", "slot"],
        set_={
            "owner": row.excluded.owner,
            "lease_until": row.excluded.lease_until,
            "fence": destination.c.fence + 1,
        },
        where=or_(
            destination.c.owner == row.excluded.owner,
            destination.c.lease_until < row.excluded.next_due,
        ),
    )


_TAKE: Final[Mapping[str, Executable]] = {
    "sqlite": _taking(sqlite.insert(destination)),
    "postgresql": _taking(postgresql.insert(destination)),
}
_GIVE_UP: Final = (
    update(destination)
    .where(
        destination.c.kind == _KIND,
        destination.c.name == bindparam("name"),
        destination.c.owner == bindparam("owner"),
    )
    .values(lease_until=0)
)


@implementer(IDuty)
class Duty:
    """L{IDuty} over the table of leases."""

    poll = _POLL

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        owner: str,
        now: Callable[[], datetime],
        clock: Clock = database_clock,
    ) -> None:
        """@param owner: Names this process among all that use the database."""
        self._database = database
        self._name = name
        self._owner = owner
        self._now = now
        self._clock = clock
        self._until: datetime | None = None

    async def take(self) -> bool:
        """See L{IDuty.take}."""
        now = self._now()

        def work(tx: Transaction) -> bool:
            moment = self._clock(tx, now)
            parameters = {
                "name": self._name,
                "owner": self._owner,
                "now": moment,
                "until": moment + duration_microseconds(_WHILE),
            }
            tx.execute(_TAKE[tx.dialect], parameters)
            return tx.changed > 0

        is_ours = await self._database.transact(work)
        # Counted from before we asked: it ends for us before another may have it.
        self._until = now + _WHILE if is_ours else None
        return is_ours

    def is_held(self) -> bool:
        """See L{IDuty.is_held}."""
        return self._until is not None and self._now() < self._until

    async def give_up(self) -> None:
        """See L{IDuty.give_up}."""
        if self._until is None:
            return
        self._until = None
        parameters = {"name": self._name, "owner": self._owner}
        await self._database.transact(lambda tx: tx.execute(_GIVE_UP, parameters))
