"""The hash of a body while it streams."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise

from dkim.canonicalization import (  # type: ignore[import-untyped]  # no stubs
    CanonicalizationPolicy,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.dkim.body import BodyHashes

#: Few octets, so that what matters to a canonicalisation meets often.
BODIES = st.text("ab \t\r\n", max_size=60).map(str.encode)

LINES = st.lists(st.text("ab \t", max_size=6), max_size=12).map(
    lambda lines: "".join(f"{line}\r\n" for line in lines).encode()
)


def canonical(body: bytes, *, relaxed: bool) -> bytes:
    """RFC 6376 section 3.4, word for word, slowly."""
    lines = body.split(b"\r\n")
    if relaxed:
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if relaxed and not lines:
        return b""
    return b"\r\n".join(lines) + b"\r\n"


def digest(
    body: bytes, *, relaxed: bool, limit: int | None = None, cuts: tuple[int, ...] = ()
) -> bytes:
    """What the hash makes of C{body}, fed in pieces that end at C{cuts}."""
    hashes = BodyHashes()
    wanted = hashes.wanted(relaxed=relaxed, limit=limit)
    places = [0, *sorted(cuts), len(body)]
    for start, end in pairwise(places):
        hashes.feed(body[start:end])
    hashes.finish()
    return wanted.digest()


class CanonicalTests(unittest.SynchronousTestCase):
    """What is hashed.  RFC 6376 sections 3.4.3 to 3.4.5."""

    def assertHashed(self, body: bytes, *, simple: bytes, relaxed: bytes) -> None:
        """C{body} is hashed as if it were these, whole and octet by octet."""
        every = tuple(range(len(body)))
        for is_relaxed, expected in ((False, simple), (True, relaxed)):
            expected_digest = hashlib.sha256(expected).digest()
            self.assertEqual(digest(body, relaxed=is_relaxed), expected_digest, body)
            self.assertEqual(digest(body, relaxed=is_relaxed, cuts=every), expected_digest, body)

    def test_example_of_rfc(self) -> None:
        """The body of RFC 6376 section 3.4.5."""
        self.assertHashed(
            b" C \r\nD \t E\r\n\r\n\r\n",
            simple=b" C \r\nD \t E\r\n",
            relaxed=b" C\r\nD E\r\n",
        )

    def test_empty(self) -> None:
        """No body is one empty line if simple, and nothing if relaxed."""
        for body in (b"", b"\r\n", b"\r\n\r\n\r\n"):
            self.assertHashed(body, simple=b"\r\n", relaxed=b"")

    def test_lines_of_white_space(self) -> None:
        """Lines of white space are empty if relaxed, and text if simple."""
        self.assertHashed(b" \r\n\t \r\n", simple=b" \r\n\t \r\n", relaxed=b"")
        self.assertHashed(b"a\r\n \r\n", simple=b"a\r\n \r\n", relaxed=b"a\r\n")

    def test_empty_lines_inside(self) -> None:
        """Empty lines before text count."""
        self.assertHashed(
            b"\r\n\r\na\r\n\r\n \r\nb\r\n",
            simple=b"\r\n\r\na\r\n\r\n \r\nb\r\n",
            relaxed=b"\r\n\r\na\r\n\r\n\r\nb\r\n",
        )

    def test_last_line_without_end(self) -> None:
        """A last line that lacks CRLF is given it; white space at its end is that of a line."""
        self.assertHashed(b"a", simple=b"a\r\n", relaxed=b"a\r\n")
        self.assertHashed(b"a \t", simple=b"a \t\r\n", relaxed=b"a\r\n")
        self.assertHashed(b"  ", simple=b"  \r\n", relaxed=b"")

    def test_lone_cr_and_lf(self) -> None:
        """A CR or LF that stands alone is text like any other."""
        self.assertHashed(b"a\r", simple=b"a\r\r\n", relaxed=b"a\r\r\n")
        self.assertHashed(b"a \r", simple=b"a \r\r\n", relaxed=b"a \r\r\n")
        self.assertHashed(b"a\n", simple=b"a\n\r\n", relaxed=b"a\n\r\n")
        self.assertHashed(b"\r\r\n\r\n", simple=b"\r\r\n", relaxed=b"\r\r\n")
        self.assertHashed(b"\n\r\n\r\n", simple=b"\n\r\n", relaxed=b"\n\r\n")
        self.assertHashed(b" \r \r\n", simple=b" \r \r\n", relaxed=b" \r\r\n")

    @settings(max_examples=300, deadline=None)
    @given(BODIES, st.booleans(), st.lists(st.integers(0, 60), max_size=8))
    def test_any_body_in_any_pieces(self, body: bytes, relaxed: bool, cuts: list[int]) -> None:
        """However a body is cut, its hash is that of the canonical form, computed simply."""
        within = tuple(cut for cut in cuts if cut <= len(body))
        self.assertEqual(
            digest(body, relaxed=relaxed, cuts=within),
            hashlib.sha256(canonical(body, relaxed=relaxed)).digest(),
        )

    @settings(max_examples=200, deadline=None)
    @given(LINES, st.booleans())
    def test_as_dkimpy(self, body: bytes, relaxed: bool) -> None:
        """Of whole lines, dkimpy hashes the same."""
        policy = CanonicalizationPolicy.from_c_value(b"simple/relaxed" if relaxed else b"simple")
        self.assertEqual(
            digest(body, relaxed=relaxed),
            hashlib.sha256(policy.canonicalize_body(body)).digest(),
        )


class LongTests(unittest.SynchronousTestCase):
    """Bodies that are long, or made to be slow."""

    #: Longer than what is held back and than one step.
    RUNS = (
        b"\r\n" * 70_000,
        b" \r\n" * 50_000,
        b" " * 150_000,
        b"\t" * 150_000,
        b"\r" * 70_001,
        b"\n" * 70_001,
        b"\r\r\n" * 50_000,
        (b"x" * 998 + b"\r\n") * 150,
        (b" " * 998 + b"\r\n") * 150,
        b"".join(b"a" + b" " * count for count in range(500)),
    )

    def assertHashed(self, body: bytes) -> None:
        """Whole, and in pieces of several sizes, as the simple way has it."""
        for relaxed in (False, True):
            expected = hashlib.sha256(canonical(body, relaxed=relaxed)).digest()
            for piece in (len(body), 65536, 4095):
                cuts = tuple(range(0, len(body), piece))
                self.assertEqual(digest(body, relaxed=relaxed, cuts=cuts), expected, body[:9])

    def test_runs_at_the_end(self) -> None:
        """A long run ends the body."""
        for run in self.RUNS:
            self.assertHashed(run)
            self.assertHashed(b"text\r\n" + run)

    def test_runs_before_text(self) -> None:
        """Text follows a long run, so that the run counts."""
        for run in self.RUNS:
            self.assertHashed(run + b"x")
            self.assertHashed(run + b"x" + run + b" \r\ny\r\n" + run)


class SharedTests(unittest.SynchronousTestCase):
    """Several who want hashes of one body."""

    def test_equal_wishes_share(self) -> None:
        """Who wants the same is given the same; who wants another, another."""
        hashes = BodyHashes()
        first = hashes.wanted(relaxed=True)
        self.assertIs(hashes.wanted(relaxed=True), first)
        self.assertIsNot(hashes.wanted(relaxed=False), first)
        self.assertIsNot(hashes.wanted(relaxed=True, limit=5), first)

    def test_all_are_right(self) -> None:
        """Hashes computed beside each other do not disturb each other."""
        body = b"a  b\r\n\r\n \r\nc\r\n\r\n"
        hashes = BodyHashes()
        wishes = [(relaxed, limit) for relaxed in (False, True) for limit in (None, 0, 3, 6, 99)]
        wanted = {wish: hashes.wanted(relaxed=wish[0], limit=wish[1]) for wish in wishes}
        for place in range(len(body)):
            hashes.feed(body[place : place + 1])
        hashes.finish()
        for (relaxed, limit), one in wanted.items():
            expected = canonical(body, relaxed=relaxed)[:limit]
            self.assertEqual(one.digest(), hashlib.sha256(expected).digest(), (relaxed, limit))


class LimitTests(unittest.SynchronousTestCase):
    """C{l=}: only the beginning of the canonical body.  RFC 6376 section 3.7."""

    @settings(max_examples=200, deadline=None)
    @given(BODIES, st.booleans(), st.integers(0, 70), st.lists(st.integers(0, 60), max_size=4))
    def test_any_limit(self, body: bytes, relaxed: bool, limit: int, cuts: list[int]) -> None:
        """That many octets are hashed, and a body with fewer is short."""
        hashes = BodyHashes()
        wanted = hashes.wanted(relaxed=relaxed, limit=limit)
        places = [0, *sorted(cut for cut in cuts if cut <= len(body)), len(body)]
        for start, end in pairwise(places):
            hashes.feed(body[start:end])
        hashes.finish()
        expected = canonical(body, relaxed=relaxed)
        self.assertEqual(wanted.digest(), hashlib.sha256(expected[:limit]).digest())
        self.assertEqual(wanted.is_short, len(expected) < limit)

    def test_limit_among_held_lines(self) -> None:
        """Empty lines beyond the end of text do not fill a limit, however many there are."""
        for count in (3, 2048, 2049, 9000):
            for relaxed in (False, True):
                hashes = BodyHashes()
                wanted = hashes.wanted(relaxed=relaxed, limit=1000)
                hashes.feed(b"text" + b"\r\n" * count)
                hashes.finish()
                self.assertTrue(wanted.is_short)
                self.assertEqual(wanted.length, 6)
                self.assertEqual(wanted.digest(), hashlib.sha256(b"text\r\n").digest())

    def test_no_limit_is_never_short(self) -> None:
        """Without a limit no body is too short."""
        hashes = BodyHashes()
        wanted = hashes.wanted(relaxed=True)
        hashes.finish()
        self.assertFalse(wanted.is_short)
