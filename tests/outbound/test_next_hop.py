"""Where a domain's mail goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import AddressLiteral, Host, parse_domain
from moxsmtp.outbound.next_hop import FixedRoute, Located, NextHop, NextHops, in_order
from moxsmtp.outbound.transport import Families
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.testing import MemoryResolver

Zone = dict[tuple[str, RRType], tuple[Record, ...] | Answer | LookupFailed]
DESTINATION = parse_domain("there.example")


def resolver(zone: Zone) -> MemoryResolver:
    """A DNS that knows C{zone}."""
    return MemoryResolver({Question(*key): entry for key, entry in zone.items()})


def die(seed: int) -> Callable[[int], int]:
    """Numbers that fall the same for the same seed."""
    state = seed

    def below(bound: int) -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (state >> 31) % bound

    return below


class NextHopTestCase(SynchronousTestCase):
    """Look-ups that are answered at once."""

    def hops(self, dns: IResolver, seed: int = 1) -> NextHops:
        """With a die of this seed."""
        return NextHops(resolver=dns, clock=Clock(), randbelow=die(seed))

    def hosts(self, zone: Zone, destination: Host = DESTINATION, seed: int = 1) -> object:
        """The names of the hosts, or why there are none."""
        found = self.successResultOf(
            Deferred.fromCoroutine(self.hops(resolver(zone), seed).hosts(destination))
        )
        if isinstance(found, NextHop):
            return [host.ascii for host in found.hosts]
        return found.permanent, found.status


class HostTests(NextHopTestCase):
    """From a domain to hosts."""

    def test_literal(self) -> None:
        """An address literal is its own next hop, and the DNS is not asked (Q-46)."""
        dns = resolver({})
        literal = AddressLiteral(ip_address("192.0.2.1"))
        hops = self.hops(dns)
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(hops.hosts(literal))), NextHop((literal,))
        )
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(hops.addresses(literal))),
            Located(literal, (literal.address,)),
        )
        self.assertEqual(dns.asked, [])

    def test_preference(self) -> None:
        """Hosts come by preference, the lowest first; a host named twice comes once (Q-47)."""
        records = (
            MX(20, "b.example"),
            MX(10, "C.example"),
            MX(30, "a.example"),
            MX(30, "c.example"),
        )
        self.assertEqual(
            self.hosts({("there.example", RRType.MX): records}),
            ["c.example", "b.example", "a.example"],
        )

    def test_shuffled(self) -> None:
        """Hosts of equal preference come in any order, but behind better ones (Q-47)."""
        records = (MX(5, "a.example"), *(MX(10, f"{name}.example") for name in "bcd"))
        zone: Zone = {("there.example", RRType.MX): records}
        orders = {str(self.hosts(zone, seed=seed)) for seed in range(100)}
        self.assertEqual(len(orders), 6)
        self.assertTrue(all(order.startswith("['a.example'") for order in orders))

    def test_implicit(self) -> None:
        """A domain without MX is its own host (Q-47, RFC 5321 section 5.1)."""
        self.assertEqual(
            self.hosts({("there.example", RRType.A): ("192.0.2.1",)}), ["there.example"]
        )

    def test_null(self) -> None:
        """A single MX of root refuses all mail for good: 5.1.10 (Q-47, RFC 7505)."""
        self.assertEqual(self.hosts({("there.example", RRType.MX): (MX(0, ""),)}), (True, "1.10"))

    def test_no_such_domain(self) -> None:
        """A domain that does not exist fails for good: 5.1.2 (Q-47)."""
        self.assertEqual(self.hosts({}), (True, "1.2"))

    def test_invalid_names(self) -> None:
        """Names that are none are dropped while valid ones remain (Q-47)."""
        bad = (MX(1, ""), MX(2, "192.0.2.1"), MX(3, "a_b.example"), MX(4, r"a\.b.example"))
        good = (*bad, MX(5, "mx.example"))
        self.assertEqual(self.hosts({("there.example", RRType.MX): good}), ["mx.example"])
        self.assertEqual(self.hosts({("there.example", RRType.MX): bad}), (False, "4.4"))

    def test_many(self) -> None:
        """Of thousands of hosts a few are tried."""
        records = tuple(MX(n, f"mx{n}.example") for n in range(2000))
        self.assertEqual(
            self.hosts({("there.example", RRType.MX): records}),
            [f"mx{n}.example" for n in range(16)],
        )

    def test_aliases(self) -> None:
        """CNAMEs of the domain are followed, one look-up each, and then MX is asked for (Q-47)."""
        zone: Zone = {
            ("there.example", RRType.CNAME): ("b.example",),
            ("b.example", RRType.CNAME): ("c.example",),
            ("c.example", RRType.MX): (MX(10, "mx.example"),),
        }
        dns = resolver(zone)
        self.successResultOf(Deferred.fromCoroutine(self.hops(dns).hosts(DESTINATION)))
        self.assertEqual(
            [(q.name, q.type) for q in dns.asked],
            [
                ("there.example", RRType.CNAME),
                ("b.example", RRType.CNAME),
                ("c.example", RRType.CNAME),
                ("c.example", RRType.MX),
            ],
        )
        self.assertEqual(self.hosts(zone), ["mx.example"])

    def test_alias_without_mx(self) -> None:
        """The implicit host is the end of the aliases (Q-47)."""
        zone: Zone = {
            ("there.example", RRType.CNAME): ("b.example",),
            ("b.example", RRType.A): ("192.0.2.1",),
        }
        self.assertEqual(self.hosts(zone), ["b.example"])

    def test_alias_to_nothing(self) -> None:
        """An alias of a name that does not exist leads nowhere, for good."""
        self.assertEqual(
            self.hosts({("there.example", RRType.CNAME): ("gone.other",)}), (True, "1.2")
        )

    def test_alias_chains(self) -> None:
        """A loop, or more than 16 look-ups, is transient (Q-47)."""
        self.assertEqual(
            self.hosts({("there.example", RRType.CNAME): ("there.example",)}), (False, "4.3")
        )
        for length, expected in ((15, ["n15.example"]), (16, (False, "4.3"))):
            zone: Zone = {
                (f"n{n}.example", RRType.CNAME): (f"n{n + 1}.example",) for n in range(length)
            }
            zone[f"n{length}.example", RRType.A] = ("192.0.2.1",)
            self.assertEqual(self.hosts(zone, parse_domain("n0.example")), expected)

    def test_failures(self) -> None:
        """A DNS that fails is transient, at whatever look-up (Q-47)."""
        for type_ in (RRType.CNAME, RRType.MX):
            self.assertEqual(
                self.hosts({("there.example", type_): LookupFailed("SERVFAIL")}), (False, "4.3")
            )

    def test_slow(self) -> None:
        """A look-up that takes 30 s is given up (Q-47)."""
        cancelled: list[object] = []

        @implementer(IResolver)
        class Silent:
            def lookup(self, question: Question) -> Deferred[Answer]:
                del question
                return Deferred(cancelled.append)

        clock = Clock()
        hops = NextHops(resolver=Silent(), clock=clock, randbelow=lambda _: 0)
        finding = Deferred.fromCoroutine(hops.hosts(DESTINATION))
        clock.advance(29.9)
        self.assertNoResult(finding)
        clock.advance(0.1)
        found = self.successResultOf(finding)
        assert isinstance(found, Unreachable)
        self.assertFalse(found.permanent)
        self.assertEqual(len(cancelled), 1)


def signed(*records: Record, exists: bool = True) -> Answer:
    """An answer that is authentic."""
    return Answer(records, authentic=True, exists=exists)


def mail_zone(*unsigned: str) -> Zone:
    """
    A domain that is an alias, with MX whose host is one too; authentic but for
    the look-ups that are named.
    """
    zone: dict[tuple[str, RRType], Answer] = {
        ("there.example", RRType.CNAME): signed("real.example"),
        ("real.example", RRType.CNAME): signed(),
        ("real.example", RRType.MX): signed(MX(10, "mx.example")),
        ("mx.example", RRType.CNAME): signed("host.example"),
        ("host.example", RRType.CNAME): signed(),
        ("host.example", RRType.A): signed("192.0.2.1"),
        ("host.example", RRType.AAAA): signed(),
    }
    for name in unsigned:
        owner, type_ = name.split("/")
        key = owner, RRType(type_)
        zone[key] = replace(zone[key], authentic=False)
    return {**zone}


class AuthenticTests(NextHopTestCase):
    """What DNSSEC says of the way to a host."""

    def next_hop(self, *unsigned: str) -> NextHop:
        """Of there.example."""
        found = self.successResultOf(
            Deferred.fromCoroutine(self.hops(resolver(mail_zone(*unsigned))).hosts(DESTINATION))
        )
        assert isinstance(found, NextHop)
        return found

    def located(self, *unsigned: str) -> Located:
        """Where mx.example is."""
        found = self.successResultOf(
            Deferred.fromCoroutine(
                self.hops(resolver(mail_zone(*unsigned))).addresses(parse_domain("mx.example"))
            )
        )
        assert isinstance(found, Located)
        return found

    def test_domain(self) -> None:
        """
        The first answer and the whole chain are authentic each by itself; one
        that is not spoils the whole, the first alone spoils the first (Q-48).
        """
        expected = {
            (): (True, True),
            ("there.example/CNAME",): (False, False),
            ("real.example/CNAME",): (True, False),
            ("real.example/MX",): (True, False),
        }
        for unsigned, states in expected.items():
            found = self.next_hop(*unsigned)
            self.assertEqual((found.first_authentic, found.authentic), states, unsigned)

    def test_what_is_known(self) -> None:
        """Whose mail it is, where its CNAMEs end, and whether it has MX."""
        found = self.next_hop()
        self.assertEqual(
            (found.recipient_domain, found.expanded, found.has_mx),
            (DESTINATION, "real.example", True),
        )

    def test_host(self) -> None:
        """The same of a host, its addresses included (Q-48, Q-49)."""
        expected = {
            (): (True, True),
            ("mx.example/CNAME",): (False, False),
            ("host.example/CNAME",): (True, False),
            ("host.example/A",): (True, False),
            ("host.example/AAAA",): (True, False),
        }
        for unsigned, states in expected.items():
            found = self.located(*unsigned)
            self.assertEqual((found.first_authentic, found.authentic), states, unsigned)
            self.assertEqual(found.expanded, "host.example")

    def test_host_without_alias(self) -> None:
        """Of a host without CNAME the first answer is its addresses."""
        for authentic in (True, False):
            zone: Zone = {
                ("mx.example", RRType.CNAME): signed(),
                ("mx.example", RRType.A): Answer(("192.0.2.1",), authentic=authentic),
                ("mx.example", RRType.AAAA): signed(),
            }
            found = self.successResultOf(
                Deferred.fromCoroutine(
                    self.hops(resolver(zone)).addresses(parse_domain("mx.example"))
                )
            )
            assert isinstance(found, Located)
            self.assertEqual(
                (found.first_authentic, found.authentic, found.expanded),
                (authentic, authentic, "mx.example"),
            )

    def test_steps(self) -> None:
        """What was asked is told, with what DNSSEC says of it; a line is never long."""
        self.assertEqual(
            self.next_hop("real.example/MX").steps,
            (
                "CNAME of there.example: real.example (authentic)",
                "CNAME of real.example: none (authentic)",
                "MX of real.example: 10 mx.example (not authentic)",
            ),
        )
        self.assertEqual(self.located().steps[-2], "A of host.example: 192.0.2.1 (authentic)")
        zone: Zone = {
            ("there.example", RRType.MX): tuple(MX(n, f"mx{n:060}.example") for n in range(20))
        }
        found = self.successResultOf(
            Deferred.fromCoroutine(self.hops(resolver(zone)).hosts(DESTINATION))
        )
        assert isinstance(found, NextHop)
        self.assertTrue(all(len(step) <= 300 for step in found.steps))

    def test_fixed(self) -> None:
        """Where all goes to one server nothing is authentic, and no policy counts (Q-89)."""
        route = FixedRoute(ip_address("127.0.0.1"), 1025)
        found = self.successResultOf(Deferred.fromCoroutine(route.hosts(DESTINATION)))
        assert isinstance(found, NextHop)
        self.assertEqual(
            (found.recipient_domain, found.first_authentic, found.is_given), (None, False, True)
        )


class OrderTests(SynchronousTestCase):
    """Q-49."""

    ALL: Final = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2")

    def order(self, *dialed: str) -> list[str]:
        """After these."""
        found = in_order(
            [ip_address(text) for text in self.ALL], tuple(ip_address(text) for text in dialed)
        )
        return [str(address) for address in found]

    def test_first(self) -> None:
        """At first IPv4, then IPv6, each in the order of the DNS (Q-49)."""
        self.assertEqual(self.order(), list(self.ALL))

    def test_other_family(self) -> None:
        """The family that was not used last comes first (Q-49)."""
        self.assertEqual(self.order("192.0.2.1")[:2], ["2001:db8::1", "2001:db8::2"])
        self.assertEqual(self.order("192.0.2.1", "2001:db8::1")[0], "192.0.2.1")

    def test_greylisting(self) -> None:
        """An address that was the only one used of its family leads it again (Q-49)."""
        self.assertEqual(
            self.order("192.0.2.2", "2001:db8::2"),
            ["192.0.2.2", "192.0.2.1", "192.0.2.3", "2001:db8::2", "2001:db8::1"],
        )

    def test_used_more_than_once(self) -> None:
        """A family that was used twice comes in the order of the DNS (Q-49)."""
        self.assertEqual(
            self.order("192.0.2.2", "192.0.2.3", "2001:db8::1")[:3],
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
        )

    def test_gone(self) -> None:
        """An address that the host has no longer is not tried."""
        self.assertEqual(len(self.order("192.0.2.99")), len(self.ALL))
        self.assertNotIn("192.0.2.99", self.order("192.0.2.99"))


class AddressTests(NextHopTestCase):
    """From a host to addresses."""

    def addresses(self, zone: Zone) -> object:
        """Of mx.example, or why there are none."""
        found = self.successResultOf(
            Deferred.fromCoroutine(self.hops(resolver(zone)).addresses(parse_domain("mx.example")))
        )
        if isinstance(found, Unreachable):
            return found.permanent, found.status
        return [str(address) for address in found.addresses]

    def test_both_families(self) -> None:
        """A and AAAA, each in the order of the DNS, an address once."""
        self.assertEqual(
            self.addresses(
                {
                    ("mx.example", RRType.AAAA): ("2001:db8::1",),
                    ("mx.example", RRType.A): ("192.0.2.2", "192.0.2.1", "192.0.2.2"),
                }
            ),
            ["192.0.2.2", "192.0.2.1", "2001:db8::1"],
        )

    def test_one_family_fails(self) -> None:
        """The addresses of one family do where the look-up of the other fails."""
        self.assertEqual(
            self.addresses(
                {
                    ("mx.example", RRType.AAAA): LookupFailed("SERVFAIL"),
                    ("mx.example", RRType.A): ("192.0.2.1",),
                }
            ),
            ["192.0.2.1"],
        )

    def test_families(self) -> None:
        """Of one family the other is not even asked for; past addresses decide the order (Q-49)."""
        zone: Zone = {
            ("mx.example", RRType.AAAA): ("2001:db8::1",),
            ("mx.example", RRType.A): ("192.0.2.1",),
        }
        expected = {
            Families.IPV4: (["192.0.2.1"], [RRType.CNAME, RRType.A]),
            Families.IPV6: (["2001:db8::1"], [RRType.CNAME, RRType.AAAA]),
            Families.BOTH: (
                ["2001:db8::1", "192.0.2.1"], [RRType.CNAME, RRType.A, RRType.AAAA],
            ),
        }  # fmt: skip
        dialed = {"mx.example": (ip_address("192.0.2.1"),), "else.example": ()}
        for families, (addresses, asked) in expected.items():
            dns = resolver(zone)
            found = self.successResultOf(
                Deferred.fromCoroutine(
                    self.hops(dns).addresses(parse_domain("mx.example"), families, dialed)
                )
            )
            assert isinstance(found, Located)
            self.assertEqual([str(address) for address in found.addresses], addresses)
            self.assertEqual([question.type for question in dns.asked], asked)

    def test_literal_of_other_family(self) -> None:
        """A literal that the transport does not connect to waits for another route (Q-46)."""
        literal = AddressLiteral(ip_address("192.0.2.1"))
        found = self.successResultOf(
            Deferred.fromCoroutine(self.hops(resolver({})).addresses(literal, Families.IPV6))
        )
        assert isinstance(found, Unreachable)
        self.assertFalse(found.permanent)

    def test_aliases(self) -> None:
        """CNAMEs of a host are followed, at most 11 look-ups; a loop is transient (Q-49)."""
        for length, expected in ((10, ["192.0.2.1"]), (11, (False, "4.3"))):
            zone: Zone = {
                (f"n{n}.example", RRType.CNAME): (f"n{n + 1}.example",) for n in range(1, length)
            }
            zone["mx.example", RRType.CNAME] = ("n1.example",)
            zone[f"n{length}.example", RRType.A] = ("192.0.2.1",)
            self.assertEqual(self.addresses(zone), expected)
        self.assertEqual(
            self.addresses({("mx.example", RRType.CNAME): ("mx.example",)}), (False, "4.3")
        )
        self.assertEqual(
            self.addresses({("mx.example", RRType.CNAME): LookupFailed("SERVFAIL")}),
            (False, "4.3"),
        )

    def test_none(self) -> None:
        """No address, no such name, or a DNS that fails: transient, another host may do."""
        self.assertEqual(
            [
                self.addresses({}),
                self.addresses({("mx.example", RRType.TXT): (b"",)}),
                self.addresses({("mx.example", RRType.A): LookupFailed("SERVFAIL")}),
            ],
            [(False, "4.4"), (False, "4.4"), (False, "4.3")],
        )

    def test_many(self) -> None:
        """Of thousands of addresses a few are tried."""
        records = tuple(f"192.0.{n // 250}.{n % 250}" for n in range(2000))
        found = self.addresses({("mx.example", RRType.A): records})
        self.assertEqual(found, list(records[:16]))

    def test_cancel(self) -> None:
        """Cancelling gives up both look-ups."""
        cancelled: list[object] = []
        aliases: Deferred[Answer] = Deferred()

        @implementer(IResolver)
        class Silent:
            def lookup(self, question: Question) -> Deferred[Answer]:
                if question.type is RRType.CNAME:
                    return aliases
                return Deferred(lambda _: cancelled.append(question.type))

        hops = NextHops(resolver=Silent(), clock=Clock(), randbelow=lambda _: 0)
        finding = Deferred.fromCoroutine(hops.addresses(parse_domain("mx.example")))
        aliases.callback(Answer(()))
        finding.cancel()
        self.failureResultOf(finding)
        self.assertEqual(cancelled, [RRType.A, RRType.AAAA])
