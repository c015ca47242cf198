"""
The DSN that an attempt gives rise to, and where it goes.  Q-13, Q-35 to Q-37,
RFC 3461 sections 4 to 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.interfaces import NewJob, NewMessage, OutgoingEvent
from moxsmtp.message.dsn import compose_dsn
from moxsmtp.message.reports import SUBJECTS, Action, Dsn, Form, RecipientReport
from moxsmtp.message.trace import delivered_to, return_path
from moxsmtp.queue.fate import Circumstances, event_of
from moxsmtp.queue.job import Delivered, Failed, Job, Outcome
from moxsmtp.queue.schedule import remaining
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Notify, Occasion, ReturnContent, Wishes

__all__ = [
    "DELAYED_AFTER", "MAXIMUM_RETURNED", "MAXIMUM_TOGETHER", "bounce", "bounces", "returns_all",
    "sent_report",
]  # fmt: skip

#: After this attempt, and no other, a sender hears that it takes longer (Q-13).
DELAYED_AFTER: Final = 5

#: Octets; of a larger message a report brings back the header only, whatever
#: was asked for: it is composed in memory, and nobody reads that much of it.
MAXIMUM_RETURNED: Final = 1 << 20

#: Octets of whole messages in reports that are written at once.
MAXIMUM_TOGETHER: Final = 4 << 20

#: Of what a sender may want to hear.
_TOLD: Final = {
    OutgoingEvent.FAILED: (Occasion.FAILURE, Action.FAILED),
    OutgoingEvent.SUPPRESSED: (Occasion.FAILURE, Action.FAILED),
    OutgoingEvent.DELAYED: (Occasion.DELAY, Action.DELAYED),
    OutgoingEvent.DELIVERED: (Occasion.SUCCESS, Action.RELAYED),
}

#: Below the postmaster's mailbox: where failures of our own reports go, by L{Job.report}.
_FOLDERS: Final[Mapping[str, str]] = {"dmarc": "dmarc", "tls": "tlsrpt"}

#: The flag of mail that has been read, in a Maildir's letters.
_SEEN: Final = "S"

#: Nobody is told what became of a report.  RFC 3461 section 6.1.
_NOTHING: Final = Wishes(notify=Notify(frozenset({Occasion.NEVER})))


def bounces(job: Job, outcome: Outcome, settings: QueueSettings) -> bool:
    """
    Whether the sender is told by a DSN: of every final failure and of one long
    delay, unless he asked not to be, of success if he asked to be (RFC 3461
    section 4.1), and never at the null reverse-path (RFC 5321 section 6.1).
    """
    if job.reverse_path is None:
        return False
    event = event_of(job, outcome, settings)
    told = _TOLD.get(event)
    if told is None or not job.wishes.notify.wants(told[0]):
        return False
    if event is OutgoingEvent.DELAYED:
        return job.attempts == DELAYED_AFTER and not job.report
    # Who was handed the wish reports by himself; RFC 3461 section 5.2.1.
    return not (isinstance(outcome, Delivered) and outcome.handed_on)


def returns_all(job: Job) -> bool:
    """Whether a report of failure brings back the whole message.  RFC 3461 section 4.3."""
    return job.wishes.returns is ReturnContent.FULL and job.size <= MAXIMUM_RETURNED


def bounce(job: Job, outcome: Outcome, around: Circumstances) -> tuple[NewMessage, bytes] | None:
    """
    A DSN for the sending account's Inbox, or the postmaster's (Q-35); on a
    report of ours, for the postmaster's folder of such.

    @return: L{None}: nobody is told, or not here.
    """
    folder = _FOLDERS.get(job.report, "")
    if not (job.account or folder) or not bounces(job, outcome, around.settings):
        return None
    account = None if folder else around.account
    reader = account or around.postmaster
    sender = job.reverse_path
    if reader is None or sender is None:
        return None
    form = Form.UTF8 if job.smtputf8 else Form.ASCII
    message = NewMessage(
        account=reader.name,
        prefix=return_path(None, smtputf8=job.smtputf8)
        + delivered_to(sender, smtputf8=job.smtputf8),
        received=around.now,
        reverse_path=None,
        forward_path=sender,
        author=_reporter(around).unicode,
        subject=SUBJECTS[_action(job, outcome, around.settings)],
        message_id=_message_id(around),
        is_dsn=True,
        hand_over=reader.maildir is not None,
    )
    if folder:
        message = replace(message, mailbox=f"{around.postmaster_mailbox}/{folder}", flags=_SEEN)
    elif account is None:
        message = replace(message, mailbox=around.postmaster_mailbox)
    return message, _dsn(job, sender, outcome, around, form)


def sent_report(job: Job, outcome: Outcome, around: Circumstances) -> tuple[NewJob, bytes] | None:
    """
    A DSN on its way to the sender of mail that is no account's (Q-35), in both of
    its forms on an SMTPUTF8 message (Q-36).
    """
    sender = job.reverse_path
    if job.account or job.report in _FOLDERS or sender is None:
        return None
    if not bounces(job, outcome, around.settings):
        return None
    content, *others = (
        _dsn(job, sender, outcome, around, form) for form in Form.leaving(smtputf8=job.smtputf8)
    )
    new = NewJob(
        account="",
        reverse_path=None,
        forward_path=sender,
        prefix=around.sign(content),
        message_id=_message_id(around),
        subject=SUBJECTS[_action(job, outcome, around.settings)],
        smtputf8=sender.needs_smtputf8,
        require_tls=job.require_tls,
        wishes=_NOTHING,
        alternative=b"".join(around.sign(other) + other for other in others),
    )
    return new, content


def _action(job: Job, outcome: Outcome, settings: QueueSettings) -> Action:
    return _TOLD[event_of(job, outcome, settings)][1]


def _reporter(around: Circumstances) -> Path:
    return Path("postmaster", around.hostname)


def _message_id(around: Circumstances) -> str:
    return f"<{around.unique}@{around.hostname.ascii}>"


def _dsn(job: Job, sender: Path, outcome: Outcome, around: Circumstances, form: Form) -> bytes:
    is_failure = _action(job, outcome, around.settings) is Action.FAILED
    return compose_dsn(
        Dsn(
            hostname=around.hostname,
            postmaster=_reporter(around),
            sender=sender,
            date=around.now,
            boundary=f"=_{around.unique}",
            message_id=_message_id(around),
            arrival=job.queued,
            reports=(_report(job, outcome, around),),
            original=around.header,
            full=is_failure and returns_all(job) and len(around.header) == job.size,
            envelope_id=job.wishes.envelope_id,
            form=form,
            references=job.message_id,
            future_release=job.future_release,
        )
    )


def _report(job: Job, outcome: Outcome, around: Circumstances) -> RecipientReport:
    remote = outcome.remote
    failed = outcome if isinstance(outcome, Failed) else None
    action = _action(job, outcome, around.settings)
    intervals: tuple[timedelta, ...] = ()
    until: datetime | None = None
    if action is Action.DELAYED:
        intervals = remaining(job.attempts, job.max_attempts, around.settings)
        until = (job.last_attempt or around.started) + sum(intervals, timedelta())
    return RecipientReport(
        recipient=job.forward_path,
        action=action,
        original_recipient=job.wishes.original_recipient,
        status=outcome.status,
        error=failed.error if failed is not None else "",
        remote_name=remote.name if remote is not None else "",
        remote_address=remote.address if remote is not None else None,
        reply=outcome.reply,
        last_attempt=job.last_attempt,
        retry_until=until,
        retry_intervals=intervals,
    )
