"""Tests for L{moxsmtp.store.sqlite_errors}."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy.exc import OperationalError
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import InsufficientStorage
from moxsmtp.store.errors import DatabaseUnavailable, FolderUnusable, StoreDamaged
from moxsmtp.store.sqlite_errors import in_one_line, translated


def sqlite_error(code: int) -> sqlite3.Error:
    """As the driver raises it."""
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


class TranslatedTests(SynchronousTestCase):
    """What SQLite says, in our words."""

    def setUp(self) -> None:
        """A folder with room."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.database = self.folder / "moxsmtp.db"

    def translated(self, error: BaseException) -> type[BaseException]:
        """Into what."""
        return type(translated(error, self.database))

    def test_codes(self) -> None:
        """Full, locked, broken and unusable are told apart, extended codes too."""
        expected = {
            sqlite3.SQLITE_FULL: InsufficientStorage,
            sqlite3.SQLITE_BUSY: DatabaseUnavailable,
            sqlite3.SQLITE_BUSY_SNAPSHOT: DatabaseUnavailable,
            sqlite3.SQLITE_CORRUPT: StoreDamaged,
            sqlite3.SQLITE_CORRUPT_INDEX: StoreDamaged,
            sqlite3.SQLITE_NOTADB: StoreDamaged,
            sqlite3.SQLITE_CANTOPEN: DatabaseUnavailable,
            sqlite3.SQLITE_READONLY_DBMOVED: DatabaseUnavailable,
            sqlite3.SQLITE_IOERR_READ: DatabaseUnavailable,
            sqlite3.SQLITE_ERROR: sqlite3.OperationalError,
        }
        found = {code: self.translated(sqlite_error(code)) for code in expected}
        self.assertEqual(found, expected)

    def test_wrapped(self) -> None:
        """An error in SQLAlchemy's wrapping is the same."""
        error = OperationalError("SELECT", None, sqlite_error(sqlite3.SQLITE_FULL))
        self.assertEqual(self.translated(error), InsufficientStorage)

    def test_quota(self) -> None:
        """
        SQLite calls an exceeded quota an I/O error, and its log one that it cannot
        open; whether there is room is tried out, and nothing is left of that (S-112).
        """
        for number in (errno.EDQUOT, errno.ENOSPC):

            def fsync(_: int, number: int = number) -> None:
                raise OSError(number, "no room")

            self.patch(os, "fsync", fsync)
            for code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN):
                self.assertEqual(self.translated(sqlite_error(code)), InsufficientStorage)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_broken_disk(self) -> None:
        """A disk that is broken is not called full."""

        def fsync(_: int) -> None:
            raise OSError(errno.EIO, "broken")

        self.patch(os, "fsync", fsync)
        found = self.translated(sqlite_error(sqlite3.SQLITE_IOERR_WRITE))
        self.assertEqual(found, DatabaseUnavailable)

    def test_files(self) -> None:
        """A content file without room is the same to the sender; other errors stay."""
        self.assertEqual(self.translated(OSError(errno.ENOSPC, "")), InsufficientStorage)
        self.assertEqual(self.translated(OSError(errno.EIO, "")), OSError)
        self.assertEqual(self.translated(LookupError()), LookupError)

    def test_one_line(self) -> None:
        """Whatever it is, people get one line that names what it is about."""
        errors: list[Exception] = [
            sqlite_error(sqlite3.SQLITE_FULL),
            sqlite_error(sqlite3.SQLITE_CORRUPT),
            sqlite3.OperationalError("two\nlines"),
            OSError(errno.EIO, "broken"),
        ]
        kinds = [type(in_one_line(error, self.database)) for error in errors]
        self.assertEqual(kinds, [FolderUnusable, StoreDamaged, FolderUnusable, FolderUnusable])
        for error in errors:
            text = str(in_one_line(error, self.database))
            self.assertIn(str(self.database), text)
            self.assertNotIn("\n", text)
