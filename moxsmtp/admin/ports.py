"""
What the commands of an operator need of the server.

The first two are what C{store.messages.MailStore} and C{store.queue_admin.QueueAdmin}
offer, less what C{service} binds: removing files of a Maildir, and the history,
DSNs and webhooks of jobs that are ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from moxsmtp.interfaces import Account, IContent
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import (
    HoldRule,
    HookFilter,
    JobFilter,
    Order,
    RetiredFilter,
    RetiredHookFilter,
)
from moxsmtp.queue.job import Hook, Job
from moxsmtp.queue.suppression import Suppression
from moxsmtp.smtp.address import Path
from moxsmtp.store.hook_rows import RetiredHook
from moxsmtp.store.job_rows import RetiredJob
from moxsmtp.store.message_rows import StoredMessage
from moxsmtp.store.pages import Found

__all__ = [
    "AccountAdmin", "Backup", "HoldRuleAdmin", "HookAdmin", "MailAdmin", "QueueAdmin",
    "SuppressionAdmin",
]  # fmt: skip


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
    """The queue of mail and its history; see C{store.queue_pages}."""

    def content(self, job: Job, /) -> IContent:
        """What stands behind its prefix."""

    def job(self, number: int, /) -> Awaitable[Job | RetiredJob | None]:
        """From the queue or its history; L{None}: neither knows it."""

    def jobs(self, numbers: Sequence[int], /) -> Awaitable[Sequence[Job]]:
        """In this order, without those that wait no more."""

    def retired_jobs(self, numbers: Sequence[int], /) -> Awaitable[Sequence[RetiredJob]]:
        """Likewise, of the history."""

    def find_jobs(
        self, wanted: JobFilter, order: Order, /, *, after: Found | None, limit: int
    ) -> Awaitable[Sequence[Found]]:
        """Where they stand in the list.  C{after}: the last one of the page before this."""

    def find_retired(
        self, wanted: RetiredFilter, order: Order, /, *, after: Found | None, limit: int
    ) -> Awaitable[Sequence[Found]]:
        """Likewise, of the history."""

    def last_number(self) -> Awaitable[int]:
        """The highest one in the queue."""

    def numbers(self, wanted: JobFilter, /, *, after: int, until: int) -> Awaitable[Sequence[int]]:
        """Some of those that are meant, ascending; none are left if there are none."""

    def change(
        self, numbers: Sequence[int], wanted: JobFilter, change: Change, /
    ) -> Awaitable[Sequence[int]]:
        """@return: Numbers of those that were changed."""

    def drop(self, numbers: Sequence[int], wanted: JobFilter, /) -> Awaitable[Sequence[int]]:
        """
        Take jobs out of the queue, without a DSN.

        @return: Numbers of those that waited.
        """

    def fail(self, numbers: Sequence[int], wanted: JobFilter, /) -> Awaitable[Sequence[int]]:
        """As L{drop}, with a DSN."""


class HookAdmin(Protocol):
    """The queue of webhook calls and its history; C{store.hook_admin.HookAdmin} offers this."""

    def hook(self, number: int, /) -> Awaitable[Hook | RetiredHook | None]:
        """From the queue or its history; L{None}: neither knows it."""

    def hooks(self, numbers: Sequence[int], /) -> Awaitable[Sequence[Hook]]:
        """In this order, without those that wait no more."""

    def retired_hooks(self, numbers: Sequence[int], /) -> Awaitable[Sequence[RetiredHook]]:
        """Likewise, of the history."""

    def find_hooks(
        self, wanted: HookFilter, order: Order, /, *, after: Found | None, limit: int
    ) -> Awaitable[Sequence[Found]]:
        """See L{QueueAdmin.find_jobs}."""

    def find_retired(
        self, wanted: RetiredHookFilter, order: Order, /, *, after: Found | None, limit: int
    ) -> Awaitable[Sequence[Found]]:
        """Likewise, of the history."""

    def last_number(self) -> Awaitable[int]:
        """The highest one in the queue."""

    def numbers(self, wanted: HookFilter, /, *, after: int, until: int) -> Awaitable[Sequence[int]]:
        """See L{QueueAdmin.numbers}."""

    def schedule(
        self, numbers: Sequence[int], wanted: HookFilter, change: Change, /
    ) -> Awaitable[Sequence[int]]:
        """@return: Numbers of those that were moved."""

    def cancel(self, numbers: Sequence[int], wanted: HookFilter, /) -> Awaitable[Sequence[int]]:
        """
        Have calls fail now.

        @return: Numbers of those that waited.
        """


class HoldRuleAdmin(Protocol):
    """What is put on hold as it is queued; C{store.hold_rules.HoldRules} offers this."""

    def all(self) -> Awaitable[Sequence[HoldRule]]:
        """In the order in which they were made."""

    def add(
        self, *, account: str, sender_domain: str, recipient_domain: str
    ) -> Awaitable[tuple[HoldRule, int]]:
        """@return: The rule, and how many jobs it has put on hold."""

    def remove(self, number: int) -> Awaitable[HoldRule | None]:
        """@return: What it was; L{None}: there is none of that number."""


class SuppressionAdmin(Protocol):
    """Accounts' lists; C{store.suppressions.Suppressions} offers this."""

    def page(
        self, account: str, *, after: int, limit: int
    ) -> Awaitable[Sequence[tuple[int, Suppression]]]:
        """Entries with their numbers, the oldest first."""

    def find(self, account: str, address: Path) -> Awaitable[Suppression | None]:
        """The entry that stands for an address."""

    def add(self, new: Suppression) -> Awaitable[bool]:
        """@return: Whether it was not there."""

    def remove(self, account: str, address: Path) -> Awaitable[Suppression | None]:
        """@return: What stood for the address."""


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
