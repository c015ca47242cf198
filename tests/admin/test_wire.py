"""What passes through the control socket."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.admin import wire
from moxsmtp.admin.wire import PIECE, decoded, encoded, octets, piece, short_path


class LineTests(unittest.SynchronousTestCase):
    """Objects as lines."""

    @settings(deadline=None, max_examples=60)
    @given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none()))
    def test_round_trip(self, entry: dict[str, object]) -> None:
        """An object is one line of printable ASCII, and comes back as it was."""
        line = encoded(entry)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertTrue(line.isascii() and line[:-1].decode().isprintable())
        self.assertEqual(decoded(line), entry)

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=200))
    def test_octets(self, content: bytes) -> None:
        """Octets of every kind come back as they were."""
        self.assertEqual(octets(decoded(encoded(piece(content)))), content)

    def test_full_piece(self) -> None:
        """The largest piece fits into a line."""
        self.assertLess(len(encoded(piece(b"\xff" * PIECE))), wire.MAXIMUM_LINE)

    def test_no_object(self) -> None:
        """Whatever is no JSON object is refused as such."""
        for line in (b"", b"\n", b"[]", b'"x"', b"1", b"{", b"\xff", b"[" * 100_000, b"nul"):
            self.assertRaises(ValueError, decoded, line)

    def test_no_octets(self) -> None:
        """What is no base64 is refused."""
        for entry in ({}, {"piece": "*"}, {"piece": "a"}):
            self.assertRaises(ValueError, octets, entry)


class PathTests(unittest.SynchronousTestCase):
    """The socket's name."""

    def folder(self, length: int) -> str:
        """A folder whose socket's name has C{length} octets."""
        start = str(Path(self.mktemp()).absolute())
        name = start + "/" + "x" * (length - len(start) - 2 - len(wire.SOCKET))
        self.patch(wire, "_LONGEST", length - 1 if length > 150 else length)
        Path(name).mkdir(parents=True)
        self.assertEqual(len(os.fsencode(f"{name}/{wire.SOCKET}")), length)
        return name

    def test_plain(self) -> None:
        """A name that fits is used as it is, to the last octet."""
        folder = self.folder(len(str(Path(self.mktemp()).absolute())) + 40)
        self.patch(wire, "_LONGEST", len(f"{folder}/{wire.SOCKET}"))
        with short_path(folder) as path:
            self.assertEqual(path, f"{folder}/{wire.SOCKET}")

    def test_long(self) -> None:
        """On Linux a longer name has a short way that leads to the same folder."""
        if not sys.platform.startswith("linux"):
            raise unittest.SkipTest("there is no /proc here")
        folder = self.folder(240)
        with short_path(folder) as path:
            self.assertLess(len(path), 60)
            Path(path).write_text("x")
            self.assertEqual(Path(folder, wire.SOCKET).read_text(), "x")
        self.assertFalse(Path(path).exists())

    def test_long_elsewhere(self) -> None:
        """Elsewhere the limit is named."""
        folder = self.folder(240)
        self.patch(sys, "platform", "darwin")
        error = self.assertRaises(OSError, self._enter, folder)
        self.assertIn("239 octets", error.strerror)
        self.assertIn("shorter", error.strerror)

    def _enter(self, folder: str) -> None:
        with short_path(folder):
            raise AssertionError("entered")
