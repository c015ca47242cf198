"""Tests for L{moxsmtp.receive.logins}, on a wire: certificates, and what is logged and counted."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import ChannelBinding, IKeyJudge, Login, Role, TLSInfo
from moxsmtp.smtp.reply import Refused, Reply
from tests.receive.wires import TLS, WireCase
from tests.smtp.scram_client import Client

#: A handshake in which the client showed a certificate that the receiver knows.
KNOWN = replace(TLS, client_key="known", channel_binding=ChannelBinding("tls-exporter", b"e" * 32))


class LoginCase(WireCase):
    """Each test has a connection with TLS before it."""

    role = Role.SUBMISSION
    client = IPv4Address("192.0.2.2")

    def shake_hands(self, tls: TLSInfo) -> None:
        """A connection on which that was agreed on; commands that wait are answered."""
        self.start(tls_info=lambda _connection: tls)
        if self.role is Role.SUBMISSION:
            self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.server.handshakeCompleted()

    def counted(self, variant: str, result: str) -> int:
        labels = f'kind="submission",result="{result}",variant="{variant}"'
        return self.metrics.counts.get(f"mox_authentication_total{{{labels}}}", 0)

    def logged(self, events: Sequence[Any], level: LogLevel) -> list[str]:
        return [event["log_format"].format(**event) for event in events
                if event["log_level"] is level]  # fmt: skip


class CertificateTests(LoginCase):
    """A client certificate behind STARTTLS."""

    def test_known(self) -> None:
        """A key that is registered logs in without AUTH, and counts so (S-37, S-40)."""
        self.shake_hands(KNOWN)
        self.assertEqual(self.counted("tlsclientauth", "ok"), 1)
        said = self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
        self.assertIn(b"AUTH EXTERNAL ", said)
        self.assertIn(b"250 2.1.0", said)
        self.assertEqual(self.told.clients[-1].login, Login("a", "a@x.example"))
        self.assertEqual(self.told.clients[-1].certificate, Login("a", "a@x.example"))

    def test_unknown(self) -> None:
        """
        A key that is not ends the connection, and nothing is answered any more
        (S-37, T-7).
        """
        self.shake_hands(replace(TLS, client_key="other"))
        self.assertEqual(self.counted("tlsclientauth", "badcreds"), 1)
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.speak(b"EHLO x.example\r\n"), b"")

    def test_resumed(self) -> None:
        """In a resumed session the key is checked again (S-39, T-8)."""
        for key, is_good in (("known", True), ("other", False)):
            self.shake_hands(replace(TLS, client_key=key, resumed=True))
            self.assertEqual(self.told.asked.count("authenticate"), 1)
            self.assertIs(self.wire.disconnecting, not is_good)

    def exhaust(self) -> None:
        """Too many have failed from there."""
        limiters, now = self.entrance.limiters, self.clock.seconds()
        while limiters.may_log_in(self.client, now):
            limiters.login_failed(self.client, now)

    def test_limited(self) -> None:
        """
        Where too many have failed, a certificate is not looked at, and logs
        nobody in; in a resumed session it is (S-38).
        """
        for resumed in (False, True):
            self.entrance.limiters.logged_in(self.client, self.clock.seconds())
            self.start(tls_info=lambda _connection, how=resumed: replace(KNOWN, resumed=how))
            self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
            self.exhaust()
            self.server.handshakeCompleted()
            self.assertEqual("authenticate" in self.told.asked, resumed)
            said = self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
            self.assertIn(b"250 2.1.0 " if resumed else b"530 5.7.0 ", said)
            self.assertEqual(b"EXTERNAL" in said, resumed)

    def test_failures_limited(self) -> None:
        """
        A key that fails counts towards the limit on failures, and one that is
        good takes them away (S-40, S-12).
        """
        limiters, now = self.entrance.limiters, self.clock.seconds()
        for _ in range(10):
            self.assertTrue(limiters.may_log_in(self.client, now))
            self.shake_hands(replace(TLS, client_key="other"))
        self.assertFalse(limiters.may_log_in(self.client, now))
        limiters.logged_in(self.client, now)
        for _ in range(9):
            limiters.login_failed(self.client, now)
        self.shake_hands(KNOWN)
        limiters.login_failed(self.client, now)
        self.assertTrue(limiters.may_log_in(self.client, now))

    def test_no_certificate(self) -> None:
        """Without one nothing is checked (S-36)."""
        self.shake_hands(TLS)
        self.assertNotIn("authenticate", self.told.asked)
        self.assertFalse(self.wire.disconnecting)

    def test_answers_wait(self) -> None:
        """What the client says while its key is looked up waits for the outcome (S-37)."""
        looked_up: Deferred[Login | None] = Deferred()
        self.start(tls_info=lambda _connection: KNOWN)
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.told.outcomes["authenticate"] = looked_up
        self.server.handshakeCompleted()
        self.assertEqual(self.speak(b"EHLO x.example\r\nNOOP\r\n"), b"")
        looked_up.callback(Login("a", "a@x.example"))
        said = self.said()
        self.assertIn(b"AUTH EXTERNAL ", said)
        self.assertTrue(said.endswith(b"250 2.0.0 done\r\n"))

    def test_store_fails(self) -> None:
        """If the key cannot be looked up, the connection ends (S-37)."""
        self.start(tls_info=lambda _connection: KNOWN)
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.told.outcomes["authenticate"] = Refused(Reply(451, "3.0", "later"))
        self.server.handshakeCompleted()
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.counted("tlsclientauth", "error"), 1)

    def test_bug(self) -> None:
        """A bug ends the connection, and is told (S-14)."""
        self.start(tls_info=lambda _connection: KNOWN)
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.told.outcomes["authenticate"] = ValueError("a bug")
        self.server.handshakeCompleted()
        self.assertTrue(self.wire.disconnected)
        self.assertEqual(self.counted("tlsclientauth", "error"), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_gone(self) -> None:
        """Who goes while the key is looked up has failed (S-40, S-42)."""
        self.start(tls_info=lambda _connection: KNOWN)
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.told.outcomes["authenticate"] = Deferred[Login | None]()
        self.server.handshakeCompleted()
        self.drop()
        self.assertEqual(self.counted("tlsclientauth", "error"), 1)

    def test_delayed(self) -> None:
        """The check waits like any attempt behind too many failures (S-40, S-42)."""
        self.start(tls_info=lambda _connection: KNOWN)
        self.speak(b"EHLO x.example\r\n")
        for _ in range(4):
            self.server.dataReceived(b"AUTH PLAIN !\r\n")
            self.clock.pump([1] * 100)
        self.server.dataReceived(b"STARTTLS\r\n")
        while self.wire.tls is None:
            self.clock.advance(1)
        asked = self.told.asked.count("authenticate")
        self.server.handshakeCompleted()
        self.assertEqual(self.told.asked.count("authenticate"), asked)
        self.clock.advance(1)
        self.assertEqual(self.told.asked.count("authenticate"), asked + 1)


class HandshakeTests(LoginCase):
    """A client certificate while TLS shakes hands."""

    def setUp(self) -> None:
        super().setUp()
        self.begin_tls()

    def begin_tls(self, **changes: Any) -> None:
        """A connection on which TLS begins; the key C{known} is, others are not."""
        self.asked: list[str] = []

        def objection(key: str) -> str:
            self.asked.append(key)
            return "" if key == "known" else "it is not registered"

        self.start(tls_info=lambda _connection: KNOWN, objection=objection, **changes)
        if self.role is Role.SUBMISSION:
            self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")

    def test_port(self) -> None:
        """The connection is asked."""
        verifyObject(IKeyJudge, self.server)

    def test_unknown(self) -> None:
        """
        A key that is not registered is refused at once, and that is a failure to log in (S-37,
        S-40, T-7).
        """
        with capturedLogs() as events:
            self.assertFalse(self.server.is_welcome("other"))
            self.drop()
        self.assertEqual(self.counted("tlsclientauth", "badcreds"), 1)
        self.assertEqual(self.counted("tlsclientauth", "error"), 0)
        told = self.logged(events, LogLevel.info)
        self.assertIn("no login with the certificate of key other: it is not registered", told)

    def test_known(self) -> None:
        """One that is goes on, and is an attempt like others once the handshake is done (S-40)."""
        self.assertTrue(self.server.is_welcome("known"))
        self.assertEqual(self.metrics.counts.get("mox_authentication_total", 0), 0)
        self.server.handshakeCompleted()
        self.assertEqual(self.counted("tlsclientauth", "ok"), 1)
        self.assertIn(b"250 2.1.0", self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n"))

    def test_removed_since(self) -> None:
        """The store has the last word: what is remembered lets nobody in (S-37)."""
        self.assertTrue(self.server.is_welcome("known"))
        self.told.outcomes["authenticate"] = Refused(Reply(535, "7.8", "no"))
        self.server.handshakeCompleted()
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.speak(b"EHLO x.example\r\n"), b"")

    def test_failures_limited(self) -> None:
        """Unknown keys count towards the limit on failures (S-40, S-12)."""
        limiters, now = self.entrance.limiters, self.clock.seconds()
        for _ in range(10):
            self.assertTrue(limiters.may_log_in(self.client, now))
            self.begin_tls()
            self.assertFalse(self.server.is_welcome("other"))
        self.assertFalse(limiters.may_log_in(self.client, now))

    def exhaust(self) -> None:
        """Too many have failed from there."""
        limiters, now = self.entrance.limiters, self.clock.seconds()
        while limiters.may_log_in(self.client, now):
            limiters.login_failed(self.client, now)

    def test_limited(self) -> None:
        """
        Where too many have failed no key is looked at: the handshake goes on, and the client
        is as good as without, even if there is room again once it is done (S-38).
        """
        for forgiven in (False, True):
            for key in ("other", "known"):
                self.entrance.limiters.logged_in(self.client, self.clock.seconds())
                self.begin_tls()
                self.exhaust()
                self.assertTrue(self.server.is_welcome(key))
                if forgiven:
                    self.entrance.limiters.logged_in(self.client, self.clock.seconds())
                self.server.handshakeCompleted()
                self.assertEqual(self.asked, [])
                self.assertNotIn("authenticate", self.told.asked)
                said = self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n")
                self.assertNotIn(b"EXTERNAL", said)
                self.assertIn(b"530 5.7.0 ", said)

    def test_limited_since(self) -> None:
        """A key that was looked at counts, however many fail meanwhile (S-38)."""
        self.assertTrue(self.server.is_welcome("known"))
        self.exhaust()
        self.server.handshakeCompleted()
        self.assertIn(b"250 2.1.0", self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\n"))

    def test_not_proven(self) -> None:
        """
        Who shows a certificate that is registered, but has not its private key, has learnt
        that it is: that counts as an attempt (S-40, S-42).
        """
        self.assertTrue(self.server.is_welcome("known"))
        self.drop()
        self.assertEqual(self.counted("tlsclientauth", "error"), 1)

    def test_ended(self) -> None:
        """Who is about to be cut off is not welcome, and nothing is asked."""
        self.server.abort()
        self.assertFalse(self.server.is_welcome("known"))
        self.assertEqual(self.asked, [])


class ImmediateTLSTests(HandshakeTests):
    """The same on port 465."""

    role = Role.SUBMISSIONS

    def test_limited(self) -> None:
        """
        Where too many have failed no key is looked at: the handshake goes on, and its end is
        the end of the connection (S-38, S-11).
        """
        self.exhaust()
        self.assertTrue(self.server.is_welcome("known"))
        self.server.handshakeCompleted()
        self.assertEqual(self.asked, [])
        self.assertEqual(self.said()[:9], b"421 4.7.0")
        self.assertTrue(self.wire.disconnecting)


class DeliveryTests(LoginCase):
    """Port 25."""

    role = Role.SMTP

    def test_not_checked(self) -> None:
        """Where servers hand in mail, no key logs in (S-36)."""
        self.start(tls_info=lambda _connection: KNOWN)
        self.speak(b"EHLO x.example\r\nSTARTTLS\r\n")
        self.server.handshakeCompleted()
        self.speak(b"EHLO x.example\r\n")
        self.assertNotIn("authenticate", self.told.asked)


class SubmissionsTests(LoginCase):
    """A client certificate on port 465."""

    role = Role.SUBMISSIONS

    def test_greeting_waits(self) -> None:
        """The greeting comes once the key is found good, and never if it is not (S-37, S-11)."""
        self.start(tls_info=lambda _connection: KNOWN)
        looked_up: Deferred[Login | None] = Deferred()
        self.told.outcomes["authenticate"] = looked_up
        self.server.handshakeCompleted()
        self.assertEqual(self.said(), b"")
        looked_up.callback(Login("a", "a@x.example"))
        self.assertEqual(self.said()[:4], b"220 ")
        self.shake_hands(replace(TLS, client_key="other"))
        self.assertEqual(self.said(), b"")
        self.assertTrue(self.wire.disconnecting)


class ExchangeTests(LoginCase):
    """SASL on a wire."""

    def setUp(self) -> None:
        super().setUp()
        self.shake_hands(replace(KNOWN, client_key=""))
        self.speak(b"EHLO x.example\r\n")

    def say(self, octets: bytes) -> bytes:
        return self.speak(b64encode(octets) + b"\r\n")

    def scram(self, client: Client, name: str) -> bytes:
        """A whole exchange, with all in it; the last answer."""
        self.speak(f"AUTH {name}\r\n".encode())
        first = b64decode(self.say(client.first)[4:-2])
        self.say(client.final(first))
        return self.speak(b"\r\n")

    def test_scram(self) -> None:
        """SCRAM-PLUS logs in, and counts by its name (S-51, S-114)."""
        client = Client("sha256", "a@x.example", b"secret", "p=tls-exporter,,", b"e" * 32)
        self.assertEqual(self.scram(client, "SCRAM-SHA-256-PLUS")[:4], b"235 ")
        self.assertEqual(self.counted("scram-sha-256-plus", "ok"), 1)
        self.speak(b"MAIL FROM:<>\r\n")
        self.assertEqual(self.told.clients[-1].login, Login("a", "a@x.example"))

    def test_other_channel(self) -> None:
        """
        Another TLS connection than ours is counted as C{badchanbind}, and the
        log warns of a man in the middle (S-51, S-114).
        """
        client = Client("sha1", "a@x.example", b"secret", "p=tls-exporter,,", b"x" * 32)
        with capturedLogs() as events:
            self.assertEqual(self.scram(client, "SCRAM-SHA-1-PLUS")[:9], b"535 5.7.7")
        (line,) = self.logged(events, LogLevel.warn)
        self.assertIn("a@x.example", line)
        self.assertIn("man in the middle", line)
        self.assertEqual(self.counted("scram-sha-1-plus", "badchanbind"), 1)

    def test_cram(self) -> None:
        """CRAM-MD5 logs in; a mismatch is counted as C{badcreds} (S-48, S-115)."""
        for password, code, result in ((b"guess", b"535", "badcreds"), (b"secret", b"235", "ok")):
            self.assertEqual(self.cram(password)[:3], code)
            self.assertEqual(self.counted("cram-md5", result), 1)

    def test_failures_are_told(self) -> None:
        """
        Whoever guesses is named in the log at C{info}, whatever the mechanism: at the other
        levels operators do not look for it (S-112).
        """
        client = Client("sha256", "a@x.example", b"guess")
        other = Client("sha256", "a@x.example", b"guess", "n,a=b@x.example,")
        attempts = {
            "wrong proof for a@x.example": lambda: self.scram(client, "SCRAM-SHA-256"),
            "wrong digest for a@x.example": lambda: self.cram(b"guess"),
            "a@x.example asks to be somebody else": lambda: self.plain("b@x.example"),
        }
        for reason, attempt in attempts.items():
            with capturedLogs() as events:
                self.assertEqual(attempt()[:9], b"535 5.7.8")
            self.assertEqual(self.logged(events, LogLevel.info), [f"login failed: {reason}"])
        with capturedLogs() as events:
            self.speak(b"AUTH SCRAM-SHA-256\r\n")
            self.assertEqual(self.say(other.first)[:9], b"535 5.7.8")
        (line,) = self.logged(events, LogLevel.info)
        self.assertIn("a@x.example asks to be somebody else", line)

    def cram(self, password: bytes) -> bytes:
        """A whole exchange; the last answer."""
        challenge = b64decode(self.speak(b"AUTH CRAM-MD5\r\n")[4:-2])
        digest = hmac.new(password, challenge, hashlib.md5).hexdigest()
        return self.say(f"a@x.example {digest}".encode())

    def plain(self, wanted: str) -> bytes:
        """A whole exchange of who wants to be somebody; the answer."""
        message = f"{wanted}\0a@x.example\0secret".encode()
        return self.speak(b"AUTH PLAIN " + b64encode(message) + b"\r\n")

    def test_known_and_unknown(self) -> None:
        """
        A wrong password of a known user and an unknown user: the same answers in
        all of it but what is random, and the same is asked and counted (S-46,
        S-48, S-50).
        """
        outcomes = []
        for user in ("a@x.example", "eve@x.example"):
            self.shake_hands(replace(KNOWN, client_key=""))
            self.speak(b"EHLO x.example\r\n")
            self.metrics.counts.clear()
            said = []
            for name in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
                client = Client("sha256" if "256" in name else "sha1", user, b"guess")
                said.append(self.scram(client, name))
            self.speak(b"AUTH CRAM-MD5\r\n")
            said.append(self.say(f"{user} {'0' * 32}".encode()))
            said.append(self.speak(b"AUTH PLAIN " + b64encode(f"\0{user}\0x".encode()) + b"\r\n"))
            # The numbers of sessions differ.
            words = [text.split(b"(")[0] for text in said]
            outcomes.append((words, self.told.asked, dict(self.metrics.counts)))
        self.assertEqual(*outcomes)

    def test_store_fails(self) -> None:
        """Where secrets cannot be had, the exchange is over and the session goes on (S-50)."""
        self.told.outcomes["secrets"] = Refused(Reply(454, "3.0", "later"))
        self.speak(b"AUTH SCRAM-SHA-1\r\n")
        said = self.say(Client("sha1", "a@x.example", b"secret").first)
        self.assertEqual(said[:10], b"454 4.3.0 ")
        self.assertEqual(self.counted("scram-sha-1", "error"), 1)
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")

    def test_nothing_secret(self) -> None:
        """Neither password, digest nor proof are in the log."""
        with capturedLogs() as events:
            self.speak(b"AUTH PLAIN " + b64encode(b"\0a@x.example\0hunter2") + b"\r\n")
            self.speak(b"AUTH plain " + b64encode(b"\0a\0hunter2") + b"\r\n")
            self.shake_hands(replace(KNOWN, client_key=""))
            self.speak(b"EHLO x.example\r\n")
            self.speak(b"AUTH PLAIN " + b64encode(b"a\0b\0hunter2\0") + b"\r\n")
            self.scram(Client("sha1", "a@x.example", b"hunter2"), "SCRAM-SHA-1")
        text = repr(events)
        for secret in ("hunter2", b64encode(b"\0a@x.example\0hunter2").decode()):
            self.assertNotIn(secret, text)

    def test_gone(self) -> None:
        """Who goes in the middle of it has failed (S-42)."""
        self.speak(b"AUTH SCRAM-SHA-1\r\n")
        self.say(Client("sha1", "a@x.example", b"secret").first)
        self.drop()
        self.assertEqual(self.counted("scram-sha-1", "error"), 1)
