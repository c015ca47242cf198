"""Sessions that wait for the next message."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused

from moxsmtp.dns.records import MX, TLSA, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import RequireTLS
from moxsmtp.names import parse_domain
from moxsmtp.outbound.route import Routing
from moxsmtp.outbound.sessions import Sessions
from moxsmtp.outbound.transport import Direct, Route
from moxsmtp.queue.job import Attempt, Batch, Delivered, Failed
from tests.clock import SetClock
from tests.outbound.servers import ServerCreator, TLSServer, Wire, certificate
from tests.outbound.test_attempt import GREETING, NOW, ONE, SIX, TWO, AttemptTestCase, job

OTHER = parse_domain("other.example")

TAKEN = b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"
TAKEN_AGAIN = b"250 reset\r\n" + TAKEN


class ReuseTestCase(AttemptTestCase):
    """One server that delivers several messages.  @ivar server: It."""

    def setUp(self) -> None:
        """It has sent nothing yet."""
        super().setUp()
        self.server = self.deliver()

    def send(self, **changes: Any) -> Deferred[Attempt]:
        """Another message."""
        return Deferred.fromCoroutine(self.server.attempt(Batch((job(**changes),), NOW)))

    def delivered(self, wire: Wire, *replies: bytes, **changes: Any) -> None:
        """Another message, which is taken on that wire with these replies."""
        attempt = self.send(**changes)
        self.play(wire, *replies)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)

    def first(self) -> Wire:
        """The first message, on a wire of its own, which waits then."""
        attempt = self.send()
        self.play(self.wires[0], GREETING, TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        return self.wires[0]


class ReuseTests(ReuseTestCase):
    """Q-94."""

    def test_again(self) -> None:
        """
        Q-94: the next message for the same host goes over the same session, behind
        RSET, without asking the DNS again.
        """
        wire = self.first()
        asked = len(self.dns.asked)
        attempt = self.send()
        self.assertTrue(wire.take().startswith(b"RSET\r\n"))
        self.play(wire, TAKEN_AGAIN)
        found = self.successResultOf(attempt)
        self.assertIsInstance(found.outcomes[1], Delivered)
        self.assertEqual([dial[0] for dial in self.dials], [ONE])
        self.assertEqual(len(self.dns.asked), asked)
        self.assertEqual(found.dialed, {"mx1.example": (ONE,)})
        self.assertIn("used again", " ".join(found.trace))

    def beside(self, first: Wire) -> Wire:
        """Two messages at once: one goes over the session that is there, one over another."""
        attempts = [self.send(), self.send()]
        second = self.wires[1]
        self.play(first, TAKEN_AGAIN)
        self.play(second, GREETING, TAKEN)
        for attempt in attempts:
            self.successResultOf(attempt)
        return second

    def test_half_a_minute(self) -> None:
        """Q-94: a session that nobody used for 30 s is left with QUIT."""
        wire = self.first()
        self.clock.advance(29)
        self.assertEqual(wire.take(), b"")
        self.clock.advance(1)
        self.assertEqual(wire.take(), b"QUIT\r\n")
        self.assertEqual(len(self.sessions), 0)
        _ = self.send()
        self.assertEqual(len(self.dials), 2)

    def test_each_its_half_minute(self) -> None:
        """Q-94: each waits 30 s from its last message, however they overlap."""
        first = self.first()
        self.clock.advance(20)
        second = self.beside(first)
        self.clock.advance(9)
        self.delivered(second, TAKEN_AGAIN)
        self.clock.advance(21)
        self.assertEqual(first.take(), b"QUIT\r\n")
        self.clock.advance(8)
        self.assertEqual(second.take(), b"")
        self.clock.advance(1)
        self.assertEqual(second.take(), b"QUIT\r\n")

    def test_clock_set(self) -> None:
        """
        Whoever sets the clock, by a day either way, neither ends sessions that wait nor
        keeps them for longer (Q-94): one is left after 30 s, the next one 20 s later.
        """
        for by in (86_400, -86_400):
            self.setUp()
            self.clock = clock = SetClock()
            self.sessions = Sessions(clock.steady)
            self.server = self.deliver()
            first = self.first()
            clock.wait(20)
            second = self.beside(first)
            clock.wait(9)
            self.delivered(second, TAKEN_AGAIN)
            clock.set_by(by)
            self.assertEqual((first.take(), second.take()), (b"", b""))
            clock.wait(21)
            self.assertEqual((first.take(), second.take()), (b"QUIT\r\n", b""))
            clock.wait(8)
            self.assertEqual(second.take(), b"")
            clock.wait(1)
            self.assertEqual(second.take(), b"QUIT\r\n")

    def test_believed_while_set(self) -> None:
        """Nor is what the DNS said believed for longer than ten seconds."""
        for by in (86_400, -86_400):
            self.setUp()
            self.clock = clock = SetClock()
            self.server = self.deliver()
            wire = self.first()
            asked = len(self.dns.asked)
            clock.wait(5)
            clock.set_by(by)
            self.delivered(wire, TAKEN_AGAIN)
            self.assertEqual(len(self.dns.asked), asked)
            clock.wait(6)
            self.delivered(wire, TAKEN_AGAIN)
            self.assertGreater(len(self.dns.asked), asked)

    def test_asked_anew(self) -> None:
        """What the DNS said is believed for ten seconds; the session is used all the same."""
        wire = self.first()
        asked = len(self.dns.asked)
        self.clock.advance(11)
        self.delivered(wire, TAKEN_AGAIN)
        self.assertGreater(len(self.dns.asked), asked)
        self.assertEqual(len(self.dials), 1)

    def test_hundred(self) -> None:
        """Q-94: the hundredth message is the last one of a session."""
        wire = self.first()
        for _ in range(98):
            self.delivered(wire, TAKEN_AGAIN)
        attempt = self.send()
        self.play(wire, b"250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        wire.say(b"250 ok\r\n")
        self.successResultOf(attempt)
        self.assertEqual(wire.take(), b"QUIT\r\n")
        self.assertEqual(len(self.sessions), 0)

    def test_ended_while_it_waited(self) -> None:
        """Q-94: a session that ended while it waited is no failure: a new one is made."""
        wire = self.first()
        wire.lose()
        attempt = self.send()
        self.play(self.wires[1], GREETING, TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE])

    def test_ends_when_it_is_used(self) -> None:
        """Q-94: nor is one that ends as soon as it is used, closed or with 421."""
        for last in (b"", b"421 4.4.2 you were silent\r\n"):
            self.setUp()
            wire = self.first()
            attempt = self.send()
            wire.take()
            if last:
                wire.say(last)
            wire.lose()
            self.play(self.wires[1], GREETING, TAKEN)
            found = self.successResultOf(attempt)
            self.assertIsInstance(found.outcomes[1], Delivered)
            self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE])

    def test_reset_refused(self) -> None:
        """Q-94: nor is one where RSET is refused, with what was pipelined behind it or without."""
        for greeting, refusals in (
            (GREETING, b"502 5.5.1 what\r\n503 5.5.1 nested\r\n503 no\r\n503 no\r\n"),
            (b"220 mx\r\n250 mx\r\n", b"451 4.3.0 busy\r\n"),
        ):
            self.setUp()
            attempt = self.send()
            wire = self.wires[0]
            self.play(wire, greeting, TAKEN)
            self.successResultOf(attempt)
            attempt = self.send()
            self.play(wire, refusals)
            self.assertEqual(wire.closed, "aborted")
            self.play(self.wires[1], GREETING, TAKEN)
            self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
            self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE])

    def test_anew_once(self) -> None:
        """Q-94: a new session is made once; if that fails, so does the host."""
        wire = self.first()
        self.refused = {ONE: Refused(), TWO: Refused()}
        attempt = self.send()
        wire.take()
        wire.lose()
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)
        self.assertEqual([dial[0] for dial in self.dials], [ONE, ONE, TWO])

    def test_refused_on_it(self) -> None:
        """A host that puts a message off on a used session is not asked twice; the next one is."""
        wire = self.first()
        attempt = self.send()
        self.play(wire, b"250 reset\r\n250 ok\r\n451 4.3.0 busy\r\n503 none\r\n")
        self.assertEqual([dial[0] for dial in self.dials], [ONE, TWO])
        self.play(self.wires[1], GREETING, TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)

    def test_after_a_refusal(self) -> None:
        """A session on which a message was refused serves the next one."""
        attempt = self.send()
        self.play(self.wires[0], GREETING, b"250 ok\r\n550 5.1.1 who\r\n503 none\r\n")
        self.successResultOf(attempt)
        self.delivered(self.wires[0], TAKEN_AGAIN)
        self.assertEqual(len(self.dials), 1)

    def test_one_message_at_a_time(self) -> None:
        """A session that is in use serves nobody else."""
        wire = self.first()
        _, _ = self.send(), self.send()
        self.assertTrue(wire.take().startswith(b"RSET\r\n"))
        self.assertEqual(len(self.dials), 2)

    def test_the_other_family_next(self) -> None:
        """
        Q-33, Q-49: whoever was refused on policy on a used session goes to the family
        that was not used next, although a session with the first one waits again.
        """
        self.dns.zone[Question("mx1.example", RRType.AAAA)] = (str(SIX),)
        wire = self.first()
        self.dns.zone[Question("there.example", RRType.MX)] = (MX(1, "mx1.example"),)
        self.clock.advance(11)
        attempt = self.send()
        self.play(wire, b"250 reset\r\n250 ok\r\n550 5.7.1 not from there\r\n503 no\r\n")
        found = self.successResultOf(attempt)
        outcome = found.outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)
        self.assertEqual(found.dialed, {"mx1.example": (ONE,)})
        self.delivered(wire, TAKEN_AGAIN)
        attempt = self.send(attempts=2, dialed=found.dialed)
        self.assertEqual([dial[0] for dial in self.dials], [ONE, SIX])
        self.play(self.wires[1], GREETING, TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        again = self.send(attempts=3, dialed={"mx1.example": (ONE, SIX)})
        self.play(wire, TAKEN_AGAIN)
        self.assertIsInstance(self.successResultOf(again).outcomes[1], Delivered)
        self.assertEqual(len(self.dials), 2)

    def test_cancelled_on_it(self) -> None:
        """A session is gone when the attempt on it is cut."""
        wire = self.first()
        attempt = self.send()
        attempt.cancel()
        self.failureResultOf(attempt)
        self.assertEqual(wire.closed, "aborted")
        self.assertEqual(len(self.sessions), 0)

    def test_cancelled_behind_it(self) -> None:
        """An attempt cut while what the host announced is written down leaves a usable session."""
        self.records.writing = Deferred()
        attempt = self.send()
        self.play(self.wires[0], GREETING, TAKEN)
        attempt.cancel()
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.delivered(self.wires[0], TAKEN_AGAIN)
        self.assertEqual(len(self.dials), 1)


class LikenessTests(ReuseTestCase):
    """What two messages have to have in common."""

    def test_demands(self) -> None:
        """Q-94: mail of another transport does not share a session."""
        self.first()
        self.routing = Routing(
            transports={"other": Direct("other")}, routes=(Route((), (), 0, "other"),)
        )
        _ = self.send()
        self.assertEqual(len(self.dials), 2)


class ChunkTests(ReuseTestCase):
    """Servers that announce what they do not know."""

    def test_data_next_time(self) -> None:
        """A host that announces CHUNKING and does not know BDAT gets DATA on the next session."""
        self.dns.zone[Question("there.example", RRType.MX)] = (MX(1, "mx1.example"),)
        greeting = b"220 mx\r\n250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
        attempt = self.send()
        self.play(self.wires[0], greeting)
        self.play(self.wires[0], b"250 ok\r\n250 ok\r\n502 5.5.1 what\r\n")
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)
        attempt = self.send()
        self.play(self.wires[1], greeting)
        self.play(self.wires[1], TAKEN)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)

    def test_chunks_next_time(self) -> None:
        """One that knows it gets BDAT on each session, whatever became of the message."""
        self.dns.zone[Question("there.example", RRType.MX)] = (MX(1, "mx1.example"),)
        for number, last in enumerate((b"250 ok\r\n", b"550 no\r\n", b"451 later\r\n")):
            attempt = self.send()
            wire = self.wires[number]
            self.play(wire, b"220 mx\r\n")
            wire.say(b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
            self.assertIn(b"BDAT", wire.take())
            self.play(wire, b"250 ok\r\n250 ok\r\n" + last)
            self.successResultOf(attempt)
            wire.lose()


class VerifiedTests(ReuseTestCase):
    """Sessions with a host that DANE vouches for."""

    TLSA = Question("_2525._tcp.mx1.example", RRType.TLSA)

    def setUp(self) -> None:
        """There is one host, and all that the DNS says is authentic."""
        super().setUp()
        self.creator = ServerCreator()
        leaf, _ = certificate()
        digest = hashlib.sha256(crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf)).digest()
        self.signed("there.example", RRType.CNAME)
        self.signed("there.example", RRType.MX, MX(1, "mx1.example"))
        self.signed("mx1.example", RRType.CNAME)
        self.signed("mx1.example", RRType.A, str(ONE))
        self.signed("mx1.example", RRType.AAAA)
        self.signed(self.TLSA.name, RRType.TLSA, TLSA(3, 0, 1, digest))

    def signed(self, name: str, type_: RRType, *records: Record) -> None:
        """An answer that is authentic."""
        self.dns.zone[Question(name, type_)] = Answer(records, authentic=True)

    def opened(self, wire: Wire, *keywords: bytes) -> TLSServer:
        """A session under TLS, up to what EHLO announces."""
        self.play(wire, b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n")
        wire.say(b"220 go\r\n")
        server = TLSServer(wire, self.creator)
        server.take()
        server.say(b"250-mx\r\n" + b"".join(b"250-%b\r\n" % each for each in keywords))
        server.say(b"250 PIPELINING\r\n")
        return server

    def wait_for_another(self, **changes: Any) -> TLSServer:
        """A message was delivered, and its session waits."""
        attempt = self.send(**changes)
        server = self.opened(self.wires[-1], b"REQUIRETLS")
        for replies in (b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n"):
            server.say(replies)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        server.take()
        return server

    def test_require_tls(self) -> None:
        """Q-94: mail under REQUIRETLS has a session of its own, and says so in MAIL (Q-61)."""
        one = self.wait_for_another()
        two = self.wait_for_another(require_tls=RequireTLS.YES)
        self.assertEqual(len(self.dials), 2)
        self.assertEqual(one.take(), b"")
        _ = self.send(require_tls=RequireTLS.YES)
        self.assertIn(b" REQUIRETLS\r\n", two.take())
        self.assertEqual(len(self.dials), 2)

    def test_other_records(self) -> None:
        """Q-94: a session serves nobody once other TLSA records are there to be fulfilled."""
        self.wait_for_another()
        self.signed(self.TLSA.name, RRType.TLSA, TLSA(3, 0, 1, b"x" * 32))
        self.clock.advance(10)
        _ = self.send()
        self.assertEqual(len(self.dials), 2)

    def test_records_unknown(self) -> None:
        """Trap 14: nor when it is unknown which there are."""
        one = self.wait_for_another()
        self.dns.zone[self.TLSA] = LookupFailed("SERVFAIL")
        self.clock.advance(10)
        outcome = self.successResultOf(self.send()).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertFalse(outcome.permanent)
        self.assertEqual(one.take(), b"")

    def test_require_tls_is_not_offered(self) -> None:
        """Q-61, Q-91: a host without REQUIRETLS is passed over, for good, and is counted."""
        attempt = self.send(require_tls=RequireTLS.YES)
        self.opened(self.wires[0])
        outcome = self.successResultOf(attempt).outcomes[1]
        assert isinstance(outcome, Failed)
        self.assertEqual((outcome.permanent, outcome.code, outcome.status), (True, 554, "7.30"))
        self.assertEqual(
            self.labels("mox_queue_requiretls_unsupported_total"), [{"reason": "norequiretls"}]
        )

    def test_require_tls_is_not_wanted(self) -> None:
        """Q-91: mail that does not demand it is not counted at such a host."""
        attempt = self.send()
        server = self.opened(self.wires[0])
        for replies in (b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n"):
            server.say(replies)
        self.assertIsInstance(self.successResultOf(attempt).outcomes[1], Delivered)
        self.assertEqual(self.labels("mox_queue_requiretls_unsupported_total"), [])


class BoundTests(ReuseTestCase):
    """How many wait."""

    def test_bound(self) -> None:
        """When too many wait, leave is taken of the one that has waited longest."""
        self.sessions = Sessions(self.clock, most=1)
        self.server = self.deliver()
        one = self.first()
        self.dns.zone[Question("other.example", RRType.MX)] = (MX(1, "mx3.example"),)
        self.dns.zone[Question("mx3.example", RRType.A)] = (str(TWO),)
        attempt = self.send(forward_path=replace(job().forward_path, domain=OTHER))
        self.play(self.wires[1], GREETING, TAKEN)
        self.successResultOf(attempt)
        self.assertEqual(one.take(), b"QUIT\r\n")
        self.assertEqual(len(self.sessions), 1)

    def test_stop(self) -> None:
        """When the server stops, leave is taken of all, and of each that becomes idle later."""
        wire = self.first()
        self.sessions.close()
        self.assertEqual(wire.take(), b"QUIT\r\n")
        attempt = self.send()
        self.play(self.wires[1], GREETING, b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.wires[1].say(b"250 ok\r\n")
        self.successResultOf(attempt)
        self.assertEqual(self.wires[1].take(), b"QUIT\r\n")
        for each in self.wires:
            each.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
