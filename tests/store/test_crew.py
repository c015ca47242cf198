"""Tests for L{moxsmtp.store.crew}."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.store import crew as crew_module
from moxsmtp.store.crew import Crew, Done, Outcome, Work
from moxsmtp.store.database import Transaction
from tests.store.engine import CountingReactor


class Worker:
    """Does what units say, without a database, once it may."""

    patience: float | None = None

    def __init__(self, go_on: threading.Event, groups: list[int]) -> None:
        self.go_on = go_on
        self.groups = groups

    def run(
        self, begin: Callable[[], Sequence[Work]], worked: Callable[[], None]
    ) -> Sequence[Outcome]:
        """See L{moxsmtp.store.crew.Worker.run}."""
        self.go_on.wait(60)
        works = begin()
        self.groups.append(len(works))
        outcomes = [Done(work(cast("Transaction", None))) for work in works]
        worked()
        return outcomes

    def tidy(self) -> None:
        """Nothing."""

    def rest(self) -> bool:
        """Never."""
        raise AssertionError("it has no patience")

    def close(self) -> None:
        """Tell."""
        self.groups.append(0)


class CrewTests(SynchronousTestCase):
    """Threads in front of one queue."""

    def setUp(self) -> None:
        """Of one thread, which has to wait."""
        self.reactor = CountingReactor()
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        self.groups: list[int] = []

    def crew(self, *, bound: int, threads: int = 1, batch: int = 1) -> Crew:
        """A crew that is stopped with the test."""
        crew = Crew(
            self.reactor,
            "test",
            [lambda: Worker(self.go_on, self.groups)] * threads,
            bound=bound,
            batch=batch,
        )
        self.addCleanup(self.stop, crew)
        return crew

    def stop(self, crew: Crew) -> None:
        """And wait for that."""
        self.go_on.set()
        stopped = crew.stop()
        self.reactor.wait(stopped)
        self.successResultOf(stopped)

    def result(self, unit: Deferred[Any]) -> object:
        """What it comes to."""
        self.reactor.wait(unit)
        return self.successResultOf(unit)

    def test_bound(self) -> None:
        """Never more units than the bound are with the threads; the rest follow in order."""
        crew = self.crew(bound=3)
        ended: list[int] = []

        def work(number: int) -> Work:
            return lambda _: ended.append(number)

        units = [crew.submit(work(number)) for number in range(10)]
        self.assertEqual((crew.handed, crew.load), (3, 10))
        self.go_on.set()
        for number, unit in enumerate(units):
            self.result(unit)
            self.assertLessEqual(crew.handed, 3)
            self.assertEqual(crew.load, 9 - number)
        self.assertEqual(ended, list(range(10)))

    def test_dropped_give_room(self) -> None:
        """What was cancelled takes no place for good, with the threads or before them."""
        crew = self.crew(bound=3)
        units = [crew.submit(lambda _: None) for _ in range(10)]
        for unit in units[1:9]:
            unit.cancel()
            self.failureResultOf(unit)
        self.go_on.set()
        self.result(units[9])
        self.assertEqual((crew.handed, crew.load), (0, 0))

    def test_batch(self) -> None:
        """A thread takes as many as have queued, up to so many."""
        crew = self.crew(bound=100, batch=4)
        first = crew.submit(lambda _: None)
        units = [crew.submit(lambda _: None) for _ in range(9)]
        self.go_on.set()
        for unit in (first, *units):
            self.result(unit)
        self.assertEqual(sum(self.groups), 10)
        self.assertEqual(max(self.groups), 4)

    def test_came_meanwhile(self) -> None:
        """
        While the thread waits for others before it begins, what comes is added, and what
        is cancelled is not done.
        """
        crew = self.crew(bound=100, batch=10)
        done: list[str] = []
        first = crew.submit(lambda _: done.append("first"))
        self.reactor.turns()
        cancelled = crew.submit(lambda _: done.append("cancelled"))
        last = crew.submit(lambda _: done.append("last"))
        self.reactor.turns()
        cancelled.cancel()
        self.failureResultOf(cancelled)
        self.go_on.set()
        for unit in (first, last):
            self.result(unit)
        self.assertEqual(done, ["first", "last"])
        self.assertEqual(self.groups, [2])

    def test_gathers(self) -> None:
        """Units of a few turns of the reactor are handed over together, and many at once."""
        crew = self.crew(bound=100, batch=100)
        self.go_on.set()
        early = crew.submit(lambda _: None)
        self.reactor.turn()
        late = crew.submit(lambda _: None)
        self.result(early)
        self.result(late)
        self.assertEqual(self.groups, [2])
        many = [crew.submit(lambda _: None) for _ in range(20)]
        self.reactor.turn()
        self.reactor.next_call()()
        self.result(many[-1])
        self.assertEqual(self.groups, [2, 20])

    def test_gives_way(self) -> None:
        """
        A group begins when the reactor's turn ends, with all that came until then,
        and the reactor goes on once the last of them is done.
        """
        self.patch(crew_module, "_WAY", 60.0)
        crew = self.crew(bound=100, batch=10)
        self.go_on.set()
        done: list[int] = []
        crew.submit(lambda _: done.append(1))  # type: ignore[unused-awaitable]  # seen by what it does
        self.reactor.turns()
        give_way = self.reactor.next_call()
        last = crew.submit(lambda _: done.append(2))
        give_way()
        self.assertEqual(done, [1, 2])
        self.result(last)
        self.assertEqual(self.groups, [2])

    def test_not_for_long(self) -> None:
        """The reactor does not wait for a unit that takes long, nor a unit for the reactor."""
        self.patch(crew_module, "_WAY", 0.001)
        crew = self.crew(bound=100, batch=10)
        self.go_on.set()
        begun, goes_on = threading.Event(), threading.Event()
        self.addCleanup(goes_on.set)

        def takes_long(_: object) -> bool:
            begun.set()
            return goes_on.wait(60)

        unit = crew.submit(takes_long)
        self.reactor.turns()
        # Nobody has given way yet.
        self.assertTrue(begun.wait(60))
        self.reactor.next_call()()
        self.assertFalse(goes_on.is_set())
        goes_on.set()
        self.assertIs(self.result(unit), True)

    def test_never_begun(self) -> None:
        """Without work there are no threads to stop."""
        before = threading.active_count()
        crew = self.crew(bound=1, threads=5)
        self.assertEqual(threading.active_count(), before)
        self.stop(crew)
        self.assertEqual(self.groups, [])

    def test_all_go_home(self) -> None:
        """Each thread closes what it has, and is gone once stopping is over."""
        before = threading.active_count()
        crew = self.crew(bound=10, threads=3)
        self.go_on.set()
        self.result(crew.submit(lambda _: None))
        self.stop(crew)
        self.assertEqual(self.groups.count(0), 3)
        self.assertEqual(threading.active_count(), before)

    def test_what_follows_fails(self) -> None:
        """A bug in what follows one unit leaves no other without its answer."""
        crew = self.crew(bound=10, batch=4)

        def fails(_: bool) -> None:
            raise LookupError("a bug")

        held = crew.submit(lambda _: 0)
        units = [crew.submit(lambda _: 1, fails), crew.submit(lambda _: 2)]
        self.go_on.set()
        self.assertEqual([self.result(unit) for unit in (held, *units)], [0, 1, 2])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
