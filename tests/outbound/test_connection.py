"""Sessions over a transport: time, back-pressure, TLS, the end."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import ChannelBinding, IContent
from moxsmtp.names import parse_domain
from moxsmtp.outbound.connection import PIECE, ESMTPClient, Security
from moxsmtp.outbound.content import ShortContent
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import Fate, Mailing, Refusal, StartTLS
from moxsmtp.tls.binding import channel_binding, client_channel_binding
from moxsmtp.tls.client import OpportunisticTLS, client_context
from tests.outbound.servers import ServerCreator, Text, TLSServer, Unverified, Wire
from tests.smtp.talk import brief, mailing

OPENING = (b"220 mx\r\n", b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
ACCEPTED = b"250 ok\r\n250 ok\r\n354 go\r\n"

#: Of a server that takes a form in UTF-8.
ABLE = b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"


class Session:
    """
    A client, the wire it is on, and a first mailing; it is left once the fates
    of that are known, unless it C{stays}.
    """

    def __init__(
        self,
        content: IContent | None = None,
        *,
        prefix: bytes = b"",
        starttls: bool = False,
        message: Mailing | None = None,
        stays: bool = False,
        security: Security | None = None,
        alternative: IContent | None = None,
    ) -> None:
        self.clock = Clock()
        host = parse_domain("mx.there.example")
        self.creator = OpportunisticTLS(client_context(strict=False), host)
        wanted = StartTLS.IF_OFFERED if starttls else StartTLS.NEVER
        self.client = ESMTPClient(
            exchange=Exchange(hostname="client.example", starttls=wanted),
            security=security or Unverified(self.creator),
            clock=self.clock,
            binding=client_channel_binding,
        )
        self.wire = Wire(self.client, self.clock)
        self.delivered = self.deliver(
            content, prefix=prefix, message=message, alternative=alternative
        )
        if not stays:
            _ = self.delivered.addCallback(self._leave)

    def deliver(
        self,
        content: IContent | None = None,
        *,
        prefix: bytes = b"",
        message: Mailing | None = None,
        alternative: IContent | None = None,
    ) -> Deferred[list[Fate]]:
        """Hand another message over."""
        return Deferred.fromCoroutine(
            self.client.deliver(
                message or mailing(), prefix, content or Text(b"hello\r\n"), alternative
            )
        )

    def _leave(self, fates: list[Fate]) -> list[Fate]:
        self.client.leave()
        return fates

    def until_content(self) -> None:
        """Up to the answer to DATA, with nothing of the content before."""
        for data in OPENING:
            self.wire.say(data)
        self.wire.take()
        self.wire.say(ACCEPTED)

    @property
    def fates(self) -> list[str]:
        """In short."""
        return brief(self.client.exchange.fates)


def in_two_forms(plain: bytes, wide: bytes, announced: bytes) -> Session:
    """Of a message that is there in UTF-8, too, at a server that has taken its envelope."""
    session = Session(
        Text(plain),
        prefix=b"X: y\r\n",
        message=replace(mailing(), alternative_size=len(wide)),
        alternative=Text(wide),
    )
    for reply in (OPENING[0], announced):
        session.wire.say(reply)
    session.wire.take()
    session.wire.say(ACCEPTED)
    return session


class ConnectionTestCase(SynchronousTestCase):
    """Ends of sessions."""

    def brief_of(self, delivered: Deferred[list[Fate]]) -> list[str]:
        """What the caller was told, in short."""
        fates = self.successResultOf(delivered)
        return brief(fates)

    def assertOver(self, session: Session, fate: str, closed: str) -> None:
        """The result is there, and no timer runs on once the connection is gone."""
        self.successResultOf(session.delivered)
        self.assertEqual((session.fates, session.wire.closed), ([fate], closed))
        session.wire.lose()
        self.assertEqual(session.clock.getDelayedCalls(), [])


class DeliveryTests(ConnectionTestCase):
    """Messages that arrive."""

    def test_interfaces(self) -> None:
        """It hears of handshakes, and produces."""
        client = Session().client
        self.assertTrue(verifyObject(IHandshakeListener, client))
        self.assertTrue(verifyObject(IPushProducer, client))

    def test_small(self) -> None:
        """Prefix and content leave in one write, dots stuffed; then QUIT, then the end."""
        session = Session(Text(b".a\r\nb\r\n"), prefix=b"X: y\r\n")
        session.until_content()
        self.assertEqual(session.wire.take(), b"X: y\r\n..a\r\nb\r\n.\r\n")
        self.assertNoResult(session.delivered)
        session.wire.say(b"250 queued\r\n")
        self.assertEqual(session.wire.take(), b"QUIT\r\n")
        self.assertEqual(session.wire.closed, "")
        session.wire.say(b"221 bye\r\n")
        self.assertOver(session, "ok 250", "closed")

    def test_form_in_utf8(self) -> None:
        """
        Of a message of two forms a server that takes 8BITMIME and SMTPUTF8 gets the one in
        UTF-8, without our prefix (Q-6, Q-38), any other the one in ASCII with it; whether
        either is short or long.
        """
        unable = OPENING[1]
        for plain_lines, wide_lines in ((1, 1), (1, 30_000), (30_000, 1), (30_000, 30_000)):
            plain, wide = b"plain\r\n" * plain_lines, b"w\xc3\xb6\r\n" * wide_lines
            for announced, sent in ((ABLE, wide), (unable, b"X: y\r\n" + plain)):
                session = in_two_forms(plain, wide, announced)
                self.assertEqual(session.wire.take(), sent + b".\r\n")
                session.wire.say(b"250 queued\r\n")
                session.wire.say(b"221 bye\r\n")
                self.assertOver(session, "ok 250", "closed")

    def test_form_in_utf8_is_refused(self) -> None:
        """Then that in ASCII follows, with our prefix, whether either is short or long (Q-38)."""
        for plain_lines, wide_lines in ((1, 1), (1, 30_000), (30_000, 1), (30_000, 30_000)):
            plain, wide = b"plain\r\n" * plain_lines, b"w\xc3\xb6\r\n" * wide_lines
            session = in_two_forms(plain, wide, ABLE)
            self.assertEqual(session.wire.take(), wide + b".\r\n")
            session.wire.say(b"555 not so\r\n")
            self.assertIn(b"RSET\r\n", session.wire.take())
            session.wire.say(b"250 reset\r\n" + ACCEPTED)
            self.assertEqual(session.wire.take(), b"X: y\r\n" + plain + b".\r\n")
            session.wire.say(b"250 queued\r\n")
            session.wire.say(b"221 bye\r\n")
            self.assertOver(session, "ok 250", "closed")

    def test_form_in_utf8_is_damaged(self) -> None:
        """Where the form in UTF-8 cannot be read, that in ASCII goes to every server."""
        message = replace(mailing(), alternative_size=7)
        short = Text(b"w", size=7)
        session = Session(Text(b"plain\r\n"), message=message, alternative=short)
        session.wire.say(OPENING[0])
        session.wire.say(b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
        self.assertNotIn(b"SMTPUTF8", session.wire.take())
        session.wire.say(ACCEPTED)
        self.assertEqual(session.wire.take(), b"plain\r\n.\r\n")
        session.wire.say(b"250 queued\r\n")
        session.wire.say(b"221 bye\r\n")
        self.assertOver(session, "ok 250", "closed")
        self.assertEqual(len(self.flushLoggedErrors(ShortContent)), 1)

    def test_byte_by_byte(self) -> None:
        """The same however the replies are cut."""
        session = Session()
        for data in (*OPENING, ACCEPTED, b"250 queued\r\n", b"221 bye\r\n"):
            for octet in data:
                session.wire.say(bytes([octet]))
        self.assertOver(session, "ok 250", "closed")

    def test_empty(self) -> None:
        """A message without a single octet is a message."""
        session = Session(Text(b""))
        session.until_content()
        self.assertEqual(session.wire.take(), b".\r\n")

    def test_pieces(self) -> None:
        """Long content is read and written in pieces, and arrives whole."""
        text = b"0123456789abcdef\r\n.\r\n" * 20_000
        content = Text(text)
        session = Session(content, prefix=b"X: y\r\n")
        session.until_content()
        self.assertEqual(
            session.wire.take(), b"X: y\r\n" + text.replace(b"\n.", b"\n..") + b".\r\n"
        )
        self.assertLessEqual(max(content.reads), PIECE)
        self.assertLess(session.wire.largest_write, 2 * PIECE)

    def test_several_transactions(self) -> None:
        """The content is sent again for recipients that were too many (Q-18)."""
        session = Session(message=mailing("b", "c"))
        for data in OPENING:
            session.wire.say(data)
        session.wire.take()
        session.wire.say(b"250 ok\r\n250 ok\r\n452 too many\r\n354 go\r\n")
        self.assertEqual(session.wire.take(), b"hello\r\n.\r\n")
        session.wire.say(b"250 queued\r\n")
        session.wire.take()
        session.wire.say(ACCEPTED)
        self.assertEqual(session.wire.take(), b"hello\r\n.\r\n")
        session.wire.say(b"250 queued\r\n")
        self.assertEqual(session.fates, ["ok 250", "ok 250"])


@implementer(IContent)
class _Endless:
    """Many MiB of lines, made as they are read."""

    size = 20 * (1 << 20)
    line = b"x" * 62 + b"\r\n"

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See L{IContent.read}."""
        length = min(length, self.size - offset)
        return succeed((self.line * (length // 64 + 2))[offset % 64 : offset % 64 + length])


class BackPressureTests(ConnectionTestCase):
    """Servers that read slowly."""

    def test_paused(self) -> None:
        """Nothing is read from the store while the server does not take what was written."""
        content = Text(b"0123456789abcdef\r\n" * 20_000)
        session = Session(content)
        session.wire.blocked = True
        session.until_content()
        self.assertEqual(len(content.reads), 1)
        session.wire.drain()
        self.assertEqual(sum(content.reads), content.size)
        self.assertTrue(session.wire.take().endswith(b"\r\n.\r\n"))

    def test_write_limit(self) -> None:
        """A server that takes nothing for 30 s is left (Q-68); it owes no word as long."""
        session = Session(Text(b"0123456789abcdef\r\n" * 20_000))
        session.wire.blocked = True
        session.until_content()
        session.clock.advance(29)
        self.assertFalse(session.client.is_silent(2))
        self.assertNoResult(session.delivered)
        session.clock.advance(1)
        self.assertTrue(session.client.is_late)
        self.assertOver(session, "transient 0 4.2", "aborted")

    def test_no_memory(self) -> None:
        """However long a message, less than one MiB of it is in memory."""
        sent = 0
        session = Session(_Endless())
        session.wire.blocked = True
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        session.until_content()
        while session.wire.producer is not None:
            sent += len(session.wire.take())
            session.client.resumeProducing()
        sent += len(session.wire.take())
        self.assertEqual(sent, _Endless.size + 3)
        self.assertLess(tracemalloc.get_traced_memory()[1], 1 << 20)


class BadContentTests(ConnectionTestCase):
    """Content that cannot be sent."""

    def test_bare_line_feed(self) -> None:
        """
        A short content with a bare LF or CR is refused before a word of it is
        said, permanent 554 5.6.0, and leaves the session for others (Q-68).
        """
        for text in (b"a\nb\r\n", b"a\rb\r\n", b"a\r", b"a\r\n.\n", b"\n"):
            session = Session(Text(text), stays=True)
            self.successResultOf(session.delivered)
            self.assertEqual(session.fates, ["permanent 554 6.0"])
            for data in OPENING:
                session.wire.say(data)
            self.assertEqual(session.wire.take(), b"EHLO client.example\r\n")
            self.assertNoResult(session.deliver())
            self.assertIn(b"MAIL FROM", session.wire.take())

    def test_late_bare_line_feed(self) -> None:
        """Found in a later piece, the end of data still never leaves."""
        session = Session(Text(b"0123456789abcdef\r\n" * 10_000 + b"\n"))
        session.until_content()
        self.assertNotIn(b"\r\n.\r\n", session.wire.take())
        self.assertOver(session, "permanent 554 6.0", "aborted")

    def test_short(self) -> None:
        """Content shorter than its size is not passed off as whole; that is ours to mend."""
        session = Session(Text(b"hello\r\n" * 10_000, size=100_000))
        session.until_content()
        self.assertNotIn(b".\r\n", session.wire.take())
        self.assertOver(session, "transient 0 3.0", "aborted")
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_short_and_small(self) -> None:
        """The same of what fits into one write: nothing of it is said."""
        session = Session(Text(b"hello\r\n", size=100))
        self.successResultOf(session.delivered)
        self.assertEqual(session.fates, ["transient 0 3.0"])
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_unreadable(self) -> None:
        """A store that fails is a transient failure, logged, and not told in detail."""
        for size in (10, 100_000):
            session = Session(_Broken(size))
            session.until_content()
            self.successResultOf(session.delivered)
            self.assertEqual(session.fates, ["transient 0 3.0"])
            self.assertNotIn(b".\r\n", session.wire.take())
            self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
            fate = session.client.exchange.fates[0]
            assert isinstance(fate, Refusal)
            self.assertEqual(fate.error, "local error")


@implementer(IContent)
class _Broken:
    """Cannot be read."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def read(self, offset: int, length: int) -> bytes:
        """See L{IContent.read}."""
        raise OSError(offset, length)


class TimeTests(ConnectionTestCase):
    """Servers that take their time."""

    def test_silence(self) -> None:
        """Silence at each stage ends after the time that RFC 5321 gives it (Q-68)."""
        replies = (b"220 mx\r\n", b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")
        for stage, minutes in enumerate((5, 5, 5, 5, 2, 10)):
            session = Session()
            for reply in replies[:stage]:
                session.wire.say(reply)
            session.clock.advance(60 * minutes - 1)
            self.assertNoResult(session.delivered)
            session.clock.advance(1)
            self.assertTrue(session.client.is_late)
            self.assertOver(session, "transient 0 4.2", "aborted")

    def test_is_silent(self) -> None:
        """From each word of the server to the next it is told how long it keeps silent."""
        session = Session(stays=True)
        for data in (*OPENING, ACCEPTED):
            session.clock.advance(2)
            self.assertTrue(session.client.is_silent(2))
            session.wire.say(data)
            session.wire.take()
            self.assertFalse(session.client.is_silent(0.1))
        session.clock.advance(2)
        self.assertTrue(session.client.is_silent(2))
        session.wire.say(b"250 queued\r\n")
        session.clock.advance(2)
        self.assertFalse(session.client.is_silent(2))

    def test_dripping(self) -> None:
        """A reply sent octet by octet does not get more time."""
        session = Session()
        for _ in range(30):
            session.wire.say(b"2"[: session.clock.seconds() == 0])
            session.clock.advance(10)
        self.assertOver(session, "transient 0 4.2", "aborted")

    def test_session_limit(self) -> None:
        """However busy it is, a session ends after 30 minutes (Q-68)."""
        session = Session(message=mailing(*(f"r{n}" for n in range(20))))
        session.wire.say(b"220 mx\r\n")
        session.wire.say(b"250 mx\r\n")
        for _ in range(6):
            session.clock.advance(299)
            session.wire.say(b"250 ok\r\n")
        self.assertNoResult(session.delivered)
        session.clock.advance(6)
        self.successResultOf(session.delivered)
        self.assertEqual(set(session.fates), {"transient 0 4.2"})

    def test_quit(self) -> None:
        """
        The result is there with the reply to the content; QUIT has 5 s, in which
        nobody waits, and then the connection is cut (Q-68).
        """
        session = Session()
        session.until_content()
        session.wire.say(b"250 queued\r\n")
        self.successResultOf(session.delivered)
        self.assertEqual(session.wire.take()[-6:], b"QUIT\r\n")
        session.clock.advance(4.9)
        self.assertEqual(session.wire.closed, "")
        session.clock.advance(0.1)
        self.assertFalse(session.client.is_late)
        self.assertOver(session, "ok 250", "aborted")

    def test_leave(self) -> None:
        """All refused, and DATA unanswered: nobody waits, and 5 s later it ends (Q-68)."""
        session = Session()
        for data in (*OPENING, b"250 ok\r\n550 who\r\n"):
            session.wire.say(data)
        self.successResultOf(session.delivered)
        self.assertEqual(session.wire.closed, "")
        session.clock.advance(5)
        self.assertOver(session, "permanent 550", "aborted")

    def test_slow_close(self) -> None:
        """A peer that never closes is cut off."""
        session = Session()
        session.until_content()
        session.wire.say(b"250 queued\r\n")
        session.wire.say(b"221 bye\r\n")
        self.assertEqual(session.wire.closed, "closed")
        session.wire.closed = ""
        session.clock.advance(5)
        self.assertEqual(session.wire.closed, "aborted")


class EndTests(ConnectionTestCase):
    """Connections that break, and attempts that are cut off."""

    def test_lost_at_every_stage(self) -> None:
        """Whenever the server hangs up, there is a result, and it is transient."""
        stages = (*OPENING, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")
        for stage in range(len(stages) + 1):
            for clean in (True, False):
                session = Session()
                for data in stages[:stage]:
                    session.wire.say(data)
                session.wire.lose(clean=clean)
                self.successResultOf(session.delivered)
                self.assertEqual(session.fates, ["transient 0 4.2"])
                self.assertEqual(session.clock.getDelayedCalls(), [])

    def test_lost_while_paused(self) -> None:
        """A server that hangs up in the middle of the content leaves nothing waiting."""
        content = Text(b"0123456789abcdef\r\n" * 20_000)
        session = Session(content)
        session.wire.blocked = True
        session.until_content()
        session.wire.say(b"552 5.3.4 too big\r\n")
        self.assertNoResult(session.delivered)
        session.wire.lose(clean=False)
        self.successResultOf(session.delivered)
        self.assertEqual(session.fates, ["permanent 552"])
        self.assertEqual(len(content.reads), 1)
        self.assertEqual(session.clock.getDelayedCalls(), [])

    def test_flood_while_sending(self) -> None:
        """A MiB of replies nobody asked for, in the middle of the content, ends the session."""
        session = Session(Text(b"0123456789abcdef\r\n" * 20_000))
        session.wire.blocked = True
        session.until_content()
        for _ in range(16):
            session.wire.say(b"250-x\r\n" * 9362)
        self.assertOver(session, "transient 0", "aborted")

    def test_cancel(self) -> None:
        """Cancelling cuts the connection, at whatever stage, and leaves no timer."""
        stages = (*OPENING, ACCEPTED)
        for stage in range(len(stages) + 1):
            session = Session(Text(b"0123456789abcdef\r\n" * 20_000))
            session.wire.blocked = stage == 3
            for data in stages[:stage]:
                session.wire.say(data)
            session.delivered.cancel()
            self.failureResultOf(session.delivered, CancelledError)
            self.assertEqual(session.wire.closed, "aborted")
            session.wire.lose()
            self.assertEqual(session.clock.getDelayedCalls(), [])
            self.assertEqual(session.client.exchange.fates, [None])

    def test_abort(self) -> None:
        """Leave-taking can be cut off; the fate stays, and no timer is left."""
        session = Session()
        session.until_content()
        session.wire.say(b"250 queued\r\n")
        session.client.abort()
        self.assertOver(session, "ok 250", "aborted")

    def test_cancel_keeps_fates(self) -> None:
        """What the server has said before the cut stays known; the rest stays unknown (Q-19)."""
        session = Session(message=mailing("b", "c"))
        for data in (*OPENING, b"250 ok\r\n250 ok\r\n452 many\r\n354 go\r\n", b"250 queued\r\n"):
            session.wire.say(data)
        session.delivered.cancel()
        self.failureResultOf(session.delivered, CancelledError)
        self.assertEqual(session.fates, ["ok 250", "none"])


class TLSTests(ConnectionTestCase):
    """STARTTLS."""

    def begun(self) -> Session:
        """Up to the client's hello."""
        session = Session(starttls=True)
        for data in OPENING:
            session.wire.say(data)
        self.assertTrue(session.wire.take().endswith(b"STARTTLS\r\n"))
        session.wire.say(b"220 go\r\n")
        return session

    def test_unverified(self) -> None:
        """Any certificate will do; the whole transaction is encrypted."""
        session = self.begun()
        creator = ServerCreator()
        server = TLSServer(session.wire, creator)
        self.assertEqual(server.take(), b"EHLO client.example\r\n")
        server.say(b"250-mx\r\n250 PIPELINING\r\n")
        self.assertIn(b"MAIL FROM", server.take())
        server.say(ACCEPTED)
        self.assertEqual(server.take(), b"hello\r\n.\r\n")
        server.say(b"250 queued\r\n")
        self.assertEqual(server.take(), b"QUIT\r\n")
        server.say(b"221 bye\r\n")
        self.assertEqual(session.fates, ["ok 250"])
        self.successResultOf(session.delivered)
        assert creator.connection is not None
        self.assertEqual(creator.connection.get_servername(), b"mx.there.example")
        self.assertEqual(creator.connection.get_protocol_version_name(), "TLSv1.3")
        self.assertNotEqual(session.creator.errors, [])

    def test_no_handshake(self) -> None:
        """A server that does not shake hands within 60 s has failed at TLS (Q-68)."""
        session = self.begun()
        session.clock.advance(59)
        self.assertNoResult(session.delivered)
        session.clock.advance(1)
        self.assertNotEqual(session.client.exchange.tls_failed, "")
        self.assertOver(session, "transient 0 4.2", "aborted")

    def test_no_tls(self) -> None:
        """A server that answers the client's hello in clear has failed at TLS."""
        session = self.begun()
        session.wire.say(b"454 4.7.0 TLS not available\r\n" * 4)
        session.clock.advance(0)
        session.wire.lose(clean=False)
        self.successResultOf(session.delivered)
        self.assertNotEqual(session.client.exchange.tls_failed, "")

    def test_lost_right_after(self) -> None:
        """A connection lost before the server has spoken under TLS is a failure of TLS."""
        session = self.begun()
        server = TLSServer(session.wire, ServerCreator())
        self.assertEqual(server.take(), b"EHLO client.example\r\n")
        session.wire.lose(clean=False)
        self.successResultOf(session.delivered)
        self.assertNotEqual(session.client.exchange.tls_failed, "")

    def test_injected(self) -> None:
        """Clear text behind the 220 is neither obeyed nor handed to TLS (Q-63)."""
        session = Session(starttls=True)
        for data in OPENING:
            session.wire.say(data)
        session.wire.take()
        session.wire.say(b"220 go\r\n250-mx\r\n250 ok\r\n")
        self.assertFalse(session.wire.TLS)
        self.assertEqual(session.wire.take(), b"")
        self.assertEqual(session.client.exchange.tls_failed, "")
        self.assertOver(session, "transient 0", "aborted")


class ReuseTests(ConnectionTestCase):
    """One session, several messages (Q-94)."""

    def test_three(self) -> None:
        """They follow each other, each in one write, and QUIT comes when it is wished."""
        session = Session(stays=True)
        session.until_content()
        session.wire.say(b"250 first\r\n")
        session.wire.take()
        for number in range(2):
            self.assertTrue(session.client.is_reusable)
            delivered = session.deliver(Text(b"number %d\r\n" % number))
            self.assertTrue(session.wire.take().startswith(b"RSET\r\nMAIL FROM"))
            self.assertFalse(session.client.is_reusable)
            session.wire.say(b"250 ok\r\n" + ACCEPTED)
            self.assertEqual(session.wire.take(), b"number %d\r\n.\r\n" % number)
            session.wire.say(b"250 ok\r\n")
            self.assertEqual(self.brief_of(delivered), ["ok 250"])
        session.client.leave()
        self.assertEqual(session.wire.take(), b"QUIT\r\n")
        self.assertNoResult(session.client.closed)
        session.wire.say(b"221 bye\r\n")
        self.assertOver(session, "ok 250", "closed")
        self.successResultOf(session.client.closed)

    def test_waiting(self) -> None:
        """A session that nobody uses is left after 30 minutes, and 5 s are enough for QUIT."""
        session = Session(stays=True)
        session.until_content()
        session.wire.say(b"250 first\r\n")
        session.clock.advance(1799)
        self.assertTrue(session.client.is_reusable)
        session.clock.advance(1)
        self.assertFalse(session.client.is_reusable)
        self.assertFalse(session.client.is_late)
        self.assertOver(session, "ok 250", "aborted")

    def test_time(self) -> None:
        """Each message has the time of a session; a timer that is old takes none of it."""
        session = Session(stays=True)
        session.until_content()
        session.wire.say(b"250 first\r\n")
        session.clock.advance(1700)
        second = session.deliver()
        session.clock.advance(299)
        self.assertNoResult(second)
        session.wire.say(b"250 ok\r\n" + ACCEPTED)
        session.clock.advance(599)
        self.assertNoResult(second)
        session.clock.advance(1)
        self.assertEqual(self.brief_of(second), ["transient 0 4.2"])
        self.assertTrue(session.client.is_late)

    def test_gone(self) -> None:
        """A server that hangs up in between is noticed; what comes too late fails at once."""
        session = Session(stays=True)
        session.until_content()
        session.wire.say(b"250 first\r\n")
        session.wire.lose()
        self.assertFalse(session.client.is_reusable)
        self.successResultOf(session.client.closed)
        second = session.deliver()
        self.assertEqual(self.brief_of(second), ["transient 0 4.2"])
        self.assertTrue(session.client.exchange.is_unheard)
        self.assertEqual(session.clock.getDelayedCalls(), [])

    def test_cancel_second(self) -> None:
        """Cancelling the second cuts the connection, and leaves the first delivered (Q-19)."""
        session = Session(stays=True)
        session.until_content()
        session.wire.say(b"250 first\r\n")
        second = session.deliver()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.brief_of(session.delivered), ["ok 250"])
        self.assertEqual((session.wire.closed, session.fates), ("aborted", ["none"]))
        self.assertFalse(session.client.is_reusable)

    def test_cancel_while_reading(self) -> None:
        """Cancelling while the store is asked cuts the connection as well."""
        waiting: Deferred[bytes] = Deferred()

        @implementer(IContent)
        class Slow:
            size = 10

            def read(self, offset: int, length: int) -> Deferred[bytes]:
                return waiting

        session = Session(Slow(), stays=True)
        session.wire.say(OPENING[0])
        session.delivered.cancel()
        self.failureResultOf(session.delivered, CancelledError)
        self.assertEqual(session.wire.closed, "aborted")

    def test_slow_store(self) -> None:
        """Content that comes later than the server's greeting is waited for."""
        waiting: Deferred[bytes] = Deferred()

        @implementer(IContent)
        class Slow:
            size = 4

            def read(self, offset: int, length: int) -> Deferred[bytes]:
                return waiting

        session = Session(Slow())
        for data in OPENING:
            session.wire.say(data)
        self.assertNotIn(b"MAIL", session.wire.take())
        waiting.callback(b"hi\r\n")
        self.assertIn(b"MAIL", session.wire.take())

    def test_chunk(self) -> None:
        """A short message leaves in one write where the server takes chunks (RFC 3030)."""
        session = Session(Text(b".a\r\n"), prefix=b"X: y\r\n")
        session.wire.say(b"220 mx\r\n")
        session.wire.take()
        session.wire.say(b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
        self.assertEqual(session.wire.largest_write, len(session.wire.sent))
        self.assertTrue(session.wire.take().endswith(b"\r\nBDAT 10 LAST\r\nX: y\r\n.a\r\n"))


class _Strict:
    """A L{Security} that is of a certain opinion, and writes down what it hears."""

    def __init__(self, verdict: str = "") -> None:
        host = parse_domain("mx.there.example")
        self.creator = OpportunisticTLS(client_context(strict=False), host)
        self.judged: list[bool] = []
        self.failures: list[tuple[object, bool]] = []
        self.announced = ""
        self._verdict = verdict

    def verdict(self, transport: Any) -> str:
        """See L{Security}."""
        connection = transport.getHandle()
        self.judged.append(connection.get_peer_certificate() is not None)
        return self._verdict

    def handshake_failed(self, reason: Failure, timed_out: bool) -> None:
        """See L{Security}."""
        self.failures.append((reason.type, timed_out))


class SecurityTests(ConnectionTestCase):
    """What the TLS of a connection has to be."""

    def begun(self, security: _Strict) -> Session:
        """Up to the client's hello."""
        session = Session(starttls=True, security=security)
        for data in OPENING:
            session.wire.say(data)
        session.wire.take()
        session.wire.say(b"220 go\r\n")
        return session

    def test_good(self) -> None:
        """The judge sees the certificate before a word is said under TLS."""
        security = _Strict()
        session = self.begun(security)
        server = TLSServer(session.wire, ServerCreator())
        self.assertEqual(server.take(), b"EHLO client.example\r\n")
        self.assertEqual((security.judged, security.failures), ([True], []))
        self.assertEqual(security.announced, "mx")

    def test_bad(self) -> None:
        """Nothing is said to a server whose certificate is not good enough: transient (Q-32)."""
        security = _Strict("not the one")
        session = self.begun(security)
        server = TLSServer(session.wire, ServerCreator())
        self.assertEqual(server.take(), b"")
        self.assertEqual(session.client.exchange.tls_failed, "not the one")
        self.assertOver(session, "transient 0 7.5", "aborted")
        self.assertEqual((security.judged, security.failures), ([True], []))

    def test_failed(self) -> None:
        """Who judges is told of handshakes that fail, once, and whether time was up."""
        for late in (True, False):
            security = _Strict()
            session = self.begun(security)
            if late:
                session.clock.advance(60)
            else:
                session.wire.lose(clean=False)
            self.successResultOf(session.delivered)
            self.assertEqual([timed_out for _, timed_out in security.failures], [late])
            self.assertEqual(security.announced, "mx")
            self.assertEqual(security.judged, [])

    def test_lost_after(self) -> None:
        """A connection lost before the server has spoken under TLS is told too (Q-85)."""
        security = _Strict()
        session = self.begun(security)
        server = TLSServer(session.wire, ServerCreator())
        server.take()
        session.wire.lose(clean=False)
        self.assertEqual(security.failures, [(ConnectionLost, False)])
        self.successResultOf(session.delivered)

    def test_not_told(self) -> None:
        """Once the server has spoken under TLS, what is lost is no matter of TLS."""
        security = _Strict()
        session = self.begun(security)
        server = TLSServer(session.wire, ServerCreator())
        server.say(b"250 mx\r\n")
        session.wire.lose(clean=False)
        self.assertEqual((security.failures, session.client.exchange.tls_failed), ([], ""))
        self.successResultOf(session.delivered)

    def test_immediate(self) -> None:
        """TLS from the first octet, a login bound to it, and a message."""
        asked: list[ChannelBinding | None] = []

        def login(_offered: frozenset[str], binding: ChannelBinding | None) -> None:
            asked.append(binding)

        clock = Clock()
        security = _Strict()
        client = ESMTPClient(
            exchange=Exchange(hostname="client.example", starttls=StartTLS.IMMEDIATE, login=login),
            security=security,
            clock=clock,
            binding=client_channel_binding,
        )
        creator = ServerCreator()
        server = TLSServer(Wire(client, clock), creator)
        self.assertEqual(server.take(), b"")
        server.say(b"220 mx\r\n")
        self.assertEqual(server.take(), b"EHLO client.example\r\n")
        server.say(b"250-mx\r\n250 AUTH SCRAM-SHA-256-PLUS\r\n")
        self.assertEqual(server.take(), b"QUIT\r\n")
        assert creator.connection is not None
        self.assertEqual(asked, [channel_binding(creator.connection)])


class MemoryTests(ConnectionTestCase):
    """What is left of a session."""

    def test_waiting(self) -> None:
        """A session that waits for another message keeps nothing of the last one."""
        session = Session(stays=True)
        session.until_content()
        session.wire.say(b"250 ok\r\n")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        prefix = b"X-Prefix: " + b"p" * 30_000 + b"\r\n"
        content = Text(b"hello\r\n" * 4_000)
        held = weakref.ref(content)
        second = session.deliver(content, prefix=prefix)
        session.wire.say(b"250 ok\r\n" + ACCEPTED)
        session.wire.say(b"250 ok\r\n")
        self.assertEqual(self.brief_of(second), ["ok 250"])
        session.wire.take()
        del content, prefix
        self.assertIsNone(held())
        self.assertLess(tracemalloc.get_traced_memory()[0], 20_000)

    def test_gone(self) -> None:
        """A session that is over is freed at once, without the collector of garbage."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        session = Session()
        session.until_content()
        session.wire.say(b"250 ok\r\n")
        session.wire.say(b"221 bye\r\n")
        exchange = weakref.ref(session.client.exchange)
        session.wire.lose()
        self.successResultOf(session.delivered)
        session.wire.protocol = None
        session.client.transport = None
        del session
        self.assertIsNone(exchange())
