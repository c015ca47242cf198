"""Which domains offered TLS when an account's mail went there (Q-62)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable

from moxsmtp.names import Domain
from moxsmtp.store.columns import read_time, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import tls_seen
from moxsmtp.store.transaction import Transaction

__all__ = ["Seen", "TLSSeen"]

#: What was written lately is not written again if it is the same: a busy domain
#: would cost a transaction each message.  Another process may have written
#: otherwise meanwhile, so that it is not for long.
_LATELY: Final = timedelta(minutes=5)
_MOST_LATELY: Final = 10_000

#: After so long the time is brought up to date, even if nothing else has changed.
_STALE: Final = timedelta(days=1)

_Insert = sqlite.Insert | postgresql.Insert


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What the last host of a domain offered.

    @ivar updated: When; exact to a day where nothing has changed.
    """

    starttls: bool
    require_tls: bool
    updated: datetime


def _remember(insert: _Insert) -> Executable:
    names = ("account", "domain", "updated", "starttls", "require_tls")
    row = insert.values({name: bindparam(name) for name in names})
    new = row.excluded
    return row.on_conflict_do_update(
        index_elements=["account", "domain"],
        set_={name: new[name] for name in names[2:]},
        where=or_(
            tls_seen.c.starttls != new.starttls,
            tls_seen.c.require_tls != new.require_tls,
            tls_seen.c.updated < bindparam("stale"),
        ),
    )


_REMEMBER: Final[Mapping[str, Executable]] = {
    "sqlite": _remember(sqlite.insert(tls_seen)),
    "postgresql": _remember(postgresql.insert(tls_seen)),
}
_SEEN: Final = select(tls_seen.c.starttls, tls_seen.c.require_tls, tls_seen.c.updated).where(
    tls_seen.c.account == bindparam("account"), tls_seen.c.domain == bindparam("domain")
)

_Known = tuple[bool, bool, datetime]


class TLSSeen:
    """Remembers, for whoever writes a message and wants to know how it will travel."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._lately: OrderedDict[tuple[str, Domain], _Known] = OrderedDict()

    async def remember(
        self, account: str, domain: Domain, *, starttls: bool, require_tls: bool
    ) -> None:
        """
        Put down what a host of C{domain} offered; the last one counts.

        @param require_tls: REQUIRETLS, after STARTTLS (RFC 8689).
        """
        now = self._now()
        key = account, domain
        known = self._lately.get(key)
        if known is not None and known[:2] == (starttls, require_tls) and known[2] > now - _LATELY:
            return
        parameters = {
            "account": account,
            "domain": domain.ascii,
            "updated": write_time(now),
            "starttls": int(starttls),
            "require_tls": int(require_tls),
            "stale": write_time(now - _STALE),
        }

        def work(tx: Transaction) -> None:
            tx.execute(_REMEMBER[tx.dialect], parameters)

        await self._database.transact(work)
        self._lately[key] = starttls, require_tls, now
        self._lately.move_to_end(key)
        if len(self._lately) > _MOST_LATELY:
            self._lately.popitem(last=False)

    async def seen(self, account: str, domain: Domain) -> Seen | None:
        """What is remembered; L{None}: nothing."""

        def work(tx: Transaction) -> Seen | None:
            rows = tx.execute(_SEEN, {"account": account, "domain": domain.ascii})
            if not rows:
                return None
            starttls, require_tls, updated = rows[0]
            return Seen(bool(starttls), bool(require_tls), read_time(updated))

        return await self._database.read(work)
