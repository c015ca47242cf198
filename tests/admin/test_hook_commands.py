"""The operator's commands about webhook calls, over some in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from moxsmtp.admin import hook_commands, selection
from moxsmtp.admin.hook_commands import HookCommands
from moxsmtp.admin.wire import PIECE, octets
from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import HookFilter, Order, RetiredHookFilter, Span
from moxsmtp.queue.job import Hook, HookResult
from moxsmtp.store.hook_rows import RetiredHook
from moxsmtp.store.pages import Found
from tests.admin.test_queue_commands import DAY, HOUR, NOW, Accounts, CommandCase

URL = "https://hooks.example/a"
HOOK = Hook(
    id=5,
    account="alice",
    url=URL,
    authorization="Bearer s3cret",
    event=OutgoingEvent.DELIVERED,
    payload=b'{"a": 1}',
    submitted=NOW,
    next_attempt=NOW + HOUR,
    queue_id=9,
    message_id="<1@x.example>",
    extra={"k": "v"},
    attempts=1,
    results=(
        HookResult(
            NOW, timedelta(seconds=2), URL, success=False, code=500, error="bad", response="oops"
        ),
    ),
    secrets=(b"s3cret",),
)


class Hooks:
    """
    Calls 1 to 6; those with even numbers are alice's and for incoming mail.

    @ivar asked: The last conditions, order and limit.
    @ivar steps: How many numbers each transaction was given.
    """

    def __init__(self) -> None:
        self.waiting = {
            number: replace(
                HOOK,
                id=number,
                account="bob" if number % 2 else "alice",
                event=OutgoingEvent.DELIVERED if number % 2 else None,
            )
            for number in range(1, 7)
        }
        kept = replace(HOOK, id=1000, authorization="")
        self.history = {
            1000: RetiredHook(
                kept,
                authorized=True,
                success=False,
                superseded_by=0,
                last_activity=NOW,
                keep_until=NOW + DAY,
            )
        }
        self.asked: list[object] = []
        self.steps: list[int] = []
        self.moved: list[Change] = []

    async def hook(self, number: int) -> Hook | RetiredHook | None:
        return self.waiting.get(number) or self.history.get(number)

    async def hooks(self, numbers: Sequence[int]) -> Sequence[Hook]:
        return [self.waiting[number] for number in numbers if number in self.waiting]

    async def retired_hooks(self, numbers: Sequence[int]) -> Sequence[RetiredHook]:
        return [self.history[number] for number in numbers if number in self.history]

    async def find_hooks(
        self, wanted: HookFilter, order: Order, *, after: Found | None, limit: int
    ) -> Sequence[Found]:
        self.asked = [wanted, order, limit]
        start = 0 if after is None else after.id
        found = [each.id for each in self.waiting.values() if wanted.matches(each)]
        return [Found(0, number) for number in found if number > start][:limit]

    async def find_retired(
        self, wanted: RetiredHookFilter, order: Order, *, after: Found | None, limit: int
    ) -> Sequence[Found]:
        self.asked = [wanted, order, limit]
        return [Found(0, number) for number in self.history]

    async def last_number(self) -> int:
        return max(self.waiting)

    async def numbers(self, wanted: HookFilter, *, after: int, until: int) -> Sequence[int]:
        return [
            each.id
            for each in sorted(self.waiting.values(), key=lambda hook: hook.id)
            if after < each.id <= until and wanted.matches(each)
        ][:3]

    async def schedule(
        self, numbers: Sequence[int], wanted: HookFilter, change: Change
    ) -> Sequence[int]:
        self.moved.append(change)
        self.steps.append(len(numbers))
        return [number for number in numbers if wanted.matches(self.waiting[number])]

    async def cancel(self, numbers: Sequence[int], wanted: HookFilter) -> Sequence[int]:
        self.steps.append(len(numbers))
        met = [number for number in numbers if wanted.matches(self.waiting[number])]
        for number in met:
            del self.waiting[number]
        return met


class HookCommandTests(CommandCase):
    """Webhook calls."""

    def setUp(self) -> None:
        self.hooks = Hooks()
        self.table = HookCommands(self.hooks, Accounts(), lambda: NOW).table()

    def test_list(self) -> None:
        """A list is found by pages up to the limit (Q-22)."""
        self.patch(selection, "_FOUND", 2)
        for limit in (1, 2, 3, 6, 100):
            self.assertEqual(self.ids("hook.list", limit=limit), list(range(1, 7))[:limit])

    def test_conditions(self) -> None:
        """All that a list is given reaches the store; C{incoming} is an event (Q-22)."""
        self.run_command(
            "hook.list",
            account="alice@x.example",
            event="incoming",
            submitted=["<-1h", ">-2h"],
            next_attempt="<now",
            sort="queued",
            ascending=True,
            limit=7,
        )
        wanted = HookFilter(
            account="alice",
            event="incoming",
            submitted=Span(NOW - 2 * HOUR, NOW - HOUR),
            next_attempt=Span(None, NOW),
        )
        self.assertEqual(self.hooks.asked, [wanted, Order(by_queued=True, ascending=True), 7])

    def test_retired(self) -> None:
        """The history is searched by its own conditions, and says what became of each (Q-22)."""
        sent, error = self.run_command(
            "hook.retired", account="bob", event="failed", last_activity=">-1d", sort="activity"
        )
        self.assertEqual((error, [entry["state"] for entry in sent]), ("", ["failed"]))
        wanted = RetiredHookFilter(account="bob", event="failed", last_activity=Span(NOW - DAY))
        self.assertEqual(self.hooks.asked, [wanted, Order(), 100])
        kept = self.hooks.history[1000]
        for changed, state in (
            (replace(kept, success=True), "done"),
            (replace(kept, superseded_by=7), "superseded"),
        ):
            self.hooks.history[1000] = changed
            sent, _ = self.run_command("hook.retired")
            self.assertEqual([entry["state"] for entry in sent], [state])

    def test_bad_conditions(self) -> None:
        """What is no condition is told, and nothing is done."""
        wrong: tuple[dict[str, object], ...] = (
            {"account": "carol"}, {"event": "received"}, {"event": 5}, {"submitted": "1h"},
            {"sort": "size"}, {"next_attempt": "<never"}, {"numbers": []}, {"limit": 0},
        )  # fmt: skip
        for arguments in wrong:
            sent, error = self.run_command("hook.list", **arguments)
            self.assertEqual((sent, bool(error)), ([], True), arguments)
        self.assertEqual(self.hooks.asked, [])

    def test_show(self) -> None:
        """A call is told with its attempts and what each was answered; a list without (Q-23)."""
        (entry,), _ = self.run_command("hook.show", numbers=[5])
        attempt = {
            "start": "2026-01-02T03:04:05.000+00:00",
            "seconds": 2.0,
            "url": URL,
            "success": False,
            "code": 500,
            "error": "bad",
        }
        self.assertEqual(entry["results"], [{**attempt, "response": "oops"}])
        self.assertEqual((entry["event"], entry["job"], entry["size"]), ("delivered", 9, 8))
        sent, _ = self.run_command("hook.list", numbers=[5])
        self.assertEqual([entry["results"] for entry in sent], [[attempt]])
        (entry,), _ = self.run_command("hook.show", numbers=[2])
        self.assertEqual(entry["event"], "incoming")
        (entry,), _ = self.run_command("hook.show", numbers=[1000])
        self.assertEqual((entry["state"], entry["next_attempt"]), ("failed", ""))
        self.assertEqual(entry["keep_until"], "2026-01-03T03:04:05.000+00:00")
        self.assertEqual(
            self.run_command("hook.show", numbers=[2000]),
            ([], "the queue has no webhook call 2000"),
        )

    def test_secrets(self) -> None:
        """Of the Authorization header is told that there is one; no secret is (Q-23)."""
        for name in ("hook.list", "hook.retired", "hook.cancel"):
            sent, _ = self.run_command(name, all=True, dry_run=True)
            self.assertTrue(sent, name)
            self.assertEqual({entry["authorized"] for entry in sent}, {True}, name)
            self.assertNotIn("s3cret", json.dumps(sent), name)
        for number in (5, 1000):
            sent, _ = self.run_command("hook.show", numbers=[number])
            self.assertNotIn("s3cret", json.dumps(sent))

    def test_dump(self) -> None:
        """What a call tells comes as it is sent, in bounded pieces, also of the history (Q-23)."""
        self.hooks.waiting[5] = replace(HOOK, payload=b"x" * (2 * PIECE + 1))
        sent, error = self.run_command("hook.dump", numbers=[5])
        self.assertEqual(error, "")
        pieces = [octets(entry) for entry in sent]
        self.assertEqual(b"".join(pieces), b"x" * (2 * PIECE + 1))
        self.assertLessEqual(max(map(len, pieces)), PIECE)
        sent, _ = self.run_command("hook.dump", numbers=[1000])
        self.assertEqual([octets(entry) for entry in sent], [b'{"a": 1}'])

    def test_schedule(self) -> None:
        """Calls get a time, or are put off, a few at once (Q-23)."""
        self.patch(hook_commands, "_STEP", 2)
        for arguments, change in (
            ({"at": "1h"}, Change(next_attempt=NOW + HOUR)),
            ({"add": "-1h"}, Change(delay=-HOUR)),
        ):
            self.hooks.moved.clear()
            self.assertEqual(self.ids("hook.schedule", account="alice", **arguments), [2, 4, 6])
            self.assertEqual(set(self.hooks.moved), {change})
        self.assertEqual(max(self.hooks.steps), 2)
        wrong: tuple[dict[str, str], ...] = (
            {}, {"at": "now", "add": "1h"}, {"at": "soon"}, {"at": "9000d"},
        )  # fmt: skip
        for given in wrong:
            sent, error = self.run_command("hook.schedule", all=True, **given)
            self.assertEqual((sent, bool(error)), ([], True), given)

    def test_cancel(self) -> None:
        """What is meant is cancelled, and each is told; what does not wait is an error (Q-23)."""
        self.assertEqual(self.ids("hook.cancel", event="incoming"), [2, 4, 6])
        self.assertEqual(sorted(self.hooks.waiting), [1, 3, 5])
        sent, error = self.run_command("hook.cancel", numbers=[1, 2])
        self.assertEqual([entry["id"] for entry in sent], [1])
        self.assertEqual(error, "the queue has no webhook call 2")

    def test_rehearsal(self) -> None:
        """A rehearsal tells which, in full, and touches none; nothing said means none (Q-23)."""
        cases: tuple[tuple[str, dict[str, str]], ...] = (
            ("cancel", {}),
            ("schedule", {"at": "now"}),
        )
        for name, arguments in cases:
            sent, error = self.run_command(
                f"hook.{name}", event="delivered", dry_run=True, **arguments
            )
            self.assertEqual(([entry["id"] for entry in sent], error), ([1, 3, 5], ""))
            self.assertEqual(sent[0]["account"], "bob")
            _, error = self.run_command(f"hook.{name}", **arguments)
            self.assertIn("say which webhook calls", error)
        self.assertEqual(self.hooks.steps, [])
