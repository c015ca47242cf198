"""The queue against a model of it, under random work, crashes and clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.job import Job, Lease, LeaseLost, Retired, Retry, Settlement
from moxsmtp.store.columns import read_time
from moxsmtp.store.schema import metadata
from tests.store.contract import NOW, Contract, new_job, result

MINUTE = timedelta(minutes=1)
LEASE = 5 * MINUTE

DESTINATIONS = ("one.example", "two.example", "three.example")
OWNERS = ("node", "other")

#: What may happen, each with two small numbers that say to whom and how much.
STEPS = st.tuples(
    st.sampled_from(
        ("add", "add", "hold", "wait", "claim", "claim", "take", "take", "settle", "settle",
         "retry", "release", "release", "crash", "renew")
    ),
    st.integers(0, 5),
    st.integers(0, 5),
)  # fmt: skip

_CLEAR = [delete(table) for table in reversed(metadata.sorted_tables)]


@dataclass
class Held:
    """A lease as its owner knows it."""

    owner: str
    lease: Lease
    until: datetime
    under_way: list[Job] = field(default_factory=list)


class QueueModelTests(Contract):
    """No job is lost, and none is under way twice."""

    def setUp(self) -> None:
        """Two processes."""
        super().setUp()
        self.stores = {owner: self.job_store(owner) for owner in OWNERS}

    @settings(max_examples=60, deadline=None)
    @given(st.lists(STEPS, min_size=10, max_size=60))
    def test_random_work(self, steps: Sequence[tuple[str, int, int]]) -> None:
        """
        However jobs are added, claimed, taken, settled and given back, and
        whoever dies: each stays until it is settled, is under way once at a
        time, and its destination is due no later than it is.
        """
        self.start()
        for step, who, much in steps:
            getattr(self, f"step_{step}")(who, much)
            self.check()
        self.drain()

    def start(self) -> None:
        """From nothing."""
        self.time = NOW
        #: Numbers of jobs that are not settled, and of those on hold.
        self.waiting: set[int] = set()
        self.on_hold: set[int] = set()
        self.held: list[Held] = []
        self.result(
            self.database.transact(lambda tx: [tx.execute(statement) for statement in _CLEAR])
        )

    # -- steps

    def step_add(self, who: int, much: int) -> None:
        """Jobs for one or two destinations, now or later."""
        jobs = [
            new_job(f"a@{DESTINATIONS[(who + offset) % 3]}", next_attempt=self.time + much * MINUTE)
            for offset in range(1 + who % 2)
            for _ in range(1 + much % 2)
        ]
        self.waiting.update(self.add(*jobs))

    def step_hold(self, who: int, much: int) -> None:
        """An administrator holds one."""
        if self.waiting:
            number = sorted(self.waiting)[(who + much) % len(self.waiting)]
            self.hold(number)
            self.on_hold.add(number)

    def step_wait(self, _: int, much: int) -> None:
        """Time goes by."""
        self.time += much * MINUTE

    def step_claim(self, who: int, much: int) -> None:
        """A process claims what is due; with room for all of it, all of it."""
        owner = OWNERS[who % 2]
        expected = self.claimable()
        leases = self.result(
            self.stores[owner].claim(much, self.time, self.time + LEASE, troubled=True)
        )
        taken = {held.lease.name for held in self.held if held.until >= self.time}
        self.assertEqual(taken & {lease.name for lease in leases}, set())
        self.assertGreaterEqual(len(leases), min(much, len(expected)))
        if much >= len(DESTINATIONS):
            self.assertLessEqual(expected, {lease.name for lease in leases})
        self.held += [Held(owner, lease, self.time + LEASE) for lease in leases]

    def step_take(self, who: int, _: int) -> None:
        """A process takes what is due at a destination, the longest due first."""
        held = self.some_lease(who)
        if held is None:
            return
        rows = self.free_rows(held.lease.name)
        batch = self.result(
            self.stores[held.owner].take(held.lease, self.time, self.in_two_minutes)
        )
        if batch is None:
            self.assertEqual([row for row in rows if row["due"] <= self.time], [])
            return
        self.assertEqual(batch.leader.id, min(rows, key=lambda row: (row["due"], row["id"]))["id"])
        busy = {job.id for other in self.alive() for job in other.under_way}
        self.assertEqual(busy & {job.id for job in batch.jobs}, set())
        self.assertEqual(self.on_hold & {job.id for job in batch.jobs}, set())
        held.under_way += batch.jobs

    def in_two_minutes(self, _: object) -> datetime:
        """When whatever was begun is tried again: before its lease may end."""
        return self.time + 2 * MINUTE

    def step_settle(self, who: int, _: int) -> None:
        """A process is done with what it took."""
        self.settle_one(who, None)

    def step_retry(self, who: int, much: int) -> None:
        """A process will have to try again."""
        self.settle_one(who, Retry(self.time + much * MINUTE))

    def settle_one(self, who: int, fate: Retry | None) -> None:
        """One batch, or what is left of it."""
        held = self.some_lease(who)
        if held is None or not held.under_way:
            return
        settled = [
            Settlement(job, fate or Retired(OutgoingEvent.DELIVERED, None), result())
            for job in held.under_way
        ]
        self.result(self.stores[held.owner].settle(held.lease, settled))
        if fate is None:
            self.waiting -= {job.id for job in held.under_way}
        held.under_way = []

    def step_release(self, who: int, much: int) -> None:
        """A process gives a destination back."""
        held = self.some_lease(who)
        if held is not None:
            self.held.remove(held)
            self.result(self.stores[held.owner].release(held.lease, troubled=bool(much % 2)))

    def step_renew(self, who: int, _: int) -> None:
        """A process keeps what it has."""
        owner = OWNERS[who % 2]
        mine = [held for held in self.held if held.owner == owner]
        kept = self.result(
            self.stores[owner].renew([held.lease for held in mine], self.time + LEASE)
        )
        self.assertLessEqual(
            {held.lease.name for held in mine if held.until >= self.time},
            {lease.name for lease in kept},
        )
        for held in mine:
            if held.lease in kept:
                held.until = self.time + LEASE
            else:
                self.held.remove(held)

    def step_crash(self, who: int, _: int) -> None:
        """A process forgets all it had."""
        self.held = [held for held in self.held if held.owner != OWNERS[who % 2]]
        self.time += LEASE + MINUTE

    # -- what must be so

    def check(self) -> None:
        """Nothing is lost, and nothing that is due sleeps."""
        rows = self.rows("job")
        self.assertEqual({row["id"] for row in rows}, self.waiting)
        due = {row["name"]: row["next_due"] for row in self.rows("destination")}
        for row in rows:
            if not row["hold"]:
                self.assertLessEqual(due[row["destination"]], row["next_attempt"])

    def drain(self) -> None:
        """Once everybody is dead, a new process gets each job that is not on hold once."""
        self.held = []
        taken: list[int] = []
        for _ in range(3):
            self.time += timedelta(days=1)
            for lease in self.claim():
                while jobs := self.take(lease):
                    taken += [job.id for job in jobs]
                    done = Retired(OutgoingEvent.DELIVERED, None)
                    self.settle(lease, *[Settlement(job, done, result()) for job in jobs])
                self.release(lease)
        self.assertEqual(sorted(taken), sorted(self.waiting - self.on_hold))
        self.assertEqual(self.rows("destination"), [])

    # -- what is so

    def alive(self) -> Sequence[Held]:
        """Leases that nobody else may have."""
        return [held for held in self.held if held.until >= self.time]

    def some_lease(self, who: int) -> Held | None:
        """One of those that are held; one that ran out is found to be lost, or still ours."""
        if not self.held:
            return None
        held = self.held[who % len(self.held)]
        newer = [
            other
            for other in self.held
            if other.lease.name == held.lease.name and other.lease.fence > held.lease.fence
        ]
        if held.until < self.time and newer:
            self.failure(
                self.stores[held.owner].take(held.lease, self.time, self.in_ten_minutes), LeaseLost
            )
            self.held.remove(held)
            return None
        return held if held.until >= self.time else None

    def claimable(self) -> set[str]:
        """Destinations with due work that nobody owns."""
        owned = {row["name"] for row in self.rows("destination") if self.is_owned(row)}
        return {
            row["destination"]
            for row in self.rows("job")
            if not row["hold"]
            and row["destination"] not in owned
            and read_time(row["next_attempt"]) <= self.time
        }

    def is_owned(self, row: dict[str, Any]) -> bool:
        """Whether a lease is in force."""
        return row["owner"] is not None and read_time(row["lease_until"]) >= self.time

    def free_rows(self, name: str) -> Sequence[dict[str, Any]]:
        """Jobs for a destination that may be taken at some time."""
        return [
            row | {"due": read_time(row["next_attempt"])}
            for row in self.rows("job")
            if row["destination"] == name and not row["hold"] and not row["in_flight"]
        ]
