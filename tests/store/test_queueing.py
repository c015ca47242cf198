"""Tests for L{moxsmtp.store.queueing}: what an account may have waiting."""

from __future__ import annotations

from moxsmtp.interfaces import Allowance, OutgoingEvent
from moxsmtp.queue.job import QueueFull, Retired, Settlement
from tests.store.contract import Contract, new_job, result, spooled

#: Three jobs may wait; as much may be sent as one likes.
THREE = Allowance("ann", 0, 0, queued=3)


class QuotaTests(Contract):
    """The queue's quota (Q-95)."""

    def add_some(self, count: int, allowance: Allowance = THREE) -> None:
        """Queue one message for so many."""
        jobs = [new_job(f"user{number}@example.org") for number in range(count)]
        self.result(self.jobs.add(spooled(), jobs, allowance))

    def test_reached(self) -> None:
        """As many may wait as were allowed, all recipients of a message or none (Q-95)."""
        self.add_some(2)
        before = self.everything()
        jobs = [new_job("c@example.org"), new_job("d@example.org")]
        full = self.failure(self.jobs.add(spooled(), jobs, THREE), QueueFull)
        self.assertEqual(vars(full.value), {"limit": 3})
        self.assertEqual(self.everything(), before)
        self.add_some(1)
        self.failure(self.jobs.add(spooled(), [new_job()], THREE), QueueFull)

    def test_left(self) -> None:
        """What has left makes room (Q-95)."""
        self.add_some(3)
        (lease,) = self.claim()
        self.take(lease)
        self.hold(1)
        self.failure(self.jobs.add(spooled(), [new_job()], THREE), QueueFull)
        gone = Retired(OutgoingEvent.CANCELED, None)
        self.result(self.admin.end([2], lambda job, _: Settlement(job, gone, result())))
        self.add_some(1)

    def test_own(self) -> None:
        """Others' mail does not count, and none is bounded without a quota (Q-95)."""
        self.add(*[new_job(account="bob")] * 5)
        self.add_some(3)
        self.add_some(5, Allowance("bob", 0, 0))

    def test_asked_before(self) -> None:
        """That too much waits can be known without queueing anything (Q-95)."""
        self.add_some(2)
        one = new_job().forward_path
        self.result(self.jobs.check(THREE, [one]))
        self.failure(self.jobs.check(THREE, [one, one]), QueueFull)
