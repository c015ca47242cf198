"""What operators may do to a running server, joined from the parts that do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.threads import deferToThreadPool

from moxsmtp.engine import Engine
from moxsmtp.interfaces import Account, IContent, IPasswordHashes
from moxsmtp.mailbox.content import NoMaildir
from moxsmtp.receive.passwords import derive
from moxsmtp.reloading import LiveAccounts
from moxsmtp.store.backup import back_up
from moxsmtp.store.errors import StoreError
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.message_rows import StoredMessage
from moxsmtp.store.messages import MailStore

__all__ = [
    "KEEP_OF_NOBODY", "AccountOperations", "BackupOperations", "MailOperations",
]  # fmt: skip


#: History of accounts that do not exist any more (Q-77).
KEEP_OF_NOBODY: Final = timedelta(days=7)


class AccountOperations:
    """See L{moxsmtp.admin.ports.AccountAdmin}."""

    def __init__(
        self,
        accounts: LiveAccounts,
        hashes: IPasswordHashes,
        engine: Engine,
        reactor: Any,
        *,
        cram_md5: Callable[[], bool],
    ) -> None:
        """@param cram_md5: Whether CRAM-MD5 is there at present."""
        self._accounts = accounts
        self._hashes = hashes
        self._engine = engine
        self._reactor = reactor
        self._cram_md5 = cram_md5

    def named(self, text: str) -> Account | None:
        """By name or address."""
        return self._accounts.directory.named(text)

    async def set_password(self, account: str, password: str) -> None:
        """@raise ValueError: It cannot be a password; the text says why."""
        make = partial(derive, cram_md5=self._cram_md5())
        secrets = await deferToThreadPool(self._reactor, self._engine.hashing, make, password)
        await self._hashes.set_password_secrets(account, secrets)


class MailOperations:
    """See L{moxsmtp.admin.ports.MailAdmin}."""

    def __init__(self, store: MailStore, remove_file: Callable[[str, str], Any]) -> None:
        """
        @param remove_file: Removes a message's file from an account's Maildir:
            account, name there.  Awaited.
        """
        self._store = store
        self._remove_file = remove_file
        self.list_messages = store.list_messages

    async def open(self, account: str, number: int) -> tuple[StoredMessage, IContent] | None:
        """
        A message with its whole content; L{None}: the account has no such message.

        @raise StoreError: It cannot be had, in one line.
        """
        try:
            return await self._store.open(account, number)
        except NoMaildir as error:
            raise StoreError(f"{error}; message {number} is in the one it had") from None

    async def delete(self, account: str, numbers: Sequence[int]) -> Sequence[StoredMessage]:
        """
        Files first: what is left of a crash in between is a row without a message.

        @raise StoreError: A file cannot be reached, in one line.
        @raise Vanished: The same: the whole Maildir is not there.
        """
        for number in numbers:
            found = await self.open(account, number)
            if found is not None and found[0].maildir_name is not None:
                await self._remove_file(account, found[0].maildir_name)
        return await self._store.delete(account, numbers)


class BackupOperations:
    """See L{moxsmtp.admin.ports.Backup}."""

    def __init__(self, engine: Engine, reactor: Any) -> None:
        self._engine = engine
        self._reactor = reactor

    async def backup(self, folder: str) -> None:
        """@raise StoreError: It did not work, in one line."""
        if not self._engine.is_sole:
            raise StoreError("the data is in PostgreSQL: use pg_dump, it has all of it")
        await deferToThreadPool(
            self._reactor,
            self._engine.pool,
            _back_up,
            self._engine.folder,
            self._engine.files,
            Path(folder),
        )


def _back_up(folder: DataFolder, files: ContentFiles, target: Path) -> None:
    """In a thread.  @raise StoreError: It did not work, in one line."""
    if not target.parent.is_dir():
        raise StoreError(f"the folder {target.parent} is not there; make it first")
    if target.resolve().is_relative_to(folder.path.resolve()):
        raise StoreError(f"{target} is in the data folder {folder.path}; choose another place")
    back_up(folder.database, files, target)
