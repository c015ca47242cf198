"""Regular expressions as automata, so far as they can be."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from re import _constants as sre  # type: ignore[attr-defined]  # the parser has no public name
from re import _parser as parser  # type: ignore[attr-defined]  # the same
from typing import Any, Final

__all__ = ["Automaton", "Step", "Unreadable"]

#: Characters that stand for all that there are: each class of an expression has some.
_LETTERS: Final = [chr(number) for number in range(256)] + list(
    "\u0130\u0131\u017f\u0660\u20ac\u2003\u2028\u3002\u4e00\ud800\uff20\U0001d7ce\U0010ffff"
)

#: Repeated at most so often, something costs a constant.
_FEW: Final = 64

#: So many copies stand for a repetition that is no danger in itself.
_COPIES: Final = 3

#: Ways through an expression that read nothing; one with more has to be rewritten.
_WAYS: Final = 5000

#: The same of octets.
_OCTETS: Final = _LETTERS[:256]

_REPEATS: Final = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)

_Mask = int


@functools.cache
def _range(low: int, high: int, *, are_octets: bool, ignores_case: bool) -> _Mask:
    """The characters from one to another."""
    mask = 0
    for at, letter in enumerate(_OCTETS if are_octets else _LETTERS):
        forms = {letter}
        if ignores_case:
            forms |= {letter.lower(), letter.upper(), letter.swapcase(), letter.casefold()}
        if any(len(form) == 1 and low <= ord(form) <= high for form in forms):
            mask |= 1 << at
    return mask


class Unreadable(ValueError):
    """The expression has something in it that no automaton can do."""


@dataclass(frozen=True, slots=True)
class _Silent:
    """
    A way that reads nothing.

    @ivar ahead: What the next character may be; -1: there may be none, too.
    @ivar behind: The same of the last one.
    @ivar may_fail: Where it cannot be gone, nothing else can be done.
    """

    target: int
    ahead: _Mask = -1
    behind: _Mask = -1
    may_fail: bool = False


@dataclass(slots=True)
class _Place:
    """
    A state.

    @ivar reads: Characters, and where they lead; L{None}: it reads nothing.
    @ivar silent: Where one gets without reading.
    """

    reads: tuple[_Mask, int] | None = None
    silent: list[_Silent] = field(default_factory=list)
    is_success: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One character on, by one of the ways there are."""

    letters: _Mask
    target: int


class Automaton:
    """
    Of one expression.  Places are numbers.

    @param searches: It begins with a place that reads anything.
    """

    def __init__(self, pattern: re.Pattern[Any], *, searches: bool) -> None:
        self._flags = pattern.flags
        is_bytes = isinstance(pattern.pattern, bytes)
        self.letters = _OCTETS if is_bytes else _LETTERS
        self.all: _Mask = (1 << len(self.letters)) - 1
        self.places: list[_Place] = []
        self.looks_back = False
        tree = parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
        self.start = self._place()
        end = self._sequence(tree, self.start, self._flags)
        self.places[end].is_success = True
        self.entry = self.start
        if searches:
            self.entry = self._place()
            loop = self._place()
            self._go(self.entry, loop)
            self.places[loop].reads = (self.all, self.entry)
            self._go(self.entry, self.start)

    # -- building

    def _place(self) -> int:
        self.places.append(_Place())
        return len(self.places) - 1

    def _go(self, here: int, there: int, *, ahead: _Mask = -1, behind: _Mask = -1) -> None:
        may_fail = ahead != -1 or behind != -1
        self.places[here].silent.append(_Silent(there, ahead, behind, may_fail))

    def _try(self, here: int, there: int) -> None:
        """Go on where something holds of which we know nothing."""
        self.places[here].silent.append(_Silent(there, may_fail=True))

    def _leave(self, here: int, there: int, taken: _Mask) -> None:
        """Go on where none of these comes next; with one of them there is another way."""
        self.places[here].silent.append(_Silent(there, ahead=~taken))

    def _sequence(self, tree: Iterable[Any], here: int, flags: int) -> int:
        for operation, argument in tree:
            here = self._node(operation, argument, here, flags)
        return here

    def _node(self, operation: Any, argument: Any, here: int, flags: int) -> int:
        letters = self._letters(operation, argument, flags)
        if letters is not None:
            there, reader = self._place(), self._place()
            self._go(here, reader)
            self.places[reader].reads = (letters, there)
        elif operation is sre.BRANCH:
            there = self._either(argument[1], here, flags)
        elif operation is sre.SUBPATTERN:
            _, added, removed, tree = argument
            there = self._sequence(tree, here, (flags | added) & ~removed)
        elif operation is sre.ATOMIC_GROUP:
            there = self._atom(argument, here, flags)
        elif operation in _REPEATS:
            there = self._repeat(operation, argument, here, flags)
        elif operation in {sre.ASSERT, sre.ASSERT_NOT}:
            there = self._look(operation, argument, here, flags)
        elif operation is sre.GROUPREF_EXISTS:
            _, then, otherwise = argument
            there = self._either((then, otherwise or []), here, flags)
        elif operation is sre.AT:
            there = self._at(argument, here, flags)
        else:
            raise Unreadable(str(operation))
        return there

    def _atom(self, tree: Any, here: int, flags: int) -> int:
        """An atomic group that is one repetition is that repetition, made possessive."""
        if len(tree) == 1 and tree[0][0] is sre.MAX_REPEAT:
            return self._repeat(sre.POSSESSIVE_REPEAT, tree[0][1], here, flags)
        return self._sequence(tree, here, flags)

    def _either(self, branches: Iterable[Iterable[Any]], here: int, flags: int) -> int:
        there = self._place()
        for branch in branches:
            begin = self._place()
            self._go(here, begin)
            self._go(self._sequence(branch, begin, flags), there)
        return there

    def _repeat(self, operation: Any, argument: Any, here: int, flags: int) -> int:
        least, most, tree = argument
        # What surely would have been taken does not come next.
        taken = self._taken(tree, flags) if operation is sre.POSSESSIVE_REPEAT else 0
        end = self._place()
        is_endless = most is sre.MAXREPEAT or most > _FEW
        for _ in range(min(least, _COPIES)):
            here = self._sequence(tree, here, flags)
        if is_endless:
            loop, begin = self._place(), self._place()
            self._go(here, loop)
            self._go(loop, begin)
            self._go(self._sequence(tree, begin, flags), loop)
            self._leave(loop, end, taken)
            return end
        for _ in range(min(most - least, _COPIES)):
            self._leave(here, end, taken)
            here = self._sequence(tree, here, flags)
        self._go(here, end)
        return end

    def _look(self, operation: Any, argument: Any, here: int, flags: int) -> int:
        there = self._place()
        direction, tree = argument
        nodes: list[tuple[Any, Any]] = list(tree)
        (kind, inner), *more = nodes
        letters = None if more else self._letters(kind, inner, flags)
        if letters is not None:
            wanted = letters if operation is sre.ASSERT else ~letters
            if direction < 0:
                self.looks_back = True
                self._go(here, there, behind=wanted)
            else:
                self._go(here, there, ahead=wanted)
            return there
        if direction > 0:
            # What it reads it reads again whenever one comes by, to whatever end.
            begin = self._place()
            self._go(here, begin)
            self._sequence(nodes, begin, flags)
        self._try(here, there)
        return there

    def _at(self, where: Any, here: int, flags: int) -> int:
        there = self._place()
        newline = self._mask("\n")
        if where in {sre.AT_BEGINNING, sre.AT_BEGINNING_STRING}:
            self.looks_back = True
            is_line = where is sre.AT_BEGINNING and flags & re.MULTILINE
            self._go(here, there, behind=newline if is_line else 0)
        elif where in {sre.AT_END, sre.AT_END_STRING}:
            self._go(here, there, ahead=newline if where is sre.AT_END else 0)
        else:
            self._try(here, there)
        return there

    # -- classes of characters

    def _mask(self, letters: Iterable[str]) -> _Mask:
        wanted = set(letters)
        return sum(1 << at for at, letter in enumerate(self.letters) if letter in wanted)

    def _letters(self, operation: Any, argument: Any, flags: int) -> _Mask | None:
        """What a node reads that reads one character; L{None}: it is another."""
        if operation is sre.ANY:
            return self.all & ~(0 if flags & re.DOTALL else self._mask("\n"))
        if operation not in {sre.LITERAL, sre.NOT_LITERAL, sre.IN}:
            return None
        items = argument if operation is sre.IN else [(sre.LITERAL, argument)]
        is_negative = operation is sre.NOT_LITERAL
        mask = 0
        for kind, value in items:
            if kind is sre.NEGATE:
                is_negative = True
            else:
                mask |= self._item(kind, value, flags)
        return self.all & ~mask if is_negative else mask

    def _item(self, kind: Any, value: Any, flags: int) -> _Mask:
        if kind is sre.CATEGORY:
            return self._category(value, flags)
        low, high = value if kind is sre.RANGE else (value, value)
        mask = _range(
            *(low, high),
            are_octets=self.letters is _OCTETS,
            ignores_case=bool(flags & re.IGNORECASE),
        )
        # Of characters that nothing here stands for, any may be one.
        return mask or self._mask(_LETTERS[256:])

    def _category(self, category: Any, flags: int) -> _Mask:
        is_ascii = bool(flags & re.ASCII) or len(self.letters) == 256
        sets = {
            "DIGIT": self._mask(
                letter for letter in self.letters
                if (letter in string.digits if is_ascii else letter.isdecimal())
            ),
            "SPACE": self._mask(
                letter for letter in self.letters
                if (letter in string.whitespace if is_ascii else letter.isspace())
            ),
            "WORD": self._mask(
                letter for letter in self.letters
                if letter == "_" or (letter.isalnum() and (letter.isascii() or not is_ascii))
            ),
        }  # fmt: skip
        words = str(category).split("_")
        mask = sets[words[-1]]
        return self.all & ~mask if "NOT" in words else mask

    def _taken(self, tree: Iterable[Any], flags: int) -> _Mask:
        """Characters each of which is read by this, whatever follows."""
        nodes = list(tree)
        if len(nodes) != 1:
            return 0
        operation, argument = nodes[0]
        letters = self._letters(operation, argument, flags)
        if letters is not None:
            return letters
        if operation is sre.BRANCH:
            mask = 0
            for branch in argument[1]:
                mask |= self._taken(branch, flags)
            return mask
        if operation is sre.SUBPATTERN:
            return self._taken(argument[3], (flags | argument[1]) & ~argument[2])
        if operation in _REPEATS:
            return self._taken(argument[2], flags) if argument[0] <= 1 else 0
        return 0

    # -- reading

    def _ways(self, here: int) -> Iterator[_Silent]:
        """From a place, without reading, to those that read or are the end of all."""
        count = 0
        # A way may come by a place again, as that of an empty repetition does; once.
        pending: list[tuple[_Silent, tuple[int, ...]]] = [(_Silent(here), ())]
        while pending:
            way, seen = pending.pop()
            place = self.places[way.target]
            if place.reads is not None or place.is_success:
                count += 1
                if count > _WAYS:
                    raise Unreadable("too many ways to read nothing")
                yield way
            for on in place.silent:
                if seen.count(on.target) < 2:
                    further = _Silent(
                        on.target,
                        way.ahead & on.ahead,
                        way.behind & on.behind,
                        way.may_fail or on.may_fail,
                    )
                    pending.append((further, (*seen, on.target)))

    def graph(self, *, ends_anywhere: bool) -> tuple[dict[int, list[Step]], set[int]]:
        """
        Steps by place, where a place is one and the class of the character just read.

        @param ends_anywhere: Success is not bound to the end of the text.
        @return: Also, the places from which nothing can fail any more.
        """
        groups = self._groups() if self.looks_back else [self.all]
        numbers: dict[tuple[int, _Mask], int] = {}
        steps: dict[int, list[Step]] = {}
        safe: set[int] = set()
        # Behind nothing at all there is no character: only a negative look back holds.
        pending = [(self.entry, 0)]
        numbers[self.entry, 0] = 0
        while pending:
            place, last = key = pending.pop()
            number = numbers[key]
            steps[number] = []
            for way in self._ways(place):
                behind = way.behind
                holds = behind == -1 or (last & behind if last else behind <= 0)
                if not holds:
                    continue
                reads = self.places[way.target].reads
                if reads is None:
                    if ends_anywhere and not way.may_fail:
                        safe.add(number)
                    continue
                for group in groups:
                    letters = reads[0] & way.ahead & group & self.all
                    if letters:
                        target = (reads[1], group)
                        if target not in numbers:
                            numbers[target] = len(numbers)
                            pending.append(target)
                        steps[number].append(Step(letters, numbers[target]))
        return steps, safe

    def _groups(self) -> list[_Mask]:
        """The characters, parted by what is asked of the last one."""
        groups = [self.all]
        masks = {way.behind for place in self.places for way in place.silent}
        for mask in masks - {-1, 0}:
            groups = [part for group in groups for part in (group & mask, group & ~mask) if part]
        return groups
