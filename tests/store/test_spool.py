"""Tests for L{moxsmtp.store.spool}."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import InsufficientStorage, ISpool, Spooled
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.schema import CHUNK
from moxsmtp.store.spool import PIECE, Contents, Spool
from tests.doubles import HeldPool, InlinePool, InlineReactor

KIB = 1024


class SpoolCase(SynchronousTestCase):
    """@ivar pool: Works while it is asked."""

    def setUp(self) -> None:
        """A folder, and room for 1 MiB in memory."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = ContentFiles(Path(folder.name))
        self.pool = self.make_pool()
        self.room = True
        self.contents = self.make_contents(1024 * KIB)

    def make_pool(self) -> InlinePool:
        """For disk work."""
        return InlinePool()

    def make_contents(self, memory: int, *, keep_files: bool = True) -> Contents:
        """With so much room in memory."""
        return Contents(
            InlineReactor(),
            self.pool,
            self.files,
            memory=memory,
            keep_files=keep_files,
            has_room=lambda: self.room,
        )

    def left(self) -> Sequence[str]:
        """What lies in the content folder."""
        return [path.name for path in self.files.folder.iterdir()]

    def finished(self, spool: Spool) -> Spooled:
        """What it comes to."""
        return self.successResultOf(spool.finish())

    def spooled(self, octets: bytes) -> tuple[Spool, Spooled]:
        """Written at once."""
        spool = self.contents.spool()
        spool.write(octets)
        return spool, self.finished(spool)

    def octets(self, spooled: Spooled) -> bytes:
        """Wherever they are."""
        if spooled.inline is not None:
            return spooled.inline
        return self.files.path(spooled.file or "").read_bytes()


class ContentTests(SpoolCase):
    """What comes out is what went in."""

    def test_interface(self) -> None:
        """A spool is what receivers ask for."""
        verifyObject(ISpool, self.contents.spool())

    def test_small(self) -> None:
        """Up to one row of content stays in memory, and no thread is asked."""
        self.contents = Contents(
            InlineReactor(),
            HeldPool(),
            self.files,
            memory=CHUNK,
            keep_files=True,
            has_room=lambda: True,
        )
        spool = self.contents.spool()
        self.assertIsNone(spool.write(b"a" * (CHUNK - 1)))
        self.assertIsNone(spool.write(b"b"))
        spooled = self.finished(spool)
        self.assertEqual(spooled.inline, b"a" * (CHUNK - 1) + b"b")
        self.assertIsNone(spooled.file)
        self.assertEqual(self.left(), [])

    def test_large(self) -> None:
        """More than that is a file, for us alone."""
        _, spooled = self.spooled(b"a" * (CHUNK + 1))
        self.assertIsNone(spooled.inline)
        self.assertEqual(self.left(), [spooled.file])
        self.assertEqual(self.octets(spooled), b"a" * (CHUNK + 1))
        self.assertEqual(self.files.path(spooled.file or "").stat().st_mode & 0o777, 0o600)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([b"a", b"\r\n", b"\xe9"]), st.integers(1, 300_000))))
    def test_any_pieces(self, pieces: Sequence[tuple[bytes, int]]) -> None:
        """Octets, size and whether any is above 127 are right, however they come."""
        for path in self.files.folder.iterdir():
            path.unlink()
        spool = self.contents.spool()
        whole = b""
        for octet, count in pieces:
            data = (octet * count)[:count]
            waited = spool.write(data)
            if waited is not None:
                self.successResultOf(waited)
            whole += data
        spooled = self.finished(spool)
        self.assertEqual(self.octets(spooled), whole)
        self.assertEqual(spooled.size, len(whole))
        self.assertEqual(spooled.has_8bit, any(octet > 127 for octet in whole))
        self.assertEqual(spooled.file is not None, len(whole) > CHUNK)
        spool.abort()
        self.assertEqual(self.contents.budget.used, 0)
        self.assertEqual(self.left(), [])

    def test_header(self) -> None:
        """The header is kept up to its empty line, or its first MiB."""
        long = b"X: " + b"y" * 70 + b"\r\n"
        cases = {
            b"A: b\r\n\r\nbody\r\n\r\n": b"A: b\r\n\r\n",
            b"\r\nbody\r\n\r\n": b"\r\n",
            b"no empty line": b"no empty line",
            b"": b"",
            long * 4000 + b"\r\nbody": long * 4000 + b"\r\n",
            b"a" * 65534 + b"\r\n\r\n" + b"b" * CHUNK: b"a" * 65534 + b"\r\n\r\n",
            b"\r\n" + b"b" * CHUNK: b"\r\n",
            b"z" * 1100 * KIB: b"z" * 1024 * KIB,
        }
        for octets, header in cases.items():
            _, spooled = self.spooled(octets)
            self.assertEqual(spooled.header, header)

    def test_byte_by_byte(self) -> None:
        """The same, one octet at a time."""
        octets = b"A: b\r\n\r\nbody\r\n\r\n\xff"
        spool = self.contents.spool()
        for start in range(len(octets)):
            spool.write(octets[start : start + 1])
        spooled = self.finished(spool)
        self.assertEqual(spooled, Spooled(len(octets), b"A: b\r\n\r\n", True, inline=octets))

    def test_synced(self) -> None:
        """A file and its name are on disk before it is given out."""
        synced: list[str] = []
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            synced.append(Path(f"/dev/fd/{descriptor}").resolve().name)
            sync(descriptor)

        self.patch(os, "fsync", fsync)
        _, spooled = self.spooled(b"a" * (CHUNK + 1))
        self.assertEqual(synced, [f"{spooled.file}.tmp", self.files.folder.resolve().name])


class AbortTests(SpoolCase):
    """Content that nobody took leaves nothing behind."""

    def test_everywhere(self) -> None:
        """At any point, and twice."""
        for size in (0, 10, CHUNK + 1, PIECE + 1):
            for finish in (False, True):
                spool = self.contents.spool()
                spool.write(b"a" * size)
                if finish:
                    self.finished(spool)
                spool.abort()
                spool.abort()
                self.assertEqual(self.left(), [])
                self.assertEqual(self.contents.budget.used, 0)
                self.assertRaises(ValueError, spool.write, b"a")

    def test_taken(self) -> None:
        """What was committed is the store's; aborting is too late."""
        for size in (10, CHUNK + 1):
            spool, spooled = self.spooled(b"a" * size)
            self.assertGreater(self.contents.budget.used, 0)
            self.contents.custody(spooled)(True)
            self.assertEqual(self.contents.budget.used, 0)
            spool.abort()
            self.assertEqual(self.left(), [spooled.file] if spooled.file else [])

    def test_not_taken(self) -> None:
        """What was not committed is still the session's."""
        spool, spooled = self.spooled(b"a" * (CHUNK + 1))
        self.contents.custody(spooled)(False)
        self.assertEqual(self.left(), [spooled.file])
        spool.abort()
        self.assertEqual(self.left(), [])
        self.assertEqual(self.contents.budget.used, 0)

    def test_while_being_stored(self) -> None:
        """
        Aborting while a unit stores it removes nothing before the unit is
        settled: the file of an accepted message is never lost.
        """
        for committed in (False, True):
            spool, spooled = self.spooled(b"a" * (CHUNK + 1))
            settled = self.contents.custody(spooled)
            spool.abort()
            self.assertEqual(self.left(), [spooled.file])
            self.assertGreater(self.contents.budget.used, 0)
            settled(committed)
            self.assertEqual(self.left(), [spooled.file] if committed else [])
            self.assertEqual(self.contents.budget.used, 0)

    def test_two_units(self) -> None:
        """If one of two units is committed, the content is the store's."""
        for first in (True, False):
            spool, spooled = self.spooled(b"a" * (CHUNK + 1))
            settled = [self.contents.custody(spooled) for _ in range(2)]
            settled[0](first)
            spool.abort()
            settled[1](not first)
            self.assertIn(spooled.file, self.left())
            self.assertEqual(self.contents.budget.used, 0)

    def test_in_the_tables(self) -> None:
        """Where the tables hold all octets, the file goes once it is committed."""
        self.contents = self.make_contents(1024 * KIB, keep_files=False)
        _, spooled = self.spooled(b"a" * (CHUNK + 1))
        self.contents.custody(spooled)(True)
        self.assertEqual(self.left(), [])

    def test_made_elsewhere(self) -> None:
        """Content that was never spooled is nobody's to give back."""
        self.contents.custody(Spooled(1, b"", has_8bit=False, inline=b"a"))(True)
        self.assertEqual(self.contents.budget.used, 0)


class WaitTests(SpoolCase):
    """Disk work takes its time."""

    pool: HeldPool

    def make_pool(self) -> InlinePool:
        """Works when the test says so."""
        return HeldPool()

    def waiting(self, waited: Deferred[None] | None) -> Deferred[None]:
        """That there is something to wait for."""
        assert waited is not None
        self.assertNoResult(waited)
        return waited

    def test_two_pieces(self) -> None:
        """One piece may be written while another fills; then the writer waits."""
        spool = self.contents.spool()
        self.assertIsNone(spool.write(b"a" * (PIECE - 1)))
        self.assertEqual(len(self.pool.held), 0)
        self.assertIsNone(spool.write(b"a"))
        self.assertEqual(len(self.pool.held), 1)
        self.assertIsNone(spool.write(b"b" * (PIECE - 1)))
        waited = self.waiting(spool.write(b"b"))
        self.pool.release()
        self.successResultOf(waited)
        self.assertEqual(len(self.pool.held), 1)
        finished = spool.finish()
        self.pool.release()
        self.assertNoResult(finished)
        self.pool.release()
        spooled = self.successResultOf(finished)
        self.assertEqual(self.octets(spooled), b"a" * PIECE + b"b" * PIECE)

    def test_budget(self) -> None:
        """Without room in memory content goes to a file at once, and the writer waits for it."""
        self.contents = self.make_contents(100)
        first, second = self.contents.spool(), self.contents.spool()
        self.assertIsNone(first.write(b"a" * 100))
        waited = self.waiting(second.write(b"b"))
        self.pool.release()
        self.successResultOf(waited)
        self.assertEqual(self.contents.budget.used, 100)
        first.abort()
        self.assertIsNone(second.write(b"c" * 100))
        waited = self.waiting(second.write(b"d"))
        self.pool.release()
        self.successResultOf(waited)
        self.assertEqual(self.contents.budget.used, 0)
        finished = second.finish()
        self.pool.release()
        spooled = self.successResultOf(finished)
        self.assertEqual(self.octets(spooled), b"b" + b"c" * 100 + b"d")
        second.abort()
        self.pool.release()
        self.assertEqual(self.left(), [])
        self.assertEqual(self.contents.budget.used, 0)

    def test_budget_while_writing(self) -> None:
        """Without room, whoever comes while a piece is written waits until all is."""
        self.contents = self.make_contents(PIECE)
        spool = self.contents.spool()
        self.assertIsNone(spool.write(b"a" * PIECE))
        waited = self.waiting(spool.write(b"b"))
        self.pool.release()
        self.assertNoResult(waited)
        self.pool.release()
        self.successResultOf(waited)

    def test_aborted_while_writing(self) -> None:
        """What a thread is still writing is removed behind it."""
        spool = self.contents.spool()
        spool.write(b"a" * PIECE)
        spool.abort()
        self.pool.release()
        self.assertEqual(len(self.left()), 1)
        self.pool.release()
        self.assertEqual(self.left(), [])
        self.assertEqual(self.contents.budget.used, 0)

    def test_cancelled_while_waiting(self) -> None:
        """Whoever is cancelled while waiting may abort; nothing is left."""
        spool = self.contents.spool()
        spool.write(b"a" * PIECE)
        waited = self.waiting(spool.write(b"a" * PIECE))
        waited.cancel()
        self.failureResultOf(waited, CancelledError)
        spool.abort()
        self.pool.release()
        self.pool.release()
        self.assertEqual(self.left(), [])
        self.assertEqual(self.contents.budget.used, 0)

    def test_cancelled_while_finishing(self) -> None:
        """The same at the end."""
        spool = self.contents.spool()
        spool.write(b"a" * (CHUNK + 1))
        finished = spool.finish()
        finished.cancel()
        self.failureResultOf(finished, CancelledError)
        spool.abort()
        self.pool.release()
        self.pool.release()
        self.assertEqual(self.left(), [])
        self.assertEqual(self.contents.budget.used, 0)


class NoRoomTests(SpoolCase):
    """The disk is full."""

    def no_room(self, *_: object) -> Any:
        """What the system says."""
        raise OSError(self.number, "no room")

    def setUp(self) -> None:
        """Which way."""
        super().setUp()
        self.number = errno.ENOSPC

    def test_little_left(self) -> None:
        """Below what has to be free, no content is taken."""
        self.room = False
        self.assertRaises(InsufficientStorage, self.contents.spool)

    def check(self, name: str, act: Callable[[Spool], object]) -> None:
        """
        A call of the system fails: the sender is told that there is no room,
        again at every further step, and nothing is left.
        """
        for self.number in (errno.ENOSPC, errno.EDQUOT):
            undo = self.patch(os, name, self.no_room)
            spool = self.contents.spool()
            try:
                spool.write(b"a" * PIECE)
                act(spool)
            except InsufficientStorage:
                pass
            else:
                self.fail("there was room")
            self.failureResultOf(spool.finish(), InsufficientStorage)
            undo.restore()
            spool.abort()
            self.assertEqual(self.left(), [])
            self.assertEqual(self.contents.budget.used, 0)

    def test_open(self) -> None:
        """No room for a name."""
        self.check("open", lambda _: None)

    def test_write(self) -> None:
        """No room for octets."""
        self.check("write", lambda _: None)

    def test_sync(self) -> None:
        """The quota is found to be exceeded at the end only."""
        self.check("fsync", lambda spool: self.failureResultOf(spool.finish()).raiseException())

    def test_other_error(self) -> None:
        """A broken disk is not called a full one."""
        self.number = errno.EIO
        self.patch(os, "write", self.no_room)
        spool = self.contents.spool()
        self.assertRaises(OSError, spool.write, b"a" * PIECE)

    def test_while_waiting(self) -> None:
        """Whoever waits is told."""
        self.pool = pool = HeldPool()
        self.contents = self.make_contents(1024 * KIB)
        spool = self.contents.spool()
        spool.write(b"a" * PIECE)
        waited = spool.write(b"a" * PIECE)
        self.patch(os, "write", self.no_room)
        pool.release()
        assert waited is not None
        self.failureResultOf(waited, InsufficientStorage)
        self.assertRaises(InsufficientStorage, spool.write, b"a")
        spool.abort()
        pool.release()
        self.assertEqual(self.left(), [])
        self.assertEqual(self.contents.budget.used, 0)
