"""Tests for L{moxsmtp.store.columns}."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.interfaces import TLSInfo
from moxsmtp.names import AddressLiteral, Host, parse_domain
from moxsmtp.queue.job import HookResult, Result
from moxsmtp.smtp.address import Path
from moxsmtp.store import columns

HOSTS: st.SearchStrategy[Host | None] = st.one_of(
    st.none(),
    st.sampled_from(["example.org", "b\u00fccher.example", "x"]).map(parse_domain),
    st.ip_addresses().map(AddressLiteral),
)
#: Anything that a quoted string of RFC 6531 can say, and more.
LOCAL_PARTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.timedeltas(timedelta(), timedelta(days=80_000)).map(
    lambda since: datetime(1971, 1, 1, tzinfo=UTC) + since
)
DURATIONS = st.timedeltas(timedelta(), timedelta(days=9))
TEXT = st.text(st.characters(), max_size=20)


class ColumnsTests(unittest.SynchronousTestCase):
    """What is written is read."""

    @settings(deadline=None)
    @given(st.builds(Path, LOCAL_PARTS, HOSTS))
    def test_paths(self, path: Path) -> None:
        """Any path, with quotes, at-signs and address literals in it."""
        text = columns.write_path(path)
        if text is None:
            self.fail("it is not the null reverse-path")
        self.assertEqual(columns.read_path(text), path)

    def test_known_paths(self) -> None:
        """Columns hold what commands do, with A-labels."""
        written = {
            path: columns.write_path(path)
            for path in (
                None,
                Path("a@b", parse_domain("b\u00fccher.example")),
                Path("a", AddressLiteral(ip_address("2001:db8::1"))),
                Path("postmaster", None),
            )
        }
        self.assertEqual(
            list(written.values()),
            [None, '"a@b"@xn--bcher-kva.example', "a@[IPv6:2001:db8::1]", "postmaster"],
        )

    @given(TIMES)
    def test_times(self, time: datetime) -> None:
        """Times are exact to the microsecond."""
        self.assertEqual(columns.read_time(columns.write_time(time)), time)

    def test_time_zones(self) -> None:
        """A time is the same moment in whatever zone it was given."""
        there = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(columns.write_time(there), 1767225600_000_000)

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(
                Result,
                TIMES,
                DURATIONS,
                st.booleans(),
                st.integers(0, 599),
                TEXT,
                TEXT,
                st.lists(TEXT, max_size=3).map(tuple),
            )
        )
    )
    def test_results(self, results: list[Result]) -> None:
        """Results of attempts, whatever the remote said (Q-7)."""
        text = columns.write_results(results)
        self.assertTrue(text.isascii())
        self.assertEqual(columns.read_results(text), tuple(results))

    def test_results_of_old(self) -> None:
        """What an earlier version wrote has no trace."""
        text = (
            '[{"start":0,"duration":1,"success":false,"code":451,"status":"4.0","error":"later"}]'
        )
        (read,) = columns.read_results(text)
        self.assertEqual((read.error, read.trace), ("later", ()))

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(
                HookResult, TIMES, DURATIONS, TEXT, st.booleans(), st.integers(0, 599), TEXT, TEXT
            )
        )
    )
    def test_hook_results(self, results: list[HookResult]) -> None:
        """Results of calls, whatever was answered (Q-75)."""
        text = columns.write_hook_results(results)
        self.assertTrue(text.isascii())
        self.assertEqual(columns.read_hook_results(text), tuple(results))

    @given(st.dictionaries(TEXT, TEXT))
    def test_maps(self, values: dict[str, str]) -> None:
        """Maps of text, as JSON with their order."""
        text = columns.write_map(values)
        self.assertEqual(json.loads(text), values)
        self.assertEqual(list(columns.read_map(text).items()), list(values.items()))

    def test_addresses(self) -> None:
        """Addresses by host, in order."""
        dialed = {
            "b.example": (ip_address("192.0.2.2"), ip_address("2001:db8::1")),
            "a.example": (ip_address("192.0.2.1"),),
        }
        read = columns.read_addresses(columns.write_addresses(dialed))
        self.assertEqual(list(read.items()), list(dialed.items()))
        self.assertEqual(columns.read_addresses(columns.write_addresses({})), {})

    def test_tls(self) -> None:
        """With TLS and without."""
        for tls in (None, TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256")):
            self.assertEqual(columns.read_tls(columns.write_tls(tls)), tls)

    @given(st.text(st.characters(), max_size=50))
    def test_text(self, text: str) -> None:
        """Text of strangers becomes what both engines keep; what they keep stays as it is."""
        written = columns.write_text(text)
        self.assertNotIn("\0", written)
        written.encode("utf-8")
        self.assertEqual(columns.write_text(written), written)
        self.assertEqual(len(written), len(text))
        clean = "".join(c for c in text if c != "\0" and not "\ud800" <= c <= "\udfff")
        self.assertEqual(columns.write_text(clean), clean)
