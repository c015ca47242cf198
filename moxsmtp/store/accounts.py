"""Secrets: passwords of accounts as derivatives, and what identifies the installation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from zope.interface import implementer

from moxsmtp.interfaces import IPasswordHashes, PasswordSecrets
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import credential, identity
from moxsmtp.store.transaction import Transaction

__all__ = ["Credentials", "Identity"]


#: Columns of what is kept of a password, in the order of L{PasswordSecrets}.
_KEPT: Final = ("password", "scram_sha256", "scram_sha1", "cram_md5")


def _set_secrets(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    columns = (*_KEPT, "changed")
    row = insert.values(account=bindparam("account"), **{name: bindparam(name) for name in columns})
    return row.on_conflict_do_update(
        index_elements=["account"], set_={name: row.excluded[name] for name in columns}
    )


_SET_SECRETS: Final[Mapping[str, Executable]] = {
    "sqlite": _set_secrets(sqlite.insert(credential)),
    "postgresql": _set_secrets(postgresql.insert(credential)),
}
_COMPLETE: Final = (
    update(credential)
    .where(
        credential.c.account == bindparam("account"),
        credential.c.password == bindparam("phc"),
    )
    .values({name: bindparam(name) for name in _KEPT[1:]})
)
_FORGET_CRAM: Final = update(credential).where(credential.c.cram_md5 != "").values(cram_md5="")
_SECRETS: Final = select(*(credential.c[name] for name in _KEPT)).where(
    credential.c.account == bindparam("account")
)


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
    """Passwords as derivatives.  Making and checking them is not done here."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def set_password_secrets(self, account: str, secrets: PasswordSecrets) -> None:
        """See L{IPasswordHashes.set_password_secrets}."""
        parameters = {
            "account": account,
            **{name: getattr(secrets, name) for name in _KEPT},
            "changed": write_time(self._now()),
        }

        def work(tx: Transaction) -> None:
            tx.execute(_SET_SECRETS[tx.dialect], parameters)

        await self._database.transact(work)

    async def complete_password_secrets(self, account: str, secrets: PasswordSecrets) -> None:
        """See L{IPasswordHashes.complete_password_secrets}."""
        parameters = {
            "account": account,
            "phc": secrets.password,
            **{name: getattr(secrets, name) for name in _KEPT[1:]},
        }

        def work(tx: Transaction) -> None:
            tx.execute(_COMPLETE, parameters)

        await self._database.transact(work)

    async def password_secrets(self, account: str) -> PasswordSecrets | None:
        """See L{IPasswordHashes.password_secrets}."""
        rows = await self._database.read(lambda tx: tx.execute(_SECRETS, {"account": account}))
        return PasswordSecrets(*map(str, rows[0])) if rows else None

    async def forget_cram_md5(self) -> None:
        """Where CRAM-MD5 is off, nothing is kept for it."""

        def work(tx: Transaction) -> None:
            tx.execute(_FORGET_CRAM, {})

        await self._database.transact(work)


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
