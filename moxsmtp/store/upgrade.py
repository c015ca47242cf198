"""
A database is made, or brought up to this version, or refused.

Alembic is loaded only where there is something to do.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from moxsmtp.store.errors import StoreDamaged, StoreTooNew
from moxsmtp.store.files import fsync_folder
from moxsmtp.store.schema import metadata
from moxsmtp.store.sqlite_connection import connect
from moxsmtp.store.sqlite_errors import in_one_line

__all__ = ["HEAD", "check_known", "copy_database", "migrate", "prepare_sqlite"]

#: The revision that this version works with, the last one in C{migrations}.
HEAD: Final = "0006"

_MIGRATIONS: Final = Path(__file__).parent / "migrations"

#: Octets of database up to which all of it is checked at start.
_CHECKED: Final = 32 * 1024 * 1024


def prepare_sqlite(path: Path) -> Path | None:
    """
    Make the database, or bring it up to this version.  Blocks; for the start.

    @return: Where the older database was copied to; L{None} if there was none.
    @raise StoreTooNew: A later version made it.
    @raise StoreDamaged: It is not ours, or broken.
    @raise StoreError: It cannot be used; the text says why in one line.
    """
    try:
        path.touch(mode=0o600)
        with closing(connect(path, write=True)) as driver:
            version = _version(driver, path)
            if version == HEAD:
                _check(driver, path)
                return None
            copy = None
            if version is not None:
                check_known(version, str(path))
                _check(driver, path)
                copy = path.with_name(f"{path.stem}-{version}{path.suffix}")
                copy_database(driver, copy)
            _migrate_sqlite(driver)
            return copy
    except (sqlite3.Error, SQLAlchemyError, OSError) as error:
        raise in_one_line(error, path) from error


def check_known(version: str, place: str) -> None:
    """@raise StoreTooNew: A revision that we have never heard of."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(_MIGRATIONS))
    if version not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreTooNew(f"the store {place} was made by a later version of moxsmtp ({version})")


def _version(driver: sqlite3.Connection, path: Path) -> str | None:
    """Its revision, L{None} if it holds nothing yet."""
    tables = {name for (name,) in driver.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return None
    row = None
    if "alembic_version" in tables:
        row = driver.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise StoreDamaged(f"the database {path} is not a store of moxsmtp")
    return str(row[0])


def _check(driver: sqlite3.Connection, path: Path) -> None:
    """Look at all of a small database, and at the edges of a large one."""
    (pages,) = driver.execute("PRAGMA page_count").fetchone()
    (page,) = driver.execute("PRAGMA page_size").fetchone()
    log = path.with_name(f"{path.name}-wal")
    logged = log.exists() and log.stat().st_size > 0
    if not logged and path.stat().st_size < pages * page:
        raise StoreDamaged(f"the database {path} is damaged: its end is missing")
    if pages * page <= _CHECKED:
        (found,) = driver.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreDamaged(f"the database {path} is damaged: {' '.join(str(found).split())}")
    # One that an older version made lacks tables that are new.
    is_ours = _version(driver, path) == HEAD
    made = driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for table in metadata.tables if is_ours else {name for (name,) in made} & {*metadata.tables}:
        # The name is from our own schema.
        driver.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchall()  # noqa: S608


def copy_database(driver: sqlite3.Connection, target: Path, *, pages: int = -1) -> None:
    """
    Copy all of a database durably, as it is at one moment.

    @param pages: Copied in one step.  With more than one step the caller holds
        a transaction over all of them.
    """
    unfinished = target.with_name(f"{target.name}.tmp")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
        driver.backup(copy, pages=pages)
    descriptor = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(target)
    fsync_folder(target.parent)


def _migrate_sqlite(driver: sqlite3.Connection) -> None:
    """All in one transaction."""
    # Tables are made anew under other names meanwhile.
    driver.execute("PRAGMA foreign_keys = OFF")
    engine = create_engine("sqlite://", creator=lambda: driver, poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection)
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise StoreDamaged(f"{len(broken)} rows of the database refer to nothing")


def migrate(connection: Connection) -> None:
    """Bring it to L{HEAD}, in the transaction that is under way."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
