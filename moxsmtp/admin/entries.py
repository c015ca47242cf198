"""Jobs of the queue and its history as JSON, for operators."""

from __future__ import annotations

from datetime import datetime

from moxsmtp.queue.job import Job, Result
from moxsmtp.smtp.address import Path
from moxsmtp.store.job_rows import RetiredJob

__all__ = ["job_entry", "path_text", "retired_entry", "time_text"]


def time_text(moment: datetime | None) -> str:
    """RFC 3339; empty for never."""
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


def path_text(path: Path | None) -> str:
    """As people write it; the null reverse-path is empty."""
    return "" if path is None else path.unicode


def job_entry(job: Job, *, traces: bool = False) -> dict[str, object]:
    """
    A job that waits.

    @param traces: Also what each attempt saw and decided, which may be long.
    """
    return {
        "id": job.id,
        "state": "queued",
        "account": job.account,
        "mail_from": path_text(job.reverse_path),
        "rcpt_to": path_text(job.forward_path),
        "subject": job.subject,
        "message_id": job.message_id,
        "size": job.size,
        "queued": time_text(job.queued),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "last_attempt": time_text(job.last_attempt),
        "next_attempt": time_text(job.next_attempt),
        "hold": job.hold,
        "require_tls": job.require_tls.value,
        "transport": job.transport,
        "future_release": job.future_release,
        "dsn_return": job.wishes.returns.value,
        "dsn_notify": str(job.wishes.notify),
        "envelope_id": job.wishes.envelope_id,
        "original_recipient": job.wishes.original_recipient,
        "report": job.report,
        "extra": dict(job.extra),
        "last_error": job.results[-1].error if job.results else "",
        "results": [_result(result, traces=traces) for result in job.results],
    }


def retired_entry(retired: RetiredJob, *, traces: bool = False) -> dict[str, object]:
    """A job of the history; as L{job_entry}."""
    entry = job_entry(retired.job, traces=traces)
    entry.update(
        state=retired.event.value,
        next_attempt="",
        last_activity=time_text(retired.last_activity),
        keep_until=time_text(retired.keep_until),
    )
    return entry


def _result(result: Result, *, traces: bool) -> dict[str, object]:
    entry: dict[str, object] = {
        "start": time_text(result.start),
        "seconds": result.duration.total_seconds(),
        "success": result.success,
        "code": result.code,
        "status": result.status,
        "error": result.error,
    }
    if traces:
        entry["trace"] = list(result.trace)
    return entry
