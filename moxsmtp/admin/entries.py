"""
Jobs and webhook calls of the queue and its history as JSON, for operators.

Of what proves who calls a webhook, nothing is told but that it is there.
"""

from __future__ import annotations

from datetime import datetime

from moxsmtp.queue.filter import INCOMING
from moxsmtp.queue.job import Hook, HookResult, Job, Result
from moxsmtp.smtp.address import Path
from moxsmtp.store.hook_rows import RetiredHook
from moxsmtp.store.job_rows import RetiredJob

__all__ = [
    "hook_entry", "job_entry", "path_text", "retired_entry", "retired_hook_entry", "time_text",
]  # fmt: skip


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
        # Of the form in UTF-8, which only some reports have.
        "utf8_size": None if job.alternative is None else job.alternative_size,
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


def hook_entry(hook: Hook, *, responses: bool = False) -> dict[str, object]:
    """
    A webhook call that waits, without its payload.

    @param responses: Also what each call was answered.
    """
    return {
        "id": hook.id,
        "state": "queued",
        "account": hook.account,
        "event": hook.event.value if hook.event else INCOMING,
        "url": hook.url,
        "authorized": bool(hook.authorization),
        "job": hook.queue_id,
        "message_id": hook.message_id,
        "subject": hook.subject,
        "size": len(hook.payload),
        "submitted": time_text(hook.submitted),
        "attempts": hook.attempts,
        "next_attempt": time_text(hook.next_attempt),
        "extra": dict(hook.extra),
        "last_error": hook.results[-1].error if hook.results else "",
        "results": [_call(result, responses=responses) for result in hook.results],
    }


def retired_hook_entry(retired: RetiredHook, *, responses: bool = False) -> dict[str, object]:
    """A webhook call of the history; as L{hook_entry}."""
    entry = hook_entry(retired.hook, responses=responses)
    entry.update(
        state=_end(retired),
        authorized=retired.authorized,
        next_attempt="",
        superseded_by=retired.superseded_by,
        last_activity=time_text(retired.last_activity),
        keep_until=time_text(retired.keep_until),
    )
    return entry


def _end(retired: RetiredHook) -> str:
    if retired.success:
        return "done"
    return "superseded" if retired.superseded_by else "failed"


def _call(result: HookResult, *, responses: bool) -> dict[str, object]:
    entry: dict[str, object] = {
        "start": time_text(result.start),
        "seconds": result.duration.total_seconds(),
        "url": result.url,
        "success": result.success,
        "code": result.code,
        "error": result.error,
    }
    if responses:
        entry["response"] = result.response
    return entry
