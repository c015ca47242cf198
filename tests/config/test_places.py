"""Lines of TOML keys."""

from __future__ import annotations

import contextlib
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.config.mistakes import KeyPath
from moxsmtp.config.places import line_of, places

ODD = '''\
# comment [not.a.table]
top = 1 # = x
"quoted \\u0041" = "# not a comment"
a.b."c.d" = 'literal \\' # comment

  [ server . "the one" ]   # comment
text = """
[fake]
key = "x" \\""" still text
""""
after = true
raw = \'\'\'
[[fake]]
it''s\'\'\'\'
list = [ # comment ]
  1, """two, ]"""", [3,
  4], # after
  { x = 1, y.z = [5, 6] },
  1979-05-27 07:32:00,
]
inline = { a = 1, b = { c = "}" }, d = [ { e = 1 }, {e = 2} ] }
date = 1979-05-27 07:32:00 # comment
[[thing]]
name = "one"
[thing.part]
x = 1
[[thing.sub]]
y = 1
[[thing.sub]]
y = 2
[[thing]]
[thing.part]
x = 2
[late.parent.child]
z = 1
[late]
w = 1
'''


def paths(value: Any, at: KeyPath = ()) -> set[KeyPath]:
    """Every key path of a tree."""
    found = {at} if at else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found |= paths(inner, (*at, number))
    return found


class PlacesTests(unittest.SynchronousTestCase):
    """The scanner."""

    def test_odd_document(self) -> None:
        """Quoted and dotted keys, every kind of string, inline tables, arrays of tables."""
        expected: dict[KeyPath, int] = {
            ("top",): 2,
            ("quoted A",): 3,
            ("a",): 4,
            ("a", "b"): 4,
            ("a", "b", "c.d"): 4,
            ("server",): 6,
            ("server", "the one"): 6,
            ("server", "the one", "text"): 7,
            ("server", "the one", "after"): 11,
            ("server", "the one", "raw"): 12,
            ("server", "the one", "list"): 15,
            ("server", "the one", "list", 0): 16,
            ("server", "the one", "list", 1): 16,
            ("server", "the one", "list", 2): 16,
            ("server", "the one", "list", 2, 0): 16,
            ("server", "the one", "list", 2, 1): 17,
            ("server", "the one", "list", 3): 18,
            ("server", "the one", "list", 3, "x"): 18,
            ("server", "the one", "list", 3, "y"): 18,
            ("server", "the one", "list", 3, "y", "z"): 18,
            ("server", "the one", "list", 3, "y", "z", 0): 18,
            ("server", "the one", "list", 3, "y", "z", 1): 18,
            ("server", "the one", "list", 4): 19,
            ("server", "the one", "inline"): 21,
            ("server", "the one", "inline", "a"): 21,
            ("server", "the one", "inline", "b"): 21,
            ("server", "the one", "inline", "b", "c"): 21,
            ("server", "the one", "inline", "d"): 21,
            ("server", "the one", "inline", "d", 0): 21,
            ("server", "the one", "inline", "d", 0, "e"): 21,
            ("server", "the one", "inline", "d", 1): 21,
            ("server", "the one", "inline", "d", 1, "e"): 21,
            ("server", "the one", "date"): 22,
            ("thing",): 23,
            ("thing", 0): 23,
            ("thing", 0, "name"): 24,
            ("thing", 0, "part"): 25,
            ("thing", 0, "part", "x"): 26,
            ("thing", 0, "sub"): 27,
            ("thing", 0, "sub", 0): 27,
            ("thing", 0, "sub", 0, "y"): 28,
            ("thing", 0, "sub", 1): 29,
            ("thing", 0, "sub", 1, "y"): 30,
            ("thing", 1): 31,
            ("thing", 1, "part"): 32,
            ("thing", 1, "part", "x"): 33,
            ("late",): 36,
            ("late", "parent"): 34,
            ("late", "parent", "child"): 34,
            ("late", "parent", "child", "z"): 35,
            ("late", "w"): 37,
        }
        self.assertEqual(places(ODD), expected)
        self.assertEqual(paths(tomllib.loads(ODD)), set(expected))

    def test_line_ends(self) -> None:
        """CRLF counts as one line end."""
        self.assertEqual(places("a = 1\r\nb = 2\r\n"), {("a",): 1, ("b",): 2})

    def test_no_last_line_end(self) -> None:
        """The last line needs no line end."""
        self.assertEqual(places("a = 1\nb = [1]"), {("a",): 1, ("b",): 2, ("b", 0): 2})

    def test_empty(self) -> None:
        """Nothing, and nothing but a comment, has no keys."""
        self.assertEqual([places(text) for text in ("", "\n", "# x", " \t\n#\n")], [{}] * 4)

    def test_line_of(self) -> None:
        """A key that is missing is missing where its table is; else nowhere."""
        lines = places("[a]\nb = 1\n[[c]]\nd = 1\n")
        asked: dict[KeyPath, int] = {
            ("a", "b"): 2,
            ("a", "missing", "x"): 1,
            ("c", 0, "e"): 3,
            ("z",): 0,
            (): 0,
        }
        self.assertEqual({path: line_of(lines, path) for path in asked}, asked)

    def test_linear(self) -> None:
        """Long and odd documents are read in one pass, all keys of them."""
        sizes = {
            "a = [" + "1," * 50_000 + "]": 50_001,
            "a = [" + "\n" * 100_000 + "]": 1,
            'a = """' + '\\"' * 50_000 + '"""': 1,
            "#" * 100_000: 0,
            "a" * 100_000 + " = 1": 1,
            "".join(f"[t{number}]\nx = 1\n" for number in range(5000)): 10_000,
        }
        self.assertEqual({text: len(places(text)) for text in sizes}, sizes)


_KEYS = st.one_of(
    st.text("ab-_1", min_size=1, max_size=3),
    st.text(min_size=0, max_size=4).filter(lambda text: "\r" not in text),
)
_LEAVES = st.one_of(
    st.integers(-9, 9),
    st.booleans(),
    st.text(max_size=6),
    st.sampled_from(["]", "}", "[[x]]", '"""', "'''", "#", "a = 1\n[b]\n"]),
)
_TREES = st.dictionaries(
    _KEYS,
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def _string(draw: Any, text: str) -> str:
    """One of TOML's ways to write a string."""
    basic = '"' + "".join(_escape(c) for c in text) + '"'
    ways = [basic, '""' + basic + '""']
    if text.isprintable() and "'" not in text:
        ways += [f"'{text}'", f"'''\n{text}'''"]
    multi = "".join(c if c == "\n" else _escape(c) for c in text)
    ways.append(f'"""\n{multi}"""')
    return str(draw(st.sampled_from(ways)))


def _escape(character: str) -> str:
    if character.isalnum() and character.isascii():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _key(key: str) -> str:
    if key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key):
        return key
    return '"' + "".join(_escape(c) for c in key) + '"'


def _value(draw: Any, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(draw, value)
    if isinstance(value, list):
        space = draw(st.sampled_from(["", " ", "\n", " # ],\n"]))
        return f"[{space}" + f",{space}".join(_value(draw, x) for x in value) + f"{space}]"
    if isinstance(value, dict):
        pairs = (f"{_key(k)} = {_value(draw, v)}" for k, v in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return str(value)


@st.composite
def documents(draw: Any) -> tuple[dict[str, Any], str]:
    """A tree and one way to write it, some tables with headers."""
    tree = draw(_TREES)
    lines, tables = [], []
    for key, value in tree.items():
        is_array = isinstance(value, list) and value and all(isinstance(x, dict) for x in value)
        if is_array and draw(st.booleans()):
            for element in value:
                tables.append(f"[[ {_key(key)} ]] # [x]")
                tables += [f"{_key(k)} = {_value(draw, v)}" for k, v in element.items()]
        elif isinstance(value, dict) and draw(st.booleans()):
            tables.append(f"[{_key(key)}]")
            tables += [f" {_key(k)}={_value(draw, v)} # c" for k, v in value.items()]
        else:
            lines.append(f"{_key(key)} = {_value(draw, value)}")
    return tree, "\n".join(lines + tables)


class GeneratedTests(unittest.SynchronousTestCase):
    """The scanner on documents of all shapes."""

    @settings(deadline=None, max_examples=200)
    @given(documents())
    def test_every_key(self, document: tuple[dict[str, Any], str]) -> None:
        """Exactly the keys that tomllib reads are found, each on a line that writes it."""
        tree, text = document
        self.assertEqual(tomllib.loads(text), tree)
        found = places(text)
        self.assertEqual(set(found), paths(tree))
        lines = text.split("\n")
        for path, line in found.items():
            if isinstance(path[-1], str):
                self.assertIn(_key(path[-1]), lines[line - 1])

    @settings(deadline=None, max_examples=200)
    @given(st.text("a.=[]{}\"'#\n\\, 1", max_size=24))
    def test_no_toml(self, text: str) -> None:
        """Whatever tomllib accepts is scanned; what it refuses ends, one way or another."""
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            with contextlib.suppress(ValueError):
                places(text)
            return
        self.assertEqual(set(places(text)), paths(tree))
