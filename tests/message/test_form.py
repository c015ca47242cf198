"""How a whole message is written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.message.form import has_8bit_header, mime_problem

ACCENT = "\u00e4".encode()

#: Two levels of parts, each header with a place for more.
NESTED = (
    b"Subject: %(root)s\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n"
    b"preamble %(preamble)s\r\n--out\r\nContent-Type: multipart/alternative; boundary=in\r\n"
    b"X: %(outer)s\r\n\r\n--in\r\nX: %(inner)s\r\n\r\n%(body)s\r\n--in--\r\n"
    b"--out\r\nContent-Type: message/rfc822\r\nX: %(carrier)s\r\n\r\nSubject: %(carried)s\r\n\r\n"
    b"--out\r\n\r\nlast\r\n--out--\r\nepilogue %(epilogue)s\r\n"
)
PLACES = (
    "root", "preamble", "outer", "inner", "body", "carrier", "carried", "epilogue",
)  # fmt: skip


def written(place: str = "") -> bytes:
    """The message with an accent in one place."""
    return NESTED % {name.encode(): ACCENT if name == place else b"a" for name in PLACES}


class HeaderTests(unittest.SynchronousTestCase):
    """RFC 6531 section 3.6."""

    def test_places(self) -> None:
        """The headers of all parts count; bodies, and messages inside, do not (S-80)."""
        found = {place for place in PLACES if has_8bit_header(written(place))}
        self.assertEqual(found, {"root", "outer", "inner", "carrier"})
        self.assertFalse(has_8bit_header(written()))

    def test_far_away(self) -> None:
        """Neither a long header nor a long body hides it."""
        filler = b"Y: " + b"y" * 70 + b"\r\n"
        many = filler * 30_000
        self.assertTrue(
            has_8bit_header(written("inner").replace(b"X: " + ACCENT, many + b"X: " + ACCENT))
        )
        long = written("carrier").replace(b"preamble", b"p" * 3_000_000)
        self.assertTrue(has_8bit_header(long))

    def test_odd(self) -> None:
        """What is no MIME, or no message, has an answer."""
        for content, expected in (
            (b"", False),
            (ACCENT, True),
            (b"\r\n" + ACCENT, False),
            (b"A: b\r\n\r\n" + ACCENT, False),
            (b"A: b\n\n" + ACCENT, False),
        ):
            self.assertEqual(has_8bit_header(content), expected, content)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.sampled_from([
                b"--b\r\n", b"--b--\r\n", b"--c\r\n", b"\r\n", b"A: b\r\n", ACCENT, b"x",
                b"\n", b"\r",
                b"Content-Type: multipart/mixed; boundary=b\r\n",
                b"Content-Type: multipart/mixed; boundary=c\r\n",
            ]),
            max_size=20,
        ).map(b"".join)
    )  # fmt: skip
    def test_any(self, content: bytes) -> None:
        """Whatever comes, there is an answer, and ASCII never needs more."""
        if has_8bit_header(content):
            self.assertFalse(content.isascii())
        mime_problem(content)

    def test_bounded(self) -> None:
        """
        A message of nothing but parts, or but headers, is read in one pass; looked at
        again for each of them it would not be read today.
        """
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        for unit in (b"--b\r\n", b"--b\r\nA: b\r\n\r\n", b"A: b\r\n", b"--b\r\n" + head):
            content = head + unit * (3_000_000 // len(unit)) + ACCENT
            has_8bit_header(content)
            mime_problem(content)


class MimeTests(unittest.SynchronousTestCase):
    """RFC 2046."""

    def test_sound(self) -> None:
        """What is sound has no problem (S-111)."""
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        for content in (
            written(),
            b"A: b\r\n\r\nbody\r\n",
            head + b"--b\r\n\r\n--b--",
            head + b"--b\r\n\r\n\r\n--b--\r\n",
            head + b"--b\r\nA: b\r\n\r\n--b--\r\n",
        ):
            self.assertEqual(mime_problem(content), "", content)

    def test_problems(self) -> None:
        """Broken headers of parts, boundaries that are missing or never end (S-111)."""
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        for content in (
            b"no field\r\n\r\n",
            written().replace(b"X: a", b"no field", 1),
            written().replace(b"--in--\r\n", b""),
            written().replace(b"--out--\r\n", b""),
            b"Content-Type: multipart/mixed\r\n\r\ntext",
            head,
            head + b"--b--\r\n",
            head + b"--b\r\n\r\ntext",
            head + b"--b\r\n\r\ntext\r\n--b-\r\n",
        ):
            self.assertNotEqual(mime_problem(content), "", content)
