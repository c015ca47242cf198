"""Keys of TLS client certificates with which users log in (S-37)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from moxsmtp.interfaces import IClientKeys, Login, StorageUnavailable
from moxsmtp.store.columns import read_time, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import tls_public_key
from moxsmtp.store.transaction import Transaction

__all__ = ["ClientKey", "ClientKeys"]

#: How long what is remembered counts.  Looks are far more frequent: the store is away if so
#: much time goes by without one.
_LONGEST: Final = timedelta(seconds=10)

#: So many looks go by what can be told of the table at a glance; then all of it is read.
#: What they can miss is a key that came when another went, by a clock that is behind.
_GLANCES: Final = 30

#: What the table shows at a glance: how many keys, and when the last of them came.
_Glance = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ClientKey:
    """
    A key and whom it is registered for.

    @ivar fingerprint: SHA-256 of the SubjectPublicKeyInfo, in base64url without padding.
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
_GLIMPSE: Final = select(
    func.count().label("number"), func.coalesce(func.max(tls_public_key.c.created), 0).label("last")
).select_from(tls_public_key)
_SORTED: Final = _ALL.order_by(tls_public_key.c.account, tls_public_key.c.created)
_OF_ACCOUNT: Final = _SORTED.where(tls_public_key.c.account == bindparam("account"))
_REMOVE: Final = delete(tls_public_key).where(
    tls_public_key.c.fingerprint == bindparam("fingerprint")
)


@implementer(IClientKeys)
class ClientKeys:
    """
    All of them.

    A handshake cannot wait for the store, so each process remembers them.  L{look} is to be
    called every few seconds, for other processes add and remove keys too.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._lock = DeferredLock()
        self._remembered: Mapping[str, Login] = {}
        self._glance: _Glance | None = None
        self._glances = 0
        self._looked: datetime | None = None

    def remembered(self) -> Mapping[str, Login] | None:
        """See L{IClientKeys.remembered}."""
        if self._looked is None or not timedelta() <= self._now() - self._looked <= _LONGEST:
            return None
        return self._remembered

    async def look(self) -> None:
        """
        Bring what is remembered up to date.

        @raise StorageUnavailable: It stays as it was.
        """
        await self._lock.acquire()
        try:
            self._glances = (self._glances + 1) % _GLANCES
            known = self._glance if self._glances else None
            began = self._now()
            glance, found = await self._database.read(lambda tx: _changes(tx, known))
            self._glance, self._looked = glance, began
            if found is not None:
                self._remembered = found
        finally:
            self._lock.release()

    async def _look_whole(self) -> None:
        """After a change of ours: it counts here at once, and never by what was read before."""
        self._glances = -1
        self._looked = None
        # Until the next look nothing is remembered, then.
        with suppress(StorageUnavailable):
            await self.look()

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
            "fingerprint": _kept(fingerprint),
            "account": login.account,
            "login": login.address,
            "name": name,
            "created": write_time(added.created),
        }

        def work(tx: Transaction) -> ClientKey:
            tx.execute(_ADD[tx.dialect], parameters)
            return _one(tx, fingerprint) or added

        found = await self._database.transact(work)
        await self._look_whole()
        return found

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
            tx.execute(_REMOVE, {"fingerprint": _kept(fingerprint)})
            return found

        gone = await self._database.transact(work)
        await self._look_whole()
        return gone


def _changes(tx: Transaction, known: _Glance | None) -> tuple[_Glance, Mapping[str, Login] | None]:
    """@return: What shows at a glance, and all keys, unless C{known} shows the same."""
    ((number, last),) = tx.execute(_GLIMPSE)
    glance = int(number), int(last)
    if glance == known:
        return glance, None
    keys = map(_client_key, tx.execute(_ALL))
    return glance, {key.fingerprint: Login(key.account, key.login) for key in keys}


def _one(tx: Transaction, fingerprint: str) -> ClientKey | None:
    rows = tx.execute(_ONE, {"fingerprint": _kept(fingerprint)})
    return _client_key(rows[0]) if rows else None


def _client_key(row: Any) -> ClientKey:
    fingerprint = _shown(row.fingerprint)
    return ClientKey(fingerprint, row.account, row.login, row.name, read_time(row.created))


def _kept(fingerprint: str) -> str:
    """In hexadecimal, as the first version that had keys wrote them."""
    return base64.urlsafe_b64decode(fingerprint + "=").hex()


def _shown(kept: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(kept)).rstrip(b"=").decode()
