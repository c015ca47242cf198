"""The store as it is opened at the start: folder, database, content, threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from moxsmtp.store.database import Database
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import DataFolder, FreeSpace
from moxsmtp.store.postgresql import PostgreSQLDatabase, prepare_postgresql
from moxsmtp.store.settings import StoreSettings
from moxsmtp.store.spool import Contents
from moxsmtp.store.sqlite import SQLiteDatabase
from moxsmtp.store.upgrade import prepare_sqlite

__all__ = ["Engine", "join_engine", "open_engine"]

#: Seconds from one group of writes to the next.  In a process with workers clients wait for
#: what those write, and nobody for what it writes itself, which is the more at once.
_AT_ONCE: Final = 0.0
_AT_LEISURE: Final = 0.012

_log: Final = Logger()


@dataclass(frozen=True, slots=True)
class Engine:
    """
    An open store.

    @ivar pool: For disk work; not started yet.
    @ivar hashing: One thread, for password hashes: each takes 19 MiB, which the
        C library keeps for every thread that ever computed one.  Not started yet.
    @ivar has_room: Whether as much is free as has to be, on the disks of all of it.
    @ivar is_sole: No other process may use this store, so that leases found
        at the start are those of the dead.
    """

    folder: DataFolder
    database: Database
    contents: Contents
    pool: ThreadPool
    hashing: ThreadPool
    has_room: Callable[[], bool]
    is_sole: bool

    @property
    def files(self) -> ContentFiles:
        """The content folder."""
        return self.contents.files

    async def close(self) -> None:
        """Finish what is queued, then let others have the folder."""
        try:
            await self.database.stop()
        finally:
            self.hashing.stop()
            self.pool.stop()
            self.folder.close()


def open_engine(
    directory: str, settings: StoreSettings, reactor: Any, *, workers: int = 1
) -> Engine:
    """
    Lock the folder and bring the database up to date.  Blocks; for the start.

    @param directory: The data folder; made if it is not there.
    @param reactor: IReactorFromThreads and IReactorTime.
    @param workers: Processes that will L{join_engine}, if there is more than one.
    @raise StoreError: It cannot be used; says why in one line.
    """
    folder = DataFolder(Path(directory))
    folder.open()
    try:
        if settings.url:
            prepare_postgresql(settings.url)
        else:
            copy = prepare_sqlite(folder.database)
            if copy is not None:
                _log.info("the database was upgraded; as it was before, it is in {copy}", copy=copy)
        return _engine(folder, settings, reactor, workers, _AT_LEISURE)
    except BaseException:
        folder.close()
        raise


def join_engine(directory: str, settings: StoreSettings, reactor: Any, *, workers: int) -> Engine:
    """
    Use a store that our parent process has opened, beside it and so many others.

    @raise DriverMissing: What the parent has is missing here.
    """
    return _engine(DataFolder(Path(directory)), settings, reactor, workers, _AT_ONCE)


def _engine(
    folder: DataFolder,
    settings: StoreSettings,
    reactor: Any,
    workers: int,
    interval: float,
) -> Engine:
    files = ContentFiles(folder.content, shared=workers > 1)
    database: Database
    if settings.url:
        database = PostgreSQLDatabase(reactor, settings.url, files)
    else:
        database = SQLiteDatabase(
            reactor, folder.database, files, interval=interval if workers > 1 else None
        )
    # Beside the workers, their parent writes messages too: DSNs.
    processes = 1 if workers == 1 else workers + 1
    pool = ThreadPool(minthreads=0, maxthreads=8, name="moxsmtp")
    hashing = ThreadPool(minthreads=0, maxthreads=1, name="moxsmtp-hashing")
    # Content may be a disk of its own, mounted there or behind a link.
    has_room = FreeSpace((folder.path, folder.content), settings.minimum_free, reactor)
    contents = Contents(
        reactor,
        pool,
        files,
        memory=settings.memory // processes,
        keep_files=not settings.url,
        has_room=has_room,
    )
    return Engine(folder, database, contents, pool, hashing, has_room, is_sole=not settings.url)
