"""Dates in messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.dates import format_date, parse_date


def at(*fields: int, hours: float = 0) -> datetime:
    """A time in a zone so many hours from UTC."""
    zone = timezone(timedelta(hours=hours)) if hours else UTC
    year, month, day, hour, minute, second = fields
    return datetime(year, month, day, hour, minute, second, tzinfo=zone)


class ParseTests(SynchronousTestCase):
    """RFC 5322 sections 3.3 and 4.3, and what senders make of them."""

    def test_good(self) -> None:
        """The RFC's examples, obsolete forms, and common liberties are read."""
        expected = {
            "Fri, 21 Nov 1997 09:55:06 -0600": at(1997, 11, 21, 9, 55, 6, hours=-6),
            "Tue, 1 Jul 2003 10:52:37 +0200": at(2003, 7, 1, 10, 52, 37, hours=2),
            "21 Nov 97 09:55:06 GMT": at(1997, 11, 21, 9, 55, 6),
            "Thu,\t13 Feb 1969 23:32 -0330 (Newfoundland)": at(1969, 2, 13, 23, 32, 0, hours=-3.5),
            "1 Jan 26 00:00:00 EST": at(2026, 1, 1, 0, 0, 0, hours=-5),
            "1 Jan 102 00:00:00 +0000": at(2002, 1, 1, 0, 0, 0),
            "31 Dec 2016 23:59:60 +0000": at(2016, 12, 31, 23, 59, 59),
            "Mon, 02 January 2026 03:04:05 Z": at(2026, 1, 2, 3, 4, 5),
            "2-Jan-2026 03:04:05 -0000": at(2026, 1, 2, 3, 4, 5),
            "2 Jan 2026 03:04:05": at(2026, 1, 2, 3, 4, 5),
        }
        self.assertEqual({text: parse_date(text) for text in expected}, expected)

    def test_bad(self) -> None:
        """What is no date, or lies outside of the calendar, is nothing."""
        for text in (
            "", "today", "32 Jan 2026 00:00:00 +0000", "29 Feb 2025 00:00:00 +0000",
            "1 Jan 0000 00:00:00 +0000", "1 Jan 99999 00:00:00 +0000", "1 Jan 2026 24:00:00 +0000",
            "1 Jan 2026 00:60:00 +0000", "1 Jan 2026 00:00:61 +0000", "1 Foo 2026 00:00:00 +0000",
            "1 Jan 2026 00:00:00 +9999", "1 Jan 2026 00:00:00 +2400", "1 Jan 2026 00:00:00 +0060",
            "\u0661 Jan 2026 00:00:00 +0000", "2026-01-02T03:04:05Z", "1 Jan 2026 0:0:0 +0000",
            "-1 Jan 2026 00:00:00 +0000", "1 Jan 2026 00:00:00 +0000 junk", "(", "1" * 100_000,
        ):  # fmt: skip
            self.assertIsNone(parse_date(text), text)

    @settings(max_examples=150, deadline=None)
    @given(st.text(alphabet="0123456789 JanFeb:+-,()GMT", max_size=40))
    def test_always_an_answer(self, text: str) -> None:
        """No text makes the reader stumble, and a date it gives can be written."""
        found = parse_date(text)
        if found is not None:
            self.assertEqual(parse_date(format_date(found)), found)


class FormatTests(SynchronousTestCase):
    """Dates, written."""

    def test_form(self) -> None:
        """S-88: no leading zero for the day, English month, numeric zone, no weekday."""
        self.assertEqual(format_date(at(2026, 1, 2, 3, 4, 5)), "2 Jan 2026 03:04:05 +0000")
        self.assertEqual(
            format_date(at(2026, 12, 31, 23, 59, 59, hours=-3.5)), "31 Dec 2026 23:59:59 -0330"
        )

    def test_zone_needed(self) -> None:
        """A time without zone is no date for a message."""
        self.assertRaises(ValueError, format_date, at(2026, 1, 2, 3, 4, 5).replace(tzinfo=None))

    @settings(max_examples=100, deadline=None)
    @given(
        st.datetimes(min_value=datetime(1000, 1, 1)),  # noqa: DTZ001 the zone is added below
        st.integers(-23 * 60, 23 * 60),
    )
    def test_read_back(self, when: datetime, minutes: int) -> None:
        """What is written reads as the same second."""
        zoned = when.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
        self.assertEqual(parse_date(format_date(zoned)), zoned)
