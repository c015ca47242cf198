"""Durations, sizes, addresses and names as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.config.values import (
    domain,
    duration,
    mailbox,
    network,
    network_address,
    octets,
    plain_text,
)
from moxsmtp.names import parse_domain


class ValueTests(unittest.SynchronousTestCase):
    """Each kind of value."""

    def assertRefused(self, read: Callable[..., object], *values: object) -> None:
        """C{read} refuses each value and says why."""
        for value in values:
            error = self.assertRaises(ValueError, read, value)
            self.assertTrue(str(error), repr(value))

    def test_durations(self) -> None:
        """Text with units, units together from large to small, or seconds."""
        expected = {
            "5m": timedelta(minutes=5),
            "30s": timedelta(seconds=30),
            "0.5s": timedelta(seconds=0.5),
            "7d": timedelta(days=7),
            "2w": timedelta(days=14),
            "1h30m": timedelta(minutes=90),
            "0s": timedelta(),
            90: timedelta(seconds=90),
            1.5: timedelta(seconds=1.5),
        }
        self.assertEqual({text: duration(text) for text in expected}, expected)

    def test_wrong_durations(self) -> None:
        """Anything else, and what no program waits for."""
        self.assertRefused(
            duration, "", "5", "5 m", "m", "5m1h", "5M", "-5m", "1.5m", "\u0665m", "9" * 39 + "s",
            -1, float("nan"), float("inf"), True, None, [5], "20000d",
        )  # fmt: skip

    def test_sizes(self) -> None:
        """Octets, or text with a binary or a decimal unit."""
        expected = {
            0: 0,
            10: 10,
            "64KiB": 65536,
            "256MiB": 268435456,
            "2 GiB": 2147483648,
            "1TiB": 1099511627776,
            "10MB": 10_000_000,
            "3kB": 3000,
            "5B": 5,
        }
        self.assertEqual({text: octets(text) for text in expected}, expected)

    def test_wrong_sizes(self) -> None:
        """Anything else, and what no disk holds."""
        self.assertRefused(
            octets, "", "64", "64K", "64Kib", "-1B", "1.5GiB", -1, 1.0, True, None, 2**63,
            "9" * 18 + "TiB", "\u0665B",
        )  # fmt: skip

    def test_addresses(self) -> None:
        """IPv4 and IPv6, but no zone, name or network."""
        for text in ("192.0.2.1", "2001:db8::1", "::"):
            self.assertEqual(network_address(text), ip_address(text))
        self.assertRefused(
            network_address, "", "fe80::1%eth0", "localhost", "192.0.2.0/24", 1, None, b"\0" * 4
        )

    def test_zone(self) -> None:
        """The reason names the zone, so that nobody looks for another fault."""
        error = self.assertRaises(ValueError, network_address, "fe80::1%eth0")
        self.assertIn("zone", str(error))

    def test_networks(self) -> None:
        """A network without bits behind its prefix; with such bits, the right one is named."""
        self.assertEqual(network("10.1.0.0/16"), ip_network("10.1.0.0/16"))
        self.assertEqual(network("fd00::/8"), ip_network("fd00::/8"))
        self.assertRefused(network, "10.1.0.0/33", "x", 1, "fe80::%1/64", "10.1.2.3/16")
        error = self.assertRaises(ValueError, network, "10.1.2.3/16")
        self.assertIn("10.1.0.0/16", str(error))

    def test_domains(self) -> None:
        """Any spelling of a domain; nothing else."""
        self.assertEqual(domain("MX.Example.Org"), parse_domain("mx.example.org"))
        self.assertRefused(domain, "", "mx example", "192.0.2.1", 1, None, "a..b")

    def test_plain_text(self) -> None:
        """Text without control characters."""
        self.assertEqual(plain_text("J\u00f6rg's mail"), "J\u00f6rg's mail")
        self.assertRefused(plain_text, "a\nb", "a\x1b", "a\x00", "a\u2028b", "\u202e")

    def test_mailboxes(self) -> None:
        """Levels stay as they are written; the Inbox has one spelling of ours."""
        for name in ("Inbox", "INBOX", "inbox"):
            self.assertEqual(mailbox(name), "Inbox")
        for name in ("Reports/DMARC", "a.b", "B\u00fccher", "Inbox2", " x", "x" * 199):
            self.assertEqual(mailbox(name), name)
        self.assertRefused(mailbox, "", " ", "/", "..", "a//b", "/a", "a.", "a\nb", "x" * 200,
                           "\u00fc" * 100)  # fmt: skip

    @settings(deadline=None, max_examples=100)
    @given(st.integers(0, 3), st.integers(0, 6), st.integers(0, 23), st.integers(0, 59))
    def test_all_units(self, weeks: int, days: int, hours: int, minutes: int) -> None:
        """Every combination of units means their sum."""
        self.assertEqual(
            duration(f"{weeks}w{days}d{hours}h{minutes}m1s"),
            timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=1),
        )
