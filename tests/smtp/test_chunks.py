"""Content that comes in chunks."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.smtp.body import Offence
from moxsmtp.smtp.chunks import Chunks

#: All that may matter to it, and a letter.
OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\n.\n"]), max_size=12)


def taken(pieces: list[bytes], maximum: int = 1000) -> tuple[bytes, Offence | None]:
    """What comes of a message that came whole."""
    chunks = Chunks(maximum)
    content = b""
    for piece in pieces:
        chunks.announce(len(piece))
        content += chunks.feed(piece)
    content += chunks.finish()
    return content, chunks.offence


def expected(octets: bytes) -> bytes | None:
    """The same, said otherwise; L{None}: refused."""
    if re.search(rb"\r(?!\n)", octets):
        return None
    # As if a line end had come just before.
    lines = re.split(rb"(\r\n|\n)", b"\r\n" + octets)
    ends, texts = lines[1::2], lines[2::2]
    for before, text, after in zip(ends, texts, ends[1:], strict=False):
        if text == b"." and b"\n" in {before, after}:
            return None
    content = b"\r\n".join(texts)
    return content if not texts[-1] else content + b"\r\n"


class ChunksTests(unittest.SynchronousTestCase):
    """RFC 3030."""

    def test_line_ends(self) -> None:
        """Every line ends in CRLF afterwards, the last one too; dots mean nothing (S-76)."""
        for octets, content in {
            b"": b"",
            b"a\r\nb": b"a\r\nb\r\n",
            b"a\nb\n": b"a\r\nb\r\n",
            b"..\r\n.\r\n..": b"..\r\n.\r\n..\r\n",
            b".": b".\r\n",
            b".\r\n": b".\r\n",
        }.items():
            self.assertEqual(taken([octets]), (content, None), octets)

    def test_refused(self) -> None:
        """A bare CR, or a dot between line ends of which one is bare, is refused (S-77)."""
        for octets in (b"a\rb", b"\r", b"a\r", b"\r\r\n", b"a\n.\nb", b"a\n.\r\nb", b"a\r\n.\nb",
                       b".\nb", b"\n.\n"):  # fmt: skip
            self.assertEqual(taken([octets])[1], Offence.SMUGGLING, octets)
            pieces = [octets[place : place + 1] for place in range(len(octets))]
            self.assertEqual(taken(pieces)[1], Offence.SMUGGLING, octets)

    def test_nothing_after_an_offence(self) -> None:
        """What was refused gives no more content."""
        chunks = Chunks(100)
        chunks.announce(4)
        self.assertEqual(chunks.feed(b"a\rb\n"), b"")
        self.assertEqual(chunks.feed(b"fine\r\n"), b"")
        self.assertEqual(chunks.finish(), b"")

    def test_too_large(self) -> None:
        """The chunks announced count together; the limit itself is not too much (S-78)."""
        chunks = Chunks(10)
        chunks.announce(4)
        chunks.announce(6)
        self.assertIsNone(chunks.offence)
        chunks.announce(1)
        self.assertIs(chunks.offence, Offence.TOO_LARGE)

    @settings(deadline=None, max_examples=150)
    @given(OCTETS, st.data())
    def test_any_cut(self, parts: list[bytes], data: st.DataObject) -> None:
        """Wherever it is cut, the content is the same, or it is refused (S-76, S-77)."""
        octets = b"".join(parts)
        wanted = expected(octets)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=4)))
        pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
        whole = [octets[place : place + 1] for place in range(len(octets))]
        for each in ([octets], pieces, whole):
            content, offence = taken(each)
            if wanted is None:
                self.assertEqual(offence, Offence.SMUGGLING)
            else:
                self.assertEqual((content, offence), (wanted, None))
