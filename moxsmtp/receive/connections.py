"""How many connections a listener has open, over all of its sockets."""

from __future__ import annotations

__all__ = ["Connections"]


class Connections:
    """
    A count with a limit, shared by the sockets of one listener.

    @ivar maximum: Open at once; may be changed while connections are open.
    @ivar open: Those that are.
    """

    __slots__ = ("maximum", "open")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.open = 0

    @property
    def is_busy(self) -> bool:
        """More than half are in use, so that nobody may be idle for long (S-16)."""
        return 2 * self.open > self.maximum

    def acquire(self) -> bool:
        """Take one more; C{False} if there are none left."""
        if self.open >= self.maximum:
            return False
        self.open += 1
        return True

    def release(self) -> None:
        """Give back what L{acquire} took."""
        self.open -= 1

    def missed(self) -> None:
        """A connection ended before it could L{acquire} anything."""
