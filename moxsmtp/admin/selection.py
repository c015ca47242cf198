"""
What an operator's command is about, of jobs and webhook calls alike.  Q-22, Q-23.

What is meant is found by pages of numbers, and worked on a few at a time: a
queue of any length costs no memory and no long transaction.  What is queued
meanwhile is not meant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

from moxsmtp.admin.arguments import (
    PAGE,
    account_of,
    boolean_of,
    joined,
    limit_of,
    numbers_of,
    text_of,
)
from moxsmtp.admin.control import CommandFailed, Send
from moxsmtp.admin.ports import AccountAdmin
from moxsmtp.queue.change import EARLIEST, LATEST, Change
from moxsmtp.queue.filter import (
    Always,
    HookFilter,
    InvalidCondition,
    JobFilter,
    Order,
    Span,
    parse_duration,
    parse_moment,
    parse_span,
)
from moxsmtp.store.pages import Found

__all__ = [
    "Selectable", "Work", "account_name_of", "ids_of", "listed", "order_of", "schedule_of",
    "span_of",
]  # fmt: skip

#: Places in a list that are found at once.
_FOUND: Final = 5000

#: Tells of some, by their numbers, what they are.
Entries = Callable[[Sequence[int]], Awaitable[Sequence[Mapping[str, object]]]]

F = TypeVar("F", bound=JobFilter | HookFilter)
F_contra = TypeVar("F_contra", bound=JobFilter | HookFilter, contravariant=True)


# -- arguments ----------------------------------------------------------------------


def account_name_of(arguments: Mapping[str, Any], accounts: AccountAdmin) -> str:
    """Empty: any."""
    return account_of(arguments, accounts).name if arguments.get("account") else ""


def ids_of(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers, if there are any."""
    return tuple(numbers_of(arguments)) if arguments.get("numbers") is not None else ()


def order_of(arguments: Mapping[str, Any]) -> Order:
    """@raise CommandFailed: There is none such."""
    sort = text_of(arguments, "sort", default="next")
    if sort not in {"next", "activity", "queued"}:
        raise CommandFailed("a list is sorted by next, in the history activity, or by queued")
    return Order(by_queued=sort == "queued", ascending=boolean_of(arguments, "ascending"))


def span_of(arguments: Mapping[str, Any], name: str, now: datetime) -> Span:
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


def schedule_of(arguments: Mapping[str, Any], now: datetime) -> Change:
    """A time, or what is added to it."""
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
    return change


def _bounded(delay: timedelta | None) -> timedelta:
    """What can be added to any time of this age."""
    return min(max(delay or timedelta(), timedelta(days=-10_000)), timedelta(days=10_000))


# -- looking ------------------------------------------------------------------------


class Find(Protocol):
    """Where things stand in a list."""

    def __call__(
        self, order: Order, /, *, after: Found | None, limit: int
    ) -> Awaitable[Sequence[Found]]:
        """@param after: The last one of the page before this."""


async def listed(arguments: Mapping[str, Any], send: Send, find: Find, entries: Entries) -> None:
    """Find places, many at once for they are small, and tell what stands there."""
    order, limit = order_of(arguments), limit_of(arguments)
    after: Found | None = None
    while limit > 0:
        step = min(limit, _FOUND)
        found = await find(order, after=after, limit=step)
        for start in range(0, len(found), PAGE):
            for entry in await entries([each.id for each in found[start : start + PAGE]]):
                await send(entry)
        if len(found) < step:
            return
        limit -= step
        after = found[-1]


# -- changing -----------------------------------------------------------------------


class Selectable(Protocol[F_contra]):
    """A queue, by its numbers."""

    def last_number(self) -> Awaitable[int]:
        """The highest one that waits."""

    def numbers(self, wanted: F_contra, /, *, after: int, until: int) -> Awaitable[Sequence[int]]:
        """Some of those that are meant, ascending; none are left if there are none."""


class Work(Generic[F]):
    """Does something to all that is meant, or tells what that is."""

    def __init__(
        self,
        queue: Selectable[F],
        everything: F,
        entries: Entries,
        *,
        noun: str,
    ) -> None:
        """
        @param everything: No condition at all.
        @param noun: What one of them is called.
        """
        self._queue = queue
        self._everything = everything
        self._entries = entries
        self._noun = noun

    async def do(
        self,
        arguments: Mapping[str, Any],
        send: Send,
        wanted: F,
        act: Callable[[Sequence[int], F], Awaitable[Sequence[int]]],
        step: int,
    ) -> None:
        """
        @param act: Does it, to C{step} at once.
        @raise CommandFailed: Nothing says what is meant, or a number waits no more.
        """
        if wanted == self._everything and not boolean_of(arguments, "all"):
            raise CommandFailed(
                f"say which {self._noun}s: by number, by conditions, or all of them"
            )
        is_dry = boolean_of(arguments, "dry_run")
        until = await self._queue.last_number()
        after = 0
        touched: set[object] = set()
        while numbers := await self._queue.numbers(wanted, after=after, until=until):
            after = numbers[-1]
            for start in range(0, len(numbers), step):
                some = numbers[start : start + step]
                entries: Sequence[Mapping[str, object]]
                if is_dry:
                    entries = await self._entries(some)
                else:
                    entries = [{"id": number} for number in await act(some, wanted)]
                for entry in entries:
                    await send(entry)
                if wanted.ids:
                    touched.update(entry["id"] for entry in entries)
        missing = sorted(number for number in set(wanted.ids) if number not in touched)
        if missing and replace(wanted, ids=()) == self._everything:
            raise CommandFailed(f"the queue has no {self._noun} {joined(missing)}")
