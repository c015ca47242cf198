"""Tests for L{moxsmtp.store.backup}."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath

from sqlalchemy import select
from twisted.internet.defer import Deferred

from moxsmtp.interfaces import NewJob, Spooled
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.store import backup
from moxsmtp.store.backup import BackedUp, back_up
from moxsmtp.store.content import StoredContent, insert_content, release_contents
from moxsmtp.store.errors import FolderUnusable
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.job_rows import read_job
from moxsmtp.store.queueing import insert_all
from moxsmtp.store.schema import job
from moxsmtp.store.sqlite import SQLiteDatabase
from moxsmtp.store.sweep import sweep
from moxsmtp.store.upgrade import copy_database, prepare_sqlite
from tests.store.engine import SQLiteCase, add, names


class BackUpTests(SQLiteCase):
    """A copy of a store that goes on working."""

    def setUp(self) -> None:
        """A store with something in it."""
        super().setUp()
        self.target = self.folder.path.parent / "copy"
        self.result(self.database.transact(add("a")))
        self.name = self.files.new_name()
        self.files.path(self.name).write_bytes(b"octets")
        spooled = Spooled(6, b"", has_8bit=False, file=self.name)
        self.key = self.result(self.database.transact(lambda tx: insert_content(tx, spooled, 1)))

    def back_up(self) -> BackedUp:
        """As the server does it, in some thread."""
        return back_up(self.folder.database, self.files, self.target)

    def open_copy(self) -> SQLiteDatabase:
        """As a server that finds it as its data folder."""
        folder = DataFolder(self.target)
        folder.open()
        self.addCleanup(folder.close)
        self.assertIsNone(prepare_sqlite(folder.database))
        copy = SQLiteDatabase(self.reactor, folder.database, ContentFiles(folder.content))
        self.addCleanup(lambda: self.result(copy.stop()))
        return copy

    def test_opens(self) -> None:
        """The copy is a data folder, with all rows and all content."""
        self.assertEqual(self.back_up(), BackedUp(files=1, missing=0))
        copy = self.open_copy()
        self.assertEqual(self.result(copy.read(names)), ["a"])
        stored = StoredContent(copy, self.key, 6)
        self.assertEqual(self.result(stored.read(0, 10)), b"octets")

    def test_both_forms(self) -> None:
        """The copy has both forms of a message that waits, and what cleans up leaves them (Q-6)."""
        wide = b"w\xc3\xb6rter\r\n" * 30_000
        path = Path("bob", parse_domain("example.org"))
        new = NewJob("", None, path, b"", "<1@mx.example>", alternative=wide)
        spooled = Spooled(7, b"", has_8bit=False, inline=b"plain\r\n")
        self.result(self.database.transact(lambda tx: insert_all(tx, spooled, [new], 0)))
        self.back_up()
        copy = self.open_copy()
        ((row),) = self.result(copy.read(lambda tx: tx.execute(select(job))))
        now = datetime(2026, 3, 1, tzinfo=UTC)
        swept = sweep(copy, now, timedelta())
        # Of the content that nobody refers to, the one that every test here has.
        self.assertEqual(self.result(Deferred.fromCoroutine(swept)).rows, 1)
        found = read_job(row)
        assert found.alternative is not None
        stored = StoredContent(copy, found.alternative, found.alternative_size)
        self.assertEqual(self.whole(stored), wide)
        self.assertEqual(self.whole(StoredContent(copy, found.content, found.size)), b"plain\r\n")

    def whole(self, stored: StoredContent) -> bytes:
        """Its octets."""
        read = b""
        while piece := self.result(stored.read(len(read), 100_000)):
            read += piece
        return read

    def test_independent(self) -> None:
        """What is removed or added afterwards changes nothing in it."""
        self.back_up()
        self.result(self.database.transact(add("b")))
        self.result(self.database.transact(lambda tx: release_contents(tx, [self.key])))
        self.result(self.database.transact(add("c")))
        self.assertFalse(self.files.path(self.name).exists())
        copy = self.open_copy()
        self.assertEqual(self.result(copy.read(names)), ["a"])
        stored = StoredContent(copy, self.key, 6)
        self.assertEqual(self.result(stored.read(0, 10)), b"octets")

    def test_removed_meanwhile(self) -> None:
        """
        Content that is removed while the database is copied is in the copy
        all the same, and is gone from the store once the copy is made.
        """
        copied = copy_database

        def copy_and_remove(driver: sqlite3.Connection, target: FilePath, *, pages: int) -> None:
            copied(driver, target, pages=pages)
            self.result(self.database.transact(lambda tx: release_contents(tx, [self.key])))
            self.result(self.database.transact(add("b")))

        self.patch(backup, "copy_database", copy_and_remove)
        self.assertEqual(self.back_up(), BackedUp(files=1, missing=0))
        self.assertFalse(self.files.path(self.name).exists())
        copy = self.open_copy()
        stored = StoredContent(copy, self.key, 6)
        self.assertEqual(self.result(stored.read(0, 10)), b"octets")

    def test_written_meanwhile(self) -> None:
        """Who writes neither waits for the copy, nor makes it begin again, nor is half in it."""
        self.patch(backup, "_PAGES", 1)
        steps: list[int] = []

        class Source:
            """The reader's connection, which lets the test in between the steps."""

            def __init__(self, driver: sqlite3.Connection) -> None:
                self.driver = driver

            def backup(self, target: sqlite3.Connection, *, pages: int) -> None:
                self.driver.backup(target, pages=pages, progress=self.progress)

            def progress(source, _: int, left: int, __: int) -> None:
                steps.append(left)
                if len(steps) == 3:
                    self.result(self.database.transact(add("meanwhile")))

        copied = copy_database
        self.patch(
            backup,
            "copy_database",
            lambda driver, target, *, pages: copied(Source(driver), target, pages=pages),  # type: ignore[arg-type]  # as much of a connection as is used
        )
        self.back_up()
        self.assertGreater(len(steps), 10)
        self.assertEqual(steps, sorted(steps, reverse=True))
        self.assertEqual(self.result(self.open_copy().read(names)), ["a"])
        self.assertEqual(self.names(), ["a", "meanwhile"])

    def test_other_disk(self) -> None:
        """To another disk octets are copied."""
        self.check_copied(errno.EXDEV)

    def test_no_links(self) -> None:
        """To a file system that knows no links octets are copied."""
        self.check_copied(errno.ENOSYS)

    def check_copied(self, why: int) -> None:
        """Where no link can be made, there is a file of its own with the same in it."""

        def link(*_: object) -> None:
            raise OSError(why, os.strerror(why))

        self.patch(os, "link", link)
        self.back_up()
        path = self.target / "content" / self.name
        self.assertEqual(path.read_bytes(), b"octets")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertNotEqual(path.stat().st_ino, self.files.path(self.name).stat().st_ino)

    def test_private(self) -> None:
        """Nobody else may read it, even in a folder that was there, for all."""
        self.target.mkdir()
        self.target.chmod(0o755)
        self.back_up()
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (self.target, *self.target.iterdir())
        }
        self.assertEqual(modes, {"copy": 0o700, "content": 0o700, "moxsmtp.db": 0o600})

    def test_not_empty(self) -> None:
        """A folder with something in it is left alone."""
        self.target.mkdir()
        (self.target / "mine").write_text("mine")
        why = self.assertRaises(FolderUnusable, self.back_up)
        self.assertEqual(str(why), f"the folder {self.target} is not empty")
        self.assertEqual([path.name for path in self.target.iterdir()], ["mine"])

    def test_no_room(self) -> None:
        """A copy that does not fit is removed, and is an error in one line."""

        def link(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "link", link)
        why = self.assertRaises(FolderUnusable, self.back_up)
        self.assertEqual(str(why), f"there is no room for {self.target}")
        self.assertEqual(list(self.target.iterdir()), [])
        # and files are unlinked again
        self.result(self.database.transact(lambda tx: release_contents(tx, [self.key])))
        self.result(self.database.transact(lambda _: None))
        self.assertFalse(self.files.path(self.name).exists())

    def test_missing(self) -> None:
        """A file that was lost before is counted, and no obstacle."""
        self.files.path(self.name).unlink()
        self.assertEqual(self.back_up(), BackedUp(files=0, missing=1))

    def test_twice(self) -> None:
        """A second copy goes elsewhere."""
        self.back_up()
        self.assertRaises(FolderUnusable, self.back_up)
        shutil.rmtree(self.target)
        self.back_up()
