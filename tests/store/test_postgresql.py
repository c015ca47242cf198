"""Tests for L{moxsmtp.store.postgresql}, without a server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import InsufficientStorage
from moxsmtp.store import postgresql
from moxsmtp.store.database import Transaction
from moxsmtp.store.errors import DatabaseUnavailable, DriverMissing
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.postgresql import PostgreSQLDatabase, prepare_postgresql
from tests.store.engine import CountingReactor

_WORK = text("WORK")


class DriverError(Exception):
    """What the driver raises."""

    def __init__(self, sqlstate: str | None = None) -> None:
        super().__init__("what the server says")
        self.sqlstate = sqlstate


class Connection:
    """A connection that does as the test says, and tells what it was asked."""

    def __init__(self, asked: list[str], act: Callable[[str], None]) -> None:
        self.closed = False
        self.settings: list[str] = []
        self.info = SimpleNamespace(transaction_status=0)
        self._asked = asked
        self._act = act

    def execute(self, statement: str, _: object = None) -> Any:
        """One statement; what holds for a connection is put down apart."""
        if statement.startswith("SET "):
            self.settings.append(statement)
            return None
        self._asked.append(statement)
        try:
            self._act(statement)
        except DriverError as error:
            self.info.transaction_status = 3
            self.closed = error.sqlstate is None
            raise
        self.info.transaction_status = 2 if statement in {"BEGIN", "WORK"} else 0
        return SimpleNamespace(description=None, rowcount=1)

    def close(self) -> None:
        """For good."""
        self.closed = True


class UnitTests(SynchronousTestCase):
    """When a unit is run again, and when not."""

    def setUp(self) -> None:
        """A driver whose connections fail as C{failures} say, statement by statement."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.asked: list[str] = []
        self.failures: list[tuple[str, str | None]] = []
        self.connections = 0
        self.made: list[Connection] = []
        driver = SimpleNamespace(
            Error=DriverError,
            connect=self.connect,
            pq=SimpleNamespace(TransactionStatus=SimpleNamespace(INTRANS=2)),
        )
        self.patch(postgresql, "psycopg_driver", lambda: driver)
        self.patch(postgresql, "PAUSE", 0.0)
        self.reactor = CountingReactor()
        self.database = PostgreSQLDatabase(
            self.reactor, "postgresql:", ContentFiles(Path(folder.name)), writers=1
        )
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """End its threads."""
        stopped = self.database.stop()
        self.reactor.wait(stopped)
        self.successResultOf(stopped)

    def connect(self, *_: object, **__: object) -> Connection:
        """In the driver's stead."""
        self.connections += 1
        self.act("connect")
        self.made.append(Connection(self.asked, self.act))
        return self.made[-1]

    def act(self, statement: str) -> None:
        """Fail if it is the turn of that."""
        if self.failures and self.failures[0][0] == statement:
            raise DriverError(self.failures.pop(0)[1])

    def unit(self, work: Callable[[Transaction], object] | None = None) -> object:
        """What comes of one."""
        found: list[object] = []

        def statement(tx: Transaction) -> object:
            tx.execute(_WORK)
            return "done"

        unit = self.database.transact(work or statement)
        self.reactor.wait(unit)
        self.assertTrue(unit.addBoth(found.append).called)
        return getattr(found[0], "value", found[0])

    def test_committed(self) -> None:
        """A unit is a transaction."""
        self.assertEqual(self.unit(), "done")
        self.assertEqual(self.asked, ["BEGIN", "WORK", "COMMIT"])

    def test_silence(self) -> None:
        """
        Q-10: each connection has the server end a unit that says nothing for 10 s: what a node
        has locked that is frozen in the middle is free again before its leases are.
        """
        self.failures = [("BEGIN", None)]
        self.unit()
        for connection in self.made:
            self.assertEqual(
                connection.settings, ["SET idle_in_transaction_session_timeout = '10s'"]
            )
        self.assertEqual(len(self.made), 2)

    def test_lost_against_another(self) -> None:
        """What another transaction got in the way of runs again, from its start."""
        for code in ("40001", "40P01"):
            for at in ("WORK", "COMMIT"):
                self.failures = [(at, code), (at, code)]
                self.asked.clear()
                self.assertEqual(self.unit(), "done")
                self.assertEqual(self.asked.count("BEGIN"), 3)
                self.assertEqual(self.asked.count("ROLLBACK"), 2)
        self.assertEqual(self.connections, 1)

    def test_not_for_ever(self) -> None:
        """A unit that always loses is given up."""
        self.failures = [("WORK", "40001")] * 100
        self.assertIsInstance(self.unit(), DBAPIError)
        self.assertEqual(self.asked.count("BEGIN"), 5)

    def test_connection_lost(self) -> None:
        """A connection that died before the commit is replaced, and the unit run again."""
        for at in ("BEGIN", "WORK"):
            self.failures = [(at, None)]
            self.assertEqual(self.unit(), "done")
        self.assertEqual(self.connections, 3)

    def test_connection_lost_in_commit(self) -> None:
        """
        Once the commit was sent only the server knows whether it came to pass,
        so the unit is not run twice; the next one has a new connection.
        """
        self.failures = [("COMMIT", None)]
        self.assertIsInstance(self.unit(), DatabaseUnavailable)
        self.assertEqual(self.asked.count("WORK"), 1)
        self.assertEqual(self.unit(), "done")

    def test_no_server(self) -> None:
        """Without a server the error says so, in one line."""
        self.failures = [("connect", None)] * 100
        found = self.unit()
        self.assertIsInstance(found, DatabaseUnavailable)
        self.assertEqual(str(found), "no connection to the database: what the server says")
        self.failures.clear()
        self.assertEqual(self.unit(), "done")

    def test_full(self) -> None:
        """The server's disk is full: the sender may try again later (S-112)."""
        self.failures = [("WORK", "53100")]
        self.assertIsInstance(self.unit(), InsufficientStorage)

    def test_other_error(self) -> None:
        """Any other error is the unit's result, and undone."""
        self.failures = [("WORK", "23505")]
        self.assertIsInstance(self.unit(), DBAPIError)
        self.assertEqual(self.asked, ["BEGIN", "WORK", "ROLLBACK"])

    def test_swallowed(self) -> None:
        """A unit that does not heed an error is not told that it was committed."""

        def swallows(tx: Transaction) -> str:
            try:
                tx.execute(_WORK)
            except DBAPIError:
                return "no matter"
            return "done"

        self.failures = [("WORK", "23505")]
        self.assertIsInstance(self.unit(swallows), DBAPIError)
        self.assertEqual(self.asked, ["BEGIN", "WORK", "ROLLBACK"])


class DriverTests(SynchronousTestCase):
    """The driver is an extra."""

    def test_missing(self) -> None:
        """Without it the error names the extra, in one line."""
        before = sys.modules.get("psycopg")
        sys.modules["psycopg"] = None  # type: ignore[assignment]  # so Python marks what is not there

        def restore() -> None:
            del sys.modules["psycopg"]
            if before is not None:
                sys.modules["psycopg"] = before

        self.addCleanup(restore)
        why = self.assertRaises(DriverMissing, prepare_postgresql, "postgresql://")
        self.assertIn("moxsmtp[postgres]", str(why))
        self.assertNotIn("\n", str(why))
