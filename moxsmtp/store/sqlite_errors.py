"""What SQLite's errors mean for the caller."""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from moxsmtp.interfaces import InsufficientStorage
from moxsmtp.store.errors import DatabaseUnavailable, FolderUnusable, StoreDamaged, StoreError
from moxsmtp.store.files import is_full

__all__ = ["in_one_line", "translated"]


def _probe(folder: Path) -> bool:
    """
    Whether there is no room for a page: SQLite says "disk I/O error" for an
    exceeded quota, "unable to open" for a log that has no room for its name,
    and keeps the cause to itself.
    """
    path = folder / f"probe-{secrets.token_hex(8)}.tmp"
    try:
        with path.open("xb") as file:
            file.write(bytes(65536))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return is_full(error)
    finally:
        path.unlink(missing_ok=True)
    return False


def translated(error: BaseException, database: Path) -> BaseException:
    """C{error} in our words where we have one; else itself."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if cause is not None and is_full(cause):
        return _chained(InsufficientStorage("no room in the content folder"), error)
    if not isinstance(cause, sqlite3.Error):
        return error
    ours = _ours(cause, database)
    return error if ours is None else _chained(ours, error)


def _ours(cause: sqlite3.Error, database: Path) -> Exception | None:
    code = getattr(cause, "sqlite_errorcode", None)
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return InsufficientStorage("no room for the database")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN if _probe(database.parent):
            return InsufficientStorage("no room for the database")
        case sqlite3.SQLITE_BUSY:
            return DatabaseUnavailable("the database is locked by another process")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreDamaged(f"the database {database} is damaged: {cause}")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_IOERR:
            return DatabaseUnavailable(f"the database {database} cannot be used: {cause}")
        case _:
            return None


def in_one_line(error: Exception, path: Path) -> StoreError:
    """What to tell people about work on C{path} that failed."""
    ours = translated(error, path)
    if isinstance(ours, StoreError):
        return ours
    if isinstance(ours, InsufficientStorage):
        return FolderUnusable(f"there is no room for {path}")
    why = error.strerror if isinstance(error, OSError) else error
    return FolderUnusable(f"cannot use {path}: {' '.join(str(why).split())}")


def _chained(ours: Exception, cause: BaseException) -> Exception:
    ours.__cause__ = cause
    return ours
