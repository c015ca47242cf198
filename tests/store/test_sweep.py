"""Tests for L{moxsmtp.store.sweep}."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, insert
from twisted.internet.defer import Deferred

from moxsmtp.interfaces import Spooled
from moxsmtp.store import sweep as module
from moxsmtp.store.content import insert_content
from moxsmtp.store.database import Transaction
from moxsmtp.store.schema import content, message
from moxsmtp.store.sweep import Swept, sweep
from tests.store.engine import SQLiteCase

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGE = timedelta(hours=24)

_MESSAGE = insert(message).values(
    account="ann",
    mailbox="Inbox",
    content_id=bindparam("content_id"),
    prefix=b"",
    size=1,
    received=0,
    rcpt_to="ann@mx.example",
)
_CONTENTS = content.select().order_by(content.c.id)


class SweepTests(SQLiteCase):
    """What a crash leaves."""

    def sweep(self) -> Swept:
        """At noon."""
        return self.result(Deferred.fromCoroutine(sweep(self.database, NOW, AGE)))

    def file(self, age: timedelta) -> str:
        """A file last written so long ago."""
        name = self.files.new_name()
        path = self.files.path(name)
        path.write_bytes(b"x")
        written = (NOW - age).timestamp()
        os.utime(path, (written, written))
        return name

    def content(self, file: str | None, *, used: bool) -> int:
        """A row of content, with or without a message."""
        inline = None if file else b"x"
        spooled = Spooled(1, b"", has_8bit=False, inline=inline, file=file)

        def work(tx: Transaction) -> int:
            key = insert_content(tx, spooled, 1)
            if used:
                tx.execute(_MESSAGE, {"content_id": key})
            return key

        return self.result(self.database.transact(work))

    def left(self) -> set[str]:
        """Files that are there, once what was to be unlinked is."""
        self.result(self.database.transact(lambda _: None))
        return {path.name for path in self.files.folder.iterdir()}

    def rows(self) -> list[int]:
        """Numbers of content."""
        found = self.result(self.database.read(lambda tx: tx.execute(_CONTENTS)))
        return [row.id for row in found]

    def test_nothing(self) -> None:
        """A store in order stays as it is."""
        name = self.file(AGE * 2)
        key = self.content(name, used=True)
        inline = self.content(None, used=True)
        self.assertEqual(self.sweep(), Swept())
        self.assertEqual(self.left(), {name})
        self.assertEqual(self.rows(), [key, inline])

    def test_files(self) -> None:
        """A file without a row is removed when it is old, whole or not; mail coming in is not."""
        self.file(AGE + timedelta(seconds=1))
        half = self.file(AGE * 2)
        self.files.path(half).rename(self.files.path(f"{half}.tmp"))
        young = self.file(AGE - timedelta(seconds=1))
        self.assertEqual(self.sweep(), Swept(files=2))
        self.assertEqual(self.left(), {young})

    def test_folder(self) -> None:
        """A folder in the content folder stays, as a disk of its own has one, and orphans go."""
        self.file(timedelta(hours=25))
        stranger = self.files.path("lost+found")
        stranger.mkdir()
        os.utime(stranger, (0, 0))
        self.assertEqual(self.sweep(), Swept(files=1))
        self.assertEqual(self.left(), {"lost+found"})

    def test_rows(self) -> None:
        """Content that no message and no job refers to is removed, with its file."""
        name = self.file(timedelta())
        self.content(name, used=False)
        self.content(None, used=False)
        used = self.content(None, used=True)
        self.assertEqual(self.sweep(), Swept(rows=2))
        self.assertEqual(self.rows(), [used])
        self.assertEqual(self.left(), set())

    def test_missing(self) -> None:
        """A row whose file is missing is reported each time, and stays."""
        name = self.file(AGE * 2)
        key = self.content(name, used=True)
        self.files.path(name).unlink()
        for _ in range(2):
            self.assertEqual(self.sweep(), Swept(missing=1))
        self.assertEqual(self.rows(), [key])

    def test_many(self) -> None:
        """However many rows there are, all are looked at, in steps."""
        self.patch(module, "_LAST", _few(module._LAST))
        used = [self.content(self.file(AGE * 2), used=number % 3 == 0) for number in range(11)]
        self.assertEqual(self.sweep().rows, 7)
        self.assertEqual(self.rows(), used[::3])
        self.assertEqual(len(self.left()), 4)


def _few(_: object) -> object:
    """The same statement, with steps of two rows."""
    return (
        content.select()
        .with_only_columns(content.c.id)
        .where(content.c.id > bindparam("after"))
        .order_by(content.c.id)
        .limit(1)
        .offset(1)
    )
