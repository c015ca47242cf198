"""The server's machine."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from moxsmtp.interfaces import Hello, Role, TLSInfo
from moxsmtp.names import parse_host
from moxsmtp.smtp.commands import Mail, Verb
from moxsmtp.smtp.events import Content, ContentEnd
from moxsmtp.smtp.order import MISSING, TRANSITIONS
from moxsmtp.smtp.parameters import DEFAULT_MAXIMUM_SIZE
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.session import MAXIMUM_LINE, Session, State
from tests.dialog import Dialogue
from tests.smtp.driver import Driver, session

TLS = TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256")

#: What EHLO says where there is neither a channel binding nor a certificate.
AUTH = "AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"

LOGIN = b"AUTH PLAIN AGFAeC5leGFtcGxlAHNlY3JldA==\r\n"


class SessionCase(Dialogue):
    """Each test talks to a session of its own, between servers unless it says otherwise."""

    def setUp(self) -> None:
        self.use(session())

    def use(self, used: Session) -> None:
        self.session = used
        self.driver = Driver(used)

    def speak(self, octets: bytes) -> bytes:
        return self.driver.speak(octets)


class GreetingTests(SessionCase):
    """RFC 5321 sections 3.1 and 4.1.1.1."""

    def test_names_host(self) -> None:
        """The greeting names host and product, without version and enhanced code (S-13)."""
        self.assertEqual(self.session.greeting(), b"220 mx.example ESMTP moxsmtp\r\n")

    def test_ehlo(self) -> None:
        """EHLO lists what can be used now, in its order, without an enhanced code (S-32, S-20)."""
        self.assertDialog("""
            C: EHLO client.example
            S: 250-mx.example
            S: 250-PIPELINING
            S: 250-SIZE 1000
            S: 250-ENHANCEDSTATUSCODES
            S: 250-8BITMIME
            S: 250-DSN
            S: 250-LIMITS RCPTMAX=1000
            S: 250-CHUNKING
            S: 250 SMTPUTF8
        """)

    def test_announces_what_is_usable(self) -> None:
        """STARTTLS where it can be started, AUTH where a password may be sent (S-32, S-4)."""

        def announced(
            role: Role, *, offers_tls: bool, clear_passwords: bool, secured: bool
        ) -> set[str]:
            self.use(session(role, offers_tls=offers_tls, clear_passwords=clear_passwords))
            if secured:
                self.session.secured(TLS)
            lines = self.speak(b"EHLO client.example\r\n").decode().splitlines()
            return {line[4:] for line in lines} & {"STARTTLS", AUTH}

        self.assertEqual(
            [
                announced(role, offers_tls=tls, clear_passwords=clear, secured=secured)
                for role, tls, clear, secured in (
                    (Role.SMTP, True, True, False),
                    (Role.SMTP, True, True, True),
                    (Role.SUBMISSION, True, False, False),
                    (Role.SUBMISSION, True, False, True),
                    (Role.SUBMISSION, True, True, False),
                    (Role.SUBMISSION, False, False, False),
                    (Role.SUBMISSIONS, False, False, True),
                )
            ],
            [
                {"STARTTLS"}, set(), {"STARTTLS"}, {AUTH},
                {"STARTTLS", AUTH}, set(), {AUTH},
            ],
        )  # fmt: skip

    def test_helo(self) -> None:
        """HELO is answered with one line (S-33)."""
        self.assertDialog("""
            C: HELO client.example
            S: 250 mx.example
        """)

    def test_remembered(self) -> None:
        """The session knows who said hello and how; the last one counts (S-31)."""
        self.speak(b"EHLO client.example\r\n")
        self.assertEqual(self.session.client.hello, Hello(parse_host("client.example"), True))
        self.speak(b"HELO other.example\r\n")
        self.assertEqual(self.session.client.hello, Hello(parse_host("other.example"), False))
        self.speak(b"EHLO bad_name\r\n")
        self.assertEqual(self.session.client.hello, Hello(parse_host("other.example"), False))

    def test_ends_transaction(self) -> None:
        """A new hello forgets the transaction, a bad one does not (S-31, S-28)."""
        self.assertDialog("""
            C: HELO client.example
            S: 250 mx.example
            C: MAIL FROM:<>
            S: 250 MAIL
            C: EHLO bad_name
            S: 501 5.5.2 bad syntax (id7)
            C: RCPT TO:<a@x.example>
            S: 250 RCPT
            C: HELO client.example
            S: 250 mx.example
            C: RCPT TO:<a@x.example>
            S: 503 5.5.1 give MAIL first (id7)
        """)


class OrderTests(SessionCase):
    """RFC 5321 section 4.1.4."""

    def test_hello_first(self) -> None:
        """Without a hello there is no mail, but there is help (S-25)."""
        for line in ("MAIL FROM:<>", "RCPT TO:<a@x.example>", "DATA", "AUTH PLAIN", "STARTTLS"):
            self.assertDialog(f"""
                C: {line}
                S: 503 5.5.1 say EHLO or HELO first (id7)
            """)
        self.assertDialog("""
            C: RSET
            S: 250 RSET
            C: NOOP
            S: 250 NOOP
            C: HELP
            S: 214 HELP
            C: VRFY word
            S: 252 VRFY (id7)
            C: MAIL FROM:<>
            S: 503 5.5.1 say EHLO or HELO first (id7)
        """)

    def test_order(self) -> None:
        """MAIL, RCPT, DATA, each once what is before it was taken (S-25)."""
        self.assertDialog("""
            C: HELO client.example
            S: 250 mx.example
            C: RCPT TO:<a@x.example>
            S: 503 5.5.1 give MAIL first (id7)
            C: DATA
            S: 503 5.5.1 give MAIL first (id7)
            C: MAIL FROM:<>
            S: 250 MAIL
            C: DATA
            S: 503 5.5.1 give RCPT first (id7)
            C: MAIL FROM:<b@x.example>
            S: 503 5.5.1 a transaction is open already (id7)
            C: RCPT TO:<a@x.example>
            S: 250 RCPT
            C: RCPT TO:<b@x.example>
            S: 250 RCPT
            C: MAIL FROM:<>
            S: 503 5.5.1 a transaction is open already (id7)
            C: RSET
            S: 250 RSET
            C: DATA
            S: 503 5.5.1 give MAIL first (id7)
        """)

    def test_refused_recipients_are_none(self) -> None:
        """DATA needs a recipient that was taken; a refused one changes nothing (S-28)."""
        self.speak(b"HELO client.example\r\nMAIL FROM:<>\r\n")
        self.driver.refuse = {Verb.RCPT}
        self.speak(b"RCPT TO:<a@x.example>\r\n")
        self.assertIs(self.session.state, State.MAIL)
        self.assertTrue(self.speak(b"DATA\r\n").startswith(b"503 5.5.1 "))

    def test_refused_sender(self) -> None:
        """A refused MAIL opens no transaction (S-28)."""
        self.speak(b"HELO client.example\r\n")
        self.driver.refuse = {Verb.MAIL}
        self.assertDialog("""
            C: MAIL FROM:<>
            S: 451 4.3.0 not now (id7)
            C: RCPT TO:<a@x.example>
            S: 503 5.5.1 give MAIL first (id7)
        """)

    def test_login_first(self) -> None:
        """Where users hand in mail, only users do (S-25)."""
        self.use(session(Role.SUBMISSION))
        self.speak(b"EHLO\r\n")
        for line in ("MAIL FROM:<>", "RCPT TO:<a@x.example>", "DATA"):
            self.assertDialog(f"""
                C: {line}
                S: 530 5.7.0 log in first (id7)
            """)
        self.assertEqual(self.speak(LOGIN), b"235 2.7.0 logged in\r\n")
        self.assertDialog("""
            C: MAIL FROM:<>
            S: 250 MAIL
            C: AUTH PLAIN
            S: 503 5.5.1 logged in already (id7)
        """)

    def test_table_is_whole(self) -> None:
        """Each move that a session can be asked for is in the table, or its lack has words."""
        for state in (State.GREETED, State.MAIL, State.RCPT, State.CHUNKS):
            for verb in Verb:
                self.assertNotEqual((state, verb) in TRANSITIONS, (state, verb) in MISSING)

    def test_smtputf8_is_forgotten(self) -> None:
        """SMTPUTF8 holds for its transaction only (S-27)."""
        self.speak(b"EHLO client.example\r\n")
        rcpt = "RCPT TO:<jörg@x.example>\r\n".encode()
        for ending in (b"RSET\r\n", b"EHLO client.example\r\n", rcpt + b"DATA\r\n.\r\n"):
            self.assertTrue(
                self.speak(b"MAIL FROM:<> SMTPUTF8\r\n" + rcpt).endswith(b"250 RCPT\r\n")
            )
            self.speak(ending)
            self.speak(b"MAIL FROM:<>\r\n")
            self.assertTrue(self.speak(rcpt).startswith(b"553 5.6.7 "), ending)
            self.speak(b"RSET\r\n")


class LineTests(SessionCase):
    """RFC 5321 section 2.3.8."""

    def test_line_ends(self) -> None:
        """LF ends a line; one CR before it is not part of it (S-18)."""
        self.assertEqual(self.speak(b"NOOP\nNOOP\r\n"), b"250 NOOP\r\n250 NOOP\r\n")
        self.assertTrue(self.speak(b"NOOP\r\r\n").startswith(b"500 5.5.1 "))

    def test_longest(self) -> None:
        """2048 octets are a line, 2049 end the session without a reply id (S-18, S-21)."""
        longest = b"NOOP " + b"x" * (MAXIMUM_LINE - 7) + b"\r\n"
        self.assertEqual(self.speak(longest), b"250 NOOP\r\n")
        self.assertEqual(self.speak(b"x" + longest), b"500 5.5.0 line too long\r\n")
        self.assertIs(self.session.state, State.CLOSED)
        self.assertEqual(self.speak(b"NOOP\r\n"), b"")
        self.assertEqual(self.session.buffered, 0)

    def test_endless(self) -> None:
        """A line without an end is noticed when it gets too long, and not kept (S-18)."""
        said = b""
        for _ in range(MAXIMUM_LINE):
            self.assertEqual(said, b"")
            said = self.speak(b"x")
        self.assertEqual(said, b"500 5.5.0 line too long\r\n")
        self.assertEqual(self.session.buffered, 0)

    def test_no_smtp(self) -> None:
        """Who begins with what is no command does not speak SMTP (S-24)."""
        for line in (b"GET / HTTP/1.1\r\n", b"\r\n", b"\x16\x03\x01\x00\n"):
            self.use(session())
            said = self.speak(line + b"NOOP\r\n")
            self.assertTrue(said.startswith(b"500 5.5.2 "), said)
            self.assertEqual(said.count(b"\r\n"), 1)
            self.assertNotIn(b"id7", said)
            self.assertIs(self.session.state, State.CLOSED)

    def test_unknown(self) -> None:
        """Who has spoken SMTP may say something unknown; bad arguments count as SMTP (S-24)."""
        self.assertDialog("""
            C: MAIL what
            S: 503 5.5.1 say EHLO or HELO first (id7)
            C: XCLIENT 1
            S: 500 5.5.1 no such command (id7)
            C:
            S: 500 5.5.1 no such command (id7)
            C: noop
            S: 250 NOOP
            C: NoOp
            S: 250 NOOP
            C: NOOPS
            S: 500 5.5.1 no such command (id7)
        """)

    def test_unparsed_rest(self) -> None:
        """What was not understood is told to those who logged in, to nobody else (S-26)."""
        self.assertEqual(
            self.speak(b"EHLO x.example\r\nMAIL FROM:<> \x07=\r\n").splitlines()[-1],
            b"501 5.5.2 bad syntax (id7)",
        )
        self.use(session(Role.SUBMISSION))
        self.speak(b"EHLO\r\n" + LOGIN)
        self.assertEqual(
            self.speak("MAIL FROM:<> ä\r\n".encode()),
            b"501 5.5.2 bad syntax, not understood: '\\xe4' (id7)\r\n",
        )

    def test_no_utf8(self) -> None:
        """Octets that are no UTF-8 get a reply (S-26)."""
        self.speak(b"EHLO x.example\r\n")
        for line in (b"MAIL FROM:<\xff@x.example>", b"EHLO \xff", b"NOOP \xfe", b"VRFY \x80"):
            self.assertEqual(self.speak(line + b"\r\n"), b"501 5.5.2 bad syntax (id7)\r\n")


class SizeTests(SessionCase):
    """RFC 1870."""

    def test_declared(self) -> None:
        """A SIZE above the limit is refused at MAIL, the limit itself is not (S-59, S-3)."""
        self.speak(b"EHLO x.example\r\n")
        self.assertDialog("""
            C: MAIL FROM:<> SIZE=1001
            S: 552 5.2.3 message too large (id7)
            C: MAIL FROM:<> SIZE=104857600
            S: 552 5.3.4 message too large (id7)
            C: MAIL FROM:<> SIZE=99999999999999999999
            S: 552 5.3.4 message too large (id7)
            C: MAIL FROM:<> SIZE=1000
            S: 250 MAIL
        """)

    def test_oversize(self) -> None:
        """More than the limit is read to its end, refused, and the session goes on (S-78)."""
        for limit, answer in ((100, b"552 5.2.3"), (DEFAULT_MAXIMUM_SIZE, None)):
            self.use(session(maximum_size=limit))
            self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n")
            said = self.speak(b"x" * 150 + b"\r\n.\r\nNOOP\r\n")
            if answer is None:
                self.assertEqual(said, b"250 2.2.0 stored\r\n250 NOOP\r\n")
            else:
                self.assertEqual(said, answer + b" message too large (id7)\r\n250 NOOP\r\n")
        self.assertEqual(len(self.driver.contents), 1)

    def test_far_too_large(self) -> None:
        """Beyond as much again the session ends (S-78)."""
        self.use(session(maximum_size=100))
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n")
        self.assertEqual(self.speak(b"x" * 200), b"")
        self.assertEqual(self.speak(b"x"), b"552 5.2.3 message too large (id7)\r\n")
        self.assertIs(self.session.state, State.CLOSED)


class ContentTests(SessionCase):
    """RFC 5321 section 4.1.1.4."""

    def begin(self) -> None:
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n")

    def test_whole(self) -> None:
        """What came between 354 and the dot is the message; then commands go on (S-76)."""
        self.begin()
        self.assertEqual(
            self.speak(b"a: b\r\n\r\n..c\r\n.\r\nRSET\r\n"), b"250 2.2.0 stored\r\n250 RSET\r\n"
        )
        self.assertEqual(self.driver.contents, [b"a: b\r\n\r\n.c\r\n"])

    def test_smuggling(self) -> None:
        """A stand-in is refused after the real end, and nothing behind it is obeyed (S-77)."""
        self.begin()
        said = self.speak(b"a\n.\r\nRSET\r\nMAIL FROM:<evil@x.example>\r\n")
        self.assertEqual(said, b"")
        said = self.speak(b"\r\n.\r\nNOOP\r\n")
        self.assertTrue(said.startswith(b"500 5.5.2 "), said)
        self.assertIn(b"smuggling", said)
        self.assertTrue(said.endswith(b"(id7)\r\n250 NOOP\r\n"), said)
        self.assertEqual(self.driver.contents, [])

    def test_ends_transaction(self) -> None:
        """The end of data ends the transaction, whatever the answer (S-82)."""
        for content in (b"fine\r\n.\r\n", b"bad\n.\n\r\n.\r\n"):
            self.begin()
            self.speak(content)
            self.assertIs(self.session.state, State.GREETED)
            self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"250"))
            self.speak(b"RSET\r\n")

    def test_refused_data(self) -> None:
        """After a refused DATA come commands, not content."""
        self.driver.refuse = {Verb.DATA}
        self.begin()
        self.assertIs(self.session.state, State.RCPT)
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 NOOP\r\n")


class WaitingTests(SessionCase):
    """RFC 2920."""

    def test_one_at_a_time(self) -> None:
        """While a command is unanswered, nothing behind it happens (S-22)."""
        self.session.receive(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        event = self.session.next()
        self.assertIsNotNone(event)
        self.assertIsNone(self.session.next())
        self.session.answer(Reply(250, None, "yes"))
        self.assertEqual(self.session.next(), Mail(None))

    def test_nothing_asked(self) -> None:
        """What was not asked cannot be answered."""
        self.assertRaises(RuntimeError, self.session.answer, Reply(250, None, "x"))

    def test_may_wait(self) -> None:
        """Successes of some commands may wait for a line behind them, nothing else may (S-22)."""

        def waits(line: bytes, behind: bytes, code: int = 250) -> bool:
            self.use(session())
            self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
            if line.startswith(b"MAIL"):
                self.speak(b"RSET\r\n")
            self.session.receive(line + behind)
            event = self.session.next()
            assert event is not None
            reply = Reply(code, None, "x")
            self.session.answer(reply)
            return self.session.may_wait(event, reply)

        waiting = [
            b"MAIL FROM:<>\r\n",
            b"RCPT TO:<a@x.example>\r\n",
            b"RSET\n",
            b"NOOP\n",
            b"HELP\n",
        ]
        for line in waiting:
            self.assertTrue(waits(line, b"NOOP\r\n"), line)
            self.assertFalse(waits(line, b""), line)
            self.assertFalse(waits(line, b"NOO"), line)
            self.assertFalse(waits(line, b"NOOP\r\n", 451), line)
        for line in (b"EHLO x.example\n", b"VRFY x\n", b"QUIT\n", b"FOO\n"):
            self.assertFalse(waits(line, b"NOOP\r\n"), line)


class StartTLSTests(SessionCase):
    """RFC 3207."""

    def setUp(self) -> None:
        self.use(session(offers_tls=True))

    def test_order(self) -> None:
        """Arguments are looked at before whether TLS can be started (S-34)."""
        self.assertDialog("""
            C: EHLO x.example
            S: 250-mx.example
            S: 250-PIPELINING
            S: 250-SIZE 1000
            S: 250-STARTTLS
            S: 250-ENHANCEDSTATUSCODES
            S: 250-8BITMIME
            S: 250-DSN
            S: 250-LIMITS RCPTMAX=1000
            S: 250-CHUNKING
            S: 250 SMTPUTF8
            C: STARTTLS now
            S: 501 5.5.2 bad syntax (id7)
            C: STARTTLS
            S: 220 STARTTLS (id7)
        """)

    def test_injection(self) -> None:
        """What came behind STARTTLS is no command, before TLS or after it (S-35)."""
        self.speak(b"EHLO x.example\r\n")
        said = self.speak(b"STARTTLS\r\nRSET\r\nQUIT\r\n")
        self.assertEqual(said, b"220 STARTTLS (id7)\r\n")
        self.assertEqual(self.session.take_rest(), b"RSET\r\nQUIT\r\n")
        self.session.secured(TLS)
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 NOOP\r\n")

    def test_rest_is_dropped(self) -> None:
        """Even if nobody took it, the rest is gone once TLS is up (S-35)."""
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\nRSET\r\n")
        self.session.secured(TLS)
        self.assertEqual(self.speak(b""), b"")

    def test_full_reset(self) -> None:
        """After the handshake the client says hello again, and knows no transaction (S-27)."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nSTARTTLS\r\n")
        self.session.secured(TLS)
        self.assertIsNone(self.session.client.hello)
        self.assertEqual(self.session.client.tls, TLS)
        self.assertDialog("""
            C: RCPT TO:<a@x.example>
            S: 503 5.5.1 say EHLO or HELO first (id7)
            C: HELO x.example
            S: 250 mx.example
            C: RCPT TO:<a@x.example>
            S: 503 5.5.1 give MAIL first (id7)
            C: STARTTLS
            S: 503 5.5.1 TLS cannot be started here (id7)
        """)

    def test_not_offered(self) -> None:
        """Without TLS of our own, or after a login, it cannot be started (S-34)."""
        self.use(session())
        self.speak(b"EHLO x.example\r\n")
        self.assertTrue(self.speak(b"STARTTLS\r\n").startswith(b"503 5.5.1 "))
        self.use(session(Role.SUBMISSION, offers_tls=True))
        self.speak(b"EHLO x.example\r\n" + LOGIN)
        self.assertTrue(self.speak(b"STARTTLS\r\n").startswith(b"503 5.5.1 "))


class CountTests(SessionCase):
    """Connections that only cause trouble."""

    def test_too_many_bad(self) -> None:
        """After 11 bad messages and no good one MAIL ends the session (S-56, S-113)."""
        self.speak(b"EHLO x.example\r\n")
        for _ in range(10):
            self.session.judged(good=False)
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\nRSET\r\n").startswith(b"250"))
        self.session.judged(good=False)
        said = self.speak(b"MAIL FROM:<>\r\n")
        self.assertEqual(said, b"550 5.1.0 too many messages were refused\r\n")
        self.assertIs(self.session.state, State.CLOSED)

    def test_one_good(self) -> None:
        """One good message makes up for any number of bad ones (S-56)."""
        self.speak(b"EHLO x.example\r\n")
        self.session.judged(good=True)
        for _ in range(50):
            self.session.judged(good=False)
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"250"))


class OtherCommandsTests(SessionCase):
    """RFC 5321 sections 4.1.1.5 to 4.1.1.10."""

    def test_signed_enquiries(self) -> None:
        """VRFY and EXPN carry the reply id, other successes do not (S-101, S-21)."""
        self.assertDialog("""
            C: VRFY word
            S: 252 VRFY (id7)
            C: EXPN word
            S: 252 EXPN (id7)
            C: NOOP
            S: 250 NOOP
        """)

    def test_quit(self) -> None:
        """After QUIT nothing is understood (S-100)."""
        self.assertEqual(self.speak(b"QUIT\r\nNOOP\r\n"), b"221 QUIT\r\n")
        self.assertEqual(self.speak(b"NOOP\r\n"), b"")


LINES = [
    b"EHLO x.example", b"HELO x.example", b"MAIL FROM:<a@x.example>", b"MAIL FROM:<",
    b"MAIL FROM:<> SIZE=5000", b"RCPT TO:<b@x.example>", b"RCPT TO:<>", b"RSET", b"NOOP", b"VRFY x",
    b"HELP", b"WHAT", b"STARTTLS", b"AUTH PLAIN", b"DATA x",
]  # fmt: skip


class Model:
    """The order of commands, said once more and differently."""

    def __init__(self) -> None:
        self.greeted = self.sender = self.recipient = False

    def codes(self, line: bytes) -> list[int]:
        """The replies to a line; C{DATA} brings its content along."""
        answer = getattr(self, line.split(b" ")[0].decode().lower(), None)
        code: int = answer(line) if answer is not None else 503
        if code != 354:
            return [code]
        self.sender = self.recipient = False
        return [354, 250]

    def ehlo(self, _line: bytes) -> int:
        self.greeted, self.sender, self.recipient = True, False, False
        return 250

    helo = ehlo

    def mail(self, line: bytes) -> int:
        if not self.greeted or self.sender:
            return 503
        if b"@" not in line:
            return 552 if b"SIZE" in line else 501
        self.sender = True
        return 250

    def rcpt(self, line: bytes) -> int:
        if not self.sender:
            return 503
        self.recipient = self.recipient or b"@" in line
        return 250 if b"@" in line else 501

    def data(self, line: bytes) -> int:
        if not self.recipient:
            return 503
        return 354 if line == b"DATA" else 501

    def rset(self, _line: bytes) -> int:
        self.sender = self.recipient = False
        return 250

    def noop(self, _line: bytes) -> int:
        return 250

    def vrfy(self, _line: bytes) -> int:
        return 252

    def help(self, _line: bytes) -> int:
        return 214

    def what(self, _line: bytes) -> int:
        return 500


class PipelineTests(SessionCase):
    """Any order of commands, in any pieces."""

    @settings(deadline=None, max_examples=120)
    @given(
        st.lists(st.one_of(st.sampled_from(LINES), st.just(b"DATA")), max_size=20),
        st.lists(st.integers(0, 400), max_size=6),
    )
    def test_model(self, pipeline: list[bytes], places: list[int]) -> None:
        """Replies are those of a small model, in order, at any segmentation (S-22, S-25)."""
        pipeline = [b"NOOP", *pipeline]  # So that nothing ends the session.
        model, octets, codes = Model(), b"", list[int]()
        for line in pipeline:
            replies = model.codes(line)
            codes += replies
            octets += line + b"\r\n" + (b"NOOP\r\n..\r\n.\r\n" if 354 in replies else b"")
        for pieces in ([octets], _cut(octets, places), _cut(octets, list(range(len(octets))))):
            self.use(session())
            said = b"".join(self.speak(piece) for piece in pieces)
            lines = [line for line in said.split(b"\r\n")[:-1] if line[3:4] == b" "]
            self.assertEqual([int(line[:3]) for line in lines], codes)
            self.assertEqual(self.driver.contents, [b"NOOP\r\n.\r\n"] * codes.count(354))

    @settings(deadline=None, max_examples=80)
    @given(st.binary(max_size=300), st.booleans())
    def test_any_octets(self, octets: bytes, submission: bool) -> None:
        """No octets do worse than to be refused."""
        self.use(session(Role.SUBMISSION if submission else Role.SMTP))
        self.speak(b"EHLO x.example\r\n")
        for line in octets.split(b"\n"):
            self.speak(line + b"\n")

    def test_content_is_no_answer(self) -> None:
        """Content streams as it comes; only its end wants an answer."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n")
        self.session.receive(b"abc\r\ndef")
        self.assertEqual(self.session.next(), Content(b"abc\r\ndef"))
        self.assertIsNone(self.session.next())
        self.session.receive(b"\r\n.\r\n")
        self.assertEqual(self.session.next(), Content(b"\r\n"))
        self.assertEqual(self.session.next(), ContentEnd(None))
        self.assertIsNone(self.session.next())


def _cut(octets: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted({0, *(place for place in places if place < len(octets)), len(octets)})
    return [octets[start:end] for start, end in itertools.pairwise(cuts)]
