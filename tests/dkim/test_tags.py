"""Tag lists."""

from __future__ import annotations

from dkim.util import parse_tag_value  # type: ignore[import-untyped]  # no stubs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.dkim.tags import InvalidTags, base64_octets, parse_tags, words


class TagsTests(unittest.SynchronousTestCase):
    """RFC 6376 section 3.2."""

    def test_lists(self) -> None:
        """White space round names and values goes, folds too; a semicolon may end the list."""
        lists: dict[bytes, dict[bytes, bytes]] = {
            b"a=1": {b"a": b"1"},
            b" a = 1 ;\r\n\tb=x=y; ": {b"a": b"1", b"b": b"x=y"},
            b"a=1;": {b"a": b"1"},
            b"a=": {b"a": b""},
            b"a=1;A=2;a_b9=3": {b"a": b"1", b"A": b"2", b"a_b9": b"3"},
            b"d=\xc3\xa9": {b"d": b"\xc3\xa9"},
            b"n=a b\r\n c": {b"n": b"a b\r\n c"},
            b"": {},
        }
        self.assertEqual({text: parse_tags(text) for text in lists}, lists)

    def test_no_lists(self) -> None:
        """What has another syntax is none."""
        for text in (
            b"a", b"a=1;;b=2", b"=1", b"1=a", b"a b=1", b"a-b=1", b"a=1; b", b"a=\0", b"a=\x7f",
            b"a\x0b=1", b";", b"\xc3\xa9=1", b"a=1\nb=2;c",
        ):  # fmt: skip
            self.assertRaises(InvalidTags, parse_tags, text)

    def test_twice(self) -> None:
        """A name that stands twice spoils the list."""
        self.assertRaises(InvalidTags, parse_tags, b"a=1; b=2; a=1")

    def test_text_of_error(self) -> None:
        """The text of a mistake is short and printable, whatever was given."""
        for text in (b"\xff\xfe" * 9000, b"x" * 9000, b"\r\n x\r\n y"):
            error = self.assertRaises(InvalidTags, parse_tags, text)
            self.assertLess(len(str(error)), 200)
            self.assertTrue(str(error).isprintable() and str(error).isascii(), error)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=60) | st.text("ab=; \r\n\t", max_size=40).map(str.encode))
    def test_anything(self, text: bytes) -> None:
        """Any octets are a list, and dkimpy reads the same, or are refused in the declared way."""
        try:
            tags = parse_tags(text)
        except InvalidTags:
            return
        self.assertTrue(all(name.isascii() and name for name in tags))
        self.assertEqual(tags, parse_tag_value(text))

    def test_words(self) -> None:
        """Words are compared without white space and case."""
        self.assertEqual(words(b"SHA256 : sha1:\r\n x"), ("sha256", "sha1", "x"))
        self.assertEqual(words(b"\xc3\xa9"), ("\ufffd\ufffd",))

    def test_base64(self) -> None:
        """Base64 may be folded; other characters and wrong padding are mistakes."""
        self.assertEqual(base64_octets(b"aGV \r\n\tsbG8="), b"hello")
        for value in (b"aGVsbG8", b"aGVs*G8=", b"====", b"aGVsbG8==", b"aGVsbG8=x", b"\xff"):
            self.assertRaises(InvalidTags, base64_octets, value)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=40))
    def test_any_base64(self, value: bytes) -> None:
        """Any octets are base64 or are refused in the declared way."""
        try:
            base64_octets(value)
        except InvalidTags:
            return
