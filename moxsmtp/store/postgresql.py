"""
PostgreSQL: a crew of threads, each with a connection of its own.

A unit is a transaction.  It runs again where the server says that it lost
against another one, and where the connection had died before its commit was
sent; once that was sent, only the server knows what became of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.dialects.postgresql import psycopg as dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from moxsmtp.interfaces import InsufficientStorage
from moxsmtp.store.crew import Crew, Done, Outcome, Raised, Work
from moxsmtp.store.database import Database
from moxsmtp.store.errors import DatabaseUnavailable, DriverMissing, TransactionLost
from moxsmtp.store.files import ContentFiles, is_full
from moxsmtp.store.transaction import Cursor, Statements, Transaction
from moxsmtp.store.upgrade import HEAD, check_known, migrate

__all__ = ["PostgreSQLDatabase", "prepare_postgresql", "psycopg_driver"]

T = TypeVar("T")

#: How often a unit is run at most.
TRIES: Final = 5

#: Seconds before the second try; doubled before each further one.
PAUSE: Final = 0.01

#: Seconds for the server to take a connection.
CONNECT_PATIENCE: Final = 10

#: Seconds between two statements of a unit, after which the server ends it: a node that is
#: frozen, or cut off, in the middle would keep what it has locked from all others.
SILENCE: Final = 10

#: Any number, the same for all of us: one process migrates at a time.
_MIGRATION_LOCK: Final = 0x6D6F78

#: Serialization failure and deadlock: the same unit may well succeed now.
_AGAIN: Final = frozenset({"40001", "40P01"})

#: Disk full.
_FULL: Final = frozenset({"53100"})

_LOCK: Final = text("SELECT pg_advisory_xact_lock(:number)")
_VERSION: Final = text("SELECT version_num FROM alembic_version")


def psycopg_driver() -> Any:
    """
    The module.

    @raise DriverMissing: It is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise DriverMissing(
            "PostgreSQL needs the extra \"postgres\": pip install 'moxsmtp[postgres]'"
        ) from error
    return psycopg


class _Driver:
    """psycopg's connection, with the one method that it lacks."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.execute: Callable[[str, Any], Cursor] = connection.execute

    def executemany(self, text: str, values: Any, /) -> Cursor:
        """Run it for each of C{values}."""
        cursor: Any = self._connection.cursor()
        cursor.executemany(text, values)
        return cursor  # type: ignore[no-any-return]  # psycopg is optional, so it has no types here


class _Worker:
    """One connection, opened when it is needed and again when it was lost."""

    patience: float | None = None

    def __init__(self, url: str, files: ContentFiles, statements: Statements, begin: str) -> None:
        self._url = url
        self._files = files
        self._statements = statements
        self._begin = begin
        self._connection: Any = None
        self._tx: Transaction | None = None
        self._wait = threading.Event()

    def run(
        self,
        begin: Callable[[], Sequence[Work]],
        worked: Callable[[], None],  # noqa: ARG002 - the protocol's form
    ) -> Sequence[Outcome]:
        """See L{Worker.run}."""
        return [self._persist(work) for work in begin()]

    def _persist(self, work: Work) -> Outcome:
        """Once, and again where that may help."""
        pause = PAUSE
        for left in reversed(range(TRIES)):
            outcome, again = self._once(work)
            if not again or not left:
                return outcome
            self._wait.wait(pause)
            pause *= 2
        raise AssertionError("unreachable")

    def _once(self, work: Work) -> tuple[Outcome, bool]:
        """@return: also, whether it may be run again."""
        sent = False
        try:
            tx = self._open()
            self._connection.execute(self._begin)
            tx.error = None
            value = work(tx)
            self._check(tx)
            sent = True
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  # whatever it is, the caller is told
            return self._failed(error, sent=sent)
        return Done(value), False

    def _open(self) -> Transaction:
        if self._tx is None:
            self._connection = psycopg_driver().connect(
                self._url, autocommit=True, connect_timeout=CONNECT_PATIENCE
            )
            self._connection.execute(f"SET idle_in_transaction_session_timeout = '{SILENCE}s'")
            driver = _Driver(self._connection)
            self._tx = Transaction(driver, self._statements, self._files, _alive)
        return self._tx

    def _check(self, tx: Transaction) -> None:
        """A unit that swallowed an error: COMMIT would roll back, and call that a success."""
        status = psycopg_driver().pq.TransactionStatus
        if self._connection.info.transaction_status != status.INTRANS:
            raise TransactionLost("the transaction was rolled back") from tx.error

    def _failed(self, error: BaseException, *, sent: bool) -> tuple[Outcome, bool]:
        tx = self._tx
        if isinstance(error, TransactionLost) and tx is not None and tx.error is not None:
            error = tx.error
        cause = error.orig if isinstance(error, DBAPIError) else error
        lost = self._undo()
        if isinstance(cause, Exception) and isinstance(cause, psycopg_error()):
            if lost:
                ours = DatabaseUnavailable(f"no connection to the database: {_line(cause)}")
                ours.__cause__ = error
                return Raised(ours), not sent
            state = getattr(cause, "sqlstate", None)
            if state in _FULL:
                return Raised(InsufficientStorage("no room for the database")), False
            return Raised(error), state in _AGAIN
        if is_full(error):
            return Raised(InsufficientStorage("no room in the content folder")), False
        return Raised(error), False

    def _undo(self) -> bool:
        """Leave no transaction behind.  @return: Whether there is no connection any more."""
        if self._tx is None:
            return True
        self._tx.spare()
        if not self._connection.closed:
            try:
                self._connection.execute("ROLLBACK")
            except psycopg_error():
                self.close()
                return True
            return False
        self.close()
        return True

    def tidy(self) -> None:
        """See L{Worker.tidy}: content here is in no files."""

    def rest(self) -> bool:
        """See L{Worker.rest}: the server does that itself."""
        return False

    def close(self) -> None:
        """See L{Worker.close}."""
        connection, self._connection, self._tx = self._connection, None, None
        if connection is not None:
            connection.close()


def _alive() -> None:
    """The server itself refuses statements behind an error."""


def psycopg_error() -> type[Exception]:
    """What all of the driver's errors descend from; nothing, if it is not there."""
    try:
        error: type[Exception] = psycopg_driver().Error
    except DriverMissing:
        return _Never
    return error


class _Never(Exception):
    """Is not raised."""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


class PostgreSQLDatabase(Database):
    """The tables on a server, which other nodes may share."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        url: str,
        files: ContentFiles,
        *,
        writers: int = 8,
        readers: int = 2,
        bound: int = 1024,
    ) -> None:
        """
        @param url: C{postgresql://user:password@host:port/database}.
        @raise DriverMissing: psycopg is not installed.
        """
        self.files = files
        # One for all threads; what is compiled twice at once is the same.
        untyped: Any = dialect
        statements = Statements(untyped.dialect(), psycopg_driver().Error)
        write = partial(_Worker, url, files, statements, "BEGIN")
        read = partial(
            _Worker, url, files, statements, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )
        self._writers = Crew(reactor, "store-writer", [write] * writers, bound=bound)
        self._readers = Crew(reactor, "store-reader", [read] * readers, bound=bound)

    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        settled: Callable[[bool], None] | None = None,
    ) -> Deferred[T]:
        """See L{Database.transact}."""
        return self._writers.submit(work, settled)

    def read(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """See L{Database.read}."""
        return self._readers.submit(work)

    def stop(self) -> Deferred[None]:
        """See L{Database.stop}."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._readers.stop()
        await self._writers.stop()


def prepare_postgresql(url: str) -> None:
    """
    Make the tables, or bring them up to this version.  Blocks; for the start.

    No copy is made before: that is the business of who runs the server.

    @raise StoreTooNew: A later version made it.
    @raise StoreError: It cannot be used; the text says why in one line.
    """
    psycopg = psycopg_driver()
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, connect_timeout=CONNECT_PATIENCE),
        poolclass=NullPool,
    )
    try:
        with engine.begin() as connection:
            connection.execute(_LOCK, {"number": _MIGRATION_LOCK})
            version = None
            if inspect(connection).has_table("alembic_version"):
                version = connection.execute(_VERSION).scalar()
            if version == HEAD:
                return
            if version is not None:
                check_known(version, "on the PostgreSQL server")
            migrate(connection)
    except (SQLAlchemyError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise DatabaseUnavailable(
            f"cannot use the PostgreSQL database: {_line(cause or error)}"
        ) from error
