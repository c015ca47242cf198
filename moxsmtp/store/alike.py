"""Units of work of one kind: several that wait for the same commit are done at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from moxsmtp.store.crew import Done, Outcome, Raised, Work
from moxsmtp.store.transaction import Transaction

__all__ = ["Alike", "bundled"]

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Alike(Generic[Part]):
    """
    A unit of work.  By itself it does for its part what it does for all in a group that
    has several of its kind, with fewer statements.

    @ivar do: What came of each part, in their order.  What it tells to have been
        L{Raised} has changed nothing.
    """

    do: Callable[[Transaction, Sequence[Part]], Sequence[Outcome]]
    part: Part

    def __call__(self, tx: Transaction) -> object:
        """Alone."""
        (outcome,) = self.do(tx, (self.part,))
        if isinstance(outcome, Raised):
            raise outcome.error
        return outcome.value


def bundled(
    works: Sequence[Work],
) -> Sequence[tuple[Sequence[int], Callable[[Transaction], Sequence[Outcome]]]]:
    """
    @return: What there is to do, those of one kind at once; each with the places of the
        units that it answers, which its outcomes are for.
    """
    kinds: dict[object, list[int]] = {}
    for place, work in enumerate(works):
        kinds.setdefault(work.do if isinstance(work, Alike) else place, []).append(place)
    return [(places, _one(works, places)) for places in kinds.values()]


def _one(
    works: Sequence[Work], places: Sequence[int]
) -> Callable[[Transaction], Sequence[Outcome]]:
    if len(places) == 1:
        work = works[places[0]]
        return lambda tx: (Done(work(tx)),)
    several = [each for place in places if isinstance(each := works[place], Alike)]
    do = several[0].do
    return lambda tx: do(tx, tuple([each.part for each in several]))
