"""
Jobs of the queue, attempts to deliver them, and what became of those.

A B{job} is one recipient of one message.  A B{batch} is what one SMTP
transaction carries: jobs of one message to one domain (Q-16).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.interfaces import NewHook, NewJob, NewMessage, OutgoingEvent, RequireTLS
from moxsmtp.names import Host, IPAddress
from moxsmtp.queue.suppression import Suppression
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import NO_WISHES, Wishes

__all__ = [
    "TRACE_LINE",
    "TRACE_LINES",
    "Attempt",
    "Batch",
    "Delivered",
    "Failed",
    "FromIdInUse",
    "Hook",
    "HookResult",
    "Job",
    "Lease",
    "LeaseLost",
    "LimitReached",
    "MessageLimitReached",
    "Outcome",
    "QueueFull",
    "RecipientLimitReached",
    "RemoteMTA",
    "Result",
    "Retired",
    "Retry",
    "Settlement",
]  # fmt: skip

#: Lines of one attempt that are kept, and characters of each.
TRACE_LINES: Final = 64
TRACE_LINE: Final = 300


class FromIdInUse(ValueError):
    """A from-id stands in the queue or its history already (Q-4)."""


class LimitReached(Exception):
    """
    The account may not send so much (S-94).

    @ivar limit: How much it may send in 24 hours.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class MessageLimitReached(LimitReached):
    """Of messages, counted per recipient."""


class RecipientLimitReached(LimitReached):
    """Of recipients to whom it never wrote before."""


class QueueFull(LimitReached):
    """
    Too many of the account's jobs would wait (Q-95).

    @ivar limit: How many may.
    """


class LeaseLost(Exception):
    """The destination belongs to someone else by now; what we know of it is void."""


@dataclass(frozen=True, slots=True)
class Lease:
    """
    A destination that is ours for a while.

    @ivar kind: C{mail} or C{hook}.
    @ivar name: What is worked on one at a time: a recipient domain, a URL.
    @ivar slot: 0 for the first of several workers on one destination.
    @ivar fence: Goes up with each owner; every write states it.
    @ivar troubled: Its last work failed or crawled.
    """

    kind: str
    name: str
    slot: int
    fence: int
    troubled: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """
    One attempt in a job's history (Q-7).

    @ivar code: The SMTP code, 0 if none was received.
    @ivar status: Subject and detail of the enhanced status code, C{7.1}, or empty.
    @ivar error: Empty on success.
    @ivar trace: What the attempt saw and decided, for people: at most
        L{TRACE_LINES} lines, without secrets or content.
    """

    start: datetime
    duration: timedelta
    success: bool
    code: int = 0
    status: str = ""
    error: str = ""
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """
    One queued recipient (Q-5, Q-6).

    @ivar base_id: The first job's number where several share content, sender
        and prefix; 0 for one that stands alone.
    @ivar attempts: Those begun, the one under way included.
    @ivar last_attempt: When the latest of them was begun.
    @ivar attempt_before: Of what was taken to be tried, when the one before was begun.
    @ivar results: Finished attempts, oldest first.
    @ivar dialed: Addresses that it went to so far, by host, in order; the last ones of many.
    @ivar content: Key of the content in the store.
    @ivar size: Octets of prefix and content.
    @ivar wishes: What the sender wants to hear (RFC 3461).
    @ivar suppressed: The account's suppression list names the recipient (Q-30).
    @ivar report: C{dmarc} or C{tls} if it is a report of ours of that kind
        (Q-6), else empty.
    @ivar alternative: Key of the same message in UTF-8, which has no prefix, for hosts
        that take 8BITMIME and SMTPUTF8; L{None} if there is none.
    @ivar alternative_size: Its octets.
    """

    id: int
    base_id: int
    account: str
    reverse_path: Path | None
    forward_path: Path
    queued: datetime
    next_attempt: datetime
    content: int
    size: int
    prefix: bytes = b""
    has_8bit: bool = False
    smtputf8: bool = False
    message_id: str = ""
    subject: str = ""
    require_tls: RequireTLS = RequireTLS.UNSET
    hold: bool = False
    attempts: int = 0
    max_attempts: int = 0
    last_attempt: datetime | None = None
    attempt_before: datetime | None = None
    results: tuple[Result, ...] = ()
    dialed: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    transport: str = ""
    from_id: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    future_release: str = ""
    wishes: Wishes = NO_WISHES
    suppressed: bool = False
    report: str = ""
    alternative: int | None = None
    alternative_size: int = 0

    @property
    def destination(self) -> Host:
        """Where it goes."""
        if self.forward_path.domain is None:
            raise ValueError("a queued recipient has a domain")
        return self.forward_path.domain


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Jobs that one transaction may carry: equal content, sender, prefix and demands.

    @ivar jobs: At least one; the first is the leader, the longest due.
    @ivar body: All that stands behind the prefix, where it is small enough to
        have been read along with the jobs.
    """

    jobs: tuple[Job, ...]
    started: datetime
    body: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def leader(self) -> Job:
        """Whose turn it was."""
        return self.jobs[0]


@dataclass(frozen=True, slots=True)
class RemoteMTA:
    """@ivar address: L{None} if it was never connected to."""

    name: str
    address: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """
    The next hop took it.

    @ivar reply: Its lines, C{250 2.0.0 ok}.
    @ivar handed_on: It reports by itself: it got what the sender wants to hear
        (RFC 3461 section 5.2.1).
    """

    remote: RemoteMTA
    code: int = 250
    status: str = ""
    reply: str = ""
    handed_on: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """
    The next hop did not take it (Q-32).

    @ivar permanent: Trying again is of no use.
    @ivar code: The remote's SMTP code, or one of ours where a rule gives one;
        0 if there is none.
    @ivar status: Subject and detail of the enhanced status code, or empty.
    @ivar error: What went wrong, for people.  May quote the remote.
    @ivar remote: Who answered; L{None} if nobody did.
    @ivar reply: All lines of the remote's reply joined by newlines; empty if it
        gave none.
    """

    permanent: bool
    error: str
    code: int = 0
    status: str = ""
    remote: RemoteMTA | None = None
    reply: str = ""


Outcome = Delivered | Failed


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    What a batch met.

    @ivar outcomes: One for each job of the batch, by its number; of an attempt
        that was cancelled, those that are known for good.
    @ivar dialed: Addresses that it went to in this attempt, by host.
    @ivar trace: As in L{Result}.
    @ivar rests_until: It was not made after all, as the destination has no room
        before then (Q-93): whoever has no outcome is put back, uncounted.
    """

    outcomes: Mapping[int, Outcome]
    dialed: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    trace: tuple[str, ...] = ()
    rests_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The job stays and is tried again."""

    next_attempt: datetime


@dataclass(frozen=True, slots=True)
class Retired:
    """
    The job leaves the queue (Q-77).

    @ivar event: The word for it.
    @ivar keep_until: How long its history stays; L{None}: not at all.
    """

    event: OutgoingEvent
    keep_until: datetime | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """
    What an attempt means for one job, stored in one transaction.

    @ivar result: Goes into the job's history.
    @ivar bounce: A DSN for the sender's mailbox: the row and its whole content.
    @ivar report: A DSN for a sender elsewhere: the job and its whole content.
    @ivar hook: The outgoing webhook.
    @ivar suppress: For the account's list, where it is not on it yet (Q-31).
    """

    job: Job
    fate: Retry | Retired
    result: Result
    dialed: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    bounce: tuple[NewMessage, bytes] | None = None
    report: tuple[NewJob, bytes] | None = None
    hook: NewHook | None = None
    suppress: Suppression | None = None


# -- webhooks ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HookResult:
    """
    One call of a webhook (Q-75).

    @ivar code: The HTTP status, 0 if there was none.
    @ivar response: The first 512 octets of the answer, as text.
    """

    start: datetime
    duration: timedelta
    url: str
    success: bool
    code: int = 0
    error: str = ""
    response: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """
    A webhook call that waits (Q-75).

    @ivar queue_id: 0 for incoming mail.
    @ivar event: L{None} for incoming mail.
    @ivar attempts: Those begun, the one under way included.
    @ivar secrets: What its call is signed with: those in force when it is made.
    """

    id: int
    account: str
    url: str
    authorization: str = field(repr=False)
    event: OutgoingEvent | None
    payload: bytes
    submitted: datetime
    next_attempt: datetime
    queue_id: int = 0
    from_id: str = ""
    message_id: str = ""
    subject: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    results: tuple[HookResult, ...] = ()
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
