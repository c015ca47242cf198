"""What operators are told of lists of addresses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from ipaddress import ip_address

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import Question, RRType
from moxsmtp.dnsbl import HEALTH_KEPT, Health
from moxsmtp.list_watch import ListWatch, configured_lists
from moxsmtp.localserve import settings
from moxsmtp.names import Domain, parse_domain
from moxsmtp.receive.settings import ListenerSettings, ServiceSettings
from moxsmtp.testing import MemoryResolver

GOOD, BAD = parse_domain("good.example"), parse_domain("bad.example")


class Levels:
    """What gauges stand at."""

    def __init__(self) -> None:
        self.levels: dict[tuple[str, str], int] = {}

    def level(self, name: str, value: int, **labels: str) -> None:
        """Keep it."""
        self.levels[name, labels["zone"]] = value


class ListWatchTests(SynchronousTestCase):
    """I-73: two lists, one of which lists everybody."""

    def setUp(self) -> None:
        """Nobody has looked yet."""
        self.clock = Clock()
        self.resolver = MemoryResolver(
            {
                Question(f"{address}.{zone}", RRType.A): ("127.0.0.2",)
                for address, zone in (
                    ("2.0.0.127", "good.example"),
                    ("2.0.0.127", "bad.example"),
                    ("1.0.0.127", "bad.example"),
                )
            }
        )
        self.metrics = Levels()
        self.zones: tuple[Domain, ...] = (GOOD, BAD)
        health = Health(self.resolver, self.clock)
        self.watch = ListWatch(health, lambda: self.zones, self.metrics)

    def look(self) -> list[str]:
        """What is logged by one look."""
        events: Sequence[LogEvent]
        with capturedLogs() as events:
            self.successResultOf(Deferred.fromCoroutine(self.watch.look()))
        return [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]

    def test_told(self) -> None:
        """I-73: Each list is told of, the one that cannot be believed as a warning; and counted."""
        unbelieved = "the DNSBL bad.example is not believed, and so not asked"
        self.assertEqual(
            self.look(),
            [
                "info: the DNSBL good.example is in order",
                f"warn: {unbelieved}: it lists 127.0.0.1, so perhaps everybody",
            ],
        )
        self.assertEqual(
            self.metrics.levels,
            {
                ("moxsmtp_dnsbl_healthy", "good.example"): 1,
                ("moxsmtp_dnsbl_healthy", "bad.example"): 0,
            },
        )

    def test_changes_only(self) -> None:
        """I-73: Asked again after four hours, and told again if something has changed."""
        self.look()
        del self.resolver.zone[Question("1.0.0.127.bad.example", RRType.A)]
        self.clock.advance(HEALTH_KEPT - 1)
        self.assertEqual(self.look(), [])
        self.clock.advance(1)
        self.assertEqual(self.look(), ["info: the DNSBL bad.example is in order"])
        self.assertEqual(self.metrics.levels["moxsmtp_dnsbl_healthy", "bad.example"], 1)

    def test_new_lists(self) -> None:
        """One that is configured later is looked at with the next look."""
        self.zones = (GOOD,)
        self.look()
        self.zones = (BAD,)
        self.assertEqual(len(self.look()), 1)
        self.zones = (GOOD,)
        self.assertEqual(self.look(), ["info: the DNSBL good.example is in order"])

    def test_configured(self) -> None:
        """Those of all listeners, each once."""
        made = settings("/data")
        listeners = tuple(
            ListenerSettings(
                name=name,
                addresses=(ip_address("192.0.2.1"),),
                smtp=ServiceSettings(dnsbls=zones),
            )
            for name, zones in (("a", (GOOD, BAD)), ("b", (BAD,)), ("c", ()))
        )
        self.assertEqual(configured_lists(made), ())
        self.assertEqual(
            configured_lists(dataclasses.replace(made, listeners=listeners)), (GOOD, BAD)
        )
