"""The protocol between a wire and a receiver."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import Client, Hello, InsufficientStorage, IReceiver, Role
from moxsmtp.names import parse_domain, parse_host
from moxsmtp.receive.connections import Connections
from moxsmtp.smtp.reply import Refused, Reply, Unjudged
from moxsmtp.testing import MemorySpool
from tests.receive.wires import TLS, Told, WireCase

DURATION = "mox_smtpserver_command_duration_seconds"


def auth(password: str) -> bytes:
    return b"AUTH PLAIN " + b64encode(f"\0a@x.example\0{password}".encode()) + b"\r\n"


class GreetingTests(WireCase):
    """What a connection begins with."""

    def test_greeting(self) -> None:
        """The listener's own name is in the greeting and in EHLO (S-2, S-13)."""
        verifyObject(IReceiver, self.told)
        self.assertEqual(self.greeting, b"220 mx.example ESMTP moxsmtp\r\n")
        self.assertTrue(self.speak(b"EHLO x.example\r\n").startswith(b"250-mx.example\r\n"))

    def test_session_ids(self) -> None:
        """Each connection has the next number, and the receiver is told (S-9)."""
        self.speak(b"EHLO x.example\r\n")
        self.assertEqual(self.told.clients[-1].session_id, 7)
        self.connect()
        self.speak(b"EHLO x.example\r\n")
        self.assertEqual(self.told.clients[-1].session_id, 8)

    def test_client(self) -> None:
        """The receiver is told who is there, from where and how."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        hello = Hello(parse_host("x.example"), True)
        peer, here = parse_host("[192.0.2.2]"), parse_host("[192.0.2.1]")
        self.assertEqual(
            self.told.clients[-1],
            Client(7, Role.SMTP, peer.address, here.address, hello),  # type: ignore[union-attr]  # literals
        )

    def test_too_many(self) -> None:
        """Beyond the listener's connections there is 421 4.7.0, until one ends (S-16)."""
        self.start(connections=Connections(2))
        first = self.server
        self.connect()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"421 4.7.0 "))
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.speak(b"EHLO x.example\r\n"), b"")
        self.drop()
        self.server = first
        self.drop()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))

    def test_counted(self) -> None:
        """Connections are counted by kind, and those open by listener (S-114)."""
        opened = 'moxsmtp_connections{listener="public",protocol="smtp"}'
        self.assertEqual(self.metrics.counts['mox_smtpserver_connection_total{kind="smtp"}'], 1)
        self.assertEqual(self.metrics.levels[opened], 1)
        self.drop()
        self.assertEqual(self.metrics.levels[opened], 0)
        self.assertEqual(self.connections.open, 0)


class ReloadTests(WireCase):
    """Other settings while people are there."""

    def test_obeys(self) -> None:
        """Connections to come have the new settings, open ones keep theirs."""
        self.factory.obey(
            replace(self.entrance, maximum_size=5000, hostname=parse_domain("new.example"))
        )
        self.assertIn(b"250-SIZE 1000\r\n", self.speak(b"EHLO x.example\r\n"))
        self.connect()
        self.assertEqual(self.greeting, b"220 new.example ESMTP moxsmtp\r\n")
        self.assertIn(b"250-SIZE 5000\r\n", self.speak(b"EHLO x.example\r\n"))

    def test_debugging(self) -> None:
        """Connections that come and go are told of while somebody debugs, not else."""
        events: list[LogEvent] = []
        observer = cast("ILogObserver", events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.factory.obey(replace(self.entrance, debugging=False))
        self.connect()
        self.drop()
        self.assertEqual(events, [])
        self.factory.obey(self.entrance)
        self.connect()
        self.drop()
        formats = [event["log_format"] for event in events]
        self.assertEqual(formats, ["connection from {peer}", "connection closed: {why}"])


class FlowTests(WireCase):
    """RFC 2920."""

    def test_in_order(self) -> None:
        """While the receiver thinks, nothing behind it is begun; then all goes on (S-22)."""
        self.speak(b"EHLO x.example\r\n")
        self.told.outcomes["mail"] = thinking = Deferred[None]()
        self.assertEqual(self.speak(b"MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nNOOP\r\n"), b"")
        self.assertEqual(self.told.asked, ["hello", "reset", "mail"])
        self.assertEqual(self.speak(b"VRFY x\r\n"), b"")
        thinking.callback(None)
        self.assertEqual(
            [line[:9] for line in self.said().splitlines()],
            [b"250 2.1.0", b"250 2.1.0", b"250 2.0.0", b"252 2.7.0"],
        )
        self.assertEqual(self.told.asked[-2:], ["mail", "recipient"])

    def test_one_write(self) -> None:
        """Successes of a pipeline leave together, with what ends it (S-22)."""
        self.speak(b"EHLO x.example\r\n")
        before = len(self.wire.writes)
        self.speak(b"MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n")
        self.assertEqual(len(self.wire.writes), before + 1)

    def test_errors_at_once(self) -> None:
        """A refusal does not wait for what is behind it (S-22)."""
        self.speak(b"EHLO x.example\r\n")
        before = len(self.wire.writes)
        self.speak(b"NOOP\r\nNOOP x y\r\nNOOP\r\nNOOP\r\n")
        self.assertEqual([write.count(b"\r\n") for write in self.wire.writes[before:]], [2, 2])

    def test_octet_by_octet(self) -> None:
        """The same is said however the octets come."""
        script = (
            b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n"
            b"a: b\r\n\r\n..\r\n.\r\nFOO\r\nQUIT\r\n"
        )
        whole = self.speak(script)
        contents = self.told.contents
        self.start(session_ids=iter([7]))
        self.assertEqual(b"".join(self.speak(bytes([octet])) for octet in script), whole)
        self.assertEqual(self.told.contents, contents)
        self.assertEqual(contents, [b"a: b\r\n\r\n.\r\n"])

    def finish_turns(self) -> bytes:
        """What is said once everybody had their turns."""
        while self.clock.getDelayedCalls()[0].getTime() == self.clock.seconds():
            self.clock.advance(0)
        return self.said()

    def test_turns(self) -> None:
        """A long pipeline lets others have their turn, and is answered whole (S-22)."""
        said = self.speak(b"NOOP\r\n" * 1000)
        self.assertIn(said.count(b"\r\n"), range(50, 500))
        said += self.finish_turns()
        self.assertEqual(said, b"250 2.0.0 done\r\n" * 1000)

    def test_bounded(self) -> None:
        """Of a flood behind an unanswered command, 64 KiB are read ahead, and no more."""
        self.speak(b"EHLO x.example\r\n")
        self.told.outcomes["mail"] = thinking = Deferred[None]()
        self.server.dataReceived(b"MAIL FROM:<>\r\n")
        sent = 0
        while self.wire.producerState == "producing":
            self.server.dataReceived(b"NOOP\r\n" * 1000)
            sent += 1000
        self.assertLess(sent * 6, 65_536 + 2 * 6000)
        thinking.callback(None)
        self.assertEqual(self.finish_turns().count(b"250 2.0.0 done"), sent)
        self.assertEqual(self.wire.producerState, "producing")

    def test_slow_reader(self) -> None:
        """A peer that does not read gets no more answers until it does, and is read no more."""
        self.speak(b"NOOP\r\n")
        self.server.pauseProducing()
        self.assertEqual(self.speak(b"NOOP\r\n"), b"")
        self.server.dataReceived(b"NOOP\r\n" * 12_000)
        self.assertEqual(self.wire.producerState, "paused")
        self.server.resumeProducing()
        self.assertEqual(self.finish_turns().count(b"250 2.0.0 done"), 12_001)
        self.assertEqual(self.wire.producerState, "producing")

    def test_full_in_the_middle(self) -> None:
        """Once the transport is full, the rest of a pipeline waits until it is empty."""
        self.speak(b"NOOP\r\n")
        written = len(self.wire.writes)
        self.wire.is_full = True
        self.assertEqual(self.speak(b"FOO\r\n" * 5 + b"NOOP\r\n" * 5).count(b"\r\n"), 1)
        self.assertEqual(len(self.wire.writes), written + 1)
        self.wire.is_full = False
        self.server.resumeProducing()
        self.assertEqual(self.said().count(b"\r\n"), 9)

    def test_endless_line(self) -> None:
        """A line without an end is refused and the connection closed (S-18)."""
        said = b""
        for _ in range(10):
            said += self.speak(b"x" * 1000)
        self.assertEqual(said, b"500 5.5.0 line too long\r\n")
        self.assertTrue(self.wire.disconnecting)

    def test_quit(self) -> None:
        """QUIT is answered and the connection closed; no end is waited for (S-100, S-14)."""
        self.assertTrue(self.speak(b"QUIT\r\nNOOP\r\n").startswith(b"221 2.0.0 "))
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.wire.disconnected)
        self.clock.advance(5)
        self.assertTrue(self.wire.disconnected)


class TransactionTests(WireCase):
    """What the receiver is asked, and when."""

    def test_whole(self) -> None:
        """A message goes from MAIL to 250, and the transaction ends (S-67, S-74, S-82)."""
        self.speak(b"EHLO x.example\r\n")
        self.assertDialog("""
            C: MAIL FROM:<b@x.example>
            S: 250 2.1.0 sender accepted
            C: RCPT TO:<a@x.example>
            S: 250 2.1.0 recipient accepted
            C: DATA
            S: 354 go ahead...
            C: Subject: x
            C: .
            S: 250 2.2.0 stored
        """)
        self.assertEqual(self.told.contents, [b"Subject: x\r\n"])
        self.assertEqual(
            self.told.asked,
            ["hello", "reset", "mail", "recipient", "data", "message", "reset"],
        )

    def test_other_commands(self) -> None:
        """RSET, NOOP, VRFY, EXPN, HELP need no receiver to be answered (S-100, S-101, S-102)."""
        self.assertDialog("""
            C: RSET
            S: 250 2.0.0 forgotten
            C: NOOP
            S: 250 2.0.0 done
            C: VRFY x
            S: 252 2.7.0 that is not told; send a message and see (id7)
            C: EXPN x
            S: 252 2.7.0 that is not told; send a message and see (id7)
            C: HELP
            S: 214 2.0.0 the commands are those of RFC 5321
        """)
        self.assertEqual(self.told.asked, ["reset"])

    def test_bad_name(self) -> None:
        """A name that the receiver refuses is no hello (S-30, S-28)."""
        self.told.outcomes["hello"] = Refused(Reply(550, "5.0", "no such host"))
        self.assertDialog("""
            C: HELO x.example
            S: 550 5.5.0 no such host (id7)
            C: MAIL FROM:<>
            S: 503 5.5.1 say EHLO or HELO first (id7)
        """)

    def test_refusals(self) -> None:
        """A refusal is answered as it is, with the reply id; what was before stays (S-21, S-28)."""
        self.speak(b"HELO x.example\r\n")
        self.told.outcomes["mail"] = Refused(Reply(550, "7.1", "not you"))
        self.told.outcomes["recipient"] = Reply(452, "5.3", "enough")
        self.assertDialog("""
            C: MAIL FROM:<>
            S: 550 5.7.1 not you (id7)
        """)
        self.assertEqual(self.told.asked[-1], "reset")
        del self.told.outcomes["mail"]
        self.assertDialog("""
            C: MAIL FROM:<>
            S: 250 2.1.0 sender accepted
            C: RCPT TO:<a@x.example>
            S: 452 4.5.3 enough (id7)
        """)
        self.assertNotEqual(self.told.asked[-1], "reset")

    def test_resets(self) -> None:
        """RSET and a new hello end the receiver's transaction too (S-27, S-31)."""
        for line in (b"RSET\r\n", b"EHLO x.example\r\n", b"HELO x.example\r\n"):
            self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
            self.speak(line)
            self.assertEqual(self.told.asked[-1], "reset", line)

    def test_no_place(self) -> None:
        """Without a place for the content there is no 354 (S-75)."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
        self.told.outcomes["data"] = Refused(Reply(452, "3.1", "disk full"))
        self.assertEqual(self.speak(b"DATA\r\n"), b"452 4.3.1 disk full (id7)\r\n")
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")

    def test_room_runs_out(self) -> None:
        """If room runs out, the rest is read and 452 told; the connection goes on (S-75, S-112)."""
        self.told.spool = spool = MemorySpool(room=10)
        self.begin()
        self.assertEqual(self.speak(b"x" * 20), b"")
        self.assertTrue(spool.aborted)
        self.assertEqual(self.speak(b"RSET\r\n" * 3), b"")
        said = self.speak(b".\r\nNOOP\r\n")
        self.assertTrue(said.startswith(b"452 4.3.1 "), said)
        self.assertTrue(said.endswith(b" (id7)\r\n250 2.0.0 done\r\n"), said)
        self.assertEqual(self.told.contents, [])
        self.assertEqual(self.told.asked[-1], "reset")

    def test_finish_fails(self) -> None:
        """A disk that is full or broken at the end is told like one before it (S-75, S-112)."""
        for error, code in ((InsufficientStorage("x"), b"452 4.3.1"), (OSError("x"), b"451 4.3.0")):

            class Broken(MemorySpool):
                async def finish(self, error: Exception = error) -> Any:
                    raise error

            self.told.spool = spool = Broken()
            self.begin()
            said = self.speak(b".\r\n")
            self.assertTrue(said.startswith(code), said)
            self.assertTrue(spool.aborted)
            self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")

    def test_write_breaks(self) -> None:
        """An I/O error while content comes in is 451 4.3.0 at its end (S-75)."""

        class Broken(MemorySpool):
            def write(self, data: bytes) -> Deferred[None] | None:
                raise OSError(5, "secret words")

        self.told.spool = Broken()
        self.begin()
        said = self.speak(b"x\r\n.\r\n")
        self.assertTrue(said.startswith(b"451 4.3.0 "), said)
        self.assertNotIn(b"secret", said)

    def test_spool_waits(self) -> None:
        """While the spool cannot take more, nothing more is given to it."""
        waiting = Deferred[None]()
        written = list[bytes]()

        class Slow(MemorySpool):
            def write(self, data: bytes) -> Deferred[None] | None:
                written.append(data)
                super().write(data)
                return waiting if len(written) == 1 else None

        self.start(maximum_size=10**6)
        self.told.spool = Slow()
        self.begin()
        self.speak(b"one\r\n|")
        self.speak(b"two\r\n|")
        while self.wire.producerState == "producing":
            self.server.dataReceived(b"x" * 30_000)
        self.assertEqual(written, [b"one\r\n|"])
        waiting.callback(None)
        self.assertEqual(self.wire.producerState, "producing")
        self.assertTrue(written[1].startswith(b"two\r\n|xxx"))

    def test_smuggling(self) -> None:
        """Content with a stand-in for its end is no message, and its place is free again (S-77)."""
        self.told.spool = spool = MemorySpool()
        self.begin()
        said = self.speak(b"a\n.\nMAIL FROM:<e@x.example>\r\n.\r\n")
        self.assertTrue(said.startswith(b"500 5.5.2 "), said)
        self.assertTrue(spool.aborted)
        self.assertNotIn("message", self.told.asked)

    def test_oversize(self) -> None:
        """Too large a message is refused at its end; beyond twice the limit at once (S-78)."""
        self.begin()
        said = self.speak(b"x" * 1500 + b"\r\n.\r\nNOOP\r\n")
        self.assertTrue(said.startswith(b"552 5.2.3 "), said)
        self.assertTrue(said.endswith(b"250 2.0.0 done\r\n"), said)
        self.begin()
        self.assertEqual(self.speak(b"x" * 2100), b"552 5.2.3 message too large (id7)\r\n")
        self.assertTrue(self.wire.disconnecting)

    def test_rejected(self) -> None:
        """What the receiver refuses is nobody's: the place is free again (S-82)."""
        for outcome in (Reply(550, "7.1", "spam"), Refused(Reply(550, "7.1", "spam"))):
            self.told.spool = spool = MemorySpool()
            self.told.outcomes["message"] = outcome
            self.begin()
            self.assertEqual(self.speak(b".\r\n"), b"550 5.7.1 spam (id7)\r\n")
            self.assertTrue(spool.aborted)
        self.told.outcomes.clear()
        self.told.spool = spool = MemorySpool()
        self.begin()
        self.speak(b".\r\n")
        self.assertFalse(spool.aborted)

    def test_bad_messages(self) -> None:
        """Eleven refused messages and no good one end in 550 5.1.0 (S-56, S-113, I-4)."""
        for outcome in (Reply(550, "7.1", "spam"), Refused(Reply(550, "7.1", "spam"))):
            self.connect()
            self.told.outcomes["message"] = outcome
            for _ in range(11):
                self.begin()
                self.speak(b".\r\n")
            self.assertEqual(
                self.speak(b"MAIL FROM:<>\r\n"), b"550 5.1.0 too many messages were refused\r\n"
            )
            self.assertTrue(self.wire.disconnecting)

    def test_good_message(self) -> None:
        """
        A message that was taken makes up for those refused, before or after it
        (S-56, S-113, I-4).
        """
        self.told.outcomes["message"] = Reply(550, "7.1", "spam")
        for _ in range(10):
            self.begin()
            self.speak(b".\r\n")
        self.told.outcomes.pop("message")
        self.begin()
        self.assertTrue(self.speak(b".\r\n").startswith(b"250 "))
        self.told.outcomes["message"] = Reply(550, "7.1", "spam")
        for _ in range(15):
            self.begin()
            self.speak(b".\r\n")
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"250 "))

    def test_refused_recipients_do_not_count(self) -> None:
        """Recipients may be refused any number of times (S-113)."""
        self.told.outcomes["recipient"] = Reply(550, "1.1", "nobody")
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        for _ in range(15):
            self.speak(b"RCPT TO:<a@x.example>\r\n")
        self.assertTrue(self.speak(b"RSET\r\nMAIL FROM:<>\r\n").endswith(b"sender accepted\r\n"))

    def test_unjudged_do_not_count(self) -> None:
        """What was no message, or was never whole, is not a bad one (S-113)."""
        self.told.outcomes["message"] = Unjudged(Reply(554, "6.0", "no header"))
        for _ in range(15):
            self.begin()
            self.speak(b".\r\n")
            self.begin()
            self.speak(b"\r\r\n.\r\n")
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"250 "))


class FailureTests(WireCase):
    """What should never happen."""

    def assertPanic(self) -> None:
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.metrics.counts['mox_panic_total{pkg="smtpserver"}'], 1)
        self.metrics.counts.clear()

    def test_receiver_breaks(self) -> None:
        """A bug is 451 4.3.0 without a word of it, logged, counted; one may go on (S-112)."""
        steps: list[tuple[str, Callable[[], bytes]]] = [
            ("hello", lambda: self.speak(b"EHLO x.example\r\n")),
            ("mail", lambda: self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")),
            ("recipient", lambda: self.speak(b"MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")),
            ("data", lambda: self.speak(b"RCPT TO:<a@x.example>\r\nDATA\r\n")),
            ("message", lambda: self.speak(b"DATA\r\nx\r\n.\r\n")),
        ]
        for method, step in steps:
            self.told.outcomes = {method: ZeroDivisionError("secret words")}
            said = step()
            last = said.splitlines()[-1]
            self.assertEqual(last, b"451 4.3.0 local error, try again later (id7)", method)
            self.assertNotIn(b"secret", said)
            self.assertPanic()
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")

    def test_spool_breaks(self) -> None:
        """A bug in the spool is told at the end of the content (S-112)."""

        class Broken(MemorySpool):
            def write(self, data: bytes) -> Deferred[None] | None:
                raise ZeroDivisionError

        self.told.spool = Broken()
        self.begin()
        self.assertTrue(self.speak(b"x\r\n.\r\n").startswith(b"451 4.3.0 "))
        self.assertPanic()

    def test_protocol_breaks(self) -> None:
        """A bug outside of the receiver's answers ends this connection, and no other (S-14)."""
        other = self.server, self.wire
        self.connect()

        def broken() -> None:
            raise ZeroDivisionError

        self.told.reset = broken  # type: ignore[method-assign]  # it breaks
        self.speak(b"RSET\r\n")
        self.assertTrue(self.wire.disconnected)
        self.assertPanic()
        self.server, self.wire = other
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")

    def test_cancelled_by_somebody(self) -> None:
        """A receiver that was cancelled by somebody else does not leave the peer hanging."""
        self.speak(b"EHLO x.example\r\n")
        self.told.outcomes["mail"] = thinking = Deferred[None]()
        self.speak(b"MAIL FROM:<>\r\n")
        thinking.errback(CancelledError())
        self.assertTrue(self.wire.disconnected)
        self.flushLoggedErrors(CancelledError)

    def test_drop_cancels(self) -> None:
        """A connection that drops takes along what was done for it, without a word."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
        for method, line in (("recipient", b"RCPT TO:<a@x.example>\r\n"), ("data", b"DATA\r\n")):
            cancelled: list[object] = []
            self.told.outcomes[method] = Deferred[None](cancelled.append)
            self.speak(line)
            self.server.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(len(cancelled), 1)
            self.assertEqual(self.told.asked[-1], "reset")
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.connect()
            self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")

    def test_drop_lets_go(self) -> None:
        """What a dropped connection had not answered yet is not kept until garbage is collected."""
        self.told.outcomes["mail"] = Deferred()
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n" + b"NOOP\r\n" * 5000)
        self.assertGreater(self.server._session.buffered, 10_000)
        self.server.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.server._session.buffered, 0)

    def test_drop_in_data(self) -> None:
        """A connection that drops in the middle of DATA leaves nothing behind."""
        self.told.spool = spool = MemorySpool()
        self.begin()
        self.speak(b"half a mess")
        self.server.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(spool.aborted)
        self.assertEqual(self.told.contents, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_drop_at_the_end(self) -> None:
        """One that drops while the message is judged cancels that."""
        self.told.spool = spool = MemorySpool()
        self.begin()
        cancelled: list[object] = []
        self.told.outcomes["message"] = Deferred[None](cancelled.append)
        self.speak(b".\r\n")
        self.drop()
        self.assertEqual(len(cancelled), 1)
        self.assertTrue(spool.aborted)


class TimeTests(WireCase):
    """RFC 5321 section 4.5.3.2."""

    def assertClosesAfter(self, seconds: float, *, abort: bool) -> None:
        """Silently, neither before nor after."""
        self.said()
        self.advance(seconds - 1)
        self.assertFalse(self.wire.disconnecting)
        self.advance(1)
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.wire.disconnected, abort)
        self.assertEqual(self.said(), b"")

    def advance(self, seconds: float) -> None:
        """Like a real clock: second by second."""
        self.clock.pump([1] * int(seconds))

    def test_command(self) -> None:
        """A command is awaited five minutes from the last reply (S-16)."""
        self.advance(200)
        self.speak(b"NOOP\r\n")
        self.assertClosesAfter(300, abort=False)
        self.clock.advance(5)
        self.assertTrue(self.wire.disconnected)

    def test_parts_of_a_command(self) -> None:
        """Octet after octet does not buy more time (S-16)."""
        for _ in range(5):
            self.advance(50)
            self.speak(b"N")
        self.assertClosesAfter(50, abort=False)

    def test_busy(self) -> None:
        """With more than half of the connections in use, 30 seconds are enough (S-16)."""
        self.start(connections=Connections(5))
        self.assertFalse(self.entrance.connections.is_busy)
        self.advance(40)
        server, wire = self.server, self.wire
        self.connect()
        self.connect()
        self.assertTrue(self.entrance.connections.is_busy)
        self.server, self.wire = server, wire
        self.advance(30)
        self.assertTrue(self.wire.disconnecting)

    def test_block(self) -> None:
        """More of a message is awaited three minutes, again and again (S-16)."""
        self.begin()
        for _ in range(4):
            self.advance(170)
            self.speak(b"x")
        self.assertClosesAfter(180, abort=True)

    def test_data(self) -> None:
        """The whole of DATA may take half an hour, however it trickles (S-16)."""
        self.begin()
        for _ in range(17):
            self.advance(100)
            self.speak(b"x")
        self.assertClosesAfter(100, abort=True)

    def test_processing(self) -> None:
        """Half an hour after DATA, whatever the receiver does is cancelled (S-16)."""
        cancelled: list[object] = []
        self.told.outcomes["message"] = Deferred[None](cancelled.append)
        self.begin()
        self.advance(100)
        self.speak(b".\r\n")
        self.assertClosesAfter(1700, abort=True)
        self.assertEqual(len(cancelled), 1)

    def test_thinking(self) -> None:
        """While we think, the peer is not to blame."""
        self.speak(b"EHLO x.example\r\n")
        self.told.outcomes["mail"] = thinking = Deferred[None]()
        self.speak(b"MAIL FROM:<>\r\n")
        self.advance(1000)
        self.assertFalse(self.wire.disconnecting)
        thinking.callback(None)
        self.assertClosesAfter(300, abort=False)

    def test_write(self) -> None:
        """A peer that takes nothing for 30 seconds is left (S-16)."""
        self.server.pauseProducing()
        self.advance(29)
        self.server.resumeProducing()
        self.advance(10)
        self.server.pauseProducing()
        self.assertClosesAfter(30, abort=True)


class StartTLSTests(WireCase):
    """RFC 3207."""

    def test_begins(self) -> None:
        """220 with the reply id leaves in the clear, then TLS begins (S-34, S-21)."""
        self.speak(b"EHLO x.example\r\n")
        self.assertEqual(self.speak(b"STARTTLS\r\n"), b"220 2.0.0 go ahead with TLS (id7)\r\n")
        self.assertIs(self.wire.tls, self.entrance.tls)
        self.assertEqual(self.wire.beneath, b"")
        self.assertEqual(self.metrics.counts["mox_smtpserver_delivery_starttls_total"], 1)

    def test_fresh(self) -> None:
        """Behind the handshake all is as it was at first, but for TLS (S-27)."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nSTARTTLS\r\n")
        self.assertEqual(self.told.asked[-1], "reset")
        self.server.handshakeCompleted()
        self.assertEqual(self.said(), b"")
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"503 5.5.1 "))
        self.assertNotIn(b"STARTTLS", self.speak(b"EHLO x.example\r\n"))
        self.assertEqual(self.told.clients[-1].tls, TLS)

    def test_injection(self) -> None:
        """What came behind the command goes to TLS, which breaks on it; nobody obeys it (S-35)."""
        self.speak(b"EHLO x.example\r\n")
        asked = len(self.told.asked)
        said = self.speak(b"STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n")
        self.assertEqual(said.count(b"\r\n"), 1)
        self.assertEqual(self.wire.beneath, b"MAIL FROM:<evil@x.example>\r\n")
        self.server.handshakeCompleted()
        self.assertEqual(self.said(), b"")
        self.assertEqual(self.told.asked[asked:], ["reset"])

    def test_failures(self) -> None:
        """A failed handshake is counted by its reason, and is no error of ours (S-114, S-35)."""
        reasons: list[tuple[Exception, str]] = [
            (ConnectionLost(), "eof"),
            (SSL.Error([("SSL routines", "", "unexpected eof while reading")]), "eof"),
            (SSL.Error([("SSL routines", "", "http request")]), "nottls"),
            (SSL.Error([("SSL routines", "", "wrong version number")]), "nottls"),
            (SSL.Error([("SSL routines", "", "unsupported protocol")]), "unsupportedversions"),
            (SSL.Error([("SSL routines", "", "ssl/tls alert unknown ca")]), "alert-48-unknown-ca"),
            (SSL.Error([("SSL routines", "", "tlsv1 alert unknown ca")]), "alert-48-unknown-ca"),
            (SSL.Error([("SSL routines", "", "no shared cipher")]), "other"),
            (SSL.Error(), "other"),
        ]
        for error, reason in reasons:
            self.connect()
            self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
            self.metrics.counts.clear()
            self.server.connectionLost(Failure(error))
            counted = f'mox_smtpserver_delivery_starttls_errors_total{{reason="{reason}"}}'
            self.assertEqual(self.metrics.counts, {counted: 1})

    def test_slow(self) -> None:
        """A handshake may take a minute (S-16)."""
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.clock.pump([1] * 59)
        self.assertFalse(self.wire.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.wire.disconnected)


class SubmissionsTests(WireCase):
    """RFC 8314: TLS from the first octet."""

    role = Role.SUBMISSIONS

    def test_greeted_within(self) -> None:
        """The greeting waits for the handshake; AUTH is offered behind it (S-13, S-32)."""
        self.assertEqual(self.greeting, b"")
        self.server.handshakeCompleted()
        self.assertEqual(self.said(), b"220 mx.example ESMTP moxsmtp\r\n")
        said = self.speak(b"EHLO x.example\r\n")
        self.assertIn(b"250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN\r\n", said)
        self.assertNotIn(b"STARTTLS", said)
        self.assertEqual(self.told.clients[-1].tls, TLS)

    def test_no_place(self) -> None:
        """That there is no place is said within TLS (S-16)."""
        self.start(connections=Connections(0))
        self.assertEqual(self.greeting, b"")
        self.server.handshakeCompleted()
        self.assertTrue(self.said().startswith(b"421 4.7.0 "))

    def test_slow(self) -> None:
        """Who never shakes hands is left after a minute (S-16)."""
        self.clock.pump([1] * 60)
        self.assertTrue(self.wire.disconnected)

    def test_not_counted(self) -> None:
        """Failed handshakes are counted for port 25 only (S-114)."""
        self.metrics.counts.clear()
        self.drop()
        self.assertEqual(self.metrics.counts, {})


class AuthenticationTests(WireCase):
    """RFC 4954."""

    role = Role.SUBMISSION

    def counted(self, variant: str, result: str) -> int:
        labels = f'kind="submission",result="{result}",variant="{variant}"'
        return self.metrics.counts.get(f"mox_authentication_total{{{labels}}}", 0)

    def test_log_in(self) -> None:
        """The right password lets a user in, and the receiver is told who it is (S-54)."""
        self.speak(b"EHLO x.example\r\n")
        self.assertEqual(self.speak(auth("secret")), b"235 2.7.0 logged in\r\n")
        self.speak(b"MAIL FROM:<>\r\n")
        login = self.told.clients[-1].login
        self.assertEqual(login and login.address, "a@x.example")
        self.assertEqual(self.counted("plain", "ok"), 1)

    def test_results(self) -> None:
        """Each attempt is counted once, by how it came out (S-114)."""
        self.speak(b"EHLO x.example\r\n")
        self.speak(auth("guess"))
        self.speak(b"AUTH LOGIN\r\n*\r\n")
        self.speak(b"AUTH FOO\r\n")
        self.told.outcomes["authenticate"] = Refused(Reply(451, "3.0", "later"))
        self.speak(auth("secret"))
        for variant, result in (
            ("plain", "badcreds"), ("login", "aborted"), ("", "error"), ("plain", "error"),
        ):  # fmt: skip
            self.assertEqual(self.counted(variant, result), 1, (variant, result))

    def test_dropped(self) -> None:
        """Who hangs up in the middle of it has failed, once (S-42, S-114)."""
        self.speak(b"EHLO x.example\r\nAUTH LOGIN\r\n")
        self.drop()
        self.assertEqual(self.counted("login", "error"), 1)
        self.connect()
        self.told.outcomes["authenticate"] = Deferred[None]()
        self.speak(b"EHLO x.example\r\n" + auth("secret"))
        self.drop()
        self.assertEqual(self.counted("plain", "error"), 1)

    def test_delay(self) -> None:
        """The fifth failure is answered a second late, the next two; nothing overtakes (S-42)."""
        self.speak(b"EHLO x.example\r\n")
        for _ in range(4):
            self.assertTrue(self.speak(auth("guess")).startswith(b"535 5.7.8 "))
        for seconds in (1, 2):
            self.assertEqual(self.speak(auth("guess") + b"NOOP\r\n"), b"")
            self.clock.pump([0.5] * (2 * seconds - 1))
            self.assertEqual(self.said(), b"")
            self.clock.advance(0.5)
            said = self.said()
            self.assertTrue(said.startswith(b"535 5.7.8 "))
            self.assertTrue(said.endswith(b"250 2.0.0 done\r\n"))

    def test_observed(self) -> None:
        """334 is not observed, its outcome is (S-114)."""
        self.speak(b"EHLO x.example\r\n")
        self.metrics.durations.clear()
        self.speak(b"AUTH PLAIN\r\n!\r\n")
        self.assertEqual(
            list(self.metrics.durations),
            [f'{DURATION}{{cmd="auth",code="501",ecode="5.5.2",kind="submission"}}'],
        )


class CommandMetricsTests(WireCase):
    """Durations by command and reply."""

    def test_labels(self) -> None:
        """Every reply but greeting and 354 is observed, by command, code and status (S-114)."""
        self.begin()
        self.speak(b"x\r\n.\r\nFOO\r\nMAIL x\r\n")
        self.assertEqual(
            sorted(self.metrics.durations),
            sorted(
                f'{DURATION}{{cmd="{command}",code="{code}",ecode="{status}",kind="smtp"}}'
                for command, code, status in (
                    ("ehlo", "250", ""), ("mail", "250", "2.1.0"), ("rcpt", "250", "2.1.0"),
                    ("data", "250", "2.2.0"), ("(unknown)", "500", "5.5.1"),
                    ("mail", "501", "5.5.2"),
                )
            ),
        )  # fmt: skip

    def test_duration(self) -> None:
        """A command takes until its reply; DATA includes its content (S-114)."""
        self.begin()
        self.clock.advance(3)
        self.speak(b"x\r\n.\r\n")
        name = f'{DURATION}{{cmd="data",code="250",ecode="2.2.0",kind="smtp"}}'
        self.assertEqual(self.metrics.durations[name], [3.0])


class DrainTests(WireCase):
    """Stopping."""

    def test_nobody_there(self) -> None:
        """Without connections we have stopped at once; a new one is told so (S-15)."""
        self.drop()
        self.successResultOf(self.factory.drain())
        self.connect()
        self.assertTrue(self.greeting.startswith(b"421 4.3.2 "))
        self.assertTrue(self.wire.disconnecting)

    def test_next_command(self) -> None:
        """The next command is not carried out but answered 421, without a reply id (S-15)."""
        self.speak(b"EHLO x.example\r\n")
        drained = self.factory.drain()
        self.assertNoResult(drained)
        said = self.speak(b"MAIL FROM:<>\r\nNOOP\r\n")
        self.assertEqual(said, b"421 4.3.2 shutting down, try again later\r\n")
        self.assertNotIn("mail", self.told.asked)
        self.assertTrue(self.wire.disconnecting)
        self.drop()
        self.successResultOf(drained)

    def test_wrong_command(self) -> None:
        """So is one that would be refused anyway (S-15)."""
        self.speak(b"NOOP\r\n")
        _ = self.factory.drain()
        self.assertTrue(self.speak(b"FOO\r\n").startswith(b"421 4.3.2 "))

    def test_message_under_way(self) -> None:
        """A message that is on its way may arrive (S-15)."""
        self.begin()
        _ = self.factory.drain()
        self.assertEqual(self.speak(b".\r\n"), b"250 2.2.0 stored\r\n")
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"421 4.3.2 "))

    def test_cut(self) -> None:
        """After three seconds all is cancelled and cut; a second later we have stopped (S-15)."""
        cancelled: list[object] = []
        self.begin()
        self.told.outcomes["message"] = Deferred[None](cancelled.append)
        self.speak(b".\r\n")
        drained = self.factory.drain()
        self.clock.advance(2.9)
        self.assertFalse(self.wire.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(self.wire.disconnected)
        self.assertEqual(len(cancelled), 1)
        self.assertNoResult(drained)
        self.clock.advance(1)
        self.successResultOf(drained)
        self.drop()


class LogTests(WireCase):
    """What is told of a session."""

    role = Role.SUBMISSION

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer = cast("ILogObserver", self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        super().setUp()

    def test_fields(self) -> None:
        """Each line has the session's number, the time since the last, and the user (S-9)."""
        self.speak(b"EHLO x.example\r\n")
        self.clock.advance(2)
        self.speak(auth("guess"))
        self.clock.advance(3)
        self.speak(auth("secret"))
        lines = [event for event in self.events if "session" in event]
        self.assertEqual({event["session"] for event in lines}, {7})
        self.assertEqual([event["delta"] for event in lines], [0, 2, 3])
        self.assertEqual([event.get("username") for event in lines], [None, None, "a@x.example"])

    def test_no_secrets(self) -> None:
        """Passwords are in no line (S-9)."""
        self.speak(b"EHLO x.example\r\n")
        self.speak(b"AUTH PLAIN sEcReT sEcReT\r\n" + auth("sEcReT") + b"AUTH LOGIN sEcReT\r\n")
        self.drop()
        encoded = b64encode(b"\0a@x.example\0sEcReT").decode()
        for event in self.events:
            self.assertNotIn("sEcReT", repr(event))
            self.assertNotIn(encoded, repr(event))


class ToldTests(WireCase):
    """The double itself."""

    def test_interface(self) -> None:
        """It is what the protocol expects."""
        verifyObject(IReceiver, Told())
