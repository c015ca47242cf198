"""
A copy of a running store, which opens as a data folder.

The database is copied as it is at one moment.  The content files that it names
are linked, or copied where the target is on another disk; they never change,
and none is unlinked from before that moment until they are all there.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy.dialects import sqlite

from moxsmtp.store.errors import FolderUnusable
from moxsmtp.store.files import ContentFiles, fsync_folder
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.schema import content
from moxsmtp.store.sqlite_connection import connect
from moxsmtp.store.sqlite_errors import in_one_line
from moxsmtp.store.upgrade import copy_database

__all__ = ["BackedUp", "back_up"]

#: Pages copied in one step.
_PAGES: Final = 4096

_FILES: Final = str(
    sqlalchemy.select(content.c.file)
    .where(content.c.file.is_not(None))
    .compile(dialect=sqlite.dialect())
)

#: The disk is another one, or its file system has no room for links, or none at all.
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class BackedUp:
    """
    @ivar files: Content files of the copy.
    @ivar missing: Those that are named and not there.
    """

    files: int
    missing: int


def back_up(database: Path, files: ContentFiles, target: Path) -> BackedUp:
    """
    Copy a running store.  Blocks; for a thread.

    @param target: A folder that is empty, or not there.
    @raise StoreError: It did not work, in one line; what was copied is removed.
    """
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_empty(target)
        # It may have been there before, for all to read.
        target.chmod(0o700)
        with _held(files):
            return _copy(database, files, DataFolder(target))
    except (OSError, sqlite3.Error) as error:
        raise in_one_line(error, target) from error


def _check_empty(target: Path) -> None:
    if any(target.iterdir()):
        raise FolderUnusable(f"the folder {target} is not empty")


@contextmanager
def _held(files: ContentFiles) -> Iterator[None]:
    files.hold()
    try:
        yield
    finally:
        files.resume()


def _copy(database: Path, files: ContentFiles, target: DataFolder) -> BackedUp:
    try:
        target.content.mkdir(mode=0o700)
        with closing(connect(database, write=False)) as driver:
            # One state of it for all steps, which no writer makes begin again.
            driver.execute("BEGIN")
            names = [name for (name,) in driver.execute(_FILES)]
            copy_database(driver, target.database, pages=_PAGES)
            driver.execute("ROLLBACK")
        missing = sum(not _copy_file(files.path(name), target.content / name) for name in names)
        fsync_folder(target.content)
        fsync_folder(target.path)
    except BaseException:
        shutil.rmtree(target.content, ignore_errors=True)
        for path in target.path.iterdir():
            with suppress(OSError):
                path.unlink()
        raise
    return BackedUp(len(names) - missing, missing)


def _copy_file(source: Path, target: Path) -> bool:
    """@return: Whether it was there."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy_octets(source, target)
    return True


def _copy_octets(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    with source.open("rb") as readable, target.open("wb") as writable:
        shutil.copyfileobj(readable, writable, 1024 * 1024)
        writable.flush()
        os.fsync(writable.fileno())
