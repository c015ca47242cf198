"""What each transport makes of an attempt, what is written down of it, and sites that rest."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused

from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import RequireTLS, StsFound
from moxsmtp.mtasts.policy import Mode
from moxsmtp.names import parse_domain
from moxsmtp.outbound.route import Routing
from moxsmtp.outbound.transport import (
    Direct,
    Fail,
    Families,
    Route,
    Smarthost,
    SmarthostTLS,
    Socks,
    Transport,
)
from moxsmtp.queue.job import TRACE_LINE, TRACE_LINES, Batch, Delivered, Failed
from moxsmtp.queue.shaping import Shaper, ShapingRule
from tests.clock import SetClock
from tests.mtasts.policies import policy
from tests.outbound.test_attempt import (
    GREETING,
    HERE,
    NOW,
    ONE,
    SIX,
    THERE,
    TWO,
    AttemptTestCase,
    job,
)
from tests.outbound.test_forecast import OnePolicy

TAKEN = b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"


class WayTestCase(AttemptTestCase):
    """Everything takes one transport."""

    def take(self, transport: Transport) -> None:
        """This one."""
        self.routing = Routing(
            transports={transport.name: transport}, routes=(Route((), (), 0, transport.name),)
        )

    def failed(self, **changes: Any) -> Failed:
        """What an attempt comes to that ends at once."""
        outcome = self.successResultOf(self.begin(job(**changes))).outcomes[1]
        assert isinstance(outcome, Failed)
        return outcome


class TransportTests(WayTestCase):
    """Q-43."""

    def test_fail(self) -> None:
        """Q-14, Q-43: a transport that fails gives its code at once; 4xx is transient."""
        for code, permanent in ((554, True), (451, False)):
            self.take(Fail("none", code, "not today"))
            self.assertEqual(
                self.failed(),
                Failed(permanent=permanent, error="not today", code=code, status="7.0"),
            )
        self.assertEqual((self.dials, self.dns.asked), ([], []))

    def test_unknown(self) -> None:
        """Q-14: a transport that is forced and unknown is a transient failure."""
        self.assertFalse(self.failed(transport="gone").permanent)
        self.assertEqual(self.dials, [])

    def test_disabled(self) -> None:
        """Q-14: mail of a domain that is disabled waits."""
        self.routing = Routing(disabled=frozenset({HERE}))
        self.assertFalse(self.failed().permanent)
        self.assertEqual(self.dials, [])

    def test_smarthost(self) -> None:
        """Q-43: a smarthost is asked for its address alone, and has TLS as configured."""
        self.dns.zone[Question("relay.example", RRType.A)] = (str(TWO),)
        self.take(Smarthost("relay", parse_domain("relay.example"), 587, SmarthostTLS.NONE))
        attempt = self.begin()
        self.assertEqual([dial[:2] for dial in self.dials], [(TWO, 587)])
        self.assertNotIn(RRType.MX, [question.type for question in self.dns.asked])
        self.play(self.wires[0], b"220 r\r\n250-r\r\n250-STARTTLS\r\n250 PIPELINING\r\n", TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual(
            self.durations(),
            [{"attempt": "1", "transport": "relay", "tlsmode": "skip", "result": "ok"}],
        )

    def test_smarthost_is_late(self) -> None:
        """Q-45: set-up and transaction have a minute each, and a second for each MiB."""
        self.dns.zone[Question("relay.example", RRType.A)] = (str(TWO),)
        self.take(Smarthost("relay", parse_domain("relay.example"), 587, SmarthostTLS.NONE))
        attempt = self.begin()
        self.play(self.wires[0], GREETING)
        self.clock.advance(120)
        self.assertNoResult(attempt)
        self.clock.advance(1)
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)
        self.assertEqual(self.wires[0].closed, "aborted")
        self.assertEqual([labels["result"] for labels in self.durations()], ["timeout"])

    def test_smarthost_unverified(self) -> None:
        """Q-45: mail under REQUIRETLS fails for good where the transport verifies nothing."""
        self.take(
            Smarthost("r", parse_domain("relay.example"), 25, SmarthostTLS.STARTTLS_UNVERIFIED)
        )
        failed = self.failed(require_tls=RequireTLS.YES)
        self.assertEqual((failed.permanent, failed.code, failed.status), (True, 554, "7.30"))

    def test_families(self) -> None:
        """Q-43: a direct transport may connect to one family of addresses only."""
        self.dns.zone[Question("mx1.example", RRType.AAAA)] = (str(SIX),)
        self.take(Direct("six", Families.IPV6))
        _ = self.begin()
        self.assertEqual([dial[0] for dial in self.dials], [SIX])

    def test_socks(self) -> None:
        """Q-43: through a proxy the same hosts are reached, and EHLO names the proxy's host."""
        proxy = ip_address("192.0.2.9")
        self.dns.zone[Question("proxy.example", RRType.A)] = (str(proxy),)
        self.take(Socks("s", parse_domain("proxy.example"), 1080, parse_domain("far.example")))
        _ = self.begin()
        self.assertEqual([dial[:2] for dial in self.dials], [(proxy, 1080)])
        wire = self.wires[0]
        wire.say(b"\x05\x00")
        wire.take()
        wire.say(b"\x05\x00\x00\x01" + bytes(6) + b"220 mx\r\n")
        self.assertTrue(wire.take().endswith(b"EHLO far.example\r\n"))

    def test_no_proxy(self) -> None:
        """A proxy that cannot be found is a transient failure."""
        self.take(Socks("s", parse_domain("proxy.example"), 1080, parse_domain("far.example")))
        self.assertFalse(self.failed().permanent)


class TraceTests(WayTestCase):
    """What is written down of an attempt."""

    def test_lines(self) -> None:
        """DNS answers, hosts tried and replies stand in the trace, in their order."""
        self.refused = {ONE: Refused()}
        attempt = self.begin()
        self.play(self.wires[0], GREETING, b"250 ok\r\n550 5.1.1 no such user\r\n503 none\r\n")
        trace = self.successResultOf(attempt).trace
        words = (
            "MX of there.example", "no connection to mx1.example", "connected to mx2.example",
            "EHLO: 250", "RCPT: 550 5.1.1 no such user",
        )  # fmt: skip
        places = [next(n for n, line in enumerate(trace) if word in line) for word in words]
        self.assertEqual(places, sorted(places))

    def test_policies(self) -> None:
        """Policies, in whatever mode, and how they were not to be had stand there, too."""
        for found, told in (
            (StsFound(policy(Mode.TESTING, "mx1.example")), "MTA-STS testing: mx1.example"),
            (StsFound(None, "sts-policy-invalid", "no mx"), "MTA-STS: sts-policy-invalid: no mx"),
        ):
            self.setUp()
            self.policies = policies = OnePolicy()
            policies.found = found
            attempt = self.begin()
            self.play(self.wires[-1], GREETING, TAKEN)
            self.assertIn(told, self.successResultOf(attempt).trace)

    def test_in_vain(self) -> None:
        """What was asked stands there also where it leads to nobody."""
        self.dns.zone[Question("there.example", RRType.MX)] = (MX(0, ""),)
        trace = self.successResultOf(self.begin()).trace
        self.assertIn("MX of there.example: 0 . (not authentic)", trace)
        self.assertIn("null MX", trace[-1])

    def test_refused_by_policy(self) -> None:
        """So does what has a host passed over: which of its answers came, and which did not."""
        found: dict[tuple[str, RRType], tuple[Record, ...]] = {
            ("there.example", RRType.CNAME): (),
            ("there.example", RRType.MX): (MX(1, "mx1.example"),),
            ("mx1.example", RRType.CNAME): (),
            ("mx1.example", RRType.A): (str(ONE),),
            ("mx1.example", RRType.AAAA): (),
        }
        for key, records in found.items():
            self.dns.zone[Question(*key)] = Answer(records, authentic=True)
        self.dns.zone[Question("_2525._tcp.mx1.example", RRType.TLSA)] = LookupFailed("SERVFAIL")
        trace = self.successResultOf(self.begin()).trace
        self.assertIn("A of mx1.example: 192.0.2.1 (authentic)", trace)
        self.assertIn("SERVFAIL", trace)
        self.assertEqual(self.dials, [])

    def test_report_on_a_report(self) -> None:
        """Q-86: that a TLS report of ours came to nothing is put down, and never reported."""
        bogus = "MX of there.example: SERVFAIL, 6 (DNSSEC Bogus) (127.0.0.1)"
        self.dns.zone[Question("there.example", RRType.MX)] = LookupFailed(bogus)
        for report in ("", "tls"):
            _ = self.begin(job(report=report))
        self.assertEqual([each.send_report for each in self.records.told], [True, False])

    def test_bounded(self) -> None:
        """However long and strange a server's replies are, the trace is short and printable."""
        attempt = self.begin()
        reply = b"".join(b"450-" + b"\x1b\xff" + b"x" * 400 + b"\r\n" for _ in range(20))
        self.play(self.wires[0], GREETING, b"250 ok\r\n" + reply + b"450 no\r\n503 none\r\n")
        self.play(self.wires[1], b"554 no\r\n")
        trace = self.successResultOf(attempt).trace
        self.assertLessEqual(len(trace), TRACE_LINES)
        for line in trace:
            self.assertLessEqual(len(line), TRACE_LINE)
            self.assertTrue(line.isprintable(), line)

    def test_announced(self) -> None:
        """Q-62: what the last host announced is remembered."""
        attempt = self.begin()
        self.play(self.wires[0], GREETING, TAKEN)
        self.successResultOf(attempt)
        self.assertEqual(self.records.announced, [(1, False, False)])

    def test_plaintext_is_counted(self) -> None:
        """Q-60, Q-91: each connection in the clear that follows TLS that failed is counted."""
        _ = self.begin()
        self.play(self.wires[0], b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n", b"454 no\r\n")
        self.assertEqual(len(self.labels("mox_queue_plaintext_fallback_total")), 1)

    def test_destinations(self) -> None:
        """Q-91: each destination that was found is counted."""
        _ = self.begin()
        self.assertEqual(len(self.labels("mox_queue_destinations_total")), 1)
        self.assertEqual(self.labels("mox_queue_destinations_authentic_total"), [])


class RestTests(WayTestCase):
    """Sites that rest (Q-93)."""

    def test_pause(self) -> None:
        """Q-93: after some connections in a row have failed, none is tried for a while."""
        self.shaper = Shaper((ShapingRule(failures=2, pause=timedelta(seconds=60)),))
        self.refused = {ONE: Refused(), TWO: Refused()}
        for _ in range(3):
            self.assertFalse(self.failed().permanent)
        self.assertEqual(len(self.dials), 4)
        self.assertIn("not tried", self.failed().error)
        self.clock.advance(60)
        self.refused = {}
        attempt = self.begin()
        self.play(self.wires[0], GREETING, TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)

    def test_pause_and_clock(self) -> None:
        """Q-93: whoever sets the clock, either way, makes that neither shorter nor longer."""
        for by in (86_400, -86_400, -3):
            self.setUp()
            self.clock = clock = SetClock()
            self.shaper = Shaper((ShapingRule(failures=2, pause=timedelta(seconds=60)),))
            self.refused = {ONE: Refused(), TWO: Refused()}
            for _ in range(2):
                self.failed()
            clock.wait(59)
            clock.set_by(by)
            self.assertIn("not tried", self.failed().error)
            clock.wait(1)
            self.assertNotIn("not tried", self.failed().error)

    def test_one_host_is_enough(self) -> None:
        """A site one of whose hosts can be connected to does not rest."""
        self.shaper = Shaper((ShapingRule(failures=1),))
        self.refused = {ONE: Refused()}
        _ = self.begin()
        _ = self.begin()
        self.assertEqual([dial[0] for dial in self.dials], [ONE, TWO] * 2)

    def test_no_room(self) -> None:
        """Q-93: an attempt that learns that its site is full is not made, and says until when."""
        self.shaper = Shaper((ShapingRule(site_connections=1),))
        self.shaper.learn("other.example", ("mx1.example", "mx2.example"))
        self.shaper.begin("other.example", 0.0)
        self.shaper.begin(THERE.ascii, 0.0)
        found = self.successResultOf(self.begin())
        self.assertEqual(found.outcomes, {})
        assert found.rests_until is not None
        self.assertEqual(found.rests_until.timestamp(), self.clock.seconds() + 1)
        self.assertEqual(self.dials, [])

    def test_connections(self) -> None:
        """
        Q-93: a site that may have one connection in a minute has one; what it has room
        for goes on, and the rest waits without being counted.
        """
        self.shaper = Shaper((ShapingRule(connections_per_minute=1),))
        deliver = self.deliver()
        first = Deferred.fromCoroutine(deliver.attempt(Batch((job(),), NOW)))
        self.play(self.wires[0], GREETING, TAKEN)
        self.assertIsInstance(self.successResultOf(first).outcomes[1], Delivered)
        second = Deferred.fromCoroutine(deliver.attempt(Batch((job(),), NOW)))
        self.play(self.wires[0], b"250 reset\r\n", TAKEN)
        self.assertIsInstance(self.successResultOf(second).outcomes[1], Delivered)
        self.wires[0].lose()
        self.clock.advance(20)
        third = self.successResultOf(Deferred.fromCoroutine(deliver.attempt(Batch((job(),), NOW))))
        self.assertEqual(third.outcomes, {})
        assert third.rests_until is not None
        self.assertEqual(third.rests_until.timestamp(), 60.0)
        self.assertEqual(len(self.dials), 1)

    def test_connections_and_clock(self) -> None:
        """Q-93: the minute is one whoever sets the clock, either way."""
        for by in (86_400, -86_400, -3):
            self.setUp()
            self.clock = clock = SetClock()
            self.shaper = Shaper((ShapingRule(connections_per_minute=1),))
            attempt = self.begin()
            self.play(self.wires[0], GREETING, TAKEN)
            self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
            self.wires[0].lose()
            clock.wait(20)
            clock.set_by(by)
            found = self.successResultOf(self.begin())
            assert found.rests_until is not None
            self.assertEqual(found.rests_until.timestamp(), clock.seconds() + 40)

    def test_no_room_for_the_rest(self) -> None:
        """Q-93: who was delivered before there was no room was delivered."""
        self.shaper = Shaper((ShapingRule(connections_per_minute=1),))
        attempt = self.begin(job(1), job(2))
        self.play(self.wires[0], GREETING, b"250 ok\r\n250 ok\r\n451 later\r\n354 go\r\n250 ok\r\n")
        found = self.successResultOf(attempt)
        self.assertIsInstance(found.outcomes[1], Delivered)
        self.assertIsInstance(found.outcomes[2], Failed)
        self.assertIsNone(found.rests_until)
        self.assertEqual(len(self.dials), 1)
