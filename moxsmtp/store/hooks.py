"""The queue of webhook calls.  Q-74 to Q-77."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select, text, update
from zope.interface import implementer

from moxsmtp.queue.job import Hook, HookResult, Lease
from moxsmtp.queue.storage import IHookStore
from moxsmtp.store.clock import Clock, database_clock, moved
from moxsmtp.store.columns import read_hook_results, read_time, write_hook_results, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.hook_rows import HOOKS, read_hook, retire_hook
from moxsmtp.store.leases import Leases, hold_fence
from moxsmtp.store.schema import hook, retired_hook
from moxsmtp.store.transaction import Transaction

__all__ = ["HookStore"]

_DUE: Final = (
    select(hook)
    .where(
        hook.c.url == bindparam("url"),
        hook.c.next_attempt <= bindparam("now"),
        hook.c.in_flight == text("0"),
    )
    .order_by(hook.c.next_attempt, hook.c.id)
    .limit(1)
    .with_for_update()
)
_BEGIN: Final = (
    update(hook)
    .where(hook.c.id == bindparam("id"))
    .values(
        attempts=bindparam("attempts"),
        last_attempt=bindparam("now"),
        next_attempt=bindparam("next_attempt"),
        in_flight=1,
    )
)
_BY_ID: Final = select(hook).where(hook.c.id == bindparam("id")).with_for_update()
_AGAIN: Final = (
    update(hook)
    .where(hook.c.id == bindparam("id"), hook.c.in_flight == text("1"))
    .values(results=bindparam("results"), in_flight=0, repeated=0)
)
_RETIRED_RESULTS: Final = select(retired_hook.c.results).where(retired_hook.c.id == bindparam("id"))
_ADD_RETIRED_RESULT: Final = (
    update(retired_hook)
    .where(retired_hook.c.id == bindparam("id"))
    .values(results=bindparam("results"), last_activity=bindparam("now"))
)


@implementer(IHookStore)
class HookStore(Leases):
    """L{IHookStore} over the tables."""

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        now: Callable[[], datetime],
        clock: Clock = database_clock,
    ) -> None:
        super().__init__(database, HOOKS, owner=owner, now=now, clock=clock)

    async def take(
        self, lease: Lease, now: datetime, next_attempt: Callable[[Hook], datetime]
    ) -> Hook | None:
        """See L{IHookStore.take}."""

        def work(tx: Transaction) -> Hook | None:
            hold_fence(tx, self.owner, lease)
            moment = self._clock(tx, now)
            rows = tx.execute(_DUE, {"url": lease.name, "now": moment})
            if not rows:
                return None
            waiting = read_hook(rows[0])
            begun = replace(waiting, attempts=waiting.attempts + 1)
            following = moved(next_attempt(begun), now, moment)
            begun = replace(begun, next_attempt=read_time(following))
            tx.execute(
                _BEGIN,
                {
                    "id": begun.id,
                    "attempts": begun.attempts,
                    "now": moment,
                    "next_attempt": following,
                },
            )
            return begun

        return await self._database.transact(work)

    async def settle(
        self, lease: Lease, hook: Hook, result: HookResult, *, keep: timedelta | None, retry: bool
    ) -> None:
        """See L{IHookStore.settle}."""
        end = write_time(result.start + result.duration)
        results = write_hook_results((*hook.results, result))

        def work(tx: Transaction) -> None:
            hold_fence(tx, self.owner, lease)
            rows = tx.execute(_BY_ID, {"id": hook.id})
            if not rows:
                _add_late_result(tx, hook.id, result, end)
            elif retry:
                tx.execute(_AGAIN, {"id": hook.id, "results": results})
            else:
                retire_hook(tx, rows[0], results, success=result.success, now=end, keep=keep)

        await self._database.transact(work)


def _add_late_result(tx: Transaction, number: int, result: HookResult, end: int) -> None:
    # It was superseded or cancelled while the request was under way.
    for (results,) in tx.execute(_RETIRED_RESULTS, {"id": number}):
        tx.execute(
            _ADD_RETIRED_RESULT,
            {
                "id": number,
                "results": write_hook_results((*read_hook_results(results), result)),
                "now": end,
            },
        )
