"""The folder where large content lies, one immutable file each, with random names."""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from moxsmtp.interfaces import InsufficientStorage

__all__ = ["ContentFiles", "IncomingFile", "fsync_folder", "header_end", "is_full"]

#: No room, by the words of the operating system.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

#: Octets of header that are kept.
HEADER_LIMIT: Final = 1024 * 1024

#: Contents whose number is remembered by the file they came in.
_REMEMBERED: Final = 1024

#: What a file is called while it is written.
TEMPORARY: Final = ".tmp"


def is_full(error: BaseException) -> bool:
    """Whether the operating system says that there is no room."""
    return isinstance(error, OSError) and error.errno in _FULL


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

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        """
        @param shared: Other processes of this server store, too.  While a backup held
            a file, one of them may have come to refer to it again, which nobody here
            knows of: then it is left to the sweep, which looks.
        """
        self.folder = folder
        self._shared = shared
        self._lock = threading.Lock()
        self._holders = 0
        self._waiting: set[str] = set()
        #: Files whose row a unit has dropped; they may vanish at any moment.
        self._condemned: set[str] = set()
        #: Number and file of what was stored last, by the file it came in.
        self._stored: dict[str, tuple[int, str | None]] = {}

    def new_name(self) -> str:
        """A name that nobody has."""
        return secrets.token_hex(16)

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return self.folder / name

    def condemn(self, name: str) -> None:
        """The row of C{name} is being dropped."""
        self._condemned.add(name)

    def reprieve(self, names: Iterable[str]) -> None:
        """Their rows stay after all."""
        self._condemned.difference_update(names)

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

    def remember(self, name: str, content_id: int, file: str | None) -> None:
        """
        What came in C{name} is stored, or about to be.

        @param file: The name in its row.
        """
        with self._lock:
            while len(self._stored) >= _REMEMBERED:
                del self._stored[next(iter(self._stored))]
            self._stored[name] = content_id, file

    def stored(self, name: str) -> tuple[int, str | None] | None:
        """What was remembered of C{name}; its row may be gone."""
        return self._stored.get(name)

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
            if self._holders:
                return
            waiting, self._waiting = self._waiting, set()
        if self._shared:
            self.reprieve(waiting)
        else:
            self.unlink(waiting)


def header_end(head: bytes | bytearray, searched: int = 0) -> int | None:
    """
    Where the header section ends, behind its empty line.  RFC 5322 section 2.1.

    @param searched: So much of it is known to hold no end.
    """
    if head.startswith(b"\r\n"):
        return 2
    found = head.find(b"\r\n\r\n", max(0, searched - 3))
    return None if found < 0 else found + 4


class IncomingFile:
    """
    A file that is being written, by one thread at a time.

    @ivar final: What it is called once it is whole.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        self._temporary = final.with_suffix(TEMPORARY)
        self._descriptor = -1

    def append(self, pieces: Iterable[bytes]) -> None:
        """@raise InsufficientStorage: There is no room."""
        try:
            if self._descriptor < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(self._temporary, flags, 0o600)
            data = memoryview(b"".join(pieces))
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise _in_our_words(error) from error

    def finish(self, pieces: Iterable[bytes]) -> bytes:
        """
        Put all on disk under its final name.

        @return: The header section, or the first L{HEADER_LIMIT} octets.
        @raise InsufficientStorage: There is no room.
        """
        self.append(pieces)
        try:
            header = self._header()
            os.fsync(self._descriptor)
            self._close()
            self._temporary.rename(self.final)
            fsync_folder(self.final.parent)
        except OSError as error:
            raise _in_our_words(error) from error
        return header

    def _header(self) -> bytes:
        head = bytearray()
        while len(head) < HEADER_LIMIT:
            before = len(head)
            head += os.pread(self._descriptor, min(65536, HEADER_LIMIT - before), before)
            end = header_end(head, before)
            if end is not None:
                return bytes(head[:end])
            if len(head) == before:
                break
        return bytes(head)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def remove(self) -> None:
        """Under whatever name it has."""
        self._close()
        self._temporary.unlink(missing_ok=True)
        self.final.unlink(missing_ok=True)


def _in_our_words(error: OSError) -> Exception:
    return InsufficientStorage("no room in the content folder") if is_full(error) else error
