"""One writer at a time, over all processes that have the same database open."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from moxsmtp.store.errors import DatabaseUnavailable

__all__ = ["WriteLock"]

#: Seconds between two looks at a lock that another holds: the first, and the most.
_FIRST: Final = 0.0002
_MOST: Final = 0.003


class WriteLock:
    """
    Held over a transaction, a checkpoint, a step of house-keeping: SQLite before
    3.51.3 can damage a log that two connections write and reset at the same
    instant, and its own lock does not let those who wait have their turn.

    Who wants it takes the turn first and gives it back once it holds the lock,
    so that whoever writes on and on waits behind those who came meanwhile.  Both
    are locks on open files, which end with the process, however that ends.

    For one thread.

    @ivar is_held: By us.
    """

    def __init__(
        self,
        folder: Path,
        *,
        patience: float,
        interval: float = 0.0,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        @param folder: Both files are made there.
        @param patience: Seconds to wait at most.
        @param interval: Seconds from one turn of ours to the next, at least: for a
            process that others need not wait for.
        @param now: Seconds of a clock that nobody sets.
        """
        self._paths = (folder / "write.turn", folder / "write.lock")
        self._patience = patience
        self._interval = interval
        self._now = now
        self._sleep = sleep
        self._next_turn = now()
        self._files: tuple[int, int] | None = None
        self.is_held = False

    def acquire(self, patience: float | None = None) -> None:
        """
        Wait for it.

        @param patience: Other than usual.
        @raise DatabaseUnavailable: It took too long.
        """
        if self._files is None:
            turn, lock = (_opened(path) for path in self._paths)
            self._files = turn, lock
        turn, lock = self._files
        early = self._next_turn - self._now()
        if early > 0:
            self._sleep(early)
        began = self._now()
        self._next_turn = began + self._interval
        due = began + (self._patience if patience is None else patience)
        self._take(turn, due)
        try:
            self._take(lock, due)
            self.is_held = True
        finally:
            fcntl.flock(turn, fcntl.LOCK_UN)

    def _take(self, file: int, due: float) -> None:
        """A system call that waits could not be given up."""
        pause = _FIRST
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._now() >= due:
                    raise DatabaseUnavailable("the database is locked by another process") from None
                self._sleep(pause)
                pause = min(2 * pause, _MOST)
            else:
                return

    def release(self) -> None:
        """Let the next one have it."""
        self.is_held = False
        if self._files is not None:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)

    def close(self) -> None:
        """It is not needed any more."""
        self.is_held = False
        files, self._files = self._files, None
        for each in files or ():
            os.close(each)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
