"""
One account's Maildir++ on disk.  Everything here blocks and is for threads.

Files have LF line ends; on the wire they have CRLF.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from moxsmtp.mailbox.names import (
    FileIdentity,
    folder_directory,
    folder_name,
    split_flags,
    unique_name,
)

__all__ = ["Draft", "Sighting", "Tree", "Vanished", "sync_files", "sync_folder", "to_lf"]

#: Files in C{tmp} that nobody has finished for so long are litter (36 hours).
_LITTER: Final = 36 * 3600

#: How far a file system may round times, in seconds.
_ROUNDING: Final = 2


class Vanished(Exception):
    """A Maildir that was there is not there: perhaps its disk is not mounted."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    A file as it was seen.

    @ivar directory: C{""} for the root, else C{.Junk}.
    @ivar path: Relative to the root.
    """

    directory: str
    flags: str
    inode: int
    path: str

    @property
    def mailbox(self) -> str:
        """The folder's name for people."""
        return folder_name(self.directory)


class Tree:
    """
    The folders of one Maildir.

    @ivar root: Holds C{tmp}, C{new}, C{cur}.
    @ivar mode: Of folders; files have it without the right to execute.
    """

    def __init__(self, root: Path, mode: int) -> None:
        self.root = root
        self.mode = mode

    def is_there(self) -> bool:
        """Whether it is a Maildir at all."""
        return (self.root / "cur").is_dir() and (self.root / "new").is_dir()

    def make(self, mailbox: str = "") -> None:
        """Make a folder and what it needs, as far as it is missing."""
        directory = folder_directory(mailbox) if mailbox else ""
        base = self.root / directory
        self._make_folder(base, parents=True)
        for name in ("tmp", "new", "cur"):
            self._make_folder(base / name)
        marker = base / "maildirfolder"
        if directory and not marker.exists():
            marker.touch(self.mode & 0o666)

    def _make_folder(self, path: Path, *, parents: bool = False) -> None:
        if path.is_dir():
            return
        if parents:
            path.parent.mkdir(mode=self.mode, parents=True, exist_ok=True)
        path.mkdir(exist_ok=True)
        path.chmod(self.mode)
        sync_folder(path.parent)

    def remove_litter(self, now: float) -> None:
        """Remove what was begun and never finished."""
        for entry in os.scandir(self.root / "tmp"):
            if entry.is_file(follow_symlinks=False) and (
                entry.stat(follow_symlinks=False).st_mtime < now - _LITTER
            ):
                Path(entry.path).unlink(missing_ok=True)

    def draft(self, number: int, received: datetime) -> Draft:
        """
        Begin a file in C{tmp}.

        @param number: The message's number in the store.
        """
        path = self.root / "tmp" / f"{int(received.timestamp())}.P{os.getpid()}Q{number}.moxsmtp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        os.fchmod(descriptor, self.mode & 0o666)
        return Draft(path, os.fdopen(descriptor, "wb", buffering=0), number, received)

    def remove(self, name: str) -> bool:
        """
        Remove a message, wherever it is.

        @return: Whether it was there.
        """
        sighting = self.find([name]).get(name)
        if sighting is None:
            return False
        (self.root / sighting.path).unlink(missing_ok=True)
        return True

    # -- looking ------------------------------------------------------------------

    def directories(self) -> Sequence[str]:
        """
        The root, C{""}, and the folders beside it.

        @raise Vanished: There is no Maildir.
        """
        if not self.is_there():
            raise Vanished(f"no Maildir at {self.root}")
        with os.scandir(self.root) as entries:
            found = [
                entry.name
                for entry in entries
                if entry.name.startswith(".") and (self.root / entry.name / "cur").is_dir()
            ]
        return ["", *sorted(found)]

    def marks(self) -> Mapping[str, int]:
        """
        When each directory was changed last, in nanoseconds.  Equal marks mean
        that no file came, went or was renamed.

        @raise Vanished: There is no Maildir.
        """
        marks = {".": self.root.stat().st_mtime_ns if self.is_there() else 0}
        for directory in self.directories():
            for part in ("new", "cur"):
                path = self.root / directory / part
                marks[f"{directory}/{part}"] = path.stat().st_mtime_ns
        return marks

    def listing(self) -> Mapping[str, Sequence[Sighting]]:
        """
        Every message by its name.  C{new} is read before C{cur}, the way that
        files go.  A file that is moved meanwhile may be missing.

        @raise Vanished: There is no Maildir.
        @raise OSError: A folder cannot be read.
        """
        found: dict[str, list[Sighting]] = {}
        directories = self.directories()
        for part in ("new", "cur"):
            for directory in directories:
                where = f"{directory}/{part}" if directory else part
                with os.scandir(self.root / where) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        name, flags = split_flags(entry.name)
                        sighting = Sighting(
                            directory, flags, entry.inode(), f"{where}/{entry.name}"
                        )
                        found.setdefault(name, []).append(sighting)
        return found

    def find(self, names: Iterable[str]) -> Mapping[str, Sighting]:
        """
        Where messages are, under their names or others.  What is not found in
        two passes is not there.
        """
        wanted = set(names)
        found: dict[str, Sighting] = {}
        for _ in range(2):
            listing = self.listing()
            found |= {name: listing[name][-1] for name in wanted if name in listing}
            found |= self.renamed(wanted - found.keys(), listing)
            if len(found) == len(wanted):
                break
        return found

    def renamed(
        self, names: Iterable[str], listing: Mapping[str, Sequence[Sighting]]
    ) -> Mapping[str, Sighting]:
        """Which of C{names} are in C{listing} under another name: the same file."""
        sought = {
            identity.inode: (name, identity)
            for name in names
            if (identity := FileIdentity.from_name(name)) is not None
        }
        found: dict[str, Sighting] = {}
        if not sought:
            return found
        for sightings in listing.values():
            for sighting in sightings:
                name, identity = sought.get(sighting.inode, ("", None))
                if identity is not None and self._is(identity, sighting):
                    found[name] = sighting
        return found

    def _is(self, identity: FileIdentity, sighting: Sighting) -> bool:
        try:
            status = (self.root / sighting.path).lstat()
        except FileNotFoundError:
            return False
        return (
            status.st_ino == identity.inode
            and status.st_size == identity.size
            and abs(status.st_mtime - identity.seconds) <= _ROUNDING
        )


@dataclass(slots=True)
class Draft:
    """
    A file that is being written in C{tmp}.

    @ivar path: Where it is now.
    @ivar wire: Octets taken so far, with CRLF.
    """

    path: Path
    file: BinaryIO
    number: int
    received: datetime
    wire: int = 0
    size: int = 0
    _held: bytes = b""

    def write(self, data: bytes) -> None:
        """Take more of the message, with CRLF."""
        self.wire += len(data)
        text, self._held = to_lf(self._held + data)
        self._put(text)

    def finish(self, host: str) -> str:
        """
        It is whole.

        @return: The unique name that it has to get.
        """
        self._put(self._held)
        seconds = self.received.timestamp()
        os.utime(self.file.fileno(), (seconds, seconds))
        inode = os.fstat(self.file.fileno()).st_ino
        self.file.close()
        return unique_name(
            received=self.received,
            pid=os.getpid(),
            number=self.number,
            inode=inode,
            host=host,
            size=self.size,
            wire=self.wire,
        )

    def publish(self, root: Path, mailbox: str, name: str, flags: str) -> Path:
        """
        Let it appear: in C{new}, or in C{cur} if it has flags.

        @return: The folder that has to be synced.
        """
        part = root / folder_directory(mailbox) / ("cur" if flags else "new")
        self.path.rename(part / (f"{name}:2,{flags}" if flags else name))
        return part

    def abandon(self) -> None:
        """Remove it."""
        self.file.close()
        self.path.unlink(missing_ok=True)

    def _put(self, text: bytes) -> None:
        self.size += len(text)
        view = memoryview(text)
        while view:
            view = view[self.file.write(view) :]


def to_lf(data: bytes) -> tuple[bytes, bytes]:
    """C{data} with LF line ends, and a CR at its end that the next octet decides on."""
    held = b"\r" if data.endswith(b"\r") else b""
    return data[: len(data) - len(held)].replace(b"\r\n", b"\n"), held


# -- putting on disk ---------------------------------------------------------------


def sync_files(paths: Iterable[Path]) -> Mapping[Path, OSError]:
    """
    Put new files on disk: one C{syncfs} for each file system, which costs as
    much as syncing one file; each by itself where there is no C{syncfs}.

    @return: Those that may not be there, and why.  A C{syncfs} that fails does
        not say whose data it lost: none of its file system are there, then.
    """
    failed: dict[Path, OSError] = {}
    whole: dict[int, OSError | None] = {}
    for path in paths:
        try:
            _sync_file(path, whole)
        except OSError as error:
            failed[path] = error
    return failed


def _sync_file(path: Path, whole: dict[int, OSError | None]) -> None:
    """@param whole: What became of file systems that were synced as a whole, by device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        device = os.fstat(descriptor).st_dev
        if device not in whole:
            try:
                is_whole = _syncfs(descriptor)
            except OSError as error:
                whole[device] = error
            else:
                if not is_whole:
                    os.fsync(descriptor)
                    return
                whole[device] = None
        error_of_all = whole[device]
        if error_of_all is not None:
            raise error_of_all
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Put a folder's entries on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_syncfs() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError, TypeError):
        return None


_SYNCFS: Final = _load_syncfs()


def _syncfs(descriptor: int) -> bool:
    """@return: C{False}: this system has no C{syncfs}."""
    if _SYNCFS is None:
        return False
    if _SYNCFS(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True
