"""How many connections each listener has open, over all workers (S-12, S-16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

__all__ = ["Places"]


class Places:
    """
    Counted where connections are accepted, so that the limits are those of the
    server, however many processes speak with the clients.
    """

    def __init__(self, crowded: Callable[[str, bool], None]) -> None:
        """
        @param crowded: Told whenever more than half of a listener's places
            come to be in use, or no longer are.
        """
        self._crowded = crowded
        self._maxima: Mapping[str, int] = {}
        self._open: Counter[str] = Counter()
        self._of_worker: Counter[tuple[int, str]] = Counter()
        self._held: Counter[int] = Counter()
        self._crowds: set[str] = set()

    def obey(self, maxima: Mapping[str, int]) -> None:
        """
        Other limits from now on; nobody is sent away who is there.

        @param maxima: By listener; one that is not named keeps its own.
        """
        self._maxima = {**self._maxima, **maxima}
        for listener in self._maxima:
            self._look(listener)

    def take(self, listener: str, worker: int) -> bool:
        """One more, of which a worker will tell the end; C{False}: there are none left."""
        if self._open[listener] >= self._maxima[listener]:
            return False
        self._open[listener] += 1
        self._of_worker[worker, listener] += 1
        self._held[worker] += 1
        self._look(listener)
        return True

    def give(self, listener: str, worker: int, count: int = 1) -> None:
        """So many that a worker had have ended."""
        count = min(count, self._of_worker[worker, listener])
        self._of_worker[worker, listener] -= count
        self._held[worker] -= count
        self._open[listener] -= count
        self._look(listener)

    def forsake(self, worker: int) -> None:
        """A worker is gone, and all that it had with it."""
        for number, listener in list(self._of_worker):
            if number == worker:
                self.give(listener, worker, self._of_worker[number, listener])

    def held(self, worker: int) -> int:
        """How many a worker has."""
        return self._held[worker]

    @property
    def crowds(self) -> frozenset[str]:
        """Listeners more than half of whose places are in use."""
        return frozenset(self._crowds)

    def _look(self, listener: str) -> None:
        is_crowded = 2 * self._open[listener] > self._maxima.get(listener, 0)
        if is_crowded != (listener in self._crowds):
            (self._crowds.add if is_crowded else self._crowds.discard)(listener)
            self._crowded(listener, is_crowded)
