"""The folder where large content lies, one immutable file each, with random names."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["ContentFiles", "fsync_folder"]

#: What a file is called while it is written.
TEMPORARY: Final = ".tmp"


def fsync_folder(folder: Path) -> None:
    """Put a folder's entries on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ContentFiles:
    """
    Blocking work on content files; for threads.

    A file is never changed once it has its final name, and is unlinked only
    after the commit that dropped its row.  While a backup copies, unlinking
    is held: names are kept and unlinked at its end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._holders = 0
        self._waiting: set[str] = set()
        #: Files whose row a unit has dropped; they may vanish at any moment.
        self._condemned: set[str] = set()

    def new_name(self) -> str:
        """A name that nobody has."""
        return secrets.token_hex(16)

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return self.folder / name

    def condemn(self, name: str) -> None:
        """The row of C{name} is being dropped."""
        self._condemned.add(name)

    def is_condemned(self, name: str) -> bool:
        """Whether C{name} may vanish at any moment."""
        return name in self._condemned

    def copy(self, name: str) -> str:
        """
        Give the same octets another name, durably.

        @raise FileNotFoundError: It has vanished.
        """
        other = self.new_name()
        os.link(self.path(name), self.path(other))
        fsync_folder(self.folder)
        return other

    def unlink(self, names: Iterable[str]) -> None:
        """Remove files, or keep their names until nobody holds."""
        with self._lock:
            if self._holders:
                self._waiting.update(names)
                return
            for name in names:
                self.path(name).unlink(missing_ok=True)
                self._condemned.discard(name)

    def hold(self) -> None:
        """From now on nothing is unlinked."""
        with self._lock:
            self._holders += 1

    def resume(self) -> None:
        """The opposite of L{hold}."""
        with self._lock:
            self._holders -= 1
            waiting = set() if self._holders else self._waiting
            self._waiting -= waiting
        self.unlink(waiting)
