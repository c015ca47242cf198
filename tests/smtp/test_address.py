"""Mailboxes."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.names import parse_host
from moxsmtp.smtp.address import InvalidPath, Path, parse_mailbox


class MailboxTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.1.2, RFC 6531 section 3.3."""

    def test_local_parts(self) -> None:
        """Dot-strings as they are, quoted strings without quotes and backslashes (S-104)."""
        expected = {
            "a@x.example": "a",
            "a.b+c=d@x.example": "a.b+c=d",
            "!#$%&'*+-/=?^_`{|}~@x.example": "!#$%&'*+-/=?^_`{|}~",
            '""@x.example': "",
            '"a b"@x.example': "a b",
            r'"a\"b\\c"@x.example': 'a"b\\c',
            '"a@b"@x.example': "a@b",
            '"a.b"@x.example': "a.b",
            "jörg@x.example": "jörg",
            "jo\u0308rg@x.example": "jörg",
            '"jö rg"@x.example': "jö rg",
        }
        self.assertEqual({text: parse_mailbox(text).local_part for text in expected}, expected)

    def test_quoted_only_if_needed(self) -> None:
        """On the way out a local-part is quoted if it must be, and only then (S-104)."""
        expected = {
            "a.b": "a.b",
            "": '""',
            "a b": '"a b"',
            'a"b\\': '"a\\"b\\\\"',
            "a..b": '"a..b"',
        }
        domain = parse_host("x.example")
        self.assertEqual(
            {text: Path(text, domain).quoted_local_part for text in expected}, expected
        )

    def test_wrong(self) -> None:
        """Anything else is refused."""
        wrong = [
            "", "@x.example", "a", "a@", "a@@x.example", ".a@x.example", "a.@x.example",
            "a..b@x.example", "a b@x.example", '"a@x.example', '"a\\@x.example', '"a"b@x.example',
            '"a\0b"@x.example', '"a\\\u00e4"@x.example', "a@x_y.example", "a@[192.0.2.1",
            "a@192.0.2.1", "a\r\n@x.example",
        ]  # fmt: skip
        for text in wrong:
            with self.assertRaises(InvalidPath, msg=text):
                parse_mailbox(text)

    def test_length_of_others(self) -> None:
        """
        Octets of UTF-8 count, 128 or what the pedantic allow, before the local-part
        becomes NFC, and after that too where it is longer then (S-104).
        """

        def is_read(local_part: str, longest: int) -> bool:
            try:
                parse_mailbox(local_part + "@x.example", longest=longest)
            except InvalidPath:
                return False
            return True

        # An accent of its own becomes one with its letter; the other falls in two.
        shorter, longer = "e\u0301", "\u0958"
        table = {
            ("\u00e4" * 64, 128): True,
            ("\u00e4" * 64 + "a", 128): False,
            ("\u00e4" * 32, 64): True,
            ("\u00e4" * 32 + "a", 64): False,
            (shorter * 42, 128): True,
            (shorter * 43, 128): False,
            (longer * 21, 128): True,
            (longer * 22, 128): False,
            ("a" * 64, 64): True,
            ("a" * 65, 64): False,
        }
        self.assertEqual({one: is_read(*one) for one in table}, table)

    def test_length(self) -> None:
        """128 octets are the longest local-part, decoded, before it is normalised (S-104)."""
        for ok in ("x" * 128, '"' + "\\x" * 128 + '"', "ä" * 64):
            parse_mailbox(ok + "@x.example")
        for long in ("x" * 129, '"' + "\\x" * 129 + '"', "ä" * 64 + "x", "a\u0308" * 43):
            with self.assertRaises(InvalidPath, msg=long):
                parse_mailbox(long + "@x.example")

    @settings(deadline=None, max_examples=80)
    @given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40))
    def test_written_and_read(self, local_part: str) -> None:
        """What we write of a mailbox that was read, reads as the same mailbox."""
        try:
            path = parse_mailbox(Path(local_part, parse_host("x.example")).unicode)
        except InvalidPath:
            return
        self.assertEqual(parse_mailbox(path.unicode), path)
        self.assertEqual(parse_mailbox(path.ascii), path)

    @settings(deadline=None, max_examples=80)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """No text does worse than to be refused."""
        with contextlib.suppress(InvalidPath):
            parse_mailbox(text)
