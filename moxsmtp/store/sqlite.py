"""
SQLite: one writer, which commits whatever has queued at once, and readers.

A group runs without savepoints first: with one, SQLite keeps a copy of each page
that a unit changes.  If a unit fails that has changed something, all of the group
begin anew, each with a savepoint, so that one that fails harms no other.  Some
errors make SQLite roll back the whole transaction; then the unit at fault keeps
its error and the others run again, one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from moxsmtp.store.alike import bundled
from moxsmtp.store.crew import Crew, Done, Outcome, Raised, Work
from moxsmtp.store.database import Database
from moxsmtp.store.errors import DatabaseUnavailable, TransactionLost
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.sqlite_connection import LOCK_PATIENCE, Core, connect
from moxsmtp.store.sqlite_errors import translated
from moxsmtp.store.transaction import Transaction
from moxsmtp.store.write_lock import WriteLock

__all__ = ["SQLiteDatabase", "Writer"]

T = TypeVar("T")

#: Units in one commit at most.
GROUP: Final = 256

#: Free pages given back to the disk in one step.
VACUUM_STEP: Final = 256

#: Free pages that stay, for they will be used again.
VACUUM_KEEP: Final = 256

_log: Final = Logger()


class _Worker:
    """What writer and readers share: a connection that is opened when it is needed."""

    def __init__(self, path: Path, files: ContentFiles, patience: float, *, write: bool) -> None:
        self._path = path
        self._files = files
        self._lock_patience = patience
        self._write = write
        self._open: Core | None = None

    def _core(self) -> Core:
        if self._open is None:
            if not self._path.exists():
                raise DatabaseUnavailable(f"there is no database {self._path}")
            driver = connect(self._path, patience=self._lock_patience, write=self._write)
            self._open = Core(driver, self._files)
        return self._open

    def _alone(self, work: Work, begin: str, worked: Callable[[], None]) -> Outcome:
        """One unit in a transaction of its own."""
        core: Core | None = None
        doomed = 0
        try:
            core = self._core()
            doomed = len(core.tx.doomed)
            core.driver.execute(begin)
            core.tx.error = None
            value = work(core.tx)
            core.check()
            worked()
            core.driver.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  # whatever it is, the caller is told
            return Raised(self._undone(core, error, doomed))
        return Done(value)

    def _undone(self, core: Core | None, error: BaseException, doomed: int = 0) -> BaseException:
        """
        Leave no transaction behind.

        @param doomed: So many files are doomed by units committed before.
        @return: C{error} in our words.
        """
        try:
            if core is not None:
                core.tx.spare(doomed)
                core.rollback()
        except sqlite3.Error as worse:
            self.close()
            return translated(worse, self._path)
        return self._translated(core, error)

    def _translated(self, core: Core | None, error: BaseException) -> BaseException:
        """C{error} in our words; where the engine ended the transaction, why it did so."""
        if isinstance(error, TransactionLost) and core is not None and core.tx.error is not None:
            error = core.tx.error
        return translated(error, self._path)

    def tidy(self) -> None:
        """Unlink what was committed to be dropped."""
        if self._open is not None and self._open.tx.doomed:
            try:
                self._open.tx.unlink_doomed()
            except OSError as error:
                _log.error("content files stay behind: {error}", error=error)

    def close(self) -> None:
        """See L{Worker.close}."""
        core, self._open = self._open, None
        if core is not None:
            try:
                core.driver.close()
            except sqlite3.Error:
                _log.failure("a connection of the database did not close")


class _Reader(_Worker):
    """Reads over one state of the tables, for a short time."""

    patience: float | None = None

    def run(
        self, begin: Callable[[], Sequence[Work]], worked: Callable[[], None]
    ) -> Sequence[Outcome]:
        """See L{Worker.run}."""
        return [self._alone(work, "BEGIN", worked) for work in begin()]

    def rest(self) -> bool:
        """See L{Worker.rest}."""
        return False


class Writer(_Worker):
    """Commits in groups."""

    def __init__(
        self,
        path: Path,
        files: ContentFiles,
        lock_patience: float,
        idle: float,
        lock: WriteLock | None = None,
    ) -> None:
        """@param lock: Where other processes write, too."""
        super().__init__(path, files, lock_patience, write=True)
        self.patience: float | None = idle
        self._lock = lock

    def run(
        self, begin: Callable[[], Sequence[Work]], worked: Callable[[], None]
    ) -> Sequence[Outcome]:
        """See L{Worker.run}."""
        if self._lock is None:
            return self._run(begin(), worked)
        try:
            self._lock.acquire()
        except (DatabaseUnavailable, OSError) as error:
            return [Raised(translated(error, self._path))] * len(begin())
        try:
            # Not before: what came while others wrote is one commit with the rest.
            outcomes = self._run(begin(), worked)
            # Before another process may refer to these files again.
            self.tidy()
        finally:
            self._lock.release()
        return outcomes

    def _run(self, works: Sequence[Work], worked: Callable[[], None]) -> Sequence[Outcome]:
        if len(works) > 1:
            outcomes = self._plainly(works, worked)
            return self._saved_each(works, worked) if outcomes is None else outcomes
        return [self._alone(work, "BEGIN IMMEDIATE", worked) for work in works]

    def _plainly(
        self, works: Sequence[Work], worked: Callable[[], None]
    ) -> Sequence[Outcome] | None:
        """
        A group without savepoints, those of one kind at once.

        @return: L{None}: one failed that had changed something; nothing was done.
        """
        outcomes: dict[int, Outcome] = {}
        core: Core | None = None
        try:
            core = self._core()
            driver = core.driver
            driver.execute("BEGIN IMMEDIATE")
            for places, work in bundled(works):
                before = driver.total_changes
                outcome = self._outcome(core, work)
                if isinstance(outcome, Done):
                    outcomes.update(zip(places, outcome.value, strict=True))
                    continue
                is_intact = driver.in_transaction and driver.total_changes == before
                if len(places) > 1 or not is_intact:
                    core.tx.spare()
                    core.rollback()
                    return None
                outcomes[places[0]] = outcome
            worked()
            driver.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  # whatever it is, the callers are told
            return [Raised(self._undone(core, error))] * len(works)
        return [outcomes[place] for place in range(len(works))]

    def _saved_each(self, works: Sequence[Work], worked: Callable[[], None]) -> Sequence[Outcome]:
        """A group with savepoints."""
        outcomes: list[Outcome] = []
        core: Core | None = None
        try:
            core = self._core()
            core.driver.execute("BEGIN IMMEDIATE")
            for work in works:
                outcomes.append(self._saved(core, work))
                if not core.driver.in_transaction:
                    break
            else:
                core.driver.execute("COMMIT")
                return outcomes
        except BaseException as error:  # noqa: BLE001  # whatever it is, the callers are told
            return [Raised(self._undone(core, error))] * len(works)
        guilty = len(outcomes) - 1
        core.tx.spare()
        return [
            outcomes[guilty] if number == guilty else self._alone(work, "BEGIN IMMEDIATE", worked)
            for number, work in enumerate(works)
        ]

    def _saved(self, core: Core, work: Work) -> Outcome:
        """One unit of a group.  The transaction may be gone after it."""
        core.driver.execute("SAVEPOINT unit")
        outcome = self._outcome(core, work)
        if core.driver.in_transaction:
            if isinstance(outcome, Raised):
                core.driver.execute("ROLLBACK TO unit")
            core.driver.execute("RELEASE unit")
        return outcome

    def _outcome(self, core: Core, work: Work) -> Outcome:
        """What a unit gives; what it has changed stands."""
        core.tx.error = None
        doomed = len(core.tx.doomed)
        try:
            value = work(core.tx)
            core.check()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the caller is told
            core.tx.spare(doomed)
            return Raised(self._translated(core, error))
        return Done(value)

    def rest(self) -> bool:
        """Give a few pages of what was deleted back to the disk."""
        if self._open is None:
            return False
        if self._lock is None:
            return self._rest(self._open.driver)
        try:
            self._lock.acquire(0)
        except (DatabaseUnavailable, OSError):
            return False  # whoever has it does the same when it rests
        try:
            return self._rest(self._open.driver)
        finally:
            self._lock.release()

    def _rest(self, driver: sqlite3.Connection) -> bool:
        try:
            driver.execute("PRAGMA busy_timeout = 0")
            (free,) = driver.execute("PRAGMA freelist_count").fetchone()
            if free > VACUUM_KEEP:
                # execute() would stop after the first page
                driver.executescript(f"PRAGMA incremental_vacuum({VACUUM_STEP})")
                return True
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            _log.info("the database is not tidied up now: {error}", error=error)
        finally:
            driver.execute(f"PRAGMA busy_timeout = {int(self._lock_patience * 1000)}")
        return False

    def close(self) -> None:
        """Leave one file, not a log beside it."""
        # Also called while it is held, where a connection went wrong.
        lock = None if self._lock is None or self._lock.is_held else self._lock
        try:
            if lock is not None:
                lock.acquire()
            self._empty_log()
        except (DatabaseUnavailable, OSError) as error:
            _log.info("the log of the database stays: {error}", error=error)
        finally:
            super().close()
            if lock is not None:
                lock.close()

    def _empty_log(self) -> None:
        if self._open is not None:
            try:
                self._open.driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                _log.info("the log of the database stays: {error}", error=error)


class SQLiteDatabase(Database):
    """The tables in one file."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        path: Path,
        files: ContentFiles,
        *,
        readers: int = 2,
        bound: int = 1024,
        lock_patience: float = LOCK_PATIENCE,
        idle: float = 0.5,
        interval: float | None = None,
    ) -> None:
        """
        @param bound: Units that may be with the threads; more wait before them.
        @param lock_patience: Seconds to wait for another process' lock.
        @param interval: Seconds from one of our groups to the next, at least, where other
            processes of this server write, too; L{None}: none does.
        @param idle: Seconds without work after which free space is given back.
        """
        self.path = path
        self.files = files
        lock = None
        if interval is not None:
            lock = WriteLock(path.parent, patience=lock_patience, interval=interval)
        write = partial(Writer, path, files, lock_patience, idle, lock)
        read = partial(_Reader, path, files, lock_patience, write=False)
        self._writer = Crew(reactor, "store-writer", [write], batch=GROUP, bound=bound)
        self._readers = Crew(reactor, "store-reader", [read] * readers, bound=bound)

    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        settled: Callable[[bool], None] | None = None,
    ) -> Deferred[T]:
        """See L{Database.transact}."""
        return self._writer.submit(work, settled)

    def read(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """See L{Database.read}."""
        return self._readers.submit(work)

    def stop(self) -> Deferred[None]:
        """See L{Database.stop}.  The writer goes last: it empties the log."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._readers.stop()
        await self._writer.stop()
