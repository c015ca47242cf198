"""Tests for L{moxsmtp.store.alike}; with a database, in L{tests.store.test_database}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.store.alike import Alike, bundled
from moxsmtp.store.crew import Done, Outcome, Work
from moxsmtp.store.database import Transaction

NO_TX = cast("Transaction", None)


def doubled(_: Transaction, parts: Sequence[int]) -> Sequence[Outcome]:
    """One kind."""
    return [Done(2 * part) for part in parts]


def squared(_: Transaction, parts: Sequence[int]) -> Sequence[Outcome]:
    """Another."""
    return [Done(part * part) for part in parts]


class BundledTests(SynchronousTestCase):
    """What is done at once."""

    def test_kinds(self) -> None:
        """Each kind at once, whatever stands between; each unit is answered at its place."""
        works: list[Work] = [Alike(doubled, 5), lambda _: "a", Alike(squared, 5), Alike(doubled, 7)]
        bundles = bundled(works)
        self.assertEqual([list(places) for places, _ in bundles], [[0, 3], [1], [2]])
        self.assertEqual(
            [work(NO_TX) for _, work in bundles],
            [[Done(10), Done(14)], (Done("a"),), (Done(25),)],
        )

    def test_same(self) -> None:
        """One function twice, of no kind, is two units."""

        def work(_: Transaction) -> int:
            return 1

        self.assertEqual([list(places) for places, _ in bundled([work, work])], [[0], [1]])
