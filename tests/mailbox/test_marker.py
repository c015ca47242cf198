"""Which folder a Maildir is."""

from __future__ import annotations

import os
import shutil
import stat
from itertools import count
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.mailbox.maildir import Tree
from moxsmtp.mailbox.marker import MARKER, folder_identity


class IdentityTests(SynchronousTestCase):
    """Of a folder."""

    def setUp(self) -> None:
        """A Maildir."""
        self.root = Path(self.mktemp()).absolute()
        self.numbers = count(1)
        Tree(self.root, 0o700).make()

    def identity(self, root: Path | None = None) -> str:
        """Now."""
        return folder_identity(root or self.root, 0o750, lambda: f"{next(self.numbers):032x}")

    def test_stays(self) -> None:
        """It is the same each time, also where the folder was moved; it is marked once."""
        first = self.identity()
        self.assertEqual(first, f"{1:032x} {self.root.stat().st_ino}")
        moved = self.root.with_name(f"{self.root.name}moved")
        self.root.rename(moved)
        self.assertEqual(self.identity(moved), first)
        self.assertEqual(next(self.numbers), 2)

    def test_file(self) -> None:
        """The marker has the mode that files of the Maildir have, and nothing else is left."""
        self.identity()
        path = self.root / MARKER
        self.assertEqual(path.read_text(), f"{1:032x}\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        self.assertEqual(list((self.root / "tmp").iterdir()), [])
        self.assertEqual(Tree(self.root, 0o700).listing(), {})

    def test_others(self) -> None:
        """Neither a copy nor an empty folder is it."""
        first = self.identity()
        copied = self.root.with_name(f"{self.root.name}copy")
        shutil.copytree(self.root, copied)
        other = self.identity(copied)
        self.assertNotEqual(other, first)
        self.assertEqual(other.partition(" ")[0], first.partition(" ")[0])
        shutil.rmtree(self.root)
        Tree(self.root, 0o700).make()
        self.assertNotIn(first.partition(" ")[0], self.identity())

    def test_hostile(self) -> None:
        """Whatever a user puts where the marker is, nothing is waited for or followed."""
        path = self.root / MARKER
        secret = self.root / "secret"
        secret.write_text("f" * 32 + "\n")

        def directory() -> None:
            path.mkdir()

        for put in (
            lambda: os.mkfifo(path),
            lambda: path.symlink_to(secret),
            lambda: path.write_bytes(b"\xff" * 1000),
            lambda: path.write_text("x" * 32 + "\n"),
            path.touch,
        ):
            put()
            self.assertNotIn("f" * 32, self.identity())
            self.assertRegex(path.read_text(), r"\A[0-9a-f]{32}\n\Z")
            path.unlink()
        directory()
        self.assertEqual(self.identity(), f"- {self.root.stat().st_ino}")

    def test_cannot_be_marked(self) -> None:
        """A folder that takes no marker is known by its inode alone, and left as it was."""

        def refuse(*_: object) -> None:
            raise OSError("no room")

        self.patch(os, "write", refuse)
        self.assertEqual(self.identity(), f"- {self.root.stat().st_ino}")
        self.assertEqual(list((self.root / "tmp").iterdir()), [])

    def test_not_there(self) -> None:
        """What is not there has none."""
        self.assertRaises(OSError, self.identity, self.root / "nowhere")
