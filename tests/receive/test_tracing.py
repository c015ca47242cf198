"""What is said in sessions, in the log."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import cast

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from moxsmtp.interfaces import Role
from moxsmtp.receive.tracing import Tracing
from tests.receive.wires import WireCase

SECRET = b64encode(b"\0a@x.example\0secret")
NAME = b64encode(b"a@x.example")
PASSWORD = b64encode(b"secret")


class TraceCase(WireCase):
    """Each test has a session that is traced."""

    role = Role.SUBMISSION
    level = Tracing.TRACE

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer = cast("ILogObserver", self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        super().setUp()
        self.drop()
        self.trace()

    def trace(self, level: Tracing | None = None) -> None:
        """Begin a session."""
        self.start(tracing=self.level if level is None else level)
        self.events.clear()

    def lines(self) -> list[str]:
        """What was traced since this was asked last."""
        found = [f"{event['who']}: {event['line']}" for event in self.events if "who" in event]
        self.events.clear()
        return found

    def heard(self) -> list[str]:
        return [line for line in self.lines() if line.startswith("C: ")]


class TraceTests(TraceCase):
    """S-23."""

    def test_dialogue(self) -> None:
        """Every line of both sides is there, with its direction and the session's number."""
        self.speak(b"NOOP\r\nFOO bar\r\n")
        self.assertEqual({event["session"] for event in self.events}, {8})
        self.assertEqual(
            self.lines(),
            [
                "C: NOOP",
                "C: FOO bar",
                "S: 250 2.0.0 done",
                "S: 500 5.5.1 no such command (id8)",
            ],
        )

    def test_greeting(self) -> None:
        """So is the greeting, and why nobody is greeted."""
        self.connect()
        self.assertEqual(self.lines(), ["S: 220 mx.example ESMTP moxsmtp"])

    def test_off(self) -> None:
        """Without tracing, nothing of it is."""
        self.trace(Tracing.NONE)
        self.speak(b"NOOP\r\n")
        self.assertEqual(self.lines(), [])

    def test_reload(self) -> None:
        """A reload begins and ends it for sessions that are open."""
        self.trace(Tracing.NONE)
        self.factory.obey(replace(self.entrance, tracing=Tracing.TRACE))
        self.speak(b"NOOP\r\n")
        self.assertEqual(self.lines(), ["C: NOOP", "S: 250 2.0.0 done"])
        self.factory.obey(replace(self.entrance, tracing=Tracing.NONE))
        self.speak(b"NOOP\r\n")
        self.assertEqual(self.lines(), [])

    def test_plain(self) -> None:
        """The password of PLAIN is hidden, in a line of its own and behind AUTH."""
        self.speak(b"EHLO x.example\r\nAUTH PLAIN\r\n" + SECRET + b"\r\n")
        self.assertEqual(self.heard(), ["C: EHLO x.example", "C: AUTH PLAIN", "C: ***"])
        self.trace()
        self.speak(b"EHLO x.example\r\nAUTH PLAIN " + SECRET + b"\r\n")
        self.assertEqual(self.heard()[1:], ["C: AUTH PLAIN ***"])

    def test_login(self) -> None:
        """LOGIN's password is hidden, its name is not."""
        self.speak(b"EHLO x.example\r\nAUTH LOGIN\r\n" + NAME + b"\r\n" + PASSWORD + b"\r\n")
        self.assertEqual(self.heard()[1:], ["C: AUTH LOGIN", f"C: {NAME.decode()}", "C: ***"])
        self.trace()
        self.speak(b"EHLO x.example\r\nAUTH LOGIN " + NAME + b"\r\n" + PASSWORD + b"\r\n")
        self.assertEqual(self.heard()[1:], [f"C: AUTH LOGIN {NAME.decode()}", "C: ***"])

    def test_abort(self) -> None:
        """That it is given up is no secret."""
        self.speak(b"EHLO x.example\r\nAUTH PLAIN\r\n*\r\n")
        self.assertEqual(self.heard()[-1], "C: *")

    def test_all_levels(self) -> None:
        """Passwords are shown with credentials and data, content with data only."""
        content = b"DATA\r\nSubject: x\r\n.\r\n"
        shown = {
            Tracing.TRACE: ["C: AUTH PLAIN ***", "C: ..."],
            Tracing.CREDENTIALS: [f"C: AUTH PLAIN {SECRET.decode()}", "C: ..."],
            Tracing.DATA: [f"C: AUTH PLAIN {SECRET.decode()}", "C: Subject: x\\r\\n"],
        }
        for level, (auth, data) in shown.items():
            self.trace(level)
            self.speak(b"EHLO x.example\r\nAUTH PLAIN " + SECRET + b"\r\n")
            self.speak(b"MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n" + content + b"QUIT\r\n")
            self.assertEqual(
                self.heard(),
                [
                    "C: EHLO x.example", auth, "C: MAIL FROM:<>", "C: RCPT TO:<a@x.example>",
                    "C: DATA", data, "C: QUIT",
                ],
            )  # fmt: skip

    def test_chunks(self) -> None:
        """Chunks are content: their commands are shown, their octets are not."""
        self.speak(b"EHLO x.example\r\nAUTH PLAIN " + SECRET + b"\r\n")
        self.speak(b"MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
        self.lines()
        self.speak(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n")
        self.assertEqual(
            self.heard(), ["C: BDAT 6", "C: ...", "C: BDAT 6 LAST", "C: ...", "C: NOOP"]
        )

    def test_refused_auth(self) -> None:
        """Passwords that were sent along with an AUTH that is refused are hidden, too."""
        self.speak(b"NOOP\r\n")
        self.lines()
        self.speak(
            b"AUTH LOGIN\r\n" + NAME + b"\r\n" + PASSWORD + b"\r\nNOOP\r\n"
            b"AUTH  PLAIN " + SECRET + b"\r\nAUTH plain " + SECRET + b" x\r\n"
            b"AUTH\tPLAIN " + SECRET + b"\r\nauth " + SECRET + b"\r\n"
        )
        self.assertEqual(
            self.heard(),
            [
                "C: AUTH LOGIN", "C: ***", "C: ***", "C: NOOP", "C: AUTH ***", "C: AUTH plain ***",
                "C: AUTH ***", "C: AUTH ***",
            ],
        )  # fmt: skip

    def test_behind_other_commands(self) -> None:
        """What is no command stays hidden behind a login that failed, whatever came between."""
        self.speak(b"NOOP\r\nAUTH PLAIN\r\nNOOP\r\n" + SECRET + b"\r\nRSET\r\n" + SECRET + b"\r\n")
        self.assertNotIn(SECRET.decode(), "\n".join(self.lines()))

    def test_control_characters(self) -> None:
        """Whatever a terminal might obey is an escape, and a line is a line (S-23)."""
        self.speak(b"NOOP \x1b[31m\xff\x00\\\r\n")
        self.assertEqual(self.heard(), ["C: NOOP \\x1b[31m\\xff\\x00\\\\"])

    def test_too_long(self) -> None:
        """Of a line that is too long its beginning is shown, no password of it."""
        self.speak(b"NOOP\r\n" + b"x" * 2048)
        self.assertEqual(self.heard(), ["C: NOOP", f"C: {'x' * 80}"])
        self.trace()
        self.speak(b"EHLO x.example\r\nAUTH PLAIN " + SECRET * 100)
        self.assertEqual(self.heard()[1:], ["C: AUTH PLAIN ***"])
        self.trace()
        self.speak(b"EHLO x.example\r\nAUTH PLAIN\r\n" + SECRET * 500)
        self.assertEqual(self.heard()[2:], ["C: ***"])

    def test_handshake(self) -> None:
        """Nothing of TLS itself is written down, what is said within it is."""
        self.speak(b"EHLO x.example\r\n")
        self.lines()
        self.speak(b"STARTTLS\r\n\x16\x03\x01secret")
        self.server.handshakeCompleted()
        self.speak(b"NOOP\r\n")
        self.assertEqual(
            self.lines(),
            [
                "C: STARTTLS", "S: 220 2.0.0 go ahead with TLS (id8)", "C: NOOP",
                "S: 250 2.0.0 done",
            ],
        )  # fmt: skip

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.sampled_from([
                b"AUTH PLAIN " + SECRET, b"AUTH PLAIN", b"AUTH PLAIN  " + SECRET + b" ", SECRET,
                b"AUTH PLAIN =" + SECRET, b"auth plain " + SECRET, b"AUTH LOGIN", NAME,
                b"AUTH LOGIN " + NAME, b"AUTH CRAM-MD5", b"AUTH PLAIN\t" + SECRET,
                b"NOOP",
            ]),
            max_size=6,
        ),
        st.booleans(),
    )  # fmt: skip
    def test_never(self, lines: list[bytes], hello: bool) -> None:
        """No order of lines of log-ins brings a password into the log (S-23)."""
        # Nobody could tell that such a line belongs to a log-in.
        commands = [line for line in lines if line != b"NOOP"]
        assume(not commands or commands[0] not in {SECRET, NAME})
        self.trace()
        self.speak(b"EHLO x.example\r\n" if hello else b"NOOP\r\n")
        self.speak(b"".join(line + b"\r\n" for line in lines))
        self.assertNotIn(SECRET.decode(), "\n".join(self.lines()))
        self.drop()
