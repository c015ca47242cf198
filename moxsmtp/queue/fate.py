"""
What became of a job in an attempt, and all that has a say in what follows.
Q-12, Q-30, Q-32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from moxsmtp.interfaces import INBOX, Account, IAccounts, OutgoingEvent, RoleAddress
from moxsmtp.names import Domain
from moxsmtp.queue.job import Attempt, Delivered, Failed, Job, Outcome
from moxsmtp.queue.schedule import gives_up
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.smtp.address import Path

__all__ = [
    "Circumstances", "event_of", "in_trouble", "outcome_of", "postmaster_mailbox", "unsigned",
]  # fmt: skip

#: How often a report of ours is tried, if its own row does not say: the next one
#: comes tomorrow (Q-12).
_ATTEMPTS_OF_REPORTS: Final = 5

_POSTMASTER: Final = Path("postmaster", None)


def unsigned(content: bytes) -> bytes:  # noqa: ARG001 - the form of a signature
    """No signature fields."""
    return b""


def postmaster_mailbox(accounts: IAccounts) -> str:
    """Where mail for the bare postmaster goes."""
    found = accounts.recipient_of(_POSTMASTER)
    return found.mailbox if isinstance(found, RoleAddress) else INBOX


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """
    What a settlement depends on beside job and outcome.

    @ivar started: When the attempt began.
    @ivar now: When it ended.
    @ivar account: Who sent; L{None} if the account does not exist any more, or
        never did because the server itself sent.
    @ivar postmaster: Who gets the DSN where there is no such account.
    @ivar postmaster_mailbox: Where the postmaster reads such mail; needed where
        L{moxsmtp.queue.notification.bounces} says so, as is C{unique}.
    @ivar header: The original's header section, our prefix included, and where
        L{moxsmtp.queue.notification.returns_all} all of it; needed where
        L{moxsmtp.queue.notification.bounces} says so.
    @ivar failed_before: What L{moxsmtp.queue.storage.IJobStore.failed_before}
        says of the job; needed where L{moxsmtp.queue.settle.asks_history}.
    @ivar unique: Unguessable letters and digits, new for each settlement.
    @ivar sign: The DKIM-Signature fields for a whole message from the
        postmaster at C{hostname}; empty: it leaves unsigned.
    """

    hostname: Domain
    settings: QueueSettings
    started: datetime
    now: datetime
    account: Account | None
    postmaster: Account | None
    postmaster_mailbox: str = INBOX
    header: bytes = b""
    failed_before: bool = False
    unique: str
    sign: Callable[[bytes], bytes] = unsigned


#: Of a job that an attempt did not get to.
_NOT_ATTEMPTED: Final = Failed(permanent=False, error="not attempted")


def outcome_of(job: Job, attempt: Attempt) -> Outcome:
    """What C{job} met; an attempt that does not say it did not get so far."""
    return attempt.outcomes.get(job.id, _NOT_ATTEMPTED)


def in_trouble(attempt: Attempt) -> bool:
    """
    Whether the destination is in trouble: somebody was put off and nobody
    served.  Refusing for good, quickly, is a healthy server's work.
    """
    outcomes = attempt.outcomes.values()
    delayed = any(isinstance(outcome, Failed) and not outcome.permanent for outcome in outcomes)
    return delayed and not any(isinstance(outcome, Delivered) for outcome in outcomes)


def event_of(job: Job, outcome: Outcome, settings: QueueSettings) -> OutgoingEvent:
    """The word for it (Q-69)."""
    if isinstance(outcome, Delivered):
        return OutgoingEvent.DELIVERED
    # What keeps its sender from sending at present goes before the list.
    if job.suppressed and outcome.permanent:
        return OutgoingEvent.SUPPRESSED
    limit = job.max_attempts or (_ATTEMPTS_OF_REPORTS if job.report else 0)
    if gives_up(job.attempts, limit, settings, permanent=outcome.permanent):
        return OutgoingEvent.FAILED
    return OutgoingEvent.DELAYED
