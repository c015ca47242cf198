"""Tests for L{moxsmtp.store.jobs}."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from sqlalchemy import update
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IQueue, OutgoingEvent, RequireTLS
from moxsmtp.outbound.next_hop import in_order
from moxsmtp.queue.job import FromIdInUse, LeaseLost, Retired, Retry, Settlement
from moxsmtp.queue.schedule import next_attempt
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.storage import IJobStore
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Notify, ReturnContent, Wishes
from moxsmtp.store.schema import job as job_table
from tests.store.contract import (
    NOW,
    Contract,
    new_hook,
    new_job,
    new_message,
    result,
    spooled,
)

MINUTE = timedelta(minutes=1)

DELIVERED = Retired(OutgoingEvent.DELIVERED, None)
KEPT = Retired(OutgoingEvent.FAILED, NOW + timedelta(days=1))

WISHES = Wishes(
    ReturnContent.FULL,
    "QQ 314159",
    Notify.parse("DELAY,SUCCESS"),
    "utf-8;\u03b4\u03bf\u03ba@x.example",
)


class AddTests(Contract):
    """Jobs into the queue."""

    def test_interface(self) -> None:
        """The store is what submission and runners ask for."""
        verifyObject(IQueue, self.jobs)
        verifyObject(IJobStore, self.jobs)

    def test_one_content(self) -> None:
        """However many recipients, content is stored once and counts them (Q-2)."""
        numbers = self.add(new_job("b@example.org"), new_job("c@example.net"))
        self.assertEqual([row["id"] for row in self.rows("job")], list(numbers))
        ((content),) = self.rows("content")
        self.assertEqual(content["refs"], 2)

    def test_crash_in_the_middle(self) -> None:
        """Adding that breaks anywhere leaves nothing, and wakes nobody (Q-3)."""
        jobs = [new_job("b@example.org"), new_job("c@example.net")]
        self.assertAllOrNothing(lambda: self.jobs.add(spooled(), jobs))
        self.assertEqual(self.woken, 1)

    def test_wakes_runner(self) -> None:
        """After the commit the runner is woken (Q-3)."""
        self.add()
        self.assertEqual(self.woken, 1)

    def test_no_jobs(self) -> None:
        """Nothing to add is an error (Q-4)."""
        self.failure(self.jobs.add(spooled(), []), ValueError)

    def test_no_domain(self) -> None:
        """A recipient without domain cannot be queued, and nothing of its message is."""
        local = new_job(forward_path=Path("postmaster", None))
        self.failure(self.jobs.add(spooled(), [new_job(), local]), ValueError)
        self.assertEqual(self.rows("job"), [])

    def test_from_id_in_queue(self) -> None:
        """A from-id that waits in the queue is in use (Q-4)."""
        self.add(new_job(from_id="abc"), new_job(from_id=""))
        self.failure(self.jobs.add(spooled(), [new_job(from_id="abc")]), FromIdInUse)
        self.add(new_job(from_id="ABC"), new_job(from_id=""))
        self.assertEqual(len(self.rows("job")), 4)

    def test_from_id_twice(self) -> None:
        """Two jobs that are added together may not share a from-id (Q-4)."""
        both = [new_job("b@example.org", from_id="abc"), new_job("c@example.net", from_id="abc")]
        self.failure(self.jobs.add(spooled(), both), FromIdInUse)
        self.assertEqual((self.rows("job"), self.rows("content")), ([], []))

    def test_from_id_in_history(self) -> None:
        """A from-id stays in use while the history has it (Q-4, S-98)."""
        self.add(new_job(from_id="abc"))
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.settle(lease, Settlement(job, KEPT, result()))
        self.failure(self.jobs.add(spooled(), [new_job(from_id="abc")]), FromIdInUse)

    def test_shared_base(self) -> None:
        """Jobs with the same sender and prefix share the number of the first (Q-15)."""
        one, two, three, four = self.add(
            new_job("b@example.org"),
            new_job("c@example.org", prefix=b"X: other\r\n"),
            new_job("d@example.net"),
            new_job("e@example.net", reverse_path=None),
        )
        bases = {row["id"]: row["base_id"] for row in self.rows("job")}
        self.assertEqual(bases, {one: one, two: 0, three: one, four: 0})

    def test_base_of_one(self) -> None:
        """A job that stands alone has no base (Q-15)."""
        self.add()
        self.add()
        self.assertEqual([row["base_id"] for row in self.rows("job")], [0, 0])


class TakeTests(Contract):
    """Jobs out for an attempt."""

    def test_as_added(self) -> None:
        """What the caller set and what the queue sets is read back (Q-5, Q-6)."""
        new = new_job(
            "\u03b4\u03bf\u03ba@[192.0.2.1]",
            subject="gr\u00fc\u00dfe",
            smtputf8=True,
            require_tls=RequireTLS.NO,
            next_attempt=NOW - MINUTE,
            from_id="abc",
            extra={"Key": "v\u00e4lue\ud800"},
            future_release="for;60",
            wishes=WISHES,
        )
        (number,) = self.add(new, content=b"\r\nhello\xff\r\n")
        (lease,) = self.claim()
        (job,) = self.take(lease)
        for name in (
            "account", "reverse_path", "forward_path", "prefix", "message_id", "subject",
            "smtputf8", "require_tls", "from_id", "extra", "future_release", "wishes",
        ):  # fmt: skip
            self.assertEqual(getattr(job, name), getattr(new, name), name)
        self.assertEqual(
            (job.id, job.queued, job.size, job.has_8bit, job.max_attempts, job.hold),
            (number, NOW, len(new.prefix) + 10, True, 0, False),
        )
        self.assertEqual(self.octets(self.jobs.content(job)), b"\r\nhello\xff\r\n")

    def test_begun_before_anything(self) -> None:
        """
        Taking counts the attempt, says when it began and when the next one is,
        which is asked for with the attempt counted (Q-10).
        """
        self.add()
        (lease,) = self.claim()
        asked: list[int] = []

        def next_attempt(attempts: int) -> datetime:
            asked.append(attempts)
            return NOW + 7 * MINUTE

        batch = self.result(self.jobs.take(lease, NOW, next_attempt))
        if batch is None:
            self.fail("nothing is due")
        self.assertEqual(asked, [1])
        self.assertEqual(batch.started, NOW)
        self.assertEqual(
            (batch.leader.attempts, batch.leader.last_attempt, batch.leader.next_attempt),
            (1, NOW, NOW + 7 * MINUTE),
        )
        (row,) = self.rows("job")
        self.assertEqual((row["attempts"], row["in_flight"]), (1, 1))

    def test_crash_in_the_middle(self) -> None:
        """A batch is marked whole or not at all (Q-10)."""
        self.add(new_job("b@example.org"), new_job("c@example.org"))
        (lease,) = self.claim()
        self.assertAllOrNothing(lambda: self.jobs.take(lease, self.time, self.in_ten_minutes))

    def test_order(self) -> None:
        """The job due first goes first, the older of two that are due together (Q-9)."""
        one, two, three = (
            *self.add(new_job(next_attempt=NOW - MINUTE)),
            *self.add(new_job(next_attempt=NOW - 2 * MINUTE)),
            *self.add(new_job(next_attempt=NOW - MINUTE)),
        )
        (lease,) = self.claim()
        taken = [job.id for _ in range(4) for job in self.take(lease)]
        self.assertEqual(taken, [two, one, three])

    def test_not_due_and_held(self) -> None:
        """Neither a job on hold nor one before its time is taken (Q-9)."""
        held, *_ = self.add(new_job(), new_job(next_attempt=NOW + MINUTE))
        self.hold(held)
        self.add(new_job("c@example.org"))
        (lease,) = self.claim()
        self.assertEqual([job.id for job in self.take(lease)], [3])
        self.assertEqual(self.take(lease), ())

    def test_co_recipients(self) -> None:
        """
        Jobs of one base and domain with equal demands and history, due no later
        than the leader, go along (Q-16); each is marked as begun.
        """
        one, two, three, *_ = self.add(
            new_job("a@example.org"),
            new_job("b@example.org"),
            new_job("c@example.org"),
            new_job("d@example.net"),
            new_job("e@example.org", require_tls=RequireTLS.YES),
            new_job("f@example.org", smtputf8=True),
            new_job("g@example.org", next_attempt=NOW + timedelta(microseconds=1)),
            new_job("h@example.org"),
            new_job("i@example.org", prefix=b"X: other\r\n"),
        )
        self.hold(8)
        self.add(new_job("j@example.org"))
        (lease,) = [lease for lease in self.claim() if lease.name == "example.org"]
        jobs = self.take(lease)
        self.assertEqual([job.id for job in jobs], [one, two, three])
        self.assertEqual({job.attempts for job in jobs}, {1})
        self.assertEqual({job.next_attempt for job in jobs}, {NOW + 10 * MINUTE})

    def test_co_recipients_of_equal_history(self) -> None:
        """One that was tried more often than the leader does not go along (Q-16)."""
        one, two = self.add(new_job("a@example.org"), new_job("b@example.org"))
        (lease,) = self.claim()
        first, second = self.take(lease)
        self.assertEqual((first.id, second.id), (one, two))
        self.change(two, attempts=0)
        for job in (first, second):
            self.settle(lease, Settlement(job, Retry(NOW), result()))
        self.assertEqual([job.id for job in self.take(lease)], [one])
        self.assertEqual([job.id for job in self.take(lease)], [two])

    def test_co_recipients_stay_together(self) -> None:
        """Put off together, co-recipients are tried together again, whatever the jitter (Q-16)."""
        numbers = self.add(*(new_job(f"{name}@example.org") for name in "abc"))
        (lease,) = self.claim()
        jitter = iter((4, -5, 3, -4))

        def jittered(attempts: int) -> datetime:
            return next_attempt(
                self.time, attempts, QueueSettings(), lambda _low, _high: next(jitter)
            )

        for attempt in (1, 2):
            batch = self.result(self.jobs.take(lease, self.time, jittered))
            assert batch is not None
            self.assertEqual([job.id for job in batch.jobs], numbers)
            self.assertEqual({job.attempts for job in batch.jobs}, {attempt})
            self.settle(
                lease, *(Settlement(job, Retry(job.next_attempt), result()) for job in batch.jobs)
            )
            self.time = batch.leader.next_attempt

    def test_co_recipients_of_equal_transport(self) -> None:
        """One that was given another transport does not go along (Q-16)."""
        one, two = self.add(new_job("a@example.org"), new_job("b@example.org"))
        self.change(two, transport="relay")
        (lease,) = self.claim()
        self.assertEqual([job.id for job in self.take(lease)], [one])

    def test_under_way(self) -> None:
        """What is under way is not taken a second time, even if its next time has come."""
        self.add()
        (lease,) = self.claim()
        self.take(lease)
        self.time += timedelta(hours=1)
        self.assertEqual(self.take(lease), ())

    def change(self, number: int, **values: Any) -> None:
        """Change a row behind the store's back."""
        statement = update(job_table).where(job_table.c.id == number).values(values)
        self.result(self.database.transact(lambda tx: tx.execute(statement)))


class SettleTests(Contract):
    """What attempts meant."""

    def setUp(self) -> None:
        """One job under way."""
        super().setUp()
        self.add(new_job(from_id="abc", extra={"k": "v"}))
        (self.lease,) = self.claim()
        (self.job,) = self.take(self.lease)

    def test_retry(self) -> None:
        """A job that stays has its next time and one more result (Q-7)."""
        results = []
        job = self.job
        for minutes in (5, 10):
            results.append(result(start=NOW + minutes * MINUTE, error=f"busy\0{minutes}"))
            dialed = {"mx.example": (ip_address(f"192.0.2.{minutes}"), ip_address("192.0.2.1"))}
            self.time += minutes * MINUTE
            self.settle(self.lease, Settlement(job, Retry(self.time), results[-1], dialed))
            (job,) = self.take(self.lease)
        self.assertEqual(job.results, tuple(results))
        self.assertEqual(
            job.dialed,
            {
                "mx.example": tuple(
                    map(ip_address, ("192.0.2.5", "192.0.2.1", "192.0.2.10", "192.0.2.1"))
                )
            },
        )
        self.assertEqual(job.attempts, 3)

    def test_families_in_turn(self) -> None:
        """
        Q-6, Q-49: where a job went is kept in order, each time of it, so that the
        families of a host take turns however often it is tried; of many the last ones.
        """
        addresses = [ip_address("192.0.2.1"), ip_address("2001:db8::1")]
        job, went = self.job, []
        for minutes in range(1, 21):
            first, *_ = in_order(addresses, job.dialed.get("mx.example", ()))
            went.append(first)
            self.time += MINUTE
            failed = result(start=NOW + minutes * MINUTE, error="busy")
            dialed = {"mx.example": (first,)}
            self.settle(self.lease, Settlement(job, Retry(self.time), failed, dialed))
            (job,) = self.take(self.lease)
        self.assertEqual(went, addresses * 10)
        self.assertEqual(len(job.dialed["mx.example"]), 16)

    def test_nothing_kept(self) -> None:
        """Without retention nothing is left of a job (Q-77)."""
        self.settle(self.lease, Settlement(self.job, DELIVERED, result(success=True)))
        for table in ("job", "retired_job", "content", "content_chunk"):
            self.assertEqual(self.rows(table), [], table)

    def test_history(self) -> None:
        """A job that is kept has its metadata and results, never its body (Q-7, Q-77)."""
        self.settle(self.lease, Settlement(self.job, KEPT, result()))
        (row,) = self.rows("retired_job")
        self.assertEqual(
            {name: row[name] for name in ("id", "rcpt_to", "event", "success", "from_id")},
            {
                "id": self.job.id,
                "rcpt_to": "b@example.org",
                "event": "failed",
                "success": 0,
                "from_id": "abc",
            },
        )
        self.assertEqual((self.rows("content"), self.rows("content_chunk")), ([], []))
        self.assertNotIn("prefix", row)

    def test_success(self) -> None:
        """Only a delivered message counts as success in the history (Q-77)."""
        events = list(OutgoingEvent)
        self.add(*[new_job(f"{event}@example.net") for event in events])
        (lease,) = self.claim()
        jobs = self.take(lease)
        self.settle(
            lease,
            *[
                Settlement(job, Retired(event, NOW), result(success=True))
                for job, event in zip(jobs, events, strict=True)
            ],
        )
        self.assertEqual(
            [row["event"] for row in self.rows("retired_job") if row["success"]], ["delivered"]
        )

    def test_content_stays_for_others(self) -> None:
        """Content stays while another recipient's job refers to it (Q-2)."""
        self.add(new_job("b@example.net"), new_job("c@example.net"))
        (lease,) = self.claim()
        one, two = self.take(lease)
        self.settle(lease, Settlement(one, DELIVERED, result()))
        self.assertEqual(self.octets(self.jobs.content(two)), b"\r\nhello\r\n")
        self.settle(lease, Settlement(two, DELIVERED, result()))
        self.assertEqual(len(self.rows("content")), 1)

    def test_together(self) -> None:
        """
        Results of several destinations that come at the same time are all recorded, but
        for those of a lease that was lost; content of which two go is gone (Q-2).
        """
        self.add(*(new_job(f"b@{name}.test") for name in ("one", "two", "three")))
        leases = self.claim()
        jobs = {lease: self.take(lease)[0] for lease in leases}
        stale = replace(leases[0], fence=leases[0].fence - 1)
        settling = [
            self.jobs.settle(lease, [Settlement(jobs[lease], DELIVERED, result())])
            for lease in leases[1:]
        ]
        lost = self.jobs.settle(stale, [Settlement(jobs[leases[0]], DELIVERED, result())])
        put_off = Settlement(self.job, Retry(self.time + MINUTE), result())
        settling.append(self.jobs.settle(self.lease, [put_off]))
        waiting = [Deferred.fromCoroutine(each) for each in settling]
        self.failure(Deferred.fromCoroutine(lost), LeaseLost)
        for each in waiting:
            self.result(each)
        left = {row["id"]: row["in_flight"] for row in self.rows("job")}
        self.assertEqual(left, {self.job.id: 0, jobs[leases[0]].id: 1})
        self.assertEqual(sorted(row["refs"] for row in self.rows("content")), [1, 1])
        self.settle(leases[0], Settlement(jobs[leases[0]], DELIVERED, result()))
        self.assertEqual(len(self.rows("content")), 1)

    def test_report(self) -> None:
        """A report to a sender elsewhere is queued with the settlement, and sent soon (Q-35)."""
        report = new_job("b@else.example", account="", reverse_path=None), b"\r\nfailed\r\n"
        woken = self.woken
        self.settle(self.lease, Settlement(self.job, KEPT, result(), report=report))
        self.assertEqual(self.woken, woken + 1)
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.assertEqual(("b@else.example", None), (str(job.forward_path), job.reverse_path))
        self.assertEqual(self.octets(self.jobs.content(job)), report[1])

    def test_bounce(self) -> None:
        """A DSN is a message in the sender's mailbox, content and all."""
        bounce = new_message("ann", reverse_path=None, is_dsn=True), b"\r\nfailed\r\n"
        self.settle(self.lease, Settlement(self.job, KEPT, result(), bounce=bounce))
        (message,) = self.result(self.mail.list_messages("ann"))
        found = self.result(self.mail.open("ann", message.id))
        if found is None:
            self.fail("it is gone")
        self.assertEqual(self.octets(found[1]), bounce[0].prefix + bounce[1])
        self.assertEqual((message.is_dsn, message.reverse_path), (True, None))
        self.assertEqual(self.stored, [frozenset({"ann"})])

    def test_hook(self) -> None:
        """The webhook that tells of it is due at once."""
        hook = new_hook("bob", queue_id=self.job.id)
        self.settle(self.lease, Settlement(self.job, KEPT, result(), hook=hook))
        self.assertEqual([lease.name for lease in self.claim(self.hooks)], [hook.target.url])
        self.assertEqual(self.stored, [frozenset({"bob"})])

    def test_crash_in_the_middle(self) -> None:
        """Rows, history, DSN and webhook stand together or not at all (Q-3)."""
        self.keep_hooks = timedelta(days=1)
        again = Settlement(self.job, Retry(self.time), result(), hook=self.hook())
        self.assertAllOrNothing(lambda: self.jobs.settle(self.lease, [again]))
        (job,) = self.take(self.lease)
        bounce = new_message("ann"), b"\r\nfailed\r\n"
        settlement = Settlement(job, KEPT, result(), bounce=bounce, hook=self.hook())
        self.stored.clear()
        self.assertAllOrNothing(lambda: self.jobs.settle(self.lease, [settlement]))
        self.assertEqual(self.stored, [frozenset({"ann"})])

    def test_settled_twice(self) -> None:
        """Settling again, because the first answer was lost, does nothing twice."""
        bounce = new_message("ann"), b"\r\nfailed\r\n"
        for fate in (Retry(self.time), KEPT):
            settlement = Settlement(self.job, fate, result(), bounce=bounce, hook=self.hook())
            self.settle(self.lease, settlement)
            before = self.everything()
            self.settle(self.lease, settlement)
            self.assertEqual(self.everything(), before)
            self.take(self.lease)

    def test_dropped_meanwhile(self) -> None:
        """For a job that an administrator dropped while it was under way, nothing is done."""
        self.result(
            self.admin.end(
                [self.job.id],
                lambda job, _: Settlement(job, Retired(OutgoingEvent.CANCELED, None), result()),
            )
        )
        bounce = new_message("ann"), b"\r\nfailed\r\n"
        self.settle(
            self.lease, Settlement(self.job, KEPT, result(), bounce=bounce, hook=self.hook())
        )
        for table in ("job", "retired_job", "message", "hook", "content"):
            self.assertEqual(self.rows(table), [], table)

    def test_superseded_hook(self) -> None:
        """
        A webhook takes the place of one that waits for the same message, which
        retires and names it (Q-76).
        """
        self.keep_hooks = timedelta(days=1)
        for fate in (Retry(self.time), KEPT):
            self.settle(self.lease, Settlement(self.job, fate, result(), hook=self.hook()))
            self.take(self.lease)
        ((waiting),) = self.rows("hook")
        ((old),) = self.rows("retired_hook")
        self.assertEqual((old["superseded_by"], old["success"]), (waiting["id"], 0))
        self.assertEqual(old["keep_until"] - old["last_activity"], 86_400_000_000)

    def hook(self) -> Any:
        """An outgoing webhook of the job."""
        return new_hook(queue_id=self.job.id)
