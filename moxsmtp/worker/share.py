"""A listener's connections as one of several processes sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from moxsmtp.receive.connections import Connections

__all__ = ["Share"]


class Share(Connections):
    """
    The parent counts those of all workers, when it accepts them; here there is
    room for each that it passes on.

    @ivar is_crowded: What the parent says of all of them.
    """

    __slots__ = ("_ended", "_missed", "is_crowded")

    def __init__(self, ended: Callable[[], None], missed: Callable[[], object]) -> None:
        """
        @param ended: Told of the end of each.
        @param missed: Told, too, of those that never came to be a session.
        """
        super().__init__(sys.maxsize)
        self._ended = ended
        self._missed = missed
        self.is_crowded = False

    @property
    def is_busy(self) -> bool:
        """See L{Connections.is_busy}."""
        return self.is_crowded

    def acquire(self) -> bool:
        """See L{Connections.acquire}."""
        self.open += 1
        return True

    def release(self) -> None:
        """See L{Connections.release}."""
        self.open -= 1
        self._ended()

    def missed(self) -> None:
        """See L{Connections.missed}."""
        self._missed()
        self._ended()
