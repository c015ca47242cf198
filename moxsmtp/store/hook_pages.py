"""The queue of webhook calls and its history as people look at them.  Q-22."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Column, Table, Text, bindparam, select

from moxsmtp.queue.filter import INCOMING, HookFilter, Order, RetiredHookFilter, Span
from moxsmtp.queue.job import Hook
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.hook_rows import RetiredHook, read_hook, read_retired_hook
from moxsmtp.store.pages import (
    Found,
    Pages,
    any_or,
    before_all,
    bounds,
    numbered,
    placed,
    searches,
    within,
)
from moxsmtp.store.schema import hook, retired_hook

__all__ = ["HookPages"]


def _conditions(table: Table, activity: Column[Any]) -> list[Any]:
    return [
        any_or("account", table.c.account == bindparam("account", type_=Text)),
        any_or("event", table.c.event == bindparam("event", type_=Text)),
        *within("submitted", table.c.submitted),
        *within("active", activity),
    ]


_HOOK: Final = _conditions(hook, hook.c.next_attempt)
_HOOKS: Final = searches(hook, _HOOK, queued=hook.c.submitted, activity=hook.c.next_attempt)
_RETIRED: Final = searches(
    retired_hook,
    _conditions(retired_hook, retired_hook.c.last_activity),
    queued=retired_hook.c.submitted,
    activity=retired_hook.c.last_activity,
)
_NUMBERS: Final = numbered(hook, _HOOK)
_ONE: Final = select(hook).where(hook.c.id == bindparam("id"))
_ONE_RETIRED: Final = select(retired_hook).where(retired_hook.c.id == bindparam("id"))


class HookPages(Pages):
    """Reads, never writes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, hook)

    async def hook(self, number: int) -> Hook | RetiredHook | None:
        """One call with its results, from the queue or its history."""
        for waiting in await self.hooks([number]):
            return waiting
        for retired in await self.retired_hooks([number]):
            return retired
        return None

    async def hooks(self, numbers: Sequence[int]) -> Sequence[Hook]:
        """In this order, without those that wait no more."""
        return await self._each(_ONE, numbers, read_hook)

    async def retired_hooks(self, numbers: Sequence[int]) -> Sequence[RetiredHook]:
        """In this order, without those that are forgotten."""
        return await self._each(_ONE_RETIRED, numbers, read_retired_hook)

    async def find_hooks(
        self, wanted: HookFilter, order: Order, *, after: Found | None = None, limit: int = 5000
    ) -> Sequence[Found]:
        """
        Where the calls stand that are meant, in order.

        @param after: The last one of the page before this.
        """
        first = before_all(order) if after is None else after
        if wanted.ids:
            return placed(await self._given(wanted, order), order, first, limit)
        parameters = _parameters(wanted, wanted.next_attempt)
        return await self._page(_HOOKS[order], parameters, first, limit)

    async def find_retired(
        self,
        wanted: RetiredHookFilter,
        order: Order,
        *,
        after: Found | None = None,
        limit: int = 5000,
    ) -> Sequence[Found]:
        """As L{find_hooks}, in the history; the key is the last activity, or as there."""
        first = before_all(order) if after is None else after
        parameters = _parameters(wanted, wanted.last_activity)
        return await self._page(_RETIRED[order], parameters, first, limit)

    async def numbers(self, wanted: HookFilter, *, after: int, until: int) -> Sequence[int]:
        """
        Some of the calls that are meant, ascending: those between two numbers,
        the lower one excluded; none are left if there are none.
        """
        if wanted.ids:
            found = await self.hooks(sorted({each for each in wanted.ids if after < each <= until}))
            return [each.id for each in found if wanted.matches(each)]
        parameters = _parameters(wanted, wanted.next_attempt)
        return await self._some(_NUMBERS, parameters, after=after, until=until)

    async def _given(self, wanted: HookFilter, order: Order) -> Sequence[Found]:
        return [
            Found(write_time(each.submitted if order.by_queued else each.next_attempt), each.id)
            for each in await self.hooks(sorted(set(wanted.ids)))
            if wanted.matches(each)
        ]


def _parameters(wanted: HookFilter | RetiredHookFilter, activity: Span) -> dict[str, object]:
    return {
        "any_account": int(not wanted.account),
        "account": wanted.account,
        "any_event": int(not wanted.event),
        # Of incoming mail, the column is empty.
        "event": "" if wanted.event == INCOMING else wanted.event,
        **bounds("submitted", wanted.submitted),
        **bounds("active", activity),
    }
