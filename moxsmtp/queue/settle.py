"""
What an attempt means for a queued message: try again, or leave the queue with
the DSN, the webhook and the suppression that go with it (Q-12, Q-30 to Q-32,
Q-69, Q-70, Q-77).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.interfaces import Account, NewHook, OutgoingEvent
from moxsmtp.queue.fate import Circumstances, event_of, outcome_of
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
from moxsmtp.queue.notification import bounce, sent_report
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.suppression import (
    MAXIMUM_REASON,
    Suppression,
    base_address,
    is_about_us,
    refuses_address,
)
from moxsmtp.webhooks.payload import outgoing_payload, wants

__all__ = ["SUPPRESSED", "asks_history", "settle", "settle_silently", "suppression"]

#: History of accounts that do not exist any more (Q-77).
_KEEP_OF_NOBODY: Final = timedelta(days=7)

#: What a recipient on the account's suppression list meets: nobody is connected to (Q-30).
SUPPRESSED: Final = Failed(
    permanent=True,
    error="the address is on the suppression list: mail to it failed before, or was unwanted",
)


def settle(job: Job, attempt: Attempt, around: Circumstances) -> Settlement:
    """
    Say what an attempt means for one of its jobs.

    @param job: As it was taken: this attempt is counted, and C{next_attempt}
        is when the next one begins if this one failed.
    """
    outcome = outcome_of(job, attempt)
    silent = settle_silently(job, attempt, around)
    dsn = bounce(job, outcome, around)
    report = sent_report(job, outcome, around)
    hook = _hook(job, outcome, around, suppressing=silent.suppress is not None)
    if dsn is None and report is None and hook is None:
        return silent
    return replace(silent, bounce=dsn, report=report, hook=hook)


def settle_silently(job: Job, attempt: Attempt, around: Circumstances) -> Settlement:
    """As L{settle}, without telling anybody."""
    outcome = outcome_of(job, attempt)
    event = event_of(job, outcome, around.settings)
    fate: Retry | Retired
    if event is OutgoingEvent.DELAYED:
        fate = Retry(job.next_attempt)
    else:
        fate = Retired(event, _keep_until(job, around))
    return Settlement(
        job,
        fate,
        _result(outcome, attempt, around),
        dialed=attempt.dialed,
        suppress=_suppress(job, outcome, around),
    )


def _result(outcome: Outcome, attempt: Attempt, around: Circumstances) -> Result:
    return Result(
        start=around.started,
        duration=around.now - around.started,
        success=isinstance(outcome, Delivered),
        code=outcome.code,
        status=outcome.status,
        error=outcome.error if isinstance(outcome, Failed) else "",
        trace=attempt.trace,
    )


def _owner(job: Job, around: Circumstances) -> Account | None:
    """Whose settings count: the server's own mail is the postmaster's."""
    return around.account if job.account else around.postmaster


def _keep_until(job: Job, around: Circumstances) -> datetime | None:
    owner = _owner(job, around)
    period = owner.keep_retired_messages if owner is not None else _KEEP_OF_NOBODY
    return around.now + period if period else None


# -- suppression ------------------------------------------------------------------------


def asks_history(job: Job, outcome: Outcome, settings: QueueSettings) -> bool:
    """Whether L{Circumstances.failed_before} decides (Q-31)."""
    code, status = _refusal(job, outcome, settings)
    return _counts(job, code) and not refuses_address(code, status)


def suppression(
    job: Job, code: int, status: str, error: str, *, failed_before: bool, now: datetime
) -> Suppression | None:
    """
    What goes on the account's list after a final failure (Q-31).

    @param code: Of a remote; 0: none of them gave one.
    @return: L{None}: nothing does.
    """
    if not _counts(job, code):
        return None
    if not (failed_before or refuses_address(code, status)):
        return None
    said = f"{code} {code // 100}.{status}" if status else str(code)
    return Suppression(
        account=job.account,
        base_address=base_address(job.forward_path),
        original_address=job.forward_path.unicode,
        manual=False,
        reason=" ".join(f"{said} {error}".split())[:MAXIMUM_REASON],
        created=now,
    )


def _counts(job: Job, code: int) -> bool:
    """
    Whether a remote's code says anything of the recipient.  Many refuse whatever
    has the null reverse-path, which says nothing of other mail: a bounce that
    bounces suppresses nobody.
    """
    has_list = bool(job.account) and job.reverse_path is not None
    return has_list and code > 0 and not is_about_us(code)


def _suppress(job: Job, outcome: Outcome, around: Circumstances) -> Suppression | None:
    code, status = _refusal(job, outcome, around.settings)
    if around.account is None or not isinstance(outcome, Failed):
        return None
    return suppression(
        job,
        code,
        status,
        outcome.error,
        failed_before=around.failed_before,
        now=around.now,
    )


def _refusal(job: Job, outcome: Outcome, settings: QueueSettings) -> tuple[int, str]:
    """
    A remote's final word on a recipient.

    @return: Code 0 for none: codes that we made have no reply with them.
    """
    if not isinstance(outcome, Failed) or not outcome.reply:
        return 0, ""
    if event_of(job, outcome, settings) is not OutgoingEvent.FAILED:
        return 0, ""
    return outcome.code, outcome.status


# -- webhooks ---------------------------------------------------------------------------


def _hook(
    job: Job, outcome: Outcome, around: Circumstances, *, suppressing: bool
) -> NewHook | None:
    event = event_of(job, outcome, around.settings)
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
        payload=outgoing_payload(
            job, event, queued=around.now, failure=failure, suppressing=suppressing
        ),
        queue_id=job.id,
        from_id=job.from_id,
        message_id=job.message_id,
        subject=job.subject,
        extra=job.extra,
    )
