"""
The operator's commands about webhook calls and their history, as the server
carries them out.  Q-22, Q-23.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from moxsmtp.admin.arguments import numbers_of, text_of
from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.entries import hook_entry, retired_hook_entry
from moxsmtp.admin.ports import AccountAdmin, HookAdmin
from moxsmtp.admin.selection import (
    Work,
    account_name_of,
    ids_of,
    listed,
    schedule_of,
    span_of,
)
from moxsmtp.admin.wire import PIECE, piece
from moxsmtp.queue.filter import EVENTS, HookFilter, RetiredHookFilter
from moxsmtp.queue.job import Hook
from moxsmtp.store.hook_rows import RetiredHook

__all__ = ["HookCommands"]

#: Calls in one transaction.
_STEP: Final = 200


class HookCommands:
    """Part of the table that the control socket serves."""

    def __init__(
        self, hooks: HookAdmin, accounts: AccountAdmin, now: Callable[[], datetime]
    ) -> None:
        self._hooks = hooks
        self._accounts = accounts
        self._now = now
        self._work = Work(hooks, HookFilter(), self._entries, noun="webhook call")

    def table(self) -> Mapping[str, Command]:
        """Each command by its name."""
        return {
            "hook.list": self._list,
            "hook.retired": self._retired,
            "hook.show": self._show,
            "hook.dump": self._dump,
            "hook.schedule": self._schedule,
            "hook.cancel": self._cancel,
        }

    # -- looking --

    async def _list(self, arguments: Mapping[str, Any], send: Send) -> None:
        find = partial(self._hooks.find_hooks, self._filter(arguments))
        await listed(arguments, send, find, self._entries)

    async def _retired(self, arguments: Mapping[str, Any], send: Send) -> None:
        find = partial(self._hooks.find_retired, self._retired_filter(arguments))
        await listed(arguments, send, find, self._retired_entries)

    async def _show(self, arguments: Mapping[str, Any], send: Send) -> None:
        found = await self._one(arguments)
        if isinstance(found, Hook):
            await send(hook_entry(found, responses=True))
        else:
            await send(retired_hook_entry(found, responses=True))

    async def _dump(self, arguments: Mapping[str, Any], send: Send) -> None:
        """What is told."""
        found = await self._one(arguments)
        payload = found.payload if isinstance(found, Hook) else found.hook.payload
        for start in range(0, len(payload), PIECE):
            await send(piece(payload[start : start + PIECE]))

    async def _one(self, arguments: Mapping[str, Any]) -> Hook | RetiredHook:
        (number,) = numbers_of(arguments, most=1)
        found = await self._hooks.hook(number)
        if found is None:
            raise CommandFailed(f"the queue has no webhook call {number}")
        return found

    async def _entries(self, numbers: Sequence[int]) -> Sequence[Mapping[str, object]]:
        return [hook_entry(hook) for hook in await self._hooks.hooks(numbers)]

    async def _retired_entries(self, numbers: Sequence[int]) -> Sequence[Mapping[str, object]]:
        return [retired_hook_entry(hook) for hook in await self._hooks.retired_hooks(numbers)]

    # -- changing --

    async def _schedule(self, arguments: Mapping[str, Any], send: Send) -> None:
        change = schedule_of(arguments, self._now())

        def act(numbers: Sequence[int], wanted: HookFilter) -> Awaitable[Sequence[int]]:
            return self._hooks.schedule(numbers, wanted, change)

        await self._work.do(arguments, send, self._filter(arguments), act, _STEP)

    async def _cancel(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self._work.do(arguments, send, self._filter(arguments), self._hooks.cancel, _STEP)

    # -- conditions --

    def _filter(self, arguments: Mapping[str, Any]) -> HookFilter:
        now = self._now()
        return HookFilter(
            ids=ids_of(arguments),
            account=account_name_of(arguments, self._accounts),
            event=_event_of(arguments),
            submitted=span_of(arguments, "submitted", now),
            next_attempt=span_of(arguments, "next_attempt", now),
        )

    def _retired_filter(self, arguments: Mapping[str, Any]) -> RetiredHookFilter:
        now = self._now()
        return RetiredHookFilter(
            account=account_name_of(arguments, self._accounts),
            event=_event_of(arguments),
            submitted=span_of(arguments, "submitted", now),
            last_activity=span_of(arguments, "last_activity", now),
        )


def _event_of(arguments: Mapping[str, Any]) -> str:
    event = text_of(arguments, "event", default="")
    if event and event not in EVENTS:
        raise CommandFailed(f"there is no event {event}; there are {', '.join(EVENTS)}")
    return event
