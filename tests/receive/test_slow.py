"""Clients that gave trouble are served slowly."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta

from moxsmtp.interfaces import Role
from moxsmtp.smtp.reply import Refused, Rejected, Reply
from moxsmtp.smtp.session import State
from tests.receive.wires import WireCase


def auth(password: str) -> bytes:
    return b"AUTH PLAIN " + b64encode(f"\0a@x.example\0{password}".encode()) + b"\r\n"


class RejectedTests(WireCase):
    """S-17 on port 25."""

    def setUp(self) -> None:
        super().setUp()
        self.drop()
        self.start(slow_delay=timedelta(seconds=1))

    def test_rejected(self) -> None:
        """Whose message was judged bad is answered slowly from its reply on (S-17)."""
        self.told.outcomes["message"] = Rejected(Reply(550, "6.0", "two authors"))
        self.begin()
        self.assertEqual(self.speak(b"x\r\n.\r\n"), b"5")
        self.clock.pump([1] * 25)
        self.assertEqual(self.said(), b"50 5.6.0 two authors (id8)\r\n")

    def test_other_refusals(self) -> None:
        """What is refused for other reasons slows nobody down (S-17)."""
        for outcome in (Refused(Reply(451, "3.0", "later")), Reply(550, "1.1", "nobody")):
            self.told.outcomes["message"] = outcome
            self.begin()
            self.assertTrue(self.speak(b"x\r\n.\r\n").endswith(b" (id8)\r\n"))


class SlowTests(WireCase):
    """S-17."""

    role = Role.SUBMISSION

    def setUp(self) -> None:
        super().setUp()
        self.drop()
        self.start(slow_delay=timedelta(seconds=1), authentication_delay=timedelta())
        self.speak(b"EHLO x.example\r\n")

    def annoy(self, times: int = 3) -> None:
        """Three failures make a connection slow; the last one's answer is so already."""
        for _ in range(times):
            self.speak(auth("guess"))

    def advance(self, seconds: float) -> bytes:
        self.clock.pump([0.5] * int(seconds * 2))
        return self.said()

    def test_third_failure(self) -> None:
        """Two failures are answered at once, the third octet by octet (S-17, S-42)."""
        for _ in range(2):
            self.assertTrue(self.speak(auth("guess")).endswith(b"\r\n"))
        self.assertEqual(self.speak(auth("guess")), b"5")
        self.assertEqual(self.advance(3), b"35 ")
        rest = self.advance(22)
        self.assertTrue(rest.endswith(b"(id8)\r\n"), rest)

    def test_rest_at_once(self) -> None:
        """A second for each octet, but all of it 25 seconds after the first (S-17, T-19)."""
        self.annoy()
        before = len(self.wire.writes)
        self.advance(24)
        self.assertEqual(len(self.wire.writes), before + 24)
        self.assertTrue(self.advance(1).endswith(b"(id8)\r\n"))

    def test_nothing_overtakes(self) -> None:
        """While an answer trickles, nothing else is answered or written (S-17, S-22)."""
        self.annoy(2)
        self.speak(auth("guess") + b"MAIL FROM:<>\r\nNOOP\r\n")
        self.server.dataReceived(b"NOOP\r\n")
        self.assertNotIn("mail", self.told.asked)
        said = self.advance(100)
        codes = [line[:3] for line in said.splitlines()]
        self.assertEqual(codes, [b"35 ", b"530", b"250", b"250"])

    def test_reads_slowly(self) -> None:
        """Each read waits a second (S-17)."""
        self.annoy()
        self.advance(25)
        self.assertEqual(self.wire.producerState, "paused")
        self.advance(1)
        self.assertEqual(self.wire.producerState, "producing")
        self.server.dataReceived(b"NO")
        self.assertEqual(self.wire.producerState, "paused")
        self.advance(1)
        self.assertEqual(self.wire.producerState, "producing")

    def test_success(self) -> None:
        """A successful log-in makes it fast again, from its answer on (S-17)."""
        self.annoy()
        self.advance(26)
        self.assertEqual(self.speak(auth("secret")), b"235 2.7.0 logged in\r\n")
        self.assertTrue(self.speak(b"NOOP\r\n").endswith(b"done\r\n"))
        self.assertEqual(self.wire.producerState, "producing")

    def test_quit(self) -> None:
        """The last words trickle too, then the connection ends (S-17)."""
        self.annoy()
        self.advance(26)
        self.assertEqual(self.speak(b"QUIT\r\n"), b"2")
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.advance(25), b"21 2.0.0 goodbye\r\n")
        self.assertTrue(self.wire.disconnecting)

    def test_starttls(self) -> None:
        """TLS begins once all of its 220 has left; slow mode outlives it (S-17, S-27, S-34)."""
        self.annoy()
        self.advance(26)
        self.speak(b"STARTTLS\r\n")
        self.assertIsNone(self.wire.tls)
        self.advance(25)
        self.assertIs(self.wire.tls, self.entrance.tls)
        self.server.handshakeCompleted()
        self.assertTrue(self.server._session.is_slow)

    def test_stopping(self) -> None:
        """At shutdown the rest leaves at once, and reading goes on (S-15, S-17)."""
        self.annoy()
        _ = self.factory.drain()
        self.assertTrue(self.said().endswith(b"(id8)\r\n"))
        said = self.speak(b"NOOP\r\n")
        self.assertEqual(said, b"421 4.3.2 shutting down, try again later\r\n")
        self.assertTrue(self.wire.disconnecting)

    def test_heard_while_resting(self) -> None:
        """What comes all the same, out of a TLS record, is answered in its order (S-17)."""
        self.annoy()
        self.advance(25)
        self.assertEqual(self.wire.producerState, "paused")
        self.assertEqual(self.speak(b"NOOP\r\n"), b"2")
        self.assertEqual(self.advance(25), b"50 2.0.0 done\r\n")
        self.drop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_reads(self) -> None:
        """Nor is reading put off any more (S-15, S-17)."""
        self.annoy()
        self.advance(25)
        self.assertEqual(self.wire.producerState, "paused")
        _ = self.factory.drain()
        self.assertEqual(self.wire.producerState, "producing")

    def test_gone(self) -> None:
        """Who hangs up while an answer trickles leaves no timer (S-17)."""
        self.annoy()
        self.drop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cut(self) -> None:
        """Three seconds after the shutdown began, nothing of it is left (S-15)."""
        self.annoy()
        drained = self.factory.drain()
        self.clock.pump([1] * 3)
        self.assertTrue(self.wire.disconnected)
        self.drop()
        self.successResultOf(drained)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """A slow client is not idle while we trickle, and waited for no longer than others."""
        self.annoy()
        self.advance(26)
        self.clock.pump([1] * 297)
        self.assertFalse(self.wire.disconnecting)
        self.clock.pump([1] * 5)
        self.assertTrue(self.wire.disconnecting)

    def test_never(self) -> None:
        """With a delay of zero, nobody is slow (S-17)."""
        self.start(slow_delay=timedelta())
        self.speak(b"EHLO x.example\r\n")
        for _ in range(3):
            self.assertTrue(self.speak(auth("guess")).endswith(b"\r\n"))

    def test_does_not_read(self) -> None:
        """A slow client that takes nothing is left like any other (S-16)."""
        self.annoy()
        self.server.pauseProducing()
        self.clock.pump([1] * 30)
        self.assertTrue(self.wire.disconnected)

    def test_full_in_the_middle(self) -> None:
        """Where the transport is full for a while, the rest still trickles (S-17)."""
        self.annoy()
        self.server.pauseProducing()
        self.clock.advance(1)
        self.server.resumeProducing()
        self.assertTrue(self.advance(30).endswith(b"(id8)\r\n"))
        self.assertIs(self.server._session.state, State.GREETED)
        self.assertEqual(self.speak(b"NOOP\r\n"), b"2")
