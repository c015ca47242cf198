"""
Rules by which mail is put on hold as it is queued.  Q-20.

Adding a rule holds what waits already, too.  Nothing falls between the two:
whoever queues reads the rules after its own rows are there, and who adds a
rule waits for those that are about to commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Integer, Text, bindparam, delete, func, insert, select, text, update

from moxsmtp.queue.filter import HoldRule
from moxsmtp.store.columns import read_time, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import hold_rule, job
from moxsmtp.store.transaction import Transaction

__all__ = ["HoldRules", "hold_new"]

#: Jobs that are held in one transaction.
_STEP: Final = 500

_ALL: Final = select(hold_rule).order_by(hold_rule.c.id)
_INSERT: Final = (
    insert(hold_rule)
    .values(
        {
            name: bindparam(name)
            for name in ("account", "sender_domain", "recipient_domain", "created")
        }
    )
    .returning(hold_rule.c.id)
)
_REMOVE: Final = delete(hold_rule).where(hold_rule.c.id == bindparam("id")).returning(hold_rule)

# Jobs that are about to be committed come first; later ones see the rule.
_WAIT_FOR_JOBS: Final = text("LOCK TABLE job IN SHARE MODE")

_LAST: Final = select(func.max(job.c.id))
_HOLD: Final = (
    update(job).where(job.c.id == bindparam("id"), job.c.hold == text("0")).values(hold=1)
)
_MATCHES: Final = (
    select(job.c.id)
    .where(
        job.c.id > bindparam("after"),
        job.c.id <= bindparam("until"),
        job.c.hold == text("0"),
        *(
            (bindparam(f"any_{name}", type_=Integer) == 1) | (column == bindparam(name, type_=Text))
            for name, column in (
                ("account", job.c.account),
                ("sender_domain", job.c.sender_domain),
                ("recipient_domain", job.c.destination),
            )
        ),
    )
    .order_by(job.c.id)
    .limit(_STEP)
)


def hold_new(tx: Transaction, jobs: Sequence[tuple[int, str, str, str]]) -> None:
    """
    Hold what the rules say, of jobs whose rows were added in this transaction.

    @param jobs: Number, account, domain of the sender and of the recipient.
    """
    rules = [_read(row) for row in tx.execute(_ALL)]
    if not rules:
        return
    held = [
        {"id": number}
        for number, account, sender, recipient in jobs
        if any(rule.matches(account, sender, recipient) for rule in rules)
    ]
    tx.execute_many(_HOLD, held)


class HoldRules:
    """The rules, for people."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        changed: Callable[[Set[int]], None] = lambda _: None,
    ) -> None:
        """@param changed: Called after the commit with numbers of jobs that were held."""
        self._database = database
        self._now = now
        self._changed = changed

    async def all(self) -> Sequence[HoldRule]:
        """In the order in which they were made."""
        return await self._database.read(lambda tx: [_read(row) for row in tx.execute(_ALL)])

    async def add(
        self, *, account: str = "", sender_domain: str = "", recipient_domain: str = ""
    ) -> tuple[HoldRule, int]:
        """
        Hold what waits and what will be queued, if it meets all conditions; an
        empty one is none, and without any the whole queue is held.

        @return: The rule, and how many jobs that waited it has held.
        """
        conditions = {
            "account": account,
            "sender_domain": sender_domain,
            "recipient_domain": recipient_domain,
        }
        created = write_time(self._now())

        def insert_rule(tx: Transaction) -> tuple[int, int]:
            if tx.dialect == "postgresql":
                tx.execute(_WAIT_FOR_JOBS)
            ((number,),) = tx.execute(_INSERT, {**conditions, "created": created})
            ((last,),) = tx.execute(_LAST)
            return int(number), int(last or 0)

        number, last = await self._database.transact(insert_rule)
        matching = {
            **conditions,
            **{f"any_{name}": int(not value) for name, value in conditions.items()},
        }
        held = after = 0
        while found := await self._matches({**matching, "after": after, "until": last}):
            held += await self._hold(found)
            after = found[-1]
        rule = HoldRule(number, **conditions, created=read_time(created))
        return rule, held

    async def _matches(self, parameters: Mapping[str, object]) -> Sequence[int]:
        return await self._database.read(
            lambda tx: [number for (number,) in tx.execute(_MATCHES, parameters)]
        )

    async def _hold(self, numbers: Sequence[int]) -> int:
        """What they are found by never changes, so they are not looked at again."""

        def work(tx: Transaction) -> int:
            tx.execute_many(_HOLD, [{"id": number} for number in numbers])
            return tx.changed

        def settled(committed: bool) -> None:
            if committed:
                self._changed(frozenset(numbers))

        return await self._database.transact(work, settled=settled)

    async def remove(self, number: int) -> HoldRule | None:
        """
        What it has held stays on hold.

        @return: What it was; L{None}: there is none of that number.
        """

        def work(tx: Transaction) -> HoldRule | None:
            rows = tx.execute(_REMOVE, {"id": number})
            return _read(rows[0]) if rows else None

        return await self._database.transact(work)


def _read(row: Any) -> HoldRule:
    return HoldRule(
        id=row.id,
        account=row.account,
        sender_domain=row.sender_domain,
        recipient_domain=row.recipient_domain,
        created=read_time(row.created),
    )
