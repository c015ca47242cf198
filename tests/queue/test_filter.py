"""Tests for L{moxsmtp.queue.filter}."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.queue.filter import (
    EVERYTHING,
    HoldRule,
    InvalidCondition,
    JobFilter,
    Span,
    matches_address,
    parse_duration,
    parse_moment,
    parse_span,
)
from moxsmtp.queue.job import Job
from moxsmtp.smtp.address import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BOOKS = parse_domain("b\u00fccher.example")
JOB = Job(
    id=7,
    base_id=0,
    account="ann",
    reverse_path=Path("ann", parse_domain("mx.example")),
    forward_path=Path("Bob", BOOKS),
    queued=NOON - HOUR,
    next_attempt=NOON + HOUR,
    content=1,
    size=10,
    transport="smarthost",
)


class AddressTests(SynchronousTestCase):
    """Parts of addresses (Q-22)."""

    def test_parts(self) -> None:
        """A part is looked for as people write the address, ASCII letters in either case (Q-22)."""
        for part, path, matches in (
            ("", None, True),
            ("", JOB.forward_path, True),
            ("bob@b\u00fccher", JOB.forward_path, True),
            ("BOB", JOB.forward_path, True),
            ("xn--bcher", JOB.forward_path, False),
            ("cher.example", JOB.forward_path, True),
            ("B\u00dcCHER", JOB.forward_path, False),
            ("b.b", JOB.forward_path, False),
            ("<>", JOB.forward_path, False),
            ("<>", None, True),
            ("<", None, False),
            ("x", None, False),
            ("@", None, False),
        ):
            self.assertEqual(matches_address(part, path), matches, (part, path))

    def test_domains(self) -> None:
        """What begins with an at sign is the domain, in any spelling, no longer one (Q-22)."""
        literal = Path("x", AddressLiteral(ip_address("192.0.2.1")))
        for part, path, matches in (
            ("@b\u00fccher.example", JOB.forward_path, True),
            ("@B\u00dcCHER.Example", JOB.forward_path, True),
            ("@xn--bcher-kva.example", JOB.forward_path, True),
            ("@cher.example", JOB.forward_path, False),
            ("@b\u00fccher.exampl", JOB.forward_path, False),
            ("@mx.example", JOB.reverse_path, True),
            ("@example", JOB.reverse_path, False),
            ("@[192.0.2.1]", literal, True),
            ("@192.0.2.1", literal, False),
            ("@", JOB.forward_path, False),
            ("@mx.example", Path("postmaster", None), False),
        ):
            self.assertEqual(matches_address(part, path), matches, (part, path))


class JobFilterTests(SynchronousTestCase):
    """Conditions of a filter."""

    def test_each(self) -> None:
        """Each condition can fail by itself, whatever the others say (Q-22)."""
        fitting = JobFilter(
            ids=(7, 8),
            account="ann",
            sender="@mx.example",
            recipient="bob",
            hold=False,
            submitted=Span(NOON - 2 * HOUR, NOON),
            next_attempt=Span(NOON, NOON + 2 * HOUR),
            transport="smarthost",
        )
        self.assertTrue(fitting.matches(JOB))
        self.assertTrue(EVERYTHING.matches(JOB))
        for changes in (
            {"ids": (8,)},
            {"account": "bob"},
            {"sender": "@example.org"},
            {"recipient": "carol"},
            {"hold": True},
            {"submitted": Span(NOON, None)},
            {"submitted": Span(None, JOB.queued)},
            {"submitted": Span(JOB.queued, None)},
            {"next_attempt": Span(None, NOON)},
            {"transport": ""},
        ):
            self.assertFalse(replace(fitting, **changes).matches(JOB), changes)

    def test_default_routing(self) -> None:
        """A transport that is set but empty means what routes are followed for (Q-22)."""
        self.assertTrue(JobFilter(transport="").matches(replace(JOB, transport="")))
        self.assertTrue(JobFilter().matches(JOB))


class HoldRuleTests(SynchronousTestCase):
    """Rules (Q-20)."""

    def test_conditions(self) -> None:
        """All conditions have to hold; an empty one is none, empty values meet no other (Q-20)."""
        for rule, met in (
            (("", "", ""), (True, True)),
            (("ann", "", ""), (True, False)),
            (("", "mx.example", ""), (True, False)),
            (("", "", "there.example"), (True, True)),
            (("ann", "mx.example", "there.example"), (True, False)),
            (("ann", "mx.example", "other.example"), (False, False)),
            (("ann", "other.example", ""), (False, False)),
        ):
            made = HoldRule(1, *rule, NOON)
            found = (
                made.matches("ann", "mx.example", "there.example"),
                made.matches("", "", "there.example"),
            )
            self.assertEqual(found, met, rule)


class TimeTests(SynchronousTestCase):
    """Durations and times as people give them (Q-22)."""

    def test_durations(self) -> None:
        """Signed sums of numbers with units."""
        expected = {
            "30s": timedelta(seconds=30),
            "1h30m": timedelta(minutes=90),
            "-2d": timedelta(days=-2),
            "+0.5h": timedelta(minutes=30),
            "1w": timedelta(days=7),
            "-1.5m": timedelta(seconds=-90),
        }
        self.assertEqual({text: parse_duration(text) for text in expected}, expected)

    def test_no_durations(self) -> None:
        """Anything else is refused, digits of other scripts and endless ones too."""
        for text in (
            "", "1", "h", "1 h", "1h ", "--1h", "1y", "1H", "1.h", ".5h", "\u0661h", "1h-2m",
            "9" * 10 + "s", "1e3s", "nan", "1h\n", "9" * 100_000 + "w", "9w" * 50_000 + "x",
        ):  # fmt: skip
            self.assertRaises(InvalidCondition, parse_duration, text)

    def test_too_long(self) -> None:
        """A sum that no duration holds is refused."""
        self.assertRaises(InvalidCondition, parse_duration, "999999999w" * 10)

    def test_moments(self) -> None:
        """C{now}, what is added to it, or a time of RFC 3339, in UTC without a zone."""
        expected = {
            "now": NOON,
            "1h": NOON + HOUR,
            "-1h": NOON - HOUR,
            "2026-03-01T13:00:00Z": NOON + HOUR,
            "2026-03-01T14:00:00+01:00": NOON + HOUR,
            "2026-03-01T13:00:00": NOON + HOUR,
        }
        self.assertEqual({text: parse_moment(text, NOON) for text in expected}, expected)
        for text in ("", "tomorrow", "2026-13-01T00:00:00Z", "999999999w", "-999999999w", "Now"):
            self.assertRaises(InvalidCondition, parse_moment, text, NOON)
        for text in ("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"):
            self.assertRaises(InvalidCondition, parse_moment, text, NOON)

    def test_spans(self) -> None:
        """Before or after, both without the moment itself."""
        before, after = parse_span("<-1h", NOON), parse_span(">now", NOON)
        self.assertEqual((before, after), (Span(None, NOON - HOUR), Span(NOON, None)))
        self.assertEqual([before.holds(NOON - HOUR), after.holds(NOON)], [False, False])
        self.assertEqual([before.holds(NOON - 2 * HOUR), after.holds(NOON + HOUR)], [True, True])
        for text in ("", "1h", "=now", "<", ">", "<>now", "now"):
            self.assertRaises(InvalidCondition, parse_span, text, NOON)

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="<>+-0123456789.smhdwTZ:now ", max_size=30))
    def test_any_text(self, text: str) -> None:
        """Any text is a condition or refused; nothing else comes of it."""
        try:
            span = parse_span(text, NOON)
        except InvalidCondition:
            return
        self.assertEqual((span.after is None) + (span.before is None), 1)
