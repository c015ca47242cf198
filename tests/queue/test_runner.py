"""Who works when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.interfaces import StorageUnavailable
from moxsmtp.queue.job import Lease
from moxsmtp.queue.runner import Runner
from tests.queue.doubles import Errands, MemoryLeases


def hanging() -> Deferred[str]:
    """A tarpit."""
    return Deferred()


def partly_known() -> Deferred[str]:
    """One that hangs, and tells what it knows when it is cancelled."""
    return Deferred(lambda attempt: attempt.callback("one of two"))


class RunnerTestCase(unittest.SynchronousTestCase):
    """A runner over storage in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.leases = MemoryLeases(self.clock.seconds)
        self.work = Errands(self.leases, self.clock.seconds)

    def runner(
        self, limit: int = 10, *, poll: float = 5, sole: bool = False, steady: Clock | None = None
    ) -> Runner[str, str]:
        """One that runs until the test ends."""
        runner: Runner[str, str] = Runner(
            self.clock,
            self.leases,
            self.work,
            limit=limit,
            poll=timedelta(seconds=poll),
            sole=sole,
            steady=steady,
        )
        runner.startService()
        self.addCleanup(self._end, runner)
        return runner

    def _end(self, runner: Runner[str, str]) -> None:
        if runner.running:
            stopped = runner.stopService()
            self.leases.failing = None
            self.pass_time(30)
            self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass in small steps."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(step, end - self.clock.seconds()))


class WorkTests(RunnerTestCase):
    """Ordinary days."""

    def test_due_work_is_done(self) -> None:
        """What is due at the start is attempted, settled, and its destination given back."""
        self.leases.add("a", self.clock.seconds())
        self.runner()
        self.assertEqual(self.work.settled, [("a", "ok")])
        self.assertFalse(self.leases.destinations["a"].owned)

    def test_until_nothing_is_due(self) -> None:
        """A destination is worked on until it has nothing due, under one lease."""
        self.leases.add("a", *(self.clock.seconds() - n for n in range(5)))
        self.runner()
        self.assertEqual(len(self.work.settled), 5)
        self.assertEqual(self.leases.destinations["a"].fence, 1)

    def test_sleeps_until_due(self) -> None:
        """Q-9: it sleeps until the earliest time that something is due."""
        self.leases.add("a", self.clock.seconds() + 3)
        self.runner(poll=3600)
        self.pass_time(2.9, 0.1)
        self.assertEqual(self.work.settled, [])
        self.pass_time(0.2, 0.1)
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_poll(self) -> None:
        """Work that nobody woke us for is found by the poll."""
        self.runner(poll=5)
        self.leases.add("a", self.clock.seconds())
        self.pass_time(6)
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_wake(self) -> None:
        """Being woken, it looks at once."""
        runner = self.runner(poll=3600)
        self.pass_time(1)
        self.leases.add("a", self.clock.seconds())
        runner.wake()
        self.clock.advance(0.02)
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_wake_before_a_round_ends(self) -> None:
        """Being woken in the middle of a round is not forgotten."""
        runner = self.runner(poll=3600)
        self.pass_time(1)

        def late() -> str:
            self.leases.add("b", self.clock.seconds())
            runner.wake()
            return "ok"

        self.work.behaviour["a"] = late
        self.leases.add("a", self.clock.seconds())
        runner.wake()
        self.pass_time(0.1, 0.02)
        self.assertEqual([name for name, _ in self.work.settled], ["a", "b"])

    def test_limit(self) -> None:
        """Q-9: attempts under way are never more than the limit; the longest due go first."""
        for n in range(30):
            self.leases.add(f"d{n:02}", self.clock.seconds() - 100 + n)
            self.work.behaviour[f"d{n:02}"] = hanging
        self.runner(limit=10)
        self.pass_time(5)
        self.assertEqual(self.work.under_way, [f"d{n:02}" for n in range(10)])
        self.assertEqual(self.work.most, 10)

    def test_freed_slot_is_used(self) -> None:
        """A slot that becomes free is used at once for the next destination."""
        waits: list[Deferred[str]] = []
        for name in "abc":
            self.leases.add(name, self.clock.seconds())

            def attempt() -> Deferred[str]:
                waits.append(Deferred())
                return waits[-1]

            self.work.behaviour[name] = attempt
        self.runner(limit=2, poll=3600)
        self.pass_time(1)
        waits[0].callback("ok")
        self.clock.advance(0.02)
        self.assertEqual(self.work.under_way, ["b", "c"])

    def test_busy_destination_lets_others_in(self) -> None:
        """While all slots are taken, a large backlog gives its slot up after some seconds."""
        start = self.clock.seconds()
        self.leases.add("bulk", *(start - 100 + n for n in range(90)))
        self.leases.add("small", start - 50)

        def second() -> Deferred[str]:
            done: Deferred[str] = Deferred()
            self.clock.callLater(1, done.callback, "ok")
            return done

        self.work.behaviour["bulk"] = second
        self.leases.add("bulk", *(start + n for n in range(100)))
        self.runner(limit=1)
        self.pass_time(70)
        self.assertLess(self.work.settled_at["small"], start + 65)

    def test_alone(self) -> None:
        """
        While there are free slots a backlog is worked on under one lease for as long as it
        takes; that attempts take long all together does not make any of them crawl.
        """
        start = self.clock.seconds()

        def four_seconds() -> Deferred[str]:
            done: Deferred[str] = Deferred()
            self.clock.callLater(4, done.callback, "ok")
            return done

        self.leases.add("bulk", *(start - n for n in range(10)))
        self.work.behaviour["bulk"] = four_seconds
        self.runner(limit=2)
        self.pass_time(41)
        self.assertEqual(self.work.settled, [("bulk", "ok")] * 10)
        bulk = self.leases.destinations["bulk"]
        self.assertEqual((bulk.fence, bulk.troubled), (1, False))


class LingerTests(RunnerTestCase):
    """A destination is kept for a moment, for more that may come."""

    def setUp(self) -> None:
        super().setUp()
        self.work.linger = 1.0
        self.leases.add("a", self.clock.seconds())

    def test_more_comes(self) -> None:
        """What is due by the end of that moment is done under the same lease."""
        self.runner()
        self.leases.add("a", self.clock.seconds())
        self.pass_time(1)
        self.assertEqual(self.work.settled, [("a", "ok")] * 2)
        self.pass_time(1)
        destination = self.leases.destinations["a"]
        self.assertEqual((destination.fence, destination.owned), (1, False))

    def test_nothing_comes(self) -> None:
        """Then it is given back, and once."""
        self.runner()
        self.assertEqual(self.work.left, [])
        self.pass_time(1)
        self.assertEqual(self.work.left, ["a"])

    def test_others_wait(self) -> None:
        """While every slot is taken, it is given back at once."""
        self.runner(limit=1)
        self.assertEqual(self.work.left, ["a"])

    def test_further_slot(self) -> None:
        """Nor is a further slot kept: its worker came for what was too much for one."""
        self.leases.slot = 1
        self.runner()
        self.assertEqual((self.work.settled, self.work.left), ([("a", "ok")], ["a"]))

    def test_nothing_was_due(self) -> None:
        """Nor is it kept where there was nothing to do at all."""
        self.work.untakeable.add("a")
        self.runner()
        self.assertIn("a", self.work.left)

    def test_stop(self) -> None:
        """When the service stops meanwhile, nothing more is begun, and it is given back."""
        runner = self.runner()
        self.leases.add("a", self.clock.seconds())
        stopped = runner.stopService()
        self.pass_time(1)
        self.successResultOf(stopped)
        self.assertEqual((self.work.settled, self.work.left), ([("a", "ok")], ["a"]))


class TroubleTests(RunnerTestCase):
    """Destinations that crawl or fail."""

    def test_tarpits_never_stop_the_rest(self) -> None:
        """Two hundred hanging destinations in a hundred slots do not keep a good one waiting."""
        start = self.clock.seconds()
        for n in range(200):
            self.leases.add(f"tarpit{n}", start - 1000 + n)
            self.work.behaviour[f"tarpit{n}"] = hanging
        self.leases.add("good", start)
        self.runner(limit=100)
        self.pass_time(60)
        self.assertIn(("good", "ok"), self.work.settled)
        self.assertLessEqual(self.work.settled_at["good"], start + 40)
        self.assertLessEqual(self.work.most, 100)

    def test_good_mail_while_tarpits_hang(self) -> None:
        """Once the tarpits are known, new mail for good destinations goes out at once."""
        start = self.clock.seconds()
        for n in range(200):
            self.leases.add(f"tarpit{n}", start - 1000 + n)
            self.work.behaviour[f"tarpit{n}"] = hanging
        runner = self.runner(limit=100)
        self.pass_time(100)
        for n in range(40):
            self.leases.add(f"good{n}", self.clock.seconds())
        asked = self.clock.seconds()
        runner.wake()
        self.clock.advance(0.02)
        served = [self.work.settled_at[f"good{n}"] for n in range(40)]
        self.assertLessEqual(max(served), asked + 0.02)

    def test_troubled_hold_half(self) -> None:
        """Destinations known to be in trouble get half of the slots, and no more."""
        for n in range(30):
            self.leases.add(f"t{n}", self.clock.seconds(), troubled=True)
            self.work.behaviour[f"t{n}"] = hanging
        self.runner(limit=10)
        self.pass_time(100)
        self.assertEqual(len(self.work.under_way), 5)
        self.assertEqual(self.work.cancelled, [])

    def test_cut_is_a_failure(self) -> None:
        """An attempt that is cut is settled as a transient failure and said to be."""
        for n in range(3):
            self.leases.add(f"t{n}", self.clock.seconds())
            self.work.behaviour[f"t{n}"] = hanging
        self.leases.add("good", self.clock.seconds() + 12)
        self.runner(limit=3)
        self.pass_time(15)
        self.assertEqual(self.work.settled[-1], ("good", "ok"))
        self.assertEqual(len(self.work.settled), 2)
        name, outcome = self.work.settled[0]
        self.assertEqual(name, "t2")
        self.assertIn("cut", outcome)
        self.assertTrue(self.leases.destinations["t2"].troubled)
        self.assertFalse(self.leases.destinations["t2"].owned)

    def test_cut_for_each(self) -> None:
        """
        For each healthy destination that waits one attempt is cut, and no other one while
        that takes its time to end; what waits for its slot when the server stops is given
        back to others at once, in good health.
        """
        cut: list[str] = []

        async def attempt(task: str) -> str:
            try:
                return await Deferred()
            except CancelledError:
                cut.append(task)
                return await Deferred()

        self.patch(self.work, "attempt", attempt)
        for n in range(4):
            self.leases.add(f"t{n}")
        self.leases.add("good", self.clock.seconds() + 12)
        runner = self.runner(limit=4)
        self.pass_time(30)
        self.assertEqual(cut, ["t3"])
        good = self.leases.destinations["good"]
        self.assertEqual((good.owned, len(good.due)), (True, 1))
        stopped = runner.stopService()
        self.assertEqual((good.owned, good.troubled), (False, False))
        self.pass_time(26)
        self.successResultOf(stopped)

    def test_cut_keeps_what_is_known(self) -> None:
        """Q-19: what an attempt knows when it is cut stands beside the failure of the rest."""
        for n in range(3):
            self.leases.add(f"t{n}", self.clock.seconds())
            self.work.behaviour[f"t{n}"] = partly_known
        self.leases.add("good", self.clock.seconds() + 12)
        self.runner(limit=3)
        self.pass_time(15)
        name, outcome = self.work.settled[0]
        self.assertEqual(name, "t2")
        self.assertTrue(outcome.startswith("one of two, failed: attempt was slow and was cut"))
        self.assertTrue(self.leases.destinations["t2"].troubled)

    def test_long_attempts_are_left_alone(self) -> None:
        """With nobody waiting, all slots may crawl, and nothing is cut."""
        for n in range(4):
            self.leases.add(f"long{n}", self.clock.seconds())
            self.work.behaviour[f"long{n}"] = hanging
        self.runner(limit=4)
        self.pass_time(600)
        self.assertEqual(self.work.cancelled, [])
        self.assertEqual(len(self.work.under_way), 4)

    def test_first_to_slow_down_keep_their_slots(self) -> None:
        """Those that became slow first are entitled to the half; later ones are cut first."""
        start = self.clock.seconds()
        for n in range(4):
            self.leases.add(f"t{n}", start + n)
            self.work.behaviour[f"t{n}"] = hanging
        for n in range(4):
            self.leases.add(f"good{n}", start + 20)
            self.work.behaviour[f"good{n}"] = hanging
        self.runner(limit=4)
        self.pass_time(25)
        self.assertEqual(sorted(self.work.cancelled), ["t2", "t3"])

    def test_slow_success_is_trouble(self) -> None:
        """A destination whose last attempt crawled is in trouble, though it went well."""
        done: Deferred[str] = Deferred()
        self.leases.add("slow", self.clock.seconds())
        self.work.behaviour["slow"] = lambda: done
        self.runner()
        self.pass_time(11)
        done.callback("ok")
        self.assertTrue(self.leases.destinations["slow"].troubled)

    def test_recovery(self) -> None:
        """A destination that is served quickly again is in good health again."""
        self.leases.add("a", self.clock.seconds(), troubled=True)
        self.runner()
        self.assertFalse(self.leases.destinations["a"].troubled)

    def test_recovered_worker_frees_the_half(self) -> None:
        """A worker whose destination recovers does not count as slow any more."""
        start = self.clock.seconds()
        answers = iter(["ok"])
        self.leases.add("a", start, start, troubled=True)
        self.work.behaviour["a"] = lambda: next(answers, None) or hanging()
        self.leases.add("b", start, troubled=True)
        self.work.behaviour["b"] = hanging
        self.runner(limit=2)
        self.pass_time(2)
        self.assertEqual(self.work.under_way, ["a", "b"])

    def test_failing_destination_waits_its_turn(self) -> None:
        """A failing destination is given back after one attempt, so the half goes round."""
        start = self.clock.seconds() - 10
        for n, name in enumerate("ab"):
            self.leases.add(name, start + n, start + n + 2, start + n + 4, troubled=True)
            self.work.behaviour[name] = lambda: "refused"
        self.runner(limit=2)
        self.pass_time(5, 0.02)
        self.assertEqual("".join(self.work.started[:6]), "ababab")

    def test_no_starvation_of_the_troubled(self) -> None:
        """Troubled destinations get their turn while good ones keep every slot busy."""
        start = self.clock.seconds()
        for n in range(20):
            self.leases.add(f"busy{n}", *(start + k for k in range(100)))

            def second() -> Deferred[str]:
                done: Deferred[str] = Deferred()
                self.clock.callLater(1, done.callback, "ok")
                return done

            self.work.behaviour[f"busy{n}"] = second
        self.leases.add("troubled", start + 2, troubled=True)
        self.runner(limit=4)
        self.pass_time(60)
        self.assertIn("troubled", self.work.settled_at)

    def test_single_slot(self) -> None:
        """With one slot there are no halves: troubled destinations are served."""
        self.leases.add("a", self.clock.seconds(), troubled=True)
        self.runner(limit=1)
        self.assertEqual(self.work.settled, [("a", "ok")])


class ErrorTests(RunnerTestCase):
    """When things break."""

    def test_database_away(self) -> None:
        """Q-9: after an error of the database nothing is asked of it for a minute."""
        self.leases.failing = StorageUnavailable("locked")
        runner = self.runner()
        for _ in range(3600):
            runner.wake()
            self.clock.advance(1)
        self.assertLessEqual(len(self.leases.claims), 61)
        self.assertGreaterEqual(len(self.leases.claims), 59)

    def test_database_comes_back(self) -> None:
        """Work goes on by itself when the database is back."""
        self.leases.failing = StorageUnavailable("locked")
        self.leases.add("a", self.clock.seconds())
        self.runner()
        self.pass_time(30)
        self.leases.failing = None
        self.pass_time(31)
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_bug_in_storage(self) -> None:
        """An unexpected error is logged, and the runner goes on after a while."""
        self.leases.failing = ZeroDivisionError("bug")
        self.leases.add("a", self.clock.seconds())
        self.runner()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.leases.failing = None
        self.pass_time(61)
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_nothing_to_take(self) -> None:
        """A destination always due that never has anything is asked twice a second at most."""
        self.leases.add("phantom", self.clock.seconds())
        self.work.untakeable.add("phantom")
        self.runner()
        self.pass_time(60, 0.02)
        self.assertLessEqual(self.leases.destinations["phantom"].fence, 121)
        self.assertFalse(self.leases.destinations["phantom"].owned)

    def test_one_claim(self) -> None:
        """Where less was due than there was room for, it is not asked a second time."""
        self.leases.add("a", self.clock.seconds())
        self.runner()
        self.assertEqual(len(self.leases.claims), 1)

    def test_two_claims(self) -> None:
        """The slots that trouble may not have are filled from the healthy alone (Q-9)."""
        for name in "abc":
            self.leases.add(name, self.clock.seconds())
        self.work.behaviour = dict.fromkeys("abc", hanging)
        self.runner(limit=4)
        self.assertEqual(
            [(count, troubled) for _, count, troubled in self.leases.claims],
            [(2, True), (2, False)],
        )

    def test_many_wakes(self) -> None:
        """A thousand wake-ups in a second cost at most fifty looks."""
        runner = self.runner()
        self.pass_time(1)
        before = len(self.leases.claims)
        for _ in range(1000):
            runner.wake()
            self.clock.advance(0.001)
        rounds = len({when for when, _, _ in self.leases.claims[before:]})
        self.assertLessEqual(rounds, 52)

    def test_bug_in_an_attempt(self) -> None:
        """An attempt that raises is a transient failure, logged."""

        def bug() -> str:
            raise ZeroDivisionError

        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = bug
        self.runner()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        ((name, outcome),) = self.work.settled
        self.assertEqual(name, "a")
        self.assertIn("internal error", outcome)

    def test_result_is_kept_until_recorded(self) -> None:
        """A result that cannot be recorded is recorded later; the attempt is not repeated."""
        self.work.unsettled = 4
        self.leases.add("a", self.clock.seconds())
        self.runner()
        self.pass_time(20)
        self.assertEqual(self.work.settled, [("a", "ok")])
        self.assertEqual(self.work.started, ["a"])

    def test_unrecordable_result(self) -> None:
        """A result that can never be recorded is dropped in the end, its lease left to run out."""
        self.work.unsettled = 10**6
        self.leases.add("a", self.clock.seconds())
        self.runner()
        self.pass_time(1000)
        self.assertTrue(self.leases.destinations["a"].owned)
        self.assertEqual(self.work.started, ["a"])
        self.work.unsettled = 0
        self.pass_time(100)
        self.assertEqual(self.work.settled, [])
        before = len(self.leases.renewals)
        self.pass_time(100)
        self.assertEqual(len(self.leases.renewals), before)


class LeaseTests(RunnerTestCase):
    """Owning destinations."""

    def test_renewed_while_attempts_run(self) -> None:
        """Leases are renewed well before their end, as long as an attempt runs."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        self.runner()
        self.pass_time(35)
        self.assertEqual(
            [[lease.name for lease in one] for one in self.leases.renewals], [["a"]] * 3
        )
        self.assertEqual(self.leases.renewed_for, [30.0] * 3)

    def test_lost_lease(self) -> None:
        """Who has lost a lease stops, and what came of the attempt is dropped quietly."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        self.runner()
        self.leases.lost.add("a")
        self.pass_time(11)
        self.assertEqual(self.work.cancelled, ["a"])
        self.assertEqual(self.work.settled, [])
        self.assertTrue(self.leases.destinations["a"].owned)
        self.assertEqual((self.work.left, self.work.forgotten), ([], ["a"]))

    def test_lost_while_taking(self) -> None:
        """What is had from the store when the lease is lost by then is not begun (Q-10)."""
        for is_lost in (True, False):
            self.setUp()
            self.leases.add("a")
            taken: Deferred[None] = Deferred()
            take = self.work.take

            async def slowly(
                lease: Lease, taken: Deferred[None] = taken, take: Any = take
            ) -> str | None:
                await taken
                task: str | None = await take(lease)
                return task

            self.work.take = slowly  # type: ignore[method-assign]  # slower
            self.runner()
            if is_lost:
                self.leases.lost.add("a")
            self.pass_time(11)
            taken.callback(None)
            self.assertEqual(self.work.started, [] if is_lost else ["a"])
            self.assertIs(self.leases.destinations["a"].owned, is_lost)

    def test_lost_at_settling(self) -> None:
        """A result for a lost lease is not tried again, nor is anything begun behind it."""
        self.leases.add("a", *(self.clock.seconds() - n for n in range(3)))
        self.leases.lost.add("a")
        self.work.most_unrecorded = 4
        self.runner()
        self.assertEqual(self.work.forgotten, ["a"])
        self.pass_time(1000)
        self.assertEqual(self.work.settled, [])
        self.assertEqual(self.work.started, ["a"])

    def test_renewed_before_claiming(self) -> None:
        """
        A clock set forward by a day makes leases look like those of the dead:
        they are renewed before anything is claimed.
        """
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        runner = self.runner()
        claims = len(self.leases.claims)
        at_renewal: list[int] = []
        renew = self.leases.renew

        async def noted(leases: Sequence[Lease], until: datetime) -> Sequence[Lease]:
            at_renewal.append(len(self.leases.claims))
            return await renew(leases, until)

        self.leases.renew = noted  # type: ignore[method-assign]  # notes when
        self.clock.rightNow += 86_400
        runner.wake()
        self.pass_time(0.1, 0.02)
        self.assertEqual(at_renewal[0], claims)
        self.assertGreater(len(self.leases.claims), claims)

    def test_set_back(self) -> None:
        """A clock that is set back by a day keeps nobody from what is added then."""
        runner = self.runner()
        self.pass_time(1)
        self.clock.rightNow -= 86_400
        self.leases.add("a", self.clock.seconds())
        runner.wake()
        self.pass_time(0.1, 0.02)
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_set_back_without_renewal(self) -> None:
        """
        While no lease can be renewed nothing is begun any more after half a minute, whoever
        sets the clock back meanwhile: others have what is ours by then.
        """
        steady = Clock()
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        runner = self.runner(steady=steady)
        self.leases.failing = StorageUnavailable("gone")
        for _ in range(29):
            steady.advance(1)
            self.pass_time(1)
        self.assertTrue(runner.is_sure)
        self.clock.rightNow -= 20
        self.assertTrue(runner.is_sure)
        steady.advance(1)
        self.assertFalse(runner.is_sure)
        self.leases.failing = None

    def test_asleep(self) -> None:
        """Nor where the machine slept, which only the time of day tells."""
        runner = self.runner(steady=Clock())
        self.leases.failing = StorageUnavailable("gone")
        self.clock.rightNow += 30
        self.assertFalse(runner.is_sure)
        self.leases.failing = None

    def test_sole_owner_voids(self) -> None:
        """Q-10: alone on the store, it ends the leases of the dead before anything else."""
        self.leases.add("a", self.clock.seconds())
        self.leases.destinations["a"].owned = True
        self.runner(sole=True)
        self.assertEqual(self.work.settled, [("a", "ok")])
        self.pass_time(20)
        self.assertEqual(self.leases.voided, 1)

    def test_one_of_many_does_not_void(self) -> None:
        """One of several processes leaves the leases of others alone."""
        self.leases.add("a", self.clock.seconds())
        self.leases.destinations["a"].owned = True
        self.runner()
        self.pass_time(20)
        self.assertEqual(self.leases.voided, 0)
        self.assertEqual(self.work.settled, [])


class StopTests(RunnerTestCase):
    """Stopping."""

    def test_nothing_new(self) -> None:
        """Q-1: once stopping, nothing new is begun, also where more is due."""
        done: Deferred[str] = Deferred()
        self.leases.add("a", self.clock.seconds(), self.clock.seconds())
        self.work.behaviour["a"] = lambda: done
        runner = self.runner()
        stopped = runner.stopService()
        self.leases.add("b", self.clock.seconds())
        runner.wake()
        self.pass_time(5)
        self.assertNoResult(stopped)
        done.callback("ok")
        self.successResultOf(stopped)
        self.assertEqual(self.work.settled, [("a", "ok")])
        self.assertEqual(self.work.started, ["a"])
        self.assertFalse(self.leases.destinations["a"].owned)

    def test_time_of_grace(self) -> None:
        """Q-1: attempts under way get 20 seconds, then are cut and left to be repeated."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        runner = self.runner()
        stopped = runner.stopService()
        self.pass_time(19.5)
        self.assertNoResult(stopped)
        self.assertEqual(self.work.cancelled, [])
        self.pass_time(1)
        self.successResultOf(stopped)
        self.assertEqual(self.work.cancelled, ["a"])
        self.assertEqual(self.work.settled, [])
        self.assertTrue(self.leases.destinations["a"].owned)

    def test_known_fates_are_recorded(self) -> None:
        """Q-1: what an attempt knows when it is cut short is recorded before the end."""
        recorded: Deferred[None] = Deferred()
        settle = self.work.settle

        async def slowly(lease: Lease, task: str, found: str) -> None:
            await recorded
            await settle(lease, task, found)

        self.patch(self.work, "settle", slowly)
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = partly_known
        runner = self.runner()
        stopped = runner.stopService()
        self.pass_time(22)
        self.assertNoResult(stopped)
        recorded.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.work.settled, [("a", "one of two")])
        self.assertTrue(self.leases.destinations["a"].owned)

    def test_recording_has_a_limit(self) -> None:
        """A store that does not record what is known keeps the process 5 seconds at most."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = partly_known
        self.work.unsettled = 1_000
        runner = self.runner()
        stopped = runner.stopService()
        self.pass_time(24.5)
        self.assertNoResult(stopped)
        self.pass_time(1)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_left_behind(self) -> None:
        """Nor does it go on with any of several results when it has ended."""
        answers = iter(["ok", "ok"])
        self.leases.add("a", *(self.clock.seconds() - n for n in range(3)))
        self.work.behaviour["a"] = lambda: next(answers, None) or hanging()
        self.work.most_unrecorded = 4
        self.work.unsettled = 1_000
        runner = self.runner()
        self.assertEqual(self.work.started, ["a"] * 3)
        stopped = runner.stopService()
        self.pass_time(25.5)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_recorded_by_then(self) -> None:
        """Nor does it wait for what is recorded already."""
        answers = iter(["ok", "ok"])
        self.leases.add("a", *(self.clock.seconds() - n for n in range(3)))
        self.work.behaviour["a"] = lambda: next(answers, None) or hanging()
        self.work.most_unrecorded = 4
        stopped = self.runner().stopService()
        self.pass_time(20)
        self.successResultOf(stopped)
        self.assertEqual(self.work.settled, [("a", "ok")] * 2)

    def test_idle(self) -> None:
        """An idle runner stops at once, in the pause after an error too."""
        runner = self.runner()
        self.successResultOf(runner.stopService())
        self.leases.failing = StorageUnavailable("locked")
        runner = self.runner()
        self.successResultOf(runner.stopService())

    def test_again(self) -> None:
        """A runner that was stopped can be started again."""
        runner = self.runner()
        self.successResultOf(runner.stopService())
        self.leases.add("a", self.clock.seconds())
        runner.startService()
        self.assertEqual(self.work.settled, [("a", "ok")])

    def test_unwilling_attempt(self) -> None:
        """An attempt that does not heed cancellation does not keep the process."""
        stubborn: Deferred[str] = Deferred(lambda _: None)

        async def attempt(task: str) -> str:
            del task
            while True:
                try:
                    return await Deferred()
                except BaseException:  # noqa: BLE001 - it is meant to be bad
                    await stubborn

        self.leases.add("a", self.clock.seconds())
        self.patch(self.work, "attempt", attempt)
        runner = self.runner()
        stopped = runner.stopService()
        self.pass_time(21)
        self.successResultOf(stopped)


class HangingTests(RunnerTestCase):
    """One bad domain never delays another."""

    def test_one_domain(self) -> None:
        """5000 messages to a domain that hangs, and 100 to a good one: those leave in 60 s."""
        self.leases.add("hanging", *[self.clock.seconds() - 1] * 5000)
        self.leases.add("good", *[self.clock.seconds()] * 100)
        self.work.behaviour["hanging"] = hanging
        self.runner(limit=2)
        self.pass_time(60)
        self.assertEqual(self.work.settled.count(("good", "ok")), 100)

    def test_many_domains(self) -> None:
        """So they do beside 250 domains that hang, each with a message due before them."""
        for number in range(250):
            self.leases.add(f"hanging{number}", self.clock.seconds() - 1)
            self.work.behaviour[f"hanging{number}"] = hanging
        self.leases.add("good", *[self.clock.seconds()] * 100)
        self.runner(limit=100)
        self.pass_time(60)
        self.assertEqual(self.work.settled.count(("good", "ok")), 100)

    def hang(self, count: int, *, silent: bool = True) -> None:
        """So many domains hang, each with a message due before all that follow."""
        for number in range(count):
            name = f"hanging{number}"
            self.leases.add(name, self.clock.seconds() - 1)
            self.work.behaviour[name] = hanging
            if silent:
                self.work.silent.add(name)

    def test_a_thousand_silent_ones(self) -> None:
        """
        A thousand domains that nobody has met hang; good ones, met before or not,
        wait for less than a minute, and what is due while they hang for seconds.
        """
        self.hang(1000)
        for number in range(100):
            self.leases.add(f"good{number}", self.clock.seconds())
        runner = self.runner(limit=100)
        self.pass_time(37, 0.05)
        good = [name for name, found in self.work.settled if found == "ok"]
        self.assertEqual(len(good), 100)
        self.leases.add("good0", self.clock.seconds())
        self.leases.add("new", self.clock.seconds())
        runner.wake()
        self.pass_time(10.1, 0.05)
        self.assertEqual(self.work.settled[-2:], [("good0", "ok"), ("new", "ok")])

    def test_how_many_wait(self) -> None:
        """Those that wait aside are no more than four for each slot."""
        self.hang(200)
        self.runner(limit=10)
        self.pass_time(60)
        self.assertEqual(self.work.most, 50)

    def test_waiting_is_no_failure(self) -> None:
        """Who waits aside is not cut while there is room for more of them."""
        self.hang(49)
        self.leases.add("good", self.clock.seconds())
        self.runner(limit=10)
        self.pass_time(300)
        self.assertEqual(self.work.settled, [("good", "ok")])
        self.assertEqual(self.work.cancelled, [])

    def test_speaking_is_no_waiting(self) -> None:
        """Attempts at work have no more than the slots."""
        self.hang(30, silent=False)
        self.runner(limit=10)
        self.pass_time(9)
        self.assertEqual(self.work.most, 10)

    def test_answered(self) -> None:
        """Whoever is answered has a slot again, and nothing begins while there are too many."""
        self.hang(20)
        self.runner(limit=10)
        self.pass_time(5)
        self.assertEqual(len(self.work.under_way), 20)
        self.work.silent.clear()
        self.pass_time(2)
        self.leases.add("good", self.clock.seconds())
        self.pass_time(2.5)
        self.assertNotIn("good", self.work.started)
        self.pass_time(10)
        self.assertIn(("good", "ok"), self.work.settled)

    def test_next_one_has_a_slot(self) -> None:
        """Whoever waited aside and goes on with the next message has a slot from its beginning."""
        now = self.clock.seconds()
        self.leases.add("a", now - 2, now - 1)
        answers: list[Deferred[str]] = [Deferred(), Deferred()]
        coming = iter(answers)
        self.work.behaviour["a"] = lambda: next(coming)
        self.work.silent.add("a")
        runner = self.runner(limit=1)
        self.pass_time(3)
        self.work.silent.clear()
        answers[0].callback("ok")
        self.assertEqual(self.work.started, ["a", "a"])
        self.leases.add("b", now)
        runner.wake()
        self.pass_time(1)
        self.assertNotIn("b", self.work.started)

    def test_troubled_ones_wait_aside_too(self) -> None:
        """
        Of a hundred silent ones that were in trouble before, twice as many as the
        slots are under way at once, and good ones leave beside them.
        """
        self.hang(100)
        for destination in self.leases.destinations.values():
            destination.troubled = True
        self.leases.add("good", self.clock.seconds())
        self.runner(limit=10)
        self.pass_time(60)
        self.assertEqual(len(self.work.under_way), 25)
        self.assertIn(("good", "ok"), self.work.settled)


class LongestTests(RunnerTestCase):
    """An attempt has a limit in all."""

    def test_ended(self) -> None:
        """After half an hour an attempt has failed, and another follows in its time."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        self.runner()
        self.pass_time(1799)
        self.assertEqual(self.work.settled, [])
        self.pass_time(2)
        self.assertEqual(
            self.work.settled, [("a", "failed: the attempt took longer than 30 minutes")]
        )
        self.assertFalse(self.leases.destinations["a"].owned)

    def test_keeps_what_is_known(self) -> None:
        """What was decided by then counts."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = partly_known
        self.runner()
        self.pass_time(1801)
        self.assertEqual(
            self.work.settled,
            [("a", "one of two, failed: the attempt took longer than 30 minutes")],
        )

    def test_lease_is_kept(self) -> None:
        """The destination is ours as long as that takes."""
        self.leases.add("a", self.clock.seconds())
        self.work.behaviour["a"] = hanging
        self.runner()
        self.pass_time(1800)
        self.assertGreaterEqual(len(self.leases.renewals), 178)
