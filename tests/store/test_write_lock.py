"""Tests for L{moxsmtp.store.write_lock}, and for a database that several processes write."""

from __future__ import annotations

import fcntl
import sqlite3
import tempfile
import threading
from pathlib import Path

from sqlalchemy import text
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.store.database import Transaction
from moxsmtp.store.errors import DatabaseUnavailable
from moxsmtp.store.sqlite import SQLiteDatabase
from moxsmtp.store.write_lock import WriteLock
from tests.store.engine import SQLiteCase, add, names


class WriteLockTests(SynchronousTestCase):
    """One at a time; each lock here stands for a process of its own."""

    def setUp(self) -> None:
        """A folder for it."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def lock(self) -> WriteLock:
        """Of another process, as far as the kernel can tell."""
        lock = WriteLock(self.folder, patience=30)
        self.addCleanup(lock.close)
        return lock

    def test_one(self) -> None:
        """Who has it keeps others out for as long as they wait, and no longer."""
        one, other = self.lock(), self.lock()
        one.acquire()
        self.assertRaises(DatabaseUnavailable, other.acquire, 0.01)
        self.assertFalse(other.is_held)
        one.release()
        other.acquire(0)
        self.assertTrue(other.is_held)

    def test_vanished(self) -> None:
        """A holder whose open files are gone, as those of the dead are, keeps nobody out."""
        one, other = self.lock(), self.lock()
        one.acquire()
        one.close()
        other.acquire(0)

    def test_interval(self) -> None:
        """Who has to leave time to others begins no turn before it is over, if it has begun one."""
        seconds, slept = [100.0], list[float]()

        def sleep(pause: float) -> None:
            slept.append(pause)
            seconds[0] += pause

        lock = WriteLock(
            self.folder, patience=30, interval=0.5, now=lambda: seconds[0], sleep=sleep
        )
        self.addCleanup(lock.close)
        lock.acquire()
        lock.release()
        self.assertEqual(slept, [])
        seconds[0] += 0.125
        lock.acquire()
        lock.release()
        self.assertEqual(slept, [0.375])
        seconds[0] += 0.625
        lock.acquire()
        self.assertEqual(slept, [0.375])

    def test_gave_up(self) -> None:
        """Who gave up waiting is in nobody's way."""
        one, other, third = self.lock(), self.lock(), self.lock()
        one.acquire()
        self.assertRaises(DatabaseUnavailable, other.acquire, 0)
        one.release()
        third.acquire(0)

    def test_turns(self) -> None:
        """Who takes it again and again does not keep it from who waits."""
        greedy, patient = self.lock(), self.lock()
        had = threading.Event()
        greedy.acquire()

        def wait() -> None:
            patient.acquire()
            had.set()
            patient.release()

        thread = threading.Thread(target=wait)
        thread.start()
        while self.is_free(self.folder / "write.turn"):
            thread.join(0.001)
        greedy.release()
        greedy.acquire()
        self.assertTrue(had.is_set())
        greedy.release()
        thread.join(30)

    def is_free(self, path: Path) -> bool:
        """Whether nobody has the lock on a file."""
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def test_private(self) -> None:
        """Its files are for our user alone."""
        self.lock().acquire()
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.folder.iterdir()}, {0o600})


class SharedTests(SQLiteCase):
    """Two databases on one file, as of two processes."""

    def shared(self, *, patience: float = 30.0) -> SQLiteDatabase:
        """One more."""
        database = SQLiteDatabase(
            self.reactor,
            self.folder.database,
            self.files,
            lock_patience=patience,
            idle=3600,
            interval=0.0,
        )
        self.addCleanup(lambda: self.result(database.stop()))
        return database

    def test_both(self) -> None:
        """What both write at the same time is all there."""
        one, other = self.shared(), self.shared()
        units = [
            database.transact(add(f"{who} {number}"))
            for number in range(100)
            for who, database in (("one", one), ("other", other))
        ]
        for unit in units:
            self.result(unit)
        self.assertEqual(len(self.result(one.read(names))), 200)

    def test_waits(self) -> None:
        """A unit waits while another process writes, and fails alone when that takes too long."""
        database = self.shared(patience=0.02)
        lock = WriteLock(self.folder.path, patience=1)
        self.addCleanup(lock.close)
        lock.acquire()
        self.failure(database.transact(add("early")), DatabaseUnavailable)
        lock.release()
        self.result(database.transact(add("late")))
        self.assertEqual(self.result(database.read(names)), ["late"])

    def test_not_kept(self) -> None:
        """Between two groups, and after a unit that failed, the lock is free."""
        database = self.shared()
        lock = WriteLock(self.folder.path, patience=1)
        self.addCleanup(lock.close)

        def broken(tx: Transaction) -> None:
            tx.execute(text("COMMIT"))

        self.result(database.transact(add("a")))
        lock.acquire()
        lock.release()
        self.failure(database.transact(broken), Exception)
        lock.acquire()
        lock.release()

    def test_doomed(self) -> None:
        """
        Files whose rows are gone are gone before another process may write: it cannot
        come to refer to one that vanishes behind its back.
        """
        path = self.files.path("doomed")
        path.touch()
        lock = WriteLock(self.folder.path, patience=30)
        self.addCleanup(lock.close)
        seen: list[bool] = []
        first = self.shared()
        held = threading.Event()

        def look() -> None:
            held.wait(30)
            lock.acquire()
            seen.append(path.exists())
            lock.release()

        def doom(tx: Transaction) -> None:
            held.set()
            tx.doom("doomed")

        thread = threading.Thread(target=look)
        thread.start()
        unit = first.transact(doom)
        self.reactor.turns()
        thread.join(30)
        self.result(unit)
        self.assertEqual(seen, [False])

    def test_log_is_bounded(self) -> None:
        """With two who write in turns the log begins anew again and again."""
        one, other = self.shared(), self.shared()

        def write(tx: Transaction) -> None:
            tx.execute(text("UPDATE identity SET value = randomblob(100000) WHERE name = 'a'"))

        self.result(one.transact(add("a")))
        for _ in range(200):
            self.result(one.transact(write))
            self.result(other.transact(write))
        log = self.folder.database.with_name(f"{self.folder.database.name}-wal")
        self.assertLess(log.stat().st_size, 8 * 1024 * 1024)
        with sqlite3.connect(self.folder.database) as driver:
            self.assertEqual(driver.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        driver.close()

    def test_last_leaves_no_log(self) -> None:
        """The last one to close leaves one file."""
        one, other = self.shared(), self.shared()
        self.result(one.transact(add("a")))
        self.result(other.transact(add("b")))
        self.result(other.stop())
        self.result(one.stop())
        log = self.folder.database.with_name(f"{self.folder.database.name}-wal")
        self.assertFalse(log.exists() and log.stat().st_size)
