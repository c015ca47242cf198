"""Tests for L{moxsmtp.store.queueing}: what an account may have waiting, and second forms."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from moxsmtp.interfaces import Allowance, OutgoingEvent
from moxsmtp.queue.job import Job, QueueFull, Retired, Retry, Settlement
from moxsmtp.store.schema import CHUNK
from moxsmtp.store.sweep import Swept, sweep
from tests.store.contract import NOW, Contract, new_job, result, spooled

#: Three jobs may wait; as much may be sent as one likes.
THREE = Allowance("ann", 0, 0, queued=3)


class QuotaTests(Contract):
    """The queue's quota (Q-95)."""

    def add_some(self, count: int, allowance: Allowance = THREE) -> None:
        """Queue one message for so many."""
        jobs = [new_job(f"user{number}@example.org") for number in range(count)]
        self.result(self.jobs.add(spooled(), jobs, allowance))

    def test_reached(self) -> None:
        """As many may wait as were allowed, all recipients of a message or none (Q-95)."""
        self.add_some(2)
        before = self.everything()
        jobs = [new_job("c@example.org"), new_job("d@example.org")]
        full = self.failure(self.jobs.add(spooled(), jobs, THREE), QueueFull)
        self.assertEqual(vars(full.value), {"limit": 3})
        self.assertEqual(self.everything(), before)
        self.add_some(1)
        self.failure(self.jobs.add(spooled(), [new_job()], THREE), QueueFull)

    def test_left(self) -> None:
        """What has left makes room (Q-95)."""
        self.add_some(3)
        (lease,) = self.claim()
        self.take(lease)
        self.hold(1)
        self.failure(self.jobs.add(spooled(), [new_job()], THREE), QueueFull)
        gone = Retired(OutgoingEvent.CANCELED, None)
        self.result(self.admin.end([2], lambda job, _: Settlement(job, gone, result())))
        self.add_some(1)

    def test_own(self) -> None:
        """Others' mail does not count, and none is bounded without a quota (Q-95)."""
        self.add(*[new_job(account="bob")] * 5)
        self.add_some(3)
        self.add_some(5, Allowance("bob", 0, 0))

    def test_asked_before(self) -> None:
        """That too much waits can be known without queueing anything (Q-95)."""
        self.add_some(2)
        one = new_job().forward_path
        self.result(self.jobs.check(THREE, [one]))
        self.failure(self.jobs.check(THREE, [one, one]), QueueFull)


#: Longer than one row of content.
WIDE = b"To: j\xc3\xb6@x.example\r\n\r\n" + b"w\xc3\xb6rter " * (CHUNK // 8)


class AlternativeTests(Contract):
    """Messages that have a second form in UTF-8."""

    def left(self) -> Mapping[str, object]:
        """Rows that take space."""
        tables = ("job", "content", "content_chunk")
        return {table: len(self.rows(table)) for table in tables}

    def assertNothingLeft(self) -> None:
        """All space is given back."""
        self.assertEqual(self.left(), {"job": 0, "content": 0, "content_chunk": 0})

    def taken(self) -> Job:
        """The one that is due."""
        (self.lease,) = self.claim()
        (job,) = self.take(self.lease)
        return job

    def test_kept(self) -> None:
        """
        The second form is kept beside the first and read whole, and neither prefix nor
        size says anything of it (Q-6); a job without one has none.
        """
        self.add(new_job(alternative=WIDE), content=b"\r\nplain\r\n")
        job = self.taken()
        self.assertEqual((job.size, job.alternative_size), (len(job.prefix) + 9, len(WIDE)))
        self.assertFalse(job.has_8bit)
        self.assertEqual(self.octets(self.jobs.content(job)), b"\r\nplain\r\n")
        alternative = self.jobs.alternative(job)
        assert alternative is not None
        self.assertEqual(alternative.size, len(WIDE))
        self.assertEqual(self.octets(alternative, 50_000), WIDE)
        self.settle(self.lease, Settlement(job, Retired(OutgoingEvent.DELIVERED, None), result()))
        self.release(self.lease)
        self.add(new_job())
        plain = self.taken()
        self.assertEqual((plain.alternative, plain.alternative_size), (None, 0))
        self.assertIsNone(self.jobs.alternative(plain))

    def test_given_back(self) -> None:
        """However the job ends, nothing of its second form is left (Q-6)."""
        for fate in (
            Retired(OutgoingEvent.DELIVERED, None),
            Retired(OutgoingEvent.FAILED, NOW),
        ):
            self.add(new_job(alternative=WIDE))
            job = self.taken()
            self.settle(self.lease, Settlement(job, fate, result()))
            self.release(self.lease)
            self.assertNothingLeft()
        (number,) = self.add(new_job(alternative=WIDE))
        gone = Retired(OutgoingEvent.CANCELED, None)
        self.result(self.admin.end([number], lambda job, _: Settlement(job, gone, result())))
        self.assertNothingLeft()

    def test_stays(self) -> None:
        """A job that is tried again has it still."""
        self.add(new_job(alternative=WIDE))
        job = self.taken()
        self.settle(self.lease, Settlement(job, Retry(NOW), result()))
        (again,) = self.take(self.lease)
        alternative = self.jobs.alternative(again)
        assert alternative is not None
        self.assertEqual(self.octets(alternative, 50_000), WIDE)

    def test_of_a_report(self) -> None:
        """That of a report which gives rise to a job comes into the queue with it."""
        self.add()
        job = self.taken()
        report = new_job("ann@away.example", reverse_path=None, alternative=WIDE), b"\r\nplain"
        fate = Retired(OutgoingEvent.FAILED, None)
        self.settle(self.lease, Settlement(job, fate, result(), report=report))
        (row,) = self.rows("job")
        self.assertEqual(row["alternative_size"], len(WIDE))
        self.assertEqual([each["refs"] for each in self.rows("content")], [1, 1])

    def test_shared(self) -> None:
        """
        Jobs with the same second form share it, and go together; one with another form
        does not go with them (Q-15).
        """
        numbers = self.add(
            new_job("a@example.org", alternative=WIDE),
            new_job("b@example.org", alternative=WIDE),
            new_job("c@example.org", alternative=b"other"),
            new_job("d@example.org"),
        )
        self.assertEqual([row["refs"] for row in self.rows("content")], [4, 2, 1])
        (self.lease,) = self.claim()
        self.assertEqual([job.id for job in self.take(self.lease)], numbers[:2])
        self.assertEqual([job.id for job in self.take(self.lease)], numbers[2:3])
        self.assertEqual([job.id for job in self.take(self.lease)], numbers[3:])

    def test_crash_in_the_middle(self) -> None:
        """Both forms are stored with their job or none of them is (Q-3), and end so, too."""
        self.assertAllOrNothing(lambda: self.jobs.add(spooled(), [new_job(alternative=WIDE)]))
        job = self.taken()
        end = Settlement(job, Retired(OutgoingEvent.DELIVERED, None), result())
        self.assertAllOrNothing(lambda: self.jobs.settle(self.lease, [end]))
        self.assertNothingLeft()

    def test_swept(self) -> None:
        """What cleans up after a crash takes the second form for content that is in use."""
        self.add(new_job(alternative=WIDE))
        before = self.everything()
        swept = Deferred.fromCoroutine(sweep(self.database, NOW, NOW - NOW))
        self.assertEqual(self.result(swept), Swept())
        self.assertEqual(self.everything(), before)
