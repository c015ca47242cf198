"""
What administrators do to the queue of mail.  Q-23.

Each call is one transaction over the jobs that it is given, of a size that its
caller bounds: mail gets its turn between two of them.  What was found a moment
ago may have changed, so that the conditions are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select, update

from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import EVERYTHING, JobFilter
from moxsmtp.queue.job import Job, Settlement
from moxsmtp.queue.notification import MAXIMUM_TOGETHER, returns_all
from moxsmtp.store.clock import Clock, database_clock
from moxsmtp.store.columns import write_time
from moxsmtp.store.content import content_header, content_octets
from moxsmtp.store.database import Database
from moxsmtp.store.due import add_all_due
from moxsmtp.store.errors import ContentMissing
from moxsmtp.store.job_rows import CANCELED, JOBS, read_job
from moxsmtp.store.queue_pages import QueuePages
from moxsmtp.store.schema import job
from moxsmtp.store.settling import apply, hooked, told
from moxsmtp.store.transaction import Transaction

__all__ = ["CANCELED", "MAXIMUM_HEADER", "QueueAdmin"]

#: Octets of a header section that a DSN brings back.
MAXIMUM_HEADER: Final = 64 * 1024

_LOCK_ONE: Final = select(job).where(job.c.id == bindparam("id")).with_for_update()
_DESTINATION: Final = select(job.c.destination, job.c.next_attempt).where(
    job.c.id == bindparam("id")
)
_CHANGE: Final = (
    update(job)
    .where(job.c.id == bindparam("number"))
    .values(
        hold=bindparam("hold"),
        next_attempt=bindparam("next_attempt"),
        transport=bindparam("transport"),
        require_tls=bindparam("require_tls"),
    )
)


class QueueAdmin(QueuePages):
    """The queue of mail, for people."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        wake: Callable[[], None],
        stored: Callable[[frozenset[str]], None],
        keep_hooks: Callable[[str], timedelta],
        clock: Clock = database_clock,
        changed: Callable[[Set[int]], None] = lambda _: None,
    ) -> None:
        """
        @param wake: Called after a commit by which something may be due.
        @param stored: Called after the commit with accounts that got a bounce
            or a webhook call.
        @param keep_hooks: How long an account's history of webhooks stays; a
            pure function.
        @param changed: Called after the commit with numbers of jobs that may be
            others than they were, or gone.
        """
        super().__init__(database)
        self._now = now
        self._wake = wake
        self._stored = stored
        self._keep_hooks = keep_hooks
        self._clock = clock
        self._changed = changed

    async def change(
        self, numbers: Sequence[int], change: Change, wanted: JobFilter = EVERYTHING
    ) -> Sequence[int]:
        """
        Change jobs.  An attempt under way goes on as it began, and sets its
        own next time.

        @param wanted: What jobs have to meet still.
        @return: Numbers of those that were changed, ascending.
        """
        now = self._now()

        def work(tx: Transaction) -> Sequence[int]:
            moment = self._clock(tx, now)
            ordered = sorted(set(numbers))
            # Destinations first, by their names, as all do who lock both.
            _bring_forward(tx, ordered, change, moment)
            changed = [change.applied(each, now) for each in _locked(tx, ordered, wanted)]
            tx.execute_many(_CHANGE, [_values(each) for each in changed])
            due = [
                (each.destination.ascii, write_time(each.next_attempt))
                for each in changed
                if not each.hold
            ]
            add_all_due(tx, JOBS.kind, due, moment)
            return [each.id for each in changed]

        changed = await self._database.transact(work, settled=self._settled(numbers))
        if changed:
            self._wake()
        return changed

    async def end(
        self,
        numbers: Sequence[int],
        settlement: Callable[[Job, bytes], Settlement],
        wanted: JobFilter = EVERYTHING,
        *,
        with_original: bool = False,
    ) -> Sequence[int]:
        """
        Take jobs out of the queue.  An attempt under way is not cut, but
        nothing comes of it.

        @param settlement: What is written, from the job and what a DSN brings back
            of it, which is empty unless C{with_original}; a pure function that runs
            in a thread.
        @param wanted: What jobs have to meet still.
        @return: Numbers of those that waited, ascending.
        """
        now = self._now()

        def work(tx: Transaction) -> tuple[Sequence[Settlement], frozenset[str]]:
            ended = []
            room = MAXIMUM_TOGETHER
            for each in _locked(tx, sorted(set(numbers)), wanted):
                is_whole = with_original and returns_all(each) and each.size <= room
                room -= each.size if is_whole else 0
                original = _original(tx, each, whole=is_whole) if with_original else b""
                ended.append(settlement(each, original))
            keep = {account: self._keep_hooks(account) for account in hooked(ended)}
            apply(tx, ended, now=write_time(now), due=self._clock(tx, now), keep=keep)
            return ended, told(ended)

        settled = self._settled(numbers)
        ended, accounts = await self._database.transact(work, settled=settled)
        if accounts:
            self._stored(accounts)
        if any(each.report is not None for each in ended):
            self._wake()
        return [each.job.id for each in ended]

    def _settled(self, numbers: Sequence[int]) -> Callable[[bool], None]:
        """Whoever asked may be gone by the commit."""

        def settled(committed: bool) -> None:
            if committed:
                self._changed(frozenset(numbers))

        return settled


def _bring_forward(tx: Transaction, numbers: Sequence[int], change: Change, now: int) -> None:
    """
    Lock the destinations of what may be due earlier from now on.  They are due
    when they were, or later than that: their next owner sets it right.
    """
    if change.hold is True:
        return
    due = [
        (row.destination, row.next_attempt)
        for number in numbers
        for row in tx.execute(_DESTINATION, {"id": number})
    ]
    add_all_due(tx, JOBS.kind, due, now)


def _locked(tx: Transaction, numbers: Sequence[int], wanted: JobFilter) -> Sequence[Job]:
    """Those that wait still, and meet the conditions still."""
    found = [read_job(row) for number in numbers for row in tx.execute(_LOCK_ONE, {"id": number})]
    return [each for each in found if wanted.matches(each)]


def _values(changed: Job) -> Mapping[str, object]:
    return {
        "number": changed.id,
        "hold": int(changed.hold),
        "next_attempt": write_time(changed.next_attempt),
        "transport": changed.transport,
        "require_tls": changed.require_tls.value,
    }


def _original(tx: Transaction, waiting: Job, *, whole: bool) -> bytes:
    """The message, or its header section if not all of it is wanted, or is there."""
    if whole:
        # A message of which the end is lost can be ended all the same.
        with suppress(ContentMissing):
            size = waiting.size - len(waiting.prefix)
            return waiting.prefix + content_octets(tx, waiting.content, size)
    return waiting.prefix + content_header(tx, waiting.content, MAXIMUM_HEADER)
