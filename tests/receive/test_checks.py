"""Tests of L{moxsmtp.receive.checks}."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp import dmarc, spf
from moxsmtp.dns.records import MX, Answer, Question, RRType
from moxsmtp.names import parse_domain
from moxsmtp.reachability import Reachability
from moxsmtp.receive.checks import Work, dns_checks
from moxsmtp.smtp.address import Path
from moxsmtp.testing import MemoryResolver

SENDER = parse_domain("away.example")
HERE = parse_domain("mx.here.example")


class RememberedTests(SynchronousTestCase):
    """L{dns_checks}: what is found again of a sender who writes all day."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.resolver = MemoryResolver()
        self.tell(RRType.TXT, b"v=spf1 ip4:192.0.2.1 -all")
        self.tell(RRType.TXT, b"v=DMARC1; p=reject", "_dmarc.away.example")
        none = Answer((), exists=False, ttl=60)
        self.resolver.zone[Question("_dmarc.example", RRType.TXT)] = none
        self.tell(RRType.MX, MX(1, "away.example"))
        self.tell(RRType.A, "192.0.2.1")
        self.checks = dns_checks(
            self.resolver,
            clock=self.clock,
            now=lambda: datetime(2026, 1, 2, tzinfo=UTC),
            is_public_suffix=lambda _: False,
        )

    def tell(self, kind: RRType, record: str | bytes | MX, name: str = SENDER.ascii) -> None:
        """Put a record into the DNS that may be kept for five minutes."""
        self.resolver.zone[Question(name, kind)] = Answer((record,), ttl=300)

    def times(self, check: Callable[[], Work[Any]], expected: object) -> None:
        """What was compared is not asked for again, before ten seconds are over."""
        asked = []
        for seconds in (0, 0, 9, 1, 0):
            self.clock.advance(seconds)
            self.resolver.asked.clear()
            result = self.successResultOf(Deferred.fromCoroutine(check()))
            self.assertEqual(getattr(result, "status", result), expected)
            asked.append(len(self.resolver.asked) > 0)
        self.assertEqual(asked, [True, True, False, True, False])

    def test_spf(self) -> None:
        """SPF's result is."""
        sender = spf.Identity(IPv4Address("192.0.2.1"), Path("a", SENDER), SENDER, HERE)
        self.times(lambda: self.checks.spf(sender, ()), spf.Status.PASS)

    def test_dmarc(self) -> None:
        """DMARC's is."""
        unknown = spf.Result(spf.Status.NONE)
        self.times(lambda: self.checks.dmarc([SENDER], unknown, ()), dmarc.Status.FAIL)

    def test_reachability(self) -> None:
        """Whether the sender takes mail is."""
        self.times(lambda: self.checks.reachability(SENDER), Reachability.REACHABLE)
