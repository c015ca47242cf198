"""Messages read back out of a Maildir."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import BinaryIO

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IContent, Maildir
from moxsmtp.mailbox import content
from moxsmtp.mailbox.content import MaildirReader, NoMaildir
from moxsmtp.mailbox.maildir import Tree, Vanished
from tests.mailbox.doubles import RECEIVED, inline


class Counting:
    """A file that counts what is read of it."""

    def __init__(self, file: BinaryIO, counted: list[int]) -> None:
        self.seek = file.seek
        self._file = file
        self._counted = counted

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, length: int) -> bytes:
        """Read and count."""
        octets = self._file.read(length)
        self._counted.append(len(octets))
        return octets


class ContentTests(unittest.SynchronousTestCase):
    """One account with a Maildir."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.tree = Tree(self.root, 0o700)
        self.tree.make()
        self.reader = MaildirReader(inline, lambda: {"alice": Maildir(str(self.root))})

    def deliver(self, octets: bytes) -> str:
        """Put a message there."""
        draft = self.tree.draft(1, RECEIVED)
        draft.write(octets)
        name = draft.finish("mx.example")
        draft.publish(self.root, "Inbox", name, "")
        return name

    def read(self, found: IContent, offset: int, length: int) -> bytes:
        """A piece."""

        async def wait(awaitable: Awaitable[bytes]) -> bytes:
            return await awaitable

        return self.successResultOf(Deferred.fromCoroutine(wait(found.read(offset, length))))

    def test_same_as_stored(self) -> None:
        """What was handed over with CRLF is read with CRLF, whole and in any piece."""
        octets = b"Subject: x\r\n\r\none\r\n\r\n..two\rthree\r\n"
        found = self.reader.open("alice", self.deliver(octets))
        self.assertEqual(found.size, len(octets))
        for begin in range(len(octets) + 2):
            for length in (0, 1, 2, 7, len(octets)):
                self.assertEqual(self.read(found, begin, length), octets[begin : begin + length])

    def test_interface(self) -> None:
        """It provides what all content provides."""
        verifyObject(IContent, self.reader.open("alice", self.deliver(b"x")))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.sampled_from([b"a", b"\r\n", b"long line", b"\r\n\r\n"]), min_size=1),
        st.lists(st.tuples(st.integers(0, 300), st.integers(1, 50)), max_size=8),
    )
    def test_any_order(self, pieces: list[bytes], reads: list[tuple[int, int]]) -> None:
        """Read in any order, back and forth, over many small pieces of the file."""
        self.patch(content, "_PIECE", 3)
        octets = b"".join(pieces)
        found = self.reader.open("alice", self.deliver(octets))
        for offset, length in reads:
            self.assertEqual(self.read(found, offset, length), octets[offset : offset + length])

    def test_large(self) -> None:
        """Reading a large message forwards reads hardly more of the file than there is."""
        octets = b"0123456789\r\n" * 100_000
        found = self.reader.open("alice", self.deliver(octets))
        counted: list[int] = []
        opened = Path.open

        def counting(path: Path, mode: str) -> Counting:
            return Counting(opened(path, mode), counted)  # type: ignore[arg-type]  # it is "rb"

        self.patch(Path, "open", counting)
        step = 200_000
        whole = b"".join(self.read(found, n, step) for n in range(0, len(octets), step))
        self.assertEqual(whole, octets)
        self.assertLess(sum(counted), 2 * len(octets))

    def test_moved_while_reading(self) -> None:
        """A file that is moved between two reads is found again."""
        name = self.deliver(b"one\r\ntwo\r\n")
        found = self.reader.open("alice", name)
        self.assertEqual(self.read(found, 0, 5), b"one\r\n")
        (self.root / "new" / name).rename(self.root / "cur" / f"{name}:2,S")
        self.assertEqual(self.read(found, 5, 5), b"two\r\n")

    def test_gone(self) -> None:
        """A file that is in no folder is an error, not an empty message."""
        name = self.deliver(b"one\r\n")
        (self.root / "new" / name).unlink()
        found = self.reader.open("alice", name)
        self.failureResultOf(
            Deferred.fromCoroutine(found.read(0, 5)),  # type: ignore[arg-type]  # it is a coroutine
            FileNotFoundError,
        )

    def test_no_maildir(self) -> None:
        """An account without a Maildir, or a foreign name, is refused at once."""
        error = self.assertRaises(NoMaildir, self.reader.open, "bob", self.deliver(b"x"))
        self.assertEqual(str(error), "account bob has no Maildir in the configuration")
        self.assertRaises(LookupError, self.reader.open, "alice", "1700000000.foreign")

    def test_vanished(self) -> None:
        """A Maildir that is not there is told with its owner and its place."""
        name = self.deliver(b"one\r\n")
        found = self.reader.open("alice", name)
        self.root.rename(self.root.with_name("elsewhere"))
        for asked in (found.read(0, 5), self.reader.remove("alice", name)):
            failure = self.failureResultOf(
                Deferred.fromCoroutine(asked),  # type: ignore[arg-type]  # it is a coroutine
                Vanished,
            )
            self.assertIn(
                f"the Maildir of alice at {self.root} is not there", failure.getErrorMessage()
            )

    def test_remove(self) -> None:
        """A message is removed, and it is said whether it was there."""
        name = self.deliver(b"x")
        answers = [
            self.successResultOf(Deferred.fromCoroutine(self.reader.remove("alice", name)))
            for _ in range(2)
        ]
        self.assertEqual(answers, [True, False])
        self.assertEqual(list((self.root / "new").iterdir()), [])
