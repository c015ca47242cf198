"""Tests for L{moxsmtp.worker.places}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.places import Places


class PlaceTests(SynchronousTestCase):
    """Connections of all workers."""

    def setUp(self) -> None:
        """Four places at one listener, two at the other."""
        self.told: list[tuple[str, bool]] = []
        self.places = Places(lambda listener, crowded: self.told.append((listener, crowded)))
        self.places.obey({"a": 4, "b": 2})

    def test_full(self) -> None:
        """So many as there are places, whichever worker has them (S-12)."""
        self.assertEqual([self.places.take("a", n % 2) for n in range(5)], [True] * 4 + [False])
        self.assertTrue(self.places.take("b", 0))
        self.places.give("a", 1)
        self.assertEqual([self.places.take("a", 0), self.places.take("a", 0)], [True, False])

    def test_crowded(self) -> None:
        """What is told is whether more than half are in use, and only when that changes (S-16)."""
        for _ in range(4):
            self.places.take("a", 0)
        self.assertEqual(self.told, [("a", True)])
        self.assertEqual(self.places.crowds, {"a"})
        self.places.give("a", 0, 2)
        self.assertEqual(self.told, [("a", True), ("a", False)])
        self.places.obey({"a": 3})
        self.assertEqual(self.told[2:], [("a", True)])

    def test_forsaken(self) -> None:
        """A worker's end frees all that it had, and what it says late frees nothing more."""
        for worker in (0, 0, 1, 1):
            self.places.take("a", worker)
        self.places.forsake(0)
        self.assertEqual((self.places.held(0), self.places.held(1)), (0, 2))
        self.places.give("a", 0, 2)
        self.assertEqual([self.places.take("a", 1) for _ in range(3)], [True, True, False])

    def test_fewer(self) -> None:
        """With fewer places nobody is sent away, and nobody comes until there is room."""
        for _ in range(4):
            self.places.take("a", 0)
        self.places.obey({"a": 2})
        self.assertEqual(self.places.held(0), 4)
        self.places.give("a", 0, 2)
        self.assertFalse(self.places.take("a", 0))
        self.places.give("a", 0)
        self.assertTrue(self.places.take("a", 0))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("tgf"), st.integers(0, 2)), max_size=60))
    def test_model(self, steps: list[tuple[str, int]]) -> None:
        """Whatever happens in whatever order, the count is that of those who are there."""
        places = Places(lambda _listener, _crowded: None)
        places.obey({"a": 5})
        there = {0: 0, 1: 0, 2: 0}
        for step, worker in steps:
            if step == "t":
                room = sum(there.values()) < 5
                self.assertEqual(places.take("a", worker), room)
                there[worker] += room
            elif step == "g":
                places.give("a", worker)
                there[worker] = max(0, there[worker] - 1)
            else:
                places.forsake(worker)
                there[worker] = 0
            self.assertEqual([places.held(n) for n in there], list(there.values()))
            self.assertEqual(bool(places.crowds), 2 * sum(there.values()) > 5)
