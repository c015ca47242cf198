"""Tests for L{moxsmtp.store.upgrade} and the migrations."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import Provenance
from moxsmtp.store import upgrade
from moxsmtp.store.errors import DatabaseUnavailable, FolderUnusable, StoreDamaged, StoreTooNew
from moxsmtp.store.job_rows import read_job
from moxsmtp.store.message_rows import COLUMNS, read_message
from moxsmtp.store.schema import job, metadata
from moxsmtp.store.upgrade import HEAD, prepare_sqlite

MIGRATIONS = Path(upgrade.__file__).parent / "migrations"

#: A step from HEAD to the next version, as a later release might bring it.
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table("more", sa.Column("id", sa.Integer(), primary_key=True))
    with op.batch_alter_table("content") as table:
        table.add_column(sa.Column("sort", sa.Text(), nullable=False, server_default="mail"))
{then}
"""


class UpgradeCase(SynchronousTestCase):
    """@ivar path: The database, which is not there."""

    def setUp(self) -> None:
        """A folder."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "moxsmtp.db"

    def run_sql(self, *statements: str) -> list[object]:
        """@return: The rows of the last one."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as driver:
            rows: list[object] = []
            for statement in statements:
                rows = driver.execute(statement).fetchall()
            return rows

    def tables(self, path: Path) -> Mapping[str, object]:
        """
        What each table and index is.  A table may have got its columns one by
        one, so the words that made it say nothing, nor do the numbers of its
        foreign keys.
        """
        with closing(sqlite3.connect(path)) as driver:
            made = driver.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            ).fetchall()
            return {
                name: (
                    " ".join(sql.split())
                    if kind == "index"
                    else (
                        "AUTOINCREMENT" in sql,
                        driver.execute(f"PRAGMA table_xinfo({name})").fetchall(),
                        sorted(
                            key[1:] for key in driver.execute(f"PRAGMA foreign_key_list({name})")
                        ),
                    )
                )
                for kind, name, sql in made
                if not name.startswith(("alembic", "sqlite"))
            }

    def refusal(self, kind: type[Exception]) -> str:
        """In one line that names the database."""
        why = str(self.assertRaises(kind, prepare_sqlite, self.path))
        self.assertNotIn("\n", why)
        self.assertIn(str(self.path), why)
        return why


class MadeTests(UpgradeCase):
    """The first start."""

    def test_as_the_schema_says(self) -> None:
        """Migrations lead to the very tables that statements are written for."""
        prepare_sqlite(self.path)
        other = self.folder / "other.db"
        engine = create_engine(f"sqlite:///{other}")
        metadata.create_all(engine)
        engine.dispose()
        self.assertEqual(self.tables(self.path), self.tables(other))

    def test_head(self) -> None:
        """The revision that the program asks for is the last one that there is."""
        self.assertEqual(ScriptDirectory(str(MIGRATIONS)).get_heads(), [HEAD])

    def test_properties(self) -> None:
        """It is for our user alone, and can give space back."""
        before = os.umask(0)
        try:
            prepare_sqlite(self.path)
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(self.run_sql("PRAGMA auto_vacuum"), [(2,)])

    def test_again(self) -> None:
        """The next start finds all in order."""
        self.assertIsNone(prepare_sqlite(self.path))
        self.run_sql("INSERT INTO identity VALUES ('a', x'00')")
        self.assertIsNone(prepare_sqlite(self.path))
        self.assertEqual(self.run_sql("SELECT name FROM identity"), [("a",)])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["moxsmtp.db"])

    def test_died_at_first_start(self) -> None:
        """A file that holds nothing yet is made whole."""
        self.path.touch()
        prepare_sqlite(self.path)
        self.assertEqual(self.run_sql("SELECT * FROM identity"), [])


class RefusedTests(UpgradeCase):
    """A database that is not for us is refused and not touched."""

    def test_newer(self) -> None:
        """A later version's."""
        prepare_sqlite(self.path)
        self.run_sql("UPDATE alembic_version SET version_num = 'zzzz'")
        before = self.path.read_bytes()
        self.assertIn("later version", self.refusal(StoreTooNew))
        self.assertEqual(self.path.read_bytes(), before)

    def test_no_database(self) -> None:
        """Some other file."""
        self.path.write_bytes(b"this is not a database, but it is long enough to look at" * 100)
        self.assertIn("damaged", self.refusal(StoreDamaged))

    def test_not_ours(self) -> None:
        """Another program's database."""
        self.run_sql("CREATE TABLE cats (name)")
        self.assertIn("is not a store of moxsmtp", self.refusal(StoreDamaged))
        prepare_sqlite(self.folder / "other.db")

    def test_no_version(self) -> None:
        """One that has lost its version."""
        prepare_sqlite(self.path)
        self.run_sql("DELETE FROM alembic_version")
        self.refusal(StoreDamaged)

    def test_cut_short(self) -> None:
        """One without its end."""
        prepare_sqlite(self.path)
        self.run_sql("INSERT INTO identity VALUES ('a', zeroblob(100000))")
        with self.path.open("r+b") as file:
            file.truncate(self.path.stat().st_size - 4096)
        self.refusal(StoreDamaged)

    def test_large_cut_short(self) -> None:
        """A large one without its end, though not all of it is looked at."""
        self.patch(upgrade, "_CHECKED", 0)
        self.test_cut_short()

    def test_overwritten(self) -> None:
        """One with wrong octets, wherever they stand."""
        prepare_sqlite(self.path)
        pages = self.path.stat().st_size // 4096
        whole = self.path.read_bytes()
        for page in range(pages):
            with self.path.open("r+b") as file:
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)
            self.refusal(StoreDamaged)
            self.path.write_bytes(whole)
        prepare_sqlite(self.path)

    def test_table_lost(self) -> None:
        """One without one of our tables."""
        prepare_sqlite(self.path)
        self.run_sql("DROP TABLE hook")
        self.refusal(FolderUnusable)

    def test_locked(self) -> None:
        """One that another process holds all the while."""
        self.patch(upgrade, "connect", lambda path, *, write: _impatient(path, write=write))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode = WAL")
            other.execute("BEGIN IMMEDIATE")
            why = str(self.assertRaises(DatabaseUnavailable, prepare_sqlite, self.path))
        self.assertEqual(why, "the database is locked by another process")

    def test_no_permission(self) -> None:
        """One that may not be opened."""
        self.path.mkdir()
        self.refusal(DatabaseUnavailable)


class OlderTests(UpgradeCase):
    """A database of an earlier version; the one in force is the later here."""

    def setUp(self) -> None:
        """A store of HEAD, with a row."""
        super().setUp()
        prepare_sqlite(self.path)
        self.run_sql("INSERT INTO content VALUES (7, 3, 1, NULL)")

    def bring_next(self, then: str = "") -> None:
        """A version with one step more."""
        scripts = self.folder / "migrations"
        (scripts / "versions").mkdir(parents=True, exist_ok=True)
        (scripts / "env.py").write_text((MIGRATIONS / "env.py").read_text())
        for step in (MIGRATIONS / "versions").glob("*.py"):
            (scripts / "versions" / step.name).write_text(step.read_text())
        (scripts / "versions" / "9999_next.py").write_text(NEXT.format(head=HEAD, then=then))
        self.patch(upgrade, "_MIGRATIONS", scripts)
        self.patch(upgrade, "HEAD", "9999")

    def test_migrated(self) -> None:
        """It is copied aside as it was, and brought up; all rows are there."""
        before = self.tables(self.path)
        self.bring_next()
        copy = prepare_sqlite(self.path)
        assert copy is not None
        self.assertEqual(copy.name, f"moxsmtp-{HEAD}.db")
        self.assertEqual(self.tables(copy), before)
        self.assertEqual(stat.S_IMODE(copy.stat().st_mode), 0o600)
        self.assertIn("more", self.tables(self.path))
        self.assertEqual(self.run_sql("SELECT id, sort FROM content"), [(7, "mail")])
        with closing(sqlite3.connect(copy)) as driver:
            self.assertEqual(driver.execute("SELECT id FROM content").fetchall(), [(7,)])
        self.assertIsNone(prepare_sqlite(self.path))

    def test_fails_within(self) -> None:
        """A step that fails leaves it as it was, and may be tried again."""
        before = self.tables(self.path)
        self.bring_next(then="    op.execute('INSERT INTO nowhere VALUES (1)')")
        self.refusal(FolderUnusable)
        self.assertEqual(self.tables(self.path), before)
        self.assertEqual(self.run_sql("SELECT version_num FROM alembic_version"), [(HEAD,)])
        self.bring_next()
        self.assertIsNotNone(prepare_sqlite(self.path))

    def test_damaged(self) -> None:
        """A damaged one is refused as such, and not migrated."""
        self.bring_next()
        with self.path.open("r+b") as file:
            file.truncate(self.path.stat().st_size - 4096)
        before = self.path.read_bytes()
        self.refusal(StoreDamaged)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(list(self.folder.glob("*.db")), [self.path])

    def test_no_room_for_the_copy(self) -> None:
        """Without room for the copy nothing is changed."""
        before = self.tables(self.path)
        self.bring_next()

        def refuse(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "fsync", refuse)
        self.assertIn("no room", self.refusal(FolderUnusable))
        self.assertEqual(self.tables(self.path), before)

    def test_copied_whole(self) -> None:
        """What stands in the log only is in the copy too."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("INSERT INTO content VALUES (8, 3, 1, NULL)")
            self.bring_next()
            copy = prepare_sqlite(self.path)
        assert copy is not None
        with closing(sqlite3.connect(copy)) as driver:
            rows = driver.execute("SELECT id FROM content ORDER BY id").fetchall()
        self.assertEqual(rows, [(7,), (8,)])


class FirstTests(UpgradeCase):
    """A store of the first release."""

    def test_rows_are_kept(self) -> None:
        """Its messages are there after the upgrade, with nothing known of who sent them."""
        with self.monkey(HEAD="0001"):
            prepare_sqlite(self.path)
        self.assertNotIn("dkim_domains", str(self.tables(self.path)["message"]))
        self.run_sql(
            "INSERT INTO content VALUES (7, 3, 1, NULL)",
            "INSERT INTO message (id, account, mailbox, content_id, prefix, size, received,"
            " rcpt_to) VALUES (5, 'ann', 'Inbox', 7, x'', 3, 0, 'ann@x.example')",
        )
        copy = prepare_sqlite(self.path)
        self.assertEqual(copy, self.folder / "moxsmtp-0001.db")
        engine = create_engine(f"sqlite:///{self.path}")
        self.addCleanup(engine.dispose)
        with engine.connect() as connection:
            (row,) = connection.execute(select(*COLUMNS)).all()
        read = read_message(row)
        self.assertEqual((read.id, read.account, read.provenance), (5, "ann", Provenance()))

    def test_senders_are_found(self) -> None:
        """Jobs that waited get the domain of their sender, by which rules know them (Q-6, Q-20)."""
        with self.monkey(HEAD="0003"):
            prepare_sqlite(self.path)
        senders = {
            "ann@here.example": "here.example",
            '"a@b"@here.example': "here.example",
            "x@[192.0.2.1]": "[192.0.2.1]",
            "postmaster": "",
            '"a@b"': "",
            None: "",
        }
        insert = (
            "INSERT INTO job (account, mail_from, rcpt_to, destination, size, queued, content_id,"
            " prefix, next_attempt) VALUES ('ann', SENDER, 'b@x', 'x', 3, 0, 7, x'', 0)"
        )
        quoted = ["NULL" if sender is None else f"'{sender}'" for sender in senders]
        self.run_sql(
            "BEGIN",
            "INSERT INTO content VALUES (7, 3, 1, NULL)",
            *(insert.replace("SENDER", sender) for sender in quoted * 400),
            "INSERT INTO retired_job (id, account, mail_from, rcpt_to, destination, size, queued,"
            " success, event, last_activity, keep_until) VALUES (1, 'ann', 'ann@here.example',"
            " 'b@x', 'x', 3, 0, 0, 'failed', 0, 0)",
            "COMMIT",
        )
        prepare_sqlite(self.path)
        found = self.run_sql("SELECT DISTINCT mail_from, sender_domain FROM job")
        self.assertEqual(sorted(found, key=str), sorted(senders.items(), key=str))
        self.assertEqual(self.run_sql("SELECT sender_domain FROM retired_job"), [("here.example",)])

    def test_jobs_of_one_form(self) -> None:
        """
        Jobs that waited under 0005 leave with the one form that they have (Q-6), and
        which folder a Maildir is, is not known yet.
        """
        with self.monkey(HEAD="0005"):
            prepare_sqlite(self.path)
        self.run_sql(
            "INSERT INTO content VALUES (7, 3, 1, NULL)",
            "INSERT INTO content_chunk VALUES (7, 0, x'616263')",
            "INSERT INTO job (id, account, mail_from, rcpt_to, destination, size, queued,"
            " content_id, prefix, next_attempt) VALUES (5, 'ann', 'ann@here.example', 'b@x', 'x',"
            " 3, 0, 7, x'', 0)",
        )
        copy = prepare_sqlite(self.path)
        self.assertEqual(copy, self.folder / "moxsmtp-0005.db")
        engine = create_engine(f"sqlite:///{self.path}")
        self.addCleanup(engine.dispose)
        with engine.connect() as connection:
            (row,) = connection.execute(select(job)).all()
        waiting = read_job(row)
        self.assertEqual(
            (waiting.id, waiting.content, waiting.alternative, waiting.alternative_size),
            (5, 7, None, 0),
        )
        self.assertEqual(self.run_sql("SELECT * FROM maildir"), [])
        with closing(sqlite3.connect(self.path)) as driver:
            driver.execute("PRAGMA foreign_keys = ON")
            second = "UPDATE job SET alternative_id = 8"
            self.assertRaises(sqlite3.IntegrityError, driver.execute, second)

    @contextmanager
    def monkey(self, **values: object) -> Iterator[None]:
        """The module as it was."""
        patcher = MonkeyPatcher(*((upgrade, name, value) for name, value in values.items()))
        patcher.patch()
        try:
            yield
        finally:
            patcher.restore()


def _impatient(path: Path, *, write: bool) -> sqlite3.Connection:
    from moxsmtp.store.sqlite_connection import connect

    return connect(path, patience=0.01, write=write)
