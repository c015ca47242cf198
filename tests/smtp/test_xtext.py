"""Text in parameters."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.smtp.xtext import (
    InvalidXtext,
    decode_utf8_address,
    decode_xtext,
    encode_utf8_address,
    encode_xtext,
    is_xtext,
)

#: Any character, those that matter here more often than others.
TEXT = st.text(
    st.one_of(st.sampled_from("+=\\x{}0A4F; \x7f\x00\u00e4\u0085"), st.characters()), max_size=12
)


def read(decode: Callable[[str], str], text: str) -> str | None:
    """What a decoder makes of it; L{None}: it refuses."""
    try:
        return decode(text)
    except InvalidXtext:
        return None


class XtextTests(unittest.SynchronousTestCase):
    """RFC 3461 section 4."""

    def test_table(self) -> None:
        """Two upper-case digits behind a plus sign; an escape that is cut is none (S-108)."""
        expected = {
            "abc": "abc",
            "a+2Bb": "a+b",
            "a+3Db+20c": "a=b c",
            "+2B2B": "+2B",
            "!~": "!~",
            "": None,
            "a b": None,
            "a=b": None,
            "a+": None,
            "a+2": None,
            "a+2b": None,
            "a+2\u0661": None,
            "+GG": None,
            "\u00e4": None,
            "a\x7f": None,
        }
        self.assertEqual({text: read(decode_xtext, text) for text in expected}, expected)

    def test_nothing_hides(self) -> None:
        """No line end and no control character comes out, though xtext can hold them (S-108)."""
        for text in ("a+0D+0Ab", "+00", "+7F", "+1B", "+C3+A4"):
            self.assertTrue(is_xtext(text))
            self.assertIsNone(read(decode_xtext, text))

    @settings(deadline=None, max_examples=200)
    @given(TEXT)
    def test_any(self, text: str) -> None:
        """Whatever is given is printable ASCII once decoded, or refused."""
        decoded = read(decode_xtext, text)
        if decoded is not None:
            self.assertTrue(decoded.isascii() and decoded.isprintable())

    @settings(deadline=None, max_examples=200)
    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20))
    def test_back(self, text: str) -> None:
        """What another encodes by the RFC's rule is read back."""
        encoded = "".join(
            letter if "!" <= letter <= "~" and letter not in "+=" else f"+{ord(letter):02X}"
            for letter in text
        )
        self.assertEqual(decode_xtext(encoded), text)


class UTF8AddressTests(unittest.SynchronousTestCase):
    """RFC 6533 section 3."""

    def test_table(self) -> None:
        """Characters as they are or as numbers; ASCII as numbers only where it must be (S-108)."""
        expected = {
            "j\u00f6rg@x.example": "j\u00f6rg@x.example",
            "j\\x{F6}rg@x.example": "j\u00f6rg@x.example",
            "\\x{f6}": "\u00f6",
            "\\x{1F600}@x.example": "\U0001f600@x.example",
            "\\x{10FFFF}": "\U0010ffff",
            "a\\x{2B}b\\x{3D}\\x{5C}\\x{20}c": "a+b=\\ c",
            "": None,
            "a b": None,
            "a+2Bb": None,
            "a=b": None,
            "a\\b": None,
            "\\x{41}": None,
            "\\x{F}": None,
            "\\x{0F6}": None,
            "\\x{F6": None,
            "\\x{}": None,
            "\\x{110000}": None,
            "\\x{1234567}": None,
            "\\x{D800}": None,
            "\\x{0A}": None,
            "\\x{10}": None,
            "\\x{7F}": None,
            "\\x{85}": None,
            "a\u0085": None,
            "a\x00": None,
        }
        self.assertEqual({text: read(decode_utf8_address, text) for text in expected}, expected)

    @settings(deadline=None, max_examples=200)
    @given(TEXT)
    def test_any(self, text: str) -> None:
        """Whatever is given has no control character once decoded, or is refused."""
        decoded = read(decode_utf8_address, text)
        if decoded is not None:
            self.assertFalse(any(c < " " or "\x7f" <= c <= "\x9f" for c in decoded))

    def test_linear(self) -> None:
        """
        A million characters of the worst kinds are read in one pass; looked at
        again and again they would not be read today.
        """
        for unit in ("+4", "\\x{", "\\x{F6}", "a", "+41", "\\"):
            for decode in (decode_xtext, decode_utf8_address):
                self.assertIsNone(read(decode, unit * (1_000_000 // len(unit)) + "="))


class EncodeTests(unittest.SynchronousTestCase):
    """The same, written."""

    def test_examples(self) -> None:
        """Only what has to be is written as numbers, in upper case."""
        self.assertEqual(encode_xtext("a b+c=d~!"), "a+20b+2Bc+3Dd~!")
        self.assertEqual(
            encode_utf8_address("ä+b=c\\ d", smtputf8=True), r"ä\x{2B}b\x{3D}c\x{5C}\x{20}d"
        )
        self.assertEqual(encode_utf8_address("ä\U0001f600", smtputf8=False), r"\x{E4}\x{1F600}")

    @settings(max_examples=150, deadline=None)
    @given(TEXT)
    def test_xtext(self, text: str) -> None:
        """What is written is xtext and reads as it was; what has no such form is refused."""
        try:
            written = encode_xtext(text)
        except InvalidXtext:
            self.assertFalse(text.isascii() and text.isprintable())
            return
        self.assertTrue(is_xtext(written) or not text)
        if text:
            self.assertEqual(decode_xtext(written), text)

    def test_no_characters(self) -> None:
        """Half of a surrogate pair is no character, and cannot be sent."""
        for smtputf8 in (True, False):
            with self.assertRaises(InvalidXtext):
                encode_utf8_address("a\ud800", smtputf8=smtputf8)

    @settings(max_examples=150, deadline=None)
    @given(TEXT, st.booleans())
    def test_utf8_address(self, text: str, smtputf8: bool) -> None:
        """Addresses read as they were, and are ASCII where they have to be."""
        try:
            written = encode_utf8_address(text, smtputf8=smtputf8)
        except InvalidXtext:
            self.assertIsNone(read(decode_utf8_address, f"a{text}"))
            return
        self.assertTrue(smtputf8 or written.isascii())
        self.assertNotIn(" ", written)
        if text:
            self.assertEqual(read(decode_utf8_address, written), text)
