"""
SIGHUP before the reactor runs.

Imports no more than it needs: it has to be in force before the rest is read.
"""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["expect_reload", "was_asked_for"]


class _Remembered:
    """Hears the signal, which is obeyed later."""

    __slots__ = ("came",)

    def __init__(self) -> None:
        self.came = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True


def expect_reload() -> None:
    """From now on SIGHUP does not end the process; it is remembered."""
    signal.signal(signal.SIGHUP, _Remembered())


def was_asked_for(hearing: object) -> bool:
    """
    Whether a reload is owed.

    @param hearing: What heard SIGHUP until now.
    """
    return isinstance(hearing, _Remembered) and hearing.came
