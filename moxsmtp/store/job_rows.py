"""Rows of queued and retired jobs.  Q-5 to Q-7, Q-77."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, text

from moxsmtp.interfaces import NewJob, OutgoingEvent, RequireTLS, Spooled
from moxsmtp.queue.job import Job, Result, Retired
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Notify, ReturnContent, Wishes
from moxsmtp.store.columns import (
    read_addresses,
    read_map,
    read_path,
    read_results,
    read_time,
    write_map,
    write_path,
    write_results,
    write_text,
    write_time,
)
from moxsmtp.store.leases import LeasedWork
from moxsmtp.store.schema import job, retired_job
from moxsmtp.store.transaction import Transaction

__all__ = [
    "CANCELED",
    "JOBS",
    "Begun",
    "RetiredJob",
    "has_failed",
    "insert_job",
    "job_destination",
    "read_job",
    "read_retired_job",
    "retire_job",
    "sender_domain",
]  # fmt: skip

#: The error in the last result of a job that an administrator ended (Q-23).
CANCELED: Final = "cancelled by admin"

#: Mail, leased by recipient domain: one delivery to each at a time (Q-9).
JOBS: Final = LeasedWork.over(
    "mail", job, job.c.destination, waits=text("hold = 0"), slot=job.c.slot
)

_INSERT: Final = (
    insert(job)
    .values(
        {
            name: bindparam(name)
            for name in (
                "base_id", "account", "mail_from", "rcpt_to", "destination", "size", "has_8bit",
                "smtputf8", "message_id", "subject", "require_tls", "queued", "from_id", "extra",
                "future_release", "content_id", "prefix", "next_attempt", "dsn_return",
                "envelope_id", "dsn_notify", "original_recipient", "report", "sender_domain",
                "alternative_id", "alternative_size",
            )
        }
    )
    .returning(job.c.id)
)  # fmt: skip

_RETIRE: Final = insert(retired_job).from_select(
    [column.name for column in retired_job.columns],
    select(
        *(
            bindparam(column.name, type_=column.type).label(column.name)
            if column.name in {"results", "success", "event", "last_activity", "keep_until"}
            else job.c[column.name]
            for column in retired_job.columns
        )
    ).where(job.c.id == bindparam("id")),
)


@dataclass(frozen=True, slots=True)
class RetiredJob:
    """
    A job of the history (Q-77).

    @ivar job: As it was, without prefix and content.
    @ivar success: True only for C{delivered}.
    @ivar keep_until: When the history forgets it, fixed when it left the queue.
    """

    job: Job
    event: OutgoingEvent
    success: bool
    last_activity: datetime
    keep_until: datetime


def job_destination(new: NewJob) -> str:
    """
    The name of its destination.

    @raise ValueError: The recipient has no domain.
    """
    if new.forward_path.domain is None:
        raise ValueError("a queued recipient has a domain")
    return new.forward_path.domain.ascii


def sender_domain(path: Path | None) -> str:
    """A-labels or C{[ip]}; empty for the null reverse-path and the bare postmaster."""
    return "" if path is None or path.domain is None else path.domain.ascii


def insert_job(
    tx: Transaction,
    new: NewJob,
    spooled: Spooled,
    *,
    content: int,
    alternative: int | None = None,
    base: int,
    now: int,
) -> int:
    """
    Add a job whose content is there already.  Its destination is told apart.

    @param alternative: The content that is the same in UTF-8, if there is one.
    @param base: Number of the first job that shares sender and prefix, or 0.
    """
    ((number,),) = tx.execute(
        _INSERT,
        {
            "base_id": base,
            "account": new.account,
            "mail_from": write_path(new.reverse_path),
            "rcpt_to": new.forward_path.ascii,
            "destination": job_destination(new),
            "size": len(new.prefix) + spooled.size,
            "has_8bit": int(spooled.has_8bit or not new.prefix.isascii()),
            "smtputf8": int(new.smtputf8),
            "message_id": write_text(new.message_id),
            "subject": write_text(new.subject),
            "require_tls": new.require_tls.value,
            "queued": now,
            "from_id": write_text(new.from_id),
            "extra": write_map(new.extra),
            "future_release": new.future_release,
            "content_id": content,
            "prefix": new.prefix,
            "next_attempt": now if new.next_attempt is None else write_time(new.next_attempt),
            "dsn_return": new.wishes.returns.value,
            "envelope_id": write_text(new.wishes.envelope_id),
            "dsn_notify": str(new.wishes.notify),
            "original_recipient": write_text(new.wishes.original_recipient),
            "report": new.report,
            "sender_domain": sender_domain(new.reverse_path),
            "alternative_id": alternative,
            "alternative_size": len(new.alternative),
        },
    )
    return int(number)


@dataclass(frozen=True, slots=True)
class Begun:
    """
    An attempt that begins, and is not in the row yet.

    @ivar at: By the queue's clock.
    @ivar next_attempt: When the one after it is due.
    @ivar is_suppressed: The account's list names the recipient.
    """

    at: int
    next_attempt: datetime
    is_suppressed: bool


def read_job(row: Any, *, begun: Begun | None = None) -> Job:
    """
    @param row: All columns of L{job}.
    @param begun: The attempt that is to be counted, too.
    """
    last_attempt = row.last_attempt if begun is None else begun.at
    return Job(
        id=row.id,
        base_id=row.base_id,
        account=row.account,
        reverse_path=None if row.mail_from is None else read_path(row.mail_from),
        forward_path=read_path(row.rcpt_to),
        queued=read_time(row.queued),
        next_attempt=read_time(row.next_attempt) if begun is None else begun.next_attempt,
        content=row.content_id,
        size=row.size,
        prefix=row.prefix,
        has_8bit=bool(row.has_8bit),
        smtputf8=bool(row.smtputf8),
        message_id=row.message_id,
        subject=row.subject,
        require_tls=RequireTLS(row.require_tls),
        hold=bool(row.hold),
        attempts=row.attempts + (begun is not None),
        max_attempts=row.max_attempts,
        last_attempt=_time(last_attempt),
        attempt_before=None if begun is None else _time(row.last_attempt),
        results=read_results(row.results),
        dialed=read_addresses(row.dialed),
        transport=row.transport,
        from_id=row.from_id,
        extra=read_map(row.extra),
        future_release=row.future_release,
        wishes=_wishes(row),
        report=row.report,
        alternative=row.alternative_id,
        alternative_size=row.alternative_size,
        suppressed=begun is not None and begun.is_suppressed,
    )


def read_retired_job(row: Any) -> RetiredJob:
    """@param row: All columns of L{retired_job}."""
    last_activity = read_time(row.last_activity)
    kept = Job(
        id=row.id,
        base_id=row.base_id,
        account=row.account,
        reverse_path=None if row.mail_from is None else read_path(row.mail_from),
        forward_path=read_path(row.rcpt_to),
        queued=read_time(row.queued),
        next_attempt=last_activity,
        content=0,
        size=row.size,
        has_8bit=bool(row.has_8bit),
        smtputf8=bool(row.smtputf8),
        message_id=row.message_id,
        subject=row.subject,
        require_tls=RequireTLS(row.require_tls),
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        last_attempt=_time(row.last_attempt),
        results=read_results(row.results),
        transport=row.transport,
        from_id=row.from_id,
        extra=read_map(row.extra),
        future_release=row.future_release,
        wishes=_wishes(row),
        report=row.report,
    )
    return RetiredJob(
        job=kept,
        event=OutgoingEvent(row.event),
        success=bool(row.success),
        last_activity=last_activity,
        keep_until=read_time(row.keep_until),
    )


def has_failed(row: Any) -> bool:
    """
    Whether a job of the history failed on its way: not one that an
    administrator ended, or that was never sent as its recipient is suppressed.

    @param row: C{success}, C{event} and C{results} of L{retired_job}.
    """
    if row.success or row.event in {OutgoingEvent.CANCELED.value, OutgoingEvent.SUPPRESSED.value}:
        return False
    results = read_results(row.results)
    return not results or results[-1].error != CANCELED


def _time(moment: int | None) -> datetime | None:
    return None if moment is None else read_time(moment)


def _wishes(row: Any) -> Wishes:
    """@param row: The columns of both tables that tell them."""
    return Wishes(
        returns=ReturnContent(row.dsn_return),
        envelope_id=row.envelope_id,
        notify=Notify.parse(row.dsn_notify),
        original_recipient=row.original_recipient,
    )


def retire_job(tx: Transaction, number: int, results: tuple[Result, ...], fate: Retired) -> None:
    """
    Copy a job into the history, if it is to be kept; it is still in the queue then.

    @param results: All of them; the last one says when it ended.
    """
    if fate.keep_until is None:
        return
    last = results[-1]
    tx.execute(
        _RETIRE,
        {
            "id": number,
            "results": write_results(results),
            "success": int(fate.event is OutgoingEvent.DELIVERED),
            "event": fate.event.value,
            "last_activity": write_time(last.start + last.duration),
            "keep_until": write_time(fate.keep_until),
        },
    )
