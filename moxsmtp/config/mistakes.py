"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["ConfigError", "Findings", "KeyPath", "Mistake", "Problem", "key_name"]

#: Keys, and numbers from 0 where an array is entered.
KeyPath = tuple[str | int, ...]

#: A key path and what is wrong there.
Problem = tuple[KeyPath, str]


def key_name(path: Iterable[str | int]) -> str:
    """
    A key path as people write it: C{listener.0.smtp.port} reads
    C{listener[0].smtp.port}; empty for the whole file.
    """
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part}]"
            continue
        bare = part if part.replace("-", "").replace("_", "").isalnum() else f'"{part}"'
        name += f".{bare}" if name else bare
    return name


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """
    One thing that is wrong.

    @ivar file: As it was named to us.
    @ivar line: From 1; 0 where no line is to blame.
    @ivar key: Empty where no key is.
    @ivar text: What is wrong and what would be right.
    """

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [place, self.key, self.text] if self.key else [place, self.text]
        return _on_one_line(": ".join(parts))


def _on_one_line(text: str) -> str:
    """Keys and values of a file may hold anything; a terminal shall not obey it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(slots=True)
class Findings:
    """
    What the checks have found so far.

    @ivar problems: The configuration cannot be used.
    @ivar warnings: It can, but.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def add(self, path: KeyPath, text: str) -> None:
        """One more problem."""
        self.problems.append((path, text))

    def warn(self, path: KeyPath, text: str) -> None:
        """One more warning."""
        self.warnings.append((path, text))

    def touches(self, *path: str | int) -> bool:
        """
        Whether something at, in or around C{path} is wrong already, so that
        what follows from its absence is not worth saying.
        """
        return any(_overlap(known, path) for known, _ in self.problems)


def _overlap(one: Sequence[str | int], other: Sequence[str | int]) -> bool:
    length = min(len(one), len(other))
    return tuple(one[:length]) == tuple(other[:length])


class ConfigError(Exception):
    """
    The configuration cannot be used.  Its text is one line for each mistake.

    @ivar mistakes: All of them, by file and line.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(map(str, self.mistakes)))
