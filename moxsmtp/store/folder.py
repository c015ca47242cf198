"""The data folder: made, locked against a second server, watched for room."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime

from moxsmtp.store.errors import FolderInUse, FolderUnusable

__all__ = ["DataFolder", "FreeSpace"]

#: Seconds for what a dead server left behind to end, and between two looks at it.
PATIENCE: Final = 12.0
_LOOK: Final = 0.05

#: Seconds that an answer about free space is good for.
_FRESH: Final = 1.0


class DataFolder:
    """
    Where everything of one server lies.

    The lock is on an open file and ends with the process, however that ends,
    so whoever holds it knows that every former owner is dead.  Worker processes
    inherit the open file, so that it ends with the last of them.
    """

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        """
        Does nothing yet.

        @param patience: Seconds that what a dead server left behind has to end.
        """
        self.path = path
        self._patience = patience
        self._lock = -1

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock, for processes of ours to inherit."""
        return self._lock

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.path / "moxsmtp.db"

    @property
    def content(self) -> Path:
        """One file for each large content."""
        return self.path / "content"

    def open(self) -> None:
        """
        Make it if it is not there, for our user alone, and lock it.  Blocks where
        a server was killed, until its worker processes have noticed.

        @raise FolderUnusable: It cannot be made, entered or written.
        @raise FolderInUse: Another server has it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self.content.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            self.close()
            why = error.strerror or type(error).__name__
            raise FolderUnusable(f"cannot use the data folder {self.path}: {why}") from error

    def _take_lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(self.path / "lock", flags, 0o600)
        due = time.monotonic() + self._patience
        while not self._is_taken():
            owner = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            if _is_alive(owner):
                process = f" (process {owner})" if owner.isdigit() else ""
                who = f"another server{process}"
            elif time.monotonic() < due:
                time.sleep(_LOOK)
                continue
            else:
                who = f"a worker process that a former server (process {owner}) left behind still"
            self.close()
            raise FolderInUse(f"{who} works on the data folder {self.path}")
        # Only for people; what counts is the lock.
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode("ascii"), 0)

    def _is_taken(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            return False
        return True

    def close(self) -> None:
        """Let others have it.  May be repeated."""
        if self._lock >= 0:
            descriptor, self._lock = self._lock, -1
            os.close(descriptor)


def _is_alive(owner: str) -> bool:
    """
    @param owner: The process that made a lock, as it said; nothing but a number
        says that it is dead.
    """
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError, ValueError):
        pass  # it is there, and another user's; or there is no saying
    return True


class FreeSpace:
    """Whether the disks have as much room as they have to have."""

    def __init__(self, folders: Sequence[Path], minimum: int, clock: IReactorTime) -> None:
        """
        @param folders: One of each disk that mail is written to; several may be of the same.
        @param minimum: Octets, of each.
        """
        self._folders = folders
        self._minimum = minimum
        self._clock = clock
        self._asked: float | None = None
        self._answer = True

    def __call__(self) -> bool:
        """The answer may be a second old.  A file system that does not tell has room."""
        now = self._clock.seconds()
        if self._asked is None or not 0 <= now - self._asked < _FRESH:
            self._asked = now
            self._answer = all(map(self._ask, self._folders))
        return self._answer

    def _ask(self, folder: Path) -> bool:
        try:
            found = os.statvfs(folder)
        except OSError:
            return True
        return found.f_bavail * found.f_frsize >= self._minimum
