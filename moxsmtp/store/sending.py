"""
How much accounts have sent, and to whom (S-94, I-108).

A row of C{sent} for each recipient of a message.  The first that an account
ever sent to a recipient is kept for good: by it, later ones are known to be no
first ones.  All others go when nobody counts them any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, text
from sqlalchemy.sql.expression import Executable

from moxsmtp.interfaces import Allowance
from moxsmtp.queue.job import MessageLimitReached, RecipientLimitReached
from moxsmtp.smtp.address import Path
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import sent
from moxsmtp.store.transaction import Transaction

__all__ = ["PERIOD", "Sending", "use_up", "within"]

#: For which the limits are given.
PERIOD: Final = timedelta(hours=24)

_PERIOD: Final = int(PERIOD / timedelta(microseconds=1))

#: Any number, other than those of other locks.
_LOCK_SPACE: Final = 0x73656E74

# Two that count at once would both find room for the last message.
_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({_LOCK_SPACE}, hashtext(:account))")

_COUNT: Final = select(func.count(), func.coalesce(func.sum(sent.c.is_first), 0)).where(
    sent.c.account == bindparam("account"), sent.c.at > bindparam("since")
)
_KNOWN: Final = (
    select(sent.c.id)
    .where(sent.c.account == bindparam("account"), sent.c.recipient == bindparam("recipient"))
    .limit(1)
)
_INSERT: Final = insert(sent).values(
    account=bindparam("account"),
    recipient=bindparam("recipient"),
    at=bindparam("now"),
    is_first=bindparam("is_first"),
)


def _remove_old() -> Executable:
    oldest = (
        select(sent.c.id)
        .where(sent.c.at <= bindparam("since"), text("is_first = 0"))
        .limit(bindparam("limit"))
    )
    return delete(sent).where(sent.c.id.in_(oldest))


_REMOVE_OLD: Final = _remove_old()


def within(
    tx: Transaction, allowance: Allowance, recipients: Iterable[Path], now: int
) -> Mapping[str, bool]:
    """
    See that messages to C{recipients} may be sent.

    @param now: Microseconds since the epoch.
    @return: For each of them, in its canonical form, whether it was written to before.
    @raise MessageLimitReached: There would be too many of them.
    @raise RecipientLimitReached: Too many would go to new correspondents.
    """
    account = allowance.account
    names = [_canonical(recipient) for recipient in recipients]
    known = {
        name: bool(tx.execute(_KNOWN, {"account": account, "recipient": name}))
        for name in dict.fromkeys(names)
    }
    if allowance.messages or allowance.first_time_recipients:
        ((messages, first),) = tx.execute(_COUNT, {"account": account, "since": now - _PERIOD})
        if allowance.messages and messages + len(names) > allowance.messages:
            raise MessageLimitReached(allowance.messages)
        new = list(known.values()).count(False)
        if (
            allowance.first_time_recipients
            and first + new > allowance.first_time_recipients
            and new
        ):
            raise RecipientLimitReached(allowance.first_time_recipients)
    return known


def use_up(tx: Transaction, allowance: Allowance, recipients: Sequence[Path], now: int) -> None:
    """
    Count messages to C{recipients}, if they may be sent.

    @raise MessageLimitReached: As L{within}.
    @raise RecipientLimitReached: As L{within}.
    """
    account = allowance.account
    if tx.dialect == "postgresql":
        tx.execute(_LOCK, {"account": account})
    known = dict(within(tx, allowance, recipients, now))
    rows = []
    for recipient in recipients:
        name = _canonical(recipient)
        is_first = int(not known[name])
        rows.append({"account": account, "recipient": name, "now": now, "is_first": is_first})
        known[name] = True
    tx.execute_many(_INSERT, rows)


def _canonical(recipient: Path) -> str:
    """Most of the world reads local-parts without regard to case."""
    return Path(recipient.local_part.lower(), recipient.domain).ascii


class Sending:
    """What cleaners ask for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remove_old(self, now: datetime, limit: int = 1000) -> int:
        """
        Forget what no limit counts any more.

        @param limit: At most so many rows at once, for others wait meanwhile.
        @return: How many; less than C{limit}: that was all.
        """
        parameters = {"since": write_time(now - PERIOD), "limit": limit}

        def work(tx: Transaction) -> int:
            tx.execute(_REMOVE_OLD, parameters)
            return tx.changed

        return await self._database.transact(work)
