"""Tests for L{moxsmtp.worker.affinity}."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.judge.limits import network_classes
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.worker.affinity import Affinity, in_order

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def relay(name: str, *networks: str) -> RelaySettings:
    """With these networks."""
    return RelaySettings(name=name, networks=tuple(map(ip_network, networks)))


class KeyTests(SynchronousTestCase):
    """Who has to meet the same worker."""

    @settings(max_examples=200, deadline=None)
    @given(ADDRESSES, ADDRESSES)
    def test_networks(
        self, one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address
    ) -> None:
        """Two clients that a limit counts together have one key (S-12)."""
        affinity = Affinity((), ())
        share = set(network_classes(one)) & set(network_classes(other))
        self.assertEqual(affinity.key(one) == affinity.key(other), bool(share))

    def test_neighbours(self) -> None:
        """The widest networks that are counted are a /21 and a /32 (S-12)."""
        affinity = Affinity((), ())
        keys = {text: affinity.key(ip_address(text)) for text in (
            "192.0.0.0", "192.0.7.255", "192.0.8.0", "2001:db8::", "2001:db8:ffff::1", "2001:db9::",
        )}  # fmt: skip
        self.assertEqual(keys["192.0.0.0"], keys["192.0.7.255"])
        self.assertEqual(keys["2001:db8::"], keys["2001:db8:ffff::1"])
        self.assertEqual(len(set(keys.values())), 4)

    def test_exempt(self) -> None:
        """Who is never limited goes to any worker (S-12)."""
        affinity = Affinity((IPv4Network("10.0.0.0/8"),), ())
        self.assertEqual(affinity.key(ip_address("10.1.2.3")), "")
        self.assertNotEqual(affinity.key(ip_address("11.1.2.3")), "")

    def test_relay(self) -> None:
        """All machines of a relay meet one worker, which counts its messages, exempt or not."""
        affinity = Affinity(
            (IPv4Network("10.0.0.0/8"),),
            (relay("a", "10.1.0.0/16", "192.0.2.0/24"), relay("b", "10.2.0.0/16")),
        )
        keys = [affinity.key(ip_address(text)) for text in ("10.1.0.1", "192.0.2.1", "10.2.0.1")]
        self.assertEqual(keys[0], keys[1])
        self.assertEqual(len({*keys, ""}), 3)

    def test_relays_that_overlap(self) -> None:
        """
        Where a client may be of several relays, whose it is only its mail says: they are
        one, those included that only the last one joins.
        """
        apart = relay("a", "10.1.0.0/16"), relay("b", "10.2.0.0/16"), relay("c", "2001:db8::/32")
        joining = relay("d", "10.1.7.0/24", "10.2.7.0/24")
        addresses = [ip_address("10.1.0.1"), ip_address("10.2.0.1"), ip_address("2001:db8::1")]
        before = {Affinity((), apart).key(each) for each in addresses}
        after = {Affinity((), (*apart, joining)).key(each) for each in addresses}
        self.assertEqual((len(before), len(after)), (3, 2))

    def test_proxies(self) -> None:
        """
        Of proxies of one network it is not known yet who comes: they stay together,
        whatever they are themselves.
        """
        affinity = Affinity((IPv4Network("10.0.0.0/8"),), (relay("a", "10.1.0.0/16"),))
        proxies = (IPv4Network("10.1.0.0/16"), IPv6Network("2001:db8::/64"))
        keys = {affinity.key(ip_address(text), proxies) for text in ("10.1.0.1", "10.1.9.9")}
        self.assertEqual(keys, {"proxy 10.1.0.0/16"})
        self.assertEqual(affinity.key(ip_address("10.9.0.1"), proxies), "")


class OrderTests(SynchronousTestCase):
    """Which worker that is."""

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=40), st.integers(1, 64))
    def test_all(self, key: str, workers: int) -> None:
        """Each worker once, and always in the same order."""
        order = in_order(key, workers)
        self.assertEqual(sorted(order), list(range(workers)))
        self.assertEqual(order, in_order(key, workers))

    def test_known(self) -> None:
        """The same in every process and run: no seed is in it."""
        self.assertEqual(in_order("network 4 393216", 3), [1, 2, 0])

    def test_spread(self) -> None:
        """Networks are spread over all workers."""
        affinity = Affinity((), ())
        found = Counter(
            in_order(affinity.key(IPv4Address(number << 11)), 4)[0] for number in range(4000)
        )
        self.assertEqual(set(found), {0, 1, 2, 3})
        self.assertGreater(min(found.values()), 700)
