"""What TLS towards other servers is made of, joined."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.config import Settings
from moxsmtp.interfaces import IPolicies, StorageUnavailable
from moxsmtp.names import parse_domain
from moxsmtp.outbound.sources import ANY_SOURCE, Sources
from moxsmtp.outbound_tls import OutboundTLS, sources
from moxsmtp.receive.settings import ListenerSettings, ServiceSettings
from moxsmtp.store.tls_results import TLSResults
from moxsmtp.testing import MemoryMetrics, MemoryResolver
from moxsmtp.tlsrpt import PolicyResult, PolicyType, ReportedPolicy, TLSResult
from tests.store.contract import NOW, Contract

RESULT = TLSResult(
    "there.example",
    "there.example",
    False,
    True,
    PolicyResult(ReportedPolicy(PolicyType.NONE, "there.example"), 1),
)

NO_STS: IPolicies | None = None


def settings(*listeners: ListenerSettings) -> Settings:
    """Of a server with these."""
    return Settings(
        hostname=parse_domain("mx.ours.example"),
        postmaster="ann",
        data_directory="/nowhere",
        listeners=listeners,
        domains={},
        accounts=(),
    )


def listener(*addresses: str, smtp: bool = True) -> ListenerSettings:
    """At these."""
    return ListenerSettings(
        name="x",
        addresses=tuple(map(ip_address, addresses)),
        smtp=ServiceSettings(enabled=smtp),
    )


class SourceTests(SynchronousTestCase):
    """Q-50."""

    def test_listeners(self) -> None:
        """Addresses count at which mail from outside is taken, of all listeners (Q-50)."""
        self.assertEqual(
            sources(settings(listener("192.0.2.1"), listener("192.0.2.2", smtp=False))),
            Sources(ip_address("192.0.2.1")),
        )
        self.assertEqual(
            sources(settings(listener("192.0.2.1"), listener("192.0.2.2"))), ANY_SOURCE
        )


class OutboundTLSTests(Contract):
    """Results on their way into the database."""

    def setUp(self) -> None:
        """Nothing noted yet."""
        super().setUp()
        self.clock = Clock()
        self.tls = OutboundTLS(
            settings(),
            resolver=MemoryResolver(),
            sts=NO_STS,
            database=self.database,
            reactor=self.clock,
            now=lambda: NOW,
            metrics=MemoryMetrics(),
        )

    def successes(self) -> list[int]:
        """What is written of today."""
        days = self.result(TLSResults(self.database).of_day(NOW.date()))
        return [day.results[0].successes for day in days]

    def test_written(self) -> None:
        """Results are written every few seconds while the services run (Q-86)."""
        for service in self.tls.services():
            service.startService()
            self.addCleanup(service.stopService)
        self.tls.results.note([RESULT], NOW)
        self.assertEqual(self.successes(), [])
        self.clock.advance(10)
        self.result(self.database.transact(lambda _: None))
        self.assertEqual(self.successes(), [1])

    def test_closed(self) -> None:
        """What waits at the end is written."""
        self.tls.results.note([RESULT], NOW)
        self.result(self.tls.close())
        self.assertEqual(self.successes(), [1])

    def test_closed_without_database(self) -> None:
        """A database that is away then is worth a line, and the end goes on."""

        async def refuse() -> None:
            raise StorageUnavailable("gone")

        self.patch(self.tls.results, "flush", refuse)
        self.result(self.tls.close())

    def test_old(self) -> None:
        """What is too old for a report is forgotten."""
        for days in (0, 2, 3, 4):
            self.tls.results.note([RESULT], NOW - timedelta(days=days))
        self.result(self.tls.results.flush())
        removed: list[int] = []
        remove = self.tls.results.remove_before

        def note(day: object) -> Deferred[int]:
            removed.append(self.result(remove(day)))  # type: ignore[arg-type]  # passed on
            return succeed(removed[-1])

        self.patch(self.tls.results, "remove_before", note)
        service = self.tls.services()[1]
        service.startService()
        self.addCleanup(service.stopService)
        self.clock.advance(6)
        self.assertEqual(removed, [1])
