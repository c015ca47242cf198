"""
Accepted mail: its first and durable home.

One content serves all recipients of a transaction and is counted by its
references; message rows and webhook calls stand in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import bindparam, delete, select
from zope.interface import implementer

from moxsmtp.interfaces import IContent, IMailStore, ISpool, NewMessage, Spooled
from moxsmtp.store.columns import write_time
from moxsmtp.store.content import StoredContent, insert_content, release_contents
from moxsmtp.store.database import Database
from moxsmtp.store.echoes import matched
from moxsmtp.store.message_rows import (
    COLUMNS,
    StoredMessage,
    insert_messages,
    message_row,
    read_message,
)
from moxsmtp.store.schema import message
from moxsmtp.store.spool import Contents
from moxsmtp.store.transaction import Transaction

__all__ = ["MailStore", "PrefixedContent"]

T = TypeVar("T")

_PAGE: Final = (
    select(*COLUMNS)
    .where(message.c.account == bindparam("account"), message.c.id < bindparam("before"))
    .order_by(message.c.id.desc())
    .limit(bindparam("limit"))
)
_ONE: Final = select(*COLUMNS, message.c.prefix).where(
    message.c.id == bindparam("id"), message.c.account == bindparam("account")
)
_DELETE: Final = (
    delete(message)
    .where(message.c.id == bindparam("id"), message.c.account == bindparam("account"))
    .returning(*COLUMNS)
)

#: Greater than any number of a row.
_ABOVE_ALL: Final = 2**63 - 1


@implementer(IContent)
class PrefixedContent:
    """Header fields of ours and the content behind them, as one."""

    def __init__(self, prefix: bytes, content: IContent) -> None:
        self._prefix = prefix
        self._content = content
        self.size: int = len(prefix) + content.size

    async def read(self, offset: int, length: int) -> bytes:
        """See L{IContent.read}."""
        if offset < len(self._prefix):
            return self._prefix[offset : offset + length]
        return await self._content.read(offset - len(self._prefix), length)


@implementer(IMailStore)
class MailStore:
    """L{IMailStore} over the tables, and what administrators ask of it."""

    def __init__(
        self,
        database: Database,
        contents: Contents,
        *,
        now: Callable[[], datetime],
        stored: Callable[[frozenset[str]], None],
        in_maildir: Callable[[str, str], IContent],
    ) -> None:
        """
        @param stored: Called after the commit with the accounts that got mail,
            so that webhooks and hand-over go on at once.
        @param in_maildir: Opens a message, prefix and all, that is in the
            account's Maildir only: account, name there.
        """
        self._database = database
        self._contents = contents
        self._now = now
        self._stored = stored
        self._in_maildir = in_maildir

    def spool(self) -> ISpool:
        """See L{IMailStore.spool}."""
        return self._contents.spool()

    async def examine(self, spooled: Spooled, look: Callable[[bytes | mmap], T]) -> T:
        """See L{IMailStore.examine}."""
        if spooled.inline is not None:
            return look(spooled.inline)
        if spooled.file is None:
            raise ValueError("there is no content")
        return await self._contents.run(_looked, self._contents.files.path(spooled.file), look)

    async def deliver(self, spooled: Spooled, messages: Sequence[NewMessage]) -> Sequence[int]:
        """
        See L{IMailStore.deliver}.

        @raise ValueError: No messages.
        """
        if not messages:
            raise ValueError("no messages")
        moment = self._now()
        now = write_time(moment)
        taken = self._contents.custody(spooled)
        rows = [message_row(new, spooled.size) for new in messages]
        echoes = any(new.echo is not None for new in messages)

        def work(tx: Transaction) -> Sequence[int]:
            content = insert_content(tx, spooled, len(messages))
            told = matched(tx, messages, moment) if echoes else messages
            return insert_messages(tx, told, content=content, size=spooled.size, now=now, rows=rows)

        def settled(committed: bool) -> None:
            taken(committed)
            if committed:
                self._stored(frozenset(new.account for new in messages))

        return await self._database.transact(work, settled=settled)

    async def list_messages(
        self, account: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[StoredMessage]:
        """
        Messages of an account, the newest first.

        @param before: Only those with a lower number: the last one of the page
            before this.
        """
        parameters = {"account": account, "before": before or _ABOVE_ALL, "limit": limit}
        return await self._database.read(
            lambda tx: [read_message(row) for row in tx.execute(_PAGE, parameters)]
        )

    async def open(self, account: str, number: int) -> tuple[StoredMessage, IContent] | None:
        """
        A message with its whole content.

        @return: L{None}: the account has no such message.
        """
        rows = await self._database.read(
            lambda tx: tx.execute(_ONE, {"id": number, "account": account})
        )
        if not rows:
            return None
        found = read_message(rows[0])
        prefix: bytes = rows[0].prefix
        if found.content is not None:
            content = StoredContent(self._database, found.content, found.size - len(prefix))
            return found, PrefixedContent(prefix, content)
        if found.maildir_name is None:
            raise LookupError(f"message {number} has no content")
        return found, self._in_maildir(account, found.maildir_name)

    async def delete(self, account: str, numbers: Sequence[int]) -> Sequence[StoredMessage]:
        """
        Remove messages, and content that nobody refers to any more.  Files in a
        Maildir are the caller's to remove.

        @return: Those that were there.
        """

        def work(tx: Transaction) -> Sequence[StoredMessage]:
            gone = [
                row
                for number in sorted(set(numbers))
                for row in tx.execute(_DELETE, {"id": number, "account": account})
            ]
            release_contents(tx, [row.content_id for row in gone if row.content_id is not None])
            return [read_message(row) for row in gone]

        return await self._database.transact(work)


def _looked(path: Path, look: Callable[[bytes | mmap], T]) -> T:
    """In a thread."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as octets:
        return look(octets)
