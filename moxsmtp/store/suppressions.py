"""Recipients to whom an account's mail is not sent any more.  Q-28, Q-30, Q-31."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Integer, Text, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable

from moxsmtp.queue.suppression import Suppression, base_address
from moxsmtp.smtp.address import Path
from moxsmtp.store.columns import read_time, write_text, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import suppression
from moxsmtp.store.transaction import Transaction

__all__ = ["Suppressions", "add_suppression", "is_suppressed"]


def _inserting(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    names = (
        "account", "base_address", "original_address", "manual", "reason", "created",
    )  # fmt: skip
    return (
        insert.values({name: bindparam(name) for name in names})
        .on_conflict_do_nothing(index_elements=["account", "base_address"])
        .returning(suppression.c.id)
    )


_INSERT: Final[Mapping[str, Executable]] = {
    "sqlite": _inserting(sqlite.insert(suppression)),
    "postgresql": _inserting(postgresql.insert(suppression)),
}
_this = (
    (suppression.c.account == bindparam("account"))
    & (suppression.c.base_address == bindparam("base_address"))
)  # fmt: skip
_FIND: Final = select(suppression).where(_this)
_REMOVE: Final = delete(suppression).where(_this).returning(suppression)
_PAGE: Final = (
    select(suppression)
    .where(
        suppression.c.id > bindparam("after"),
        (bindparam("everybody", type_=Integer) == 1)
        | (suppression.c.account == bindparam("account", type_=Text)),
    )
    .order_by(suppression.c.id)
    .limit(bindparam("limit"))
)


def is_suppressed(tx: Transaction, account: str, recipient: Path) -> bool:
    """Whether the account's list names a recipient; the server itself has none."""
    return bool(account) and bool(tx.execute(_FIND, _key(account, recipient)))


def add_suppression(tx: Transaction, new: Suppression) -> bool:
    """@return: Whether it was not there; one that was there stays as it is."""
    return bool(
        tx.execute(
            _INSERT[tx.dialect],
            {
                "account": new.account,
                "base_address": write_text(new.base_address),
                "original_address": write_text(new.original_address),
                "manual": int(new.manual),
                "reason": write_text(new.reason),
                "created": write_time(new.created),
            },
        )
    )


class Suppressions:
    """The lists of all accounts, for people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, account: str = "", *, after: int = 0, limit: int = 100
    ) -> Sequence[tuple[int, Suppression]]:
        """
        Entries with their numbers, the oldest first.

        @param account: Empty for all.
        @param after: Only those with a higher number.
        """
        parameters = {
            "account": account,
            "everybody": int(not account),
            "after": after,
            "limit": limit,
        }
        return await self._database.read(
            lambda tx: [(row.id, _read(row)) for row in tx.execute(_PAGE, parameters)]
        )

    async def find(self, account: str, address: Path) -> Suppression | None:
        """The entry that stands for an address, if there is one."""
        key = _key(account, address)

        def work(tx: Transaction) -> Suppression | None:
            rows = tx.execute(_FIND, key)
            return _read(rows[0]) if rows else None

        return await self._database.read(work)

    async def add(self, new: Suppression) -> bool:
        """@return: Whether it was not there; one that was there stays as it is."""
        return await self._database.transact(lambda tx: add_suppression(tx, new))

    async def remove(self, account: str, address: Path) -> Suppression | None:
        """@return: What stood for the address; L{None}: nothing did."""
        key = _key(account, address)

        def work(tx: Transaction) -> Suppression | None:
            rows = tx.execute(_REMOVE, key)
            return _read(rows[0]) if rows else None

        return await self._database.transact(work)


def _key(account: str, address: Path) -> Mapping[str, object]:
    return {"account": account, "base_address": write_text(base_address(address))}


def _read(row: Any) -> Suppression:
    return Suppression(
        account=row.account,
        base_address=row.base_address,
        original_address=row.original_address,
        manual=bool(row.manual),
        reason=row.reason,
        created=read_time(row.created),
    )
