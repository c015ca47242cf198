"""Encoded words and the charsets they may name."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.charset import codec, decoder
from moxsmtp.message.words import decode_words, readable

NAMES = [
    "", "US-ASCII", "UTF-8", "iso-8859-1", "ISO-8859-15", "windows-1252", "windows-874", "koi8-r",
    "gb2312", "gb18030", "big5", "big5-hkscs", "shift_jis", "iso-2022-jp", "iso-2022-kr", "euc-jp",
    "euc-kr", "utf-16le", "UTF-16BE", "macintosh", "ibm866", "tis-620", "iso-8859-8-i",
]  # fmt: skip


class EncodedWordTests(SynchronousTestCase):
    """RFC 2047."""

    def test_rfc_2047_section_8(self) -> None:
        """The examples of the RFC decode as it says."""
        expected = {
            "=?ISO-8859-1?Q?a?=": "a",
            "=?ISO-8859-1?Q?a?= b": "a b",
            "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=": "ab",
            "=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=": "ab",
            "=?ISO-8859-1?Q?a?=\r\n  =?ISO-8859-1?Q?b?=": "ab",
            "=?ISO-8859-1?Q?a_b?=": "a b",
            "=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=": "a b",
            "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>": "Keith Moore <moore@cs.utk.edu>",
            "=?ISO-8859-1?Q?Andr=E9?= Pirard": "André Pirard",
            "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=": "If you can read this yo",
        }
        self.assertEqual({text: decode_words(text) for text in expected}, expected)

    def test_lenient(self) -> None:
        """Languages, spaces, missing padding and words cut within a character are read."""
        expected = {
            "=?utf-8*en?q?h=C3=A4?=": "hä",
            "=?utf-8?q?two words?=": "two words",
            "=?utf-8?b?aMOk=?=": "hä",
            "=?utf-8?b?aMO?=": "h\ufffd",
            "=?utf-8?q?h=C3?= =?utf-8?q?=A4?=": "hä",
            "=?utf-8?q?a?==?utf-8?q?b?=": "ab",
            "=?utf-8?q?=zz=3F?=": "=zz?",
        }
        self.assertEqual({text: decode_words(text) for text in expected}, expected)

    def test_not_words(self) -> None:
        """What is no encoded word, or in a charset that nobody knows, stays."""
        for text in (
            "=?utf-7?q?+ADw-?=", "=?idna?q?a?=", "=?undefined?q?a?=", "=?rot13?q?a?=",
            "=?utf-8?x?a?=", "=?utf-8?q?a", "=?=?=?", "a =?x?q?b?= c", "=?x?q?a?= =?x?q?b?=",
        ):  # fmt: skip
            self.assertEqual(decode_words(text), text)

    def test_unknown_among_known(self) -> None:
        """A word that cannot be read keeps its distance from words that can."""
        self.assertEqual(decode_words("=?utf-8?q?a?= =?x?q?b?= =?utf-8?q?c?="), "a =?x?q?b?= c")

    def test_one_line(self) -> None:
        """Line ends and NUL that come out of an encoded word start nothing new."""
        self.assertEqual(readable("=?utf-8?q?a=0D=0ABcc:_b=00c=E2=80=A8d?="), "a Bcc: b c d")

    def test_hostile(self) -> None:
        """A million octets of half-made words are read once."""
        for text in ("=?", "=?utf-8?q?", "=?utf-8?b?a", "=?a*", " =?utf-8?q?a?= "):
            self.assertLessEqual(len(decode_words(text * (1_000_000 // len(text)))), 1_000_000)

    @settings(max_examples=150, deadline=None)
    @given(st.text(alphabet=st.sampled_from("=?utf-8qQbB_AÄ \r\n\t"), max_size=60))
    def test_always_text(self, text: str) -> None:
        """Whatever comes in, one line of text goes out that can be encoded."""
        found = readable(text)
        found.encode()
        self.assertEqual(found, " ".join(found.splitlines()))


class CharsetTests(SynchronousTestCase):
    """Names of charsets."""

    def test_only_charsets(self) -> None:
        """Codecs of Python that are no charsets of mail are not to be had by name."""
        refused = ["utf-7", "idna", "punycode", "undefined", "rot13", "base64", "zlib", "raw",
                   "unicode_escape", "mbcs", "hz", "x-none", "../etc"]  # fmt: skip
        self.assertEqual([name for name in refused if codec(name)], [])

    def test_refuse_no_octets(self) -> None:
        """Names without byte order, whose codecs raise, are read like unknown ones."""
        for name in ("utf-16", "utf-32"):
            self.assertEqual(decoder(name).decode(b"ab", final=True), "ab")

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(NAMES), st.lists(st.binary(max_size=12), max_size=4))
    def test_every_name_decodes(self, name: str, pieces: list[bytes]) -> None:
        """Each name that is taken has a decoder that survives any octets, in pieces too."""
        self.assertIsNotNone(codec(name), name)
        reader = decoder(name)
        text = "".join(reader.decode(piece) for piece in pieces) + reader.decode(b"", final=True)
        text.encode()

    def test_as_senders_mean_it(self) -> None:
        """Latin-1 with the octets of windows-1252, and ASCII with UTF-8, read well."""
        self.assertEqual(decoder("ISO-8859-1").decode(b"\x80"), "€")
        self.assertEqual(decoder("us-ascii").decode("ä".encode()), "ä")
        self.assertEqual(decoder("x-unknown").decode("ä".encode()), "ä")
