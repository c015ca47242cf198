"""Lists of addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.dnsbl import HEALTH_KEPT, TROUBLE_KEPT, Health, Listing, look_up
from moxsmtp.names import parse_domain
from moxsmtp.testing import MemoryResolver
from tests.dmarc.zones import FAILED, SilentResolver

ZONE = parse_domain("bl.example")
NAME = "1.2.0.192.bl.example"
NAME6 = f"1.{'0.' * 23}8.b.d.0.1.0.0.2.bl.example"

Zone = Mapping[Question, Sequence[Record] | Answer | LookupFailed]


def a(name: str) -> Question:
    """For IPv4 addresses."""
    return Question(name, RRType.A)


def txt(name: str) -> Question:
    """For text."""
    return Question(name, RRType.TXT)


class LookUpTests(SynchronousTestCase):
    """I-72: one address in one list."""

    def look_up(self, zone: Zone, address: str = "192.0.2.1") -> Listing:
        """With a DNS that is C{zone}."""
        return self.successResultOf(
            Deferred.fromCoroutine(look_up(MemoryResolver(zone), ZONE, ip_address(address)))
        )

    def test_names(self) -> None:
        """I-72: An IPv4 address is asked for by octets, an IPv6 address by nibbles, reversed."""
        found = {}
        for address in ("192.0.2.99", "2001:db8:1:2:3:4:567:89ab", "fe80::1%eth0"):
            resolver = MemoryResolver()
            self.successResultOf(
                Deferred.fromCoroutine(look_up(resolver, ZONE, ip_address(address)))
            )
            found[address] = resolver.asked
        self.assertEqual(
            found,
            {  # the first two are the examples of RFC 5782 sections 2.1 and 2.4
                "192.0.2.99": [a("99.2.0.192.bl.example")],
                "2001:db8:1:2:3:4:567:89ab": [
                    a("b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example")
                ],
                "fe80::1%eth0": [a(f"1.{'0.' * 28}8.e.f.bl.example")],
            },
        )

    def test_listed(self) -> None:
        """I-72: Any address in the answer means listed, also one outside of 127.0.0.0/8."""
        for answer in ("127.0.0.2", "127.0.0.255", "192.0.2.80"):
            self.assertEqual(self.look_up({a(NAME): (answer,)}), Listing(ZONE, listed=True))
        self.assertEqual(
            self.look_up({a(NAME6): ("127.0.0.2",)}, "2001:db8::1"), Listing(ZONE, listed=True)
        )

    def test_not_listed(self) -> None:
        """I-72: What is not found is not listed, and no text is asked for."""
        for zone in ({}, {a(NAME): ()}, {txt(NAME): ("why",)}):
            resolver = MemoryResolver(zone)
            listing = self.successResultOf(
                Deferred.fromCoroutine(look_up(resolver, ZONE, ip_address("192.0.2.1")))
            )
            self.assertEqual((listing, resolver.asked), (Listing(ZONE, listed=False), [a(NAME)]))

    def test_failure(self) -> None:
        """I-72: A DNS that fails is not listed, and is told."""
        self.assertEqual(
            self.look_up({a(NAME): LookupFailed("SERVFAIL\r\n")}),
            Listing(ZONE, listed=False, problem="SERVFAIL??"),
        )
        self.assertEqual(
            self.look_up({a(NAME): LookupFailed()}),
            Listing(ZONE, listed=False, problem="the look-up failed"),
        )

    def test_explanation(self) -> None:
        """I-72: The text of the first TXT record is kept, printable and not too long."""
        texts: dict[tuple[str | bytes, ...], str] = {
            (): "",
            ("see https://bl.example/?192.0.2.1", "more"): "see https://bl.example/?192.0.2.1",
            (b"spam\r\n\x1b[31m\xff\x00 end",): "spam???[31m?? end",
            ("x" * 255,): "x" * 255,
            ("x" * 256,): "x" * 252 + "...",
            (b"y" * 65535,): "y" * 252 + "...",
        }
        self.assertEqual(
            {
                text: self.look_up({a(NAME): ("127.0.0.2",), txt(NAME): text}).explanation
                for text in texts
            },
            texts,
        )

    def test_no_explanation(self) -> None:
        """Without its text an address is as listed as with it."""
        self.assertEqual(
            self.look_up({a(NAME): ("127.0.0.2",), txt(NAME): FAILED}), Listing(ZONE, listed=True)
        )

    def test_cancelled(self) -> None:
        """Whoever cancels the look-up cancels its question."""
        resolver = SilentResolver()
        asking = Deferred.fromCoroutine(look_up(resolver, ZONE, ip_address("192.0.2.1")))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(resolver.cancelled, [a(NAME)])

    @settings(max_examples=60, deadline=None)
    @given(st.ip_addresses(), st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=3))
    def test_anything(self, address: object, texts: list[str | bytes]) -> None:
        """Every address can be asked for, and every text is made harmless."""
        resolver = MemoryResolver()
        ip = ip_address(str(address))
        self.successResultOf(Deferred.fromCoroutine(look_up(resolver, ZONE, ip)))
        question = resolver.asked[0]
        self.assertEqual(f"{question.name.removesuffix('.bl.example')}.".count("."),
                         4 if ip.version == 4 else 32)  # fmt: skip
        listing = self.look_up({question: ("127.0.0.2",), txt(question.name): texts}, str(ip))
        self.assertTrue(listing.listed)
        self.assertTrue(listing.explanation.isascii() and len(listing.explanation) <= 255)
        self.assertTrue(all(" " <= one <= "~" for one in listing.explanation))


TEST = a("2.0.0.127.bl.example")
OPPOSITE = a("1.0.0.127.bl.example")
TEST6 = a(f"2.0.0.0.0.0.f.7.f.f.f.f.{'0.' * 20}bl.example")
OPPOSITE6 = a(f"1.0.0.0.0.0.f.7.f.f.f.f.{'0.' * 20}bl.example")
LISTED = ("127.0.0.2",)


class HealthTests(SynchronousTestCase):
    """I-73: lists that can be believed."""

    def setUp(self) -> None:
        """A list at midnight."""
        self.clock = Clock()
        self.resolver = MemoryResolver({TEST: LISTED})
        self.health = Health(self.resolver, self.clock)

    def is_healthy(self) -> bool:
        """What is said of the list at present."""
        return self.successResultOf(Deferred.fromCoroutine(self.health.is_healthy(ZONE)))

    def test_test_entries(self) -> None:
        """
        I-73: 127.0.0.2 has to be listed, and 127.0.0.1 must not be; a list of IPv6
        alone has its own test entries (RFC 5782 section 5).
        """
        cases: dict[str, tuple[dict[Question, tuple[str, ...]], bool]] = {
            "right": ({TEST: LISTED}, True),
            "empty": ({}, False),
            "lists everything": ({TEST: LISTED, OPPOSITE: LISTED}, False),
            "the wrong way round": ({OPPOSITE: LISTED}, False),
            "of both kinds": ({TEST: LISTED, TEST6: LISTED}, True),
            "of IPv6": ({TEST6: LISTED}, True),
            "of all IPv6": ({TEST6: LISTED, OPPOSITE6: LISTED}, False),
        }
        found = {}
        for title, (zone, _) in cases.items():
            health = Health(MemoryResolver(zone), self.clock)
            found[title] = self.successResultOf(Deferred.fromCoroutine(health.is_healthy(ZONE)))
        self.assertEqual(found, {title: expected for title, (_, expected) in cases.items()})

    def test_kept(self) -> None:
        """I-73: What was found is kept for four hours, good or bad, for each list by itself."""
        self.assertTrue(self.is_healthy())
        self.resolver.zone[OPPOSITE] = LISTED
        self.clock.advance(HEALTH_KEPT - 1)
        self.assertTrue(self.is_healthy())
        other = Deferred.fromCoroutine(self.health.is_healthy(parse_domain("other.example")))
        self.assertFalse(self.successResultOf(other))
        self.clock.advance(1)
        self.assertFalse(self.is_healthy())
        del self.resolver.zone[OPPOSITE]
        self.clock.advance(HEALTH_KEPT - 1)
        self.assertFalse(self.is_healthy())
        self.clock.advance(1)
        self.assertTrue(self.is_healthy())
        self.assertEqual(HEALTH_KEPT, 4 * 60 * 60)

    def test_asked_once(self) -> None:
        """While it is known, nothing is asked."""
        self.is_healthy()
        number = len(self.resolver.asked)
        self.is_healthy()
        self.assertEqual(len(self.resolver.asked), number)

    def test_failure(self) -> None:
        """I-73: A check that fails counts as healthy, and is repeated before long."""
        for question in (TEST, OPPOSITE):
            resolver = MemoryResolver({question: FAILED})
            self.health = Health(resolver, self.clock)
            self.assertTrue(self.is_healthy())
            del resolver.zone[question]
            self.clock.advance(TROUBLE_KEPT - 1)
            self.assertTrue(self.is_healthy())
            self.clock.advance(1)
            self.assertFalse(self.is_healthy())

    def test_cancelled(self) -> None:
        """A check that was cancelled leaves nothing behind: the next one asks again."""
        resolver = SilentResolver()
        health = Health(resolver, self.clock)
        for _ in range(2):
            checking = Deferred.fromCoroutine(health.is_healthy(ZONE))
            self.assertNoResult(checking)
            checking.cancel()
            self.failureResultOf(checking, CancelledError)
        self.assertEqual(resolver.cancelled, [OPPOSITE, OPPOSITE])
