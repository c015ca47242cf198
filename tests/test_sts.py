"""MTA-STS as it is joined, over a database of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import CancelledError
from twisted.internet.testing import MemoryReactorClock

from moxsmtp.dns.records import Answer, Question, RRType
from moxsmtp.mtasts.policy import parse_policy
from moxsmtp.mtasts.storage import Kept
from moxsmtp.names import Domain
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.store.sts_policies import StsPolicies
from moxsmtp.sts import StsParts, policy_client
from moxsmtp.testing import MemoryMetrics, MemoryResolver
from tests.https.wire import PUBLIC, Handshakes
from tests.store.contract import Contract

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOMAIN = Domain("a.example")
POLICY = parse_policy("version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 86400\n")


class StsTests(Contract):
    """The parts together."""

    def setUp(self) -> None:
        """A domain with a record, on a clock of its own."""
        super().setUp()
        self.clock = MemoryReactorClock()
        self.clock.advance(NOON.timestamp())
        self.resolver = MemoryResolver(
            {
                Question("_mta-sts.a.example", RRType.TXT): Answer((b"v=STSv1; id=1",)),
                Question("mta-sts.a.example", RRType.A): Answer((PUBLIC,)),
            }
        )
        self.metrics = MemoryMetrics()
        reactor = self.clock
        client = policy_client(
            reactor,  # type: ignore[arg-type]  # it has the methods
            self.resolver,
            Handshakes(),
            OutboundSettings(),
            allow_loopback=False,
        )
        self.parts = StsParts(
            resolver=self.resolver,
            database=self.database,
            client=client,
            metrics=self.metrics,
            reactor=reactor,  # type: ignore[arg-type]  # it has the methods
            shuffle=lambda _: None,
            user_agent="tests",
        )
        self.store = StsPolicies(self.database)

    def keep(self, age: timedelta) -> None:
        """A policy that was fetched so long ago."""
        fetched = NOON - age
        self.result(
            self.store.keep(DOMAIN, Kept(POLICY, "1", fetched, fetched + timedelta(days=1)))
        )

    def until(self, holds: Callable[[], object]) -> None:
        """Let the database's threads work until something is so."""
        for _ in range(100):
            if holds():
                return
            # A unit of each kind comes after those that are under way.
            self.result(self.store.known(DOMAIN))
            self.result(self.database.transact(lambda _: None))
        self.fail("it does not come")

    def test_refreshed(self) -> None:
        """Q-54: ten minutes after the start, and every day, what grows old is looked at."""
        self.keep(timedelta(hours=13))
        service = self.parts.service()
        service.startService()
        unchanged = 'moxsmtp_mtasts_refreshes_total{result="unchanged"}'
        self.clock.advance(599)
        self.result(self.store.known(DOMAIN))
        self.assertEqual(self.metrics.counts, {})
        for begin, count in ((600, 1), (600 + 86400, 2)):
            self.clock.advance(begin - (self.clock.seconds() - NOON.timestamp()))
            self.until(lambda count=count: self.metrics.counts.get(unchanged) == count)  # type: ignore[misc]  # mypy cannot type a lambda's default
            # The round has to end before the next one is due.
            self.until(self.clock.getDelayedCalls)
            kept = self.result(self.store.known(DOMAIN)).kept
            assert kept is not None
            self.assertEqual(kept.fetched, NOON + timedelta(seconds=begin))
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asked(self) -> None:
        """Mail hears of what is kept; what is not is fetched from the policy host."""
        self.keep(timedelta(hours=1))
        found = self.result(self.parts.policies.policy_for(DOMAIN))
        self.assertEqual((found.policy, found.record_id), (POLICY, "1"))
        self.assertEqual(self.clock.tcpClients, [])
        self.resolver.zone[Question("_mta-sts.a.example", RRType.TXT)] = (b"v=STSv1; id=2",)
        asking = self.parts.policies.policy_for(DOMAIN)
        self.until(lambda: self.clock.tcpClients)
        self.assertEqual([where[:2] for where in self.clock.tcpClients], [(PUBLIC, 443)])
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.successResultOf(self.parts.close())
