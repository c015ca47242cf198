"""Tests for L{moxsmtp.store.hooks} and L{moxsmtp.store.hook_rows}."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from zope.interface.verify import verifyObject

from moxsmtp.interfaces import HookTarget
from moxsmtp.queue.job import Hook, HookResult, Lease, LeaseLost
from moxsmtp.queue.storage import IHookStore
from moxsmtp.store.columns import read_hook_results, write_time
from moxsmtp.store.hooks import HookStore
from tests.store.contract import NOW, Contract, new_hook

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def call(**changes: Any) -> HookResult:
    """A call that was answered with 500 after two seconds."""
    values: dict[str, Any] = {
        "start": NOW,
        "duration": timedelta(seconds=2),
        "url": "https://hooks.example/",
        "success": False,
        "code": 500,
        "error": "bad status",
        "response": "oops \0",
    }
    return HookResult(**(values | changes))


class HookStoreTests(Contract):
    """The queue of webhook calls."""

    def test_interface(self) -> None:
        """The store is what the runner asks for."""
        verifyObject(IHookStore, self.hooks)

    def test_read_back(self) -> None:
        """A call is read as it was added (Q-75)."""
        new = new_hook(
            target=HookTarget("https://hooks.example/a", "Bearer s3cret"),
            payload=b'{"a": 1}',
            queue_id=7,
            from_id="abc",
            message_id="<1@mx.example>",
            subject="gr\u00fc\u00dfe",
            extra={"k": "v"},
        )
        number = self.add_hook(new)
        ((hook),) = self.waiting_hooks()
        for name in (
            "account", "event", "payload", "queue_id", "from_id", "message_id", "subject", "extra",
        ):  # fmt: skip
            self.assertEqual(getattr(hook, name), getattr(new, name), name)
        self.assertEqual(
            (hook.id, hook.url, hook.authorization, hook.submitted, hook.attempts, hook.results),
            (number, new.target.url, "Bearer s3cret", NOW, 0, ()),
        )
        self.assertNotIn("s3cret", repr(hook))

    def test_begun_before_request(self) -> None:
        """Count and next time of a call are on disk before it is made (Q-74)."""
        self.add_hook()
        (lease,) = self.claim(self.hooks)
        hook = self.take_hook(lease)
        self.assertEqual((hook.attempts, hook.next_attempt), (1, NOW + 10 * MINUTE))
        (row,) = self.rows("hook")
        self.assertEqual((row["attempts"], row["in_flight"]), (1, 1))

    def test_clock_of_another(self) -> None:
        """
        A process whose clock is a day behind the database's waits as long as it
        means to before the next call (Q-74).
        """
        self.add_hook()
        hooks = HookStore(
            self.database, owner="far", now=self.now, clock=lambda _, now: write_time(now + DAY)
        )
        (lease,) = self.claim(hooks)
        self.result(hooks.take(lease, self.time, self.in_ten_minutes))
        (row,) = self.rows("hook")
        self.assertEqual(row["next_attempt"], write_time(self.time + DAY + 10 * MINUTE))

    def test_one_per_url(self) -> None:
        """Calls to one URL are one destination, in the order of their times (Q-75)."""
        one = self.add_hook()
        self.time -= MINUTE
        two = self.add_hook()
        self.time += 2 * MINUTE
        three = self.add_hook(new_hook(url="https://other.example/"))
        leases = self.claim(self.hooks)
        self.assertEqual(
            [lease.name for lease in leases], ["https://hooks.example/", "https://other.example/"]
        )
        taken = [self.take_hook(leases[0]).id, self.take_hook(leases[0]).id]
        self.assertEqual([*taken, self.take_hook(leases[1]).id], [two, one, three])
        self.assertIsNone(self.result(self.hooks.take(leases[0], self.time, self.in_ten_minutes)))

    def test_retry(self) -> None:
        """A call that failed stays with its result, until its next time (Q-75)."""
        self.add_hook()
        (lease,) = self.claim(self.hooks)
        hook = self.take_hook(lease)
        self.settle_hook(lease, hook, call(), retry=True)
        self.release(lease, self.hooks)
        self.assertEqual(self.result(self.hooks.next_due()), hook.next_attempt)
        self.time = hook.next_attempt
        (lease,) = self.claim(self.hooks)
        again = self.take_hook(lease)
        self.assertEqual((again.attempts, again.results), (2, (call(),)))

    def test_nothing_kept(self) -> None:
        """Without retention nothing is left of a call (Q-77)."""
        for keep in (None, timedelta()):
            self.add_hook()
            (lease,) = self.claim(self.hooks)
            self.settle_hook(lease, self.take_hook(lease), call(success=True), keep=keep)
            self.release(lease, self.hooks)
            self.assertEqual((self.rows("hook"), self.rows("retired_hook")), ([], []))
            self.assertEqual(self.rows("destination"), [])

    def test_history(self) -> None:
        """
        A call that is kept has payload and results, and of its Authorization
        only that there was one; its time is fixed now (Q-77).
        """
        for url, authorization in (("https://a.example/", ""), ("https://b.example/", "s3cret")):
            self.add_hook(new_hook(target=HookTarget(url, authorization), payload=b"{1}"))
        for lease in self.claim(self.hooks):
            self.settle_hook(lease, self.take_hook(lease), call(success=True), keep=DAY)
        rows = self.rows("retired_hook")
        self.assertEqual([row["authorized"] for row in rows], [0, 1])
        self.assertNotIn("s3cret", repr(self.everything()))
        for row in rows:
            self.assertEqual(
                (row["payload"], row["success"], row["attempts"], row["superseded_by"]),
                (b"{1}", 1, 1, 0),
            )
            self.assertEqual(read_hook_results(row["results"]), (call(success=True),))
            self.assertEqual(row["keep_until"] - row["last_activity"], 86_400_000_000)

    def test_superseded(self) -> None:
        """
        A new call for the same message of the queue takes the place of the one
        that waits, which retires with its number (Q-76).
        """
        old = self.add_hook(new_hook(queue_id=7), keep=DAY)
        other = self.add_hook(new_hook(queue_id=8), keep=DAY)
        new = self.add_hook(new_hook(queue_id=7), keep=DAY)
        self.assertEqual([row["id"] for row in self.rows("hook")], [other, new])
        (row,) = self.rows("retired_hook")
        self.assertEqual((row["id"], row["superseded_by"], row["success"]), (old, new, 0))

    def test_superseded_under_way(self) -> None:
        """The result of a call that was superseded while it was made is kept with it (Q-76)."""
        old = self.add_hook(new_hook(queue_id=7), keep=DAY)
        (lease,) = self.claim(self.hooks)
        hook = self.take_hook(lease)
        new = self.add_hook(new_hook(queue_id=7), keep=DAY)
        self.settle_hook(lease, hook, call(), retry=True)
        (row,) = self.rows("retired_hook")
        self.assertEqual((row["id"], row["superseded_by"]), (old, new))
        self.assertEqual(read_hook_results(row["results"]), (call(),))
        self.assertEqual([row["id"] for row in self.rows("hook")], [new])
        self.release(lease, self.hooks)
        (lease,) = self.claim(self.hooks)
        self.assertEqual(self.take_hook(lease).id, new)

    def test_superseded_not_kept(self) -> None:
        """Without retention the result of a call that was superseded goes nowhere (Q-77)."""
        self.add_hook(new_hook(queue_id=7))
        (lease,) = self.claim(self.hooks)
        hook = self.take_hook(lease)
        self.add_hook(new_hook(queue_id=7))
        self.settle_hook(lease, hook, call(), keep=DAY)
        self.assertEqual(self.rows("retired_hook"), [])

    def test_incoming_is_not_superseded(self) -> None:
        """Calls for incoming mail all stay (Q-76)."""
        for _ in range(2):
            self.add_hook(new_hook(event=None, queue_id=0), keep=DAY)
        self.assertEqual((len(self.rows("hook")), self.rows("retired_hook")), (2, []))

    def test_lost_lease(self) -> None:
        """Under a lease that was lost nothing is taken and nothing recorded."""
        self.add_hook()
        (lease,) = self.claim(self.hooks)
        hook = self.take_hook(lease)
        stale = replace(lease, fence=lease.fence - 1)
        before = self.everything()
        self.failure(self.hooks.take(stale, self.time, self.in_ten_minutes), LeaseLost)
        self.failure(self.hooks.settle(stale, hook, call(), keep=DAY, retry=False), LeaseLost)
        self.assertEqual(self.everything(), before)

    def test_crash_repeats_once(self) -> None:
        """A call that a crash cut short is made again at once, and not counted (Q-10)."""
        self.add_hook()
        (lease,) = self.claim(self.hooks)
        self.take_hook(lease)
        self.assertEqual(self.result(self.hooks.void()), 1)
        (lease,) = self.claim(self.hooks)
        self.assertEqual(self.take_hook(lease).attempts, 1)

    def test_crash_in_the_middle(self) -> None:
        """A call is begun, and recorded, whole or not at all."""
        self.add_hook()
        (lease,) = self.claim(self.hooks)
        self.assertAllOrNothing(lambda: self.hooks.take(lease, self.time, self.in_ten_minutes))
        ((hook),) = self.waiting_hooks()
        self.assertAllOrNothing(
            lambda: self.hooks.settle(lease, hook, call(), keep=DAY, retry=False)
        )

    def take_hook(self, lease: Lease) -> Hook:
        """The call that is due."""
        hook = self.result(self.hooks.take(lease, self.time, self.in_ten_minutes))
        if hook is None:
            self.fail("no call is due")
        return hook

    def settle_hook(
        self,
        lease: Lease,
        hook: Hook,
        outcome: HookResult,
        *,
        keep: timedelta | None = None,
        retry: bool = False,
    ) -> None:
        """Record a call."""
        self.result(self.hooks.settle(lease, hook, outcome, keep=keep, retry=retry))
