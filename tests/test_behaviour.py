"""
The table of C{docs/behaviour.rst} and the tests name each other.

A number (S-13, Q-10, I-28) stands in the table if and only if it stands in the
docstring of a test; and each test that the table names exists and names the
number in turn.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.python.reflect import namedAny
from twisted.trial import unittest

ROOT: Final = Path(__file__).resolve().parent.parent

NUMBER: Final = re.compile(r"\b[SQI]-[1-9][0-9]*\b")

#: The start of a row of the list-table.
_ROW: Final = re.compile(r"^   \* - ", re.MULTILINE)

_TEST: Final = re.compile(r"``(tests\.[\w.]+)``")


def table(text: str) -> dict[str, list[str]]:
    """
    The rows: each number with the tests that its last column names.

    @raise ValueError: A row without its own number in the first column, or a
        number that has two rows.
    """
    rows: dict[str, list[str]] = {}
    for row in _ROW.split(text)[1:]:
        number = row.split(maxsplit=1)[0]
        if number == "Number":
            continue
        if not NUMBER.fullmatch(number) or number in rows:
            raise ValueError(f"not the number of one row: {number}")
        rows[number] = _TEST.findall(row)
    return rows


@functools.cache
def docstrings() -> Sequence[tuple[str, str]]:
    """Every test function, as C{file:line}, and its docstring."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        pending: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body
        for node in pending:
            if isinstance(node, ast.ClassDef):
                pending += node.body
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                found.append((place, ast.get_docstring(node) or ""))
    return found


def documented_by(test: str) -> str | None:
    """The docstring of a test by its dotted name; L{None}: there is no such test."""
    try:
        found: object = namedAny(test)
    except (AttributeError, ImportError, ValueError):
        return None
    return getattr(found, "__doc__", None) or ""


class TableTests(unittest.SynchronousTestCase):
    """The documentation as it stands."""

    def setUp(self) -> None:
        self.rows = table((ROOT / "docs" / "behaviour.rst").read_text("utf-8"))

    def test_tests_exist(self) -> None:
        """Each test that the table names exists, and its docstring names the number."""
        wrong = []
        for number, tests in self.rows.items():
            for test in tests:
                text = documented_by(test)
                if text is None:
                    wrong.append(f"{number}: no test {test}")
                elif number not in NUMBER.findall(text):
                    wrong.append(f"{number}: {test} does not name it")
        self.assertEqual(wrong, [])

    def test_rows_are_shown(self) -> None:
        """Each row names at least one test."""
        self.assertEqual([number for number, tests in self.rows.items() if not tests], [])

    def test_numbers_have_rows(self) -> None:
        """Each number that a test names stands in the table."""
        missing = sorted(
            f"{number}: {place}"
            for place, text in docstrings()
            for number in NUMBER.findall(text)
            if number not in self.rows
        )
        self.assertEqual(missing, [])

    def test_every_test_says_what_it_shows(self) -> None:
        """Each test has a docstring."""
        self.assertEqual([place for place, text in docstrings() if not text.strip()], [])


class ReadingTests(unittest.SynchronousTestCase):
    """The reading of the table itself."""

    TEXT = """
.. list-table::
   :header-rows: 1

   * - Number
     - Behaviour
     - RFC
     - Shown by
   * - S-13
     - Names the host, see S-14.
     - RFC 5321
     - ``tests.a.B.test_c``
       ``tests.a.B.test_d``
   * - Q-2
     - Keeps it.
     -
     -
"""

    def test_rows(self) -> None:
        """A row is its number and its tests; numbers within its prose are not rows."""
        expected = {"S-13": ["tests.a.B.test_c", "tests.a.B.test_d"], "Q-2": []}
        self.assertEqual(table(self.TEXT), expected)

    def test_twice(self) -> None:
        """A number with two rows is a mistake."""
        self.assertRaises(ValueError, table, self.TEXT + "   * - Q-2\n     - Again.\n")

    def test_no_number(self) -> None:
        """So is a row without one."""
        self.assertRaises(ValueError, table, self.TEXT + "   * - Q\n     - Again.\n")

    def test_missing_test(self) -> None:
        """A test that does not exist is told from one without a docstring."""
        here = f"{__name__}.ReadingTests"
        self.assertIsNone(documented_by(f"{here}.test_nothing"))
        self.assertIsNone(documented_by("tests.no_such_module.Tests.test_it"))
        self.assertIn("A test that", documented_by(f"{here}.test_missing_test") or "")
