"""Tests for L{moxsmtp.store.history}."""

from __future__ import annotations

from datetime import timedelta

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.filter import HookFilter
from moxsmtp.queue.job import Retired, Settlement
from moxsmtp.store.columns import write_time
from moxsmtp.store.history import History, Waiting
from moxsmtp.store.hook_rows import add_hook
from tests.store.contract import NOW, Contract, new_hook, new_job, new_message, result, spooled

DAY = timedelta(days=1)


class HistoryTests(Contract):
    """The end of history, and counts."""

    def setUp(self) -> None:
        """An empty one."""
        super().setUp()
        self.history = History(self.failing)

    def test_forget_jobs(self) -> None:
        """Retired jobs go when their time is over, so many at once, oldest first (Q-1, Q-77)."""
        self.add(*[new_job(f"{letter}@example.org") for letter in "abcd"])
        (lease,) = self.claim()
        jobs = self.take(lease)
        for job, days in zip(jobs, (3, 1, 2, 5), strict=True):
            fate = Retired(OutgoingEvent.FAILED, NOW + days * DAY)
            self.settle(lease, Settlement(job, fate, result()))
        forget = self.history.remove_retired_jobs
        self.assertEqual(self.result(forget(NOW + DAY)), 0)
        self.assertEqual(self.result(forget(NOW + 4 * DAY, limit=2)), 2)
        self.assertEqual([row["id"] for row in self.rows("retired_job")], [1, 4])
        self.assertEqual(self.result(forget(NOW + 4 * DAY, limit=2)), 1)
        self.assertEqual([row["id"] for row in self.rows("retired_job")], [4])

    def test_forget_hooks(self) -> None:
        """Retired webhooks go when their time is over (Q-1, Q-77)."""
        self.add_hooks(3)
        for number, days in ((1, 1), (2, 3)):
            self.keep_hooks = days * DAY
            self.result(self.hook_admin.cancel([number], HookFilter()))
        self.assertEqual(self.result(self.history.remove_retired_hooks(NOW + 2 * DAY)), 1)
        self.assertEqual([row["id"] for row in self.rows("retired_hook")], [2])
        self.assertEqual(self.result(self.history.remove_retired_hooks(NOW + 2 * DAY)), 0)

    def test_forgotten_from_id(self) -> None:
        """A from-id is free again once the history has forgotten it (Q-4)."""
        self.add(new_job(from_id="abc"))
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.settle(lease, Settlement(job, Retired(OutgoingEvent.FAILED, NOW), result()))
        self.result(self.history.remove_retired_jobs(NOW + DAY))
        self.add(new_job(from_id="abc"))

    def test_nothing_waits(self) -> None:
        """An empty queue has no oldest."""
        self.assertEqual(self.result(self.history.waiting()), Waiting(0, 0, None, 0, None))

    def test_waiting(self) -> None:
        """Jobs and webhooks are counted, and how long the oldest has waited is known."""
        self.add(new_job(), new_job("c@example.net"))
        self.hold(2)
        self.time += DAY
        self.add(new_job())
        self.add_hooks(1)
        self.result(self.mail.deliver(spooled(), [new_message(hook=new_hook())]))
        self.assertEqual(self.result(self.history.waiting()), Waiting(3, 1, NOW, 2, NOW + DAY))

    def add_hooks(self, count: int) -> None:
        """Webhooks that are due."""
        now = write_time(self.time)
        for _ in range(count):
            self.result(
                self.database.transact(
                    lambda tx: add_hook(tx, new_hook(), now=now, keep=timedelta())
                )
            )
