"""Tests for L{moxsmtp.store.queue_admin}."""

from __future__ import annotations

from datetime import datetime, timedelta

from moxsmtp.interfaces import NewHook, OutgoingEvent
from moxsmtp.queue.job import Job, Result, Retired, Retry, Settlement
from moxsmtp.smtp.notification import Wishes
from moxsmtp.store.job_rows import RetiredJob
from tests.store.contract import NOW, Contract, new_hook, new_job, result

DAY = timedelta(days=1)


def in_a_day(_: Job) -> datetime:
    """How long the history keeps a job."""
    return NOW + DAY


def canceled(job: Job, _: Result) -> NewHook:
    """The call that tells of it."""
    return new_hook(job.account, event=OutgoingEvent.CANCELED, queue_id=job.id)


class QueueAdminTests(Contract):
    """The queue, for people."""

    def test_pages(self) -> None:
        """Pages hold each job once, the newest first."""
        self.add(*[new_job(f"{letter}@example.org") for letter in "abc"])
        one = self.result(self.admin.list_jobs(limit=2))
        two = self.result(self.admin.list_jobs(limit=2, before=one[-1].id))
        self.assertEqual([[job.id for job in page] for page in (one, two)], [[3, 2], [1]])

    def test_filters(self) -> None:
        """Jobs are found by account and by part of the recipient, taken literally."""
        self.add(new_job("B@example.org"), new_job("a_b@example.net"))
        self.add(new_job("axb@example.net", account="bob"))
        found = {
            (account, recipient): [
                job.id
                for job in self.result(self.admin.list_jobs(account=account, recipient=recipient))
            ]
            for account in ("", "ann", "bob", "eve")
            for recipient in ("", "b@", "@example.net", "a_b", "%")
        }
        self.assertEqual(
            found,
            {
                ("", ""): [3, 2, 1],
                ("", "b@"): [3, 2, 1],
                ("", "@example.net"): [3, 2],
                ("", "a_b"): [2],
                ("", "%"): [],
                ("ann", ""): [2, 1],
                ("ann", "b@"): [2, 1],
                ("ann", "@example.net"): [2],
                ("ann", "a_b"): [2],
                ("ann", "%"): [],
                ("bob", ""): [3],
                ("bob", "b@"): [3],
                ("bob", "@example.net"): [3],
                ("bob", "a_b"): [],
                ("bob", "%"): [],
                ("eve", ""): [],
                ("eve", "b@"): [],
                ("eve", "@example.net"): [],
                ("eve", "a_b"): [],
                ("eve", "%"): [],
            },
        )

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

    def test_drop(self) -> None:
        """
        A job that is dropped retires with the result C{cancelled by admin}, the
        event C{canceled}, and no DSN (Q-23).
        """
        self.add(new_job("b@example.org"), new_job("c@example.org"))
        gone = self.result(self.admin.drop([2, 2, 99], keep_until=in_a_day, hook=canceled))
        self.assertEqual(gone, [2])
        self.assertEqual([row["id"] for row in self.rows("job")], [1])
        self.assertEqual([row["refs"] for row in self.rows("content")], [1])
        retired = self.result(self.admin.job(2))
        if not isinstance(retired, RetiredJob):
            self.fail("it is not in the history")
        self.assertEqual((retired.event, retired.success), (OutgoingEvent.CANCELED, False))
        self.assertEqual(retired.job.results[-1].error, "cancelled by admin")
        self.assertEqual(self.rows("message"), [])
        ((hook),) = self.result(self.hooks.list_hooks())
        self.assertEqual((hook.event, hook.queue_id), (OutgoingEvent.CANCELED, 2))
        self.assertEqual(self.stored, [frozenset({"ann"})])

    def test_drop_quietly(self) -> None:
        """Without retention and webhook nothing is left of it, and nobody is told."""
        self.add()
        self.result(self.admin.drop([1], keep_until=lambda _: None, hook=lambda *_: None))
        for table in ("job", "retired_job", "content", "hook", "message"):
            self.assertEqual(self.rows(table), [], table)
        self.assertEqual(self.stored, [])

    def test_destination_of_dropped(self) -> None:
        """A destination whose jobs were all dropped is found empty and forgotten."""
        self.add()
        self.result(self.admin.drop([1], keep_until=lambda _: None, hook=lambda *_: None))
        (lease,) = self.claim()
        self.assertEqual(self.take(lease), ())
        self.release(lease)
        self.assertEqual(self.rows("destination"), [])

    def test_crash_in_the_middle(self) -> None:
        """Jobs are dropped all or none."""
        self.add(new_job("b@example.org"), new_job("c@example.org"))
        self.assertAllOrNothing(lambda: self.admin.drop([1, 2], keep_until=in_a_day, hook=canceled))
