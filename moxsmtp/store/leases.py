"""
Leased destinations: who works on what, for mail and webhooks alike.

A destination stands in its table while work waits for it.  Its C{next_due} is
never later than its first job, so nothing is forgotten; it may be earlier, and
then its next owner finds nothing due and sets it right.  Whoever adds a job
lowers C{next_due} in the same transaction; whoever gives a lease back finds it
anew.  Both lock the destination's row first, so neither can miss the other.

Several may work on one destination, each in a B{slot} of its own.  That of
number 0 is there while anything waits.  Whoever finds more than it takes at
once opens the next one, as far as the destination may have them, and a slot
above 0 is gone once its owner gives it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    Column,
    Table,
    TextClause,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable

from moxsmtp.queue.job import Lease, LeaseLost
from moxsmtp.store.clock import Clock, database_clock, moved
from moxsmtp.store.columns import duration_microseconds, read_time
from moxsmtp.store.database import Database
from moxsmtp.store.due import add_due
from moxsmtp.store.schema import destination
from moxsmtp.store.transaction import Transaction

__all__ = ["LeasedWork", "Leases", "hold_fence", "open_slot"]


@dataclass(frozen=True, slots=True)
class LeasedWork:
    """
    Statements over one table of jobs.

    @ivar kind: What its destinations are called, C{mail} or C{hook}.
    @ivar under_way: How many attempts have begun and not ended.
    @ivar repeat: Those that a crash cut short are due again, once and not
        counted (Q-10); C{repeat_at} those of one slot of a destination.
    @ivar leave: The other ones keep their time; C{leave_at} those of one slot.
    @ivar first_due: When the first job of a destination is due.
    @ivar has_slots: Several may work on a destination.
    """

    kind: str
    under_way: Executable
    repeat: Executable
    repeat_at: Executable
    leave: Executable
    leave_at: Executable
    first_due: Executable
    has_slots: bool

    @classmethod
    def over(
        cls,
        kind: str,
        table: Table,
        name: Column[str],
        waits: TextClause,
        slot: Column[int] | None = None,
    ) -> LeasedWork:
        """
        @param name: The column that says where a job goes.
        @param slot: The one that says who works on it, where they are several.
        @param waits: Whether a job waits for its time at all.
        """
        # As text, for SQLite matches a partial index by literals only.
        in_flight = text("in_flight = 1")
        repeat = (
            update(table)
            .where(in_flight, table.c.repeated == 0)
            .values(
                in_flight=0,
                repeated=1,
                attempts=table.c.attempts - 1,
                next_attempt=table.c.last_attempt,
            )
        )
        leave = update(table).where(in_flight).values(in_flight=0)
        here = name == bindparam("name")
        mine = here if slot is None else here & (slot == bindparam("slot"))
        return cls(
            kind=kind,
            under_way=select(func.count()).select_from(table).where(in_flight),
            repeat=repeat,
            repeat_at=repeat.where(mine),
            leave=leave,
            leave_at=leave.where(mine),
            first_due=select(func.min(table.c.next_attempt)).where(here, waits),
            has_slots=slot is not None,
        )

    def at(self, name: str, slot: int) -> Mapping[str, object]:
        """Parameters of what is done at one slot of a destination."""
        return {"name": name, "slot": slot} if self.has_slots else {"name": name}


# -- the destination's row ----------------------------------------------------------


_this = (
    (destination.c.kind == bindparam("kind"))
    & (destination.c.name == bindparam("name"))
    & (destination.c.slot == bindparam("slot"))
)
_ours = (
    _this
    & (destination.c.owner == bindparam("owner"))
    & (destination.c.fence == bindparam("fence"))
)

_HOLD: Final = select(destination.c.slot).where(_ours).with_for_update()

_CLAIMABLE: Final = (
    select(
        destination.c.name,
        destination.c.slot,
        destination.c.owner,
        destination.c.fence,
        destination.c.troubled,
    )
    .where(
        destination.c.kind == bindparam("kind"),
        destination.c.next_due <= bindparam("now"),
        destination.c.lease_until < bindparam("now"),
        destination.c.troubled <= bindparam("troubled"),
    )
    .order_by(destination.c.next_due)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_OWN: Final = (
    update(destination)
    .where(_this)
    .values(
        owner=bindparam("owner"),
        lease_until=bindparam("until"),
        fence=bindparam("fence"),
    )
)
_RENEW: Final = update(destination).where(_ours).values(lease_until=bindparam("until"))
_GIVE_BACK: Final = (
    update(destination)
    .where(_this)
    .values(
        owner=None,
        lease_until=0,
        next_due=bindparam("next_due"),
        troubled=bindparam("troubled"),
    )
)
_FORGET: Final = delete(destination).where(_this)


def _opening(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    return insert.values(
        kind=bindparam("kind"),
        name=bindparam("name"),
        slot=bindparam("slot"),
        next_due=bindparam("next_due"),
        fence=bindparam("next_due"),
    ).on_conflict_do_nothing(index_elements=["kind", "name", "slot"])


_OPEN: Final[Mapping[str, Executable]] = {
    "sqlite": _opening(sqlite.insert(destination)),
    "postgresql": _opening(postgresql.insert(destination)),
}
_VOID: Final = (
    update(destination)
    .where(destination.c.kind == bindparam("kind"), text("owner IS NOT NULL"))
    .values(owner=None, lease_until=0)
)

_FIRST_UNOWNED: Final = (
    select(destination.c.next_due)
    .where(destination.c.kind == bindparam("kind"), destination.c.owner.is_(None))
    .order_by(destination.c.next_due)
    .limit(1)
)
_FIRST_TO_END: Final = select(
    func.min(
        case(
            (destination.c.next_due > destination.c.lease_until, destination.c.next_due),
            else_=destination.c.lease_until,
        )
    )
).where(destination.c.kind == bindparam("kind"), text("owner IS NOT NULL"))


def hold_fence(tx: Transaction, owner: str, lease: Lease) -> None:
    """
    Make sure that the destination is ours until the commit.

    @raise LeaseLost: It is not.
    """
    if not tx.execute(_HOLD, _key(lease) | {"owner": owner, "fence": lease.fence}):
        raise LeaseLost(lease.name)


def open_slot(tx: Transaction, lease: Lease, now: int) -> bool:
    """
    Let somebody work beside the owner of C{lease}.

    @return: Whether there was not such a slot yet.
    """
    tx.execute(_OPEN[tx.dialect], _key(lease) | {"slot": lease.slot + 1, "next_due": now})
    return tx.changed > 0


def _key(lease: Lease) -> dict[str, object]:
    return {"kind": lease.kind, "name": lease.name, "slot": lease.slot}


# -- the port --------------------------------------------------------------------------


class Leases:
    """
    The half of L{moxsmtp.queue.storage.ILeases} that mail and webhooks share.

    @ivar owner: Names this process among all that use the database.
    """

    def __init__(
        self,
        database: Database,
        work: LeasedWork,
        *,
        owner: str,
        now: Callable[[], datetime],
        clock: Clock = database_clock,
    ) -> None:
        self._database = database
        self._work = work
        self._now = now
        self._clock = clock
        self.owner = owner

    async def claim(
        self, count: int, now: datetime, until: datetime, *, troubled: bool
    ) -> Sequence[Lease]:
        """See L{moxsmtp.queue.storage.ILeases.claim}."""

        def work(tx: Transaction) -> Sequence[Lease]:
            moment = self._clock(tx, now)
            rows = tx.execute(
                _CLAIMABLE,
                {
                    "kind": self._work.kind,
                    "now": moment,
                    "troubled": int(troubled),
                    "count": count,
                },
            )
            leases = [
                Lease(self._work.kind, name, slot, fence + 1, bool(is_troubled))
                for name, slot, _, fence, is_troubled in rows
            ]
            lease_until = moment + duration_microseconds(until - now)
            tx.execute_many(
                _OWN,
                [
                    _key(lease) | {"owner": self.owner, "fence": lease.fence, "until": lease_until}
                    for lease in leases
                ],
            )
            for name, slot, dead_owner, *_ in rows:
                if dead_owner is not None:
                    here = self._work.at(name, slot)
                    tx.execute(self._work.repeat_at, here)
                    tx.execute(self._work.leave_at, here)
            return leases

        return await self._database.transact(work)

    async def renew(self, leases: Sequence[Lease], until: datetime) -> Sequence[Lease]:
        """See L{moxsmtp.queue.storage.ILeases.renew}."""
        now = self._now()

        def work(tx: Transaction) -> Sequence[Lease]:
            lease_until = self._clock(tx, now) + duration_microseconds(until - now)
            ours = []
            # In one order everywhere, so that no two renewals wait for each other.
            for lease in sorted(leases, key=lambda lease: (lease.name, lease.slot)):
                tx.execute(
                    _RENEW,
                    _key(lease) | {"owner": self.owner, "fence": lease.fence, "until": lease_until},
                )
                if tx.changed:
                    ours.append(lease)
            return ours

        return await self._database.transact(work)

    async def release(
        self, lease: Lease, *, troubled: bool, rests_until: datetime | None = None
    ) -> None:
        """
        See L{moxsmtp.queue.storage.ILeases.release}.  A lease that was lost
        leaves nothing to give back.
        """
        now = self._now()

        def work(tx: Transaction) -> None:
            try:
                hold_fence(tx, self.owner, lease)
            except LeaseLost:
                return
            # What was begun and could not be settled is over, and keeps its time.
            tx.execute(self._work.leave_at, self._work.at(lease.name, lease.slot))
            ((due,),) = tx.execute(self._work.first_due, {"name": lease.name})
            if due is not None and rests_until is not None:
                due = max(due, moved(rests_until, now, self._clock(tx, now)))
            if due is None or lease.slot:
                if due is not None:
                    # What a crash cut short here is due, and the first slot may not know.
                    add_due(tx, lease.kind, lease.name, due, due)
                tx.execute(_FORGET, _key(lease))
            else:
                tx.execute(_GIVE_BACK, _key(lease) | {"next_due": due, "troubled": int(troubled)})

        await self._database.transact(work)

    async def next_due(self) -> datetime | None:
        """
        See L{moxsmtp.queue.storage.ILeases.next_due}.  An owned destination
        counts as due when its lease ends, for its owner may be dead.
        """
        kind = {"kind": self._work.kind}

        def work(tx: Transaction) -> int | None:
            moments = [due for (due,) in tx.execute(_FIRST_UNOWNED, kind)]
            moments += [due for (due,) in tx.execute(_FIRST_TO_END, kind) if due is not None]
            return min(moments, default=None)

        due = await self._database.read(work)
        return None if due is None else read_time(due)

    async def void(self) -> int:
        """See L{moxsmtp.queue.storage.ILeases.void}."""

        def work(tx: Transaction) -> int:
            tx.execute(_VOID, {"kind": self._work.kind})
            ((under_way,),) = tx.execute(self._work.under_way)
            tx.execute(self._work.repeat)
            tx.execute(self._work.leave)
            return int(under_way)

        return await self._database.transact(work)
