"""
What a message means that came to the from-id of one that we sent: another
line in its history, an event, perhaps a suppression.  Q-39 to Q-42.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.interfaces import Echo, NewHook, OutgoingEvent
from moxsmtp.message.delivery_status import RecipientStatus
from moxsmtp.message.reports import Action
from moxsmtp.queue.job import Failed, Job, Result
from moxsmtp.queue.settle import suppression
from moxsmtp.queue.suppression import Suppression, refuses_address
from moxsmtp.webhooks.payload import outgoing_payload, wants

__all__ = ["MAXIMUM_RESULTS", "Reported", "needs_history", "reported", "results_with"]

#: Results that the history of one message holds: who knows its from-id may
#: write to it without end.
MAXIMUM_RESULTS: Final = 64

_EVENTS: Final[Mapping[Action, OutgoingEvent]] = {
    Action.FAILED: OutgoingEvent.FAILED,
    Action.DELAYED: OutgoingEvent.DELAYED,
    Action.DELIVERED: OutgoingEvent.DELIVERED,
    Action.RELAYED: OutgoingEvent.RELAYED,
    Action.EXPANDED: OutgoingEvent.EXPANDED,
}

#: A DSN that says so records success (Q-42).
_GOOD: Final = frozenset({Action.DELIVERED, Action.RELAYED, Action.EXPANDED})


@dataclass(frozen=True, slots=True)
class Reported:
    """
    What is recorded for the message that was sent.

    @ivar result: One more in its history.
    @ivar failed: It did not arrive, whatever was thought before.
    @ivar hook: The outgoing webhook; L{None}: nobody wants to know.
    @ivar suppress: For the account's list, where it is not on it yet.
    """

    result: Result
    failed: bool
    hook: NewHook | None
    suppress: Suppression | None


def needs_history(echo: Echo) -> bool:
    """Whether C{failed_before} decides in L{reported} (Q-31)."""
    status = echo.status
    return (
        status is not None
        and status.action is Action.FAILED
        and status.code > 0
        and not refuses_address(status.code, status.status)
    )


def reported(job: Job, echo: Echo, now: datetime, *, failed_before: bool = False) -> Reported:
    """
    Say what C{echo} means for the message that it is about.

    @param job: As the history has it.
    @param failed_before: See L{needs_history}.
    """
    status = echo.status
    failed = status is not None and status.action is Action.FAILED
    suppress = None
    if status is not None and failed:
        suppress = suppression(
            job, status.code, status.status, status.text, failed_before=failed_before, now=now
        )
    return Reported(
        result=_result(echo, now),
        failed=failed,
        hook=_hook(job, echo, now, suppressing=suppress is not None),
        suppress=suppress,
    )


def results_with(results: tuple[Result, ...], new: Result) -> tuple[Result, ...]:
    """A history with one more, of which the newest before gives way if it is long."""
    return (*results[: MAXIMUM_RESULTS - 1], new)


def _result(echo: Echo, now: datetime) -> Result:
    status = echo.status
    if status is None:
        return Result(now, timedelta(), success=False, error=_unrecognized(echo))
    success = status.action in _GOOD
    return Result(
        start=now,
        duration=timedelta(),
        success=success,
        code=status.code,
        status=status.status,
        error="" if success else f"DSN, {status.action.value}: {status.text}",
    )


def _unrecognized(echo: Echo) -> str:
    if echo.is_dsn:
        return "a DSN that is not understood came back"
    return "a message that is no DSN came back"


def _hook(job: Job, echo: Echo, now: datetime, *, suppressing: bool) -> NewHook | None:
    event = OutgoingEvent.UNRECOGNIZED if echo.status is None else _EVENTS[echo.status.action]
    if echo.target is None or not wants(echo.target, event):
        return None
    return NewHook(
        account=job.account,
        target=echo.target,
        event=event,
        payload=outgoing_payload(
            job,
            event,
            queued=now,
            failure=_claim(echo, echo.status),
            suppressing=suppressing,
            is_dsn=echo.is_dsn,
        ),
        queue_id=job.id,
        from_id=job.from_id,
        message_id=job.message_id,
        subject=job.subject,
        extra=job.extra,
    )


def _claim(echo: Echo, status: RecipientStatus | None) -> Failed:
    """Codes and words as the DSN has them, of success too (Q-70)."""
    if status is None:
        return Failed(permanent=False, error=_unrecognized(echo))
    return Failed(
        permanent=status.action is Action.FAILED,
        error="" if status.action in _GOOD else status.text,
        code=status.code,
        status=status.status,
    )
