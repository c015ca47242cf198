"""Content behind DATA."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.smtp.body import Body, Offence


def slowly(octets: bytes) -> tuple[bytes, bool, bytes | None, int]:
    """
    The same by looking at octet after octet, for comparison: content, whether it
    was an attempt at smuggling, what came behind (L{None}: no end), its size.
    """
    # Everything up to the real end, then by lines that end with LF.
    whole = b"\r\n" + octets
    end = whole.find(b"\r\n.\r\n")
    taken = octets if end < 0 else octets[:end]
    rest = None if end < 0 else whole[end + 5 :]
    smuggling = False
    content = bytearray()
    size = 0
    after_crlf, line = True, bytearray()
    for position, octet in enumerate(taken):
        line.append(octet)
        if octet != 10 and position + 1 < len(taken):
            continue
        text, has_crlf, has_lf = bytes(line), line.endswith(b"\r\n"), line.endswith(b"\n")
        inner = text[: len(text) - (2 if has_crlf else 1 if has_lf else 0)]
        if b"\r" in inner:
            smuggling = True
        if inner == b"." and has_lf:
            smuggling = True  # A real end is not in here.
        if after_crlf and inner.startswith(b"."):
            inner = inner[1:]
            size -= 1
        size += len(text)
        content += inner + (b"\r\n" if has_lf else b"")
        after_crlf, line = has_crlf, bytearray()
    return bytes(content), smuggling, rest, size


def fed(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Content, and what came behind its end."""
    content = rest = b""
    for piece in pieces:
        if body.ended:
            rest += piece
        else:
            content += body.feed(piece)
            rest += body.take_rest()
    return content, rest


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[position : position + 1] for position in range(len(octets))]


#: Pieces that line ends, dots and stand-ins are made of.
FRAGMENTS = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\n.", b"a", b"\r\n.\r\n", b"\xe4",
                     b"b."]),
    max_size=25,
).map(b"".join)  # fmt: skip


class BodyTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.5.2."""

    def assertContent(self, sent: bytes, content: bytes, *, size: int | None = None) -> None:
        """Whole, octet by octet, cut at every place, and with octets following."""
        cuts = [[sent[:place], sent[place:]] for place in range(len(sent) + 1)]
        for pieces in [[sent], octet_by_octet(sent), *cuts]:
            for following in (b"", b"QUIT\r\n", b".\r\n"):
                body = Body(1000)
                self.assertEqual(fed(body, [*pieces, following]), (content, following), pieces)
                self.assertTrue(body.ended)
                self.assertIsNone(body.offence)
                if size is not None:
                    self.assertEqual(body.size, size)

    def assertSmuggling(self, sent: bytes) -> None:
        """Refused at any segmentation, and read on to the real end."""
        sent += b"tail\r\n.\r\n"
        cuts = [[sent[:place], sent[place:]] for place in range(len(sent) + 1)]
        for pieces in [[sent], octet_by_octet(sent), *cuts]:
            body = Body(1000)
            _, rest = fed(body, [*pieces, b"QUIT\r\n"])
            self.assertEqual((body.offence, rest), (Offence.SMUGGLING, b"QUIT\r\n"), pieces)

    def test_plain(self) -> None:
        """The content is what stands before the dot, its last line end included (S-76)."""
        self.assertContent(b"a: b\r\n\r\nc\r\n.\r\n", b"a: b\r\n\r\nc\r\n")

    def test_empty(self) -> None:
        """A dot at once ends an empty content (S-76)."""
        self.assertContent(b".\r\n", b"")
        self.assertContent(b"\r\n.\r\n", b"\r\n")

    def test_dots(self) -> None:
        """One leading dot is dropped from a line that CRLF began, from no other (S-76)."""
        self.assertContent(b"..\r\n.a\r\n...\r\na..\r\n.\r\n", b".\r\na\r\n..\r\na..\r\n")
        self.assertContent(b"a\n.b\n..\r\n.\r\n", b"a\r\n.b\r\n..\r\n")

    def test_bare_lf(self) -> None:
        """A bare LF becomes CRLF (S-76)."""
        self.assertContent(b"a\nb\n\nc\r\n.\r\n", b"a\r\nb\r\n\r\nc\r\n")
        self.assertContent(b"\n\r\n.\r\n", b"\r\n\r\n")

    def test_near_the_end(self) -> None:
        """A dot with anything round it is ordinary text (S-77)."""
        self.assertContent(b"a\r\n. \r\n.\0\r\n.x.\r\n.\r\n", b"a\r\n \r\n\0\r\nx.\r\n")

    def test_size(self) -> None:
        """Stuffed dots are not counted, and a bare LF is one octet (S-78)."""
        self.assertContent(b"..a\nb\r\n.\r\n", b".a\r\nb\r\n", size=6)

    def test_stand_ins(self) -> None:
        """What other servers took for the end of data is refused; no other is (S-77)."""
        for stand_in in (
            b"a\n.\n", b"a\n.\r\n", b"a\r\n.\n", b".\n", b"\n.\n", b"\n.\r\n", b"a\r.\r",
            b"a\r.\r\n", b"a\r\n.\r", b"a\r\r\n", b"\r", b"\r\r\n.\r\r\n", b"a\n.\rb",
        ):  # fmt: skip
            self.assertSmuggling(stand_in)

    def test_nothing_after_offence(self) -> None:
        """After an offence no content is given any more."""
        body = Body(1000)
        self.assertEqual(body.feed(b"a\rb"), b"")
        self.assertEqual(body.feed(b"c\r\nd\r\n"), b"")

    def test_eight_bit(self) -> None:
        """Octets above 127 are noticed, wherever they are."""
        for pieces, has_8bit in (([b"a\r\n.\r\n"], False), ([b"a\xe4", b"b\r\n.\r\n"], True)):
            body = Body(1000)
            fed(body, pieces)
            self.assertEqual(body.has_8bit, has_8bit)

    def test_limit(self) -> None:
        """As many octets as the limit are taken, one more is not, but all are read (S-78)."""
        for length, offence in ((98, None), (99, Offence.TOO_LARGE)):
            sent = b"x" * length + b"\r\n.\r\n"
            for pieces in ([sent], octet_by_octet(sent)):
                body = Body(100)
                _, rest = fed(body, [*pieces, b"NOOP\r\n"])
                self.assertEqual((body.offence, rest), (offence, b"NOOP\r\n"))

    def test_hopeless(self) -> None:
        """Beyond twice the limit there is no use in reading on (S-78)."""
        body = Body(100)
        body.feed(b"x" * 200)
        self.assertFalse(body.is_hopeless)
        body.feed(b"x")
        self.assertTrue(body.is_hopeless)

    @settings(deadline=None, max_examples=200)
    @given(FRAGMENTS, st.lists(st.integers(0, 60), max_size=8))
    def test_like_the_slow_way(self, octets: bytes, places: list[int]) -> None:
        """Any octets, cut anywhere, are what a look at each octet makes of them (S-76, S-77)."""
        content, smuggling, rest, size = slowly(octets)
        cuts = sorted({0, *(place for place in places if place < len(octets)), len(octets)})
        pieces = [octets[start:end] for start, end in itertools.pairwise(cuts)]
        body = Body(10_000)
        got, behind = fed(body, pieces)
        self.assertEqual(body.ended, rest is not None)
        if rest is None:
            # Some is held back; the end makes all of it certain.
            body = Body(10_000)
            content, smuggling, rest, size = slowly(octets + b"Z\r\n.\r\n")
            got, behind = fed(body, [*pieces, b"Z\r\n.\r\n"])
        self.assertEqual(body.offence is Offence.SMUGGLING, smuggling)
        self.assertEqual(behind, rest)
        if not smuggling:
            self.assertEqual(got, content)
            self.assertEqual(body.size, size)
            self.assertEqual(body.has_8bit, b"\xe4" in content)

    def test_linear(self) -> None:
        """
        Content is passed on as it comes: no more is kept, and looked at again, than
        could be the beginning of its end.
        """
        for unit, stuffed in ((b"\r\n..", 1), (b"\r\n.a", 1), (b"\r\n", 0), (b"a\r\n\r\n", 0)):
            octets = unit * 5000
            for length in (1, 100, 65_536):
                body = Body(10**6)
                given = 0
                for start in range(0, len(octets), length):
                    given += len(body.feed(octets[start : start + length]))
                    units = min(start + length, len(octets)) // len(unit)
                    self.assertGreaterEqual(given + 4, units * (len(unit) - stuffed), unit)
