"""The queue of webhook calls.  Q-74 to Q-77."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Text, bindparam, select, text, update
from zope.interface import implementer

from moxsmtp.queue.job import Hook, HookResult, Lease
from moxsmtp.queue.storage import IHookStore
from moxsmtp.store.clock import Clock, database_clock
from moxsmtp.store.columns import read_hook_results, write_hook_results, write_time
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
_LIST: Final = (
    select(hook)
    .where(
        hook.c.id < bindparam("before"),
        (bindparam("account", type_=Text) == text("''")) | (hook.c.account == bindparam("account")),
    )
    .order_by(hook.c.id.desc())
    .limit(bindparam("limit"))
)


@implementer(IHookStore)
class HookStore(Leases):
    """L{IHookStore} over the tables, and what administrators ask of it."""

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
            begun = replace(begun, next_attempt=next_attempt(begun))
            tx.execute(
                _BEGIN,
                {
                    "id": begun.id,
                    "attempts": begun.attempts,
                    "now": moment,
                    "next_attempt": write_time(begun.next_attempt),
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

    async def list_hooks(
        self, *, before: int | None = None, limit: int = 100, account: str = ""
    ) -> Sequence[Hook]:
        """
        What waits, the newest first.

        @param before: Only those with a lower number: the last one of the page
            before this.
        @param account: Empty for all.
        """
        parameters = {"before": before or _ABOVE_ALL, "limit": limit, "account": account}
        return await self._database.read(
            lambda tx: [read_hook(row) for row in tx.execute(_LIST, parameters)]
        )

    async def cancel(
        self, numbers: Sequence[int], now: datetime, keep: Callable[[str], timedelta]
    ) -> int:
        """
        Retire calls as failed (Q-75).  A request under way is not cut.

        @param keep: How long an account's history stays; a pure function.
        @return: How many waited.
        """

        def work(tx: Transaction) -> int:
            count = 0
            for number in sorted(set(numbers)):
                for row in tx.execute(_BY_ID, {"id": number}):
                    retire_hook(
                        tx,
                        row,
                        row.results,
                        success=False,
                        now=write_time(now),
                        keep=keep(row.account),
                    )
                    count += 1
            return count

        return await self._database.transact(work)


#: Greater than any number of a row.
_ABOVE_ALL: Final = 2**63 - 1


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
