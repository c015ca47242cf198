"""
What the queue asks of its storage: leased destinations, and the work in them.

A destination is owned by at most one process at a time.  Every write states
the lease's fence; a write under a lease that was lost raises L{LeaseLost} and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from zope.interface import Interface

from moxsmtp.interfaces import IContent
from moxsmtp.queue.job import Batch, Hook, HookResult, Job, Lease, Settlement

__all__ = ["IHookStore", "IJobStore", "ILeases"]


class ILeases(Interface):
    """Destinations that have due work, for one kind of work."""

    def claim(
        count: int, now: datetime, until: datetime, *, troubled: bool
    ) -> Awaitable[Sequence[Lease]]:
        """
        Own up to C{count} destinations with due work, the longest due first.
        Attempts that a dead owner left under way are made due again, once and
        not counted (Q-10).

        @param troubled: Whether destinations whose last work failed or
            crawled may be among them.
        """

    def renew(leases: Sequence[Lease], until: datetime) -> Awaitable[Sequence[Lease]]:
        """@return: Those that are still ours."""

    def release(
        lease: Lease, *, troubled: bool, rests_until: datetime | None = None
    ) -> Awaitable[None]:
        """
        Give it back; it is due again when its first job is.

        @param rests_until: But not before then, unless something is added.
        """

    def next_due() -> Awaitable[datetime | None]:
        """When the first unowned destination is due; L{None}: nothing waits."""

    def void() -> Awaitable[int]:
        """
        At start, where this process proves that every former owner is dead:
        end all leases.  @return: How many attempts were under way.
        """


class IJobStore(ILeases):
    """The queue of mail."""

    def take(
        lease: Lease, now: datetime, next_attempt: Callable[[int], datetime]
    ) -> Awaitable[Batch | None]:
        """
        The leader due first and its co-recipients (Q-16), each marked as begun
        (Q-10): attempts counted, last attempt set, the next one already set.

        @param next_attempt: Called once, with the leader's attempts, this one included;
            its answer counts for all, so that they stay together.
        @return: L{None} if nothing is due.
        @raise LeaseLost: The destination is not ours any more.
        """

    def take_several(
        lease: Lease,
        now: datetime,
        next_attempt: Callable[[int], datetime],
        *,
        count: int,
        slots: int,
    ) -> Awaitable[Sequence[Batch]]:
        """
        As L{take}, up to C{count} batches in one transaction.

        @param slots: How many may work on the destination at once (Q-93): if
            more is due than is taken, the next slot is opened for another.
        """

    def changed(jobs: Sequence[Job]) -> Awaitable[frozenset[int]]:
        """
        Which of these, that were taken and not tried yet, are not what they were by
        now, or are gone: administrators change at one process what another has taken.
        """

    def put_back(lease: Lease, batches: Sequence[Batch], until: datetime) -> Awaitable[None]:
        """
        They were taken and not tried: the attempt does not count, nor does its time, and
        they are due at C{until}, or when an administrator has said meanwhile.

        @raise LeaseLost: The destination is not ours any more.
        """

    def settle(lease: Lease, settlements: Sequence[Settlement]) -> Awaitable[None]:
        """
        Apply all of it in one transaction: rows, history, bounces, hooks.

        @raise LeaseLost: The destination is not ours any more; nothing changed.
        """

    def failed_before(job: Job) -> Awaitable[bool]:
        """
        Whether the two most recently active other messages in the history of
        the job's account, to exactly its recipient, both failed (Q-31).
        """

    def content(job: Job) -> IContent:
        """What stands behind the job's prefix."""

    def alternative(job: Job) -> IContent | None:
        """All of the job's message in UTF-8, if there is such a one (Q-6)."""


class IHookStore(ILeases):
    """The queue of webhooks."""

    def take(
        lease: Lease, now: datetime, next_attempt: Callable[[Hook], datetime]
    ) -> Awaitable[Hook | None]:
        """As L{IJobStore.take}, one at a time (Q-74)."""

    def settle(
        lease: Lease, hook: Hook, result: HookResult, *, keep: timedelta | None, retry: bool
    ) -> Awaitable[None]:
        """
        Record a call: retired, or left for its next attempt (Q-76 if it was
        superseded meanwhile).

        @param keep: How long history stays; L{None}: not at all.
        """
