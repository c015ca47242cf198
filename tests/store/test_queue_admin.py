"""Tests for L{moxsmtp.store.queue_admin}."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from moxsmtp.interfaces import OutgoingEvent, RequireTLS
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import JobFilter
from moxsmtp.queue.job import Job, Retired, Retry, Settlement
from moxsmtp.store.columns import read_time
from moxsmtp.store.job_rows import CANCELED, RetiredJob
from tests.store.contract import NOW, Broken, Contract, new_hook, new_job, new_message, result

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def dropped(job: Job, _: bytes) -> Settlement:
    """Kept for a day, and told by a call."""
    return Settlement(
        job,
        Retired(OutgoingEvent.CANCELED, NOW + DAY),
        result(error=CANCELED),
        hook=new_hook(job.account, event=OutgoingEvent.CANCELED, queue_id=job.id),
    )


def quietly(job: Job, _: bytes) -> Settlement:
    """Nothing is left of it, and nobody is told."""
    return Settlement(job, Retired(OutgoingEvent.CANCELED, None), result(error=CANCELED))


def failed(job: Job, header: bytes) -> Settlement:
    """With a DSN that brings the header back."""
    bounce = (new_message(job.account, is_dsn=True), b"it failed\r\n\r\n" + header)
    fate = Retired(OutgoingEvent.FAILED, NOW + DAY)
    return Settlement(job, fate, result(error=CANCELED), bounce=bounce)


def reported(job: Job, _: bytes) -> Settlement:
    """With a DSN that is queued."""
    report = (new_job("ann@away.example", reverse_path=None, account=""), b"it failed")
    return Settlement(job, Retired(OutgoingEvent.FAILED, None), result(), report=report)


class ChangeTests(Contract):
    """What is changed about jobs that wait (Q-23)."""

    def change(self, *numbers: int, wanted: JobFilter | None = None, **values: object) -> object:
        """Change some."""
        change = Change(**values)  # type: ignore[arg-type]  # as each test gives them
        return self.result(self.admin.change(numbers, change, wanted or JobFilter()))

    def job(self, number: int = 1) -> Job:
        """As it waits."""
        found = self.result(self.admin.job(number))
        if not isinstance(found, Job):
            self.fail(f"job {number} does not wait")
        return found

    def due(self) -> Sequence[int]:
        """Numbers of what is taken now, all destinations together."""
        return sorted(job.id for lease in self.claim() for job in self.take(lease))

    def test_hold_and_release(self) -> None:
        """What is on hold is not attempted; released, it is due when it was (Q-20, Q-23)."""
        self.add(new_job(), new_job("c@example.net"))
        self.woken = 0
        self.assertEqual(self.change(1, 9, hold=True), [1])
        self.assertEqual(self.woken, 1)
        self.assertEqual((self.job(1).hold, self.job(2).hold), (True, False))
        leases = self.claim()
        self.assertEqual([job.id for lease in leases for job in self.take(lease)], [2])
        for lease in leases:
            self.release(lease)
        # The destination of what was held had nothing else and is forgotten.
        self.assertEqual([row["name"] for row in self.rows("destination")], ["example.net"])
        self.assertEqual(self.change(1, hold=False), [1])
        self.assertEqual(self.woken, 2)
        self.assertEqual(self.due(), [1])

    def test_time(self) -> None:
        """An attempt is set to a time, or put off; its destination is due then (Q-23)."""
        self.add(new_job(next_attempt=NOW + DAY))
        self.assertEqual(self.due(), [])
        self.change(1, delay=-HOUR)
        self.assertEqual(self.job().next_attempt, NOW + DAY - HOUR)
        self.assertEqual(self.result(self.jobs.next_due()), NOW + DAY - HOUR)
        self.change(1, next_attempt=NOW)
        self.assertEqual(self.result(self.jobs.next_due()), NOW)
        self.assertEqual(self.due(), [1])

    def test_put_off(self) -> None:
        """What was due is so no more, once its destination's next owner has seen that (Q-23)."""
        self.add()
        self.change(1, delay=HOUR)
        (lease,) = self.claim()
        self.assertEqual(self.take(lease), ())
        self.release(lease)
        self.assertEqual(self.result(self.jobs.next_due()), NOW + HOUR)

    def test_ages(self) -> None:
        """No time gets out of what can be written, however often it is moved."""
        self.add()
        for sign in (1, -1):
            for _ in range(5):
                self.change(1, delay=sign * timedelta(days=10**6))
            self.assertEqual(self.job().next_attempt, NOW + sign * timedelta(days=365))

    def test_transport_and_tls(self) -> None:
        """A transport is forced or left to the routes again, TLS demanded or waived (Q-23)."""
        self.add(new_job(require_tls=RequireTLS.YES))
        before = self.job()
        self.change(1, transport="smarthost")
        self.assertEqual(self.job().transport, "smarthost")
        self.assertEqual(self.job().require_tls, RequireTLS.YES)
        self.change(1, transport="", require_tls=RequireTLS.NO)
        self.assertEqual((self.job().transport, self.job().require_tls), ("", RequireTLS.NO))
        self.assertEqual(self.job().next_attempt, before.next_attempt)

    def test_looked_at_again(self) -> None:
        """What meets the conditions no more is left alone, though it was found before."""
        self.add(new_job(), new_job(account="bob"))
        self.assertEqual(self.change(1, 2, wanted=JobFilter(account="bob"), hold=True), [2])
        self.woken = 0
        self.assertEqual(self.change(1, wanted=JobFilter(hold=True), transport="x"), [])
        self.assertEqual(self.woken, 0)

    def test_under_way(self) -> None:
        """A hold outlasts an attempt that is under way and fails (Q-20)."""
        self.add()
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.change(1, hold=True)
        self.settle(lease, Settlement(job, Retry(NOW + HOUR), result()))
        self.release(lease)
        self.assertTrue(self.job().hold)
        self.assertEqual(self.due(), [])

    def test_crash_in_the_middle(self) -> None:
        """Jobs are changed all or none."""
        self.add(new_job("b@example.org"), new_job("c@example.net"))
        change = Change(next_attempt=NOW - DAY)
        self.assertAllOrNothing(lambda: self.admin.change([1, 2], change))

    def test_told(self) -> None:
        """Whoever may have taken them ahead is told once they are changed, not before (Q-23)."""
        self.add(new_job(), new_job("c@example.net"))
        self.failing.succeed = 1
        self.failure(self.admin.change([1, 2], Change(hold=True)), Broken)
        self.assertEqual(self.changed, [])
        self.failing.succeed = None
        self.change(1, 2, hold=True)
        self.assertEqual(self.changed, [{1, 2}])


class EndTests(Contract):
    """Jobs that are taken out of the queue (Q-23)."""

    def test_drop(self) -> None:
        """
        A job that is dropped retires with the result C{cancelled by admin}, the
        event C{canceled}, and no DSN (Q-23).
        """
        self.add(new_job("b@example.org"), new_job("c@example.org"))
        gone = self.result(self.admin.end([2, 2, 99], dropped))
        self.assertEqual(gone, [2])
        self.assertEqual([row["id"] for row in self.rows("job")], [1])
        self.assertEqual([row["refs"] for row in self.rows("content")], [1])
        retired = self.result(self.admin.job(2))
        if not isinstance(retired, RetiredJob):
            self.fail("it is not in the history")
        self.assertEqual((retired.event, retired.success), (OutgoingEvent.CANCELED, False))
        self.assertEqual(retired.job.results[-1].error, "cancelled by admin")
        self.assertEqual(self.rows("message"), [])
        ((hook),) = self.waiting_hooks()
        self.assertEqual((hook.event, hook.queue_id), (OutgoingEvent.CANCELED, 2))
        self.assertEqual(self.stored, [frozenset({"ann"})])

    def test_drop_quietly(self) -> None:
        """Without retention and webhook nothing is left of it, and nobody is told."""
        self.add()
        self.result(self.admin.end([1], quietly))
        for table in ("job", "retired_job", "content", "hook", "message"):
            self.assertEqual(self.rows(table), [], table)
        self.assertEqual(self.stored, [])

    def test_fail(self) -> None:
        """A job that is failed brings its whole header back to the sender (Q-23)."""
        self.add(content=b"Subject: hi\r\n\r\nhello\r\n")
        self.assertEqual(self.result(self.admin.end([1], failed, with_original=True)), [1])
        self.assertEqual(self.rows("job"), [])
        ((row),) = self.rows("content_chunk")
        self.assertEqual(
            bytes(row["data"]),
            b"it failed\r\n\r\nReceived: by mx.example\r\nSubject: hi\r\n\r\n",
        )
        self.assertEqual(self.stored, [frozenset({"ann"})])

    def test_fail_of_nobody(self) -> None:
        """A DSN for a sender elsewhere is queued, and the runner woken."""
        self.add(new_job(account=""))
        self.woken = 0
        self.result(self.admin.end([1], reported))
        self.assertEqual([row["rcpt_to"] for row in self.rows("job")], ["ann@away.example"])
        self.assertEqual(self.woken, 1)

    def test_under_way(self) -> None:
        """An attempt that is under way comes to nothing, and harms nothing (Q-23)."""
        self.add()
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.result(self.admin.end([1], dropped))
        before = self.everything()
        self.settle(lease, Settlement(job, Retry(NOW + HOUR), result()))
        self.settle(lease, Settlement(job, Retired(OutgoingEvent.DELIVERED, None), result()))
        self.assertEqual(self.everything(), before)

    def test_looked_at_again(self) -> None:
        """What meets the conditions no more stays."""
        self.add()
        self.assertEqual(self.result(self.admin.end([1], quietly, JobFilter(hold=True))), [])
        self.assertEqual(len(self.rows("job")), 1)

    def test_destination_of_dropped(self) -> None:
        """A destination whose jobs were all dropped is found empty and forgotten."""
        self.add()
        self.result(self.admin.end([1], quietly))
        (lease,) = self.claim()
        self.assertEqual(self.take(lease), ())
        self.release(lease)
        self.assertEqual(self.rows("destination"), [])

    def test_crash_in_the_middle(self) -> None:
        """Jobs are dropped all or none."""
        self.add(new_job("b@example.org"), new_job("c@example.org"))
        self.assertAllOrNothing(lambda: self.admin.end([1, 2], dropped))

    def test_told(self) -> None:
        """Whoever may have taken them ahead is told once they are gone (Q-23)."""
        self.add(new_job(), new_job("c@example.net"))
        self.result(self.admin.end([1, 2], quietly))
        self.assertEqual(self.changed, [{1, 2}])

    def test_activity(self) -> None:
        """The history says when it ended."""
        self.add()
        self.result(self.admin.end([1], dropped))
        (row,) = self.rows("retired_job")
        self.assertEqual(read_time(row["last_activity"]), NOW + timedelta(seconds=2))
