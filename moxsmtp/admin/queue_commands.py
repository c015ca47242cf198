"""
The operator's commands about the queue and its history, as the server carries
them out.  Q-22, Q-23.

What is meant is found by pages of numbers, and worked on a few at a time: a
queue of any length costs no memory and no long transaction.  Jobs that are
queued meanwhile are not meant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from moxsmtp.admin.arguments import (
    PAGE,
    account_of,
    boolean_of,
    joined,
    limit_of,
    maybe_boolean_of,
    numbers_of,
    text_of,
)
from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.entries import job_entry, retired_entry
from moxsmtp.admin.ports import AccountAdmin, QueueAdmin
from moxsmtp.admin.wire import PIECE, piece
from moxsmtp.interfaces import RequireTLS
from moxsmtp.queue.change import EARLIEST, LATEST, Change
from moxsmtp.queue.filter import (
    EVERYTHING,
    Always,
    InvalidCondition,
    JobFilter,
    Order,
    RetiredFilter,
    Span,
    parse_duration,
    parse_moment,
    parse_span,
)
from moxsmtp.queue.job import Job
from moxsmtp.store.pages import Found

__all__ = ["QueueCommands"]

#: Jobs in one transaction, by how long each takes.
_CHANGED: Final = 200
_DROPPED: Final = 100
_FAILED: Final = 25

#: Places in a list that are found at once.
_FOUND: Final = 5000

#: Characters of what addresses are searched for.
_LONGEST: Final = 1000

_Act = Callable[[Sequence[int], JobFilter], Awaitable[Sequence[int]]]


class QueueCommands:
    """Part of the table that the control socket serves."""

    def __init__(
        self, queue: QueueAdmin, accounts: AccountAdmin, now: Callable[[], datetime]
    ) -> None:
        self._queue = queue
        self._accounts = accounts
        self._now = now

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
        wanted, order = self._job_filter(arguments), _order(arguments)

        async def page(numbers: Sequence[int]) -> None:
            for job in await self._queue.jobs(numbers):
                await send(job_entry(job))

        await _paged(
            limit_of(arguments),
            lambda after, limit: self._queue.find_jobs(wanted, order, after=after, limit=limit),
            page,
        )

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
        wanted, order = self._retired_filter(arguments), _order(arguments)

        async def page(numbers: Sequence[int]) -> None:
            for retired in await self._queue.retired_jobs(numbers):
                await send(retired_entry(retired))

        await _paged(
            limit_of(arguments),
            lambda after, limit: self._queue.find_retired(wanted, order, after=after, limit=limit),
            page,
        )

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
        now = self._now()
        at, delay = text_of(arguments, "at", default=""), text_of(arguments, "add", default="")
        if bool(at) == bool(delay):
            raise CommandFailed("give the time of the next attempt, or what is added to it")
        try:
            if delay:
                change = Change(delay=parse_duration(delay))
            else:
                change = Change(next_attempt=parse_moment(at, now))
        except InvalidCondition as error:
            raise CommandFailed(str(error)) from None
        moment = change.next_attempt or now + _bounded(change.delay)
        if not now + EARLIEST <= moment <= now + LATEST:
            raise CommandFailed(f"that is too far away; at most {LATEST.days} days")
        await self._change(arguments, send, change)

    async def _transport(self, arguments: Mapping[str, Any], send: Send) -> None:
        name = text_of(arguments, "to_transport", default="")
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

        await self._work(arguments, send, act, _CHANGED)

    async def _drop(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self._work(arguments, send, self._queue.drop, _DROPPED)

    async def _fail(self, arguments: Mapping[str, Any], send: Send) -> None:
        await self._work(arguments, send, self._queue.fail, _FAILED)

    async def _work(self, arguments: Mapping[str, Any], send: Send, act: _Act, step: int) -> None:
        """
        Do something to all that is meant, C{step} at once, or tell what that is.

        @raise CommandFailed: Nothing says what is meant, or a number waits no more.
        """
        wanted = self._job_filter(arguments)
        if wanted == EVERYTHING and not boolean_of(arguments, "all"):
            raise CommandFailed("say which jobs: by number, by conditions, or all of them")
        is_dry = boolean_of(arguments, "dry_run")
        until = await self._queue.last_number()
        after = 0
        touched: set[int] = set()
        while numbers := await self._queue.numbers(wanted, after=after, until=until):
            after = numbers[-1]
            for start in range(0, len(numbers), step):
                some = numbers[start : start + step]
                entries: list[dict[str, object]]
                if is_dry:
                    entries = [job_entry(job) for job in await self._queue.jobs(some)]
                else:
                    entries = [{"id": number} for number in await act(some, wanted)]
                for entry in entries:
                    await send(entry)
                if wanted.ids:
                    touched.update(int(str(entry["id"])) for entry in entries)
        missing = sorted(set(wanted.ids) - touched)
        if missing and wanted == JobFilter(ids=wanted.ids):
            raise CommandFailed(f"the queue has no job {joined(missing)}")

    # -- conditions --

    def _account(self, arguments: Mapping[str, Any]) -> str:
        return account_of(arguments, self._accounts).name if arguments.get("account") else ""

    def _job_filter(self, arguments: Mapping[str, Any]) -> JobFilter:
        now = self._now()
        return JobFilter(
            ids=tuple(numbers_of(arguments)) if arguments.get("numbers") is not None else (),
            account=self._account(arguments),
            sender=_part(arguments, "sender"),
            recipient=_part(arguments, "recipient"),
            hold=maybe_boolean_of(arguments, "hold"),
            submitted=_span(arguments, "submitted", now),
            next_attempt=_span(arguments, "next_attempt", now),
            transport=_maybe_text(arguments, "transport"),
        )

    def _retired_filter(self, arguments: Mapping[str, Any]) -> RetiredFilter:
        now = self._now()
        return RetiredFilter(
            account=self._account(arguments),
            sender=_part(arguments, "sender"),
            recipient=_part(arguments, "recipient"),
            submitted=_span(arguments, "submitted", now),
            last_activity=_span(arguments, "last_activity", now),
            transport=_maybe_text(arguments, "transport"),
            success=maybe_boolean_of(arguments, "success"),
        )


async def _paged(
    limit: int,
    find: Callable[[Found | None, int], Awaitable[Sequence[Found]]],
    page: Callable[[Sequence[int]], Awaitable[None]],
) -> None:
    """Find places, many at once for they are small, and tell what stands there."""
    after: Found | None = None
    while limit > 0:
        step = min(limit, _FOUND)
        found = await find(after, step)
        for start in range(0, len(found), PAGE):
            await page([each.id for each in found[start : start + PAGE]])
        if len(found) < step:
            return
        limit -= step
        after = found[-1]


def _order(arguments: Mapping[str, Any]) -> Order:
    sort = text_of(arguments, "sort", default="next")
    if sort not in {"next", "activity", "queued"}:
        raise CommandFailed("a list is sorted by next, in the history activity, or by queued")
    return Order(by_queued=sort == "queued", ascending=boolean_of(arguments, "ascending"))


def _part(arguments: Mapping[str, Any], name: str) -> str:
    value = text_of(arguments, name, default="")
    if len(value) > _LONGEST:
        raise CommandFailed(f"{name} is too long for a part of an address")
    return value


def _maybe_text(arguments: Mapping[str, Any], name: str) -> str | None:
    """Empty is a value."""
    return None if arguments.get(name) is None else text_of(arguments, name, default="")


def _span(arguments: Mapping[str, Any], name: str, now: datetime) -> Span:
    """One text or several, all of which have to hold."""
    given = arguments.get(name)
    texts = [given] if isinstance(given, str) else given or []
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise CommandFailed(f"{name} is text, or a list of it")
    try:
        spans = [parse_span(each, now) for each in texts]
    except InvalidCondition as error:
        raise CommandFailed(f"{name}: {error}") from None
    after = [span.after for span in spans if span.after is not None]
    before = [span.before for span in spans if span.before is not None]
    return Span(max(after, default=None), min(before, default=None)) if spans else Always


def _bounded(delay: timedelta | None) -> timedelta:
    """What can be added to any time of this age."""
    return min(max(delay or timedelta(), timedelta(days=-10_000)), timedelta(days=10_000))
