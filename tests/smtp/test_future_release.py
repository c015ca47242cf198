"""Mail that is to leave later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.smtp.future_release import MAXIMUM_HOLD, Hold, future_release, hold_for, hold_until
from moxsmtp.smtp.reply import Refused

NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)


def released(hold: Hold) -> datetime | str:
    """When, or the codes of the refusal."""
    try:
        return hold.release(NOW)
    except Refused as refused:
        return f"{refused.reply.code} {refused.reply.enhanced_status}"


def seconds(text: str) -> datetime | str | None:
    """When HOLDFOR releases; L{None}: it is against the grammar."""
    try:
        return released(hold_for(text))
    except ValueError:
        return None


def moment(text: str) -> datetime | str | None:
    """When HOLDUNTIL releases; L{None}: it is against the grammar."""
    try:
        return released(hold_until(text))
    except ValueError:
        return None


class HoldTests(unittest.SynchronousTestCase):
    """RFC 4865."""

    def test_seconds(self) -> None:
        """HOLDFOR has one to nine digits, no leading zero; above 60 days is 554 (S-64, Q-21)."""
        expected = {
            "1": NOW + timedelta(seconds=1),
            "5184000": NOW + timedelta(days=60),
            "5184001": "554 5.5.4",
            "999999999": "554 5.5.4",
            "1000000000": None,
            "0": None,
            "01": None,
            "-1": None,
            "+1": None,
            "1_0": None,
            "1.5": None,
            "\u0661": None,
            "": None,
        }
        self.assertEqual({text: seconds(text) for text in expected}, expected)

    def test_moments(self) -> None:
        """HOLDUNTIL is in UTC, with T and Z in upper case; past or far ahead is 554 (S-64)."""
        expected = {
            "2026-03-01T12:30:05Z": NOW,
            "2026-03-02T00:00:00Z": datetime(2026, 3, 2, tzinfo=UTC),
            "2026-03-02T00:00:00.25Z": datetime(2026, 3, 2, 0, 0, 0, 250_000, tzinfo=UTC),
            "2026-03-02T00:00:00.1234567890123Z":
                datetime(2026, 3, 2, 0, 0, 0, 123_456, tzinfo=UTC),
            "2026-04-30T12:30:05Z": NOW + timedelta(days=60),
            "2026-04-30T12:30:06Z": "554 5.5.4",
            "2026-03-01T12:30:04Z": "554 5.5.4",
            "9999-12-31T23:59:59Z": "554 5.5.4",
            "0001-01-01T00:00:00Z": "554 5.5.4",
            "0000-01-01T00:00:00Z": None,
            "2026-03-02t00:00:00Z": None,
            "2026-03-02T00:00:00z": None,
            "2026-03-02T00:00:00": None,
            "2026-03-02T00:00:00.Z": None,
            "2026-03-02T00:00:00+00:00": None,
            "2026-03-02T00:00:00+01:00": None,
            "2026-02-30T00:00:00Z": None,
            "2026-13-01T00:00:00Z": None,
            "2026-03-02T24:00:00Z": None,
            "2026-03-02T00:00:60Z": None,
            "26-03-02T00:00:00Z": None,
            "2026-3-2T00:00:00Z": None,
            "\u0662026-03-02T00:00:00Z": None,
            "": None,
        }  # fmt: skip
        self.assertEqual({text: moment(text) for text in expected}, expected)

    def test_told(self) -> None:
        """A report tells what was asked for, as it was asked (S-64).  RFC 4865 section 5."""
        self.assertEqual(hold_for("3600").request, "for;3600")
        text = "2026-03-02T00:00:00.25Z"
        self.assertEqual(hold_until(text).request, f"until;{text}")

    def test_announced(self) -> None:
        """EHLO says how long, and until when, in UTC to the second (S-32)."""
        east = timezone(timedelta(hours=5))
        for now in (NOW, NOW.astimezone(east), NOW + timedelta(microseconds=5)):
            self.assertEqual(future_release(now), "FUTURERELEASE 5184000 2026-04-30T12:30:05Z")

    @settings(deadline=None, max_examples=200)
    @given(st.text(st.sampled_from("0123456789-T:.Z+ \u0661"), max_size=30))
    def test_any(self, text: str) -> None:
        """Whatever is given, the mail goes between now and 60 days on, or is refused."""
        for found in (seconds(text), moment(text)):
            if isinstance(found, datetime):
                self.assertTrue(NOW <= found <= NOW + MAXIMUM_HOLD)
