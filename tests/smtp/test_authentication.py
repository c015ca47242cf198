"""AUTH, from its line to its outcome."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.interfaces import Login, PasswordAttempt, Role, TLSInfo
from moxsmtp.smtp.events import Exchange, LoginAttempt, LoginResult, Refusal
from moxsmtp.smtp.reply import Refused
from moxsmtp.smtp.sasl import decoded
from moxsmtp.smtp.session import MAXIMUM_RESPONSE, State
from tests.dialog import Dialogue
from tests.smtp.driver import Driver, session


def plain(authorization_id: str, login: str, password: str) -> str:
    return b64encode(f"{authorization_id}\0{login}\0{password}".encode()).decode()


def auth(authorization_id: str, login: str, password: str) -> bytes:
    return f"AUTH PLAIN {plain(authorization_id, login, password)}\r\n".encode()


def code(said: bytes) -> str:
    """The code and the word behind it, usually the enhanced code."""
    return " ".join(said.decode().split()[:2])


class Base64Tests(unittest.SynchronousTestCase):
    """RFC 4648 section 4."""

    def test_strict(self) -> None:
        """The standard alphabet with its padding, and not an octet else (S-44)."""
        for line in (b"", b"YQ==", b"YWI=", b"YWJj", b"++//"):
            self.assertEqual(b64encode(decoded(line)), line)
        for line in (
            b"YQ", b"YQ=", b"YQ===", b"=", b"YQ==YQ==", b"Y Q==", b" YQ==", b"YQ==\r", b"--__",
            b"Y\0Q=", b"\xff\xff\xff\xff", b"YWJjY", b"Y===",
        ):  # fmt: skip
            self.assertRaises(Refused, decoded, line)

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=60))
    def test_any(self, octets: bytes) -> None:
        """What was encoded is decoded; anything else is refused, never a crash."""
        self.assertEqual(decoded(b64encode(octets)), octets)
        try:
            decoded(octets)
        except Refused as refused:
            self.assertEqual(refused.reply.code, 501)


class AuthenticationTests(Dialogue):
    """RFC 4954."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, *, clear_passwords: bool = True, role: Role = Role.SUBMISSION) -> None:
        self.session = session(role, clear_passwords=clear_passwords)
        self.driver = Driver(self.session)
        self.speak(b"EHLO x.example\r\n")

    def speak(self, octets: bytes) -> bytes:
        return self.driver.speak(octets)

    @property
    def attempt(self) -> PasswordAttempt:
        last = self.driver.events[-1]
        assert isinstance(last, LoginAttempt), last
        assert isinstance(last.attempt, PasswordAttempt), last
        return last.attempt

    @property
    def exchange(self) -> Exchange | None:
        last = self.driver.events[-1]
        assert isinstance(last, Refusal), last
        return last.exchange

    def test_plain(self) -> None:
        """PLAIN with its message at once, or behind an empty challenge (S-46, S-44, S-54)."""
        message = plain("", "a@x.example", "secret")
        self.assertDialog(f"""
            C: AUTH PLAIN {message}
            S: 235 2.7.0 logged in
        """)
        self.assertEqual(self.session.client.login, Login("a", "a@x.example"))
        self.begin()
        self.assertEqual(self.speak(b"AUTH PLAIN\r\n"), b"334 \r\n")
        self.assertDialog(f"""
            C: {message}
            S: 235 2.7.0 logged in
        """)
        self.assertEqual(self.attempt, PasswordAttempt("", "a@x.example", "secret"))

    def test_login(self) -> None:
        """LOGIN asks for user and password, or takes the user at once (S-47)."""
        user, password = (b64encode(text).decode() for text in (b"a@x.example", b"secret"))
        self.assertDialog(f"""
            C: AUTH LOGIN
            S: 334 VXNlcm5hbWU6
            C: {user}
            S: 334 UGFzc3dvcmQ6
            C: {password}
            S: 235 2.7.0 logged in
        """)
        self.assertEqual(self.attempt, PasswordAttempt("", "a@x.example", "secret"))
        self.begin()
        self.assertDialog(f"""
            C: AUTH LOGIN {user}
            S: 334 UGFzc3dvcmQ6
            C: {password}
            S: 235 2.7.0 logged in
        """)

    def test_login_is_long(self) -> None:
        """LOGIN has no limit of 64 octets (S-47)."""
        user = b64encode(b"u" * 200)
        self.speak(b"AUTH LOGIN " + user + b"\r\n")
        self.speak(b64encode(b"p" * 200) + b"\r\n")
        self.assertEqual(self.attempt, PasswordAttempt("", "u" * 200, "p" * 200))

    def test_empty_initial_response(self) -> None:
        """An equals sign is an empty initial response (S-44)."""
        self.assertEqual(code(self.speak(b"AUTH PLAIN =\r\n")), "501 5.5.4")
        self.assertEqual(self.speak(b"AUTH LOGIN =\r\n"), b"334 UGFzc3dvcmQ6\r\n")

    def test_wrong(self) -> None:
        """Wrong credentials are 535 5.7.8, and one may try again (S-46)."""
        wrong, right = plain("", "a@x.example", "guess"), plain("", "a@x.example", "secret")
        self.assertDialog(f"""
            C: AUTH PLAIN {wrong}
            S: 535 5.7.8 bad user or password (id7)
            C: AUTH PLAIN {right}
            S: 235 2.7.0 logged in
        """)

    def test_malformed(self) -> None:
        """A PLAIN message has three tokens, in UTF-8 (S-46)."""
        for message in (b"", b"a", b"\0a", b"\0a\0b\0", b"\0\xff\0x", b"\xff\0a\0x", b"\0a\0\xff"):
            said = self.speak(b"AUTH PLAIN " + (b64encode(message) or b"=") + b"\r\n")
            self.assertEqual(code(said), "501 5.5.4", message)
            self.assertIs(self.session.state, State.GREETED)
        self.speak(b"AUTH LOGIN\r\n")
        self.assertEqual(code(self.speak(b64encode(b"\xff") + b"\r\n")), "501 5.5.4")

    def test_authorization_id(self) -> None:
        """To act for somebody else is refused; to name oneself is not (S-46)."""
        said = self.speak(auth("b@x.example", "a@x.example", "secret"))
        self.assertEqual(code(said), "535 5.7.8")
        self.assertEqual(self.exchange, Exchange("plain", LoginResult.BAD_CREDENTIALS))
        said = self.speak(auth("a@x.example", "a@x.example", "secret"))
        self.assertEqual(code(said), "235 2.7.0")

    def test_nfc(self) -> None:
        """Names and passwords are one in any spelling of Unicode (S-46)."""
        self.speak(auth("jo\u0308", "j\u00f6", "pa\u0308ss"))
        self.assertEqual(self.attempt, PasswordAttempt("j\u00f6", "j\u00f6", "p\u00e4ss"))

    def test_abort(self) -> None:
        """A star ends the exchange (S-44)."""
        for first in ("AUTH PLAIN", "AUTH LOGIN", "AUTH LOGIN YQ=="):
            self.begin()
            self.speak(first.encode() + b"\r\n")
            self.assertEqual(self.speak(b"*\r\n"), b"501 5.5.0 authentication aborted (id7)\r\n")
            mechanism = first.split()[1].lower()
            self.assertEqual(self.exchange, Exchange(mechanism, LoginResult.ABORTED))
            self.assertEqual(self.speak(b"NOOP\r\n"), b"250 NOOP\r\n")

    def test_no_base64(self) -> None:
        """What is no base64 ends the exchange (S-44)."""
        self.assertEqual(code(self.speak(b"AUTH PLAIN !\r\n")), "501 5.5.2")
        # A star is an abort in a line of its own only.
        self.assertEqual(code(self.speak(b"AUTH PLAIN *\r\n")), "501 5.5.2")
        self.assertEqual(self.exchange, Exchange("plain", LoginResult.ERROR))
        self.speak(b"AUTH PLAIN\r\n")
        self.assertEqual(code(self.speak(b"NOOP!\r\n")), "501 5.5.2")
        self.assertEqual(self.exchange, Exchange("plain", LoginResult.ERROR))
        self.assertIs(self.session.state, State.GREETED)

    def test_long_response(self) -> None:
        """A response has up to 12288 octets; a longer one is not waited for (S-18)."""
        self.speak(b"AUTH PLAIN\r\n")
        longest = b"A" * (MAXIMUM_RESPONSE - 2) + b"\r\n"
        self.assertEqual(code(self.speak(longest)), "501 5.5.2")
        self.speak(b"AUTH PLAIN\r\n")
        self.assertEqual(self.speak(b"A" * (MAXIMUM_RESPONSE - 1)), b"")
        said = self.speak(b"A")
        self.assertEqual(said, b"500 5.5.6 authentication response too long\r\n")
        self.assertEqual(self.exchange, Exchange("plain", LoginResult.ERROR))
        self.assertIs(self.session.state, State.CLOSED)

    def test_mechanisms(self) -> None:
        """504 for a mechanism that we do not have, 501 for what is none (S-43)."""
        self.assertEqual(code(self.speak(b"AUTH SCRAM-SHA-512\r\n")), "504 5.5.4")
        self.assertEqual(self.exchange, Exchange("", LoginResult.ERROR))
        self.assertEqual(code(self.speak(b"AUTH plain\r\n")), "501 5.5.2")

    def test_in_clear(self) -> None:
        """Where TLS is needed, 538 comes before any challenge (S-45)."""
        self.begin(clear_passwords=False)
        for line in ("PLAIN", "LOGIN", "PLAIN " + plain("", "a@x.example", "secret")):
            self.assertEqual(code(self.speak(f"AUTH {line}\r\n".encode())), "538 5.7.11")
        self.session.secured(TLSInfo("TLS1.3", "x"))
        self.speak(b"EHLO x.example\r\n")
        said = self.speak(auth("", "a@x.example", "secret"))
        self.assertEqual(said, b"235 2.7.0 logged in\r\n")

    def test_not_here(self) -> None:
        """Not between servers, not twice, not in a transaction; none of it an attempt (S-41)."""
        self.begin(role=Role.SMTP)
        self.assertEqual(code(self.speak(b"AUTH PLAIN\r\n")), "503 5.5.1")
        self.assertIsNone(self.exchange)
        self.begin()
        self.speak(auth("", "a@x.example", "secret"))
        self.assertEqual(code(self.speak(b"AUTH PLAIN\r\n")), "503 5.5.1")
        self.assertIsNone(self.exchange)

    def test_login_survives(self) -> None:
        """A new hello and RSET leave the user logged in (S-31)."""
        self.speak(auth("", "a@x.example", "secret"))
        self.speak(b"EHLO x.example\r\nRSET\r\n")
        self.assertEqual(code(self.speak(b"MAIL FROM:<>\r\n")), "250 MAIL")

    def delays(self, lines: list[bytes]) -> list[int]:
        """The delay due before each attempt's own answer."""
        found = []
        for line in lines:
            self.session.receive(line + b"\r\n")
            event = self.session.next()
            assert event is not None
            found.append(self.session.delay)
            self.session.answer(self.driver._reply(event))
        return found

    def test_delay(self) -> None:
        """From the fifth attempt on each waits longer, however the others failed (S-42)."""
        wrong = b"AUTH PLAIN " + plain("", "a", "guess").encode()
        lines = [wrong, b"AUTH FOO", b"AUTH", b"AUTH PLAIN !", wrong, b"NOOP", wrong, b"AUTH LOGIN"]
        self.assertEqual(self.delays(lines), [0, 0, 0, 0, 1, 0, 2, 3])
        self.assertEqual(self.delays([b"*", wrong]), [0, 4])

    def test_success_forgives(self) -> None:
        """A success forgets the failures; TLS does not (S-42, S-27)."""
        wrong = b"AUTH PLAIN " + plain("", "a", "guess").encode()
        right = b"AUTH PLAIN " + plain("", "a", "secret").encode()
        self.delays([wrong] * 5)
        self.session.secured(TLSInfo("TLS1.3", "x"))
        self.speak(b"EHLO x.example\r\n")
        self.assertEqual(self.delays([wrong, right]), [2, 3])
        self.session.secured(TLSInfo("TLS1.3", "x"))
        self.speak(b"EHLO x.example\r\n")
        self.assertEqual(self.delays([wrong] * 5), [0, 0, 0, 0, 1])
