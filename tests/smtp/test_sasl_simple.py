"""CRAM-MD5 and EXTERNAL within a session, and which mechanisms are announced."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.interfaces import (
    CertificateAttempt,
    ChannelBinding,
    Login,
    LoginSecrets,
    Role,
    TLSInfo,
)
from moxsmtp.smtp.events import (
    Exchange,
    LoginAttempt,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.login_secrets import CramKeys, SecretsWanted
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.session import Session, State, Station
from tests.smtp.driver import TERMS, Driver, session

TLS = TLSInfo(
    "TLS1.3", "TLS_AES_128_GCM_SHA256", ChannelBinding("tls-exporter", b"e" * 32), client_key="key"
)
NO_KEY = replace(TLS, client_key="")
UNBOUND = replace(NO_KEY, channel_binding=None)

OWNER = Login("a", "a@x.example")

#: The moment and the number of L{TERMS}.
CHALLENGE = f"<{int.from_bytes(b'r' * 8, 'big')}.1700000000500000000@mx.example>".encode()


class SimpleCase(unittest.SynchronousTestCase):
    """Each test has a session, in clear to begin with."""

    def setUp(self) -> None:
        self.use(session(Role.SUBMISSION))

    def use(self, used: Session) -> None:
        self.session = used
        self.driver = Driver(used)
        self.driver.speak(b"EHLO x.example\r\n")

    def secure(self, tls: TLSInfo = TLS, certificate: Login | None = OWNER) -> None:
        """TLS is up; the client's certificate is of C{certificate}."""
        self.session.secured(tls)
        if certificate is not None:
            self.session.count_certificate()
            self.session.certify(certificate)
        self.driver.speak(b"EHLO x.example\r\n")

    def speak(self, octets: bytes) -> bytes:
        return self.driver.speak(octets)

    def code(self, said: bytes) -> str:
        return " ".join(said.decode().split()[:2])

    def codes(self, octets: bytes) -> str:
        return self.code(self.speak(octets))

    @property
    def exchange(self) -> Exchange | None:
        last = self.driver.events[-1]
        assert isinstance(last, Refusal), last
        return last.exchange


class CramTests(SimpleCase):
    """RFC 2195."""

    def answer(self, login: str, password: bytes = b"secret") -> str:
        return f"{login} {hmac.new(password, CHALLENGE, hashlib.md5).hexdigest()}"

    def exchange_of(self, response: bytes) -> str:
        """The code that a response is answered with."""
        self.setUp()
        said = self.speak(b"AUTH CRAM-MD5\r\n")
        self.assertEqual(b64decode(said[4:-2]), CHALLENGE)
        return self.codes(b64encode(response) + b"\r\n")

    def test_success(self) -> None:
        """
        The challenge holds a random number, the time in nanoseconds and our
        name; the right digest of it logs in (S-48, S-54).
        """
        self.assertEqual(self.exchange_of(self.answer("a@x.example").encode()), "235 2.7.0")
        self.assertEqual(self.session.client.login, OWNER)
        self.assertEqual(self.session.ended, Exchange("cram-md5", LoginResult.OK))

    def test_rfc_2195(self) -> None:
        """The example of RFC 2195 section 2 (S-48)."""
        challenge = b"<1896.697170952@postoffice.reston.mci.net>"
        keys = CramKeys.derived(b"tanstaaftanstaaf")
        self.assertEqual(keys.digest(challenge), "b913a602c7eda7a495b4e6e7334d3890")

    def test_global_name(self) -> None:
        """The name in the challenge is the server's, whatever the listener's is (S-2, S-48)."""
        station = Station(
            hostname="listener.example",
            maximum_size=1,
            offers_tls=False,
            clear_passwords=True,
            reply_id=str,
            terms=TERMS,
        )
        self.use(Session(station, self.session.client))
        said = self.speak(b"AUTH CRAM-MD5\r\n")
        self.assertTrue(b64decode(said[4:-2]).endswith(b"@mx.example>"))

    def test_wrong(self) -> None:
        """
        A mismatch, an unknown user, capitals: 535 5.7.8, and C{badcreds} (S-48,
        S-115).
        """
        login, digits = self.answer("a@x.example").split()
        for response in (
            self.answer("a@x.example", b"guess"),
            self.answer("eve@x.example"),
            self.answer("eve@x.example", b"nobody knows"),
            f"{login} {digits[:-1]}{'1' if digits[-1] == '0' else '0'}",
            f"{login} {digits.upper()}",
        ):
            self.assertEqual(self.exchange_of(response.encode()), "535 5.7.8", response)
            self.assertEqual(self.session.ended, Exchange("cram-md5", LoginResult.BAD_CREDENTIALS))

    def test_malformed(self) -> None:
        """A login, one space, 32 digits, in UTF-8; else 501 5.5.4 (S-48, T-10)."""
        digits = b"0" * 32
        for response in (
            b"", b" ", b"a", digits, b" " + digits, b"a " + digits[1:], b"a " + digits + b"0",
            b"a  " + digits, b"a b " + digits, b"a " + digits + b" ", b"a\t" + digits,
            b"a " + digits + b"\n", b"a " + b"g" * 32, b"\xff " + digits, b"a\0" + digits,
        ):  # fmt: skip
            self.assertEqual(self.exchange_of(response), "501 5.5.4", response)
            self.assertEqual(self.exchange, Exchange("cram-md5", LoginResult.ERROR))

    def test_initial_response(self) -> None:
        """The server speaks first: an initial response is 501 5.5.2, whatever it is (S-48)."""
        for initial in (b"=", b"YQ==", b"!", b64encode(self.answer("a@x.example").encode())):
            self.assertEqual(self.codes(b"AUTH CRAM-MD5 " + initial + b"\r\n"), "501 5.5.2")

    def test_nfc(self) -> None:
        """The login is looked up in NFC (S-46)."""
        self.speak(b"AUTH CRAM-MD5\r\n")
        self.session.receive(b64encode("ao\u0308@x ".encode() + b"0" * 32) + b"\r\n")
        self.assertEqual(
            self.session.next(), SecretsRequest("cram-md5", SecretsWanted("a\u00f6@x", None))
        )

    def test_in_clear(self) -> None:
        """It works where passwords may not be sent, though it is not announced (S-45, S-32)."""
        self.use(session(Role.SUBMISSION, clear_passwords=False))
        self.speak(b"AUTH CRAM-MD5\r\n")
        answer = b64encode(self.answer("a@x.example").encode())
        self.assertEqual(self.codes(answer + b"\r\n"), "235 2.7.0")

    def test_disabled(self) -> None:
        """An account that may not log in is told so with the right digest only (S-55)."""
        refusal = Reply(525, "7.13", "you left us")
        for login in (OWNER, None):
            self.setUp()
            self.speak(b"AUTH CRAM-MD5\r\n")
            self.session.receive(b64encode(self.answer("a@x.example").encode()) + b"\r\n")
            self.session.next()
            keys = CramKeys.derived(b"secret")
            event = self.session.supply(LoginSecrets(login, keys, refusal))
            assert isinstance(event, Refusal)
            self.assertEqual(event.reply.code, 525 if login else 535)

    def test_turned_off(self) -> None:
        """Where it is turned off, it is neither announced nor known (S-32, S-43)."""
        terms = replace(TERMS, cram_md5=False)
        station = Station(
            hostname="mx.example", maximum_size=1, offers_tls=False, clear_passwords=True,
            reply_id=str, terms=terms,
        )  # fmt: skip
        self.use(Session(station, self.session.client))
        self.assertIn(
            b"250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\r\n", self.speak(b"EHLO x.example\r\n")
        )
        self.assertEqual(self.codes(b"AUTH CRAM-MD5\r\n"), "504 5.5.4")

    @settings(deadline=None, max_examples=80)
    @given(st.binary(max_size=60))
    def test_any(self, response: bytes) -> None:
        """Whatever the response is: 501 or 535, and the session goes on."""
        self.assertIn(self.exchange_of(response), {"501 5.5.4", "535 5.7.8"})
        self.assertIs(self.session.state, State.GREETED)


class ExternalTests(SimpleCase):
    """RFC 4422 appendix A."""

    def external(self, authorization_id: str) -> str:
        response = b64encode(authorization_id.encode()) or b"="
        return self.codes(b"AUTH EXTERNAL " + response + b"\r\n")

    def test_success(self) -> None:
        """Empty: the certificate's address; else another one of the account (S-52, S-54)."""
        for said, address in (
            ("", "a@x.example"), ("a@x.example", "a@x.example"), ("a2@x.example", "a2@x.example")
        ):  # fmt: skip
            self.setUp()
            self.secure()
            self.assertEqual(self.external(said), "235 2.7.0")
            self.assertEqual(self.session.client.login, Login("a", address))
        self.setUp()
        self.secure()
        self.assertEqual(self.speak(b"AUTH EXTERNAL\r\n"), b"334 \r\n")
        self.assertEqual(self.codes(b"\r\n"), "235 2.7.0")

    def test_another(self) -> None:
        """An address that is not the account's, or nobody's: 535 5.7.8 (S-52)."""
        self.secure()
        self.assertEqual(self.external("b@x.example"), "535 5.7.8")
        self.assertEqual(self.session.client.login, OWNER)

    def test_asked(self) -> None:
        """What is verified is the key, and the wish in NFC (S-52)."""
        self.secure()
        self.external("ao\u0308")
        self.assertEqual(
            self.driver.events[-1], LoginAttempt("external", CertificateAttempt("key", "a\u00f6"))
        )

    def test_without_tls(self) -> None:
        """The response is read first, then 538 5.7.11 (S-52)."""
        self.assertEqual(self.speak(b"AUTH EXTERNAL\r\n"), b"334 \r\n")
        self.assertEqual(self.codes(b"\r\n"), "538 5.7.11")
        self.assertEqual(self.exchange, Exchange("external", LoginResult.ERROR))
        self.assertEqual(self.codes(b"AUTH EXTERNAL !\r\n"), "501 5.5.2")

    def test_without_certificate(self) -> None:
        """No certificate, or one that was not checked: 535 5.7.8 (S-52, S-38)."""
        for tls in (NO_KEY, TLS):
            self.setUp()
            self.secure(tls, certificate=None)
            self.assertEqual(self.external(""), "535 5.7.8")
            self.assertEqual(self.exchange, Exchange("external", LoginResult.BAD_CREDENTIALS))

    def test_malformed(self) -> None:
        """What is not UTF-8 is 501 5.5.4 (T-10)."""
        self.secure()
        self.assertEqual(self.codes(b"AUTH EXTERNAL /w==\r\n"), "501 5.5.4")

    @settings(deadline=None, max_examples=50)
    @given(st.binary(max_size=30))
    def test_any(self, response: bytes) -> None:
        """Whatever the response is, it is verified or refused."""
        self.setUp()
        self.secure()
        code = self.codes(b"AUTH EXTERNAL " + (b64encode(response) or b"=") + b"\r\n")
        self.assertIn(code, {"235 2.7.0", "501 5.5.4", "535 5.7.8"})


class CertificateTests(SimpleCase):
    """Who has logged in with a certificate."""

    def plain(self, login: str) -> str:
        return self.codes(b"AUTH PLAIN " + b64encode(f"\0{login}\0secret".encode()) + b"\r\n")

    def test_enough(self) -> None:
        """The certificate alone lets MAIL through (S-37, S-25, T-6)."""
        self.secure()
        self.assertEqual(self.codes(b"MAIL FROM:<>\r\n"), "250 MAIL")

    def test_sasl_besides(self) -> None:
        """
        SASL is possible behind it, once; the account must be the same, and the
        user is the one of SASL then (S-53, S-41, T-4).
        """
        self.secure()
        self.assertEqual(self.plain("a2@x.example"), "235 2.7.0")
        self.assertEqual(self.session.client.login, Login("a", "a2@x.example"))
        self.assertEqual(self.session.client.certificate, OWNER)
        self.assertEqual(self.plain("a2@x.example"), "503 5.5.1")

    def test_another_account(self) -> None:
        """SASL as another account fails, and the certificate still counts (S-53)."""
        self.secure(certificate=Login("b", "a@x.example"))
        self.assertEqual(self.plain("a@x.example"), "535 5.7.8")
        self.assertEqual(self.session.ended, Exchange("plain", LoginResult.BAD_CREDENTIALS))
        self.assertEqual(self.session.client.login, Login("b", "a@x.example"))
        self.assertEqual(self.codes(b"MAIL FROM:<>\r\n"), "250 MAIL")

    def test_another_account_proven(self) -> None:
        """The same with SCRAM and the like (S-53)."""
        self.secure(certificate=Login("b", "a@x.example"))
        self.speak(b"AUTH CRAM-MD5\r\n")
        digest = hmac.new(b"secret", CHALLENGE, hashlib.md5).hexdigest()
        said = self.speak(b64encode(f"a@x.example {digest}".encode()) + b"\r\n")
        self.assertEqual(self.code(said), "535 5.7.8")
        self.assertIsInstance(self.driver.events[-1], LoginProven)

    def test_attempts(self) -> None:
        """Each check is an attempt; success forgets those before (S-40, S-42)."""
        for _ in range(5):
            self.codes(b"AUTH PLAIN !\r\n")
        self.session.secured(TLS)
        self.session.count_certificate()
        self.assertEqual(self.session.delay, 2)
        self.session.certify(OWNER)
        self.assertEqual(self.session.delay, 0)
        self.speak(b"EHLO x.example\r\n")
        self.session.receive(b"AUTH PLAIN !\r\n")
        self.session.next()
        self.assertEqual(self.session.delay, 0)


class AnnouncedTests(SimpleCase):
    """What EHLO says can be used."""

    def announced(self) -> list[str]:
        lines = self.speak(b"EHLO x.example\r\n").decode().splitlines()
        return [line[9:] for line in lines if line[4:9] == "AUTH "]

    def test_usable(self) -> None:
        """
        All that works now and nothing else, strongest first: PLUS with a channel
        binding, EXTERNAL with a certificate that is good (S-32).
        """
        rest = "CRAM-MD5 PLAIN LOGIN"
        self.assertEqual(self.announced(), [f"SCRAM-SHA-256 SCRAM-SHA-1 {rest}"])
        self.secure(UNBOUND, certificate=None)
        self.assertEqual(self.announced(), [f"SCRAM-SHA-256 SCRAM-SHA-1 {rest}"])
        plus = f"SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 {rest}"
        self.secure(TLS, certificate=None)
        self.assertEqual(self.announced(), [plus])
        self.secure()
        self.assertEqual(self.announced(), [f"EXTERNAL {plus}"])

    def test_nothing_usable(self) -> None:
        """Where no mechanism may be used yet, there is no AUTH line (S-32)."""
        self.use(session(Role.SUBMISSION, clear_passwords=False))
        self.assertEqual(self.announced(), [])
        self.use(session(Role.SMTP))
        self.assertEqual(self.announced(), [])

    def test_all_work(self) -> None:
        """Each mechanism that is announced is known, and none is refused at once (S-43)."""
        self.secure()
        for name in self.announced()[0].split():
            said = self.speak(f"AUTH {name}\r\n".encode())
            self.assertEqual(said[:4], b"334 ", name)
            self.assertEqual(self.codes(b"*\r\n"), "501 5.5.0")
