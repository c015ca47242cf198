"""Can a domain's senders be answered?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.memory import Memory
from moxsmtp.dns.records import MX, LookupFailed, Question, Record, RRType
from moxsmtp.names import parse_domain
from moxsmtp.reachability import Reachability, reachability
from moxsmtp.testing import MemoryResolver

Zone = Mapping[Question, Sequence[Record] | LookupFailed]

DOMAIN = "away.example"
ITSELF = Question(DOMAIN, RRType.MX)
FAILS = LookupFailed("SERVFAIL")


def addresses(*hosts: str) -> dict[Question, Sequence[Record] | LookupFailed]:
    """Each of them has one."""
    return {Question(host, RRType.A): ("192.0.2.1",) for host in hosts}


def mx(*hosts: str) -> dict[Question, Sequence[Record] | LookupFailed]:
    """The domain's mail servers."""
    return {ITSELF: tuple(MX(10 + number, host) for number, host in enumerate(hosts))}


class ReachabilityTests(SynchronousTestCase):
    """What the DNS says, and what that means."""

    def found(self, zone: Zone) -> Reachability:
        """What comes out."""
        self.resolver = MemoryResolver(zone)
        asked = Deferred.fromCoroutine(reachability(self.resolver, parse_domain(DOMAIN)))
        return self.successResultOf(asked)

    def assertFound(self, expected: Reachability, *zones: Zone) -> None:
        """For each zone, this."""
        for zone in zones:
            self.assertIs(expected, self.found(zone), zone)

    def test_reachable(self) -> None:
        """A mail server with an address, or without any the domain itself (S-65)."""
        six = {Question("mx6.away.example", RRType.AAAA): ("2001:db8::1",)}
        self.assertFound(
            Reachability.REACHABLE,
            mx("mx.away.example") | addresses("mx.away.example"),
            mx("gone.example", "mx6.away.example") | six,
            mx("broken.example", "mx6.away.example")
            | six
            | {Question("broken.example", RRType.A): FAILS},
            addresses(DOMAIN),
            mx("", "mx.away.example") | addresses("mx.away.example"),
        )

    def test_null_mx(self) -> None:
        """One MX of nothing says that there is no mail there, whatever the address (S-65)."""
        self.assertFound(Reachability.NULL_MX, mx("") | addresses(DOMAIN))

    def test_unreachable(self) -> None:
        """No such name, no address, or mail servers without one (S-65)."""
        self.assertFound(
            Reachability.UNREACHABLE,
            {},
            {Question(DOMAIN, RRType.TXT): (b"v=spf1 -all",)},
            mx("mx.away.example"),
            mx("mx.away.example") | addresses(DOMAIN),
        )

    def test_unknown(self) -> None:
        """Where the DNS fails and nothing else is found, nobody can say (S-65)."""
        self.assertFound(
            Reachability.UNKNOWN,
            {ITSELF: FAILS},
            mx("mx.away.example", "gone.example")
            | {Question("mx.away.example", RRType.AAAA): FAILS},
            {Question(DOMAIN, RRType.A): FAILS},
        )

    def test_first_address(self) -> None:
        """Nothing is asked once an address is found; the best server is asked first."""
        zone = {ITSELF: (MX(20, "b.example"), MX(10, "a.example"))}
        self.found(zone | addresses("a.example"))
        self.assertEqual([ITSELF, Question("a.example", RRType.A)], self.resolver.asked)

    def test_many_servers(self) -> None:
        """A domain that lists a thousand servers does not have us ask for all of them."""
        self.found(mx(*[f"mx{number}.away.example" for number in range(1000)]))
        self.assertLess(len(self.resolver.asked), 50)


class MemoryTests(SynchronousTestCase):
    """With a L{Memory} of the domains before."""

    def setUp(self) -> None:
        self.resolver = MemoryResolver(mx("mx.away.example") | addresses("mx.away.example"))
        self.memory = Memory[Reachability]()

    def found(self) -> Reachability:
        """What comes out; the resolver tells of this time only."""
        self.resolver.asked.clear()
        return self.successResultOf(
            Deferred.fromCoroutine(
                reachability(self.resolver, parse_domain(DOMAIN), memory=self.memory)
            )
        )

    def test_same(self) -> None:
        """What is found again comes from the same questions, each asked once."""
        first, asked = self.found(), list(self.resolver.asked)
        self.assertEqual((self.found(), self.resolver.asked), (first, asked))
        self.assertEqual((first, len(asked)), (Reachability.REACHABLE, 2))

    def test_changed(self) -> None:
        """A change counts at once where answers may not be kept, and nothing is asked twice."""
        self.found()
        self.resolver.zone[ITSELF] = (MX(0, ""),)
        self.assertIs(self.found(), Reachability.NULL_MX)
        self.assertEqual(self.resolver.asked, [ITSELF])

    def test_failure(self) -> None:
        """A failure is not remembered, and takes the place of what was."""
        self.found()
        self.resolver.zone[ITSELF] = FAILS
        self.assertIs(self.found(), Reachability.UNKNOWN)
        self.assertEqual((len(self.memory), self.flushLoggedErrors()), (0, []))
