"""Content on its way out."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.stuffing import BareLineEnd, DotStuffer, in_lines, stuffed


def stuff(*pieces: bytes) -> bytes:
    """What leaves for content in these pieces."""
    stuffer = DotStuffer()
    return b"".join([*(stuffer.encode(piece) for piece in pieces), stuffer.finish()])


def unstuff(wire: bytes) -> bytes:
    """A receiver: RFC 5321 section 4.5.2, one line at a time."""
    lines = wire.split(b"\r\n")
    end = lines.index(b".")
    if lines[end + 1 :] != [b""]:
        raise AssertionError("the content ended early")
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])


class StuffingTests(SynchronousTestCase):
    """Dots doubled, ends added, bare CR and LF refused."""

    def test_examples(self) -> None:
        """A dot at the start of a line is doubled; the end stands on its own line (Q-68)."""
        expected = {
            b"": b".\r\n",
            b"a\r\n": b"a\r\n.\r\n",
            b"a": b"a\r\n.\r\n",
            b".\r\n": b"..\r\n.\r\n",
            b".a\r\n..b\r\na.b\r\n": b"..a\r\n...b\r\na.b\r\n.\r\n",
            b"\r\n.\r\n": b"\r\n..\r\n.\r\n",
        }
        self.assertEqual({content: stuff(content) for content in expected}, expected)
        self.assertEqual(
            {content: stuff(*(bytes([o]) for o in content)) for content in expected}, expected
        )

    def test_bare(self) -> None:
        """A bare CR or LF is found, wherever the pieces are cut (Q-68)."""
        for content in (b"a\nb", b"a\rb", b"\n", b"\r", b"a\r\r\nb", b"a\n\r\n", b"a\r\n\r"):
            for cut in range(len(content) + 1):
                with self.assertRaises(BareLineEnd):
                    stuff(content[:cut], content[cut:])

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r", b"\n"]), max_size=12),
        st.lists(st.integers(0, 24), max_size=4),
    )
    def test_property(self, tokens: list[bytes], cuts: list[int]) -> None:
        """
        What leaves has no bare CR or LF, holds the end of data once, and a
        receiver gets back what was sent, with a line end at its end.
        """
        content = b"".join(tokens)
        edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
        pieces = [content[a:b] for a, b in itertools.pairwise(edges)]
        bare = content.replace(b"\r\n", b"")
        try:
            wire = stuff(*pieces)
        except BareLineEnd:
            self.assertTrue(b"\r" in bare or b"\n" in bare)
            return
        left = wire.replace(b"\r\n", b"")
        self.assertFalse(b"\r" in left or b"\n" in left)
        end = b"" if not content or content.endswith(b"\r\n") else b"\r\n"
        self.assertEqual(unstuff(wire), content + end)

    def test_nothing_bare_leaves(self) -> None:
        """The piece in which a bare LF is found does not leave, nor what follows."""
        stuffer = DotStuffer()
        sent = stuffer.encode(b"fine\r\n")
        with self.assertRaises(BareLineEnd):
            stuffer.encode(b"bad\nworse\r\n")
        self.assertEqual(sent, b"fine\r\n")


class WholeTests(SynchronousTestCase):
    """The same for content that is in one piece."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r", b"\n"]), max_size=12))
    def test_same(self, tokens: list[bytes]) -> None:
        """In one piece it is refused, or leaves, exactly as in several (Q-68)."""
        content = b"".join(tokens)
        try:
            wire = stuff(content)
        except BareLineEnd:
            with self.assertRaises(BareLineEnd):
                in_lines(content)
            return
        self.assertEqual(stuffed(in_lines(content)), wire)

    def test_chunk(self) -> None:
        """As a chunk it has no dots doubled, but ends with a line (RFC 3030)."""
        self.assertEqual(
            {content: in_lines(content) for content in (b"", b".", b".\r\n.\r\n")},
            {b"": b"", b".": b".\r\n", b".\r\n.\r\n": b".\r\n.\r\n"},
        )
