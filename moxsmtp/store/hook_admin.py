"""
What administrators do to the queue of webhook calls.  Q-23, Q-75.

As in L{moxsmtp.store.queue_admin}, each call is one transaction of a size that
its caller bounds, and conditions are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, update

from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import HookFilter
from moxsmtp.store.clock import Clock, database_clock
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.due import add_all_due
from moxsmtp.store.hook_pages import HookPages
from moxsmtp.store.hook_rows import HOOKS, read_hook, retire_hook
from moxsmtp.store.schema import hook
from moxsmtp.store.transaction import Transaction

__all__ = ["HookAdmin"]

_LOCK_ONE: Final = select(hook).where(hook.c.id == bindparam("id")).with_for_update()
_DESTINATION: Final = select(hook.c.url, hook.c.next_attempt).where(hook.c.id == bindparam("id"))
_SCHEDULE: Final = (
    update(hook)
    .where(hook.c.id == bindparam("number"))
    .values(next_attempt=bindparam("next_attempt"))
)


class HookAdmin(HookPages):
    """The queue of webhook calls, for people."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        wake: Callable[[], None],
        keep: Callable[[str], timedelta],
        clock: Clock = database_clock,
    ) -> None:
        """
        @param wake: Called after a commit by which something may be due.
        @param keep: How long an account's history of calls stays; a pure function.
        """
        super().__init__(database)
        self._now = now
        self._wake = wake
        self._keep = keep
        self._clock = clock

    async def schedule(
        self, numbers: Sequence[int], wanted: HookFilter, change: Change
    ) -> Sequence[int]:
        """
        Move the next call.  One that is under way goes on, and if it fails, the
        time counts for what follows.

        @param wanted: What calls have to meet still.
        @param change: Its times count.
        @return: Numbers of those that were moved, ascending.
        """
        now = self._now()

        def work(tx: Transaction) -> Sequence[int]:
            moment = self._clock(tx, now)
            ordered = sorted(set(numbers))
            # Destinations first, as all do who lock both.
            standing = [row for n in ordered for row in tx.execute(_DESTINATION, {"id": n})]
            add_all_due(tx, HOOKS.kind, [(row.url, row.next_attempt) for row in standing], moment)
            moved = [
                (row, write_time(change.moved(read_hook(row).next_attempt, now)))
                for row in _locked(tx, ordered, wanted)
            ]
            tx.execute_many(
                _SCHEDULE, [{"number": row.id, "next_attempt": time} for row, time in moved]
            )
            add_all_due(tx, HOOKS.kind, [(row.url, time) for row, time in moved], moment)
            return [row.id for row, _ in moved]

        moved = await self._database.transact(work)
        if moved:
            self._wake()
        return moved

    async def cancel(self, numbers: Sequence[int], wanted: HookFilter) -> Sequence[int]:
        """
        Retire calls as failed (Q-75).  A request under way is not cut.

        @param wanted: What calls have to meet still.
        @return: Numbers of those that waited, ascending.
        """
        now = write_time(self._now())

        def work(tx: Transaction) -> Sequence[int]:
            ended = _locked(tx, sorted(set(numbers)), wanted)
            for row in ended:
                keep = self._keep(row.account)
                retire_hook(tx, row, row.results, success=False, now=now, keep=keep)
            return [row.id for row in ended]

        return await self._database.transact(work)


def _locked(tx: Transaction, numbers: Sequence[int], wanted: HookFilter) -> Sequence[Any]:
    """Rows of those that wait still, and meet the conditions still."""
    found = [row for number in numbers for row in tx.execute(_LOCK_ONE, {"id": number})]
    return [row for row in found if wanted.matches(read_hook(row))]
