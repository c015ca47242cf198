"""What becomes of messages whose account reads its mail in a Maildir."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import Executable
from zope.interface import implementer

from moxsmtp.interfaces import IContent
from moxsmtp.mailbox.storage import HandOver, IHandOver, InMaildir
from moxsmtp.store.columns import read_time
from moxsmtp.store.content import StoredContent, release_contents
from moxsmtp.store.database import Database
from moxsmtp.store.schema import CHUNK, content, content_chunk, maildir, message
from moxsmtp.store.transaction import Transaction

__all__ = ["HandOvers"]

# As text: SQLite matches a partial index by literals only.
_pending = text("message.hand_over = 1")
_waits = text("hand_over = 1")

_PENDING: Final = (
    select(
        message.c.id,
        message.c.account,
        message.c.mailbox,
        message.c.flags,
        message.c.received,
        message.c.size,
        message.c.prefix,
        message.c.content_id,
        message.c.maildir_name,
        content_chunk.c.data,
    )
    .select_from(
        message.join(content, content.c.id == message.c.content_id).outerjoin(
            content_chunk,
            (content_chunk.c.content_id == content.c.id)
            & (content_chunk.c.number == 0)
            & (content.c.size <= CHUNK),
        )
    )
    .where(_pending, message.c.id > bindparam("after"))
    .order_by(message.c.id)
    .limit(bindparam("limit"))
)
_NAME: Final = (
    update(message)
    .where(message.c.id == bindparam("id"), _waits)
    .values(maildir_name=bindparam("name"))
)
_DONE: Final = (
    update(message)
    .where(message.c.id == bindparam("id"), _waits, message.c.maildir_name.is_not(None))
    .values(content_id=None, hand_over=0, prefix=b"")
)
_IN_MAILDIR: Final = select(
    message.c.maildir_name, message.c.mailbox, message.c.flags, message.c.absent
).where(
    message.c.account == bindparam("account"),
    text("maildir_name IS NOT NULL"),
    message.c.hand_over == text("0"),
)
_named = (
    message.c.account == bindparam("account"),
    message.c.maildir_name == bindparam("name"),
    message.c.hand_over == text("0"),
)
_MOVE: Final = (
    update(message)
    .where(*_named)
    .values(mailbox=bindparam("mailbox"), flags=bindparam("flags"), absent=0)
)
_ABSENT: Final = update(message).where(*_named).values(absent=1)
_EXPUNGE: Final = delete(message).where(*_named)
_IDENTITY: Final = select(maildir.c.identity).where(maildir.c.account == bindparam("account"))


def _recognizing(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    row = insert.values(account=bindparam("account"), identity=bindparam("identity"))
    return row.on_conflict_do_update(
        index_elements=["account"], set_={"identity": row.excluded.identity}
    )


_RECOGNIZE: Final[Mapping[str, Executable]] = {
    "sqlite": _recognizing(sqlite.insert(maildir)),
    "postgresql": _recognizing(postgresql.insert(maildir)),
}


@implementer(IHandOver)
class HandOvers:
    """L{IHandOver} over the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending_hand_overs(self, limit: int, after: int = 0) -> Sequence[HandOver]:
        """See L{IHandOver.pending_hand_overs}."""
        parameters = {"limit": limit, "after": after}
        return await self._database.read(
            lambda tx: [_read(row) for row in tx.execute(_PENDING, parameters)]
        )

    def content(self, hand_over: HandOver) -> IContent:
        """See L{IHandOver.content}."""
        size = hand_over.size - len(hand_over.prefix)
        return StoredContent(self._database, hand_over.content, size)

    async def name_hand_overs(self, names: Mapping[int, str]) -> Sequence[int]:
        """See L{IHandOver.name_hand_overs}."""

        def work(tx: Transaction) -> Sequence[int]:
            named = []
            for number in sorted(names):
                tx.execute(_NAME, {"id": number, "name": names[number]})
                if tx.changed:
                    named.append(number)
            return named

        return await self._database.transact(work)

    async def handed_over(self, done: Sequence[HandOver]) -> None:
        """See L{IHandOver.handed_over}."""

        def work(tx: Transaction) -> None:
            released = []
            for each in sorted(done, key=lambda each: each.id):
                tx.execute(_DONE, {"id": each.id})
                if tx.changed:
                    released.append(each.content)
            release_contents(tx, released)

        await self._database.transact(work)

    async def maildir_names(self, account: str) -> Mapping[str, InMaildir]:
        """See L{IHandOver.maildir_names}."""

        def work(tx: Transaction) -> Mapping[str, InMaildir]:
            return {
                name: InMaildir(name, mailbox, flags, is_absent=bool(absent))
                for name, mailbox, flags, absent in tx.execute(_IN_MAILDIR, {"account": account})
            }

        return await self._database.read(work)

    async def moved(self, account: str, seen: Sequence[InMaildir]) -> int:
        """See L{IHandOver.moved}."""

        def work(tx: Transaction) -> int:
            tx.execute_many(
                _MOVE,
                [
                    {
                        "account": account,
                        "name": each.name,
                        "mailbox": each.mailbox,
                        "flags": each.flags,
                    }
                    for each in seen
                ],
            )
            return tx.changed

        return await self._database.transact(work)

    async def maildir_identity(self, account: str) -> str:
        """See L{IHandOver.maildir_identity}."""
        rows = await self._database.read(lambda tx: tx.execute(_IDENTITY, {"account": account}))
        return str(rows[0][0]) if rows else ""

    async def recognized(self, account: str, identity: str, absent: Sequence[str] = ()) -> None:
        """See L{IHandOver.recognized}."""

        def work(tx: Transaction) -> None:
            tx.execute(_RECOGNIZE[tx.dialect], {"account": account, "identity": identity})
            tx.execute_many(_ABSENT, [{"account": account, "name": name} for name in absent])

        await self._database.transact(work)

    async def expunged(self, account: str, names: Sequence[str]) -> int:
        """See L{IHandOver.expunged}."""

        def work(tx: Transaction) -> int:
            tx.execute_many(_EXPUNGE, [{"account": account, "name": name} for name in names])
            return tx.changed

        return await self._database.transact(work)


def _read(row: Any) -> HandOver:
    return HandOver(
        id=row.id,
        account=row.account,
        mailbox=row.mailbox,
        flags=row.flags,
        received=read_time(row.received),
        size=row.size,
        prefix=row.prefix,
        content=row.content_id,
        data=row.data,
        name=row.maildir_name,
    )
