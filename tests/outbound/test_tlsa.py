"""Which TLSA records count for a host."""

from __future__ import annotations

import itertools
from ipaddress import ip_address
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.dns.records import TLSA, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.outbound.lookups import is_bogus, told
from moxsmtp.outbound.next_hop import Located, NextHop
from moxsmtp.outbound.tls_policy import NO_DANE, Dane
from moxsmtp.outbound.tlsa import TLSALookups
from moxsmtp.testing import MemoryResolver

GOOD: Final = TLSA(3, 1, 1, 32 * b"x")
OTHER: Final = TLSA(2, 0, 1, 32 * b"y")
USELESS: Final = TLSA(1, 1, 1, 32 * b"x")

MX_HOST: Final = parse_domain("mx.example")
ADDRESS: Final = ip_address("192.0.2.1")

Zone = dict[tuple[str, RRType], Answer | LookupFailed]


def signed(*records: Record) -> Answer:
    """An answer that is authentic."""
    return Answer(records, authentic=True)


def by_mx(*, authentic: bool = True, first: bool = True) -> NextHop:
    """A domain that is an alias of real.example, with MX mx.example."""
    return NextHop(
        (MX_HOST,),
        recipient_domain=parse_domain("there.example"),
        expanded="real.example",
        has_mx=True,
        authentic=authentic,
        first_authentic=first,
    )


def by_itself(expanded: str, *, authentic: bool = True, first: bool = True) -> NextHop:
    """there.example, without MX, perhaps an alias."""
    return NextHop(
        (parse_domain(expanded),),
        recipient_domain=parse_domain("there.example"),
        expanded=expanded,
        authentic=authentic,
        first_authentic=first,
    )


def located(
    host: str = "mx.example", expanded: str = "", *, authentic: bool = True, first: bool = True
) -> Located:
    """A host with an address."""
    return Located(
        parse_domain(host),
        (ADDRESS,),
        expanded=expanded or host,
        authentic=authentic,
        first_authentic=first,
    )


class TLSATestCase(SynchronousTestCase):
    """Look-ups that are answered at once."""

    def find(self, zone: Zone, next_hop: NextHop, where: Located, port: int = 25) -> Dane:
        """What is found; C{self.asked} is what was asked."""
        dns = MemoryResolver({Question(*key): entry for key, entry in zone.items()})
        lookups = TLSALookups(resolver=dns, clock=Clock(), port=port)
        found = self.successResultOf(Deferred.fromCoroutine(lookups.find(next_hop, where)))
        self.asked = [question.name for question in dns.asked]
        self.steps = found.steps
        return found.dane


class AppliesTests(TLSATestCase):
    """When DANE is of account."""

    ZONE: Final[Zone] = {("_25._tcp.mx.example", RRType.TLSA): signed(GOOD)}

    def test_all_authentic(self) -> None:
        """Domain, MX and host authentic: the records count (Q-56)."""
        found = self.find(self.ZONE, by_mx(), located())
        self.assertEqual(
            (found.base, found.records, found.usable), ("mx.example", (GOOD,), (GOOD,))
        )

    def test_not_authentic(self) -> None:
        """Where domain, MX or host is not authentic, nothing is even asked (Q-56)."""
        for next_hop, where in (
            (by_mx(first=False, authentic=False), located()),
            (by_itself("mx.example", first=False, authentic=False), located()),
            (by_mx(authentic=False), located()),
            (by_mx(), located(first=False, authentic=False)),
        ):
            self.assertEqual(self.find(self.ZONE, next_hop, where), NO_DANE)
            self.assertEqual(self.asked, [])

    def test_literal(self) -> None:
        """An address has no DANE, whether it is the recipient's or the host's (Q-46, Q-56)."""
        literal = AddressLiteral(ADDRESS)
        where = Located(literal, (ADDRESS,), authentic=True, first_authentic=True)
        self.assertEqual(self.find(self.ZONE, NextHop((literal,)), where), NO_DANE)
        self.assertEqual(self.find(self.ZONE, by_mx(), where), NO_DANE)
        self.assertEqual(self.asked, [])

    def test_records_not_authentic(self) -> None:
        """Records that are not authentic are as good as none (Q-56)."""
        zone: Zone = {("_25._tcp.mx.example", RRType.TLSA): Answer((GOOD,))}
        self.assertEqual(self.find(zone, by_mx(), located()), NO_DANE)

    def test_none(self) -> None:
        """That there are none, or no such name: no DANE (Q-56)."""
        self.assertEqual(self.find({}, by_mx(), located()), NO_DANE)
        zone: Zone = {("_25._tcp.mx.example", RRType.TLSA): signed()}
        self.assertEqual(self.find(zone, by_mx(), located()), NO_DANE)

    def test_failure(self) -> None:
        """A look-up that fails is an error, never "no records" (Q-56, RFC 7672 section 2.1.2)."""
        zone: Zone = {("_25._tcp.mx.example", RRType.TLSA): LookupFailed("SERVFAIL")}
        found = self.find(zone, by_mx(), located())
        self.assertEqual((found.error, found.applies), ("SERVFAIL", False))
        self.assertEqual(self.steps, ("SERVFAIL",))

    def test_slow(self) -> None:
        """No answer in 30 s is an error as well."""

        @implementer(IResolver)
        class Silent:
            def lookup(self, question: Question) -> Deferred[Answer]:
                del question
                return Deferred()

        clock = Clock()
        lookups = TLSALookups(resolver=Silent(), clock=clock)
        finding = Deferred.fromCoroutine(lookups.find(by_mx(), located()))
        clock.advance(29.9)
        self.assertNoResult(finding)
        clock.advance(0.1)
        self.assertIn("no answer", self.successResultOf(finding).dane.error)

    def test_unusable(self) -> None:
        """Records of no use are there all the same, so that TLS is mandatory (Q-57)."""
        zone: Zone = {("_25._tcp.mx.example", RRType.TLSA): signed(USELESS)}
        found = self.find(zone, by_mx(), located())
        self.assertEqual((found.applies, found.usable), (True, ()))

    def test_port(self) -> None:
        """Records are of a port."""
        self.find({}, by_mx(), located(), port=2525)
        self.assertEqual(self.asked, ["_2525._tcp.mx.example"])

    def test_steps(self) -> None:
        """What was asked is told, long records cut."""
        zone: Zone = {("_25._tcp.mx.example", RRType.TLSA): signed(GOOD)}
        self.find(zone, by_mx(), located())
        self.assertEqual(
            self.steps, (f"TLSA of _25._tcp.mx.example: 3 1 1 {16 * '78'}... (authentic)",)
        )
        many = signed(*(TLSA(3, 1, 1, bytes([n]) * 32) for n in range(200)))
        line = told(Question("_25._tcp.mx.example", RRType.TLSA), many)
        self.assertLessEqual(len(line), 300)


class BaseTests(TLSATestCase):
    """The TLSA base domain, and the names of certificates.  RFC 7672 section 2.2."""

    def zone(self, *bases: str) -> Zone:
        """With records at these."""
        return {(f"_25._tcp.{base}", RRType.TLSA): signed(GOOD) for base in bases}

    def test_expanded(self) -> None:
        """A host that is an alias: the end of its CNAMEs, if they are authentic (Q-56)."""
        where = located(expanded="host.example")
        found = self.find(self.zone("host.example", "mx.example"), by_mx(), where)
        self.assertEqual(found.base, "host.example")
        self.assertEqual(self.asked, ["_25._tcp.host.example"])

    def test_fallback(self) -> None:
        """Without records there, the host's own name (Q-56)."""
        where = located(expanded="host.example")
        found = self.find(self.zone("mx.example"), by_mx(), where)
        self.assertEqual(found.base, "mx.example")
        self.assertEqual(self.asked, ["_25._tcp.host.example", "_25._tcp.mx.example"])

    def test_no_fallback_from_failure(self) -> None:
        """Where the first look-up fails, the second name does not help (Q-56)."""
        zone = self.zone("mx.example")
        zone["_25._tcp.host.example", RRType.TLSA] = LookupFailed("SERVFAIL")
        self.assertTrue(self.find(zone, by_mx(), located(expanded="host.example")).error)

    def test_expanded_not_authentic(self) -> None:
        """An alias that leads out of DNSSEC: only the host's own name (RFC 7672 section 2.2.2)."""
        where = located(expanded="host.example", authentic=False)
        found = self.find(self.zone("host.example", "mx.example"), by_mx(), where)
        self.assertEqual(found.base, "mx.example")
        self.assertEqual(self.asked, ["_25._tcp.mx.example"])

    def test_without_mx(self) -> None:
        """A domain without MX is its own base; as an alias, after the end of it (Q-56)."""
        found = self.find(
            self.zone("there.example"), by_itself("there.example"), located("there.example")
        )
        self.assertEqual((found.base, found.names), ("there.example", ("there.example",)))
        zone = self.zone("real.example", "there.example")
        where = located("real.example")
        found = self.find(zone, by_itself("real.example"), where)
        self.assertEqual(
            (found.base, found.names), ("real.example", ("real.example", "there.example"))
        )
        found = self.find(self.zone("there.example"), by_itself("real.example"), where)
        self.assertEqual(found.base, "there.example")

    def test_without_mx_not_authentic(self) -> None:
        """A signed domain that is an alias of an unsigned one: its own name only."""
        zone = self.zone("real.example", "there.example")
        next_hop = by_itself("real.example", authentic=False)
        where = located("real.example", authentic=False, first=False)
        found = self.find(zone, next_hop, where)
        self.assertEqual((found.base, found.names), ("there.example", ("there.example",)))

    def test_names_with_mx(self) -> None:
        """With MX: base, host, recipient domain, its expansion; the base is SNI (Q-58)."""
        found = self.find(self.zone("host.example"), by_mx(), located(expanded="host.example"))
        self.assertEqual(
            found.names, ("host.example", "mx.example", "there.example", "real.example")
        )

    def test_aliases(self) -> None:
        """The records may be behind CNAMEs, ten at most, each of them authentic (Q-56)."""
        for length, expected in ((10, (GOOD,)), (11, ())):
            names = ["_25._tcp.mx.example", *(f"n{n}.example" for n in range(1, length + 1))]
            zone: Zone = {
                (name, RRType.CNAME): signed(after) for name, after in itertools.pairwise(names)
            }
            zone[names[-1], RRType.TLSA] = signed(GOOD)
            found = self.find(zone, by_mx(), located())
            self.assertEqual(found.records, expected)
            self.assertEqual(bool(found.error), length > 10)
            zone[names[1], RRType.CNAME] = Answer((names[2],))
            self.assertEqual(self.find(zone, by_mx(), located()), NO_DANE)


class BogusTests(SynchronousTestCase):
    """Which failures are signatures that are wrong."""

    def test_words(self) -> None:
        """By RFC 8914's codes, as the resolver tells them."""
        expected = {
            "TLSA of x: SERVFAIL, 6 (DNSSEC Bogus): no signatures (127.0.0.1)": True,
            "A of x: SERVFAIL, 7 (Signature Expired) (127.0.0.1)": True,
            "A of x: SERVFAIL, 9 (DNSKEY Missing): y (127.0.0.1)": True,
            "A of x: SERVFAIL, 10 (Rrsigs Missing) (127.0.0.1)": True,
            "A of x: SERVFAIL, 22 (No Reachable Authority) (127.0.0.1)": False,
            "A of x: SERVFAIL (127.0.0.1)": False,
            "A of x: no answer within 5 s (127.0.0.6)": False,
            "": False,
        }
        self.assertEqual({text: is_bogus(text) for text in expected}, expected)
