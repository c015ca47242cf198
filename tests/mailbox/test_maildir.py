"""A Maildir on disk."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.mailbox import maildir
from moxsmtp.mailbox.maildir import Tree, Vanished, sync_files, to_lf
from moxsmtp.mailbox.names import wire_size
from tests.mailbox.doubles import RECEIVED


class TreeTestCase(unittest.SynchronousTestCase):
    """A folder of its own."""

    mode = 0o700

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute() / "deep" / "Maildir"
        self.tree = Tree(self.root, self.mode)

    def deliver(self, number: int = 1, octets: bytes = b"a\r\nb\r\n", mailbox: str = "Inbox",
                flags: str = "") -> str:  # fmt: skip
        """Write a message and let it appear."""
        draft = self.tree.draft(number, RECEIVED)
        draft.write(octets)
        name = draft.finish("mx.example")
        draft.publish(self.root, mailbox, name, flags)
        return name

    def files(self) -> list[str]:
        """All files, relative to the root."""
        return sorted(
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()
        )


class MakeTests(TreeTestCase):
    """Making folders."""

    def permissions(self, path: Path) -> int:
        """Of a file."""
        return stat.S_IMODE(path.stat().st_mode)

    def test_folders(self) -> None:
        """The folders of a Maildir are made with the mode that was asked for, parents too."""
        self.assertFalse(self.tree.is_there())
        old = os.umask(0o077)
        self.addCleanup(os.umask, old)
        for mode in (0o700, 0o770):
            root = self.root.parent / f"{mode:o}"
            tree = Tree(root, mode)
            tree.make()
            self.assertTrue(tree.is_there())
            for path in (root, root / "new", root / "cur", root / "tmp"):
                self.assertEqual(self.permissions(path), mode)

    def test_again(self) -> None:
        """Making it again changes nothing."""
        self.tree.make()
        (self.root / "new").chmod(0o750)
        self.tree.make()
        self.assertEqual(self.permissions(self.root / "new"), 0o750)

    def test_subfolder(self) -> None:
        """A folder beside the Inbox is marked as one (Maildir++)."""
        self.tree.make("Entwürfe")
        self.assertEqual(self.files(), [".Entw&APw-rfe/maildirfolder"])
        self.tree.make()
        self.assertEqual(self.tree.directories(), ["", ".Entw&APw-rfe"])

    def test_file_mode(self) -> None:
        """Files are readable by whom the folders are open to: 0600 in 0700."""
        for mode, expected in ((0o700, 0o600), (0o770, 0o660), (0o750, 0o640)):
            tree = Tree(self.root.parent / f"f{mode:o}", mode)
            tree.make()
            draft = tree.draft(1, RECEIVED)
            self.assertEqual(self.permissions(draft.path), expected)
            draft.abandon()

    def test_litter(self) -> None:
        """What was left in C{tmp} for 36 hours is removed, nothing younger."""
        self.tree.make()
        now = RECEIVED.timestamp()
        for name, age in (("old", 37), ("young", 35)):
            path = self.root / "tmp" / name
            path.touch()
            os.utime(path, (now - age * 3600, now - age * 3600))
        self.tree.remove_litter(now)
        self.assertEqual(self.files(), ["tmp/young"])


class WriteTests(TreeTestCase):
    """Writing messages."""

    def setUp(self) -> None:
        super().setUp()
        self.tree.make()

    def test_line_ends(self) -> None:
        """Files have LF, and their names say both sizes."""
        name = self.deliver(octets=b"a: b\r\n\r\nc\r\n")
        self.assertEqual((self.root / "new" / name).read_bytes(), b"a: b\n\nc\n")
        self.assertTrue(name.endswith(",S=8,W=11"))

    def test_byte_by_byte(self) -> None:
        """Content in single octets makes the same file."""
        octets = b"a\r\nb\rc\nd\r\r\n\r\n\r"
        draft = self.tree.draft(1, RECEIVED)
        for octet in octets:
            draft.write(bytes([octet]))
        draft.finish("h")
        self.assertEqual(draft.path.read_bytes(), octets.replace(b"\r\n", b"\n"))
        draft.abandon()

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.binary(max_size=5) | st.sampled_from([b"\r", b"\n", b"\r\n"])))
    def test_pieces(self, pieces: list[bytes]) -> None:
        """However content is cut, line ends come out the same."""
        out, held = b"", b""
        for piece in pieces:
            text, held = to_lf(held + piece)
            out += text
        self.assertEqual(out + held, b"".join(pieces).replace(b"\r\n", b"\n"))

    def test_time(self) -> None:
        """The file's time is that of the message's arrival."""
        name = self.deliver()
        self.assertEqual((self.root / "new" / name).stat().st_mtime, RECEIVED.timestamp())

    def test_flags(self) -> None:
        """A message that has flags already appears in C{cur}."""
        name = self.deliver(flags="FS")
        self.assertEqual(self.files(), [f"cur/{name}:2,FS"])

    def test_draft_again(self) -> None:
        """A draft that a crash has left is written anew."""
        draft = self.tree.draft(1, RECEIVED)
        draft.write(b"much longer than the other")
        draft.file.close()
        again = self.tree.draft(1, RECEIVED)
        again.write(b"short")
        again.finish("h")
        self.assertEqual(again.path.read_bytes(), b"short")
        self.assertEqual(draft.path, again.path)

    def test_no_symlink(self) -> None:
        """A symbolic link in C{tmp} is not followed."""
        draft = self.tree.draft(1, RECEIVED)
        draft.abandon()
        target = self.root / "target"
        draft.path.symlink_to(target)
        self.assertRaises(OSError, self.tree.draft, 1, RECEIVED)
        self.assertFalse(target.exists())


class FindTests(TreeTestCase):
    """Looking for messages."""

    def setUp(self) -> None:
        super().setUp()
        self.tree.make()

    def test_everywhere(self) -> None:
        """A message is found in C{new}, in C{cur} with flags, and in other folders."""
        self.tree.make("Junk")
        one, two, three = self.deliver(1), self.deliver(2), self.deliver(3)
        (self.root / "new" / two).rename(self.root / "cur" / f"{two}:2,RS")
        (self.root / "new" / three).rename(self.root / ".Junk" / "cur" / f"{three}:2,")
        found = self.tree.find([one, two, three, "4"])
        self.assertEqual(
            {name: (seen.mailbox, seen.flags) for name, seen in found.items()},
            {one: ("Inbox", ""), two: ("Inbox", "RS"), three: ("Junk", "")},
        )

    def test_other_name(self) -> None:
        """A file that a program gave another name is still known by inode, size and time."""
        name = self.deliver()
        (self.root / "new" / name).rename(self.root / "cur" / "999.other:2,S")
        found = self.tree.find([name])[name]
        self.assertEqual((found.path, found.flags), ("cur/999.other:2,S", "S"))

    def test_inode_used_again(self) -> None:
        """Another file with the inode of one that was removed is not taken for it."""
        for change in (b"longer content", None):
            name = self.deliver()
            path = self.root / "cur" / "999.other"
            (self.root / "new" / name).rename(path)
            if change:
                path.write_bytes(change)
                os.utime(path, (RECEIVED.timestamp(), RECEIVED.timestamp()))
            else:
                os.utime(path, (1, 1))
            self.assertEqual(self.tree.find([name]), {})
            path.unlink()

    def test_ignored(self) -> None:
        """Files that begin with a dot are no messages; unknown folders are no mailboxes."""
        (self.root / "cur" / ".hidden").touch()
        (self.root / ".notes").mkdir()
        (self.root / "other" / "cur").mkdir(parents=True)
        (self.root / "other" / "cur" / "x").touch()
        (self.root / "dovecot-uidlist").touch()
        self.assertEqual(self.tree.listing(), {})
        self.assertEqual(self.tree.directories(), [""])

    def test_vanished(self) -> None:
        """A Maildir that is not there, or not a Maildir, is said to have vanished."""
        for victim in (self.root / "cur", self.root):
            victim.rename(self.root.parent / f"away{victim.name}")
            self.assertRaises(Vanished, self.tree.listing)
            self.assertRaises(Vanished, self.tree.marks)
            self.assertRaises(Vanished, self.tree.find, ["x"])

    def test_remove(self) -> None:
        """A message is removed wherever it is."""
        name = self.deliver()
        (self.root / "new" / name).rename(self.root / "cur" / f"{name}:2,S")
        self.assertTrue(self.tree.remove(name))
        self.assertEqual(self.files(), [])
        self.assertFalse(self.tree.remove(name))

    def test_marks(self) -> None:
        """Marks change when a file comes, goes, is renamed, or a folder is made."""
        name = self.deliver()
        new, cur = self.root / "new", self.root / "cur"
        actions = (
            lambda: self.deliver(2),
            lambda: (new / name).rename(cur / f"{name}:2,"),
            lambda: (cur / f"{name}:2,").rename(cur / f"{name}:2,S"),
            (cur / f"{name}:2,S").unlink,
            lambda: self.tree.make("Junk"),
        )
        for act in actions:
            for directory in (self.root, new, cur):
                os.utime(directory, (1, 1))
            before = self.tree.marks()
            self.assertEqual(self.tree.marks(), before)
            act()
            self.assertNotEqual(self.tree.marks(), before)


class SyncTests(TreeTestCase):
    """Putting files on disk."""

    def test_one_for_many(self) -> None:
        """Many files on one file system cost one C{syncfs} and no C{fsync}."""
        self.tree.make()
        drafts = [self.tree.draft(number, RECEIVED) for number in range(5)]
        calls: list[str] = []

        def syncfs(descriptor: int) -> bool:
            del descriptor
            calls.append("syncfs")
            return True

        self.patch(maildir, "_syncfs", syncfs)
        self.patch(os, "fsync", lambda _: calls.append("fsync"))
        sync_files([draft.path for draft in drafts])
        self.assertEqual(calls, ["syncfs"])
        for draft in drafts:
            draft.abandon()

    def test_without_syncfs(self) -> None:
        """Where there is no C{syncfs}, each file is synced."""
        self.tree.make()
        drafts = [self.tree.draft(number, RECEIVED) for number in range(3)]
        calls: list[str] = []
        self.patch(maildir, "_syncfs", lambda _: False)
        self.patch(os, "fsync", lambda _: calls.append("fsync"))
        sync_files([draft.path for draft in drafts])
        self.assertEqual(calls, ["fsync"] * 3)
        for draft in drafts:
            draft.abandon()

    def test_failing(self) -> None:
        """
        What cannot be put on disk is told by its file: by each of a file system
        whose C{syncfs} failed, asked once, for it says only once that data was lost.
        """
        self.tree.make()
        drafts = [self.tree.draft(number, RECEIVED) for number in range(3)]
        paths = [draft.path for draft in drafts]
        calls: list[int] = []

        def syncfs(descriptor: int) -> bool:
            calls.append(descriptor)
            if len(calls) == 1:
                raise OSError(errno.EIO, "I/O error")
            return True

        self.patch(maildir, "_syncfs", syncfs)
        self.assertEqual(list(sync_files(paths)), paths)
        self.assertEqual(len(calls), 1)
        drafts[0].abandon()
        failed = sync_files(paths)
        self.assertEqual(
            [(path, type(failed[path])) for path in failed], [(paths[0], FileNotFoundError)]
        )
        for draft in drafts[1:]:
            draft.abandon()

    def test_real(self) -> None:
        """The system's own works, or is said to be missing."""
        self.tree.make()
        name = self.deliver()
        sync_files([self.root / "new" / name])
        self.assertEqual(wire_size(name), 6)
