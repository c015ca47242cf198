"""Tests for L{moxsmtp.store.hook_pages}."""

from __future__ import annotations

import itertools
from datetime import timedelta

from moxsmtp.interfaces import HookTarget, OutgoingEvent
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import HookFilter, Order, RetiredHookFilter, Span
from moxsmtp.queue.job import Hook
from moxsmtp.store import pages
from moxsmtp.store.hook_rows import RetiredHook
from moxsmtp.store.pages import Found
from tests.store.contract import NOW, Contract, new_hook

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
UP = Order(ascending=True)


class HookPageTests(Contract):
    """Webhook calls, searched and sorted (Q-22)."""

    def add_some(self) -> None:
        """Calls of which no two are due or submitted in the order of their numbers."""
        for number, (hours, account, event) in enumerate(
            (
                (5, "ann", OutgoingEvent.DELIVERED), (3, "bob", None), (9, "ann", None),
                (3, "ann", OutgoingEvent.FAILED), (1, "bob", OutgoingEvent.DELIVERED),
            )
        ):  # fmt: skip
            self.time = NOW - number % 3 * DAY
            added = self.add_hook(new_hook(account, event=event))
            change = Change(next_attempt=NOW + hours * HOUR)
            self.result(self.hook_admin.schedule([added], HookFilter(), change))
        self.time = NOW

    def ids(self, wanted: HookFilter, order: Order = UP, step: int = 5000) -> list[int]:
        """Numbers of all that are found, in order, page by page."""
        found: list[Found] = []
        after: Found | None = None
        while page := self.result(
            self.hook_admin.find_hooks(wanted, order, after=after, limit=step)
        ):
            self.assertLessEqual(len(page), step)
            found += page
            after = page[-1]
        self.assertEqual(sorted(each.id for each in found), self.numbers(wanted))
        return [each.id for each in found]

    def numbers(self, wanted: HookFilter) -> list[int]:
        """As operations find them."""
        numbers: list[int] = []
        while page := self.result(
            self.hook_admin.numbers(wanted, after=numbers[-1] if numbers else 0, until=2**62)
        ):
            numbers += page
        return numbers

    def test_orders(self) -> None:
        """By the next call or by when they were submitted, either way, ties by number (Q-22)."""
        self.add_some()
        expected = {
            Order(by_queued=False, ascending=True): [5, 2, 4, 1, 3],
            Order(by_queued=False, ascending=False): [3, 1, 4, 2, 5],
            Order(by_queued=True, ascending=True): [3, 2, 5, 1, 4],
            Order(by_queued=True, ascending=False): [4, 1, 5, 2, 3],
        }
        for wanted in (HookFilter(), HookFilter(ids=(1, 2, 3, 4, 5, 99))):
            for step in (1, 2, 5000):
                found = {order: self.ids(wanted, order, step) for order in expected}
                self.assertEqual(found, expected, (wanted, step))

    def test_conditions(self) -> None:
        """Each condition alone finds what it says; C{incoming} is an event (Q-22)."""
        self.add_some()
        expected = {
            HookFilter(): [1, 2, 3, 4, 5],
            HookFilter(ids=(2, 4, 77)): [2, 4],
            HookFilter(account="bob"): [2, 5],
            HookFilter(account="eve"): [],
            HookFilter(event="incoming"): [2, 3],
            HookFilter(event="delivered"): [1, 5],
            HookFilter(event="canceled"): [],
            HookFilter(submitted=Span(before=NOW - DAY)): [3],
            HookFilter(submitted=Span(after=NOW - DAY)): [1, 4],
            HookFilter(next_attempt=Span(after=NOW + 3 * HOUR)): [1, 3],
            HookFilter(next_attempt=Span(before=NOW + 3 * HOUR)): [5],
        }
        self.assertEqual({wanted: sorted(self.ids(wanted)) for wanted in expected}, expected)

    def test_as_values(self) -> None:
        """The tables find what the conditions say of each call by itself (Q-22)."""
        self.add_some()
        calls = self.waiting_hooks()
        spans = (Span(), Span(NOW - DAY, None), Span(None, NOW + 4 * HOUR))
        for ids, account, event, submitted, due in itertools.product(
            ((), (3, 4, 5)), ("", "ann"), ("", "incoming", "failed"), spans, spans
        ):
            wanted = HookFilter(ids, account, event, submitted, due)
            expected = [call.id for call in calls if wanted.matches(call)]
            self.assertEqual(sorted(self.ids(wanted)), expected, wanted)

    def test_many(self) -> None:
        """Operations find all, some thousand at once, and nothing above a number (Q-23)."""
        self.patch(pages, "_STEP", 2)
        self.add_some()
        self.assertEqual(self.numbers(HookFilter()), [1, 2, 3, 4, 5])
        self.assertEqual(self.result(self.hook_admin.numbers(HookFilter(), after=3, until=4)), [4])
        self.assertEqual(self.result(self.hook_admin.last_number()), 5)

    def test_retired(self) -> None:
        """The history is searched by its own times, and sorted by them (Q-22)."""
        self.add_some()
        self.keep_hooks = DAY
        for number in (4, 1, 2):
            self.time += HOUR
            self.result(self.hook_admin.cancel([number], HookFilter()))
        found = {
            wanted: [each.id for each in self.result(self.hook_admin.find_retired(wanted, Order()))]
            for wanted in (
                RetiredHookFilter(),
                RetiredHookFilter(account="ann"),
                RetiredHookFilter(event="incoming"),
                RetiredHookFilter(submitted=Span(before=NOW)),
                RetiredHookFilter(last_activity=Span(after=NOW + HOUR, before=NOW + 3 * HOUR)),
            )
        }
        self.assertEqual(list(found.values()), [[2, 1, 4], [1, 4], [2], [2], [1]])
        by_submitted = Order(by_queued=True, ascending=True)
        self.assertEqual(
            [
                each.id
                for each in self.result(
                    self.hook_admin.find_retired(RetiredHookFilter(), by_submitted)
                )
            ],
            [2, 1, 4],
        )

    def test_one(self) -> None:
        """A call is found in the queue or the history; that keeps no authorization (Q-77)."""
        target = HookTarget("https://hooks.example/", "Bearer s3cret")
        for queue_id in (0, 7):
            self.add_hook(new_hook(target=target, queue_id=queue_id))
        self.keep_hooks = DAY
        self.result(self.hook_admin.cancel([2], HookFilter()))
        waiting, retired, missing = (
            self.result(self.hook_admin.hook(number)) for number in (1, 2, 3)
        )
        if not isinstance(waiting, Hook) or not isinstance(retired, RetiredHook):
            self.fail("one waits, one is retired")
        self.assertEqual(waiting.authorization, "Bearer s3cret")
        self.assertEqual((retired.hook.id, retired.hook.queue_id), (2, 7))
        self.assertEqual((retired.hook.authorization, retired.authorized), ("", True))
        self.assertEqual((retired.last_activity, retired.keep_until), (NOW, NOW + DAY))
        self.assertIsNone(missing)
