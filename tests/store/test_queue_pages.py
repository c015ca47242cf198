"""Tests for L{moxsmtp.store.queue_pages}."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import JobFilter, Order, RetiredFilter, Span
from moxsmtp.queue.job import Job, Result, Retired, Retry, Settlement
from moxsmtp.smtp.notification import Wishes
from moxsmtp.store import pages
from moxsmtp.store.job_rows import RetiredJob
from moxsmtp.store.pages import Found
from tests.store.contract import NOW, Contract, new_job, path, result

DAY = timedelta(days=1)
UP = Order(ascending=True)


class PageTests(Contract):
    """The queue, searched and sorted (Q-22)."""

    def ids(
        self, wanted: JobFilter | None = None, order: Order = UP, step: int = 5000
    ) -> list[int]:
        """Numbers of all that are found, in order, page by page."""
        found: list[Found] = []
        after: Found | None = None
        while page := self.result(
            self.admin.find_jobs(wanted or JobFilter(), order, after=after, limit=step)
        ):
            self.assertLessEqual(len(page), step)
            found += page
            after = page[-1]
        self.assertEqual(len(found), len(set(found)))
        numbers = [each.id for each in found]
        if wanted is not None:
            self.assertEqual(sorted(numbers), self.numbers(wanted))
        return numbers

    def numbers(self, wanted: JobFilter) -> list[int]:
        """As operations find them."""
        numbers: list[int] = []
        while page := self.result(
            self.admin.numbers(wanted, after=numbers[-1] if numbers else 0, until=2**62)
        ):
            numbers += page
        return numbers

    def add_some(self) -> None:
        """Jobs of which no two are due or queued in the order of their numbers."""
        for number, (hours, recipient) in enumerate(
            (
                (5, "b@example.org"), (3, "B_C@example.net"), (9, "d@b\u00fccher.example"),
                (3, "bxc@example.org.example"), (1, "\u00c9@example.net"),
            )
        ):  # fmt: skip
            self.time = NOW - number % 3 * DAY
            self.add(
                new_job(
                    recipient,
                    account="ann" if number % 2 else "bob",
                    reverse_path=None if number == 4 else path(f"s{number}@mx.example"),
                    next_attempt=NOW + timedelta(hours=hours),
                )
            )
        self.time = NOW
        self.result(self.admin.change([2, 3], Change(transport="smarthost")))
        self.result(self.admin.change([4], Change(hold=True)))

    def test_orders(self) -> None:
        """By the next attempt or by when they were queued, either way, ties by number (Q-22)."""
        self.add_some()
        expected = {
            Order(by_queued=False, ascending=True): [5, 2, 4, 1, 3],
            Order(by_queued=False, ascending=False): [3, 1, 4, 2, 5],
            Order(by_queued=True, ascending=True): [3, 2, 5, 1, 4],
            Order(by_queued=True, ascending=False): [4, 1, 5, 2, 3],
        }
        for wanted in (None, JobFilter(recipient="e"), JobFilter(ids=(1, 2, 3, 4, 5, 99))):
            for step in (1, 2, 5000):
                found = {order: self.ids(wanted, order, step) for order in expected}
                self.assertEqual(found, expected, (wanted, step))

    def test_conditions(self) -> None:
        """Each condition alone finds what it says, and nothing else (Q-22)."""
        self.add_some()
        hours = partial(timedelta, hours=1)
        expected = {
            JobFilter(): [1, 2, 3, 4, 5],
            JobFilter(ids=(2, 4, 77)): [2, 4],
            JobFilter(account="ann"): [2, 4],
            JobFilter(account="eve"): [],
            JobFilter(sender="S1@"): [2],
            JobFilter(sender="@mx.example"): [1, 2, 3, 4],
            JobFilter(sender="<>"): [5],
            JobFilter(recipient="@example.org"): [1],
            JobFilter(recipient="@EXAMPLE.net"): [2, 5],
            JobFilter(recipient="b_c@"): [2],
            JobFilter(recipient="%"): [],
            JobFilter(recipient="/"): [],
            JobFilter(recipient="b\u00fccher"): [3],
            JobFilter(recipient="cher.example"): [3],
            JobFilter(recipient="@b\u00fccher.example"): [3],
            JobFilter(recipient="@B\u00dcCHER.example"): [3],
            JobFilter(recipient="xn--"): [],
            JobFilter(recipient="\u00c9"): [5],
            JobFilter(recipient="\u00e9"): [],
            JobFilter(recipient="@"): [],
            JobFilter(hold=True): [4],
            JobFilter(hold=False): [1, 2, 3, 5],
            JobFilter(submitted=Span(before=NOW - DAY)): [3],
            JobFilter(submitted=Span(after=NOW - DAY)): [1, 4],
            JobFilter(submitted=Span(after=NOW - 2 * DAY, before=NOW)): [2, 5],
            JobFilter(next_attempt=Span(after=NOW + 3 * hours())): [1, 3],
            JobFilter(next_attempt=Span(before=NOW + 3 * hours())): [5],
            JobFilter(transport="smarthost"): [2, 3],
            JobFilter(transport=""): [1, 4, 5],
        }
        found = {wanted: sorted(self.ids(wanted)) for wanted in expected}
        self.assertEqual(found, expected)

    def test_all_have_to_hold(self) -> None:
        """Of several conditions all have to hold, From and To as well (Q-22)."""
        self.add_some()
        self.assertEqual(self.ids(JobFilter(sender="s1@", recipient="@example.net")), [2])
        self.assertEqual(self.ids(JobFilter(sender="s1@", recipient="@example.org")), [])
        self.assertEqual(self.ids(JobFilter(account="ann", transport="smarthost")), [2])
        self.assertEqual(self.ids(JobFilter(ids=(2, 4), hold=True)), [4])

    def test_as_values(self) -> None:
        """The tables find what the conditions say of each job by itself (Q-22)."""
        self.add_some()
        jobs = [self.waiting(number) for number in range(1, 6)]
        spans = (Span(), Span(NOW - DAY, None), Span(None, NOW + timedelta(hours=4)))
        for ids, account, (sender, recipient), hold, span, transport in itertools.product(
            ((), (3, 4, 5)),
            ("", "ann"),
            (("", "b"), ("s", "@example.net"), ("<>", "\u00c9"), ("", "cher"), ("S3", "")),
            (None, False),
            spans,
            (None, "smarthost"),
        ):
            wanted = JobFilter(
                ids=ids,
                account=account,
                sender=sender,
                recipient=recipient,
                hold=hold,
                submitted=span,
                next_attempt=span,
                transport=transport,
            )
            expected = [job.id for job in jobs if wanted.matches(job)]
            self.assertEqual(sorted(self.ids(wanted)), expected, wanted)

    def waiting(self, number: int) -> Job:
        """One that waits."""
        found = self.result(self.admin.job(number))
        if not isinstance(found, Job):
            self.fail(f"job {number} does not wait")
        return found

    def test_many_that_only_may(self) -> None:
        """What the database cannot tell apart is searched on until enough is found."""
        self.patch(pages, "_STEP", 2)
        for number in range(7):
            self.add(
                new_job(f"user{number}@xn--bcher-kva.example", next_attempt=NOW + number * DAY)
            )
        wanted = JobFilter(recipient="user6@b\u00fc")
        self.assertEqual(self.ids(wanted), [7])
        self.assertEqual(self.ids(JobFilter(recipient="\u00fc"), UP, 3), [1, 2, 3, 4, 5, 6, 7])

    def test_operations_end(self) -> None:
        """Operations see nothing that is queued after they began."""
        self.add(new_job(), new_job())
        last = self.result(self.admin.last_number())
        self.add(new_job())
        self.assertEqual(self.result(self.admin.numbers(JobFilter(), after=0, until=last)), [1, 2])
        self.assertEqual(self.result(self.admin.numbers(JobFilter(), after=1, until=last)), [2])

    def test_empty(self) -> None:
        """An empty queue has no pages."""
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.result(self.admin.last_number()), 0)

    def test_rows(self) -> None:
        """Jobs come in the order that was asked for; those that are gone are left out."""
        self.add(new_job(), new_job("c@example.org"))
        jobs = self.result(self.admin.jobs([2, 9, 1]))
        self.assertEqual([job.id for job in jobs], [2, 1])

    def test_one(self) -> None:
        """A job is shown with its results and wishes, also from the history (Q-7, S-68)."""
        wishes = Wishes(envelope_id="QQ 314159", original_recipient="rfc822;bob@away.example")
        self.add(new_job(wishes=wishes))
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.settle(lease, Settlement(job, Retry(self.time), result()))
        shown = self.result(self.admin.job(1))
        if not isinstance(shown, Job):
            self.fail("it does not wait")
        self.assertEqual(shown.results, (result(),))
        (job,) = self.take(lease)
        fate = Retired(OutgoingEvent.DELIVERED, NOW + DAY)
        self.settle(lease, Settlement(job, fate, result(success=True)))
        retired = self.result(self.admin.job(1))
        if not isinstance(retired, RetiredJob):
            self.fail("it is not in the history")
        self.assertEqual(retired.job.results, (result(), result(success=True)))
        self.assertEqual(retired.job.forward_path, job.forward_path)
        self.assertEqual((shown.wishes, retired.job.wishes), (wishes, wishes))
        self.assertEqual(
            (retired.event, retired.success, retired.keep_until),
            (OutgoingEvent.DELIVERED, True, NOW + DAY),
        )
        self.assertEqual(retired.last_activity, NOW + timedelta(seconds=2))
        self.assertIsNone(self.result(self.admin.job(2)))


class RetiredTests(Contract):
    """The history, searched and sorted (Q-22, Q-77)."""

    def setUp(self) -> None:
        """Three jobs that left the queue, in another order than they came."""
        super().setUp()
        self.add(new_job("a@example.org"), new_job("b@example.org"))
        self.add(new_job("c@example.net", account="bob", reverse_path=None))
        for days, number in enumerate((2, 3, 1)):
            event = OutgoingEvent.DELIVERED if number == 3 else OutgoingEvent.FAILED
            fate = Retired(event, NOW + 9 * DAY)
            last = result(start=NOW + days * DAY, success=number == 3)

            def ended(job: Job, _: bytes, fate: Retired = fate, last: Result = last) -> Settlement:
                return Settlement(job, fate, last)

            self.assertEqual(self.result(self.admin.end([number], ended)), [number])

    def ids(self, order: Order = UP, **conditions: object) -> Sequence[int]:
        """Numbers of what is found."""
        wanted = RetiredFilter(**conditions)  # type: ignore[arg-type]  # as each test gives them
        found: list[Found] = []
        while page := self.result(
            self.admin.find_retired(wanted, order, after=found[-1] if found else None, limit=2)
        ):
            found += page
        rows = self.result(self.admin.retired_jobs([each.id for each in found]))
        self.assertEqual([row.job.id for row in rows], [each.id for each in found])
        return [each.id for each in found]

    def test_orders(self) -> None:
        """By the last activity or by when they were queued, either way."""
        self.assertEqual(self.ids(), [2, 3, 1])
        self.assertEqual(self.ids(Order()), [1, 3, 2])
        self.assertEqual(self.ids(Order(by_queued=True, ascending=True)), [1, 2, 3])
        self.assertEqual(self.ids(Order(by_queued=True)), [3, 2, 1])

    def test_conditions(self) -> None:
        """Each condition finds what it says (Q-22)."""
        self.assertEqual(self.ids(account="bob"), [3])
        self.assertEqual(self.ids(sender="<>"), [3])
        self.assertEqual(self.ids(recipient="@example.org"), [2, 1])
        self.assertEqual(self.ids(success=True), [3])
        self.assertEqual(self.ids(success=False), [2, 1])
        self.assertEqual(self.ids(last_activity=Span(after=NOW + DAY)), [3, 1])
        self.assertEqual(self.ids(submitted=Span(before=NOW)), [])
        self.assertEqual(self.ids(transport=""), [2, 3, 1])
        self.assertEqual(self.ids(transport="x"), [])
