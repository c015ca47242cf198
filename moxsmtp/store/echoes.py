"""
Mail that came to the from-id of a message that we sent, matched with the
history in the transaction that stores it.  Q-39, Q-40, Q-42.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, text, update

from moxsmtp.interfaces import Echo, NewMessage, OutgoingEvent
from moxsmtp.queue.reported import needs_history, reported, results_with
from moxsmtp.store.columns import write_results, write_text, write_time
from moxsmtp.store.job_rows import read_retired_job
from moxsmtp.store.jobs import has_failed_before
from moxsmtp.store.schema import retired_job
from moxsmtp.store.suppressions import add_suppression
from moxsmtp.store.transaction import Transaction

__all__ = ["matched"]

# The literal lets the partial index answer.
_FIND: Final = (
    select(retired_job)
    .where(
        retired_job.c.from_id == bindparam("from_id"),
        text("from_id <> ''"),
        # Who guesses another account's identifier learns nothing of its mail.
        retired_job.c.account == bindparam("account"),
    )
    .order_by(retired_job.c.id)
    .limit(1)
    .with_for_update()
)
_RECORD: Final = (
    update(retired_job)
    .where(retired_job.c.id == bindparam("number"))
    .values(
        results=bindparam("results"),
        success=bindparam("success"),
        event=bindparam("event"),
        last_activity=bindparam("last_activity"),
    )
)


def matched(tx: Transaction, messages: Sequence[NewMessage], now: datetime) -> list[NewMessage]:
    """
    Record what C{messages} say of messages sent before.

    @return: All of them, each with the webhook that is to be called: one that
        says something of a message sent never calls that for incoming mail.
    """
    hooks = list(messages)
    known: set[tuple[str, str]] = set()
    # In one order everywhere: two that lock in one order never wait for each other.
    for place in sorted(range(len(hooks)), key=lambda place: _key(hooks[place])):
        message = hooks[place]
        if message.echo is None or not message.echo.from_id:
            continue
        if _key(message) in known:
            # A second copy for the same account says nothing new.
            hooks[place] = replace(message, hook=None)
            continue
        found = _recorded(tx, message, message.echo, now)
        if found is not None:
            known.add(_key(message))
            hooks[place] = found
    return hooks


def _key(message: NewMessage) -> tuple[str, str]:
    return message.account, message.echo.from_id if message.echo is not None else ""


def _recorded(tx: Transaction, message: NewMessage, echo: Echo, now: datetime) -> NewMessage | None:
    """@return: L{None}: the account sent nothing with that identifier, or forgot it."""
    rows = tx.execute(_FIND, {"from_id": write_text(echo.from_id), "account": message.account})
    if not rows:
        return None
    retired = read_retired_job(rows[0])
    job = retired.job
    failed_before = needs_history(echo) and has_failed_before(tx, job)
    found = reported(job, echo, now, failed_before=failed_before)
    tx.execute(
        _RECORD,
        {
            "number": job.id,
            "results": write_results(results_with(job.results, found.result)),
            "success": int(retired.success and not found.failed),
            "event": (OutgoingEvent.FAILED if found.failed else retired.event).value,
            "last_activity": write_time(max(now, retired.last_activity)),
        },
    )
    if found.suppress is not None:
        add_suppression(tx, found.suppress)
    return replace(message, hook=found.hook)
