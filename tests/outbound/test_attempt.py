"""Attempts: hosts and addresses in order, a fate for every job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IContent, IPolicies, RequireTLS
from moxsmtp.names import IPAddress, parse_domain
from moxsmtp.outbound.attempt import Deliver
from moxsmtp.outbound.content import Forms
from moxsmtp.outbound.next_hop import FixedRoute, NextHops
from moxsmtp.outbound.route import NO_ROUTING, Router
from moxsmtp.outbound.security import TLSPolicies
from moxsmtp.outbound.sessions import Sessions
from moxsmtp.outbound.smarthost_terms import login_to
from moxsmtp.outbound.socks import socks_connect
from moxsmtp.outbound.visit import Visits
from moxsmtp.outbound.ways import Environment
from moxsmtp.queue.job import Attempt, Batch, Delivered, Failed, Job, RemoteMTA
from moxsmtp.queue.shaping import Shaper
from moxsmtp.smtp.address import Path
from moxsmtp.steady_timers import steady_clock
from moxsmtp.testing import MemoryResolver
from moxsmtp.tls.client import client_context
from moxsmtp.tlsrpt import TLSResult
from tests.clock import SetClock
from tests.outbound.servers import Counts, ServerCreator, Text, TLSServer, Wire

HERE = parse_domain("here.example")
THERE = parse_domain("there.example")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")
SIX = ip_address("2001:db8::1")

GREETING = b"220 mx\r\n250-mx\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n"


def job(number: int = 1, **changes: Any) -> Job:
    """One recipient."""
    return replace(
        Job(
            id=number,
            base_id=0,
            account="a",
            reverse_path=Path("a", HERE),
            forward_path=Path(f"r{number}", THERE),
            queued=NOW,
            next_attempt=NOW,
            content=1,
            size=7,
            attempts=1,
        ),
        **changes,
    )


class Memory:
    """What was put down.  @ivar writing: What that waits for; L{None}: nothing."""

    def __init__(self) -> None:
        self.writing: Deferred[None] | None = None
        self.told: list[TLSResult] = []
        self.announced: list[tuple[int, bool, bool]] = []

    def results(self, results: Sequence[TLSResult]) -> None:
        """See L{Records}."""
        self.told += results

    async def seen(self, job: Job, *, starttls: bool, require_tls: bool) -> None:
        """See L{Records}."""
        self.announced.append((job.id, starttls, require_tls))
        if self.writing is not None:
            await self.writing


class AttemptTestCase(SynchronousTestCase):
    """
    Two hosts for there.example; each address is refused, or connected to.

    @ivar wires: What was connected to, in order.
    @ivar dials: Address, port and seconds of every try.
    @ivar refused: Addresses that cannot be connected to, and why.
    """

    def setUp(self) -> None:
        """Both hosts answer."""
        self.clock = Clock()
        self.counts = Counts()
        self.wires: list[Wire] = []
        self.dials: list[tuple[IPAddress, int, float]] = []
        self.refused: dict[IPAddress, Exception | None] = {}
        self.sessions = Sessions(self.clock)
        self.shaper = Shaper()
        self.routing = NO_ROUTING
        self.policies: IPolicies | None = None
        self.records = Memory()
        self.content: IContent = Text(b"hello\r\n")
        self.alternative: IContent | None = None
        self.dns = MemoryResolver(
            {
                Question("there.example", RRType.MX): (MX(1, "mx1.example"), MX(2, "mx2.example")),
                Question("mx1.example", RRType.A): (str(ONE),),
                Question("mx2.example", RRType.A): (str(TWO),),
            }
        )

    def connect(
        self, protocol: Protocol, address: IPAddress, port: int, seconds: float
    ) -> Deferred[None]:
        """Over a wire."""
        self.dials.append((address, port, seconds))
        if address in self.refused:
            error = self.refused[address]
            return Deferred() if error is None else fail(error)
        self.wires.append(Wire(protocol, self.clock))
        return succeed(None)

    def begin(self, *jobs: Job, route: FixedRoute | None = None) -> Deferred[Attempt]:
        """An attempt under way."""
        deliver = self.deliver(route)
        return Deferred.fromCoroutine(deliver.attempt(Batch(jobs or (job(),), NOW)))

    def deliver(self, route: FixedRoute | None = None) -> Deliver:
        """Over those wires; its sessions wait in C{self.sessions}."""
        next_hops = NextHops(resolver=self.dns, clock=self.clock, randbelow=lambda _: 0, port=2525)
        steady = steady_clock(self.clock)
        return Deliver(
            router=Router(lambda: self.routing),
            environment=Environment(
                route=route or next_hops,
                policies=TLSPolicies(
                    resolver=self.dns,
                    policies=self.policies,
                    context=client_context(strict=False),
                    clock=self.clock,
                    now=lambda: NOW,
                    metrics=self.counts,
                    port=2525,
                ),
                hostname="client.example",
                connect=self.connect,
                through=lambda addresses, port: socks_connect(
                    self.connect, addresses, port, steady
                ),
                login=lambda smarthost: login_to(smarthost, lambda count: b"r" * count),
                metrics=self.counts,
            ),
            visits=Visits(clock=steady, sessions=self.sessions, metrics=self.counts),
            shaper=self.shaper,
            clock=self.clock,
            forms=lambda _: Forms(self.content, self.alternative),
            metrics=self.counts,
            records=self.records,
            steady=steady,
        )

    def play(self, wire: Wire, *replies: bytes) -> None:
        """The server says this, line by line."""
        for line in b"".join(replies).splitlines(keepends=True):
            wire.say(line)
            wire.take()

    def durations(self) -> list[dict[str, str]]:
        """How attempts ended, as it is measured."""
        return self.labels("mox_queue_delivery_duration_seconds")

    def labels(self, name: str) -> list[dict[str, str]]:
        """What was counted under C{name}."""
        return [labels for counted, labels in self.counts.counted if counted == name]


class DeliveredTests(AttemptTestCase):
    """Mail that arrives."""

    def test_first_host(self) -> None:
        """The first host's first address takes it, and nobody else is asked."""
        attempt = self.begin()
        self.play(
            self.wires[0], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n",
            b"250-2.0.0 queued\r\n250 2.0.0 as 7\r\n221 bye\r\n",
        )  # fmt: skip
        found = self.successResultOf(attempt)
        self.assertEqual(
            replace(found, trace=()),
            Attempt(
                {
                    1: Delivered(
                        RemoteMTA("mx1.example", ONE),
                        250,
                        "0.0",
                        "250-2.0.0 queued\n250 2.0.0 as 7",
                    )
                },
                {"mx1.example": (ONE,)},
            ),
        )
        self.assertEqual(self.dials, [(ONE, 2525, 30.0)])
        self.assertEqual(self.labels("mox_queue_connection_total"), [{"result": "ok"}])
        self.assertEqual(
            self.labels("mox_queue_delivery_duration_seconds"),
            [{"attempt": "1", "transport": "", "tlsmode": "opportunistic", "result": "ok"}],
        )

    def test_clock_set(self) -> None:
        """
        Whoever sets the clock by a day, either way, while a host's addresses are asked
        for leaves it the time that it has to be connected to (Q-50).
        """
        for by in (86_400, -86_400):
            self.setUp()
            self.clock = clock = SetClock()
            waiting: list[Deferred[None]] = []
            lookup = self.dns.lookup

            def slowly(
                question: Question, waiting: list[Deferred[None]] = waiting, lookup: Any = lookup
            ) -> Deferred[Answer]:
                if question != Question("mx1.example", RRType.A):
                    found: Deferred[Answer] = lookup(question)
                    return found
                waiting.append(Deferred())
                return waiting[-1].addCallback(lambda _: lookup(question))

            self.patch(self.dns, "lookup", slowly)
            attempt = self.begin()
            clock.wait(10)
            clock.set_by(by)
            waiting[0].callback(None)
            self.assertNoResult(attempt)
            self.assertEqual(self.dials, [(ONE, 2525, 20.0)])

    def test_results(self) -> None:
        """What was wrong with TLS is told with what the host calls itself (Q-85).  RFC 8460 4.4."""
        attempt = self.begin()
        self.play(
            self.wires[0], b"220 mail.elsewhere.example\r\n250 there.elsewhere.example hi\r\n",
            b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n",
        )  # fmt: skip
        self.successResultOf(attempt)
        details = [each for told in self.records.told for each in told.result.details]
        self.assertEqual(
            {(each.result_type.value, each.receiving_helo) for each in details},
            {("starttls-not-supported", "there.elsewhere.example")},
        )

    def test_form_of_each_host(self) -> None:
        """
        A report with two forms: a host that takes SMTPUTF8 and 8BITMIME is brought that
        in UTF-8, the next one, which does not, that in ASCII; the trace tells (Q-38).
        """
        self.alternative = Text(b"w\xc3\xb6rter\r\n")
        attempt = self.begin(job(prefix=b"X: y\r\n", alternative=2, alternative_size=10))
        first, second = b"220 mx\r\n250-mx\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n", GREETING
        said = []
        for number, greeting in enumerate((first, second)):
            wire = self.wires[number]
            self.play(wire, greeting[: greeting.index(b"250")])
            wire.say(greeting[greeting.index(b"250") :])
            said.append(wire.take().splitlines()[0])
            if number == 0:
                self.play(wire, b"250 ok\r\n250 ok\r\n")
                wire.say(b"354 go\r\n")
                said.append(wire.take())
                self.play(wire, b"451 later\r\n221 bye\r\n")
        self.play(self.wires[1], b"250 ok\r\n250 ok\r\n")
        self.wires[1].say(b"354 go\r\n")
        said.append(self.wires[1].take())
        self.play(self.wires[1], b"250 ok\r\n221 bye\r\n")
        self.assertEqual(
            said,
            [
                b"MAIL FROM:<a@here.example> BODY=8BITMIME SMTPUTF8",
                b"w\xc3\xb6rter\r\n.\r\n",
                b"MAIL FROM:<a@here.example>",
                b"X: y\r\nhello\r\n.\r\n",
            ],
        )
        found = self.successResultOf(attempt)
        self.assertIsInstance(found.outcomes[1], Delivered)
        self.assertEqual(len([line for line in found.trace if line.startswith("sent in UTF-8")]), 1)

    def test_form_refused(self) -> None:
        """
        A report with two forms whose form in UTF-8 a host refuses is delivered there in
        ASCII, in the same attempt; the trace tells (Q-38).
        """
        self.alternative = Text(b"w\xc3\xb6rter\r\n")
        attempt = self.begin(job(alternative=2, alternative_size=10))
        opening = b"220 mx\r\n250-mx\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
        taken = b"250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n"
        self.play(self.wires[0], opening, b"555 no such parameter\r\n", taken)
        found = self.successResultOf(attempt)
        self.assertIsInstance(found.outcomes[1], Delivered)
        lines = [line for line in found.trace if line.startswith(("sent", "MAIL"))]
        self.assertEqual(
            lines,
            [
                "MAIL: 555 no such parameter",
                "MAIL: 250 ok",
                "sent in ASCII, as the server refused the form in UTF-8",
            ],
        )

    def test_what_is_sent(self) -> None:
        """EHLO with our name; MAIL with the job's sender; prefix before content."""
        attempt = self.begin(job(prefix=b"X: y\r\n"), job(2, prefix=b"X: y\r\n"))
        wire = self.wires[0]
        said = []
        for data in (
            b"220 mx\r\n",
            b"250-mx\r\n250 PIPELINING\r\n",
            b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
            b"250 ok\r\n",
        ):
            wire.say(data)
            said.append(wire.take())
        self.assertEqual(
            said,
            [
                b"EHLO client.example\r\n",
                b"\r\n".join(
                    (
                        b"MAIL FROM:<a@here.example>",
                        b"RCPT TO:<r1@there.example>",
                        b"RCPT TO:<r2@there.example>",
                        b"DATA",
                        b"",
                    )
                ),
                b"X: y\r\nhello\r\n.\r\n",
                b"",
            ],
        )
        self.sessions.close()
        self.assertEqual(wire.take(), b"QUIT\r\n")
        self.assertEqual(
            {type(o) for o in self.successResultOf(attempt).outcomes.values()}, {Delivered}
        )

    def test_fixed_route(self) -> None:
        """With a fixed route the DNS is not asked (Q-89)."""
        attempt = self.begin(route=FixedRoute(ip_address("127.0.0.1"), 1025))
        self.assertEqual(self.dials, [(ip_address("127.0.0.1"), 1025, 30.0)])
        self.assertEqual(self.dns.asked, [])
        self.play(self.wires[0], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n")
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Delivered)
        self.assertEqual(outcome.remote, RemoteMTA("localhost", ip_address("127.0.0.1")))


class HostOrderTests(AttemptTestCase):
    """From one host to the next."""

    def test_transient_tries_next(self) -> None:
        """A transient refusal tries the next host; what that says counts (Q-34)."""
        attempt = self.begin()
        self.play(self.wires[0], b"451 4.3.2 later\r\n221 bye\r\n")
        self.play(self.wires[1], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n")
        result = self.successResultOf(attempt)
        self.assertIsInstance(result.outcomes[1], Delivered)
        self.assertEqual(result.dialed, {"mx1.example": (ONE,), "mx2.example": (TWO,)})

    def test_permanent_ends(self) -> None:
        """A permanent refusal ends the loop (Q-34)."""
        attempt = self.begin()
        self.play(self.wires[0], GREETING, b"554 5.7.1 no\r\n" * 3)
        self.assertEqual(
            self.successResultOf(attempt).outcomes,
            {
                1: Failed(
                    permanent=True,
                    error="the server said: 554 5.7.1 no",
                    code=554,
                    status="7.1",
                    remote=RemoteMTA("mx1.example", ONE),
                    reply="554 5.7.1 no",
                )
            },
        )
        self.assertEqual(len(self.wires), 1)

    def test_unwelcome(self) -> None:
        """
        A host that refuses the session for good refuses no message: the next is
        asked, and if all say the same, that is permanent (Q-95).
        """
        attempt = self.begin()
        self.play(self.wires[0], b"554 5.7.1 no\r\n221 bye\r\n")
        self.play(self.wires[1], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n")
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        for first, permanent in ((b"554 no\r\n221 bye\r\n", True), (b"451 no\r\n", False)):
            self.setUp()
            attempt = self.begin()
            self.play(self.wires[0], first)
            self.play(self.wires[1], b"554 no\r\n221 bye\r\n")
            outcome = self.successResultOf(attempt).outcomes[1]
            assert isinstance(outcome, Failed)
            self.assertEqual((outcome.code, outcome.permanent), (554, permanent))

    def test_last_error(self) -> None:
        """Where all fail, the last error is recorded (Q-34)."""
        attempt = self.begin()
        self.play(self.wires[0], b"451 4.3.2 later\r\n221 bye\r\n")
        self.play(self.wires[1], b"450 4.3.2 much later\r\n221 bye\r\n")
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertEqual((outcome.code, outcome.permanent), (450, False))
        self.assertEqual(outcome.remote, RemoteMTA("mx2.example", TWO))

    def test_each_recipient(self) -> None:
        """Only those whom a host refused for now are taken to the next (Q-19, Q-34)."""
        attempt = self.begin(job(1), job(2), job(3))
        self.play(
            self.wires[0], GREETING,
            b"250 ok\r\n250 ok\r\n550 5.1.1 who\r\n450 4.2.1 busy\r\n354 go\r\n250 ok\r\n221 b\r\n",
        )  # fmt: skip
        wire = self.wires[1]
        wire.say(b"220 mx\r\n")
        wire.take()
        wire.say(b"250-mx\r\n250 PIPELINING\r\n")
        self.assertEqual(
            wire.take(), b"MAIL FROM:<a@here.example>\r\nRCPT TO:<r3@there.example>\r\nDATA\r\n"
        )
        self.play(wire, b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n")
        outcomes = self.successResultOf(attempt).outcomes
        self.assertEqual(
            [type(outcomes[number]) for number in (1, 2, 3)], [Delivered, Failed, Delivered]
        )
        first, third = outcomes[1], outcomes[3]
        assert isinstance(first, Delivered)
        assert isinstance(third, Delivered)
        self.assertEqual((first.remote.name, third.remote.name), ("mx1.example", "mx2.example"))
        self.assertEqual(
            [labels["result"] for labels in self.labels("mox_queue_delivery_duration_seconds")],
            ["okpartial", "ok"],
        )

    def test_no_host(self) -> None:
        """What the DNS says of the domain is the fate of all, without connecting (Q-32, Q-47)."""
        for entry, permanent, status in (
            ((MX(0, ""),), True, "1.10"),
            (LookupFailed("SERVFAIL"), False, "4.3"),
        ):
            self.dns.zone[Question("there.example", RRType.MX)] = entry
            outcomes = self.successResultOf(self.begin(job(1), job(2))).outcomes
            self.assertEqual(len(outcomes), 2)
            for outcome in outcomes.values():
                assert isinstance(outcome, Failed)
                self.assertEqual(
                    (outcome.permanent, outcome.status, outcome.code, outcome.remote),
                    (permanent, status, 0, None),
                )
        self.assertEqual(self.dials, [])
        self.assertEqual(
            [labels["result"] for labels in self.durations()], ["permerror", "temperror"]
        )

    def test_host_without_address(self) -> None:
        """A host that the DNS does not know is passed over, and measured once (Q-91)."""
        del self.dns.zone[Question("mx1.example", RRType.A)]
        attempt = self.begin()
        self.assertEqual([dial[0] for dial in self.dials], [TWO])
        self.play(self.wires[0], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n")
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual([labels["result"] for labels in self.durations()], ["temperror", "ok"])


class DialTests(AttemptTestCase):
    """Addresses of one host."""

    def setUp(self) -> None:
        """One host with three addresses."""
        super().setUp()
        self.dns.zone = {
            Question("there.example", RRType.MX): (MX(1, "mx1.example"),),
            Question("mx1.example", RRType.A): (str(ONE), str(TWO)),
            Question("mx1.example", RRType.AAAA): (str(SIX),),
        }

    def test_next_address(self) -> None:
        """30 s are split over the addresses; the first connected to decides (Q-50)."""
        self.refused = {ONE: Refused(), TWO: TooLate()}
        attempt = self.begin()
        self.assertEqual(self.dials, [(ONE, 2525, 10.0), (TWO, 2525, 10.0), (SIX, 2525, 10.0)])
        self.play(self.wires[0], b"450 no\r\n221 bye\r\n")
        result = self.successResultOf(attempt)
        self.assertEqual(result.dialed, {"mx1.example": (SIX,)})
        self.assertEqual(
            [labels["result"] for labels in self.labels("mox_queue_connection_total")],
            ["error", "timeout", "ok"],
        )

    def test_no_second_address_after_connecting(self) -> None:
        """After a session went wrong, no other address of the host is tried (Q-50)."""
        attempt = self.begin()
        self.wires[0].lose(clean=False)
        self.successResultOf(attempt)
        self.assertEqual(len(self.dials), 1)

    def test_none(self) -> None:
        """Where none can be reached, the failure is transient, and nobody answered (Q-32)."""
        self.refused = {
            ONE: Refused(), TWO: OSError(101, "unreachable"), SIX: ConnectError(),
        }  # fmt: skip
        result = self.successResultOf(self.begin())
        outcome = result.outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertEqual((outcome.permanent, outcome.remote), (False, None))
        self.assertIn("mx1.example", outcome.error)
        self.assertEqual(result.dialed, {})

    def test_unreached_is_measured(self) -> None:
        """A host that cannot be connected to is one transient failure in the metric (Q-91)."""
        self.refused = {ONE: Refused(), TWO: TooLate(), SIX: Refused()}
        self.successResultOf(self.begin())
        self.assertEqual(
            self.durations(),
            [{"attempt": "1", "transport": "", "tlsmode": "opportunistic", "result": "temperror"}],
        )


class TLSTests(AttemptTestCase):
    """Opportunistic TLS."""

    OFFER = b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n"

    def setUp(self) -> None:
        """One host."""
        super().setUp()

    def test_encrypted(self) -> None:
        """Offered, TLS is used, whatever the certificate."""
        attempt = self.begin()
        wire = self.wires[0]
        self.play(wire, self.OFFER)
        wire.say(b"220 go\r\n")
        server = TLSServer(wire, ServerCreator())
        for data in (
            b"250-mx\r\n250 PIPELINING\r\n",
            b"250 ok\r\n250 ok\r\n354 go\r\n",
            b"250 ok\r\n",
            b"221 bye\r\n",
        ):
            server.take()
            server.say(data)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual(
            [labels["tlsmode"] for labels in self.labels("mox_queue_delivery_duration_seconds")],
            ["opportunistic"],
        )

    def test_plain_after_failure(self) -> None:
        """After a failed handshake a new connection to the same address goes in clear (Q-60)."""
        for ending in (b"454 no\r\n221 bye\r\n", b"554 no\r\n221 bye\r\n", b"220 go\r\n"):
            self.setUp()
            attempt = self.begin()
            self.play(self.wires[0], self.OFFER)
            self.wires[0].say(ending)
            if not self.wires[0].closed:
                self.wires[0].lose(clean=False)
            self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE])
            wire = self.wires[1]
            self.play(wire, b"220 mx\r\n")
            wire.say(b"250-mx\r\n250 STARTTLS\r\n")
            self.assertEqual(wire.take(), b"MAIL FROM:<a@here.example>\r\n")
            self.play(wire, b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n")
            result = self.successResultOf(attempt)
            self.assertIsInstance(result.outcomes[1], Delivered)
            self.assertEqual(result.dialed, {"mx1.example": (ONE,)})
            self.assertEqual(
                [(labels["tlsmode"], labels["result"]) for labels in self.durations()],
                [("opportunistic", "temperror"), ("skip", "ok")],
            )

    def test_no_second_connection(self) -> None:
        """Q-32, Q-60: where there is no connection for it either, the failure is transient."""
        self.dns.zone[Question("there.example", RRType.MX)] = (MX(1, "mx1.example"),)
        attempt = self.begin()
        self.play(self.wires[0], self.OFFER)
        self.refused = {ONE: Refused()}
        self.wires[0].say(b"554 no\r\n")
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)
        self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE])

    def test_waived(self) -> None:
        """Q-91: a failed handshake that C{TLS-Required: No} has us ignore is counted."""
        for wish, counted in ((RequireTLS.NO, [{"ignored": "badtls"}]), (RequireTLS.UNSET, [])):
            self.setUp()
            _ = self.begin(job(1, require_tls=wish))
            self.play(self.wires[0], self.OFFER)
            self.wires[0].lose()
            self.assertEqual(self.labels("mox_queue_tlsrequiredno_ignored_total"), counted)

    def test_clear_session_ends(self) -> None:
        """
        Q-60: nothing follows on a connection in the clear, as TLS is tried first each
        time; such connections do not pile up at a server whose TLS is broken.
        """
        attempt = self.begin()
        self.play(self.wires[0], self.OFFER)
        self.wires[0].lose()
        self.play(self.wires[1], b"220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        self.wires[1].say(b"250 ok\r\n")
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual(self.wires[1].take(), b"QUIT\r\n")
        self.assertEqual(len(self.sessions), 0)

    def test_once(self) -> None:
        """The connection in clear is tried once, and then it is the next host's turn (Q-60)."""
        attempt = self.begin()
        self.play(self.wires[0], self.OFFER)
        self.wires[0].lose()
        self.wires[1].lose()
        self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE, TWO])
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)


class RequireTLSTests(AttemptTestCase):
    """What may only go on with TLS that is sure."""

    def test_no_host_will_do(self) -> None:
        """
        Q-61: where no host has a policy that makes sure of it, mail under
        REQUIRETLS fails for good at once, and no host is connected to.
        """
        demanding = job(1, require_tls=RequireTLS.YES)
        outcomes = self.successResultOf(self.begin(demanding)).outcomes
        self.assertEqual([], self.dials)
        failed = outcomes[1]
        assert isinstance(failed, Failed)
        self.assertEqual((True, 554, "7.30"), (failed.permanent, failed.code, failed.status))

    def test_one_host_unknown(self) -> None:
        """Q-61: as long as nobody knows where one of the hosts is, it is tried again."""
        for name in ("mx1.example", "mx2.example"):
            self.setUp()
            self.dns.zone[Question(name, RRType.A)] = LookupFailed("SERVFAIL")
            demanding = job(1, require_tls=RequireTLS.YES)
            failed = self.successResultOf(self.begin(demanding)).outcomes[1]
            assert isinstance(failed, Failed)
            self.assertFalse(failed.permanent)

    def test_others_go(self) -> None:
        """Mail without the wish, or with the wish for no TLS, is delivered."""
        for wish in (RequireTLS.UNSET, RequireTLS.NO):
            _ = self.begin(job(1, require_tls=wish))
        self.assertEqual(2, len(self.dials))

    def test_to_ourselves(self) -> None:
        """What never leaves the machine is handed over (Q-89)."""
        _ = self.begin(job(1, require_tls=RequireTLS.YES), route=FixedRoute(ONE, 2525))
        self.assertEqual(1, len(self.dials))


class OtherFamilyTests(AttemptTestCase):
    """Refusals on policy that may be meant for the address that we came from."""

    REFUSAL = b"250 ok\r\n550 5.7.1 not from there\r\n503 no\r\n221 bye\r\n"

    def turned_away(self, *, attempts: int, both: bool) -> Failed:
        """What the only host's refusal comes to."""
        self.setUp()
        self.dns.zone = {
            Question("there.example", RRType.MX): (MX(1, "mx1.example"),),
            Question("mx1.example", RRType.A): (str(ONE),),
        }
        if both:
            self.dns.zone[Question("mx1.example", RRType.AAAA)] = (str(SIX),)
        attempt = self.begin(job(attempts=attempts))
        self.play(self.wires[0], GREETING, self.REFUSAL)
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        return outcome

    def test_first_attempt(self) -> None:
        """Q-33: x.7.* of a host with both families is transient at the first attempt only."""
        self.assertEqual(
            {
                (attempts, both): self.turned_away(attempts=attempts, both=both).permanent
                for attempts in (1, 2)
                for both in (True, False)
            },
            {(1, True): False, (1, False): True, (2, True): True, (2, False): True},
        )

    def test_the_other_family_next(self) -> None:
        """Q-33, Q-49: the next attempt connects to the family that was not used."""
        self.dns.zone = {
            Question("there.example", RRType.MX): (MX(1, "mx1.example"),),
            Question("mx1.example", RRType.A): (str(ONE),),
            Question("mx1.example", RRType.AAAA): (str(SIX),),
        }
        attempt = self.begin()
        self.play(self.wires[0], GREETING, self.REFUSAL)
        dialed = self.successResultOf(attempt).dialed
        _ = self.begin(job(attempts=2, dialed=dialed))
        self.assertEqual([dial[0] for dial in self.dials], [ONE, SIX])


class TroubleTests(AttemptTestCase):
    """Bugs, and attempts that are cut off."""

    def test_bug(self) -> None:
        """An unexpected exception is a transient failure of all, logged and counted."""

        def broken(*_: object) -> Deferred[None]:
            raise ZeroDivisionError

        self.connect = broken  # type: ignore[method-assign,assignment]  # a dialer with a bug
        outcomes = self.successResultOf(self.begin(job(1), job(2))).outcomes
        self.assertEqual(
            outcomes,
            {n: Failed(permanent=False, error="local error", status="3.0") for n in (1, 2)},
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.labels("mox_panic_total"), [{"pkg": "outbound"}])

    def test_bug_after_delivery(self) -> None:
        """What was delivered before the bug stays delivered."""
        attempt = self.begin(job(1), job(2))
        self.dns.zone[Question("mx2.example", RRType.A)] = ("no address",)
        self.play(
            self.wires[0], GREETING,
            b"250 ok\r\n250 ok\r\n450 4.2.1 busy\r\n354 go\r\n250 ok\r\n221 bye\r\n",
        )  # fmt: skip
        outcomes = self.successResultOf(attempt).outcomes
        self.assertIsInstance(outcomes[1], Delivered)
        self.assertIsInstance(outcomes[2], Failed)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_is_waiting(self) -> None:
        """
        An attempt waits while it has no session, and while its server keeps silent;
        not once it is over, nor does another one (Q-9).
        """
        self.refused[ONE] = None
        deliver, batch = self.deliver(), Batch((job(2), job(1)), NOW)
        attempt = Deferred.fromCoroutine(deliver.attempt(replace(batch, jobs=(job(1),))))
        self.assertTrue(deliver.is_waiting(batch, 2))
        self.assertFalse(deliver.is_waiting(Batch((job(2),), NOW), 2))
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        self.assertFalse(deliver.is_waiting(batch, 2))
        del self.refused[ONE]
        attempt = Deferred.fromCoroutine(deliver.attempt(batch))
        self.assertFalse(deliver.is_waiting(batch, 2))
        self.clock.advance(2)
        self.assertTrue(deliver.is_waiting(batch, 2))
        self.play(self.wires[-1], GREETING)
        self.assertFalse(deliver.is_waiting(batch, 2))
        # Nothing is heard of the next host.
        self.patch(self.dns, "lookup", lambda _: Deferred())
        self.wires[-1].lose()
        self.assertTrue(deliver.is_waiting(batch, 2))
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        self.assertFalse(deliver.is_waiting(batch, 2))

    def test_cancel_session(self) -> None:
        """Cancelling cuts the connection; nothing more is tried."""
        attempt = self.begin()
        self.play(self.wires[0], GREETING)
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        self.assertEqual(self.wires[0].closed, "aborted")
        self.assertEqual(len(self.dials), 1)
        self.assertEqual(
            [labels["result"] for labels in self.labels("mox_queue_delivery_duration_seconds")],
            ["canceled"],
        )
        self.wires[0].lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel_between_hosts(self) -> None:
        """
        Cancelled while the second host is talked to, an attempt still tells whom
        the first one took or refused for good, and of nobody else (Q-19); the
        first one's session waits for another message all the same.
        """
        attempt = self.begin(job(1), job(2), job(3))
        self.play(
            self.wires[0], GREETING,
            b"250 ok\r\n250 ok\r\n550 5.1.1 who\r\n450 4.2.1 busy\r\n354 go\r\n250 ok\r\n",
        )  # fmt: skip
        self.play(self.wires[1], GREETING)
        attempt.cancel()
        found = self.successResultOf(attempt)
        self.assertEqual(
            {number: type(outcome) for number, outcome in found.outcomes.items()},
            {1: Delivered, 2: Failed},
        )
        self.assertEqual(found.dialed, {"mx1.example": (ONE,), "mx2.example": (TWO,)})
        self.assertEqual([wire.closed for wire in self.wires], ["", "aborted"])
        self.assertEqual(
            [labels["result"] for labels in self.durations()], ["okpartial", "canceled"]
        )
        self.sessions.close()
        for wire in self.wires:
            wire.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel_between_transactions(self) -> None:
        """Recipients of an earlier transaction on the connection are not forgotten (Q-18)."""
        attempt = self.begin(job(1), job(2))
        self.play(
            self.wires[0], GREETING,
            b"250 ok\r\n250 ok\r\n452 many\r\n354 go\r\n250 ok\r\n",
        )  # fmt: skip
        attempt.cancel()
        found = self.successResultOf(attempt)
        self.assertEqual(list(found.outcomes), [1])
        self.assertIsInstance(found.outcomes[1], Delivered)

    def test_without_quit(self) -> None:
        """An attempt ends with the reply to its content; QUIT is not measured (Q-68, Q-91)."""
        attempt = self.begin()
        self.play(self.wires[0], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertNoResult(attempt)
        self.play(self.wires[0], b"250 ok\r\n")
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual([labels["result"] for labels in self.durations()], ["ok"])
        self.sessions.close()
        self.assertEqual(self.wires[0].take(), b"QUIT\r\n")
        self.assertEqual(self.wires[0].closed, "")
        self.clock.advance(5)
        self.assertEqual(self.wires[0].closed, "aborted")

    def test_cancel_look_up(self) -> None:
        """Cancelled while hosts are looked for, an attempt is measured as that (Q-91)."""
        self.patch(self.dns, "lookup", lambda _: Deferred())
        attempt = self.begin()
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        self.assertEqual([labels["result"] for labels in self.durations()], ["canceled"])

    def test_cancel_dial(self) -> None:
        """Cancelling while connecting gives up the connecting."""
        self.refused = {ONE: None}
        attempt = self.begin()
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        self.assertEqual(self.labels("mox_queue_connection_total"), [{"result": "canceled"}])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_timeout(self) -> None:
        """A session that ran out of time is counted as that, and is transient."""
        attempt = self.begin()
        self.clock.advance(300)
        self.wires[1].lose()
        self.successResultOf(attempt)
        self.assertEqual(
            [labels["result"] for labels in self.labels("mox_queue_delivery_duration_seconds")],
            ["timeout", "temperror"],
        )
