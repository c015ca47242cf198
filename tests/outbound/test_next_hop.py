"""Where a domain's mail goes."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import AddressLiteral, Host, parse_domain
from moxsmtp.outbound.next_hop import Located, NextHop, NextHops, Unreachable
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
