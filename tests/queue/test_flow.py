"""Mail taken ahead, results recorded behind, and destinations that have to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxsmtp.interfaces import StorageUnavailable
from moxsmtp.queue.job import (
    Attempt,
    Batch,
    Delivered,
    Failed,
    Lease,
    RemoteMTA,
    Retry,
    Settlement,
)
from moxsmtp.queue.mail import MailWork
from moxsmtp.queue.runner import Runner
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.shaping import Shaper, ShapingRule
from tests.queue.test_mail import FewAccounts, MailTestCase
from tests.queue.test_settle import job

HOST = RemoteMTA("mx.theirs.example")


class FlowTestCase(MailTestCase):
    """
    Many messages to theirs.example, all of which arrive unless a test says otherwise.

    @ivar is_shared: Other processes work on the store.
    """

    is_shared = False

    def setUp(self) -> None:
        """@ivar shaper: The test's; C{steady} is what it is asked by."""
        super().setUp()
        self.steady = self.clock
        self.shaper = Shaper()
        self.fill_work()

    def fill_work(self) -> None:
        """Work with the shaper that there is."""
        self.work = MailWork(
            self.clock,
            self.store,
            self.deliver,
            FewAccounts(),  # type: ignore[arg-type]  # has its methods
            settings=QueueSettings(),
            hostname=self.hostname,
            randint=lambda low, high: min(max(0, low), high),
            unique=lambda: "u1",
            shaper=self.shaper,
            steady=self.steady,
            is_shared=self.is_shared,
        )
        # What a test queues next is claimed anew.
        self.work.linger = 0.0

    def queue(self, count: int) -> list[Batch]:
        """So many batches of one."""
        batches = [Batch((replace(job(attempts=1), id=n + 1),), self.now()) for n in range(count)]
        self.store.batches += batches
        self.store.add("theirs.example", self.clock.seconds())
        return batches

    def now(self) -> datetime:
        """By the clock."""
        return datetime.fromtimestamp(self.clock.seconds(), UTC)

    def run_queue(self) -> Runner[Batch, Attempt]:
        """A runner."""
        runner: Runner[Batch, Attempt] = Runner(self.clock, self.store, self.work, limit=2)
        runner.startService()
        self.addCleanup(self.end, runner)
        return runner

    def delivered(self, *numbers: int) -> Attempt:
        """They are."""
        return Attempt({number: Delivered(HOST) for number in numbers})

    def settled(self) -> list[int]:
        """Numbers of what was settled, in order."""
        return [one.job.id for settlements in self.store.settlements for one in settlements]


class SupplyTests(FlowTestCase):
    """Taking ahead."""

    def test_doubles(self) -> None:
        """One is taken, then two, four, eight, and sixteen each time; each is tried once."""
        self.queue(40)
        self.answers = [self.delivered(number + 1) for number in range(40)]
        self.run_queue()
        self.assertEqual([count for count, _ in self.store.wanted][:6], [1, 2, 4, 8, 16, 16])
        self.assertEqual([batch.leader.id for batch in self.attempted], list(range(1, 41)))
        self.assertEqual(self.settled(), list(range(1, 41)))
        self.assertEqual(self.store.put, [])

    def test_emptied(self) -> None:
        """
        Where fewer were due than were asked for, it is asked again only after a
        moment, and then for what came meanwhile: no transaction for a likely no.
        """
        self.work.linger = 0.05
        self.queue(2)
        self.answers = [self.delivered(number) for number in (1, 2, 1, 2)]
        self.run_queue()
        self.assertEqual(self.settled(), [1, 2])
        self.assertEqual([count for count, _ in self.store.wanted], [1, 2])
        self.queue(2)
        self.clock.advance(0.05)
        self.assertEqual(self.settled(), [1, 2, 1, 2])
        self.clock.advance(0.05)
        self.assertEqual([count for count, _ in self.store.wanted][:4], [1, 2, 4, 8])

    def test_fewer_batches(self) -> None:
        """Jobs are asked for: where batches are fewer, as some go together, no less was due."""
        first, second, third = self.queue(3)
        self.store.batches = [first, replace(second, jobs=second.jobs + third.jobs)]
        self.answers = [self.delivered(1), self.delivered(2, 3)]
        self.run_queue()
        self.assertEqual([count for count, _ in self.store.wanted][:3], [1, 2, 4])

    def test_trouble(self) -> None:
        """What was taken ahead goes back when a message is put off, and is due at once."""
        batches = self.queue(6)
        failed = Attempt({2: Failed(permanent=False, error="busy")})
        self.answers = [self.delivered(1), failed]
        self.run_queue()
        ((put, until),) = self.store.put
        self.assertEqual([batch.leader.id for batch in put], [batches[2].leader.id])
        self.assertEqual(until, self.now())
        self.assertEqual(self.settled(), [1, 2])

    def test_stop(self) -> None:
        """So it does when the server stops."""
        self.queue(8)
        last: Deferred[Attempt] = Deferred()
        self.answers = [self.delivered(1), last]
        runner = self.run_queue()
        stopped = runner.stopService()
        last.callback(self.delivered(2))
        self.successResultOf(stopped)
        self.assertEqual([b.leader.id for put, _ in self.store.put for b in put], [3])
        self.assertEqual(self.settled(), [1, 2])

    def test_forgotten(self) -> None:
        """Nothing is left of what was taken ahead for a lease that is over (Q-10)."""
        self.queue(4)
        lease = Lease("mail", "theirs.example", 0, 1)
        for number in (1, 2):
            batch = self.successResultOf(Deferred.fromCoroutine(self.work.take(lease)))
            self.assertEqual(batch and batch.leader.id, number)
        self.work.forget(lease)
        batch = self.successResultOf(Deferred.fromCoroutine(self.work.take(lease)))
        self.assertEqual(batch and batch.leader.id, 4)
        self.assertEqual([count for count, _ in self.store.wanted], [1, 2, 1])

    def test_times(self) -> None:
        """An attempt begins when its turn comes, not when it was taken."""
        self.queue(3)
        slow: Deferred[Attempt] = Deferred()
        self.answers = [self.delivered(1), slow, self.delivered(3)]
        self.run_queue()
        self.clock.advance(5)
        slow.callback(self.delivered(2))
        starts = [batch.started for batch in self.attempted]
        self.assertEqual(starts[2] - starts[1], timedelta(seconds=5))


class WithdrawalTests(FlowTestCase):
    """Q-23: what an administrator changes while it is taken ahead."""

    def setUp(self) -> None:
        """The first one is delivered, the second one under way, the third one taken along."""
        super().setUp()
        self.queue(4)
        self.second: Deferred[Attempt] = Deferred()
        self.answers = [self.delivered(1), self.second, *map(self.delivered, (3, 4))]
        self.run_queue()
        self.assertEqual([batch.leader.id for batch in self.attempted], [1, 2])

    def goes_on(self) -> list[int]:
        """What is put back when the second one has arrived."""
        self.second.callback(self.delivered(2))
        return [batch.leader.id for put, _ in self.store.put for batch in put]

    def test_not_begun(self) -> None:
        """Q-23: it goes back, and is taken again as it is then."""
        self.work.withdraw({3})
        self.assertEqual(self.goes_on(), [3])
        self.clock.advance(1)
        self.assertEqual(self.settled(), [1, 2, 3, 4])

    def test_dropped(self) -> None:
        """What is gone by then is not tried."""
        self.store.gone.add(3)
        self.work.withdraw({3})
        self.goes_on()
        self.clock.advance(1)
        self.assertEqual([batch.leader.id for batch in self.attempted], [1, 2, 4])

    def test_lingers(self) -> None:
        """Nor is it while the destination is kept for what may come."""
        self.work.linger = 0.05
        self.work.withdraw({3})
        self.assertEqual(self.goes_on(), [])
        self.clock.advance(0.05)
        self.assertEqual(self.store.put[0][0][0].leader.id, 3)
        self.clock.advance(1)
        self.assertEqual(self.settled(), [1, 2, 3, 4])

    def test_others(self) -> None:
        """What is under way, waits in the store or is nowhere moves nothing."""
        self.work.withdraw({2, 4, 99})
        self.assertEqual(self.goes_on(), [])
        self.assertEqual(self.settled(), [1, 2, 3, 4])


class SharedStoreTests(WithdrawalTests):
    """Q-23: the same where other processes change what is in the store."""

    is_shared = True

    def test_changed_elsewhere(self) -> None:
        """Q-23: what another process has changed is found, goes back, and is taken again."""
        self.store.altered.add(3)
        self.clock.advance(0.25)
        self.assertEqual(self.goes_on(), [3])
        self.assertEqual(self.store.looked_at, [[3]])
        self.clock.advance(1)
        self.assertEqual(self.settled(), [1, 2, 3, 4])

    def test_dropped_elsewhere(self) -> None:
        """Q-23: what is gone by then is not tried."""
        self.store.gone.add(3)
        self.clock.advance(3600)
        self.goes_on()
        self.clock.advance(1)
        self.assertEqual([batch.leader.id for batch in self.attempted], [1, 2, 4])

    def test_quick(self) -> None:
        """While attempts are quick the store is not asked for each."""
        self.clock.advance(0.2)
        self.assertEqual(self.goes_on(), [])
        self.assertEqual(self.settled(), [1, 2, 3, 4])
        self.assertEqual(self.store.looked_at, [])

    def test_looked_at_once(self) -> None:
        """One look serves all that is begun in the moment after it."""
        self.queue(10)
        slow: Deferred[Attempt] = Deferred()
        self.answers = [self.delivered(3), slow, *(self.delivered(n + 1) for n in range(10))]
        self.second.callback(self.delivered(2))
        self.clock.advance(1)
        slow.callback(self.delivered(4))
        self.assertEqual(self.settled(), [1, 2, 3, 4, *range(1, 11)])
        self.assertEqual(self.store.looked_at, [[1, 2, 3]])

    def test_clock_set_back(self) -> None:
        """A clock that was set back does not keep it from looking."""
        self.store.altered.add(3)
        self.clock.rightNow -= 3600
        self.assertEqual(self.goes_on(), [3])


class RecordTests(FlowTestCase):
    """Results on their way to the store."""

    def setUp(self) -> None:
        """The disk takes its time."""
        super().setUp()
        self.recording: list[Deferred[None]] = []
        settle = self.store.settle

        async def slowly(lease: object, settlements: list[Settlement]) -> None:
            done: Deferred[None] = Deferred()
            self.recording.append(done)
            await done
            await settle(lease, settlements)  # type: ignore[arg-type]  # as they were given

        self.store.settle = slowly  # type: ignore[method-assign,assignment]  # slower

    def test_behind(self) -> None:
        """The next messages do not wait for the disk, but no more than five are unrecorded."""
        self.queue(10)
        self.answers = [self.delivered(number + 1) for number in range(10)]
        self.run_queue()
        self.assertEqual(len(self.attempted), 5)
        self.recording[0].callback(None)
        self.assertEqual(len(self.attempted), 6)
        for done in self.recording:
            if not done.called:
                done.callback(None)
        while any(not done.called for done in self.recording):
            next(done for done in self.recording if not done.called).callback(None)
        self.assertEqual(self.settled(), list(range(1, 11)))

    def test_frozen(self) -> None:
        """
        Q-10: who was stopped for longer than a lease lasts begins nothing of
        what was taken ahead, for others may have it by now.
        """
        self.queue(6)
        second: Deferred[Attempt] = Deferred()
        self.answers = [self.delivered(1), second, *(self.delivered(n) for n in range(3, 7))]
        self.run_queue()
        self.clock.rightNow += 31
        second.callback(self.delivered(2))
        self.assertEqual(len(self.attempted), 2)
        for done in self.recording:
            done.callback(None)
        self.assertEqual([b.leader.id for put, _ in self.store.put for b in put], [3])

    def test_lost(self) -> None:
        """
        Q-10: nor does a process that lost the lease while it waited for the disk, whatever
        it still could record.
        """
        self.queue(10)
        self.answers = [self.delivered(number + 1) for number in range(10)]
        self.run_queue()
        self.store.lost.add("theirs.example")
        self.clock.advance(10)
        self.store.lost.clear()
        for done in self.recording:
            done.callback(None)
        self.assertEqual(len(self.attempted), 5)
        self.assertEqual(self.settled(), [1, 2, 3, 4, 5])

    def test_cut_short(self) -> None:
        """
        Where a server that stops ends an attempt of which nothing is known, what
        was delivered before is recorded all the same (Q-1).
        """
        self.queue(2)
        self.answers = [self.delivered(1), Deferred()]
        runner = self.run_queue()
        stopped = runner.stopService()
        self.clock.advance(20)
        self.assertNoResult(stopped)
        self.recording[0].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.settled(), [1])

    def test_store_fails(self) -> None:
        """Where no more can be taken, what was delivered is recorded all the same."""
        self.queue(2)
        last: Deferred[Attempt] = Deferred()
        self.answers = [last]
        self.run_queue()
        self.store.failing = StorageUnavailable("gone")
        last.callback(self.delivered(1))
        self.store.failing = None
        self.recording[0].callback(None)
        self.assertEqual(self.settled(), [1])


class ShapingTests(FlowTestCase):
    """Q-93."""

    def test_rate(self) -> None:
        """Q-93: beyond its rate a destination rests, and goes on when it may."""
        self.shaper = Shaper((ShapingRule(messages_per_minute=2),))
        self.fill_work()
        self.queue(3)
        self.answers = [self.delivered(number + 1) for number in range(3)]
        self.run_queue()
        self.assertEqual(self.settled(), [1, 2])
        self.assertEqual(self.store.rests[-1], self.now() + timedelta(minutes=1))

    def test_clock_set(self) -> None:
        """Q-93: whoever sets the clock, either way, makes a rest neither shorter nor longer."""
        lease = Lease("mail", "theirs.example", 0, 1)
        for jump in (86_400, -86_400, -3):
            self.shaper = Shaper((ShapingRule(messages_per_minute=1),))
            self.steady = Clock()
            self.fill_work()
            (batch,) = self.queue(1)
            self.answers = [self.delivered(1)]
            self.successResultOf(Deferred.fromCoroutine(self.work.attempt(batch)))
            self.steady.advance(20)
            self.clock.rightNow += jump
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.work.take(lease))))
            until = self.successResultOf(Deferred.fromCoroutine(self.work.leave(lease)))
            self.assertEqual(until, self.now() + timedelta(seconds=40))

    def test_slots(self) -> None:
        """Q-93: as many workers are called as the destination may have connections."""
        self.shaper = Shaper((ShapingRule(connections=4),))
        self.shaper.learn("theirs.example", ("mx.theirs.example",))
        self.fill_work()
        self.queue(1)
        self.answers = [self.delivered(1)]
        self.run_queue()
        self.assertEqual(self.store.wanted[0], (1, 4))

    def test_crowded(self) -> None:
        """Q-93: who is at work on a site is counted there from begin to end, whatever the end."""
        self.shaper = Shaper((ShapingRule(site_connections=1),))
        self.fill_work()
        self.queue(3)
        self.answers = [self.delivered(1), Deferred()]
        self.run_queue()
        self.store.lost.add("theirs.example")
        self.assertEqual(self.shaper.wait("theirs.example", self.clock.seconds()), 1.0)
        self.clock.advance(10)
        self.assertEqual(self.shaper.wait("theirs.example", self.clock.seconds()), 0.0)

    def test_room_for_some(self) -> None:
        """Q-93: of a batch those are put back who have no fate by then, and nobody else."""
        some = tuple([replace(job(attempts=1), id=number) for number in (1, 2, 3)])
        until = self.now() + timedelta(seconds=1)
        self.answers = [replace(self.delivered(2), rests_until=until), self.delivered(1, 3)]
        self.start(*some)
        ((put, put_until),) = self.store.put
        self.assertEqual([each.id for batch in put for each in batch.jobs], [1, 3])
        self.assertEqual(put_until, until)

    def test_no_room(self) -> None:
        """Q-93: an attempt that found no room is put back, uncounted, and nothing is settled."""
        batches = self.queue(1)
        until = self.now() + timedelta(seconds=1)
        self.answers = [Attempt({}, rests_until=until), self.delivered(1)]
        self.run_queue()
        self.assertEqual(self.store.put, [((batches[0],), until)])
        self.assertEqual([s for s in self.store.settlements if s][-1][0].job.id, 1)


class ClockTests(FlowTestCase):
    """Clocks that jump."""

    def test_nothing_bounces_early(self) -> None:
        """
        A clock that jumps by a day either way gives nothing up: only attempts are
        counted, however much time seems to have passed.
        """
        for jump in (86_400, -86_400):
            self.setUp()
            self.queue(1)
            first: Deferred[Attempt] = Deferred()
            self.answers = [first]
            self.run_queue()
            self.clock.rightNow += jump
            first.callback(Attempt({1: Failed(permanent=False, error="busy")}))
            ((one,),) = self.store.settlements
            self.assertIsInstance(one.fate, Retry)
            self.assertIsNone(one.bounce)
