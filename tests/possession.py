"""
Whether every Python that we run on reads a possessive repetition alike.

Before 3.11.5, when an item of a possessive repetition fails behind a place that the
engine has put down, matching goes on from that place: C{(?:a|%b+c)*+} takes "a%bb".
An item that fails before its second character is right in all of them, and so is
one in which nothing can fail any more once a place has been put down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants as sre  # type: ignore[attr-defined]  # the parser has no public name
from re import _parser as parser  # type: ignore[attr-defined]  # the same
from typing import Any, Final

__all__ = ["is_read_alike"]

_ONE: Final = frozenset({sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY, sre.AT})
_REPEATS: Final = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT})


def is_read_alike(pattern: re.Pattern[Any]) -> bool:
    """False: Python 3.11.2 may let it match what 3.11.5 does not."""
    return all(
        _is_simple(item) or _Item().fails_early(item)
        for item in _possessed(parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG))
    )


def _possessed(tree: Iterable[Any]) -> Iterable[Any]:
    """What is repeated possessively, at any depth."""
    for operation, argument in tree:
        if operation is sre.POSSESSIVE_REPEAT:
            yield argument[2]
        for inner in _inner(operation, argument):
            yield from _possessed(inner)


def _inner(operation: Any, argument: Any) -> list[Any]:
    if operation is sre.BRANCH:
        return list(argument[1])
    if operation in _REPEATS:
        return [argument[2]]
    if operation is sre.SUBPATTERN:
        return [argument[3]]
    if operation in (sre.ASSERT, sre.ASSERT_NOT):
        return [argument[1]]
    return [argument] if operation is sre.ATOMIC_GROUP else []


def _is_simple(item: Any) -> bool:
    """One character, for which the engine has a loop of its own."""
    return len(item) == 1 and item[0][0] in _ONE


class _Item:
    """
    One way through an item.

    @ivar _has_read: It has read a character.
    @ivar _is_noted: And a place behind the first has been put down.
    """

    def __init__(self) -> None:
        self._has_read = self._is_noted = False

    def fails_early(self, sequence: Iterable[Any]) -> bool:
        """Whether it fails, if at all, where nothing has been put down."""
        return all(self._is_early(operation, argument) for operation, argument in sequence)

    def _is_early(self, operation: Any, argument: Any) -> bool:
        if operation in _ONE:
            self._has_read = True
            return not self._is_noted
        if operation is sre.SUBPATTERN:
            return self.fails_early(argument[3])
        is_first = not self._has_read
        self._has_read = self._is_noted = True
        if operation is sre.BRANCH:
            return is_first and all(_Item().fails_early(way) for way in argument[1])
        if operation is sre.ATOMIC_GROUP:
            return is_first and _Item().fails_early(argument)
        return operation in _REPEATS and self._is_early_repeat(operation, argument, is_first)

    def _is_early_repeat(self, operation: Any, argument: Any, is_first: bool) -> bool:
        least, _, item = argument
        is_known = operation is sre.POSSESSIVE_REPEAT and _Item().fails_early(item)
        return (least == 0 or is_first) and (_is_simple(item) or is_known)
