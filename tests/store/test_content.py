"""Tests for L{moxsmtp.store.content}."""

from __future__ import annotations

from moxsmtp.interfaces import Spooled
from moxsmtp.store.content import StoredContent, insert_content, release_contents
from moxsmtp.store.database import Transaction
from moxsmtp.store.errors import ContentMissing
from tests.store import engine
from tests.store.engine import SQLiteCase


class SQLiteContractTests(SQLiteCase, engine.ContentContract):
    """The contract on SQLite, and content files with their rows."""

    def left(self) -> set[str]:
        """What lies in the content folder."""
        # What a thread unlinks behind a commit is done once the next unit is.
        self.result(self.database.transact(lambda _: None))
        return {path.name for path in self.files.folder.iterdir()}

    def test_kept(self) -> None:
        """Large content stays the file that it came in."""
        spooled = self.file(b"x" * 200_000)
        self.insert(spooled)
        self.assertEqual([row.file for row in self.rows()], [spooled.file])
        self.assertEqual(self.left(), {spooled.file})

    def test_unlinked(self) -> None:
        """A file is unlinked with the last reference (Q-2)."""
        spooled = self.file(b"x")
        key = self.insert(spooled, refs=2)
        self.release(key)
        self.assertEqual(self.left(), {spooled.file})
        self.release(key)
        self.assertEqual(self.left(), set())

    def test_not_unlinked(self) -> None:
        """A file whose row was dropped by a unit that failed stays, alone and in a group."""
        spooled = self.file(b"x")
        key = self.insert(spooled)

        def fails(tx: Transaction) -> None:
            release_contents(tx, [key])
            raise LookupError("no")

        self.failure(self.database.transact(fails), LookupError)
        self.assertEqual(self.left(), {spooled.file})
        release = self.hold()
        unit = self.database.transact(fails)
        other = self.database.transact(lambda _: None)
        release()
        self.failure(unit, LookupError)
        self.result(other)
        self.assertEqual(self.left(), {spooled.file})
        self.assertEqual(self.insert(spooled), key)

    def test_stored_while_dropped(self) -> None:
        """
        A file that is stored again by a unit in the same group as the one that
        drops its row is there, under another name.
        """
        spooled = self.file(b"octets")
        key = self.insert(spooled)
        release = self.hold()
        dropped = self.database.transact(lambda tx: release_contents(tx, [key]))
        stored = self.database.transact(lambda tx: insert_content(tx, spooled, 1))
        release()
        self.result(dropped)
        other = self.result(stored)
        self.assertNotEqual(other, key)
        self.assertEqual(self.whole(other, 6, 10), b"octets")
        self.assertEqual(self.left(), {row.file for row in self.rows()})

    def test_missing(self) -> None:
        """Content whose file is gone or cut short is an error, not an end."""
        spooled = self.file(b"x" * 1000)
        stored = StoredContent(self.database, self.insert(spooled), 1000)
        path = self.files.path(spooled.file or "")
        path.write_bytes(b"x" * 500)
        self.assertEqual(len(self.result(stored.read(0, 1000))), 500)
        self.failure(stored.read(500, 1000), ContentMissing)
        path.unlink()
        self.failure(stored.read(0, 1000), ContentMissing)

    def test_small_stays_in_the_database(self) -> None:
        """Small content makes no file."""
        self.insert(Spooled(3, b"", has_8bit=False, inline=b"abc"))
        self.assertEqual(self.left(), set())
