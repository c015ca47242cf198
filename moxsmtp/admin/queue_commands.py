"""
The operator's commands about the queue and its history, as the server carries
them out.  Q-22, Q-23.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from moxsmtp.admin.arguments import (
    maybe_boolean_of,
    numbers_of,
    text_of,
)
from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.entries import job_entry, retired_entry
from moxsmtp.admin.ports import AccountAdmin, QueueAdmin
from moxsmtp.admin.selection import (
    Work,
    account_name_of,
    ids_of,
    listed,
    schedule_of,
    span_of,
)
from moxsmtp.admin.wire import PIECE, piece
from moxsmtp.interfaces import RequireTLS
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import (
    EVERYTHING,
    JobFilter,
    RetiredFilter,
)
from moxsmtp.queue.job import Job

__all__ = ["QueueCommands"]

#: Jobs in one transaction, by how long each takes.
_CHANGED: Final = 200
_DROPPED: Final = 100
_FAILED: Final = 25

#: Characters of what addresses are searched for.
_LONGEST: Final = 1000


class QueueCommands:
    """Part of the table that the control socket serves."""

    def __init__(
        self,
        queue: QueueAdmin,
        accounts: AccountAdmin,
        now: Callable[[], datetime],
        transports: Callable[[], Collection[str]],
    ) -> None:
        """@param transports: Names of those that are configured now."""
        self._queue = queue
        self._accounts = accounts
        self._now = now
        self._transports = transports
        self._work = Work(queue, EVERYTHING, self._entries, noun="job")

    def table(self) -> Mapping[str, Command]:
        """Each command by its name."""
        return {
            "queue.list": self._list,
            "queue.show": self._show,
            "queue.dump": self._dump,
            "queue.hold": self._hold,
            "queue.release": self._release,
            "queue.schedule": self._schedule,
            "queue.transport": self._transport,
            "queue.requiretls": self._require_tls,
            "queue.drop": self._drop,
            "queue.fail": self._fail,
            "retired.list": self._retired_list,
            "retired.show": self._retired_show,
        }

    # -- looking --

    async def _list(self, arguments: Mapping[str, Any], send: Send) -> None:
        find = partial(self._queue.find_jobs, self._job_filter(arguments))
        await listed(arguments, send, find, self._entries)

    async def _show(self, arguments: Mapping[str, Any], send: Send) -> None:
        (number,) = numbers_of(arguments, most=1)
        found = await self._queue.job(number)
        if found is None:
            raise CommandFailed(f"the queue has no job {number}")
        if isinstance(found, Job):
            await send(job_entry(found, traces=True))
        else:
            await send(retired_entry(found, traces=True))

    async def _dump(self, arguments: Mapping[str, Any], send: Send) -> None:
        """The message as it would leave."""
        (number,) = numbers_of(arguments, most=1)
        jobs = await self._queue.jobs([number])
        if not jobs:
            raise CommandFailed(f"no job {number} waits")
        (job,) = jobs
        for start in range(0, len(job.prefix), PIECE):
            await send(piece(job.prefix[start : start + PIECE]))
        content = self._queue.content(job)
        offset = 0
        while octets := await content.read(offset, PIECE):
            await send(piece(octets))
            offset += len(octets)

    async def _retired_list(self, arguments: Mapping[str, Any], send: Send) -> None:
        find = partial(self._queue.find_retired, self._retired_filter(arguments))
        await listed(arguments, send, find, self._retired_entries)

    async def _retired_show(self, arguments: Mapping[str, Any], send: Send) -> None:
        (number,) = numbers_of(arguments, most=1)
        retired = await self._queue.retired_jobs([number])
        if not retired:
            raise CommandFailed(f"the history has no job {number}")
        await send(retired_entry(retired[0], traces=True))

    # -- changing --

    async def _hold(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self._change(arguments, send, Change(hold=True))

    async def _release(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self._change(arguments, send, Change(hold=False))

    async def _schedule(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self._change(arguments, send, schedule_of(arguments, self._now()))

    async def _transport(self, arguments: Mapping[str, Any], send: Send) -> None:
        name, known = text_of(arguments, "to_transport", default=""), sorted(self._transports())
        if name and name not in known:
            there = f"there are {', '.join(known)}" if known else "none is configured"
            raise CommandFailed(f"no transport is called {name}; {there}")
        await self._change(arguments, send, Change(transport=name))

    async def _require_tls(self, arguments: Mapping[str, Any], send: Send) -> None:
        try:
            wanted = RequireTLS(text_of(arguments, "require_tls", default=""))
        except ValueError:
            raise CommandFailed("it is yes, no, or left out") from None
        await self._change(arguments, send, Change(require_tls=wanted))

    async def _change(self, arguments: Mapping[str, Any], send: Send, change: Change) -> None:
        def act(numbers: Sequence[int], wanted: JobFilter) -> Awaitable[Sequence[int]]:
            return self._queue.change(numbers, wanted, change)

        await self._work.do(arguments, send, self._job_filter(arguments), act, _CHANGED)

    async def _drop(self, arguments: Mapping[str, Any], send: Send) -> None:
        wanted = self._job_filter(arguments)
        await self._work.do(arguments, send, wanted, self._queue.drop, _DROPPED)

    async def _fail(self, arguments: Mapping[str, Any], send: Send) -> None:
        wanted = self._job_filter(arguments)
        await self._work.do(arguments, send, wanted, self._queue.fail, _FAILED)

    async def _entries(self, numbers: Sequence[int]) -> Sequence[Mapping[str, object]]:
        return [job_entry(job) for job in await self._queue.jobs(numbers)]

    async def _retired_entries(self, numbers: Sequence[int]) -> Sequence[Mapping[str, object]]:
        return [retired_entry(job) for job in await self._queue.retired_jobs(numbers)]

    # -- conditions --

    def _job_filter(self, arguments: Mapping[str, Any]) -> JobFilter:
        now = self._now()
        return JobFilter(
            ids=ids_of(arguments),
            account=account_name_of(arguments, self._accounts),
            sender=_part(arguments, "sender"),
            recipient=_part(arguments, "recipient"),
            hold=maybe_boolean_of(arguments, "hold"),
            submitted=span_of(arguments, "submitted", now),
            next_attempt=span_of(arguments, "next_attempt", now),
            transport=_maybe_text(arguments, "transport"),
        )

    def _retired_filter(self, arguments: Mapping[str, Any]) -> RetiredFilter:
        now = self._now()
        return RetiredFilter(
            account=account_name_of(arguments, self._accounts),
            sender=_part(arguments, "sender"),
            recipient=_part(arguments, "recipient"),
            submitted=span_of(arguments, "submitted", now),
            last_activity=span_of(arguments, "last_activity", now),
            transport=_maybe_text(arguments, "transport"),
            success=maybe_boolean_of(arguments, "success"),
        )


def _part(arguments: Mapping[str, Any], name: str) -> str:
    value = text_of(arguments, name, default="")
    if len(value) > _LONGEST:
        raise CommandFailed(f"{name} is too long for a part of an address")
    return value


def _maybe_text(arguments: Mapping[str, Any], name: str) -> str | None:
    """Empty is a value."""
    return None if arguments.get(name) is None else text_of(arguments, name, default="")
