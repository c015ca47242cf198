"""
How long a regular expression can take, told from the expression alone.

Python's matcher goes through the ways to read a text one after the other.  Where a
text can be read in ever more ways the longer it is, it takes more than linear time
before it fails.  That is so just if some word C{v} leads, in the automaton of the
expression, either from a place back to it in two ways, which makes exponentially
many; or from one place back to it, from there to another, and from that back to it,
which makes a power of the length.  What searches, as C{search} and C{sub} do, begins
with a place that reads anything.

Where this is not exact it errs towards complaint: an atomic group counts as an
ordinary one, but for what it takes octet by octet; a look ahead is another way to
go on.  Repetitions up to 64 times are no danger, others count as endless.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from tests.automaton import Automaton, Step, Unreadable

__all__ = ["Unreadable", "ambiguity"]


def ambiguity(pattern: re.Pattern[Any], *, searches: bool, whole: bool) -> str | None:
    """
    Why an expression is not linear; L{None}: it is.

    @param searches: It is not bound to a beginning.
    @param whole: What follows it is looked at: C{fullmatch}.
    @raise Unreadable: That cannot be told.
    """
    automaton = Automaton(pattern, searches=searches)
    steps, safe = automaton.graph(ends_anywhere=not whole)
    component = _components(steps)
    looping = [
        place for place in steps
        if any(component[step.target] == component[place] for step in steps[place])
    ]  # fmt: skip
    for place in looping:
        if place not in safe and _returns_twice(steps, component, place):
            return "exponential"
    reach = {place: _reachable(steps, place) for place in looping}
    for one, other in itertools.permutations(looping, 2):
        if other in safe or one in safe or other not in reach[one]:
            continue
        if _drifts(steps, component, one, other):
            return "polynomial"
    return None


def _components(steps: dict[int, list[Step]]) -> dict[int, int]:
    """Each place's strongly connected component."""
    reach = {place: _reachable(steps, place) for place in steps}
    component: dict[int, int] = {}
    for place in steps:
        if place not in component:
            for other in reach[place] | {place}:
                if other == place or place in reach[other]:
                    component[other] = place
    return component


def _reachable(steps: dict[int, list[Step]], start: int) -> set[int]:
    found: set[int] = set()
    pending = [start]
    while pending:
        for step in steps[pending.pop()]:
            if step.target not in found:
                found.add(step.target)
                pending.append(step.target)
    return found


def _returns_twice(steps: dict[int, list[Step]], component: dict[int, int], place: int) -> bool:
    """Whether one word leads back to a place in two ways."""

    def within(here: int) -> Sequence[Step]:
        return [step for step in steps[here] if component[step.target] == component[place]]

    # Pairs of places, and whether they have come by different ways yet.
    seen = {(place, place, False)}
    pending = [(place, place, False)]
    while pending:
        left, right, are_two = pending.pop()
        for (at, one), (other_at, other) in itertools.product(
            enumerate(within(left)), enumerate(within(right))
        ):
            if not one.letters & other.letters:
                continue
            differ = are_two or left != right or at != other_at
            pair = (one.target, other.target, differ)
            if pair == (place, place, True):
                return True
            if pair not in seen:
                seen.add(pair)
                pending.append(pair)
    return False


def _drifts(steps: dict[int, list[Step]], component: dict[int, int], one: int, other: int) -> bool:
    """Whether a word leads from one place back to it, to the other, and there back to it."""
    begin, goal = (one, one, other), (one, other, other)
    seen, pending = {begin}, [begin]
    while pending:
        first, middle, last = pending.pop()
        for a in steps[first]:
            if component[a.target] != component[one]:
                continue
            for c in steps[last]:
                common = a.letters & c.letters
                if not common or component[c.target] != component[other]:
                    continue
                for b in steps[middle]:
                    triple = (a.target, b.target, c.target)
                    if not common & b.letters or triple in seen:
                        continue
                    if triple == goal:
                        return True
                    seen.add(triple)
                    pending.append(triple)
    return False
