"""Secrets: passwords of accounts as derivatives, and what identifies the installation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from zope.interface import implementer

from moxsmtp.interfaces import IPasswordHashes
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import credential, identity
from moxsmtp.store.transaction import Transaction

__all__ = ["Credentials", "Identity"]


def _set_password(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    row = insert.values(
        account=bindparam("account"), password=bindparam("password"), changed=bindparam("changed")
    )
    return row.on_conflict_do_update(
        index_elements=["account"],
        set_={"password": row.excluded.password, "changed": row.excluded.changed},
    )


_SET_PASSWORD: Final[Mapping[str, Executable]] = {
    "sqlite": _set_password(sqlite.insert(credential)),
    "postgresql": _set_password(postgresql.insert(credential)),
}
_PASSWORD: Final = select(credential.c.password).where(credential.c.account == bindparam("account"))


def _make_identity(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    return insert.values(name=bindparam("name"), value=bindparam("value")).on_conflict_do_nothing(
        index_elements=["name"]
    )


_MAKE_IDENTITY: Final[Mapping[str, Executable]] = {
    "sqlite": _make_identity(sqlite.insert(identity)),
    "postgresql": _make_identity(postgresql.insert(identity)),
}
_IDENTITY: Final = select(identity.c.value).where(identity.c.name == bindparam("name"))


@implementer(IPasswordHashes)
class Credentials:
    """Passwords as derivatives in PHC string form.  Making and checking them is not done here."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def set_password_hash(self, account: str, phc: str) -> None:
        """See L{IPasswordHashes.set_password_hash}."""
        parameters = {"account": account, "password": phc, "changed": write_time(self._now())}

        def work(tx: Transaction) -> None:
            tx.execute(_SET_PASSWORD[tx.dialect], parameters)

        await self._database.transact(work)

    async def password_hash(self, account: str) -> str | None:
        """See L{IPasswordHashes.password_hash}."""
        rows = await self._database.read(lambda tx: tx.execute(_PASSWORD, {"account": account}))
        return str(rows[0][0]) if rows else None


class Identity:
    """Secrets of the installation, made once and the same for all its processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """
        The secret of that name.

        @param make: Makes a new one; used if there is none.
        """
        parameters = {"name": name, "value": make()}

        def work(tx: Transaction) -> bytes:
            tx.execute(_MAKE_IDENTITY[tx.dialect], parameters)
            ((value,),) = tx.execute(_IDENTITY, {"name": name})
            return bytes(value)

        return await self._database.transact(work)
