"""Tests for L{moxsmtp.store.hook_admin}."""

from __future__ import annotations

from datetime import timedelta

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import HookFilter
from moxsmtp.queue.job import HookResult
from moxsmtp.store.columns import read_hook_results
from tests.store.contract import NOW, Contract, new_hook

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class HookAdminTests(Contract):
    """What administrators do to webhook calls (Q-23)."""

    def schedule(self, *numbers: int, wanted: HookFilter | None = None, **values: object) -> object:
        """Move some."""
        change = Change(**values)  # type: ignore[arg-type]  # as each test gives them
        return self.result(self.hook_admin.schedule(numbers, wanted or HookFilter(), change))

    def test_schedule(self) -> None:
        """A call is set to a time or put off; its destination is due then (Q-23)."""
        self.add_hook()
        self.add_hook(new_hook(url="https://other.example/"))
        self.assertEqual(self.schedule(1, 99, next_attempt=NOW + DAY), [1])
        self.assertEqual(self.woken, 1)
        self.assertEqual([each.next_attempt for each in self.waiting_hooks()], [NOW + DAY, NOW])
        self.assertEqual(self.schedule(1, 2, delay=HOUR), [1, 2])
        self.assertEqual(
            [each.next_attempt for each in self.waiting_hooks()], [NOW + DAY + HOUR, NOW + HOUR]
        )
        for lease in self.claim(self.hooks):
            self.assertIsNone(
                self.result(self.hooks.take(lease, self.time, self.in_ten_minutes)), lease
            )
            self.release(lease, self.hooks)
        self.assertEqual(self.result(self.hooks.next_due()), NOW + HOUR)
        self.schedule(1, next_attempt=NOW)
        self.assertEqual(self.result(self.hooks.next_due()), NOW)

    def test_schedule_under_way(self) -> None:
        """A call under way goes on; if it fails, the next one is when that was said (Q-23)."""
        self.add_hook()
        (lease,) = self.claim(self.hooks)
        hook = self.result(self.hooks.take(lease, self.time, self.in_ten_minutes))
        if hook is None:
            self.fail("no call is due")
        self.schedule(1, next_attempt=NOW + HOUR)
        failed = HookResult(NOW, timedelta(seconds=1), hook.url, success=False, error="refused")
        self.result(self.hooks.settle(lease, hook, failed, keep=None, retry=True))
        (waiting,) = self.waiting_hooks()
        self.assertEqual((waiting.next_attempt, waiting.attempts), (NOW + HOUR, 1))

    def test_nothing_to_move(self) -> None:
        """What meets the conditions no more is left alone, and nobody is woken."""
        self.add_hook()
        self.assertEqual(self.schedule(1, wanted=HookFilter(account="bob"), delay=HOUR), [])
        self.assertEqual((self.woken, self.waiting_hooks()[0].next_attempt), (0, NOW))

    def test_cancel(self) -> None:
        """What an administrator cancels retires as failed, where it is kept (Q-75, Q-77)."""
        for account in ("ann", "ann", "bob"):
            self.add_hook(new_hook(account))
        cancel = self.hook_admin.cancel
        self.assertEqual(self.result(cancel([1], HookFilter())), [1])
        self.assertEqual(self.rows("retired_hook"), [])
        self.keep_hooks = DAY
        self.assertEqual(self.result(cancel([99, 3, 2], HookFilter(account="ann"))), [2])
        self.assertEqual([each.id for each in self.waiting_hooks()], [3])
        ((row),) = self.rows("retired_hook")
        self.assertEqual((row["id"], row["success"], row["superseded_by"]), (2, 0, 0))

    def test_cancel_under_way(self) -> None:
        """A request under way is not cut; what it came to is added to the history (Q-75)."""
        self.keep_hooks = DAY
        self.add_hook(new_hook(event=OutgoingEvent.FAILED))
        (lease,) = self.claim(self.hooks)
        hook = self.result(self.hooks.take(lease, self.time, self.in_ten_minutes))
        if hook is None:
            self.fail("no call is due")
        self.result(self.hook_admin.cancel([1], HookFilter()))
        done = HookResult(NOW, timedelta(seconds=1), hook.url, success=True, code=200)
        self.result(self.hooks.settle(lease, hook, done, keep=DAY, retry=False))
        ((row),) = self.rows("retired_hook")
        self.assertEqual([each.code for each in read_hook_results(row["results"])], [200])
        self.assertEqual(row["success"], 0)

    def test_all_or_nothing(self) -> None:
        """Calls are moved or cancelled all together, or none is."""
        for _ in range(2):
            self.add_hook()
        self.keep_hooks = DAY
        self.assertAllOrNothing(
            lambda: self.hook_admin.schedule([1, 2], HookFilter(), Change(delay=HOUR))
        )
        self.assertAllOrNothing(lambda: self.hook_admin.cancel([1, 2], HookFilter()))
