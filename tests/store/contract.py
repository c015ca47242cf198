"""
What tests of the statements stand on.

Each test class of statements is a L{Contract} that takes C{self.database} from
L{Contract.make_database}: SQLite with its threads, for whose answers
L{CountingReactor} has the test wait.  A class that comes first among the bases
and makes another database has the same tests run on that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any, TypeVar, cast

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql.expression import Executable
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial import unittest

from moxsmtp.interfaces import (
    HookTarget,
    IContent,
    NewHook,
    NewJob,
    NewMessage,
    OutgoingEvent,
    Spooled,
)
from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.queue.job import Hook, Job, Lease, Result, Settlement
from moxsmtp.smtp.address import Path
from moxsmtp.store.clock import Clock, given_clock
from moxsmtp.store.columns import write_time
from moxsmtp.store.database import Database
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.hook_admin import HookAdmin
from moxsmtp.store.hook_rows import add_hook
from moxsmtp.store.hooks import HookStore
from moxsmtp.store.jobs import JobStore
from moxsmtp.store.messages import MailStore
from moxsmtp.store.queue_admin import QueueAdmin
from moxsmtp.store.schema import job, metadata
from moxsmtp.store.spool import Contents
from moxsmtp.store.sqlite import SQLiteDatabase
from moxsmtp.store.transaction import Transaction
from tests.doubles import InlinePool
from tests.store.engine import CountingReactor
from tests.store.prepared import put_empty

__all__ = [
    "NOW", "Contract", "FailingDatabase",
    "new_hook", "new_job", "new_message", "path", "result", "spooled",
]  # fmt: skip

T = TypeVar("T")

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

_TABLES: Mapping[str, Executable] = {
    table.name: select(table).order_by(*table.primary_key.columns)
    for table in metadata.sorted_tables
}

_HOLD = update(job).where(job.c.id == bindparam("id")).values(hold=1)


class FailingDatabase(Database):
    """Breaks units of work at their n-th statement."""

    def __init__(self, database: Database) -> None:
        self.files = database.files
        #: How many statements still succeed; L{None}: all.
        self.succeed: int | None = None
        self._database = database

    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        settled: Callable[[bool], None] | None = None,
    ) -> Deferred[T]:
        if self.succeed is None:
            return self._database.transact(work, settled=settled)
        return self._database.transact(
            lambda tx: work(cast("Transaction", _FailingTransaction(tx, self))), settled=settled
        )

    def read(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        return self._database.read(work)

    def stop(self) -> Deferred[None]:
        return self._database.stop()


class Broken(Exception):
    """The statement failed, as the test wanted."""


class _FailingTransaction:
    def __init__(self, tx: Transaction, database: FailingDatabase) -> None:
        self._tx = tx
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def execute(self, *arguments: Any) -> Sequence[Any]:
        self._count()
        return self._tx.execute(*arguments)

    def execute_many(self, *arguments: Any) -> None:
        self._count()
        self._tx.execute_many(*arguments)

    def _count(self) -> None:
        if self._database.succeed is not None:
            if not self._database.succeed:
                raise Broken
            self._database.succeed -= 1


def path(text: str) -> Path:
    """A path from C{local@domain} or C{local@[ip]}."""
    local_part, _, domain = text.rpartition("@")
    if domain.startswith("["):
        return Path(local_part, AddressLiteral(ip_address(domain[1:-1])))
    return Path(local_part, parse_domain(domain))


def spooled(octets: bytes = b"Subject: hi\r\n\r\nhello\r\n") -> Spooled:
    """Small content."""
    return Spooled(size=len(octets), header=b"", has_8bit=not octets.isascii(), inline=octets)


def new_message(account: str = "ann", **changes: Any) -> NewMessage:
    """A message for C{account}."""
    values: dict[str, Any] = {
        "account": account,
        "prefix": b"Return-Path: <a@example.org>\r\n",
        "received": NOW,
        "reverse_path": path("a@example.org"),
        "forward_path": path(f"{account}@mx.example"),
    }
    return NewMessage(**(values | changes))


def new_hook(account: str = "ann", url: str = "https://hooks.example/", **changes: Any) -> NewHook:
    """A webhook call."""
    values: dict[str, Any] = {
        "account": account,
        "target": HookTarget(url),
        "event": OutgoingEvent.DELIVERED,
        "payload": b"{}",
    }
    return NewHook(**(values | changes))


def new_job(recipient: str = "b@example.org", **changes: Any) -> NewJob:
    """A job from C{ann@mx.example}."""
    values: dict[str, Any] = {
        "account": "ann",
        "reverse_path": path("ann@mx.example"),
        "forward_path": path(recipient),
        "prefix": b"Received: by mx.example\r\n",
        "message_id": "<1@mx.example>",
    }
    return NewJob(**(values | changes))


def result(**changes: Any) -> Result:
    """A failed attempt of two seconds."""
    values: dict[str, Any] = {
        "start": NOW,
        "duration": timedelta(seconds=2),
        "success": False,
        "code": 451,
        "status": "4.1",
        "error": "busy",
    }
    return Result(**(values | changes))


class Contract(unittest.SynchronousTestCase):
    """
    @ivar database: Fresh and empty.
    @ivar contents: Its spools.
    @ivar reactor: Where its threads answer.
    @ivar time: What stores believe the time is.
    """

    database: Database
    contents: Contents
    reactor: CountingReactor
    time: datetime = NOW

    def setUp(self) -> None:
        """Stores over the database, and lists of what they told."""
        self.database, self.contents = self.make_database()
        self.addCleanup(lambda: self.result(self.database.stop()))
        self.failing = FailingDatabase(self.database)
        self.stored: list[frozenset[str]] = []
        self.changed: list[Set[int]] = []
        self.woken = 0
        self.keep_hooks = timedelta()
        self.mail = MailStore(
            self.failing,
            self.contents,
            now=self.now,
            stored=self.stored.append,
            in_maildir=self.in_maildir,
        )
        self.jobs = self.job_store("node")
        self.admin = QueueAdmin(
            self.failing,
            now=self.now,
            wake=self.wake,
            stored=self.stored.append,
            keep_hooks=lambda _: self.keep_hooks,
            clock=given_clock,
            changed=self.changed.append,
        )
        self.hooks = HookStore(self.failing, owner="node", now=self.now, clock=given_clock)
        self.hook_admin = HookAdmin(
            self.failing,
            now=self.now,
            wake=self.wake,
            keep=lambda _: self.keep_hooks,
            clock=given_clock,
        )

    def make_database(self) -> tuple[Database, Contents]:
        """On SQLite, in a folder that vanishes with the test."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = FilePath(folder.name, "moxsmtp.sqlite")
        put_empty(file)
        self.reactor = CountingReactor()
        files = ContentFiles(FilePath(folder.name))
        database = SQLiteDatabase(self.reactor, file, files, idle=3600)
        contents = Contents(
            self.reactor,
            InlinePool(),
            files,
            memory=2**20,
            keep_files=True,
            has_room=lambda: True,
        )
        return database, contents

    def wait(self, deferred: Deferred[Any]) -> None:
        """Until the database's threads have answered."""
        self.reactor.wait(deferred)

    def now(self) -> datetime:
        """What stores believe."""
        return self.time

    def in_maildir(self, account: str, name: str) -> IContent:
        """There is no Maildir."""
        raise LookupError(f"{account}/{name}")

    def job_store(self, owner: str, clock: Clock = given_clock) -> JobStore:
        """The queue as a process sees it."""
        return JobStore(
            self.failing,
            self.contents,
            owner=owner,
            now=self.now,
            wake=self.wake,
            stored=self.stored.append,
            keep_hooks=lambda _: self.keep_hooks,
            clock=clock,
        )

    def wake(self) -> None:
        """Count."""
        self.woken += 1

    def result(self, awaitable: Awaitable[T]) -> T:
        """What it comes to."""
        deferred = self._begun(awaitable)
        self.wait(deferred)
        return self.successResultOf(deferred)

    def failure(self, awaitable: Awaitable[object], *kinds: type[BaseException]) -> Failure:
        """That it fails so."""
        deferred = self._begun(awaitable)
        self.wait(deferred)
        failure: Failure = self.failureResultOf(deferred, *kinds)
        return failure

    def _begun(self, awaitable: Awaitable[T]) -> Deferred[T]:
        async def run() -> T:
            return await awaitable

        return Deferred.fromCoroutine(run())

    # -- what the tables hold

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, in the order of their keys."""
        found = self.result(self.database.read(lambda tx: list(tx.execute(_TABLES[table]))))
        return [row._asdict() for row in found]

    def everything(self) -> Mapping[str, list[dict[str, Any]]]:
        """All rows of all tables."""
        return {table: self.rows(table) for table in _TABLES}

    def octets(self, content: IContent, step: int = 7) -> bytes:
        """Content, read whole in small pieces."""
        whole = b""
        while piece := self.result(content.read(len(whole), step)):
            self.assertLessEqual(len(piece), step)
            whole += piece
        return whole

    def assertAllOrNothing(self, act: Callable[[], Awaitable[object]]) -> None:
        """
        Break C{act} at its first statement, its second, and so on until it
        succeeds: whatever breaks leaves all as it was.
        """
        before = self.everything()
        for statements in range(100):
            self.failing.succeed = statements
            deferred = self._begun(act())
            self.wait(deferred)
            if not isinstance(getattr(deferred, "result", None), Failure):
                self.failing.succeed = None
                self.assertGreater(statements, 1)
                self.assertNotEqual(self.everything(), before)
                return
            self.failureResultOf(deferred, Broken)
            self.assertEqual(self.everything(), before)
        self.fail("it never succeeds")

    # -- shorthand for the queue

    def hold(self, number: int) -> None:
        """Put a job on hold, as an administrator does."""
        self.result(self.database.transact(lambda tx: tx.execute(_HOLD, {"id": number})))

    def add(self, *jobs: NewJob, content: bytes = b"\r\nhello\r\n") -> Sequence[int]:
        """Queue jobs."""
        return self.result(self.jobs.add(spooled(content), jobs or [new_job()]))

    def add_hook(self, new: NewHook | None = None, *, keep: timedelta = timedelta()) -> int:
        """Add a call now."""
        now = write_time(self.time)
        return self.result(
            self.database.transact(lambda tx: add_hook(tx, new or new_hook(), now=now, keep=keep))
        )

    def waiting_hooks(self) -> Sequence[Hook]:
        """Webhook calls, in the order of their numbers."""
        return self.result(self.hook_admin.hooks([row["id"] for row in self.rows("hook")]))

    def claim(
        self,
        store: JobStore | HookStore | None = None,
        *,
        count: int = 10,
        seconds: int = 30,
        troubled: bool = True,
    ) -> Sequence[Lease]:
        """What is due now, for some seconds."""
        return self.result(
            (store or self.jobs).claim(
                count, self.time, self.time + timedelta(seconds=seconds), troubled=troubled
            )
        )

    def take(self, lease: Lease, store: JobStore | None = None) -> Sequence[Job]:
        """The jobs of the batch that is due, each again in ten minutes; empty if none is."""
        batch = self.result((store or self.jobs).take(lease, self.time, self.in_ten_minutes))
        return () if batch is None else batch.jobs

    def settle(self, lease: Lease, *settlements: Settlement) -> None:
        """Say what an attempt meant."""
        self.result(self.jobs.settle(lease, settlements))

    def release(self, lease: Lease, store: JobStore | HookStore | None = None) -> None:
        """Give it back in good health."""
        self.result((store or self.jobs).release(lease, troubled=False))

    def in_ten_minutes(self, _: object) -> datetime:
        """When whatever was begun is tried again."""
        return self.time + timedelta(minutes=10)
