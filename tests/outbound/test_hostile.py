"""
Servers that mean ill, at each stage of a session: whatever they do, it ends, in
bounded time and memory, and with the right class of failure.
"""

from __future__ import annotations

import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import parse_domain
from moxsmtp.outbound.connection import ESMTPClient
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import StartTLS
from moxsmtp.smtp.sasl_client import choose
from moxsmtp.tls.client import OpportunisticTLS, client_context
from tests.outbound.servers import Text, Unverified, Wire
from tests.smtp.talk import brief, mailing

#: What a server says at each stage, and how long it may take (Q-68).
REPLIES: Final[Mapping[str, tuple[bytes, int]]] = {
    "greeting": (b"220 mx\r\n", 300),
    "EHLO": (b"250-mx\r\n250-AUTH CRAM-MD5\r\n250 STARTTLS\r\n", 300),
    "AUTH": (b"334 " + b64encode(b"<1@mx>") + b"\r\n", 300),
    "login": (b"235 ok\r\n", 300),
    "MAIL": (b"250 ok\r\n", 300),
    "RCPT": (b"250 ok\r\n", 300),
    "DATA": (b"354 go\r\n", 120),
    "end of data": (b"250 first\r\n", 600),
    "RSET": (b"250 ok\r\n", 300),
    "second MAIL": (b"250 ok\r\n", 300),
}
STAGES: Final = tuple(REPLIES)

#: Of the process, as it is where mail is sent: it takes longer to make than most victims live.
_CONTEXT: Final = client_context(strict=False)


class Victim:
    """A session that delivers two messages, one after the other."""

    def __init__(self, *, starttls: StartTLS = StartTLS.NEVER, size: int = 7) -> None:
        self.clock = Clock()
        host = parse_domain("mx.there.example")
        self.client = ESMTPClient(
            exchange=Exchange(
                hostname="client.example",
                starttls=starttls,
                login=lambda offered, binding: choose(
                    ["CRAM-MD5"],
                    offered,
                    username="user",
                    password="secret",
                    binding=binding,
                    random_bytes=bytes,
                ),
            ),
            security=Unverified(OpportunisticTLS(_CONTEXT, host)),
            clock=self.clock,
        )
        self.wire = Wire(self.client, self.clock)
        self.content = Text(b"hello\r\n" * (size // 7))
        self.fates: list[str] = []
        self.is_over = False
        _ = Deferred.fromCoroutine(self._deliver())

    async def _deliver(self) -> None:
        for _ in range(2):
            await self.client.deliver(mailing(), b"", self.content)
            self.fates += brief(self.client.exchange.fates)
        self.client.leave()
        self.is_over = True

    def until(self, stage: str) -> Victim:
        """Play fair up to there."""
        for name in STAGES[: STAGES.index(stage)]:
            self.wire.say(REPLIES[name][0])
        return self

    @property
    def is_cut(self) -> bool:
        """Both mailings have a fate, and the connection is being closed."""
        return self.is_over and bool(self.wire.closed)


def expected(stage: str, fate: str) -> list[str]:
    """What ends at a stage is the fate of the message under way and of what follows."""
    return ["ok 250", fate] if STAGES.index(stage) > STAGES.index("end of data") else [fate, fate]


class StageTests(SynchronousTestCase):
    """Each mischief, at each stage."""

    def each_stage(self, mischief: Callable[[Victim, str], None], fate: str, said: str) -> None:
        """The fate, the end, and no timer once the connection is gone."""
        for stage in STAGES:
            victim = Victim().until(stage)
            self.assertFalse(victim.is_over)
            mischief(victim, stage)
            self.assertTrue(victim.is_cut, stage)
            self.assertEqual(victim.fates, expected(stage, fate), (stage, said))
            self.assertFalse(victim.client.is_reusable)
            if victim.client.closed.called is False:
                victim.wire.lose(clean=False)
            self.assertEqual(victim.clock.getDelayedCalls(), [], stage)

    def test_fair(self) -> None:
        """Without mischief both would arrive: what follows shows what it is about."""
        victim = Victim().until("second MAIL")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 second\r\n"):
            victim.wire.say(reply)
        self.assertEqual(victim.fates, ["ok 250", "ok 250"])

    def test_silence(self) -> None:
        """Silence ends after the limit of the stage, and not before: transient (Q-68, Q-32)."""

        def silence(victim: Victim, stage: str) -> None:
            victim.clock.advance(REPLIES[stage][1] - 1)
            self.assertFalse(victim.is_over)
            victim.clock.advance(1)

        self.each_stage(silence, "transient 0 4.2", "silence")

    def test_drip(self) -> None:
        """An octet a second stretches no limit, be it of a line or of lines (Q-68)."""
        for octets in (b"2" + b"x" * 1000, b"250-" + b"x" * 1000, b"250-\r\n" * 200):

            def drip(victim: Victim, stage: str, octets: bytes = octets) -> None:
                limit = REPLIES[stage][1]
                for second in range(limit):
                    self.assertFalse(victim.is_over)
                    victim.wire.say(octets[second : second + 1])
                    victim.clock.advance(1)

            self.each_stage(drip, "transient 0 4.2", "drip")

    def test_floods(self) -> None:
        """
        A line of a MiB, a reply of a MiB and one of 100 000 lines end the session
        with no more than 1 MiB kept, in whatever pieces they come: transient (Q-32).
        """
        for octets in (b"2" * (1 << 20), b"250-" + b"x" * (1 << 20), b"250-x\r\n" * 100_000):
            for piece in (1 << 20, 1460):

                def flood(
                    victim: Victim, _stage: str, octets: bytes = octets, n: int = piece
                ) -> None:
                    for start in range(0, len(octets), n):
                        victim.wire.say(octets[start : start + n])

                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                self.each_stage(flood, "transient 0", "flood")
                self.assertLess(tracemalloc.get_traced_memory()[1], 2 << 20)
                tracemalloc.stop()

    def test_never_ends(self) -> None:
        """A greeting or EHLO that goes on line after line ends after 16 KiB."""
        for stage in STAGES:
            victim = Victim().until(stage)
            lines = 0
            while not victim.is_over:
                victim.wire.say(b"250-more\r\n")
                lines += 1
                self.assertLess(lines, 2000)
            self.assertEqual(victim.fates, expected(stage, "transient 0"))

    def test_closes(self) -> None:
        """A connection that ends, cleanly or not, in the middle of a line or not: transient."""
        for clean in (True, False):
            for begun in (b"", b"2", b"250-x\r\n"):

                def close(
                    victim: Victim, _stage: str, clean: bool = clean, begun: bytes = begun
                ) -> None:
                    victim.wire.say(begun)
                    victim.wire.closed = "by the server"
                    victim.wire.lose(clean=clean)

                self.each_stage(close, "transient 0 4.2", "close")

    def test_no_reply(self) -> None:
        """What is no reply, or several in one, ends the session: transient (Q-64, Q-32)."""
        for octets in (
            b"\r\n", b"\0\r\n", b"2\x0050 ok\r\n", b"250-a\r\n550 b\r\n", b"250-a\r\n251 b\r\n",
            b"25 ok\r\n", b"2500 ok\r\n", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n", b"\xff\xfe\r\n",
            b"\x15\x03\x01\x00\x02\x02\x28\r\n", b"\n", b"600 x\r\n", b"100 x\r\n", b"250\0ok\r\n",
        ):  # fmt: skip

            def say(victim: Victim, _stage: str, octets: bytes = octets) -> None:
                victim.wire.say(octets)

            def drip(victim: Victim, _stage: str, octets: bytes = octets) -> None:
                for octet in octets:
                    victim.wire.say(bytes([octet]))

            self.each_stage(say, "transient 0", repr(octets))
            self.each_stage(drip, "transient 0", repr(octets))

    def test_closing(self) -> None:
        """421 ends the session at every stage, and is transient (RFC 5321 section 3.8)."""
        self.each_stage(lambda victim, _: victim.wire.say(b"421 bye\r\n"), "transient 421", "421")

    def test_harmless(self) -> None:
        """Bare LF at the end of a line, NUL and other octets in its text do no harm."""
        for ending in (b"\n", b" \0\x07\xff\r\n", b"\t\r\n"):
            victim = Victim()
            for name in STAGES[: STAGES.index("RSET")]:
                reply = REPLIES[name][0]
                bare = ending if name not in ("EHLO", "AUTH") else b"\n"
                victim.wire.say(reply.removesuffix(b"\r\n") + bare)
            self.assertEqual(victim.fates, ["ok 250"], ending)

    def test_one_too_many(self) -> None:
        """
        A reply behind the one that was due ends the session before anything more
        is said; a message already delivered stays so.
        """
        for stage in STAGES:
            victim = Victim().until(stage)
            victim.wire.take()
            victim.wire.say(REPLIES[stage][0] + b"250 ok\r\n")
            self.assertEqual((victim.wire.take(), victim.is_cut), (b"", True), stage)
            first = "ok 250" if stage in ("end of data", "RSET", "second MAIL") else "transient 0"
            self.assertEqual(victim.fates, [first, "transient 0"], stage)

    def test_patience(self) -> None:
        """A server that uses each limit to the last second has 30 minutes in all (Q-68)."""
        victim = Victim()
        for name in STAGES:
            if victim.is_over:
                break
            victim.clock.advance(REPLIES[name][1] - 1)
            victim.wire.say(REPLIES[name][0])
        self.assertEqual(victim.fates[0], "transient 0 4.2")
        self.assertLessEqual(victim.clock.seconds(), 2 * 1800)


class TLSStageTests(SynchronousTestCase):
    """The same around STARTTLS."""

    def begun(self) -> Victim:
        """STARTTLS was said."""
        victim = Victim(starttls=StartTLS.IF_OFFERED).until("AUTH")
        self.assertTrue(victim.wire.take().endswith(b"STARTTLS\r\n"))
        return victim

    def test_reply(self) -> None:
        """Mischief in the answer to STARTTLS is transient, in its 5 minutes (Q-32)."""
        for octets in (b"2" * (1 << 20), b"250-x\r\n" * 100_000, b"\0\r\n", b"220-a\r\n250 b\r\n"):
            victim = self.begun()
            victim.wire.say(octets)
            self.assertEqual((victim.is_cut, victim.fates), (True, ["transient 0"] * 2))
        victim = self.begun()
        for _ in range(300):
            self.assertFalse(victim.is_over)
            victim.wire.say(b"x")
            victim.clock.advance(1)
        self.assertEqual((victim.is_cut, victim.fates), (True, ["transient 0 4.2"] * 2))

    def test_injected(self) -> None:
        """
        Octets behind the 220, cut anywhere, are obeyed nowhere (Q-63): nothing
        that came in clear is an answer to what is said under TLS.
        """
        injected = b"220 go\r\n250-mx\r\n250-AUTH PLAIN\r\n250 ok\r\n235 ok\r\n250 ok\r\n"
        for cut in range(len(b"220 go\r\n"), len(injected)):
            victim = self.begun()
            victim.wire.say(injected[:cut])
            victim.wire.say(injected[cut:])
            victim.clock.advance(0)
            if not victim.is_over:
                # It went to TLS, where it is no handshake.
                victim.wire.lose(clean=False)
            self.assertTrue(victim.is_over)
            self.assertEqual([fate[:11] for fate in victim.fates], ["transient 0"] * 2)
            self.assertNotIn(b"EHLO", victim.wire.take())

    def test_handshake(self) -> None:
        """A handshake dripped octet by octet has a minute (Q-68), and is a failure of TLS."""
        victim = self.begun()
        victim.wire.say(b"220 go\r\n")
        for octet in (b"\x16\x03\x03\x40\x00" + b"\x02" * 1000)[:60]:
            self.assertFalse(victim.is_over)
            victim.wire.say(bytes([octet]))
            victim.clock.advance(1)
        self.assertEqual(victim.fates, ["transient 0 4.2"] * 2)
        self.assertNotEqual(victim.client.exchange.tls_failed, "")


class LongTests(SynchronousTestCase):
    """While a long content is on its way."""

    def test_flood(self) -> None:
        """Replies that nobody waits for are kept in bounds while the server takes nothing."""
        victim = Victim(size=700_000).until("DATA")
        victim.wire.blocked = True
        victim.wire.say(b"354 go\r\n")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(256):
            victim.wire.say(b"250-x\r\n" * 600)
        self.assertTrue(victim.is_cut)
        self.assertEqual(victim.fates, ["transient 0"] * 2)
        self.assertLess(tracemalloc.get_traced_memory()[1], 2 << 20)

    def test_premature(self) -> None:
        """A 250 before the end of data is not believed, and the end is not said."""
        victim = Victim(size=700_000).until("DATA")
        victim.wire.blocked = True
        victim.wire.say(b"354 go\r\n")
        victim.wire.say(b"250 thanks\r\n")
        victim.wire.drain()
        self.assertEqual(victim.fates, ["transient 0"] * 2)
        self.assertNotIn(b"\r\n.\r\n", victim.wire.take())

    def test_refused(self) -> None:
        """A refusal before the end of data is the fate, and the end is not said."""
        victim = Victim(size=700_000).until("DATA")
        victim.wire.blocked = True
        victim.wire.say(b"354 go\r\n")
        victim.wire.say(b"552 5.3.4 big\r\n")
        victim.wire.drain()
        self.assertEqual(victim.fates[0], "permanent 552")
        self.assertNotIn(b"\r\n.\r\n", victim.wire.take())


class AnyServerTests(SynchronousTestCase):
    """Whatever is said, in whatever pieces."""

    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from([reply for reply, _ in REPLIES.values()]),
                st.sampled_from([b"550 no\r\n", b"421 x\r\n", b"250-", b"\r\n", b"\0", b"\n"]),
                st.binary(max_size=12),
            ),
            max_size=30,
        ),
        st.integers(0, 7),
    )
    def test_ends(self, said: list[bytes], cut: int) -> None:
        """Both mailings end with a fate, an hour later at the latest, and no timer is left."""
        victim = Victim()
        for octets in said:
            for piece in (octets[:cut], octets[cut:]):
                victim.wire.say(piece)
        for _ in range(24):
            victim.clock.advance(300)
        self.assertTrue(victim.is_over)
        self.assertEqual(len(victim.fates), 2)
        if any(fate.startswith("ok") for fate in victim.fates):
            self.assertIn(b"354 go\r\n", b"".join(said))
        victim.wire.lose()
        self.assertEqual(victim.clock.getDelayedCalls(), [])
