"""Every regular expression of the package takes time by the length of its text, and no more."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

import moxsmtp
from moxsmtp.config import places
from moxsmtp.message import header
from tests.ambiguity import Unreadable, ambiguity
from tests.possession import is_read_alike

_ROOT: Final = Path(moxsmtp.__file__).parent

#: What a pattern is asked: from the beginning, to the end, or anywhere.
_ASKS: Final = {"match": (False, False), "fullmatch": (False, True)}
_ANYWHERE: Final = (True, False)


@dataclass(frozen=True, slots=True)
class Use:
    """A pattern, and how it is used."""

    name: str
    pattern: re.Pattern[Any]
    searches: bool
    whole: bool


@functools.cache
def _modules() -> Sequence[tuple[str, ast.Module]]:
    found = []
    for path in sorted(_ROOT.rglob("*.py")):
        parts = path.relative_to(_ROOT.parent).with_suffix("").parts
        # Migrations are run by Alembic alone, and read nothing.
        if parts[-1] != "__main__" and "migrations" not in parts:
            name = ".".join(parts).removesuffix(".__init__")
            found.append((name, ast.parse(path.read_text("utf-8"))))
    return found


def _is_pattern(annotation: ast.expr | None) -> bool:
    return annotation is not None and "Pattern" in ast.unparse(annotation)


def _asked(tree: ast.AST) -> dict[str, set[tuple[bool, bool]]]:
    """
    By name of a module: how it is used there.  What is handed to a function is used as
    that module's functions use the patterns they are given; else, anyhow.
    """
    called = {
        id(node.value): {_ASKS.get(node.attr, _ANYWHERE)}
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    given: set[tuple[bool, bool]] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            names = {each.arg for each in function.args.args if _is_pattern(each.annotation)}
            for node in ast.walk(function) if names else ():
                if isinstance(node, ast.Name) and node.id in names:
                    given |= called.get(id(node), {_ANYWHERE})
    handed = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for argument in node.args
    }
    asked: dict[str, set[tuple[bool, bool]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            uses = called.get(id(node)) or (given if id(node) in handed else set())
            asked.setdefault(node.id, set()).update(uses or {_ANYWHERE})
    return asked


def _direct(name: str, tree: ast.AST) -> Iterator[Use]:
    """C{re.search("pattern", text)} and the like."""
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in {"match", "fullmatch", "search", "sub", "subn", "split",
                                   "findall", "finditer"}
        ):  # fmt: skip
            continue
        flags = 0
        for keyword in node.keywords:
            if keyword.arg == "flags":
                flags = eval(ast.unparse(keyword.value), {"re": re})  # noqa: S307 - our own code
        pattern = re.compile(ast.literal_eval(node.args[0]), flags)
        yield Use(name, pattern, *_ASKS.get(node.func.attr, _ANYWHERE))


def _uses() -> Iterator[Use]:
    trees = dict(_modules())
    asked: dict[int, set[tuple[bool, bool]]] = {}
    found: dict[int, tuple[str, re.Pattern[Any]]] = {}
    for name, tree in trees.items():
        uses = _asked(tree)
        for attribute, value in vars(import_module(name)).items():
            if isinstance(value, re.Pattern):
                found.setdefault(id(value), (f"{name}.{attribute}", value))
                asked.setdefault(id(value), set()).update(uses.get(attribute, set()))
    for key, (name, pattern) in found.items():
        for searches, whole in sorted(asked[key] or {_ANYWHERE}):
            yield Use(name, pattern, searches, whole)
    for name, tree in trees.items():
        yield from _direct(name, tree)


#: What reads no more than some hundred characters, or nothing of a stranger's.
_EXCUSED: Final = {
    ("moxsmtp.mailbox.names", "&([^-]*)-"): "names of files have 255 octets at most",
    ("moxsmtp.config.sources", r" \(at .*\)$"): "of the operator's own file",
    ("moxsmtp.config.places", places._STRING.pattern): "of the operator's own file",
}


class AmbiguityTests(SynchronousTestCase):
    """The judge."""

    def test_expressions(self) -> None:
        """It tells what is known to be linear from what is known not to be."""
        linear, polynomial, exponential = None, "polynomial", "exponential"
        expected = {
            ("a*b", "fullmatch"): linear,
            ("a*b", "match"): linear,
            ("a*b", "search"): polynomial,
            ("a*", "search"): linear,
            ("a{1,900}b", "search"): polynomial,
            ("a{1,9}b", "search"): linear,
            ("(a+)+b", "match"): exponential,
            ("(a*)*b", "match"): exponential,
            ("(a|a)*b", "match"): exponential,
            ("(a|b|ab)*c", "fullmatch"): exponential,
            ("(a|b)*c", "fullmatch"): linear,
            ("a*a*b", "match"): polynomial,
            ("a*+a*b", "match"): linear,
            ("(?>a*)a*b", "match"): linear,
            ("(?>a*c?)a*b", "match"): polynomial,
            ("a*ba*c", "match"): linear,
            (r"\s*(.*)", "match"): linear,
            (r"\s*(.*)x", "match"): polynomial,
            (r"\s*(.*)", "fullmatch"): polynomial,
            (r"\s+$", "search"): polynomial,
            (r"[ \t]++(?=\r?\n)", "search"): polynomial,
            (r"(?<![ \t])[ \t]++(?=\r?\n)", "search"): linear,
            ("(?:(?=a*b)a)*c", "match"): polynomial,
            ("(?:(?=a*)a)*c", "match"): polynomial,
            ("(?:(?!a*b)a)*c", "match"): polynomial,
            (r'"(?:[^"\\]++|\\.)*+"', "match"): linear,
            (r'"(?:[^"\\]++|\\.)*+"', "search"): polynomial,
            ("^a*b", "search"): linear,
            (r"\Aa*b", "search"): linear,
            ("(?m)^[a ]*b", "search"): linear,
            ("(?m)^[a\n]*b", "search"): polynomial,
            ("(?i)a*A*b", "match"): polynomial,
            ("a*A*b", "match"): linear,
            (r"\w*\d*-", "match"): polynomial,
            (r"(?:\d+,)*\w*-", "match"): linear,
            ("\u20ac*[^a]*b", "match"): polynomial,
        }
        found = {}
        for expression, method in expected:
            searches, whole = _ASKS.get(method, _ANYWHERE)
            found[expression, method] = ambiguity(
                re.compile(expression), searches=searches, whole=whole
            )
        self.assertEqual(expected, found)

    def test_unreadable(self) -> None:
        """It does not pretend to understand what refers back."""
        with self.assertRaises(Unreadable):
            ambiguity(re.compile(r"(a+)\1"), searches=False, whole=False)


class PossessionTests(SynchronousTestCase):
    """Who judges that."""

    def test_expressions(self) -> None:
        """It tells what Python 3.11.2 reads otherwise, as has been tried, from what it does not."""
        expected = {
            r"(?:[^\"\\]++|\\.)*+": True,
            r"(?:\n[ \t][^\n]*+)*+": True,
            "(?:ab|cd)*+": True,
            "(?:a|[bc]d*)*+": True,
            "a*+": True,
            "(?:a|%b+c)*+": False,
            "(?: (a++)b)?+": False,
            "(?:ab|a(?:c|d)e)*+": False,
            "(?:a(?:bb|cc))*+": False,
            r"(?:,\s++)?+": False,
            "(?>(?:a|%b+c)*)": True,
            "x(?:y(?:a|%b+c)*+)?": False,
        }
        found = {text: is_read_alike(re.compile(text)) for text in expected}
        self.assertEqual(expected, found)


class PatternTests(SynchronousTestCase):
    """What the package uses."""

    def test_linear(self) -> None:
        """None can be made to take more than linear time, in the way that it is used."""
        found = {}
        uses = [*_uses(), Use("made", header._named("subject"), searches=True, whole=False)]
        self.assertGreater(len(uses), 100)
        for use in uses:
            if (use.name.rpartition("._")[0] or use.name, use.pattern.pattern) in _EXCUSED:
                continue
            why = ambiguity(use.pattern, searches=use.searches, whole=use.whole)
            if why is not None:
                found[use.name, use.pattern.pattern] = why
        self.assertEqual({}, found)

    def test_possessive(self) -> None:
        """Each is read alike by the Python that Debian 12 has and by later ones."""
        uses = [*_uses(), Use("made", header._named("subject"), searches=True, whole=False)]
        found = {use.name: use.pattern.pattern for use in uses if not is_read_alike(use.pattern)}
        self.assertEqual({}, found)

    def test_all_are_seen(self) -> None:
        """Patterns are made where a module begins, or of words that have been escaped."""
        made = {
            (name, function.name)
            for name, tree in _modules()
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute)
            and node.attr == "compile"
            and ast.unparse(node) == "re.compile"
        }
        self.assertEqual({("moxsmtp.message.header", "_named")}, made)
