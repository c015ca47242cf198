"""
What an attempt means for a queued message: try again, or leave the queue with
the DSN and the webhook that go with it (Q-12, Q-32, Q-35 to Q-37, Q-69, Q-70,
Q-77).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.interfaces import Account, NewHook, NewJob, NewMessage, OutgoingEvent
from moxsmtp.message.dsn import compose_dsn
from moxsmtp.message.reports import SUBJECTS, Action, Dsn, Form, RecipientReport
from moxsmtp.message.trace import delivered_to, return_path
from moxsmtp.names import Domain
from moxsmtp.queue.job import (
    Attempt,
    Delivered,
    Failed,
    Job,
    Outcome,
    Result,
    Retired,
    Retry,
    Settlement,
)
from moxsmtp.queue.schedule import gives_up
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Occasion, ReturnContent
from moxsmtp.webhooks.payload import outgoing_payload, wants

__all__ = [
    "MAXIMUM_RETURNED", "Circumstances", "bounces", "in_trouble", "outcome_of", "returns_all",
    "settle", "settle_silently",
]  # fmt: skip

#: History of accounts that do not exist any more (Q-77).
_KEEP_OF_NOBODY: Final = timedelta(days=7)

#: Of what a sender may want to hear.  We hand nothing of that on to the next
#: hop, so that whatever leaves us is relayed to a server that tells nothing.
_TOLD: Final = {
    OutgoingEvent.FAILED: (Occasion.FAILURE, Action.FAILED),
    OutgoingEvent.DELIVERED: (Occasion.SUCCESS, Action.RELAYED),
}

#: Octets; of a larger message a report brings back the header only, whatever
#: was asked for: it is composed in memory, and nobody reads that much of it.
MAXIMUM_RETURNED: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """
    What a settlement depends on beside job and outcome.

    @ivar started: When the attempt began.
    @ivar now: When it ended.
    @ivar account: Who sent; L{None} if the account does not exist any more, or
        never did because the server itself sent.
    @ivar postmaster: Who gets the DSN where there is no such account.
    @ivar header: The original's header section, our prefix included, and where
        L{returns_all} all of it; needed where L{bounces} says so.
    @ivar unique: Unguessable letters and digits, new for each settlement.
    """

    hostname: Domain
    settings: QueueSettings
    started: datetime
    now: datetime
    account: Account | None
    postmaster: Account | None
    header: bytes = b""
    unique: str


def outcome_of(job: Job, attempt: Attempt) -> Outcome:
    """What C{job} met; an attempt that does not say it did not get so far."""
    return attempt.outcomes.get(job.id, Failed(permanent=False, error="not attempted"))


def in_trouble(attempt: Attempt) -> bool:
    """
    Whether the destination is in trouble: somebody was put off and nobody
    served.  Refusing for good, quickly, is a healthy server's work.
    """
    outcomes = attempt.outcomes.values()
    delayed = any(isinstance(outcome, Failed) and not outcome.permanent for outcome in outcomes)
    return delayed and not any(isinstance(outcome, Delivered) for outcome in outcomes)


def bounces(job: Job, outcome: Outcome, settings: QueueSettings) -> bool:
    """
    Whether the sender is told by a DSN: of every final failure, unless he asked
    not to be, and of success if he asked to be (RFC 3461 section 4.1), and never
    at the null reverse-path (RFC 5321 section 6.1).
    """
    told = _TOLD.get(_event(job, outcome, settings))
    return job.reverse_path is not None and told is not None and job.wishes.notify.wants(told[0])


def returns_all(job: Job) -> bool:
    """Whether a report of failure brings back the whole message.  RFC 3461 section 4.3."""
    return job.wishes.returns is ReturnContent.FULL and job.size <= MAXIMUM_RETURNED


def settle(job: Job, attempt: Attempt, around: Circumstances) -> Settlement:
    """
    Say what an attempt means for one of its jobs.

    @param job: As it was taken: this attempt is counted, and C{next_attempt}
        is when the next one begins if this one failed.
    """
    outcome = outcome_of(job, attempt)
    event = _event(job, outcome, around.settings)
    silent = settle_silently(job, attempt, around)
    return Settlement(
        job=job,
        fate=silent.fate,
        result=silent.result,
        dialed=attempt.dialed,
        bounce=_bounce(job, outcome, around) if job.account else None,
        report=None if job.account else _sent_report(job, outcome, around),
        hook=_hook(job, outcome, event, around),
    )


def settle_silently(job: Job, attempt: Attempt, around: Circumstances) -> Settlement:
    """As L{settle}, without telling anybody."""
    outcome = outcome_of(job, attempt)
    event = _event(job, outcome, around.settings)
    fate: Retry | Retired
    if event is OutgoingEvent.DELAYED:
        fate = Retry(job.next_attempt)
    else:
        fate = Retired(event, _keep_until(job, around))
    return Settlement(job, fate, _result(outcome, around), dialed=attempt.dialed)


def _event(job: Job, outcome: Outcome, settings: QueueSettings) -> OutgoingEvent:
    if isinstance(outcome, Delivered):
        return OutgoingEvent.DELIVERED
    if gives_up(job.attempts, job.max_attempts, settings, permanent=outcome.permanent):
        return OutgoingEvent.FAILED
    return OutgoingEvent.DELAYED


def _result(outcome: Outcome, around: Circumstances) -> Result:
    return Result(
        start=around.started,
        duration=around.now - around.started,
        success=isinstance(outcome, Delivered),
        code=outcome.code,
        status=outcome.status,
        error=outcome.error if isinstance(outcome, Failed) else "",
    )


def _owner(job: Job, around: Circumstances) -> Account | None:
    """Whose settings count: the server's own mail is the postmaster's."""
    return around.account if job.account else around.postmaster


def _keep_until(job: Job, around: Circumstances) -> datetime | None:
    owner = _owner(job, around)
    period = owner.keep_retired_messages if owner is not None else _KEEP_OF_NOBODY
    return around.now + period if period else None


def _hook(
    job: Job, outcome: Outcome, event: OutgoingEvent, around: Circumstances
) -> NewHook | None:
    account = around.account
    if account is None or account.outgoing_webhook is None:
        return None
    if not wants(account.outgoing_webhook, event):
        return None
    failure = outcome if isinstance(outcome, Failed) else None
    return NewHook(
        account=account.name,
        target=account.outgoing_webhook,
        event=event,
        payload=outgoing_payload(job, event, queued=around.now, failure=failure),
        queue_id=job.id,
        from_id=job.from_id,
        message_id=job.message_id,
        subject=job.subject,
        extra=job.extra,
    )


def _bounce(job: Job, outcome: Outcome, around: Circumstances) -> tuple[NewMessage, bytes] | None:
    """A DSN for the sending account's Inbox, or the postmaster's (Q-35)."""
    reader = around.account or around.postmaster
    sender = job.reverse_path
    if reader is None or sender is None or not bounces(job, outcome, around.settings):
        return None
    smtputf8 = job.smtputf8
    message = NewMessage(
        account=reader.name,
        prefix=return_path(None, smtputf8=smtputf8) + delivered_to(sender, smtputf8=smtputf8),
        received=around.now,
        reverse_path=None,
        forward_path=sender,
        author=_reporter(around).unicode,
        subject=SUBJECTS[_action(job, outcome, around)],
        message_id=_message_id(around),
        is_dsn=True,
        hand_over=reader.maildir is not None,
    )
    return message, _dsn(job, sender, outcome, around)


def _sent_report(job: Job, outcome: Outcome, around: Circumstances) -> tuple[NewJob, bytes] | None:
    """A DSN on its way to the sender of mail that is no account's (Q-35)."""
    sender = job.reverse_path
    if sender is None or not bounces(job, outcome, around.settings):
        return None
    new = NewJob(
        account="",
        reverse_path=None,
        forward_path=sender,
        prefix=b"",
        message_id=_message_id(around),
        subject=SUBJECTS[_action(job, outcome, around)],
        smtputf8=job.smtputf8,
        require_tls=job.require_tls,
    )
    return new, _dsn(job, sender, outcome, around)


def _action(job: Job, outcome: Outcome, around: Circumstances) -> Action:
    return _TOLD[_event(job, outcome, around.settings)][1]


def _reporter(around: Circumstances) -> Path:
    return Path("postmaster", around.hostname)


def _message_id(around: Circumstances) -> str:
    return f"<{around.unique}@{around.hostname.ascii}>"


def _dsn(job: Job, sender: Path, outcome: Outcome, around: Circumstances) -> bytes:
    action = _action(job, outcome, around)
    return compose_dsn(
        Dsn(
            hostname=around.hostname,
            postmaster=_reporter(around),
            sender=sender,
            date=around.now,
            boundary=f"=_{around.unique}",
            message_id=_message_id(around),
            arrival=job.queued,
            reports=(_report(job, outcome, action),),
            original=around.header,
            full=(action is Action.FAILED and returns_all(job) and len(around.header) == job.size),
            envelope_id=job.wishes.envelope_id,
            form=Form.UTF8 if job.smtputf8 else Form.ASCII,
            references=job.message_id,
            future_release=job.future_release,
        )
    )


def _report(job: Job, outcome: Outcome, action: Action) -> RecipientReport:
    remote = outcome.remote
    failed = outcome if isinstance(outcome, Failed) else None
    return RecipientReport(
        recipient=job.forward_path,
        action=action,
        original_recipient=job.wishes.original_recipient,
        status=outcome.status,
        error=failed.error if failed is not None else "",
        remote_name=remote.name if remote is not None else "",
        remote_address=remote.address if remote is not None else None,
        reply=failed.reply if failed is not None else "",
        last_attempt=job.last_attempt,
    )
