"""
What the queue's runner does for webhooks: take a call that is due, make it,
record it (Q-73 to Q-76).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.interfaces import IAccounts, IMetrics
from moxsmtp.queue.job import Hook, HookResult, Lease
from moxsmtp.queue.storage import IHookStore
from moxsmtp.webhooks.schedule import Randint, gives_up, next_attempt

__all__ = ["Call", "HookWork"]

#: History of accounts that do not exist any more (Q-77).
_KEEP_OF_NOBODY: Final = timedelta(days=7)

_KNOWN: Final = frozenset(int(status) for status in HTTPStatus)


@dataclass(frozen=True, slots=True)
class Call:
    """A hook that is being called."""

    hook: Hook
    started: datetime


class HookWork:
    """Webhook calls as work for a runner."""

    #: A call that follows another waits until it is known what it may replace (Q-76).
    most_unrecorded = 0
    linger = 0.0

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IHookStore,
        post: Callable[[Hook], Awaitable[HookResult]],
        accounts: IAccounts,
        metrics: IMetrics,
        randint: Randint,
    ) -> None:
        self._clock = clock
        self._store = store
        self._post = post
        self._accounts = accounts
        self._metrics = metrics
        self._randint = randint

    async def take(self, lease: Lease) -> Call | None:
        """The call longest due; its count and next time are saved first (Q-74)."""
        now = self._now()
        hook = await self._store.take(
            lease, now, lambda hook: next_attempt(now, hook.attempts, self._randint)
        )
        return Call(hook, now) if hook is not None else None

    async def attempt(self, task: Call) -> HookResult:
        """Make the call, signed with the secrets in force now (Q-92)."""
        secrets = self._secrets(task.hook)
        return await self._post(replace(task.hook, secrets=secrets) if secrets else task.hook)

    def is_waiting(self, task: Call, seconds: float) -> bool:
        """Never aside: no more calls are under way than there may be (Q-75)."""
        del task, seconds
        return False

    def unfinished(self, task: Call, error: str, known: HookResult | None = None) -> HookResult:
        """A call that was cut or broke down: a failure, unless it ended all the same."""
        return known or HookResult(
            start=task.started,
            duration=self._now() - task.started,
            url=task.hook.url,
            success=False,
            error=error,
        )

    async def settle(self, lease: Lease, task: Call, found: HookResult) -> None:
        """Record a call: done, to be repeated, or given up (Q-74)."""
        hook = task.hook
        retry = not found.success and not gives_up(hook.attempts)
        await self._store.settle(lease, hook, found, keep=self._keep(hook.account), retry=retry)
        self._metrics.count("mox_webhook_results_total", code=_code_label(found.code))
        self._metrics.observe(
            "mox_webhook_request_duration_seconds", found.duration.total_seconds()
        )
        self._report(hook, found, retry=retry)

    def is_trouble(self, found: HookResult) -> bool:
        """It failed."""
        return not found.success

    async def leave(self, lease: Lease) -> datetime | None:
        """Calls are taken one at a time."""
        del lease
        return None

    def forget(self, lease: Lease) -> None:
        """There is nothing to forget."""

    def _report(self, hook: Hook, found: HookResult, *, retry: bool) -> None:
        event = hook.event.value if hook.event else "incoming"
        if found.success:
            self._log.info("called webhook {hook} for {event}", hook=hook.id, event=event)
            return
        text = "webhook {hook} for {event} failed, attempt {attempt}: {error}"
        if not retry:
            text = "gave up webhook {hook} for {event} after attempt {attempt}: {error}"
        self._log.warn(
            text, hook=hook.id, event=event, attempt=hook.attempts, error=found.error, url=found.url
        )

    def _secrets(self, hook: Hook) -> tuple[bytes, ...]:
        account = self._accounts.account(hook.account)
        if account is None:
            return ()
        target = account.outgoing_webhook if hook.event else account.incoming_webhook
        return target.secrets if target is not None else ()

    def _keep(self, name: str) -> timedelta | None:
        """How long the history of an account's calls stays (Q-77)."""
        account = self._accounts.account(name)
        if account is None:
            return _KEEP_OF_NOBODY
        return account.keep_retired_webhooks or None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)


def _code_label(code: int) -> str:
    """The status, its class if it is none that is known, C{error} if there was none."""
    if code in _KNOWN:
        return str(code)
    return f"{code // 100}xx" if 100 <= code <= 599 else "error"
