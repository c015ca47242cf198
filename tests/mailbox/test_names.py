"""Names in a Maildir++."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.mailbox.names import (
    FileIdentity,
    folder_directory,
    folder_name,
    split_flags,
    unique_name,
    wire_size,
)


def name(host: str = "mx.example") -> str:
    """An ordinary one."""
    return unique_name(
        received=datetime(2026, 3, 1, 12, 0, 0, 42, tzinfo=UTC),
        pid=77,
        number=9,
        inode=0x1F3A,
        host=host,
        size=25,
        wire=29,
    )


class UniqueNameTests(unittest.SynchronousTestCase):
    """Files."""

    def test_form(self) -> None:
        """It has the time, what makes it unique, the host, and both sizes."""
        self.assertEqual(name(), "1772366400.M000042P77Q9I1f3a.mx.example,S=25,W=29")

    def test_read_back(self) -> None:
        """What the name says can be read from it, with or without flags."""
        identity = FileIdentity(0x1F3A, 25, 1772366400)
        for one in (name(), name() + ":2,S"):
            self.assertEqual(FileIdentity.from_name(one), identity)
            self.assertEqual(wire_size(one), 29)

    def test_hosts(self) -> None:
        """No host makes a name that leads elsewhere or hides its parts."""
        for host in ("", "a/b", "../x", "a:2,S", "a,S=9", "x" * 300, "ü", "a\0b"):
            one = name(host)
            self.assertNotIn("/", one)
            self.assertNotIn(":", one)
            self.assertNotIn("\0", one)
            self.assertLess(len(one), 200)
            self.assertEqual(FileIdentity.from_name(one), FileIdentity(0x1F3A, 25, 1772366400))
            self.assertEqual(wire_size(one), 29)

    def test_foreign_names(self) -> None:
        """Names of other programs say nothing of that."""
        for one in ("", "1700000000.M84106P15282.vm,S=25", "1.2.3", "a" * 10_000):
            self.assertIsNone(FileIdentity.from_name(one))
            self.assertIsNone(wire_size(one))

    def test_flags(self) -> None:
        """Flags are letters behind C{:2,}, sorted; other text is none."""
        cases = {
            "a:2,SF": ("a", "FS"),
            "a:2,": ("a", ""),
            "a": ("a", ""),
            "a:2,SSab": ("a", "Sab"),
            "a:1,xyz": ("a", ""),
            "a:2,S,x=y": ("a", "S"),
            "a:2,S:T\u00e9/": ("a", "ST"),
        }
        self.assertEqual({text: split_flags(text) for text in cases}, cases)


class FolderTests(unittest.SynchronousTestCase):
    """Folders."""

    def test_names(self) -> None:
        """The root is the Inbox, C{.Junk} is Junk, and modified UTF-7 is read (RFC 3501)."""
        cases = {
            "": "Inbox",
            ".Junk": "Junk",
            ".Lists.Twisted": "Lists.Twisted",
            ".Entw&APw-rfe": "Entwürfe",
            ".&U,BTFw-": "台北",
            ".A&-B": "A&B",
            ".&bad": "&bad",
            ".&AAA-": "&AAA-",
            ".&2AA-": "&2AA-",
            ".a\udcff": "a?",
        }
        self.assertEqual({text: folder_name(text) for text in cases}, cases)

    def test_directories(self) -> None:
        """The directory of a mailbox; no name leads out of the Maildir."""
        cases = {
            "Inbox": "",
            "Junk": ".Junk",
            "Entwürfe": ".Entw&APw-rfe",
            "A&B": ".A&-B",
            "a/b": ".a.b",
            "..": "",
            "../../etc": ".etc",
            ".": "",
            "a..b": ".a.b",
        }
        self.assertEqual({text: folder_directory(text) for text in cases}, cases)

    @settings(max_examples=200, deadline=None)
    @given(st.text(min_size=1, max_size=40).filter(str.isprintable))
    def test_round_trip(self, mailbox: str) -> None:
        """A mailbox's directory holds that mailbox, but for dots and slashes."""
        mailbox = mailbox.replace("/", "").replace(".", "") or "x"
        self.assertEqual(folder_name(folder_directory(mailbox)), mailbox)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        """Any text is read without an error, and gives no path."""
        folder_name(text)
        split_flags(text)
        self.assertNotIn("/", folder_directory(text))
        self.assertNotIn(folder_directory(text), {".", ".."})
