"""Tests for L{moxsmtp.worker.frames}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.frames import BadFrame, Frames, framed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
MESSAGES = st.builds(
    lambda kind, rest: {**rest, "kind": kind},
    st.text(max_size=10),
    st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
)


class FrameTests(SynchronousTestCase):
    """Messages as octets."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(MESSAGES, max_size=4), st.integers(1, 7))
    def test_cut_anywhere(self, messages: list[Mapping[str, Any]], step: int) -> None:
        """What was said is heard, however it comes in pieces."""
        octets = b"".join(map(framed, messages))
        frames = Frames()
        found = [
            message
            for start in range(0, len(octets), step)
            for message in frames.feed(octets[start : start + step])
        ]
        self.assertEqual(found, messages)
        self.assertEqual(list(Frames().feed(octets)), messages)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_anything(self, octets: bytes) -> None:
        """Whatever comes is messages or refused; nothing else is raised."""
        try:
            for message in Frames(limit=50).feed(octets):
                self.assertIsInstance(message["kind"], str)
        except BadFrame:
            pass

    def test_too_long(self) -> None:
        """A length beyond the limit is refused before anything of it is kept."""
        frames = Frames(limit=100)
        self.assertRaises(BadFrame, frames.feed, (101).to_bytes(4, "big"))
        self.assertEqual(list(Frames(limit=100).feed((100).to_bytes(4, "big"))), [])

    def test_no_message(self) -> None:
        """JSON that is no message is refused, and so is what is no JSON."""
        for text in (b"[]", b"{}", b'{"kind":1}', b"\xff", b"[" * 90_000, b""):
            octets = len(text).to_bytes(4, "big") + text
            self.assertRaises(BadFrame, Frames().feed, octets)
