"""Tests for L{moxsmtp.judge.limits}."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.judge.limits import (
    AUTHENTICATION,
    CONNECTIONS,
    OPEN,
    ConcurrencyLimiter,
    RateLimiter,
    Window,
    is_within,
    network_classes,
)

MINUTE = Window(timedelta(minutes=1), (2, 3, 4))
ONE = ip_address("192.0.2.1")


class ClassTests(SynchronousTestCase):
    """Which networks an address counts for."""

    def test_ipv4(self) -> None:
        """IPv4 counts for /32, /26 and /21 (S-12)."""
        known = network_classes(IPv4Address("10.0.7.63"))
        shared = {
            other: [
                one == two
                for one, two in zip(known, network_classes(ip_address(other)), strict=True)
            ]
            for other in ("10.0.7.63", "10.0.7.62", "10.0.7.64", "10.0.0.1", "10.0.8.0", "::1")
        }
        self.assertEqual(
            {
                "10.0.7.63": [True, True, True],
                "10.0.7.62": [False, True, True],
                "10.0.7.64": [False, False, True],
                "10.0.0.1": [False, False, True],
                "10.0.8.0": [False, False, False],
                "::1": [False, False, False],
            },
            shared,
        )

    def test_ipv6(self) -> None:
        """IPv6 counts for /64, /48 and /32 (S-12)."""
        known = network_classes(IPv6Address("2001:db8:1:2::3"))
        shared = {
            other: [
                one == two
                for one, two in zip(known, network_classes(ip_address(other)), strict=True)
            ]
            for other in ("2001:db8:1:2::4", "2001:db8:1:3::3", "2001:db8:2::", "2001:db9::")
        }
        self.assertEqual(
            {
                "2001:db8:1:2::4": [True, True, True],
                "2001:db8:1:3::3": [False, True, True],
                "2001:db8:2::": [False, False, True],
                "2001:db9::": [False, False, False],
            },
            shared,
        )

    def test_within(self) -> None:
        """An address is in a network of its own version only."""
        networks = [ip_network("192.0.2.0/24"), ip_network("::/0")]
        self.assertEqual(
            [True, False, True],
            [is_within(ip_address(each), networks) for each in ("192.0.2.9", "10.0.0.1", "::1")],
        )


class RateTests(SynchronousTestCase):
    """What happened in a window."""

    def test_each_class(self) -> None:
        """The narrowest class is full first, then the ones around it (S-12)."""
        limiter = RateLimiter([MINUTE])
        added = [
            limiter.add(ip_address(each), 60)
            for each in (
                "192.0.2.1", "192.0.2.1", "192.0.2.1",
                "192.0.2.2", "192.0.2.3",
                "192.0.2.100", "192.0.2.101",
            )
        ]  # fmt: skip
        self.assertEqual([True, True, False, True, False, True, False], added)

    def test_all_or_nothing(self) -> None:
        """What one class has no room for is counted in none, nor in another window (S-12)."""
        day = Window(timedelta(days=1), (3, 9, 9))
        limiter = RateLimiter([MINUTE, day])
        for _ in range(9):
            limiter.add(ONE, 60)
        # Two were counted, so the day has room for one more.
        self.assertEqual([True, False], [limiter.add(ONE, 120) for _ in range(2)])

    def test_aligned(self) -> None:
        """Counts end at multiples of the period, not a period after they began (S-12)."""
        limiter = RateLimiter([MINUTE])
        self.assertEqual([True, True, False], [limiter.add(ONE, 119.9) for _ in range(3)])
        self.assertTrue(limiter.add(ONE, 120))

    def test_clock_back(self) -> None:
        """A clock that is set back begins anew, too."""
        limiter = RateLimiter([MINUTE])
        limiter.add(ONE, 6000, count=2)
        self.assertTrue(limiter.add(ONE, 60))

    def test_room(self) -> None:
        """Asking counts nothing."""
        limiter = RateLimiter([MINUTE])
        asked = [limiter.has_room(ONE, 60, count) for count in (1, 2, 3)]
        self.assertEqual([True, True, False], asked)
        self.assertTrue(limiter.add(ONE, 60, count=2))
        self.assertFalse(limiter.has_room(ONE, 60))

    def test_forgiven(self) -> None:
        """A success takes an address' own count from all classes, not its neighbours' (S-12)."""
        limiter = RateLimiter([MINUTE])
        limiter.add(ONE, 60)
        limiter.add(ip_address("192.0.2.2"), 60, count=2)
        self.assertFalse(limiter.has_room(ip_address("192.0.2.3"), 60))
        limiter.forgive(ONE, 60)
        self.assertTrue(limiter.has_room(ip_address("192.0.2.3"), 60))
        self.assertFalse(limiter.has_room(ip_address("192.0.2.2"), 60))

    def test_limits(self) -> None:
        """New connections, open ones and failed log-ins have mox's limits (S-12)."""
        self.assertEqual(
            [
                [(timedelta(minutes=1), (300, 900, 2700))],
                [(timedelta(minutes=1), (10, 30, 90)), (timedelta(days=1), (50, 150, 450))],
                (30, 90, 270),
            ],
            [
                [(each.period, each.limits) for each in CONNECTIONS],
                [(each.period, each.limits) for each in AUTHENTICATION],
                OPEN,
            ],
        )

    @given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 3)), max_size=60))
    @settings(deadline=None, max_examples=50)
    def test_never_above(self, adds: list[tuple[int, int]]) -> None:
        """Whatever comes, no class has more than its limit (S-12)."""
        limiter = RateLimiter([MINUTE])
        counted: dict[tuple[int, int, int], int] = {}
        for last, count in adds:
            address = ip_address(f"192.0.2.{last}")
            if limiter.add(address, 60, count):
                for network in network_classes(address):
                    counted[network] = counted.get(network, 0) + count
        for (_, kind, _), count in counted.items():
            self.assertLessEqual(count, MINUTE.limits[kind])


class ConcurrencyTests(SynchronousTestCase):
    """What goes on at once."""

    def test_released(self) -> None:
        """What has ended makes room; what was refused took none (S-12)."""
        limiter = ConcurrencyLimiter((1, 2, 2))
        two, three = ip_address("192.0.2.2"), ip_address("192.0.2.3")
        self.assertEqual(
            [True, False, True, False],
            [limiter.acquire(each) for each in (ONE, ONE, two, three)],
        )
        limiter.release(ONE)
        self.assertEqual([True, False], [limiter.acquire(each) for each in (three, ONE)])

    def test_nothing_left(self) -> None:
        """Nothing is remembered of what has ended."""
        limiter = ConcurrencyLimiter(OPEN)
        limiter.acquire(ONE)
        limiter.release(ONE)
        self.assertEqual({}, limiter._counts)
