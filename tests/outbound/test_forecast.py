"""What would happen to a message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.bridge.surroundings import Uncounted
from moxsmtp.dns.records import MX, TLSA, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IPolicies, RequireTLS, StsFound
from moxsmtp.names import AddressLiteral, Domain, parse_domain
from moxsmtp.outbound.forecast import Forecast, Forecaster
from moxsmtp.outbound.next_hop import NextHops
from moxsmtp.outbound.route import Consignment, Router, Routing
from moxsmtp.outbound.security import TLSPolicies
from moxsmtp.outbound.sources import Sources
from moxsmtp.outbound.tls_policy import StartTLS
from moxsmtp.outbound.transport import (
    Direct,
    Fail,
    Families,
    Smarthost,
    SmarthostTLS,
    Socks,
)
from moxsmtp.testing import MemoryResolver
from moxsmtp.tls.client import client_context
from tests.mtasts.policies import policy

THERE = parse_domain("there.example")
ONE, SIX = ip_address("192.0.2.1"), ip_address("2001:db8::1")
OURS = ip_address("192.0.2.9")
RECORD = TLSA(3, 1, 1, b"x" * 32)

TO_THERE = Consignment(account="alice", sender=None, recipient=THERE)


@implementer(IPolicies)
class OnePolicy:
    """@ivar found: Of every domain."""

    def __init__(self) -> None:
        self.found = StsFound(None)

    def policy_for(self, domain: Domain) -> Deferred[StsFound]:
        """See L{IPolicies}."""
        del domain
        return succeed(self.found)


def signed(*records: Record) -> Answer:
    """An answer that is authentic."""
    return Answer(records, authentic=True)


class ForecastTestCase(SynchronousTestCase):
    """Mail for there.example, whose only mail server is mx.there.example."""

    def setUp(self) -> None:
        self.zone: dict[tuple[str, RRType], tuple[Record, ...] | Answer | LookupFailed] = {
            ("there.example", RRType.CNAME): signed(),
            ("there.example", RRType.MX): signed(MX(10, "mx.there.example")),
            ("mx.there.example", RRType.CNAME): signed(),
            ("mx.there.example", RRType.A): signed("192.0.2.1"),
            ("mx.there.example", RRType.AAAA): signed("2001:db8::1"),
            ("_25._tcp.mx.there.example", RRType.TLSA): signed(),
        }
        self.routing = Routing()
        self.policies = OnePolicy()

    def forecast(
        self, wanted: Consignment = TO_THERE, require_tls: RequireTLS = RequireTLS.UNSET
    ) -> Forecast:
        self.dns = MemoryResolver({Question(*key): entry for key, entry in self.zone.items()})
        clock = Clock()
        forecaster = Forecaster(
            router=Router(lambda: self.routing),
            next_hops=NextHops(resolver=self.dns, clock=clock, randbelow=lambda _: 0),
            tls=TLSPolicies(
                resolver=self.dns,
                policies=self.policies,
                context=client_context(strict=False),
                clock=clock,
                now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
                metrics=Uncounted(),
            ),
            sources=Sources(ipv4=OURS),
        )
        return self.successResultOf(
            Deferred.fromCoroutine(forecaster.forecast(wanted, require_tls))
        )

    def by(self, transport: Direct | Socks | Smarthost | Fail) -> Consignment:
        """The message by a transport."""
        self.routing = Routing(transports={transport.name: transport})
        return replace(TO_THERE, forced=transport.name)


class DirectTests(ForecastTestCase):
    """To the domain's own mail servers."""

    def test_opportunistic(self) -> None:
        """Hosts, addresses with those that we come from, and TLS if it is offered."""
        found = self.forecast()
        assert found.chosen is not None
        assert found.next_hop is not None
        self.assertEqual(("", "no route matches"), (found.chosen.transport.name, found.chosen.why))
        self.assertTrue(found.next_hop.authentic)
        (host,) = found.hosts
        assert host.located is not None
        assert host.demand is not None
        self.assertEqual(("mx.there.example", 25), (host.host.ascii, host.port))
        self.assertEqual((ONE, SIX), host.located.addresses)
        self.assertEqual((OURS, None), host.sources)
        self.assertIs(StartTLS.IF_OFFERED, host.demand.starttls)
        self.assertIsNone(found.failure)
        self.assertTrue(any("MX" in step for step in found.steps))

    def test_policies(self) -> None:
        """MTA-STS and DANE are asked for, and demand together what an attempt would."""
        self.zone["_25._tcp.mx.there.example", RRType.TLSA] = signed(RECORD)
        self.policies.found = StsFound(policy(host="mx.there.example"))
        found = self.forecast(require_tls=RequireTLS.YES)
        self.assertEqual(self.policies.found.policy, found.policy)
        demand = found.hosts[0].demand
        assert demand is not None
        self.assertEqual(
            (StartTLS.ALWAYS, True, (RECORD,), True, False),
            (demand.starttls, demand.pkix, demand.dane, demand.require_tls, demand.may_fall_back),
        )

    def test_refused_hosts(self) -> None:
        """A host that gets nothing says why, and where all do, that is the outcome."""
        self.policies.found = StsFound(policy(host="other.example"))
        found = self.forecast()
        assert found.failure is not None
        self.assertIn("MTA-STS", found.failure.error)
        self.assertEqual(found.failure, found.hosts[0].failure)
        self.assertIsNone(found.hosts[0].demand)

    def test_steps_in_vain(self) -> None:
        """What was asked is told also where it leads to nobody."""
        self.zone["_25._tcp.mx.there.example", RRType.TLSA] = LookupFailed("SERVFAIL")
        (host,) = self.forecast().hosts
        self.assertIn("SERVFAIL", host.steps)
        self.zone["there.example", RRType.MX] = signed(MX(0, ""))
        self.assertIn("MX of there.example: 0 . (authentic)", self.forecast().steps)

    def test_not_for_good(self) -> None:
        """Q-61: as long as one host's addresses are unknown, it does not fail for good."""
        self.zone["there.example", RRType.MX] = signed(
            MX(10, "mx1.there.example"), MX(20, "mx.there.example")
        )
        found = self.forecast(require_tls=RequireTLS.YES)
        self.assertEqual([h.failure and h.failure.permanent for h in found.hosts], [False, True])
        assert found.failure is not None
        self.assertFalse(found.failure.permanent)

    def test_unknown_policy(self) -> None:
        """A policy that cannot be known lets the mail wait."""
        self.policies.found = StsFound(None, reason="no answer", temporary=True)
        failure = self.forecast().failure
        assert failure is not None
        self.assertFalse(failure.permanent)

    def test_nowhere(self) -> None:
        """A domain that takes no mail, and a host without address."""
        self.zone["mx.there.example", RRType.A] = signed()
        self.zone["mx.there.example", RRType.AAAA] = signed()
        found = self.forecast()
        self.assertEqual(found.failure, found.hosts[0].failure)
        self.zone["there.example", RRType.MX] = signed(MX(0, ""))
        found = self.forecast()
        assert found.failure is not None
        self.assertTrue(found.failure.permanent)
        self.assertEqual((), found.hosts)


class TransportTests(ForecastTestCase):
    """By other ways."""

    def test_family(self) -> None:
        """Of the wanted kind of addresses only (Q-43)."""
        found = self.forecast(self.by(Direct("six", Families.IPV6)))
        located = found.hosts[0].located
        assert located is not None
        self.assertEqual((SIX,), located.addresses)

    def test_socks(self) -> None:
        """As directly, but no source address is ours (Q-43)."""
        proxy = Socks("proxy", AddressLiteral(ip_address("192.0.2.8")), 1080, THERE)
        (host,) = self.forecast(self.by(proxy)).hosts
        self.assertEqual((None, None), host.sources)
        proxy = replace(proxy, ipv4=(ONE, OURS), ipv6=(SIX,))
        (host,) = self.forecast(self.by(proxy)).hosts
        self.assertEqual((None, SIX), host.sources)
        self.assertEqual("mx.there.example", host.host.ascii)

    def test_smarthost(self) -> None:
        """Its own address and TLS; the recipient's domain is asked for nothing (Q-43)."""
        self.zone["smtp.example", RRType.A] = ("192.0.2.7",)
        relay = Smarthost("relay", parse_domain("smtp.example"), 587, SmarthostTLS.STARTTLS)
        found = self.forecast(self.by(relay))
        (host,) = found.hosts
        assert host.demand is not None
        self.assertEqual(("smtp.example", 587), (host.host.ascii, host.port))
        self.assertEqual((StartTLS.ALWAYS, True), (host.demand.starttls, host.demand.pkix))
        self.assertIsNone(found.next_hop)
        self.assertNotIn("there.example", {question.name for question in self.dns.asked})

    def test_smarthost_with_required_tls(self) -> None:
        """REQUIRETLS over TLS that is not verified fails for good, 554 5.7.30 (Q-45)."""
        for tls, fails in zip(SmarthostTLS, (False, False, True, True), strict=True):
            relay = Smarthost("relay", AddressLiteral(ONE), 587, tls)
            failure = self.forecast(self.by(relay), RequireTLS.YES).failure
            self.assertEqual(fails, failure is not None)
            if failure is not None:
                self.assertEqual(
                    (True, 554, "7.30"), (failure.permanent, failure.code, failure.status)
                )

    def test_unreachable_smarthost(self) -> None:
        """A smarthost that the DNS does not know."""
        relay = Smarthost("relay", parse_domain("smtp.example"), 587, SmarthostTLS.STARTTLS)
        found = self.forecast(self.by(relay))
        assert found.failure is not None
        self.assertFalse(found.failure.permanent)

    def test_fail(self) -> None:
        """Nothing is asked for what is not to leave."""
        failure = self.forecast(self.by(Fail("stop", 450, "not today"))).failure
        assert failure is not None
        self.assertEqual((450, "not today"), (failure.code, failure.error))
        self.assertEqual([], self.dns.asked)

    def test_detained(self) -> None:
        """Nor for an unknown transport."""
        found = self.forecast(replace(TO_THERE, forced="lost"))
        assert found.failure is not None
        self.assertIsNone(found.chosen)
        self.assertEqual([], self.dns.asked)
