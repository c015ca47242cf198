"""
What the commands of an operator need of the server.

The first two are what C{store.messages.MailStore} and C{store.queue_admin.QueueAdmin}
offer, less what C{service} binds: removing files of a Maildir, and the history
and webhooks of jobs that are dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from moxsmtp.interfaces import Account, IContent
from moxsmtp.queue.job import Job
from moxsmtp.store.job_rows import RetiredJob
from moxsmtp.store.message_rows import StoredMessage

__all__ = ["AccountAdmin", "Backup", "MailAdmin", "QueueAdmin"]


class MailAdmin(Protocol):
    """Stored mail."""

    def list_messages(
        self, account: str, *, before: int | None = None, limit: int = 100
    ) -> Awaitable[Sequence[StoredMessage]]:
        """The newest first; C{before}: only those with a lower number."""

    def open(self, account: str, number: int) -> Awaitable[tuple[StoredMessage, IContent] | None]:
        """A message with its whole content; L{None}: the account has no such message."""

    def delete(self, account: str, numbers: Sequence[int]) -> Awaitable[Sequence[StoredMessage]]:
        """Remove messages, from a Maildir too.  @return: Those that were there."""


class QueueAdmin(Protocol):
    """The queue of mail."""

    def list_jobs(
        self,
        *,
        before: int | None = None,
        limit: int = 100,
        account: str = "",
        recipient: str = "",
    ) -> Awaitable[Sequence[Job]]:
        """The newest first; C{recipient}: some part of the address."""

    def job(self, number: int) -> Awaitable[Job | RetiredJob | None]:
        """From the queue or its history; L{None}: neither knows it."""

    def drop(self, numbers: Sequence[int]) -> Awaitable[Sequence[int]]:
        """
        Take jobs out of the queue, without a DSN.

        @return: Numbers of those that waited.
        """


class AccountAdmin(Protocol):
    """Accounts and their passwords."""

    def named(self, text: str) -> Account | None:
        """By name or address."""

    def set_password(self, account: str, password: str) -> Awaitable[None]:
        """
        From now on, only this password logs in.

        @raise ValueError: It cannot be one; the text says why.
        """


class Backup(Protocol):
    """Copies of everything."""

    def backup(self, folder: str) -> Awaitable[None]:
        """
        Copy all data but Maildirs into a new folder while the server goes on.

        @param folder: Absolute; outside of the data folder, and the one that it
            is made in is there.
        """
