"""Bodies, decoded."""

from __future__ import annotations

import base64
import binascii
import quopri

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.decoding import decoded, decoded_size, decoded_text, pieces
from moxsmtp.message.structure import Part

EVERYTHING = 1 << 30


def part(body: bytes, encoding: str = "", charset: str = "") -> Part:
    """A part that is all body."""
    parameters = {"charset": charset} if charset else {}
    return Part("text/plain", 0, 0, len(body), parameters=parameters, encoding=encoding)


def whole(body: bytes, encoding: str) -> bytes:
    """All of it, decoded; its size is asked for beside."""
    found = decoded(body, part(body, encoding), EVERYTHING)
    if decoded_size(body, part(body, encoding)) != len(found):
        raise AssertionError("the size is not that of what is decoded")
    return found


class EncodingTests(SynchronousTestCase):
    """RFC 2045 section 6."""

    def test_base64(self) -> None:
        """Line ends and garbage are passed over; padding ends it, if it is there."""
        expected = {
            b"aGVs\r\nbG8=\r\n": b"hello",
            b"aGVsbG8": b"hello",
            b"aG*V s\xffbG8=": b"hello",
            b"aGVsbG8=aGVsbG8=": b"hello",
            b"aGVsbG": b"hell",
            b"aGVsb": b"hel",
            b"=aGVs": b"",
            b"": b"",
        }
        self.assertEqual({body: whole(body, "base64") for body in expected}, expected)

    def test_quoted_printable(self) -> None:
        """Soft line ends go, white space added on the way too; what is no escape stays."""
        expected = {
            b"h=C3=A4\r\n": "hä\r\n".encode(),
            b"h=c3=a4": "hä".encode(),
            b"soft=\r\nly": b"softly",
            b"soft= \t\r\nly": b"softly",
            b"a  \t\r\nb \r\n": b"a\r\nb\r\n",
            b"a =20\r\nb": b"a  \r\nb",
            b"=zz a_b": b"=zz a_b",
            b"a \nb": b"a\nb",
        }
        self.assertEqual({body: whole(body, "quoted-printable") for body in expected}, expected)

    def test_other(self) -> None:
        """Other encodings pass as they are, known or not."""
        for encoding in ("", "7bit", "8bit", "binary", "x-uuencode"):
            self.assertEqual(whole(b"a=20\r\nb", encoding), b"a=20\r\nb")

    def test_multipart_has_no_size(self) -> None:
        """A multipart has no content of its own."""
        self.assertEqual(decoded_size(b"x", Part("multipart/mixed", 0, 0, 1)), 0)

    def test_within_the_content(self) -> None:
        """Only the part is decoded, not what stands around it."""
        content = b"QUJD" * 3
        found = decoded(content, Part("a/b", 0, 4, 8, encoding="base64"), EVERYTHING)
        self.assertEqual(found, b"ABC")

    @settings(max_examples=30, deadline=None)
    @given(st.binary(min_size=1, max_size=200), st.integers(400, 2000), st.integers(1, 90))
    def test_large_base64(self, octets: bytes, times: int, width: int) -> None:
        """What needs many pieces comes out as it went in, however the lines were cut."""
        encoded = base64.b64encode(octets * times)
        lines = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
        self.assertEqual(whole(lines, "base64"), octets * times)

    @settings(max_examples=30, deadline=None)
    @given(st.binary(min_size=1, max_size=200), st.integers(400, 1000))
    def test_large_quoted_printable(self, octets: bytes, times: int) -> None:
        """What needs many pieces comes out as it went in."""
        original = octets.replace(b"\r", b"").replace(b"\n", b"") * times
        self.assertEqual(whole(quopri.encodestring(original), "quoted-printable"), original)

    def test_escapes_at_the_seams(self) -> None:
        """An escape is not torn where a piece of one endless line ends."""
        for shift in range(4):
            body = b"x" * shift + b"=C3=A4" * 40_000
            found = whole(body, "quoted-printable")
            self.assertEqual(found, b"x" * shift + "ä".encode() * 40_000)

    def test_streams(self) -> None:
        """However long the lines are, little is held at a time."""
        for line in (b"x" * 1_000_000, b"=41" * 300_000, b"QUJD\r\n" * 100_000, b"=\n" * 300_000):
            for encoding in ("", "base64", "quoted-printable"):
                sizes = [len(piece) for piece in pieces(line, part(line, encoding))]
                self.assertLessEqual(max(sizes, default=0), 1 << 17)

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="=0AaZz+/ \t\r\n-", max_size=80))
    def test_garbage(self, text: str) -> None:
        """No garbage makes a decoder stumble, and the size is always that of the octets."""
        for encoding in ("base64", "quoted-printable"):
            whole(text.encode(), encoding)

    def test_hostile(self) -> None:
        """Megabytes of spaces, escapes and padding are read once."""
        million = 1_000_000
        self.assertEqual(whole(b" " * million, "quoted-printable"), b" " * million)
        self.assertEqual(whole(b" " * million + b"\r\n", "base64"), b"")
        self.assertEqual(whole(b"=" * million, "base64"), b"")
        for body in (b"= " * million, b"=" * million, b"=\r\n" * million, b" \r\n" * million):
            self.assertLessEqual(len(whole(body, "quoted-printable")), len(body))


class TextTests(SynchronousTestCase):
    """Bodies as text."""

    def test_charsets(self) -> None:
        """The charset named is used; an unknown one and none read as UTF-8."""
        self.assertEqual(
            [
                decoded_text(b"h\xe4", part(b"h\xe4", "", charset), 10)
                for charset in ("iso-8859-1", "ISO-8859-15", "x-unknown", "utf-7", "")
            ],
            ["hä", "hä", "h\ufffd", "h\ufffd", "h\ufffd"],
        )
        body = "a\r\nb".encode("utf-16le")
        self.assertEqual(decoded_text(body, part(body, "", "utf-16le"), 10), "a\nb")

    def test_line_ends(self) -> None:
        """Lines end with LF, also where CR and LF come in different pieces."""
        body = b"\r\n" * 3 + b"a\rb\nc\r"
        self.assertEqual(decoded_text(body, part(body), 100), "\n\n\na\nb\nc\n")
        body = b"x" * 65535 + b"\r\n" * 3 + b"y"
        self.assertEqual(decoded_text(body, part(body), 1 << 20), "x" * 65535 + "\n\n\ny")

    def test_limit(self) -> None:
        """The text has at most so many octets in UTF-8, and no half character."""
        body = "äöü".encode()
        self.assertEqual(
            [decoded_text(body, part(body), limit) for limit in range(7)],
            ["", "", "ä", "ä", "äö", "äö", "äöü"],
        )
        body = b"\xe4" * 300_000
        text = decoded_text(body, part(body, "", "iso-8859-1"), 200_001)
        self.assertEqual(text, "ä" * 100_000)

    def test_limit_counts_what_is_left(self) -> None:
        """CR that go do not count: text up to the limit is given whole."""
        body = b"a\r\n" * 100_000
        self.assertEqual(decoded_text(body, part(body), 200_000), "a\n" * 100_000)

    @settings(max_examples=100, deadline=None)
    @given(
        st.text(max_size=30),
        st.integers(0, 100),
        st.sampled_from(["", "base64"]),
        st.sampled_from([1, 3000]),
    )
    def test_bounded(self, text: str, limit: int, encoding: str, times: int) -> None:
        """Whatever the text, its beginning up to the limit is what is given."""
        octets = text.encode() * times
        body = binascii.b2a_base64(octets) if encoding else octets
        found = decoded_text(body, part(body, encoding, "utf-8"), limit)
        lines = octets.decode().replace("\r\n", "\n").replace("\r", "\n")
        self.assertTrue(lines.startswith(found))
        self.assertLessEqual(len(found.encode()), limit)
        self.assertGreater(len(found.encode()), min(limit, len(lines.encode())) - 4)
