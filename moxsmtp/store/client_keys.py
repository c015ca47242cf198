"""Keys of TLS client certificates with which users log in (S-37)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from zope.interface import implementer

from moxsmtp.interfaces import IClientKeys, Login
from moxsmtp.store.columns import read_time, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import tls_public_key
from moxsmtp.store.transaction import Transaction

__all__ = ["ClientKey", "ClientKeys"]


@dataclass(frozen=True, slots=True)
class ClientKey:
    """
    A key and whom it is registered for.

    @ivar fingerprint: SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
    @ivar login: The address that it logs in with.
    @ivar name: What the user calls it; may be empty.
    """

    fingerprint: str
    account: str
    login: str
    name: str
    created: datetime


_COLUMNS: Final = ("fingerprint", "account", "login", "name", "created")


def _add(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    return insert.values({name: bindparam(name) for name in _COLUMNS}).on_conflict_do_nothing(
        index_elements=["fingerprint"]
    )


_ADD: Final[Mapping[str, Executable]] = {
    "sqlite": _add(sqlite.insert(tls_public_key)),
    "postgresql": _add(postgresql.insert(tls_public_key)),
}
_ALL: Final = select(*(tls_public_key.c[name] for name in _COLUMNS))
_ONE: Final = _ALL.where(tls_public_key.c.fingerprint == bindparam("fingerprint"))
_SORTED: Final = _ALL.order_by(tls_public_key.c.account, tls_public_key.c.created)
_OF_ACCOUNT: Final = _SORTED.where(tls_public_key.c.account == bindparam("account"))
_REMOVE: Final = delete(tls_public_key).where(
    tls_public_key.c.fingerprint == bindparam("fingerprint")
)


@implementer(IClientKeys)
class ClientKeys:
    """All of them."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def login_of(self, fingerprint: str) -> Login | None:
        """See L{IClientKeys.login_of}."""
        found = await self._database.read(lambda tx: _one(tx, fingerprint))
        return Login(found.account, found.login) if found else None

    async def add(self, fingerprint: str, login: Login, name: str) -> ClientKey:
        """
        Register a key; one that is known already stays as it is.

        @return: What is registered now, which may be somebody else's.
        """
        added = ClientKey(fingerprint, login.account, login.address, name, self._now())
        parameters = {
            "fingerprint": fingerprint,
            "account": login.account,
            "login": login.address,
            "name": name,
            "created": write_time(added.created),
        }

        def work(tx: Transaction) -> ClientKey:
            tx.execute(_ADD[tx.dialect], parameters)
            return _one(tx, fingerprint) or added

        return await self._database.transact(work)

    async def registered(self, account: str = "") -> Sequence[ClientKey]:
        """Those of an account, or all of them, the oldest first."""

        def work(tx: Transaction) -> Sequence[ClientKey]:
            rows = tx.execute(_OF_ACCOUNT, {"account": account}) if account else tx.execute(_SORTED)
            return [_client_key(row) for row in rows]

        return await self._database.read(work)

    async def remove(self, fingerprint: str) -> ClientKey | None:
        """
        From now on it logs nobody in.

        @return: What it was; L{None}: it was not registered.
        """

        def work(tx: Transaction) -> ClientKey | None:
            found = _one(tx, fingerprint)
            tx.execute(_REMOVE, {"fingerprint": fingerprint})
            return found

        return await self._database.transact(work)


def _one(tx: Transaction, fingerprint: str) -> ClientKey | None:
    rows = tx.execute(_ONE, {"fingerprint": fingerprint})
    return _client_key(rows[0]) if rows else None


def _client_key(row: Any) -> ClientKey:
    return ClientKey(row.fingerprint, row.account, row.login, row.name, read_time(row.created))
