"""What several processes have counted, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Samples", "Tally"]

#: Values by name and labels.
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


class Tally:
    """
    The last that each worker told, and what those had counted that are gone:
    a total never goes back.
    """

    def __init__(self) -> None:
        self._gone: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._last: dict[int, Sequence[Any]] = {}
        self._fresh: set[int] = set()

    def heard(self, worker: int, samples: Sequence[Any]) -> None:
        """
        What a worker has counted since its start.

        @param samples: Name, labels as pairs, value, and whether it only grows.
        """
        self._last[worker] = samples
        self._fresh.add(worker)

    def silent(self, workers: Sequence[int]) -> int:
        """How many of these have told nothing since this was asked the last time."""
        fresh, self._fresh = self._fresh, set()
        return sum(worker not in fresh for worker in workers)

    def lost(self, worker: int) -> None:
        """It counts no more.  What stands at a level is not there any more."""
        for name, labels, value, grows in self._last.pop(worker, ()):
            if grows:
                _add(self._gone, name, labels, value)

    def total(self) -> Samples:
        """Of all."""
        found = dict(self._gone)
        for samples in self._last.values():
            for name, labels, value, _ in samples:
                _add(found, name, labels, value)
        return found


def _add(
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float],
    name: str,
    labels: Sequence[Sequence[str]],
    value: float,
) -> None:
    key = name, tuple((label, of) for label, of in labels)
    found[key] = found.get(key, 0.0) + value
