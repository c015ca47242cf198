"""
What tests of the engine stand on: L{EngineCase}, and contracts that every
engine keeps.

A contract is a mix-in in front of an L{EngineCase} that makes the database.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IContent, Spooled
from moxsmtp.store.content import (
    StoredContent,
    content_header,
    insert_content,
    release_contents,
)
from moxsmtp.store.database import Database, Transaction
from moxsmtp.store.errors import ContentMissing, DatabaseUnavailable
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.schema import CHUNK, content, content_chunk, identity
from moxsmtp.store.sqlite import SQLiteDatabase
from tests.store.prepared import put_empty

__all__ = [
    "ContentContract", "CountingReactor", "DatabaseContract", "EngineCase", "SQLiteCase", "add",
    "names",
]  # fmt: skip

T = TypeVar("T")

_ADD = insert(identity).values(name=bindparam("name"), value=b"")
_NAMES = select(identity.c.name).order_by(identity.c.name)
_CONTENT = select(content.c.id, content.c.size, content.c.refs, content.c.file).order_by(
    content.c.id
)
_CHUNKS = select(content_chunk.c.number).order_by(content_chunk.c.number)


def add(name: str) -> Callable[[Transaction], str]:
    """A unit that adds a row with this name."""

    def work(tx: Transaction) -> str:
        tx.execute(_ADD, {"name": name})
        return name

    return work


def names(tx: Transaction) -> Sequence[str]:
    """A unit that reads them all."""
    return [row.name for row in tx.execute(_NAMES)]


@implementer(IReactorFromThreads)
class CountingReactor:
    """
    Runs what threads ask of a reactor while a test waits.

    @ivar calls: How often a thread asked.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._queue: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._soon: list[Callable[[], object]] = []

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002  # as below
        *args: object,
    ) -> None:
        """See L{IReactorTime.callLater}; for what is due in the next turn."""
        if delay:
            raise ValueError("no time passes here")
        self._soon.append(partial(callable, *args))

    def callFromThread(
        self,
        callable: Callable[..., Any],  # noqa: A002  # the interface calls it so
        *args: object,
        **kwargs: object,
    ) -> None:
        """See L{IReactorFromThreads.callFromThread}."""
        self._queue.put(lambda: callable(*args, **kwargs))

    def wait(self, deferred: Deferred[Any]) -> None:
        """Until it has a result; an engine that never answers is an error."""
        self.turns()
        while not deferred.called:
            self.next_call()()
            self.turns()

    def next_call(self) -> Callable[[], object]:
        """What a thread asked for next."""
        self.calls += 1
        return self._queue.get(timeout=60)

    def turn(self) -> None:
        """Do what was left for the next turn."""
        soon, self._soon = self._soon, []
        for each in soon:
            each()

    def turns(self) -> None:
        """As many as there is something left for."""
        while self._soon:
            self.turn()


class EngineCase(SynchronousTestCase):
    """
    @ivar database: Fresh and empty, with one thread that writes if possible.
    @ivar files: Its content folder.
    """

    database: Database
    files: ContentFiles
    reactor: CountingReactor

    def setUp(self) -> None:
        """A database in a folder that vanishes with the test."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = DataFolder(Path(folder.name, "data"))
        self.folder.open()
        self.addCleanup(self.folder.close)
        self.files = ContentFiles(self.folder.content)
        self.reactor = CountingReactor()
        self.database = self.make_database(bound=1024)
        self.addCleanup(self.stop_database)

    def make_database(self, *, bound: int) -> Database:
        """The engine's."""
        raise NotImplementedError

    def stop_database(self) -> None:
        """End its threads."""
        self.result(self.database.stop())

    def result(self, deferred: Deferred[T]) -> T:
        """What it comes to."""
        self.reactor.wait(deferred)
        return self.successResultOf(deferred)

    def failure(self, deferred: Deferred[Any], *kinds: type[BaseException]) -> Failure:
        """That it fails so."""
        self.reactor.wait(deferred)
        why: Failure = self.failureResultOf(deferred, *kinds)
        return why

    def hold(self) -> Callable[[], None]:
        """Keep the thread that writes busy with a unit.  @return: Ends that."""
        begun, ended = threading.Event(), threading.Event()

        def work(_: Transaction) -> None:
            begun.set()
            ended.wait(60)

        held = self.database.transact(work)
        self.reactor.turns()
        begun.wait(60)
        self.addCleanup(ended.set)

        def release() -> None:
            ended.set()
            self.result(held)

        return release

    def names(self) -> Sequence[str]:
        """What is committed."""
        return self.result(self.database.read(names))


class SQLiteCase(EngineCase):
    """SQLite, made as the server makes it."""

    database: SQLiteDatabase

    def make_database(self, *, bound: int) -> SQLiteDatabase:
        """Does no house-keeping by itself."""
        if not self.folder.database.exists():
            put_empty(self.folder.database)
        return SQLiteDatabase(
            self.reactor, self.folder.database, self.files, bound=bound, idle=3600
        )


class DatabaseContract(EngineCase):
    """Units of work on any engine."""

    def test_committed(self) -> None:
        """A result is given once the unit is committed, for all to read."""
        self.assertEqual(self.result(self.database.transact(add("a"))), "a")
        self.assertEqual(self.names(), ["a"])

    def test_undone(self) -> None:
        """What a unit raises is its result, and nothing of it stays."""

        def work(tx: Transaction) -> None:
            add("a")(tx)
            raise LookupError("no")

        self.failure(self.database.transact(work), LookupError)
        self.assertEqual(self.names(), [])

    def test_neighbours(self) -> None:
        """A unit that fails harms none of those that wait with it."""

        def work(tx: Transaction) -> None:
            add("b")(tx)
            raise LookupError("no")

        release = self.hold()
        units: list[Deferred[Any]] = [self.database.transact(add("a"))]
        units.append(self.database.transact(work))
        units.append(self.database.transact(add("c")))
        release()
        self.result(units[0])
        self.failure(units[1], LookupError)
        self.result(units[2])
        self.assertEqual(self.names(), ["a", "c"])

    def test_conflict(self) -> None:
        """A broken constraint is the same error on every engine, and shows no values."""
        self.result(self.database.transact(add("secret")))
        why = self.failure(self.database.transact(add("secret")), IntegrityError)
        self.assertNotIn("secret'", str(why.value))

    def test_rows(self) -> None:
        """Rows have names, and the number of them is known."""

        def work(tx: Transaction) -> tuple[object, ...]:
            tx.execute_many(_ADD, [{"name": "b"}, {"name": "a"}])
            changed = tx.changed
            rows = tx.execute(_NAMES)
            return changed, tx.changed, [row.name for row in rows], [tuple(row) for row in rows]

        found = self.result(self.database.transact(work))
        self.assertEqual(found, (2, 2, ["a", "b"], [("a",), ("b",)]))

    def test_many_of_nothing(self) -> None:
        """A statement for no values does nothing."""

        def work(tx: Transaction) -> int:
            tx.execute_many(_ADD, [])
            return tx.changed

        self.assertEqual(self.result(self.database.transact(work)), 0)

    def test_reader_writes_nothing(self) -> None:
        """Who reads cannot write, and goes on reading."""
        self.failure(self.database.read(add("a")), SQLAlchemyError, DatabaseUnavailable)
        self.assertEqual(self.names(), [])

    def test_reader_waits_for_no_writer(self) -> None:
        """A unit that is under way keeps nobody from reading."""
        release = self.hold()
        self.assertEqual(self.names(), [])
        release()

    def test_cancelled_before(self) -> None:
        """A unit that nobody waits for any more is not begun."""
        settled: list[bool] = []
        release = self.hold()
        unit = self.database.transact(add("a"), settled=settled.append)
        unit.cancel()
        self.failureResultOf(unit, CancelledError)
        self.assertEqual(settled, [False])
        release()
        self.result(self.database.transact(add("b")))
        self.assertEqual(self.names(), ["b"])
        self.assertEqual(settled, [False])

    def test_cancelled_within(self) -> None:
        """A unit that has begun is committed, and that is told, though not to who cancelled it."""
        settled: list[bool] = []
        begun, go_on = threading.Event(), threading.Event()

        def work(tx: Transaction) -> None:
            begun.set()
            go_on.wait(60)
            add("a")(tx)

        unit = self.database.transact(work, settled=settled.append)
        self.reactor.turns()
        begun.wait(60)
        unit.cancel()
        self.failureResultOf(unit, CancelledError)
        self.assertEqual(settled, [])
        go_on.set()
        self.result(self.database.transact(add("b")))
        self.assertEqual(self.names(), ["a", "b"])
        self.assertEqual(settled, [True])

    def test_settled(self) -> None:
        """Whether a unit is committed is told before its result is given."""
        told: list[object] = []

        def fails(_: Transaction) -> None:
            raise LookupError("no")

        done = self.database.transact(add("a"), settled=told.append)
        self.result(done.addCallback(told.append))
        self.failure(self.database.transact(fails, settled=told.append), LookupError)
        self.assertEqual(told, [True, "a", False])

    def test_bound(self) -> None:
        """Beyond the bound units wait for room with the threads; all come to pass."""
        self.stop_database()
        self.database = self.make_database(bound=2)
        release = self.hold()
        units = [self.database.transact(add(f"{number:02}")) for number in range(20)]
        units[15].cancel()
        self.failureResultOf(units[15], CancelledError)
        release()
        self.result(units[19])
        for unit in units[:15]:
            self.result(unit)
        expected = [f"{number:02}" for number in range(20) if number != 15]
        self.assertEqual(self.names(), expected)

    def test_stop(self) -> None:
        """Stopping finishes what is queued, beyond the bound too, and refuses what comes later."""
        self.stop_database()
        self.database = self.make_database(bound=2)
        release = self.hold()
        units = [self.database.transact(add(f"{number}")) for number in range(5)]
        stopped = self.database.stop()
        self.assertNoResult(stopped)
        self.failure(self.database.transact(add("late")), DatabaseUnavailable)
        release()
        self.result(stopped)
        for unit in units:
            self.successResultOf(unit)
        self.failure(self.database.read(names), DatabaseUnavailable)
        self.result(self.database.stop())
        self.database = self.make_database(bound=2)
        self.assertEqual(self.names(), ["0", "1", "2", "3", "4"])


class ContentContract(EngineCase):
    """Content in the tables of any engine."""

    def insert(self, spooled: Spooled, refs: int = 1) -> int:
        """Store it."""
        return self.result(self.database.transact(lambda tx: insert_content(tx, spooled, refs)))

    def file(self, octets: bytes) -> Spooled:
        """As a spool leaves it."""
        name = self.files.new_name()
        self.files.path(name).write_bytes(octets)
        return Spooled(len(octets), b"", has_8bit=False, file=name)

    def release(self, key: int, count: int = 1) -> None:
        """Refer to it no more."""
        self.result(self.database.transact(lambda tx: release_contents(tx, [key] * count)))

    def rows(self) -> Sequence[Any]:
        """All of them."""
        return self.result(self.database.read(lambda tx: tx.execute(_CONTENT)))

    def whole(self, key: int, size: int, step: int) -> bytes:
        """Its octets, read in pieces."""
        stored = StoredContent(self.database, key, size)
        read = b""
        while piece := self.result(stored.read(len(read), step)):
            self.assertLessEqual(len(piece), step)
            read += piece
        return read

    def test_interface(self) -> None:
        """Stored content is what readers ask for."""
        verifyObject(IContent, StoredContent(self.database, 1, 0))

    def test_inline(self) -> None:
        """What was kept in memory comes back octet for octet, however it is cut."""
        octets = b"Subject: x\r\n\r\n" + bytes(range(256)) * 4
        key = self.insert(Spooled(len(octets), b"", has_8bit=True, inline=octets))
        for step in (1000, 7, 5000):
            self.assertEqual(self.whole(key, len(octets), step), octets)

    def test_file(self) -> None:
        """What came in a file comes back octet for octet, however it is cut."""
        octets = bytes(range(256)) * 1500
        key = self.insert(self.file(octets))
        for step in (100_000, CHUNK, CHUNK + 1, 10**7):
            self.assertEqual(self.whole(key, len(octets), step), octets)

    def test_empty(self) -> None:
        """Content may be empty, and has an end."""
        key = self.insert(Spooled(0, b"", has_8bit=False, inline=b""))
        stored = StoredContent(self.database, key, 0)
        self.assertEqual(self.result(stored.read(0, 10)), b"")
        self.assertEqual(self.result(stored.read(100, 10)), b"")

    def test_references(self) -> None:
        """Content is there until the last reference is given back (Q-2)."""
        key = self.insert(Spooled(3, b"", has_8bit=False, inline=b"abc"), refs=3)
        self.release(key)
        self.assertEqual([row.refs for row in self.rows()], [2])
        self.assertEqual(self.whole(key, 3, 10), b"abc")
        self.release(key, 2)
        self.assertEqual(self.rows(), [])
        self.assertEqual(self.result(self.database.read(lambda tx: tx.execute(_CHUNKS))), [])

    def test_gone(self) -> None:
        """Content that is gone cannot be read, and can be released again."""
        key = self.insert(Spooled(3, b"", has_8bit=False, inline=b"abc"))
        self.release(key)
        self.failure(StoredContent(self.database, key, 3).read(0, 3), ContentMissing)
        self.release(key)

    def test_number_never_again(self) -> None:
        """Whoever still reads what was removed gets no other's content."""
        key = self.insert(Spooled(3, b"", has_8bit=False, inline=b"abc"))
        self.release(key)
        self.assertNotEqual(self.insert(Spooled(3, b"", has_8bit=False, inline=b"xyz")), key)

    def test_twice(self) -> None:
        """One spooled file stored twice is one content."""
        spooled = self.file(bytes(CHUNK + 1))
        key = self.insert(spooled)
        self.assertEqual(self.insert(spooled, refs=2), key)
        self.assertEqual([row.refs for row in self.rows()], [3])

    def test_after_failed_unit(self) -> None:
        """A spooled file whose first unit failed is stored by the next one."""
        octets = bytes(CHUNK + 1)
        spooled = self.file(octets)

        def fails(tx: Transaction) -> None:
            insert_content(tx, spooled, 1)
            raise LookupError("no")

        self.failure(self.database.transact(fails), LookupError)
        other = self.insert(self.file(bytes(10)))
        key = self.insert(spooled)
        self.assertNotEqual(key, other)
        self.assertEqual(self.whole(key, len(octets), 10**6), octets)

    def test_vanished(self) -> None:
        """A file that has vanished cannot be stored."""
        spooled = self.file(bytes(CHUNK + 1))
        self.files.unlink([spooled.file or ""])
        unit = self.database.transact(lambda tx: insert_content(tx, spooled, 1))
        self.failure(unit, ContentMissing)

    def test_header(self) -> None:
        """The header section is read up to its empty line, or to the limit."""
        filler = b"X: " + b"y" * 70 + b"\r\n"
        cases = {
            b"A: b\r\n\r\nbody\r\n": b"A: b\r\n\r\n",
            b"\r\nbody": b"\r\n",
            b"": b"",
            b"no end": b"no end",
            filler * 3000 + b"\r\nbody\r\n\r\n": filler * 3000 + b"\r\n",
            # the empty line stands across the edge of a row
            b"a" * (CHUNK - 2) + b"\r\n\r\nbody": b"a" * (CHUNK - 2) + b"\r\n\r\n",
        }
        for octets, header in cases.items():
            for spooled in (
                self.file(octets),
                Spooled(len(octets), b"", has_8bit=False, inline=octets),
            ):
                key = self.insert(spooled)
                read = self.database.read(lambda tx, key=key: content_header(tx, key, 10**6))  # type: ignore[misc]  # mypy cannot type a lambda's default
                self.assertEqual(self.result(read), header)
                read = self.database.read(lambda tx, key=key: content_header(tx, key, 5))  # type: ignore[misc]  # mypy cannot type a lambda's default
                self.assertEqual(self.result(read), header[:5])
