"""What operators do, over stores of the test's own."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial import unittest

from moxsmtp.interfaces import Maildir
from moxsmtp.mailbox.content import MaildirReader
from moxsmtp.operations import BackupOperations, MailOperations
from moxsmtp.store.errors import StoreError
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.message_rows import StoredMessage
from tests.admin.test_commands import MESSAGE
from tests.mailbox.doubles import inline
from tests.store.prepared import put_empty

T = TypeVar("T")

#: In a Maildir.
HANDED_OVER = replace(MESSAGE, maildir_name="1700000000.M0P1Q1.mx.example,S=1,W=2")


class Mail:
    """
    One message of alice, in a Maildir.

    @ivar deleted: Numbers.
    """

    def __init__(self, maildirs: MaildirReader) -> None:
        self.maildirs = maildirs
        self.deleted: list[int] = []

    async def list_messages(self, account: str) -> Sequence[StoredMessage]:
        """All."""
        return [replace(HANDED_OVER, account=account)]

    async def open(self, account: str, number: int) -> object:
        """As the store does."""
        return replace(HANDED_OVER, id=number), self.maildirs.open(
            account, HANDED_OVER.maildir_name or ""
        )

    async def delete(self, account: str, numbers: Sequence[int]) -> Sequence[StoredMessage]:
        """Remove rows."""
        self.deleted += numbers
        return await self.list_messages(account)


class MailTests(unittest.SynchronousTestCase):
    """Mail of an account that had a Maildir."""

    def setUp(self) -> None:
        self.maildirs: dict[str, Maildir] = {}
        reader = MaildirReader(inline, lambda: self.maildirs)
        self.store = Mail(reader)
        self.mail = MailOperations(cast("Any", self.store), reader.remove)

    def error(self, awaitable: Awaitable[T]) -> str:
        """The text for the operator."""

        async def wait() -> T:
            return await awaitable

        waited = Deferred.fromCoroutine(wait())
        return str(self.failureResultOf(waited, StoreError).value)

    def test_no_maildir_any_more(self) -> None:
        """Mail in a Maildir that is not configured any more is told so, and stays."""
        text = "account alice has no Maildir in the configuration; message 1 is in the one it had"
        self.assertEqual(self.error(self.mail.open("alice", 1)), text)
        self.assertEqual(self.error(self.mail.delete("alice", [1])), text)
        self.assertEqual(self.store.deleted, [])


class Pool(ThreadPool):
    """Works at once, here."""

    def callInThreadWithCallback(self, onResult: Any, func: Any, *args: Any, **kw: Any) -> None:
        """Work."""
        try:
            result = func(*args, **kw)
        except StoreError:
            onResult(False, Failure())
        else:
            onResult(True, result)


class BackupTests(unittest.SynchronousTestCase):
    """Where a copy may go."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        folder = DataFolder(self.base / "data")
        folder.open()
        self.addCleanup(folder.close)
        put_empty(folder.database)
        engine = SimpleNamespace(
            is_sole=True, pool=Pool(), folder=folder, files=ContentFiles(folder.content)
        )
        reactor = SimpleNamespace(callFromThread=lambda function, *args: function(*args))
        self.backup = BackupOperations(cast("Any", engine), reactor)

    def error(self, target: Path) -> str:
        """The text for the operator; empty: it worked."""

        async def run() -> str:
            try:
                await self.backup.backup(str(target))
            except StoreError as error:
                return str(error)
            return ""

        return self.successResultOf(Deferred.fromCoroutine(run()))

    def test_good_place(self) -> None:
        """A new folder beside the data folder has the database."""
        self.assertEqual(self.error(self.base / "data-copy"), "")
        self.assertEqual(len(list((self.base / "data-copy").glob("*.db"))), 1)

    def test_in_the_data_folder(self) -> None:
        """A copy inside the data folder, by whichever way, is refused and leaves nothing."""
        (self.base / "link").symlink_to(self.base / "data")
        before = sorted((self.base / "data").rglob("*"))
        for name in ("data", "data/copy", "link/copy", "data/content/copy", "x/../data/copy"):
            (self.base / "x").mkdir(exist_ok=True)
            self.assertIn("is in the data folder", self.error(self.base / name), name)
        self.assertEqual(sorted((self.base / "data").rglob("*")), before)

    def test_parent_missing(self) -> None:
        """A misspelled path makes no folders."""
        error = self.error(self.base / "no" / "such" / "copy")
        self.assertEqual(error, f"the folder {self.base}/no/such is not there; make it first")
        self.assertFalse((self.base / "no").exists())
