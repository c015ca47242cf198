"""
Which folder a Maildir is: a token in a file of its own, and the number of its inode.

Another folder in the same place has another token or none, and a copy of it, restored from
a backup or on another disk, has another inode.  The number of a disk says nothing: it may
be another one after each start of the machine.  Everything here blocks and is for threads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from moxsmtp.mailbox.maildir import sync_folder

__all__ = ["MARKER", "folder_identity"]

#: What the file is called; IMAP servers keep files of their own beside it.
MARKER: Final = "moxsmtp-maildir"

_TOKEN: Final = re.compile(rb"([0-9a-f]{16,64})\n")
_LONGEST: Final = 128

#: Of a folder that cannot be marked: the inode has to do.
_UNMARKED: Final = "-"


def folder_identity(root: Path, mode: int, unique: Callable[[], str]) -> str:
    """
    Tells this folder from any other, and is marked for that if it is not.

    @param mode: Of folders of the Maildir; files have it without the right to execute.
    @param unique: Hexadecimal digits, 16 at least, that nobody else has.
    @raise OSError: The folder is not there.
    """
    inode = root.stat().st_ino
    token = _token(root)
    if not token:
        # A disk that is full or read-only is no reason to see nothing of what people do.
        with suppress(OSError):
            _mark(root, mode, unique())
            token = _token(root)
    return f"{token or _UNMARKED} {inode}"


def _token(root: Path) -> str:
    """Empty: there is none, or it cannot be read."""
    try:
        # Whatever a user puts there: no pipe is waited for, and no link followed.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(root / MARKER, flags)
    except OSError:
        return ""
    try:
        found = _TOKEN.fullmatch(os.read(descriptor, _LONGEST))
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return found[1].decode("ascii") if found else ""


def _mark(root: Path, mode: int, token: str) -> None:
    """All of it or nothing, whenever it is cut short."""
    path = root / "tmp" / f"{MARKER}.{token}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        try:
            os.fchmod(descriptor, mode & 0o666)
            os.write(descriptor, token.encode("ascii") + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.rename(root / MARKER)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    sync_folder(root)
