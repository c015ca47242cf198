"""Tests for L{moxsmtp.store.taking}: several batches at once, several workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from moxsmtp.interfaces import OutgoingEvent, RequireTLS
from moxsmtp.queue.change import Change
from moxsmtp.queue.job import Batch, Job, Lease, LeaseLost, Retired, Retry, Settlement
from moxsmtp.store.columns import write_time
from moxsmtp.store.jobs import JobStore
from tests.store.contract import NOW, Contract, new_job, result, spooled

SECOND = timedelta(seconds=1)


def _dropped(job: Job, _: bytes) -> Settlement:
    """Nothing is left of it."""
    return Settlement(job, Retired(OutgoingEvent.CANCELED, None), result())


class TakingContract(Contract):
    """Jobs for one destination, each of a message of its own."""

    def fill(self, count: int) -> list[int]:
        """So many, the longest due first."""
        return [
            self.add(
                new_job(f"r{number}@example.org", next_attempt=NOW - SECOND * (count - number))
            )[0]
            for number in range(count)
        ]

    def several(
        self, lease: Lease, count: int, *, slots: int = 1, store: JobStore | None = None
    ) -> Sequence[Batch]:
        """What is taken at once."""
        return self.result(
            (store or self.jobs).take_several(
                lease, self.time, self.in_ten_minutes, count=count, slots=slots
            )
        )

    def slots(self) -> dict[int, str | None]:
        """Who owns which slot of the destination."""
        return {row["slot"]: row["owner"] for row in self.rows("destination")}

    def delivered(self, lease: Lease, batch: Batch, store: JobStore | None = None) -> None:
        """All of a batch."""
        fate = Retired(OutgoingEvent.DELIVERED, None)
        settlements = [Settlement(each, fate, result()) for each in batch.jobs]
        self.result((store or self.jobs).settle(lease, settlements))


class SeveralTests(TakingContract):
    """Several batches in one transaction."""

    def test_in_order(self) -> None:
        """As many as are asked for, the longest due first, each marked as begun (Q-9, Q-10)."""
        numbers = self.fill(4)
        (lease,) = self.claim()
        batches = self.several(lease, 3)
        self.assertEqual([batch.leader.id for batch in batches], numbers[:3])
        self.assertEqual(
            [(row["in_flight"], row["attempts"]) for row in self.rows("job")],
            [(1, 1), (1, 1), (1, 1), (0, 0)],
        )

    def test_co_recipients(self) -> None:
        """Q-16: who shares a message shares its batch, and is in no other one."""
        numbers = self.add(*(new_job(f"{name}@example.org") for name in "abc"))
        other = self.add(new_job("d@example.org"))
        (lease,) = self.claim()
        batches = self.several(lease, 4)
        self.assertEqual(
            [[each.id for each in batch.jobs] for batch in batches], [list(numbers), list(other)]
        )

    def test_small_content(self) -> None:
        """Small content comes with the batch; of what is larger, none."""
        for size in (100, 40_000):
            octets = b"x" * size
            self.result(self.jobs.add(spooled(octets), [new_job(f"{size}@example.org")]))
        (lease,) = self.claim()
        bodies = [batch.body for batch in self.several(lease, 2)]
        self.assertEqual(bodies, [b"x" * 100, None])

    def test_put_back(self) -> None:
        """What was taken and not tried is due again, and its attempt does not count."""
        numbers = self.fill(3)
        (lease,) = self.claim()
        first, *rest = self.several(lease, 3)
        self.result(self.jobs.put_back(lease, rest, self.time))
        self.delivered(lease, first)
        self.assertEqual(
            [(row["id"], row["in_flight"], row["attempts"]) for row in self.rows("job")],
            [(number, 0, 0) for number in numbers[1:]],
        )
        self.assertEqual([batch.leader.id for batch in self.several(lease, 3)], numbers[1:])

    def test_put_back_time(self) -> None:
        """
        The time of the last attempt is that of one that was made (Q-10): none for what
        never was tried, and that of the first where the second was not.
        """
        tried, untried = self.fill(2)
        (lease,) = self.claim()
        (batch,) = self.several(lease, 1)
        before = write_time(self.time)
        retry = Settlement(batch.leader, Retry(self.time - 9 * SECOND), result())
        self.result(self.jobs.settle(lease, [retry]))
        self.time += 3600 * SECOND
        batches = self.several(lease, 2)
        self.assertEqual(
            [(each.leader.id, each.leader.last_attempt) for each in batches],
            [(tried, self.time), (untried, self.time)],
        )
        self.result(self.jobs.put_back(lease, batches, self.time))
        self.assertEqual(
            [(row["id"], row["attempts"], row["last_attempt"]) for row in self.rows("job")],
            [(tried, 1, before), (untried, 0, None)],
        )

    def test_put_back_changed(self) -> None:
        """
        What an administrator did meanwhile stays done (Q-23): a hold, a time, a transport;
        what he dropped is not there any more.
        """
        first, second, third, fourth = self.fill(4)
        (lease,) = self.claim()
        batches = self.several(lease, 4)
        later = self.time + 3600 * SECOND
        self.result(self.admin.change([first], Change(hold=True)))
        self.result(self.admin.change([second], Change(next_attempt=later)))
        self.result(self.admin.change([third], Change(transport="other")))
        self.result(self.admin.end([fourth], _dropped))
        self.result(self.jobs.put_back(lease, batches, self.time))
        self.assertEqual(
            [
                (row["id"], row["in_flight"], row["attempts"], row["hold"], row["transport"])
                for row in self.rows("job")
            ],
            [(first, 0, 0, 1, ""), (second, 0, 0, 0, ""), (third, 0, 0, 0, "other")],
        )
        self.assertEqual(
            [row["next_attempt"] for row in self.rows("job")],
            [write_time(each) for each in (self.time, later, self.time)],
        )
        self.assertEqual([each.leader.id for each in self.several(lease, 4)], [third])

    def test_changed(self) -> None:
        """
        Q-23: what an administrator has changed, held or ended since it was taken, and only
        that, is told to who asks; so is what was put back since.
        """
        numbers = self.fill(9)
        (lease,) = self.claim()
        batches = self.several(lease, 9)
        jobs = [each.leader for each in batches]
        self.assertEqual(self.result(self.jobs.changed(jobs)), frozenset())
        later = self.time + 3600 * SECOND
        changes = [
            Change(hold=True),
            Change(next_attempt=later),
            Change(delay=SECOND),
            Change(transport="other"),
            Change(require_tls=RequireTLS.YES),
        ]
        for number, change in zip(numbers, changes, strict=False):
            self.result(self.admin.change([number], change))
        self.result(self.admin.end([numbers[5]], _dropped))
        self.result(self.jobs.put_back(lease, batches[6:7], self.time))
        self.assertEqual(self.result(self.jobs.changed(jobs)), frozenset(numbers[:7]))
        self.assertEqual(self.result(self.jobs.changed(jobs[7:])), frozenset())
        self.assertEqual(self.result(self.jobs.changed([])), frozenset())

    def test_put_back_twice(self) -> None:
        """Only what is under way is put back: after an error it may be said again."""
        self.fill(1)
        (lease,) = self.claim()
        batches = self.several(lease, 1)
        for _ in range(2):
            self.result(self.jobs.put_back(lease, batches, self.time))
        self.assertEqual(self.rows("job")[0]["attempts"], 0)

    def test_put_back_after_loss(self) -> None:
        """Who has lost the destination puts nothing back."""
        self.fill(1)
        (lease,) = self.claim(seconds=1)
        batches = self.several(lease, 1)
        self.time += 2 * SECOND
        self.claim(self.job_store("other"))
        self.failure(self.jobs.put_back(lease, batches, self.time), LeaseLost)

    def test_clock_ahead(self) -> None:
        """
        A process whose clock is a day off the database's, either way, waits as
        long as it means to before it tries again: else eight attempts would be
        over in seconds (Q-10, Q-11).
        """
        self.check_clock(timedelta(days=1))

    def test_clock_behind(self) -> None:
        """The same, the other way round (Q-10, Q-11)."""
        self.check_clock(timedelta(days=-1))

    def check_clock(self, off: timedelta) -> None:
        """@param off: How far the process's clock is ahead."""
        self.add(new_job(next_attempt=NOW - timedelta(days=2)))
        store = self.job_store("far", clock=lambda _, now: write_time(now - off))
        (lease,) = self.claim(store)
        (batch,) = self.several(lease, 1, store=store)
        (row,) = self.rows("job")
        self.assertEqual(row["next_attempt"], write_time(self.time - off + 600 * SECOND))
        self.assertEqual(write_time(batch.leader.next_attempt), row["next_attempt"])
        self.result(store.put_back(lease, [batch], self.time + SECOND))
        (row,) = self.rows("job")
        self.assertEqual(row["next_attempt"], write_time(self.time - off + SECOND))
        self.result(store.release(lease, troubled=False, rests_until=self.time + 2 * SECOND))
        (row,) = self.rows("destination")
        self.assertEqual(row["next_due"], write_time(self.time - off + 2 * SECOND))

    def test_rest(self) -> None:
        """A destination that is to rest is not due before its time, unless something is added."""
        self.fill(1)
        (lease,) = self.claim()
        until = self.time + 10 * SECOND
        self.result(self.jobs.release(lease, troubled=False, rests_until=until))
        self.assertEqual(self.claim(), [])
        self.time = until
        self.assertEqual(len(self.claim()), 1)


class SlotTests(TakingContract):
    """Several workers on one destination (Q-93)."""

    def test_opened(self) -> None:
        """Q-93: if more is due than is taken, the next slot is opened, as far as there may be."""
        self.fill(4)
        (first,) = self.claim()
        self.woken = 0
        self.several(first, 1, slots=2)
        self.assertEqual(self.slots(), {0: "node", 1: None})
        self.assertEqual(self.woken, 1)
        (second,) = self.claim(self.job_store("other"))
        self.assertEqual((second.name, second.slot), ("example.org", 1))
        self.several(second, 1, slots=2, store=self.job_store("other"))
        self.assertEqual(self.slots(), {0: "node", 1: "other"})

    def test_not_for_little(self) -> None:
        """If all that is due was taken, nobody else is called."""
        self.fill(2)
        (first,) = self.claim()
        self.several(first, 2, slots=4)
        self.assertEqual(self.slots(), {0: "node"})

    def test_each_his_own(self) -> None:
        """Two workers never have the same job."""
        numbers = self.fill(4)
        (first,) = self.claim()
        taken = [each.leader.id for each in self.several(first, 2, slots=2)]
        (second,) = self.claim()
        taken += [each.leader.id for each in self.several(second, 2, slots=2)]
        self.assertEqual(taken, numbers)

    def test_given_back(self) -> None:
        """A further slot is gone when it is given back; what is still due is the first one's."""
        self.fill(3)
        (first,) = self.claim()
        self.several(first, 1, slots=2)
        (second,) = self.claim()
        (batch,) = self.several(second, 1, slots=2)
        self.delivered(second, batch)
        self.release(second)
        self.assertEqual(self.slots(), {0: "node"})
        self.release(first)
        (again,) = self.claim()
        self.assertEqual(again.slot, 0)

    def test_opened_again(self) -> None:
        """A further slot that was gone and comes back never repeats a fence (Q-10)."""
        self.fill(4)
        (first,) = self.claim()
        self.several(first, 1, slots=2)
        (second,) = self.claim()
        self.release(second)
        self.time += SECOND
        self.several(first, 1, slots=2)
        (again,) = self.claim()
        self.assertEqual(again.slot, 1)
        self.assertGreater(again.fence, second.fence)

    def test_repeated_and_left(self) -> None:
        """
        Q-10: what the death of a further slot's owner cut short is due at once, also
        where the next owner of that slot gives it back without having tried.
        """
        self.fill(2)
        (first,) = self.claim()
        (mine,) = self.several(first, 1, slots=2)
        (second,) = self.claim(self.job_store("other"))
        self.several(second, 1, slots=2, store=self.job_store("other"))
        self.delivered(first, mine)
        self.release(first)
        self.time += 60 * SECOND
        (heir,) = self.claim()
        self.assertEqual(heir.slot, 1)
        self.release(heir)
        (again,) = self.claim()
        self.assertEqual((again.slot, len(self.several(again, 1))), (0, 1))

    def test_further_slot_rests(self) -> None:
        """A destination that is to rest does so whichever slot is given back last (Q-93)."""
        self.fill(3)
        (first,) = self.claim()
        (batch,) = self.several(first, 1, slots=2)
        (second,) = self.claim()
        self.result(self.jobs.put_back(first, [batch], self.time))
        until = self.time + 10 * SECOND
        for lease in (first, second):
            self.result(self.jobs.release(lease, troubled=False, rests_until=until))
        self.assertEqual(self.claim(), [])
        self.time = until
        self.assertEqual(len(self.claim()), 1)

    def test_only_the_dead_repeats(self) -> None:
        """
        When one of two workers has died, only what he had under way is due again:
        the other one's attempts go on (Q-10).
        """
        self.fill(4)
        (first,) = self.claim(seconds=30)
        mine = self.several(first, 1, slots=2)[0].leader.id
        other = self.job_store("other")
        (second,) = self.claim(other, seconds=5)
        theirs = self.several(second, 1, slots=2, store=other)[0].leader.id
        self.time += 10 * SECOND
        (heir,) = self.claim()
        self.assertEqual(heir.slot, 1)
        flying = {row["id"]: row["in_flight"] for row in self.rows("job")}
        self.assertEqual((flying[mine], flying[theirs]), (1, 0))
        self.assertIn(theirs, [each.leader.id for each in self.several(heir, 3)])

    def test_release_leaves_others_alone(self) -> None:
        """Giving one slot back ends no attempt of another."""
        self.fill(3)
        (first,) = self.claim()
        mine = self.several(first, 1, slots=2)[0].leader.id
        (second,) = self.claim()
        self.several(second, 1, slots=2)
        self.release(second)
        flying = {row["id"]: row["in_flight"] for row in self.rows("job")}
        self.assertEqual(flying[mine], 1)

    def test_put_back_calls_the_first(self) -> None:
        """What a further worker puts back is due for the first slot, which may be gone."""
        numbers = self.fill(3)
        (first,) = self.claim()
        (one,) = self.several(first, 1, slots=2)
        (second,) = self.claim()
        rest = self.several(second, 2, slots=2)
        self.delivered(first, one)
        self.release(first)
        self.result(self.jobs.put_back(second, rest, self.time))
        self.release(second)
        (again,) = self.claim()
        self.assertEqual([each.leader.id for each in self.several(again, 3)], numbers[1:])
