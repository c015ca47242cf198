"""Reads configuration files into one tree that knows where its keys stand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from moxsmtp.config.mistakes import ConfigError, KeyPath, Mistake, Problem, key_name
from moxsmtp.config.places import places

__all__ = ["Source", "read"]

#: Arrays of tables: each file adds its own.
_ARRAYS: Final = ("listener", "relay", "route")

_AT_LINE = re.compile(r"\(at line ([0-9]+)")


@dataclass(slots=True)
class Source:
    """
    One file or a folder of them.

    @ivar name: As it was given to us.
    @ivar tree: What C{tomllib} read; C{listener}, C{relay} and C{route}
        are mappings from numbers.
    @ivar lines: File and line of each key.
    @ivar mistakes: What was wrong with the files as such.
    """

    name: str
    tree: dict[str, object] = field(default_factory=dict)
    lines: dict[KeyPath, tuple[str, int]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, problem: Problem) -> Mistake:
        """A problem with the place of its key, or of the table around it."""
        path, text = problem
        file, line = self.name, 0
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                file, line = self.lines[path[:length]]
                break
        else:
            # A key that is missing from the top of the only file is missing there.
            line = 0 if Path(self.name).is_dir() else 1
        return Mistake(file=file, line=line, key=key_name(path), text=text)


def read(name: str) -> Source:
    """
    Read a file, or all C{*.toml} of a folder as one.

    @raise ConfigError: There is nothing that could be read.
    """
    source = Source(name=name)
    for file in _files(name):
        text = _text(file, source)
        if text is not None:
            _parse(file, text, source)
    if source.mistakes:
        raise ConfigError(source.mistakes)
    return source


def _files(name: str) -> list[str]:
    path = Path(name)
    if not path.is_dir():
        return [name]
    try:
        found = sorted(str(file) for file in path.iterdir() if file.name.endswith(".toml"))
    except OSError as error:
        raise ConfigError([Mistake(name, 0, "", f"cannot be read: {error.strerror}")]) from None
    if not found:
        raise ConfigError([Mistake(name, 0, "", "no *.toml file is in this folder")])
    return found


def _text(file: str, source: Source) -> str | None:
    try:
        octets = Path(file).read_bytes()
    except OSError as error:
        text = f"cannot be read: {error.strerror or error}"
        source.mistakes.append(Mistake(file, 0, "", text))
        return None
    try:
        # tomllib refuses a byte order mark, which editors add unasked.
        return octets.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        source.mistakes.append(Mistake(file, line, "", "not UTF-8; save the file as UTF-8"))
        return None


def _parse(file: str, text: str, source: Source) -> None:
    try:
        tree = tomllib.loads(text)
        lines = places(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        reason = re.sub(r" \(at .*\)$", "", str(error), flags=re.DOTALL)
        source.mistakes.append(Mistake(file, line, "", f"not TOML: {reason}"))
        return
    except RecursionError:
        source.mistakes.append(Mistake(file, 0, "", "not usable: nested far too deeply"))
        return
    _merge(file, tree, lines, source)


def _merge(
    file: str, tree: dict[str, object], lines: Mapping[KeyPath, int], source: Source
) -> None:
    """Add one file's tree; a key or a named table belongs to one file only."""
    offsets = {name: _numbered(name, file, tree, lines, source) for name in _ARRAYS}
    for key, value in tree.items():
        if key not in source.tree:
            source.tree[key] = value
            continue
        present = source.tree[key]
        if not isinstance(present, dict) or not isinstance(value, dict):
            _clash(file, (key,), lines, source)
            continue
        for inner in value:
            if inner in present:
                _clash(file, (key, inner), lines, source)
        present.update(value)
    for path, line in lines.items():
        kept = path
        if path[0] in offsets and len(path) > 1 and isinstance(path[1], int):
            kept = (path[0], path[1] + offsets[str(path[0])], *path[2:])
        source.lines.setdefault(kept, (file, line))


def _clash(file: str, path: KeyPath, lines: Mapping[KeyPath, int], source: Source) -> None:
    other, line = source.lines.get(path, (source.name, 0))
    text = f"is given in {other}:{line} already; keep one of them"
    source.mistakes.append(Mistake(file, lines.get(path, 0), key_name(path), text))


def _numbered(
    name: str,
    file: str,
    tree: dict[str, object],
    lines: Mapping[KeyPath, int],
    source: Source,
) -> int:
    """
    Make a mapping of an array of tables, so that files can be merged.

    @return: How many came before.
    """
    tables = tree.get(name)
    if tables is None:
        return 0
    if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        text = f"not an array of tables; begin each with [[{name}]]"
        source.mistakes.append(Mistake(file, lines.get((name,), 0), name, text))
        del tree[name]
        return 0
    before = source.tree.get(name)
    offset = len(before) if isinstance(before, dict) else 0
    tree[name] = {offset + number: item for number, item in enumerate(tables)}
    return offset
