"""Rows of waiting and retired webhook calls, and how a call is added (Q-75, Q-76)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, text

from moxsmtp.interfaces import NewHook, OutgoingEvent
from moxsmtp.queue.job import Hook
from moxsmtp.store.columns import (
    duration_microseconds,
    read_hook_results,
    read_map,
    read_time,
    write_map,
    write_text,
)
from moxsmtp.store.due import add_due
from moxsmtp.store.leases import LeasedWork
from moxsmtp.store.schema import hook, retired_hook
from moxsmtp.store.transaction import Transaction

__all__ = [
    "HOOKS", "RetiredHook", "add_hook", "add_hooks", "read_hook", "read_retired_hook",
    "retire_hook",
]  # fmt: skip

#: Webhook calls, leased by URL: one call to each at a time (Q-75).
HOOKS: Final = LeasedWork.over("hook", hook, hook.c.url, waits=text("1 = 1"))

_INSERT: Final = (
    insert(hook)
    .values(
        {
            name: bindparam(name)
            for name in (
                "account", "url", "queue_id", "event", "from_id", "message_id", "subject", "extra",
                "payload", "submitted", "authorization", "next_attempt",
            )
        }
    )
    .returning(hook.c.id)
)  # fmt: skip

_PENDING: Final = (
    select(hook)
    .where(hook.c.queue_id == bindparam("queue_id"), text("queue_id <> 0"))
    .where(hook.c.id != bindparam("id"))
    .with_for_update()
)
_DELETE: Final = delete(hook).where(hook.c.id == bindparam("id")).returning(hook.c.id)

#: What a retired call keeps as it was; of its Authorization header only that there was one.
_KEPT: Final = (
    "id", "account", "url", "queue_id", "event", "from_id", "message_id", "subject", "extra",
    "payload", "submitted", "attempts",
)  # fmt: skip
_RETIRE: Final = insert(retired_hook).values(
    {column.name: bindparam(column.name) for column in retired_hook.columns}
)


@dataclass(frozen=True, slots=True)
class RetiredHook:
    """
    A webhook call of the history (Q-77).

    @ivar hook: As it was, without its Authorization header.
    @ivar authorized: Whether there was one.
    @ivar success: It was answered as it should be.
    @ivar superseded_by: The call that took its place (Q-76), or 0.
    @ivar keep_until: When the history forgets it, fixed when it left the queue.
    """

    hook: Hook
    authorized: bool
    success: bool
    superseded_by: int
    last_activity: datetime
    keep_until: datetime


def read_hook(row: Any) -> Hook:
    """@param row: All columns of L{hook}."""
    return _read(row, row.authorization, row.next_attempt)


def read_retired_hook(row: Any) -> RetiredHook:
    """@param row: All columns of L{retired_hook}."""
    return RetiredHook(
        hook=_read(row, "", row.last_activity),
        authorized=bool(row.authorized),
        success=bool(row.success),
        superseded_by=row.superseded_by,
        last_activity=read_time(row.last_activity),
        keep_until=read_time(row.keep_until),
    )


def _read(row: Any, authorization: str, next_attempt: int) -> Hook:
    """What both tables have."""
    return Hook(
        id=row.id,
        account=row.account,
        url=row.url,
        authorization=authorization,
        event=OutgoingEvent(row.event) if row.event else None,
        payload=row.payload,
        submitted=read_time(row.submitted),
        next_attempt=read_time(next_attempt),
        queue_id=row.queue_id,
        from_id=row.from_id,
        message_id=row.message_id,
        subject=row.subject,
        extra=read_map(row.extra),
        attempts=row.attempts,
        results=read_hook_results(row.results),
    )


def add_hook(tx: Transaction, new: NewHook, *, now: int, keep: timedelta, message: int = 0) -> int:
    """
    Add a call, due at once, in place of one that waits for the same message of
    the queue (Q-76).

    @param keep: How long the history keeps a call whose place this one takes;
        zero: not at all.
    @param message: What a NUL octet in the payload stands for.
    """
    # The destination first, as everybody does: two that lock in one order never
    # wait for each other.
    add_due(tx, HOOKS.kind, new.target.url, now, now)
    ((number,),) = tx.execute(
        _INSERT,
        {
            "account": new.account,
            "url": new.target.url,
            "authorization": new.target.authorization,
            "queue_id": new.queue_id,
            "event": new.event or "",
            "from_id": write_text(new.from_id),
            "message_id": write_text(new.message_id),
            "subject": write_text(new.subject),
            "extra": write_map(new.extra),
            "payload": new.payload.replace(b"\0", str(message).encode("ascii")),
            "submitted": now,
            "next_attempt": now,
        },
    )
    if new.queue_id:
        for row in tx.execute(_PENDING, {"queue_id": new.queue_id, "id": number}):
            retire_hook(
                tx, row, row.results, success=False, now=now, keep=keep, superseded_by=number
            )
    return int(number)


def retire_hook(
    tx: Transaction,
    row: Any,
    results: str,
    *,
    success: bool,
    now: int,
    keep: timedelta | None,
    superseded_by: int = 0,
) -> None:
    """
    Take a call out of the queue (Q-77).

    @param row: All columns of L{hook}.
    @param results: As JSON.
    @param keep: L{None} or zero: the history does not keep it.
    """
    if not tx.execute(_DELETE, {"id": row.id}) or not keep:
        return
    tx.execute(
        _RETIRE,
        {name: getattr(row, name) for name in _KEPT}
        | {
            "results": results,
            "authorized": int(bool(row.authorization)),
            "success": int(success),
            "superseded_by": superseded_by,
            "last_activity": now,
            "keep_until": now + duration_microseconds(keep),
        },
    )


def add_hooks(
    tx: Transaction, hooks: Iterable[NewHook], *, now: int, keep: Mapping[str, timedelta]
) -> None:
    """
    Add calls as L{add_hook} does.

    @param keep: By account, how long its history stays.
    """
    # In the order of their destinations, as L{add_due} demands.
    for new in sorted(hooks, key=lambda new: new.target.url):
        add_hook(tx, new, now=now, keep=keep[new.account])
