"""What operators do, over stores of the test's own."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from moxsmtp.interfaces import Maildir
from moxsmtp.mailbox.content import MaildirReader
from moxsmtp.operations import MailOperations
from moxsmtp.store.errors import StoreError
from moxsmtp.store.message_rows import StoredMessage
from tests.admin.test_commands import MESSAGE
from tests.mailbox.doubles import inline

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
