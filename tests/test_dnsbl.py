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
from moxsmtp.dnsbl import (
    HEALTH_KEPT,
    LIMIT,
    TROUBLE_KEPT,
    Condition,
    Health,
    Listing,
    Lists,
    look_up,
)
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

    def test_clock_set_back(self) -> None:
        """Where the clock was set back by a day, it is not kept for longer, but looked at anew."""
        self.clock.advance(2 * 86_400)
        self.assertTrue(self.is_healthy())
        self.resolver.zone[OPPOSITE] = LISTED
        self.clock.rightNow -= 86_400
        self.assertFalse(self.is_healthy())

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


class ConditionTests(SynchronousTestCase):
    """What is told of a list's health."""

    def test_problem(self) -> None:
        """I-73: It is said what is wrong with a list, or why it could not be asked."""
        expected = {
            "right": Condition(healthy=True),
            "empty": Condition(healthy=False, problem="it does not list 127.0.0.2 as it should"),
            "all": Condition(healthy=False, problem="it lists 127.0.0.1, so perhaps everybody"),
            "away": Condition(healthy=True, problem="SERVFAIL"),
        }
        zones: dict[str, Zone] = {
            "right": {TEST: LISTED},
            "empty": {},
            "all": {TEST: LISTED, OPPOSITE: LISTED},
            "away": {OPPOSITE: LookupFailed("SERVFAIL")},
        }
        self.assertEqual(
            {
                title: self.successResultOf(
                    Deferred.fromCoroutine(Health(MemoryResolver(zone), Clock()).condition(ZONE))
                )
                for title, zone in zones.items()
            },
            expected,
        )


OTHER = parse_domain("other.example")


class SlowResolver(MemoryResolver):
    """Never answers for one name."""

    def __init__(self, zone: Zone, slow: str) -> None:
        super().__init__(zone)
        self.slow = slow
        self.cancelled = 0

    def lookup(self, question: Question) -> Deferred[Answer]:
        """Wait for ever, or answer at once."""
        if question.name != self.slow:
            return super().lookup(question)
        return Deferred(self._count)

    def _count(self, _: object) -> None:
        self.cancelled += 1


class ListsTests(SynchronousTestCase):
    """I-72: the lists of a listener."""

    def setUp(self) -> None:
        """Two lists in order, of which nobody is in either."""
        self.clock = Clock()
        self.zone: dict[Question, Sequence[Record] | Answer | LookupFailed] = {
            a(f"2.0.0.127.{zone}"): LISTED for zone in (ZONE, OTHER)
        }
        self.resolver = MemoryResolver(self.zone)

    def search(self, resolver: MemoryResolver | None = None) -> Deferred[tuple[Listing, ...]]:
        """Ask for an address."""
        lists = Lists(resolver or self.resolver, self.clock, (ZONE, OTHER))
        return Deferred.fromCoroutine(lists.search(ip_address("192.0.2.1")))

    def test_stops_at_first(self) -> None:
        """I-72: They are asked in order, and none after the first that holds the address."""
        self.resolver.zone[a(NAME)] = LISTED
        self.resolver.zone[txt(NAME)] = ("spam",)
        listing = Listing(ZONE, listed=True, explanation="spam")
        self.assertEqual(self.successResultOf(self.search()), (listing,))
        self.assertFalse(any("other" in one.name for one in self.resolver.asked))
        lists = Lists(self.resolver, self.clock, (ZONE, OTHER))
        first = Deferred.fromCoroutine(lists.first_listing(ip_address("192.0.2.1")))
        self.assertEqual(self.successResultOf(first), listing)

    def test_all(self) -> None:
        """I-72: A list that does not hold it, or fails, is no reason not to ask the next."""
        self.resolver.zone[a(NAME)] = LookupFailed("SERVFAIL")
        self.resolver.zone[a(NAME.replace("bl.", "other."))] = LISTED
        self.assertEqual(
            self.successResultOf(self.search()),
            (Listing(ZONE, listed=False, problem="SERVFAIL"), Listing(OTHER, listed=True)),
        )

    def test_nowhere(self) -> None:
        """I-72: Held by none, or with no lists, an address is not listed."""
        for zones in ((ZONE, OTHER), ()):
            lists = Lists(self.resolver, self.clock, zones)
            first = Deferred.fromCoroutine(lists.first_listing(ip_address("192.0.2.1")))
            self.assertIsNone(self.successResultOf(first))

    def test_unhealthy(self) -> None:
        """I-73: A list that is not healthy is skipped, whatever it says of the address."""
        self.resolver.zone[a("1.0.0.127.bl.example")] = LISTED
        self.resolver.zone[a(NAME)] = LISTED
        first, second = self.successResultOf(self.search())
        self.assertEqual(
            first,
            Listing(
                ZONE,
                listed=False,
                problem="not asked: it lists 127.0.0.1, so perhaps everybody",
            ),
        )
        self.assertEqual(second, Listing(OTHER, listed=False))
        self.assertNotIn(a(NAME), self.resolver.asked)

    def test_too_late(self) -> None:
        """I-2: A list has 30 seconds; then it says nothing, and the next is asked."""
        for slow in (NAME, "1.0.0.127.bl.example"):
            resolver = SlowResolver(self.zone, slow)
            searching = self.search(resolver)
            self.clock.advance(LIMIT - 1)
            self.assertNoResult(searching)
            self.clock.advance(1)
            self.assertEqual(
                self.successResultOf(searching),
                (
                    Listing(ZONE, listed=False, problem="not done within 30 s"),
                    Listing(OTHER, listed=False),
                ),
            )
            self.assertEqual(resolver.cancelled, 1)

    def test_cancelled(self) -> None:
        """Who gives up gives up the question, and asks no other list."""
        resolver = SlowResolver(self.zone, NAME)
        searching = self.search(resolver)
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertEqual((resolver.cancelled, self.clock.getDelayedCalls()), (1, []))
        self.assertFalse(any("other" in one.name for one in resolver.asked))

    def test_shared_health(self) -> None:
        """I-73: What one set of lists knows of their health, others need not ask for."""
        health = Health(self.resolver, self.clock)
        for _ in range(2):
            lists = Lists(self.resolver, self.clock, (ZONE,), health)
            self.successResultOf(Deferred.fromCoroutine(lists.search(ip_address("192.0.2.1"))))
        self.assertEqual(self.resolver.asked.count(TEST), 1)
