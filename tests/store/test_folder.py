"""Tests for L{moxsmtp.store.folder}."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.store.errors import FolderInUse, FolderUnusable
from moxsmtp.store.folder import DataFolder, FreeSpace


class DataFolderTests(SynchronousTestCase):
    """One server, one folder."""

    def setUp(self) -> None:
        """A place for folders."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)

    def data_folder(self, *names: str) -> DataFolder:
        """In that place."""
        folder = DataFolder(self.place.joinpath(*names))
        self.addCleanup(folder.close)
        return folder

    def test_private(self) -> None:
        """What is made is for our user alone, whatever the umask lets through."""
        before = os.umask(0)
        try:
            folder = self.data_folder("a", "b")
            folder.open()
        finally:
            os.umask(before)
        modes = [
            stat.S_IMODE(path.stat().st_mode)
            for path in (folder.path, folder.content, folder.path / "lock")
        ]
        self.assertEqual(modes, [0o700, 0o700, 0o600])

    def test_in_use(self) -> None:
        """A second server is refused in one line that names the first, and harms nothing."""
        first, second = self.data_folder("a"), self.data_folder("a")
        first.open()
        why = self.assertRaises(FolderInUse, second.open)
        expected = f"another server (process {os.getpid()}) works on the data folder {first.path}"
        self.assertEqual(str(why), expected)
        self.assertRaises(FolderInUse, second.open)
        first.close()
        second.open()

    def test_inherited(self) -> None:
        """
        Who inherited the lock, as worker processes do, keeps others out when the server
        is gone; they are told that it was a former one's.
        """
        folder, other = self.data_folder("a"), DataFolder(self.place / "a", patience=0)
        self.addCleanup(other.close)
        folder.open()
        inherited = os.dup(folder.lock)
        dead = 2**22 + 1  # above every number that a process has
        os.pwrite(folder.lock, f"{dead}\n".encode(), 0)
        folder.close()
        why = self.assertRaises(FolderInUse, other.open)
        self.assertIn(f"a former server (process {dead}) left behind", str(why))
        threading.Timer(0.01, os.close, (inherited,)).start()
        patient = self.data_folder("a")
        patient.open()

    def test_stale(self) -> None:
        """A lock file that a dead server left is no obstacle, whatever it says."""
        folder = self.data_folder("a")
        folder.path.mkdir()
        (folder.path / "lock").write_text("99999999999999\n1\n")
        folder.open()
        self.assertEqual((folder.path / "lock").read_text(), f"{os.getpid()}\n")

    def test_again(self) -> None:
        """Closing may be repeated, and a folder opened again."""
        folder = self.data_folder("a")
        folder.open()
        folder.close()
        folder.close()
        folder.open()

    def test_unusable(self) -> None:
        """A folder that cannot be one is refused in one line."""
        (self.place / "file").write_text("")
        for names in (("file",), ("file", "below")):
            folder = self.data_folder(*names)
            why = str(self.assertRaises(FolderUnusable, folder.open))
            self.assertTrue(why.startswith(f"cannot use the data folder {folder.path}: "))
            self.assertNotIn("\n", why)

    def test_unwritable(self) -> None:
        """So is one that may not be written."""
        folder = self.data_folder("a")
        folder.path.mkdir()

        def refuse(*_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "open", refuse)
        why = self.assertRaises(FolderUnusable, folder.open)
        expected = f"cannot use the data folder {folder.path}: Permission denied"
        self.assertEqual(str(why), expected)


DATA = Path("data")
CONTENT = Path("data/content")


class FreeSpaceTests(SynchronousTestCase):
    """How much room the disks have."""

    def setUp(self) -> None:
        """Disks with blocks of 512 octets."""
        self.blocks = {DATA: 10, CONTENT: 10}
        self.asked = 0
        self.patch(os, "statvfs", self.statvfs)
        self.clock = Clock()
        self.has_room = FreeSpace((DATA, CONTENT), 5120, self.clock)

    def statvfs(self, folder: Path) -> SimpleNamespace:
        """In the system's stead.  What root may use beyond is not counted."""
        self.asked += folder == DATA
        free = self.blocks[folder]
        return SimpleNamespace(f_bavail=free, f_bfree=10**9, f_frsize=512, f_bsize=10**6)

    def test_edge(self) -> None:
        """Exactly as much as has to be is enough."""
        self.assertTrue(self.has_room())
        self.blocks[DATA] = 9
        self.clock.advance(1)
        self.assertFalse(self.has_room())

    def test_each(self) -> None:
        """
        There is room where each disk has as much: the one with the database, and the one
        with the content where that is another, whichever of them is the emptier.
        """
        for data, content, expected in (
            (10, 9, False),
            (9, 10, False),
            (99, 0, False),
            (10, 10, True),
        ):
            self.blocks = {DATA: data, CONTENT: content}
            self.clock.advance(1)
            self.assertIs(self.has_room(), expected, (data, content))

    def test_kept_for_a_second(self) -> None:
        """The system is asked once a second at most."""
        for _ in range(5):
            self.has_room()
        self.clock.advance(0.9)
        self.has_room()
        self.assertEqual(self.asked, 1)
        self.clock.advance(0.2)
        self.has_room()
        self.assertEqual(self.asked, 2)

    def test_no_answer(self) -> None:
        """A file system that does not tell keeps no mail out."""

        def refuse(_: object) -> None:
            raise OSError(38, "Function not implemented")

        self.patch(os, "statvfs", refuse)
        self.assertTrue(self.has_room())
