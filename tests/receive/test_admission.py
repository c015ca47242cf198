"""Who is let in, and who is greeted."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from moxsmtp.interfaces import Role
from moxsmtp.judge.limiters import Limiters, LimitSettings
from moxsmtp.names import parse_host
from moxsmtp.receive.connections import Connections
from tests.receive.wires import WireCase

#: Who all of the wires' clients are.
HERE = parse_host("[192.0.2.2]").address  # type: ignore[union-attr]  # a literal

RATELIMITED = 'mox_authentication_ratelimited_total{kind="submission"}'


def limiters(**limits: Any) -> Limiters:
    return Limiters(LimitSettings(**limits))


class LimitTests(WireCase):
    """S-11 (b) and (d), S-12."""

    def test_rate(self) -> None:
        """So many new connections a minute, those that have ended too, then 421 4.7.0 (S-11)."""
        self.start(limiters=limiters(connections_per_minute=(3, 9, 9)))
        for _ in range(2):
            self.drop()
            self.connect()
            self.assertTrue(self.greeting.startswith(b"220 "))
        self.connect()
        self.assertEqual(
            self.greeting, b"421 4.7.0 too many connections a minute, try again later\r\n"
        )
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.speak(b"EHLO x.example\r\n"), b"")
        self.clock.advance(60)
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))

    def test_open(self) -> None:
        """So many connections at once, then 421 4.7.0; one that ends makes room (S-11, T-17)."""
        self.start(limiters=limiters(open_connections=(2, 9, 9)))
        first = self.server
        self.connect()
        self.connect()
        self.assertEqual(
            self.greeting,
            b"421 4.7.0 too many connections from your network, try again later\r\n",
        )
        # Who was refused gives nothing back.
        self.drop()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"421 4.7.0 "))
        self.server = first
        self.drop()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))

    def test_refused_counts(self) -> None:
        """Who is refused for open connections has been counted as a new one (S-11)."""
        self.start(limiters=limiters(connections_per_minute=(3, 9, 9), open_connections=(1, 9, 9)))
        self.connect()
        self.connect()
        self.assertIn(b"from your network", self.greeting)
        self.connect()
        self.assertIn(b"a minute", self.greeting)

    def test_shared(self) -> None:
        """The limits hold over all sockets that share them (S-12)."""
        shared = limiters(open_connections=(1, 9, 9))
        self.start(limiters=shared)
        self.start(limiters=shared)
        self.assertTrue(self.greeting.startswith(b"421 4.7.0 "))

    def test_exempt(self) -> None:
        """Exempt networks are neither limited nor counted (S-12)."""
        exempt = limiters(
            open_connections=(1, 9, 9),
            connections_per_minute=(1, 9, 9),
            limits_exempt=(ip_network("192.0.2.0/24"),),
        )
        self.start(limiters=exempt)
        self.connect()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))
        self.drop()
        self.assertTrue(exempt.open(HERE))
        self.assertTrue(exempt.count_connection(HERE, 0))

    def test_every_way_out(self) -> None:
        """However a connection ends, its place is free again (T-17)."""
        few = limiters(open_connections=(1, 9, 9))
        self.drop()

        def quitting() -> None:
            self.speak(b"QUIT\r\n")

        def idle() -> None:
            self.clock.pump([1] * 310)

        def broken() -> None:
            self.told.outcomes["hello"] = ZeroDivisionError()
            self.speak(b"EHLO x.example\r\n")
            self.flushLoggedErrors(ZeroDivisionError)

        def under_way() -> None:
            self.begin()

        for way in (quitting, idle, broken, under_way):
            self.start(limiters=few)
            self.assertTrue(self.greeting.startswith(b"220 "), way)
            way()
            self.drop()
        self.assertEqual(self.connections.open, 0)

    def test_draining_first(self) -> None:
        """That we stop is told before any limit is looked at (S-11, S-15)."""
        self.start(limiters=limiters(connections_per_minute=(1, 9, 9)))
        _ = self.factory.drain()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"421 4.3.2 "))

    def test_listener_full(self) -> None:
        """That the listener is full is told last, and its place is not lost (S-16, T-17)."""
        self.start(connections=Connections(1), limiters=limiters())
        first = self.server
        self.connect()
        self.assertEqual(self.greeting, b"421 4.7.0 too many connections, try again later\r\n")
        self.drop()
        self.server = first
        self.drop()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))


class FailureTests(WireCase):
    """S-11 (c)."""

    role = Role.SUBMISSION

    def fail_to_log_in(self) -> None:
        self.speak(b"EHLO x.example\r\n")
        self.speak(b"AUTH PLAIN AGFAeC5leGFtcGxlAHdyb25n\r\n")

    def test_turned_away(self) -> None:
        """After so many failures, on any connections, 421 4.7.0 and its metric (S-11, S-12)."""
        self.start(limiters=limiters(failed_logins_per_minute=(2, 9, 9)))
        self.fail_to_log_in()
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))
        self.fail_to_log_in()
        self.connect()
        self.assertEqual(
            self.greeting, b"421 4.7.0 too many failures to log in, try again later\r\n"
        )
        self.assertEqual(self.metrics.counts[RATELIMITED], 1)
        self.clock.advance(60)
        self.connect()
        self.assertTrue(self.greeting.startswith(b"220 "))

    def test_all_failures(self) -> None:
        """Aborts, bad syntax and disconnects are failures too (S-12, S-42, T-5)."""
        lines = (
            b"AUTH PLAIN AGFAeC5leGFtcGxlAHdyb25n\r\n", b"AUTH LOGIN\r\n*\r\n", b"AUTH plain\r\n",
            b"AUTH NONE\r\n", b"AUTH PLAIN !\r\n", b"AUTH LOGIN\r\n",
        )  # fmt: skip
        for line in lines:
            few = limiters(failed_logins_per_minute=(1, 9, 9))
            self.start(limiters=few)
            self.speak(b"EHLO x.example\r\n" + line)
            self.drop()
            self.assertFalse(few.may_log_in(HERE, 0), line)

    def test_success(self) -> None:
        """A success takes the failures of its address away (S-12)."""
        few = limiters(failed_logins_per_minute=(2, 9, 9))
        self.start(limiters=few)
        self.fail_to_log_in()
        self.speak(b"AUTH PLAIN AGFAeC5leGFtcGxlAHNlY3JldA==\r\n")
        self.fail_to_log_in()
        self.assertTrue(few.may_log_in(HERE, 0))

    def test_servers_too(self) -> None:
        """On port 25 nobody logs in, so failures turn nobody away there (S-11)."""
        few = limiters(failed_logins_per_minute=(1, 9, 9))
        few.login_failed(HERE, 0)
        self.start(limiters=few, role=Role.SMTP)
        self.assertTrue(self.greeting.startswith(b"220 "))
        self.start(limiters=few, role=Role.SUBMISSION)
        self.assertTrue(self.greeting.startswith(b"421 4.7.0 "))

    def test_counts_as_new(self) -> None:
        """Who is turned away for failures has been counted as a new connection (S-11)."""
        few = limiters(failed_logins_per_minute=(1, 9, 9), connections_per_minute=(2, 9, 9))
        few.login_failed(HERE, 0)
        self.start(limiters=few)
        self.connect()
        self.connect()
        self.assertIn(b"a minute", self.greeting)


class SecuredTests(WireCase):
    """Where TLS comes first."""

    role = Role.SUBMISSIONS

    def test_within(self) -> None:
        """Why there is no place is said within TLS, and the place is counted then (S-11, T-21)."""
        self.start(limiters=limiters(open_connections=(1, 9, 9)))
        self.connect()
        self.assertEqual(self.greeting, b"")
        self.server.handshakeCompleted()
        self.assertTrue(self.said().startswith(b"220 "))
        self.connect()
        self.assertEqual(self.said(), b"")
        self.server.handshakeCompleted()
        self.assertTrue(self.said().startswith(b"421 4.7.0 "))


class EarlyTests(WireCase):
    """RFC 5321 section 4.3.1."""

    def setUp(self) -> None:
        super().setUp()
        self.drop()
        self.start(greeting_delay=timedelta(seconds=2))

    def test_patient(self) -> None:
        """Who is silent is greeted after the delay."""
        self.assertEqual(self.greeting, b"")
        self.clock.advance(1.9)
        self.assertEqual(self.said(), b"")
        self.clock.advance(0.1)
        self.assertEqual(self.said(), b"220 mx.example ESMTP moxsmtp\r\n")
        self.assertTrue(self.speak(b"NOOP\r\n").startswith(b"250 "))

    def test_early(self) -> None:
        """Who speaks first is refused with 554 5.5.0, counted, and obeyed in nothing."""
        self.clock.advance(1)
        said = self.speak(b"EHLO x.example\r\n")
        self.assertEqual(said, b"554 5.5.0 you spoke before you were greeted\r\n")
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.metrics.counts["moxsmtp_early_talkers_total"], 1)
        self.assertEqual(self.speak(b"NOOP\r\n"), b"")
        self.clock.pump([1] * 5)
        self.assertTrue(self.wire.disconnected)
        self.assertEqual(self.said(), b"")
        self.assertEqual(self.told.asked, [])

    def test_gone(self) -> None:
        """Who hangs up meanwhile leaves nothing behind."""
        self.drop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping(self) -> None:
        """At shutdown nobody is kept waiting (S-15, S-17)."""
        _ = self.factory.drain()
        self.assertTrue(self.said().startswith(b"421 4.3.2 "))

    def test_exempt(self) -> None:
        """Exempt networks are greeted at once."""
        self.start(limiters=limiters(limits_exempt=(ip_network("192.0.2.0/24"),)))
        self.assertTrue(self.greeting.startswith(b"220 "))

    def test_off(self) -> None:
        """Without a delay everybody is greeted at once."""
        self.start(greeting_delay=timedelta())
        self.assertTrue(self.greeting.startswith(b"220 "))
