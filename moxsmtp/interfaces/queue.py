"""Mail that waits to leave."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zope.interface import Interface

from moxsmtp.interfaces.content import Spooled
from moxsmtp.interfaces.mail import RequireTLS
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import NO_WISHES, Wishes

__all__ = ["Allowance", "IQueue", "NewJob"]


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    One recipient of a message for the queue (Q-5).

    @ivar account: Who sends; empty for mail of the server itself.
    @ivar prefix: Header octets sent before the content.
    @ivar message_id: With angle brackets.
    @ivar next_attempt: L{None}: at once.
    @ivar future_release: As a DSN tells why it was held (RFC 4865).
    @ivar wishes: What the sender wants to hear (RFC 3461).
    @ivar report: C{dmarc} or C{tls} if it is a report of ours of that kind (Q-6).
    @ivar alternative: The same message in UTF-8, all of it, signature included, for hosts
        that take 8BITMIME and SMTPUTF8; prefix and content stand for the others (Q-6).
        Empty: there is none.  As it is in memory, it has to be small.
    """

    account: str
    reverse_path: Path | None
    forward_path: Path
    prefix: bytes
    message_id: str
    subject: str = ""
    smtputf8: bool = False
    require_tls: RequireTLS = RequireTLS.UNSET
    next_attempt: datetime | None = None
    from_id: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    future_release: str = ""
    wishes: Wishes = NO_WISHES
    report: str = ""
    alternative: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Allowance:
    """
    How much an account may send within 24 hours (S-94, I-108).

    @ivar messages: Counted per recipient; 0: as many as it likes.
    @ivar first_time_recipients: To whom it never wrote before; 0: likewise.
    @ivar queued: How many jobs of its may wait (Q-95); 0: likewise.
    """

    account: str
    messages: int
    first_time_recipients: int
    queued: int = 0


class IQueue(Interface):
    """Where mail waits to leave."""

    def add(
        spooled: Spooled, jobs: Sequence[NewJob], allowance: Allowance | None = None
    ) -> Awaitable[Sequence[int]]:
        """
        Queue one content for all recipients, all or nothing (Q-3), and wake
        the runner.  When this answers, it is on disk.

        @param allowance: Checked and used up in the same transaction; L{None}:
            nobody counts.
        @return: The number of each job.
        @raise LimitReached: More than the allowance; L{QueueFull}: too many wait.
        @raise ValueError: No jobs (Q-4).
        @raise FromIdInUse: A from-id is known already (Q-4).
        @raise InsufficientStorage: There is no room.
        """

    def check(allowance: Allowance, recipients: Sequence[Path]) -> Awaitable[None]:
        """
        See that so much may be sent, without using anything up.

        @raise LimitReached: More than the allowance.
        """
