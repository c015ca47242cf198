"""Tests for L{moxsmtp.message.extra}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.extra import BadExtra, extra_fields
from moxsmtp.message.header import parse_header


def found(section: bytes) -> dict[str, str]:
    """What a header section says."""
    return dict(extra_fields(parse_header(section + b"\r\n")))


class ExtraTests(SynchronousTestCase):
    """C{X-Mox-Extra-<key>}."""

    def test_keys(self) -> None:
        """Keys are told in the usual case, whichever they were written in (Q-26, S-95)."""
        self.assertEqual(
            {"Order": "17", "My-Id": "a b", "X_y": ""},
            found(
                b"Subject: x\r\nX-Mox-Extra-ORDER: 17\r\nx-mox-extra-my-iD: a\r\n b\r\n"
                b"X-Mox-Extra-x_Y:\r\n"
            ),
        )

    def test_none(self) -> None:
        """Fields without a key, and those of other names, say nothing (Q-26, S-95)."""
        self.assertEqual(
            {},
            found(b"X-Mox-Extra: a\r\nX-Mox-Extra-: b\r\nX-Moxsmtp-Extra-c: d\r\nX-Mox-E: f\r\n"),
        )
        self.assertEqual({}, found(b"Subject: \r\n X-Mox-Extra-a: b\r\n"))

    def test_text(self) -> None:
        """Values are text, octets that are none replaced (Q-26, S-95)."""
        self.assertEqual(
            {"A": "\u00e9", "B": "\ufffd"},
            found(b"X-Mox-Extra-A: \xc3\xa9\r\nX-Mox-Extra-B: \xff\r\n"),
        )

    def test_twice(self) -> None:
        """A key that is there twice, in whatever case, is refused (Q-26, S-95)."""
        self.assertRaises(BadExtra, found, b"X-Mox-Extra-A: 1\r\nX-Mox-Extra-a: 2\r\n")
        self.assertRaises(BadExtra, found, b"X-Mox-Extra-A: 1\r\nx-mox-extra-A: 1\r\n")

    def test_too_much(self) -> None:
        """What is kept with each recipient has its limits (Q-26, S-95)."""
        fields = [b"X-Mox-Extra-K%d: v\r\n" % number for number in range(65)]
        self.assertEqual(64, len(found(b"".join(fields[:64]))))
        self.assertRaises(BadExtra, found, b"".join(fields))
        self.assertEqual(["A"], list(found(b"X-Mox-Extra-A: " + b"v" * 16000 + b"\r\n")))
        self.assertRaises(BadExtra, found, b"X-Mox-Extra-A: " + b"v" * 17000 + b"\r\n")

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=80))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever stands there is understood or refused."""
        try:
            told = found(b"X-Mox-Extra-" + octets + b"\r\nX-Mox-Extra-Z: 1\r\n")
        except BadExtra:
            return
        self.assertTrue(all(key and len(value) <= 200 for key, value in told.items()))
