"""Tests for L{moxsmtp.store.leases}, on the queue of mail."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import timedelta

from zope.interface.verify import verifyObject

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.job import Lease, LeaseLost, Retired, Retry, Settlement
from moxsmtp.queue.storage import ILeases
from moxsmtp.store.clock import database_clock
from moxsmtp.store.columns import read_time, write_time
from tests.store.contract import NOW, Contract, new_job, result

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def names(leases: Sequence[Lease]) -> Sequence[str]:
    """What is leased, in order."""
    return [lease.name for lease in leases]


class LeasesTests(Contract):
    """Who owns a destination."""

    def test_interface(self) -> None:
        """The store is what runners ask for."""
        verifyObject(ILeases, self.jobs)

    def test_due_first(self) -> None:
        """Destinations are owned in the order their first jobs are due, only if due (Q-9)."""
        self.add(new_job("a@late.example", next_attempt=NOW - SECOND))
        self.add(new_job("a@early.example", next_attempt=NOW - MINUTE))
        self.add(new_job("a@now.example"))
        self.add(new_job("a@future.example", next_attempt=NOW + SECOND))
        self.assertEqual(names(self.claim(count=2)), ["early.example", "late.example"])
        self.assertEqual(names(self.claim(count=2)), ["now.example"])
        self.time += SECOND
        self.assertEqual(names(self.claim(count=2)), ["future.example"])

    def test_one_owner(self) -> None:
        """While one process owns a destination, nobody else gets it (Q-9)."""
        self.add()
        (lease,) = self.claim()
        other = self.job_store("other")
        self.assertEqual(self.claim(other), [])
        self.release(lease)
        self.assertEqual(names(self.claim(other)), ["example.org"])

    def test_one_row_however_many_jobs(self) -> None:
        """A destination in any spelling is one, however many jobs wait."""
        self.add(new_job("a@EXAMPLE.org"), new_job("b@example.org"))
        self.add(new_job("c@b\u00fccher.example"), new_job("c@xn--bcher-kva.example"))
        self.assertEqual(
            [row["name"] for row in self.rows("destination")],
            ["example.org", "xn--bcher-kva.example"],
        )

    def test_end_of_lease(self) -> None:
        """When a lease has run out, the next owner has a higher fence and the old one is out."""
        self.add()
        (old,) = self.claim(seconds=30)
        other = self.job_store("other")
        self.time += timedelta(seconds=30)
        self.assertEqual(self.claim(other), [])
        self.time += SECOND
        (new,) = self.claim(other)
        self.assertGreater(new.fence, old.fence)
        self.failure(self.jobs.take(old, self.time, self.in_ten_minutes), LeaseLost)
        self.assertEqual(len(self.take(new, other)), 1)

    def test_same_owner_again(self) -> None:
        """A lease that a process lost and won again is another one."""
        self.add()
        (old,) = self.claim(seconds=30)
        self.time += MINUTE
        (new,) = self.claim()
        self.failure(self.jobs.take(old, self.time, self.in_ten_minutes), LeaseLost)
        self.assertEqual(len(self.take(new)), 1)

    def test_fence_outlives_row(self) -> None:
        """A destination that was forgotten and comes back never repeats a fence."""
        self.add()
        (old,) = self.claim()
        (job,) = self.take(old)
        self.settle(old, Settlement(job, Retired(OutgoingEvent.DELIVERED, None), result()))
        self.release(old)
        self.assertEqual(self.rows("destination"), [])
        self.time += SECOND
        self.add()
        (new,) = self.claim()
        self.assertGreater(new.fence, old.fence)

    def test_lost_lease_changes_nothing(self) -> None:
        """Whatever is written under a lease that was lost is not written."""
        self.add()
        (old,) = self.claim(seconds=30)
        (job,) = self.take(old)
        self.time += MINUTE
        other = self.job_store("other")
        self.claim(other)
        before = self.everything()
        settlement = Settlement(job, Retired(OutgoingEvent.DELIVERED, None), result())
        self.failure(self.jobs.settle(old, [settlement]), LeaseLost)
        self.failure(self.jobs.take(old, self.time, self.in_ten_minutes), LeaseLost)
        self.release(old)
        self.assertEqual(self.result(self.jobs.renew([old], self.time + MINUTE)), [])
        self.assertEqual(self.everything(), before)

    def test_renew(self) -> None:
        """Renewed leases last longer; those that are lost are told apart."""
        self.add(new_job("a@one.example"))
        self.add(new_job("a@two.example"))
        one, two = self.claim(seconds=30)
        self.time += timedelta(seconds=20)
        self.assertEqual(
            self.result(self.jobs.renew([two, one], self.time + timedelta(seconds=30))), [one, two]
        )
        self.time += timedelta(seconds=29)
        other = self.job_store("other")
        self.assertEqual(self.claim(other), [])
        self.time += 2 * SECOND
        (lost,) = self.claim(other, count=1)
        kept = [lease for lease in (one, two) if lease.name != lost.name]
        self.assertEqual(self.result(self.jobs.renew([one, two], self.time + MINUTE)), kept)

    def test_troubled(self) -> None:
        """Destinations in trouble are told apart, and left alone if asked."""
        self.add(new_job("a@bad.example"), new_job("a@good.example"))
        for lease in self.claim():
            self.result(self.jobs.release(lease, troubled=lease.name == "bad.example"))
        self.assertEqual(names(self.claim(troubled=False)), ["good.example"])
        (bad,) = self.claim(troubled=True)
        self.assertEqual((bad.name, bad.troubled), ("bad.example", True))

    def test_next_due(self) -> None:
        """The runner may sleep until the first destination is due, or a lease ends."""
        self.assertIsNone(self.result(self.jobs.next_due()))
        self.add(new_job("a@late.example", next_attempt=NOW + 3 * MINUTE))
        self.add(new_job("a@early.example", next_attempt=NOW + MINUTE))
        self.assertEqual(self.result(self.jobs.next_due()), NOW + MINUTE)
        self.time += MINUTE
        self.claim(seconds=300)
        self.assertEqual(self.result(self.jobs.next_due()), NOW + 3 * MINUTE)
        self.time += 2 * MINUTE
        self.claim(seconds=600)
        self.assertEqual(self.result(self.jobs.next_due()), NOW + 6 * MINUTE)

    def test_next_due_follows_lower(self) -> None:
        """Only a job that is due before all others changes when its destination is due."""
        for minutes in (5, 2, 9):
            self.add(new_job(next_attempt=NOW + minutes * MINUTE))
        self.assertEqual(self.result(self.jobs.next_due()), NOW + 2 * MINUTE)

    def test_release_finds_first_job(self) -> None:
        """After a lease the destination is due when its first unheld job is."""
        self.add(
            new_job(next_attempt=NOW),
            new_job(next_attempt=NOW + 5 * MINUTE),
            new_job(next_attempt=NOW + 7 * MINUTE),
        )
        self.hold(2)
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.settle(lease, Settlement(job, Retry(NOW + 9 * MINUTE), result()))
        self.release(lease)
        self.assertEqual(self.result(self.jobs.next_due()), NOW + 7 * MINUTE)

    def test_only_held_jobs(self) -> None:
        """A destination where all is on hold is not due, and its jobs stay."""
        self.add(new_job())
        self.hold(1)
        (lease,) = self.claim()
        self.assertEqual(self.take(lease), ())
        self.release(lease)
        self.assertEqual(self.rows("destination"), [])
        self.assertEqual(len(self.rows("job")), 1)

    def test_job_added_under_lease(self) -> None:
        """A job that comes while its destination is owned is not lost when that is given back."""
        self.add()
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.add(new_job("c@example.org", next_attempt=NOW + SECOND))
        self.settle(lease, Settlement(job, Retired(OutgoingEvent.DELIVERED, None), result()))
        self.release(lease)
        self.assertEqual(self.result(self.jobs.next_due()), NOW + SECOND)

    def test_crash_repeats_once(self) -> None:
        """
        An attempt that the death of its owner cut short is due again at once
        and not counted; if it happens again, it keeps its time (Q-10).
        """
        self.add()
        (lease,) = self.claim()
        (first,) = self.take(lease)
        self.assertEqual(first.attempts, 1)
        self.time += MINUTE
        (lease,) = self.claim()
        (again,) = self.take(lease)
        self.assertEqual(again.attempts, 1)
        due = again.next_attempt
        self.time += MINUTE
        (lease,) = self.claim()
        self.assertEqual(self.take(lease), ())
        self.release(lease)
        self.assertEqual(self.result(self.jobs.next_due()), due)
        self.time = due
        (lease,) = self.claim()
        (third,) = self.take(lease)
        self.assertEqual(third.attempts, 2)

    def test_crash_of_repetition(self) -> None:
        """What was cut short a second time is taken by the first who owns it at its time (Q-10)."""
        self.add()
        (lease,) = self.claim()
        self.take(lease)
        self.time += MINUTE
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.time = job.next_attempt
        (lease,) = self.claim()
        (third,) = self.take(lease)
        self.assertEqual(third.attempts, 2)

    def test_crash_after_good_attempt(self) -> None:
        """An attempt that ended earns the next one its repetition again (Q-10)."""
        self.add()
        for attempts in (1, 2):
            (lease,) = self.claim()
            self.take(lease)
            self.time += MINUTE
            (lease,) = self.claim()
            (again,) = self.take(lease)
            self.assertEqual(again.attempts, attempts)
            self.settle(lease, Settlement(again, Retry(self.time), result()))
            self.release(lease)

    def test_void(self) -> None:
        """
        At start, where all former owners are dead, leases end and attempts
        under way are due again at once, once and not counted (Q-10); the other
        jobs keep their time.
        """
        self.add(new_job("a@one.example", next_attempt=NOW + MINUTE))
        self.add(new_job("a@two.example"), new_job("b@two.example", next_attempt=NOW + MINUTE))
        self.claim(seconds=3600)
        (one,) = self.rows("job")[:1]
        lease = Lease("mail", "two.example", 0, self._fence("two.example"))
        self.assertEqual(len(self.take(lease)), 1)
        self.time += SECOND
        self.assertEqual(self.claim(), [])
        self.assertEqual(self.result(self.jobs.void()), 1)
        (lease,) = self.claim(seconds=3600)
        self.assertEqual([job.attempts for job in self.take(lease)], [1])
        self.assertEqual(self.rows("job")[0], one)
        self.assertEqual(self.result(self.jobs.void()), 1)
        (lease,) = self.claim()
        self.assertEqual(self.take(lease), ())

    def test_over(self) -> None:
        """What was given back, or ended at a start, is no lease any more: nothing is done by it."""
        self.add(new_job(), new_job("b@example.org", next_attempt=NOW + MINUTE))
        for is_void in (False, True):
            (lease,) = self.claim(seconds=3600)
            over: Awaitable[object] = (
                self.jobs.void() if is_void else self.jobs.release(lease, troubled=False)
            )
            self.result(over)
            self.assertEqual(self.result(self.jobs.renew([lease], NOW + 2 * MINUTE)), [])
            self.failure(
                self.jobs.take_several(lease, self.time, self.in_ten_minutes, count=1, slots=1),
                LeaseLost,
            )
            (row,) = self.rows("destination")
            self.assertEqual((row["owner"], row["lease_until"]), (None, 0))

    def test_void_is_of_a_kind(self) -> None:
        """Webhooks' leases are not mail's to end."""
        self.add()
        (lease,) = self.claim()
        self.result(self.hooks.void())
        self.assertEqual(len(self.take(lease)), 1)

    def test_release_after_failed_settle(self) -> None:
        """What was begun and could not be settled keeps its time when the lease is given back."""
        self.add()
        (lease,) = self.claim()
        (job,) = self.take(lease)
        self.release(lease)
        self.assertEqual(self.result(self.jobs.next_due()), job.next_attempt)
        self.time = job.next_attempt
        (lease,) = self.claim()
        (again,) = self.take(lease)
        self.assertEqual(again.attempts, 2)

    def test_crash_in_the_middle(self) -> None:
        """Claiming, giving back and voiding each happen whole or not at all."""
        self.add()
        self.assertAllOrNothing(self._claimed)
        lease = Lease("mail", "example.org", 0, self._fence("example.org"))
        self.take(lease)
        self.assertAllOrNothing(lambda: self.jobs.release(lease, troubled=True))
        self.time += timedelta(hours=1)
        (lease,) = self.claim()
        self.take(lease)
        self.assertAllOrNothing(self.jobs.void)

    def test_clock(self) -> None:
        """On SQLite the time is the given one; a database for many has its own."""
        moment = self.result(self.database.read(lambda tx: database_clock(tx, NOW)))
        dialect = self.result(self.database.read(lambda tx: tx.dialect))
        if dialect == "sqlite":
            self.assertEqual(read_time(moment), NOW)
        else:
            self.assertNotEqual(moment, write_time(NOW))

    async def _claimed(self) -> None:
        await self.jobs.claim(1, self.time, self.time + MINUTE, troubled=True)

    def _fence(self, name: str) -> int:
        (fence,) = [row["fence"] for row in self.rows("destination") if row["name"] == name]
        return int(fence)
