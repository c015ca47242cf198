"""
What handing mail over to Maildirs asks of its storage.

A message is handed over in three steps, each of which may be the last before a
crash: its name in the Maildir is recorded, the file appears under that name,
the content leaves the store.  So whoever finds a name recorded already looks
for the file before making it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zope.interface import Interface

from moxsmtp.interfaces import IContent

__all__ = ["HandOver", "IHandOver", "InMaildir"]


@dataclass(frozen=True, slots=True)
class HandOver:
    """
    A message that has to appear in a Maildir.

    @ivar id: Goes up in the order of arrival.
    @ivar mailbox: The folder, C{Inbox} for the root.
    @ivar flags: Maildir flag letters, sorted.
    @ivar size: Octets of prefix and content, with CRLF.
    @ivar prefix: Header fields that stand before the content.
    @ivar content: Key of the content in the store.
    @ivar data: The content, if it is small; else L{IHandOver.content} gives it.
    @ivar name: Recorded by an earlier try; the file may be there already.
    """

    id: int
    account: str
    mailbox: str
    flags: str
    received: datetime
    size: int
    prefix: bytes
    content: int
    data: bytes | None = field(default=None, repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class InMaildir:
    """
    Where we last saw a message that was handed over.

    @ivar name: Unique in its account's Maildir, without flags.
    @ivar mailbox: The folder, C{Inbox} for the root.
    @ivar flags: Maildir flag letters, sorted.
    @ivar is_absent: It is not in the folder that is the Maildir now, which is another
        one than that where it was seen.
    """

    name: str
    mailbox: str
    flags: str = ""
    is_absent: bool = False


class IHandOver(Interface):
    """The messages of accounts that read their mail in a Maildir."""

    def pending_hand_overs(limit: int, after: int = 0) -> Awaitable[Sequence[HandOver]]:
        """
        Messages that are not handed over yet, oldest first.

        @param limit: At most so many; each may bring 128 KiB of content along.
        @param after: Only those with a greater number, so that an account
            whose Maildir fails holds up nobody else.
        """

    def content(hand_over: HandOver) -> IContent:
        """What stands behind the prefix."""

    def name_hand_overs(names: Mapping[int, str]) -> Awaitable[Sequence[int]]:
        """
        Record under which names messages are about to appear.  When this
        answers, it is on disk.

        @return: Those that still wait; the others were deleted meanwhile.
        """

    def handed_over(done: Sequence[HandOver]) -> Awaitable[None]:
        """
        Their files are in the Maildir and on disk: forget prefix and content.
        May be repeated.
        """

    def maildir_names(account: str) -> Awaitable[Mapping[str, InMaildir]]:
        """All that was handed over, by name."""

    def moved(account: str, seen: Sequence[InMaildir]) -> Awaitable[int]:
        """
        Messages have another folder or other flags now, or are in the Maildir again.

        @return: How many of them were known.
        """

    def maildir_identity(account: str) -> Awaitable[str]:
        """Which folder the account's Maildir was when it was last seen; empty: never."""

    def recognized(account: str, identity: str, absent: Sequence[str] = ()) -> Awaitable[None]:
        """
        The account's Maildir is this folder from now on.

        @param absent: Names of messages that are not in it, and were in another one.
        """

    def expunged(account: str, names: Sequence[str]) -> Awaitable[int]:
        """
        Messages were removed from the Maildir: forget them.

        @return: How many of them were known.
        """
