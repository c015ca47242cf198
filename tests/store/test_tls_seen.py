"""Tests for L{moxsmtp.store.tls_seen}."""

from __future__ import annotations

from datetime import timedelta

from moxsmtp.names import Domain, parse_domain
from moxsmtp.store.tls_seen import Seen, TLSSeen
from tests.store.contract import NOW, Contract

THERE = parse_domain("there.example")


class TLSSeenTests(Contract):
    """Q-62."""

    def setUp(self) -> None:
        """Nothing yet."""
        super().setUp()
        self.time = NOW
        self.transactions = 0
        self.known = TLSSeen(self.failing, now=lambda: self.time)

    def remember(
        self, starttls: bool, require_tls: bool, account: str = "ann", domain: Domain = THERE
    ) -> None:
        """Of one session."""
        self.result(
            self.known.remember(account, domain, starttls=starttls, require_tls=require_tls)
        )

    def seen(self, account: str = "ann", domain: Domain = THERE) -> Seen | None:
        """What is known."""
        return self.result(self.known.seen(account, domain))

    def test_last_counts(self) -> None:
        """STARTTLS and REQUIRETLS as the last host had them (Q-62)."""
        self.assertIs(self.seen(), None)
        for starttls, require_tls in ((True, False), (True, True), (False, False)):
            self.time += timedelta(seconds=1)
            self.remember(starttls, require_tls)
            self.assertEqual(self.seen(), Seen(starttls, require_tls, self.time))

    def test_apart(self) -> None:
        """Accounts and domains are apart (Q-62)."""
        self.remember(True, True)
        self.remember(True, False, account="bob")
        self.remember(False, False, domain=parse_domain("else.example"))
        self.assertEqual(self.seen(), Seen(True, True, NOW))
        self.assertEqual(self.seen("bob"), Seen(True, False, NOW))
        self.assertEqual(self.seen("bob", parse_domain("else.example")), None)

    def test_unchanged(self) -> None:
        """What was written just now is not written again; after a day its time is."""
        self.remember(True, False)
        self.failing.succeed = 0
        self.time += timedelta(minutes=4)
        self.remember(True, False)
        self.failing.succeed = None
        self.time += timedelta(hours=1)
        self.remember(True, False)
        self.assertEqual(self.seen(), Seen(True, False, NOW))
        self.time += timedelta(days=1)
        self.remember(True, False)
        self.assertEqual(self.seen(), Seen(True, False, self.time))

    def test_several_processes(self) -> None:
        """What another process wrote meanwhile is put right again in minutes."""
        self.remember(True, False)
        other = TLSSeen(self.database, now=lambda: self.time)
        self.result(other.remember("ann", THERE, starttls=False, require_tls=False))
        self.time += timedelta(minutes=5)
        self.remember(True, False)
        self.assertEqual(self.seen(), Seen(True, False, self.time))
