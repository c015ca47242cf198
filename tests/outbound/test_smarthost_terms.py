"""What sessions with a smarthost obey."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.names import parse_domain
from moxsmtp.outbound.dial import DIAL_LIMIT
from moxsmtp.outbound.smarthost_terms import SETUP_LIMIT, login_to, transaction_limit
from moxsmtp.outbound.transport import Smarthost, SmarthostTLS

HOST = Smarthost("relay", parse_domain("smtp.example"), 587, SmarthostTLS.STARTTLS, "u", "p")


class LimitTests(SynchronousTestCase):
    """How long things may take."""

    def test_limits(self) -> None:
        """30 s to connect, 60 s to begin, 60 s and one more a MiB for a message (Q-45)."""
        self.assertEqual((30, 60), (DIAL_LIMIT, SETUP_LIMIT.total_seconds()))
        mib = 1 << 20
        seconds = {0: 60, 1: 61, mib: 61, mib + 1: 62, 25 * mib: 85}
        self.assertEqual(
            {size: transaction_limit(size) for size in seconds},
            {size: timedelta(seconds=value) for size, value in seconds.items()},
        )


class LoginTests(SynchronousTestCase):
    """How to log in."""

    def test_none(self) -> None:
        """Without a user nobody logs in."""
        self.assertIsNone(login_to(replace(HOST, username="", password=""), bytes))

    def test_mechanism(self) -> None:
        """The first of the configured ones that is offered and possible (Q-44)."""
        binding = ChannelBinding("tls-exporter", b"x" * 32)
        offered = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256-PLUS"})
        for mechanisms, bound, name in (
            (HOST.mechanisms, binding, "SCRAM-SHA-256-PLUS"),
            (HOST.mechanisms, None, "CRAM-MD5"),
            (("PLAIN", "CRAM-MD5"), binding, "PLAIN"),
            (("SCRAM-SHA-1",), binding, ""),
        ):
            login = login_to(replace(HOST, mechanisms=mechanisms), bytes)
            assert login is not None
            found = login(offered, bound)
            self.assertEqual(name, found.name if found is not None else "")

    def test_credentials(self) -> None:
        """User and password are those of the configuration."""
        login = login_to(replace(HOST, mechanisms=("PLAIN",)), bytes)
        assert login is not None
        found = login(frozenset({"PLAIN"}), None)
        assert found is not None
        self.assertEqual(b"\0u\0p", found.first())
