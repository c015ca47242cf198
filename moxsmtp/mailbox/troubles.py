"""What cannot be handed over at present, and when it is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from twisted.internet.interfaces import IReactorTime

__all__ = ["Troubles", "longer"]

#: Seconds before something is tried again: the first time, and at most.
_FIRST: Final = 1.0
_LONGEST: Final = 300.0


@dataclass(slots=True)
class _Trouble:
    delay: float
    since: float

    def left(self, now: float) -> float:
        """Seconds until it is tried again; at once, where the clock was set back."""
        return self.delay - (now - self.since) if now >= self.since else 0.0


class Troubles:
    """
    Accounts whose Maildir failed, by name, and messages that cannot be read, by number.
    Each waits, ever longer.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._known: dict[str | int, _Trouble] = {}

    def failed(self, what: str | int) -> float:
        """
        Once more.

        @return: Seconds until it is tried again.
        """
        before = self._known.get(what)
        delay = longer(before.delay if before is not None else 0.0)
        self._known[what] = _Trouble(delay, self._clock.seconds())
        return delay

    def over(self, what: str | int) -> None:
        """It went well, if it ever failed."""
        self._known.pop(what, None)

    def waits(self, what: str | int) -> bool:
        """Whether it is not to be tried yet."""
        trouble = self._known.get(what)
        return trouble is not None and trouble.left(self._clock.seconds()) > 0

    def hold_up(self) -> bool:
        """
        Whether accounts wait, and nothing is due: what waits for them may be much, and need
        not be read again before its time.
        """
        return any(isinstance(what, str) for what in self._known) and not self.due()

    def due(self) -> Mapping[str | int, object]:
        """What is to be tried now."""
        return {what: each for what, each in self._known.items() if not self.waits(what)}

    def tried(self, due: Mapping[str | int, object]) -> None:
        """
        All of C{due} that is still there was tried: what has neither gone well nor failed
        again since is forgotten.
        """
        for what, trouble in due.items():
            if self._known.get(what) is trouble:
                del self._known[what]

    def left(self) -> list[float]:
        """For each, seconds until it is tried again."""
        now = self._clock.seconds()
        return [trouble.left(now) for trouble in self._known.values()]


def longer(delay: float) -> float:
    """What follows a delay; 0 for none so far."""
    return min(max(_FIRST, delay * 2), _LONGEST)
