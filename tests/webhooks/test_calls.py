"""Webhook calls as work for the runner."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.interfaces import Account, HookTarget
from moxsmtp.queue.job import Hook, HookResult
from moxsmtp.queue.runner import Runner
from moxsmtp.testing import MemoryMetrics
from moxsmtp.webhooks.calls import Call, HookWork
from tests.queue.doubles import MemoryHooks
from tests.queue.test_mail import FewAccounts
from tests.webhooks.test_post import HOOK, NOON

RESULT = HookResult(
    start=NOON, duration=timedelta(seconds=2), url=HOOK.url, success=True, code=200, response="ok"
)
FAILURE = replace(RESULT, success=False, code=500, error="HTTP status 500, not 200")


class KeepingAccounts(FewAccounts):
    """Alice keeps history, bob does not, and nobody else exists."""

    def account(self, name: str) -> Account | None:
        """By name."""
        return {
            "alice": Account("alice", keep_retired_webhooks=timedelta(days=2)),
            "carol": Account(
                "carol",
                outgoing_webhook=HookTarget("https://out.example/", secrets=(b"out", b"old")),
                incoming_webhook=HookTarget("https://in.example/", secrets=(b"in",)),
            ),
            "bob": Account("bob"),
        }.get(name)


class CallsTests(unittest.SynchronousTestCase):
    """A runner over storage in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOON.timestamp())
        self.store = MemoryHooks(self.clock.seconds)
        self.metrics = MemoryMetrics()
        self.result: HookResult | Deferred[HookResult] = RESULT
        self.posted: list[Hook] = []
        self.work = HookWork(
            self.clock,
            self.store,
            self.post,
            KeepingAccounts(),  # type: ignore[arg-type]  # has its methods
            self.metrics,
            lambda low, high: min(max(0, low), high),
        )

    async def post(self, hook: Hook) -> HookResult:
        """As the test says."""
        self.posted.append(hook)
        return await self.result if isinstance(self.result, Deferred) else self.result

    def call(self, **changes: object) -> tuple[HookResult, object, bool]:
        """Run one hook: what was recorded, how long it is kept, whether it is repeated."""
        hook = replace(HOOK, **changes)  # type: ignore[arg-type]  # a test's choice of fields
        self.store.hooks.append(hook)
        self.store.add(hook.url, self.clock.seconds())
        runner: Runner[Call, HookResult] = Runner(self.clock, self.store, self.work, limit=10)
        runner.startService()
        self.store.destinations[hook.url].due.clear()
        self.clock.advance(1)
        if isinstance(self.result, Deferred) and not self.result.called:
            self.result.errback(ZeroDivisionError())
        self.successResultOf(runner.stopService())
        (recorded, result, keep, retry) = self.store.results[-1]
        self.assertEqual(recorded, hook)
        return result, keep, retry

    def test_success(self) -> None:
        """A call that succeeds is recorded and not repeated."""
        self.assertEqual(self.call(), (RESULT, timedelta(days=2), False))
        self.assertEqual(self.posted, [HOOK])

    def test_failure(self) -> None:
        """Q-74: a failed call is repeated, up to attempt 11."""
        self.result = FAILURE
        self.assertEqual(self.call(attempts=1), (FAILURE, timedelta(days=2), True))
        self.assertEqual(self.call(attempts=11)[2], True)

    def test_given_up(self) -> None:
        """Q-74: after attempt 12 it is not repeated."""
        self.result = FAILURE
        self.assertEqual(self.call(attempts=12)[2], False)

    def test_next_time_is_saved_first(self) -> None:
        """Q-74: the next time is known to the store when the call begins."""
        self.call(attempts=2)
        self.assertEqual(self.store.planned, [NOON + timedelta(minutes=2)])

    def test_history(self) -> None:
        """Q-77: kept as the account says, not at all by default, a week for accounts gone."""
        kept = {name: self.call(account=name)[1] for name in ("alice", "bob", "gone")}
        self.assertEqual(kept, {"alice": timedelta(days=2), "bob": None, "gone": timedelta(days=7)})

    def test_secrets_in_force(self) -> None:
        """
        Q-92: a call is signed with the secrets that its account's webhook of that
        kind has when it is made; the store never sees them.
        """
        self.call(account="carol")
        self.call(account="carol", event=None)
        self.call(account="bob")
        self.call(account="gone")
        self.assertEqual(
            [hook.secrets for hook in self.posted], [(b"out", b"old"), (b"in",), (), ()]
        )

    def test_broken(self) -> None:
        """A call that breaks down is a failure, and is repeated."""
        self.result = Deferred()
        result, _, retry = self.call()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((result.success, result.code, retry), (False, 0, True))
        self.assertEqual(result.duration, timedelta(seconds=1))
        self.assertIn("internal error", result.error)

    def test_ended_all_the_same(self) -> None:
        """A call that was cut and had its answer by then is what it was answered."""
        call = Call(HOOK, NOON)
        self.assertEqual(self.work.unfinished(call, "cut", RESULT), RESULT)
        self.assertEqual(self.work.unfinished(call, "cut").error, "cut")

    def test_never_aside(self) -> None:
        """Q-75: a call that waits for its answer counts: no others are made meanwhile."""
        self.assertFalse(self.work.is_waiting(Call(HOOK, NOON), 60.0))

    def test_trouble(self) -> None:
        """A URL that fails is in trouble, one that answers 200 is not."""
        self.assertTrue(self.work.is_trouble(FAILURE))
        self.assertFalse(self.work.is_trouble(RESULT))

    def test_metrics(self) -> None:
        """Calls are counted by status, its class where it is unknown, or as errors."""
        for code in (200, 404, 299, 0, 777):
            self.result = replace(FAILURE, code=code)
            self.call()
        series = "mox_webhook_results_total"
        self.assertEqual(
            self.metrics.counts,
            {
                f'{series}{{code="200"}}': 1,
                f'{series}{{code="404"}}': 1,
                f'{series}{{code="2xx"}}': 1,
                f'{series}{{code="error"}}': 2,
            },
        )
        self.assertEqual(
            self.metrics.durations, {"mox_webhook_request_duration_seconds": [2.0] * 5}
        )
