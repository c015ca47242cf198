"""From which addresses connections are made."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import parse_domain
from moxsmtp.outbound.sources import ANY_SOURCE, Sources, sources_behind, sources_of
from moxsmtp.outbound.transport import Socks


def of(*listening: str) -> Sources:
    """Who listens at these."""
    return sources_of(map(ip_address, listening))


class SourcesTests(SynchronousTestCase):
    """Q-50."""

    def test_one_of_each(self) -> None:
        """The address that listens, of the family that is connected to (Q-50)."""
        found = of("192.0.2.1", "2001:db8::1")
        self.assertEqual(found.towards(ip_address("198.51.100.1")), ip_address("192.0.2.1"))
        self.assertEqual(found.towards(ip_address("2001:db8:1::")), ip_address("2001:db8::1"))

    def test_one_family(self) -> None:
        """Of the other family the system chooses (Q-50)."""
        found = of("2001:db8::1")
        self.assertIs(found.towards(ip_address("198.51.100.1")), None)
        self.assertEqual(found.towards(ip_address("2001:db8:1::")), ip_address("2001:db8::1"))

    def test_several(self) -> None:
        """With two of one family the system chooses for both; the same twice is one (Q-50)."""
        self.assertEqual(of("192.0.2.1", "192.0.2.2", "2001:db8::1"), ANY_SOURCE)
        self.assertEqual(of("192.0.2.1", "192.0.2.1"), Sources(ip_address("192.0.2.1")))

    def test_unspecified(self) -> None:
        """An unspecified address leaves it to the system, of both families (Q-50)."""
        for everywhere in ("0.0.0.0", "::"):
            self.assertEqual(of("192.0.2.1", everywhere), ANY_SOURCE)

    def test_loopback(self) -> None:
        """The loopback is no source: it reaches nobody outside."""
        self.assertEqual(of("127.0.0.1", "::1"), ANY_SOURCE)
        self.assertEqual(of("127.0.0.1", "192.0.2.1"), Sources(ip_address("192.0.2.1")))
        self.assertEqual(of(), ANY_SOURCE)

    def test_behind(self) -> None:
        """A proxy's addresses are told where it has one of a family, and no other choice (Q-43)."""
        proxy = Socks("proxy", parse_domain("proxy.example"), 1080, parse_domain("mx.example"))
        one, two, six = map(ip_address, ("192.0.2.1", "192.0.2.2", "2001:db8::1"))
        self.assertEqual(sources_behind(proxy), ANY_SOURCE)
        self.assertEqual(sources_behind(replace(proxy, ipv4=(one,))), Sources(one))
        several = replace(proxy, ipv4=(one, two), ipv6=(six,))
        self.assertEqual(sources_behind(several), Sources(None, six))
