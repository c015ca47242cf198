"""A connection to a database file of ours, and what units of work see of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.dialects.sqlite import pysqlite

from moxsmtp.store.errors import TransactionLost
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.transaction import Statements, Transaction

__all__ = ["LOCK_PATIENCE", "Core", "connect"]

#: Seconds to wait for a lock that another process holds.
LOCK_PATIENCE: Final = 30.0

#: What the write-ahead log keeps of its size after a checkpoint.
JOURNAL_LIMIT: Final = 32 * 1024 * 1024


def connect(path: Path, *, patience: float = LOCK_PATIENCE, write: bool) -> sqlite3.Connection:
    """
    Open a database of ours in the calling thread.

    @param patience: Seconds to wait for another process' lock.
    """
    driver = sqlite3.connect(path, timeout=patience, isolation_level=None, cached_statements=512)
    try:
        if write:
            (pages,) = driver.execute("PRAGMA page_count").fetchone()
            if not pages:
                # Has to come before the first table; later it would write for nothing.
                driver.execute("PRAGMA auto_vacuum = INCREMENTAL")
            driver.execute("PRAGMA journal_mode = WAL")
            driver.execute("PRAGMA synchronous = FULL")
            driver.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT}")
        else:
            # SQLite before 3.51.3 can damage a log that two connections reset,
            # so only the writer checkpoints.
            driver.execute("PRAGMA wal_autocheckpoint = 0")
            driver.execute("PRAGMA query_only = ON")
        driver.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        driver.close()
        raise
    return driver


class Core:
    """A connection, and what units see of it."""

    def __init__(self, driver: sqlite3.Connection, files: ContentFiles) -> None:
        self.driver = driver
        statements = Statements(pysqlite.dialect(paramstyle="named"), sqlite3.Error)
        self.tx = Transaction(driver, statements, files, self.check)

    def check(self) -> None:
        """A unit that swallowed the engine's rollback must not go on without a transaction."""
        if not self.driver.in_transaction:
            raise TransactionLost("the transaction was rolled back")

    def rollback(self) -> None:
        """Whatever stands."""
        if self.driver.in_transaction:
            self.driver.execute("ROLLBACK")
