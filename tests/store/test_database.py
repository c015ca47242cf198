"""Tests for L{moxsmtp.store.database} and L{moxsmtp.store.sqlite}."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import bindparam, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError
from twisted.internet.defer import Deferred

from moxsmtp.interfaces import InsufficientStorage
from moxsmtp.store import sqlite
from moxsmtp.store.alike import Alike
from moxsmtp.store.crew import Done, Outcome, Raised
from moxsmtp.store.database import Transaction
from moxsmtp.store.errors import DatabaseUnavailable, StoreDamaged
from moxsmtp.store.schema import content_chunk, identity
from moxsmtp.store.sqlite import SQLiteDatabase, Writer
from moxsmtp.store.sqlite_connection import connect
from tests.store import engine
from tests.store.engine import SQLiteCase, add, names

_ADD = insert(identity).values(name=bindparam("name"), value=bindparam("value"))
_ORPHAN = insert(content_chunk).values(content_id=99, number=0, data=b"")
_CHECK_LATER = text("PRAGMA defer_foreign_keys = ON")
_PAGES = text("PRAGMA page_count")


def limit_pages(more: int) -> Any:
    """A unit: from now on the database may grow by so many pages."""

    def work(tx: Transaction) -> None:
        ((pages,),) = tx.execute(_PAGES)
        tx.execute(text(f"PRAGMA max_page_count = {pages + more}"))

    return work


def add_much(tx: Transaction) -> None:
    """More than fits."""
    tx.execute(_ADD, {"name": "much", "value": bytes(10**6)})


def _nothing() -> None:
    """For whoever does not ask."""


def _fail(tx: Transaction) -> None:
    """A unit with a bug."""
    tx.execute(_PAGES)
    raise ZeroDivisionError


class SQLiteContractTests(SQLiteCase, engine.DatabaseContract):
    """The contract on SQLite."""


class GroupTests(SQLiteCase):
    """Units that wait together are committed together."""

    def test_one_answer(self) -> None:
        """What has queued is answered at once: the reactor gives way once, and hears of all."""
        release = self.hold()
        units = [self.database.transact(add(f"{number}")) for number in range(50)]
        release()
        before = self.reactor.calls
        for unit in units:
            self.result(unit)
        self.assertEqual(self.reactor.calls - before, 2)

    def test_full(self) -> None:
        """
        A unit for which there is no room is told so; SQLite rolls back its
        whole group, and the others come to pass all the same.
        """
        self.result(self.database.transact(limit_pages(20)))
        release = self.hold()
        units: list[Deferred[Any]] = [self.database.transact(add("a"))]
        units.append(self.database.transact(add_much))
        units.append(self.database.transact(add("b")))
        release()
        self.result(units[0])
        self.failure(units[1], InsufficientStorage)
        self.result(units[2])
        self.assertEqual(self.names(), ["a", "b"])

    def test_full_at_commit(self) -> None:
        """
        Where the disk is found to be full at the commit, nobody of the group is
        told otherwise, and nothing of it is there (S-112).
        """

        class Full:
            """A connection that commits as long as there is room."""

            def __init__(self, real: sqlite3.Connection) -> None:
                self.real = real
                self.room = True

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

            def execute(self, statement: str, *values: Any) -> Any:
                if statement == "COMMIT" and not self.room:
                    error = sqlite3.OperationalError("database or disk is full")
                    error.sqlite_errorcode = sqlite3.SQLITE_FULL
                    raise error
                return self.real.execute(statement, *values)

        self.result(self.database.stop())
        made = list[Full]()

        def connected(*arguments: Any, **named: Any) -> Any:
            made.append(Full(connect(*arguments, **named)))
            return made[-1]

        self.patch(sqlite, "connect", connected)
        worker = Writer(self.folder.database, self.files, 1.0, 0.0)
        self.addCleanup(worker.close)
        self.assertEqual(worker.run(lambda: [add("a")], _nothing), [Done("a")])
        made[0].room = False
        for units in ([add("b")], [add("c"), add("d")]):
            for outcome in worker.run(partial(list, units), _nothing):
                assert isinstance(outcome, Raised)
                self.assertIsInstance(outcome.error, InsufficientStorage)
        made[0].room = True
        self.assertEqual(worker.run(lambda: [names], _nothing), [Done(["a"])])

    def test_full_alone(self) -> None:
        """The same without others (S-112)."""
        self.result(self.database.transact(limit_pages(20)))
        self.failure(self.database.transact(add_much), InsufficientStorage)
        self.result(self.database.transact(add("a")))
        self.assertEqual(self.names(), ["a"])

    def test_swallowed(self) -> None:
        """
        A unit that does not heed the end of its transaction gets no further,
        and keeps the first error, alone and in a group.
        """

        def swallows(tx: Transaction) -> str:
            try:
                add_much(tx)
            except OperationalError:
                add("swallowed")(tx)
            return "went on"

        def looks_away(tx: Transaction) -> str:
            try:
                add_much(tx)
            except OperationalError:
                return "no matter"
            return "fits"

        self.result(self.database.transact(limit_pages(20)))
        for work in (swallows, looks_away):
            self.failure(self.database.transact(work), InsufficientStorage)
            release = self.hold()
            unit = self.database.transact(work)
            other = self.database.transact(add(work.__name__))
            release()
            self.failure(unit, InsufficientStorage)
            self.result(other)
        self.assertEqual(self.names(), ["looks_away", "swallows"])

    def test_failed_without_a_change(self) -> None:
        """A unit that fails before it has changed anything makes nobody begin anew."""
        self.assertEqual(self._runs_beside(_fail), 1)

    def test_failed_after_a_change(self) -> None:
        """What a unit changed before it failed is undone; the others of its group come to pass."""

        def work(tx: Transaction) -> None:
            add("undone")(tx)
            _fail(tx)

        self.assertEqual(self._runs_beside(work), 2)

    def _runs_beside(self, failing: Callable[[Transaction], None]) -> int:
        """How often a unit ran in a group with one that fails; what came of both is right."""
        runs: list[None] = []

        def counted(tx: Transaction) -> None:
            runs.append(None)
            add("counted")(tx)

        release = self.hold()
        units = [self.database.transact(work) for work in (counted, failing, add("b"))]
        release()
        self.result(units[0])
        self.failure(units[1], ZeroDivisionError)
        self.result(units[2])
        self.assertEqual(self.names(), ["b", "counted"])
        return len(runs)

    def test_disk_alone(self) -> None:
        """The reactor is told to go on before the disk is waited for, also if one failed."""
        self.result(self.database.stop())
        worker = Writer(self.folder.database, self.files, 1.0, 0.0)
        self.addCleanup(worker.close)
        other = connect(self.folder.database, write=False)
        self.addCleanup(other.close)

        def worked() -> None:
            seen.append([name for (name,) in other.execute("SELECT name FROM identity")])

        for units in ([add("a")], [add("b"), add("c")], [add("d"), _fail]):
            seen = list[list[str]]()
            before = [name for (name,) in other.execute("SELECT name FROM identity")]
            worker.run(partial(list, units), worked)
            self.assertEqual(seen, [before])

    def test_alike(self) -> None:
        """Units of one kind are done at once, and each has its own answer."""
        groups: list[Sequence[str]] = []

        def do(tx: Transaction, parts: Sequence[str]) -> Sequence[Outcome]:
            groups.append(parts)
            return [Raised(LookupError()) if part == "x" else Done(add(part)(tx)) for part in parts]

        release = self.hold()
        units: list[Deferred[Any]] = [
            self.database.transact(work)
            for work in (Alike(do, "a"), add("b"), Alike(do, "x"), Alike(do, "c"))
        ]
        release()
        self.assertEqual(self.result(units[0]), "a")
        self.assertEqual(self.result(units[1]), "b")
        self.failure(units[2], LookupError)
        self.assertEqual(self.result(units[3]), "c")
        self.assertEqual(groups, [("a", "x", "c")])
        self.assertEqual(self.names(), ["a", "b", "c"])
        self.assertEqual(self.result(self.database.transact(Alike(do, "d"))), "d")
        self.failure(self.database.transact(Alike(do, "x")), LookupError)

    def test_alike_apart(self) -> None:
        """Where one of a kind harms the others, each is done by itself."""

        def do(tx: Transaction, parts: Sequence[str]) -> Sequence[Outcome]:
            if "x" in parts:
                _fail(tx)
            return [Done(add(part)(tx)) for part in parts]

        release = self.hold()
        units: list[Deferred[Any]] = [self.database.transact(Alike(do, name)) for name in "axc"]
        release()
        self.assertEqual(self.result(units[0]), "a")
        self.failure(units[1], ZeroDivisionError)
        self.assertEqual(self.result(units[2]), "c")
        self.assertEqual(self.names(), ["a", "c"])

    def test_caught(self) -> None:
        """A unit may catch an error that leaves its transaction whole."""
        self.result(self.database.transact(add("a")))

        def work(tx: Transaction) -> None:
            try:
                add("a")(tx)
            except IntegrityError:
                add("b")(tx)

        self.result(self.database.transact(work))
        self.assertEqual(self.names(), ["a", "b"])

    def test_commit_fails(self) -> None:
        """Where the commit fails, nobody in the group is told that all is well."""

        def work(tx: Transaction) -> None:
            tx.execute(_CHECK_LATER)
            tx.execute(_ORPHAN)

        release = self.hold()
        units: list[Deferred[Any]] = [self.database.transact(add("a"))]
        units.append(self.database.transact(work))
        release()
        for unit in units:
            self.failure(unit, sqlite3.IntegrityError)
        self.assertEqual(self.names(), [])
        self.result(self.database.transact(add("b")))


class LockTests(SQLiteCase):
    """Another process holds the database."""

    def setUp(self) -> None:
        """It does."""
        super().setUp()
        self.names()
        self.other = sqlite3.connect(self.folder.database, isolation_level=None)
        self.addCleanup(self.other.close)
        self.other.execute("BEGIN IMMEDIATE")

    def test_goes(self) -> None:
        """A unit waits for the lock, and then comes to pass."""
        unit = self.database.transact(add("a"))
        self.assertEqual(self.names(), [])
        self.assertNoResult(unit)
        self.other.execute("COMMIT")
        self.result(unit)
        self.assertEqual(self.names(), ["a"])

    def test_stays(self) -> None:
        """A lock that stays is an error that says so, and the next unit tries again."""
        self.result(self.database.stop())
        self.database = SQLiteDatabase(
            self.reactor, self.folder.database, self.files, lock_patience=0.01
        )
        why = self.failure(self.database.transact(add("a")), DatabaseUnavailable)
        self.assertEqual(str(why.value), "the database is locked by another process")
        self.other.execute("COMMIT")
        self.result(self.database.transact(add("a")))


class FileTests(SQLiteCase):
    """The database as a file."""

    def test_pragmas(self) -> None:
        """A commit is on disk, references are checked, space can be given back."""
        expected = {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "auto_vacuum": 2,
            "busy_timeout": 30_000,
        }
        statements = {name: text(f"PRAGMA {name}") for name in expected}
        found = self.result(
            self.database.transact(
                lambda tx: {name: tx.execute(each)[0][0] for name, each in statements.items()}
            )
        )
        self.assertEqual(found, expected)

    def test_private(self) -> None:
        """Nobody else may read it, nor its log."""
        self.result(self.database.transact(add("a")))
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in self.folder.path.glob("moxsmtp.db*")
        }
        self.assertEqual(
            modes, dict.fromkeys(("moxsmtp.db", "moxsmtp.db-shm", "moxsmtp.db-wal"), 0o600)
        )

    def test_one_file_is_left(self) -> None:
        """Stopping leaves no log behind."""
        self.result(self.database.transact(add("a")))
        self.names()
        self.result(self.database.stop())
        found = [path.name for path in self.folder.path.glob("moxsmtp.db*")]
        self.assertEqual(found, ["moxsmtp.db"])

    def test_damaged(self) -> None:
        """A database that broke meanwhile is named, in one line."""
        self.result(self.database.transact(add("a")))
        self.result(self.database.stop())
        with self.folder.database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096 * 50)
        self.database = self.make_again()
        why = self.failure(self.database.transact(add("b")), StoreDamaged)
        self.assertIn("is damaged", str(why.value))
        self.assertNotIn("\n", str(why.value))

    def test_not_there(self) -> None:
        """A database that is not there is not made by the way."""
        self.result(self.database.stop())
        self.folder.database.unlink()
        self.database = self.make_again()
        self.failure(self.database.transact(add("b")), DatabaseUnavailable)
        self.failure(self.database.read(names), DatabaseUnavailable)
        self.assertFalse(self.folder.database.exists())

    def make_again(self) -> SQLiteDatabase:
        """On the file as it is."""
        return SQLiteDatabase(self.reactor, self.folder.database, self.files)

    def test_space_is_given_back(self) -> None:
        """Once there is time, what was deleted makes the file smaller, in small steps."""
        self.result(self.database.stop())
        worker = Writer(self.folder.database, self.files, 1.0, 0.0)
        many = [{"name": f"{number}", "value": bytes(50_000)} for number in range(200)]
        (outcome,) = worker.run(lambda: [lambda tx: tx.execute_many(_ADD, many)], _nothing)
        self.assertIsInstance(outcome, Done)
        self.assertFalse(worker.rest())
        large = self.folder.database.stat().st_size
        worker.run(lambda: [lambda tx: tx.execute(text("DELETE FROM identity"))], _nothing)
        steps = 0
        while worker.rest():
            steps += 1
        worker.close()
        self.assertGreater(large, 10**7)
        self.assertGreater(steps, 5)
        self.assertLess(steps, 50)
        self.assertLess(self.folder.database.stat().st_size, 2 * 10**6)

    def test_no_rest_while_locked(self) -> None:
        """House-keeping waits for nobody."""
        self.result(self.database.stop())
        worker = Writer(self.folder.database, self.files, 10.0**6, 0.0)
        many = [{"name": f"{number}", "value": bytes(50_000)} for number in range(50)]
        worker.run(lambda: [lambda tx: tx.execute_many(_ADD, many)], _nothing)
        worker.run(lambda: [lambda tx: tx.execute(text("DELETE FROM identity"))], _nothing)
        other = sqlite3.connect(self.folder.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.assertFalse(worker.rest())
        other.close()
        self.assertTrue(worker.rest())
        worker.close()

    def test_rest_by_itself(self) -> None:
        """The thread that writes finds the time by itself."""
        self.result(self.database.stop())
        rested = threading.Event()

        class Resting(Writer):
            def rest(self) -> bool:
                rested.set()
                return super().rest()

        self.patch(sqlite, "Writer", Resting)
        self.database = SQLiteDatabase(self.reactor, self.folder.database, self.files, idle=0.0)
        self.result(self.database.transact(add("a")))
        self.assertTrue(rested.wait(60))

    def test_worker_survives(self) -> None:
        """Whatever a unit raises, the thread goes on."""
        self.result(self.database.stop())
        worker = Writer(self.folder.database, self.files, 1.0, 0.0)

        def ends(_: Transaction) -> None:
            raise SystemExit

        first, second = worker.run(lambda: [ends, add("a")], _nothing)
        self.assertIsInstance(first, Raised)
        self.assertEqual(second, Done("a"))
        worker.close()
