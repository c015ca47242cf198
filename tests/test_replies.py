"""The page for operators about replies, and the replies that the source has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

import moxsmtp

PACKAGE: Final = Path(moxsmtp.__file__).parent
PAGE: Final = PACKAGE.parent / "docs" / "receiving.rst"

#: Where replies to clients are made.
PLACES: Final = ("smtp", "receive")

#: Those that are put together when they are needed: sizes, address forms, full disks, and
#: what localserve is asked for.
COMPOSED: Final = {
    "451 4.0.0", "452 4.3.1", "550 5.6.7", "553 5.6.7", "552 5.2.3", "552 5.3.4",
}  # fmt: skip


def written() -> Iterator[tuple[str, str]]:
    """Each reply with an enhanced code that is spelled out in the source, and its place."""
    for path in (path for place in PLACES for path in sorted((PACKAGE / place).glob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reply"):
                continue
            match node.args[:2]:
                case [ast.Constant(value=int(code)), ast.Constant(value=str(status))]:
                    yield f"{code} {code // 100}.{status}", f"{path.name}:{node.lineno}"


class PageTests(SynchronousTestCase):
    """C{docs/receiving.rst}."""

    def setUp(self) -> None:
        rows = re.findall(r"^   \* - ([0-9]{3} [0-9.]+)$", PAGE.read_text("utf-8"), re.MULTILINE)
        self.rows: list[str] = rows

    def test_all_there(self) -> None:
        """Every reply that the server can give stands on the page."""
        missing = {f"{reply} of {place}" for reply, place in written() if reply not in self.rows}
        self.assertEqual(missing, set())
        self.assertEqual(COMPOSED - set(self.rows), set())

    def test_nothing_else(self) -> None:
        """And the page has no others."""
        known = {reply for reply, _ in written()} | COMPOSED
        self.assertEqual(set(self.rows) - known, set())

    def test_once_in_order(self) -> None:
        """Each once, by its code."""
        self.assertEqual(self.rows, sorted(set(self.rows), key=_key))


def _key(row: str) -> tuple[int, ...]:
    return tuple(map(int, re.split("[ .]", row)))
