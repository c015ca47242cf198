"""Who holds the slots."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.queue.occupancy import Occupancy


@dataclass(eq=False)
class Somebody:
    """Works."""

    crawling: bool = False


class OccupancyTests(unittest.SynchronousTestCase):
    """Of four slots."""

    def setUp(self) -> None:
        self.occupancy: Occupancy[Somebody] = Occupancy(4)

    def begun(self, count: int, *, troubled: bool = False) -> list[Somebody]:
        """So many."""
        workers = [Somebody() for _ in range(count)]
        for worker in workers:
            self.occupancy.begin(worker, troubled=troubled)
        return workers

    def crawl(self, *workers: Somebody) -> None:
        """Their attempts take long."""
        for worker in workers:
            worker.crawling = True
            self.occupancy.slowed(worker)

    def test_room(self) -> None:
        """Each slot has room for one at work."""
        self.assertEqual(self.occupancy.room, 4)
        self.begun(4)
        self.assertTrue(self.occupancy.is_full)

    def test_aside(self) -> None:
        """Who waits aside leaves his slot, and with five for each slot there is no more room."""
        for _ in range(4):
            for worker in self.begun(4):
                self.occupancy.step_aside(worker)
            self.assertEqual(self.occupancy.room, 4)
        self.begun(4)
        self.assertTrue(self.occupancy.is_full)

    def test_back(self) -> None:
        """Who steps back has a slot again, though there is none."""
        (first,) = self.begun(1)
        self.occupancy.step_aside(first)
        self.begun(4)
        self.occupancy.step_back(first)
        self.assertEqual(self.occupancy.room, -1)
        self.occupancy.end(first)
        self.assertEqual(self.occupancy.room, 0)

    def test_trouble(self) -> None:
        """The troubled have half of the slots, and wait in no more than half of all places."""
        for expected in (2, 2, 2, 2, 2, 0):
            self.assertEqual(self.occupancy.room_for_trouble, expected)
            for worker in self.begun(2, troubled=True):
                self.occupancy.step_aside(worker)
        self.assertEqual(self.occupancy.room, 4)

    def test_loan_of_slots(self) -> None:
        """Who waits aside makes no room at work, so others are cut."""
        workers = self.begun(5)
        self.occupancy.step_aside(workers[4])
        self.crawl(*workers)
        self.assertEqual(self.occupancy.on_loan(), workers[2:4])

    def test_loan_in_all(self) -> None:
        """Where too many wait, those are cut who became slow last, wherever they are."""
        workers = self.begun(20)
        for worker in workers[:18]:
            self.occupancy.step_aside(worker)
        self.crawl(*workers[::-1])
        self.assertEqual(self.occupancy.on_loan(), workers[9::-1])

    def test_leaving(self) -> None:
        """Who was told to go is not told again, and counts until he has gone."""
        workers = self.begun(4)
        self.crawl(*workers)
        self.occupancy.dismiss(workers[3])
        self.assertEqual(self.occupancy.on_loan(), workers[2:3])
        self.assertEqual((self.occupancy.leaving, self.occupancy.room), (1, 0))
        self.occupancy.end(workers[3])
        self.assertEqual((self.occupancy.leaving, self.occupancy.room), (0, 1))

    def test_recovered(self) -> None:
        """Who is in good health again is cut for nobody."""
        workers = self.begun(4)
        self.crawl(*workers)
        self.occupancy.recovered(workers[0])
        self.assertEqual(self.occupancy.on_loan(), workers[3:])

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=60))
    def test_everything_comes_to_an_end(self, moves: list[tuple[int, int]]) -> None:
        """Whatever happened, when all have gone there is room for as many as there are slots."""
        occupancy: Occupancy[Somebody] = Occupancy(4)
        workers: list[Somebody] = []
        for move, number in moves:
            if move == 0 and not occupancy.is_full:
                workers.append(Somebody(crawling=number % 2 == 0))
                occupancy.begin(workers[-1], troubled=number % 3 == 0)
            elif workers:
                worker = workers[number % len(workers)]
                step = (
                    occupancy.step_aside,
                    occupancy.step_back,
                    occupancy.slowed,
                    occupancy.dismiss,
                    occupancy.recovered,
                )[move - 1]
                step(worker)
            self.assertLessEqual(len(workers), 20)
            self.assertLessEqual(len(occupancy.on_loan()), max(0, len(workers) - 2))
        for worker in workers:
            occupancy.end(worker)
        self.assertEqual((occupancy.room, occupancy.leaving), (4, 0))
        self.assertEqual(occupancy.room_for_trouble, 2)
