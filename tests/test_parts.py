"""Tests for L{moxsmtp.parts}: the parts as they are joined, over a database of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from OpenSSL import SSL
from sqlalchemy import select
from twisted.internet.testing import StringTransport

from moxsmtp import parts as parts_module
from moxsmtp.config import Settings
from moxsmtp.engine import open_engine
from moxsmtp.interfaces import (
    Account,
    HookTarget,
    Maildir,
    NewHook,
    NewJob,
    NewMessage,
    OutgoingEvent,
    Spooled,
)
from moxsmtp.localserve import ensure_certificate
from moxsmtp.names import Host, parse_domain
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.parts import Parts
from moxsmtp.queue.job import Result, Retired, Settlement
from moxsmtp.queue.runner import Runner
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.receive.settings import TLSSettings
from moxsmtp.smtp.address import Path as Address
from moxsmtp.store.database import Transaction
from moxsmtp.store.schema import retired_hook
from moxsmtp.tls.client import StrictTLS, client_context
from moxsmtp.webhooks.settings import WebhookSettings
from tests.running import Alone, RunningCase

SPOOLED = Spooled(16, b"Subject: a\r\n\r\n", has_8bit=False, inline=b"Subject: a\r\n\r\nb\n")


def mailbox(text: str) -> Address:
    """C{local-part@domain}."""
    local_part, _, domain = text.rpartition("@")
    return Address(local_part, parse_domain(domain))


def job(recipient: str, next_attempt: datetime | None = None) -> NewJob:
    """Of alice."""
    return NewJob(
        "alice",
        mailbox("alice@ours.example"),
        mailbox(recipient),
        b"",
        f"<{recipient}>",
        next_attempt=next_attempt,
    )


def hook(account: str, url: str, queue_id: int = 0) -> NewHook:
    """Tells nothing."""
    return NewHook(account, HookTarget(url), OutgoingEvent.FAILED, b"{}", queue_id=queue_id)


class PartsCase(RunningCase):
    """
    Parts over SQLite; nothing runs unless a test starts it.

    @ivar surroundings: What they are in.
    """

    surroundings: type[Alone] = Alone

    def made(self, settings: Settings) -> Parts:
        """Stopped with the test."""
        engine = open_engine(settings.data_directory, settings.store, self.reactor)
        engine.pool.start()
        made = Parts(settings, self.surroundings(), engine, self.reactor)
        self.addCleanup(lambda: self.result(engine.close()))
        return made

    def start(self, service: Any) -> None:
        """Until the end of the test."""
        service.startService()

        def stop() -> None:
            stopped = service.stopService()
            self.reactor.advance(30)
            self.result(stopped)

        self.addCleanup(stop)

    def rested(self, runner: Runner[Any, Any]) -> None:
        """Start it and wait until it has nothing to do but to look again in 5 s."""
        self.start(runner)
        self.reactor.until(lambda: self.reactor.sleeps(5))
        self.reactor.advance(0.1)

    def add(self, parts: Parts, *recipients: str) -> Sequence[int]:
        """Queue mail."""
        return self.result(parts.job_store.add(SPOOLED, [job(each) for each in recipients]))

    def deliver(self, parts: Parts, account: str, new: NewHook | None = None) -> None:
        """Store mail."""
        message = NewMessage(
            account,
            b"",
            parts.now(),
            None,
            mailbox(f"{account}@ours.example"),
            hand_over=new is None,
            hook=new,
        )
        self.result(parts.mail_store.deliver(SPOOLED, [message]))

    def dialed(self, count: int) -> Callable[[], bool]:
        """Whether so many connections were asked for."""
        return lambda: len(self.reactor.tcpClients) >= count

    def settled(self, parts: Parts) -> None:
        """Give threads every chance to bring more."""
        for _ in range(3):
            self.reactor.advance(0.1)
            self.result(parts.engine.database.transact(lambda _: None))


class QueueTests(PartsCase):
    """Mail out."""

    def test_woken(self) -> None:
        """What is queued is tried at once, long before the queue is looked at again (Q-3)."""
        parts = self.made(self.settings())
        self.rested(parts.mail)
        self.add(parts, "a@far.example")
        self.reactor.advance(0.1)
        self.reactor.until(self.dialed(1))
        self.assertEqual([("127.0.0.1", 2525)], [each[:2] for each in self.reactor.tcpClients])

    def test_limit(self) -> None:
        """No more than C{max_deliveries} are under way at once (Q-9)."""
        parts = self.made(self.settings(queue=QueueSettings(max_deliveries=2)))
        self.add(parts, *(f"a@d{number}.example" for number in range(4)))
        self.start(parts.mail)
        self.reactor.until(self.dialed(2))
        self.settled(parts)
        self.assertEqual(2, len(self.reactor.tcpClients))

    def test_unlimited(self) -> None:
        """By default far more than ten are (Q-9)."""
        parts = self.made(self.settings())
        self.add(parts, *(f"a@d{number}.example" for number in range(12)))
        self.start(parts.mail)
        self.reactor.until(self.dialed(12))

    def test_after_crash(self) -> None:
        """Whoever alone uses a store takes over at once what a dead process began (Q-10)."""
        settings = self.settings()
        dead = self.made(settings)
        self.add(dead, "a@far.example")
        now = dead.now()
        leases = dead.job_store.claim(1, now, now + timedelta(seconds=30), troubled=True)
        ((lease,)) = self.result(leases)
        later = now + timedelta(hours=1)
        self.assertIsNotNone(self.result(dead.job_store.take(lease, now, lambda _: later)))
        living = Parts(settings, Alone(), dead.engine, self.reactor)
        self.start(living.mail)
        self.reactor.until(self.dialed(1))

    def test_starttls(self) -> None:
        """Mail leaves under TLS where a server offers it."""
        parts = self.made(self.settings())
        self.add(parts, "a@far.example")
        self.start(parts.mail)
        self.reactor.until(self.dialed(1))
        protocol: Any = self.reactor.tcpClients[0][2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"220 far.example ESMTP\r\n")
        self.reactor.until(lambda: transport.value() == b"EHLO mx.ours.example\r\n")
        transport.clear()
        protocol.dataReceived(b"250-far.example\r\n250 STARTTLS\r\n")
        self.reactor.until(transport.value)
        self.assertEqual(b"STARTTLS\r\n", transport.value())


class HookTests(PartsCase):
    """Webhooks."""

    def setUp(self) -> None:
        """Accounts with webhooks."""
        super().setUp()
        target = HookTarget("http://127.0.0.1:8080/")
        self.accounts = tuple(
            Account(name, addresses=(f"{name}@ours.example",), incoming_webhook=target)
            for name in ("alice", "bob", "carol")
        )

    def test_woken(self) -> None:
        """A call is made at once, long before the queue is looked at again (Q-75)."""
        parts = self.made(self.settings(accounts=self.accounts))
        self.rested(parts.hooks)
        self.deliver(parts, "bob", hook("bob", "http://127.0.0.1:8080/"))
        self.reactor.advance(0.1)
        self.reactor.until(self.dialed(1))

    def test_limit(self) -> None:
        """No more than C{max_calls} are under way at once (Q-75)."""
        webhooks = WebhookSettings(max_calls=2)
        parts = self.made(self.settings(accounts=self.accounts, webhooks=webhooks))
        for number in range(4):
            self.deliver(parts, "bob", hook("bob", f"http://127.0.0.1:{8080 + number}/"))
        self.start(parts.hooks)
        self.reactor.until(self.dialed(2))
        self.settled(parts)
        self.assertEqual(2, len(self.reactor.tcpClients))

    def test_strict(self) -> None:
        """
        HTTPS is spoken under the strict rules, not under those for mail (Q-73), and
        trusts whom the operator names, if he names any.
        """
        made: list[tuple[SSL.Context, bool]] = []
        used: list[bool] = []
        trusted: list[str | None] = []

        def context(*, strict: bool, certificates: str | None = None) -> SSL.Context:
            made.append((client_context(strict=strict), strict))
            if strict:
                trusted.append(certificates)
            return made[-1][0]

        def tls(given: SSL.Context, host: Host) -> StrictTLS:
            used.extend(strict for each, strict in made if each is given)
            return StrictTLS(given, host)

        self.patch(parts_module, "client_context", context)
        self.patch(parts_module, "StrictTLS", tls)
        name = self.mktemp()
        ensure_certificate(TLSSettings(name, f"{name}.key"), datetime(2026, 3, 1, tzinfo=UTC))
        outbound = OutboundSettings(certificates=name)
        parts = self.made(self.settings(accounts=self.accounts, outbound=outbound))
        self.deliver(parts, "bob", hook("bob", "https://127.0.0.1:8443/"))
        self.start(parts.hooks)
        self.reactor.until(self.dialed(1))
        self.assertEqual([True], used)
        self.assertEqual([name], trusted)

    def retired(self, parts: Parts, account: str) -> list[int]:
        """Seconds that the history keeps a call of C{account} that another one took over."""
        (number,) = self.add(parts, "a@far.example")
        self.deliver(parts, "alice", hook(account, "http://127.0.0.1/", number))
        _ = self.result(
            parts.queue_admin.end(
                [number],
                lambda job, _: Settlement(
                    job,
                    Retired(OutgoingEvent.CANCELED, None),
                    Result(parts.now(), timedelta(), success=False),
                    hook=hook(account, "http://127.0.0.1/", number),
                ),
            )
        )

        def work(tx: Transaction) -> list[int]:
            rows = tx.execute(select(retired_hook.c.keep_until, retired_hook.c.last_activity))
            return [(row.keep_until - row.last_activity) // 1_000_000 for row in rows]

        return self.result(parts.engine.database.read(work))

    def test_kept_of_nobody(self) -> None:
        """Calls of accounts that are gone stay in the history for a week (Q-77)."""
        parts = self.made(self.settings(accounts=self.accounts))
        self.assertEqual([7 * 86400], self.retired(parts, "gone"))

    def test_kept_by_account(self) -> None:
        """Others stay as long as the account says (Q-77)."""
        kept = replace(self.accounts[0], keep_retired_webhooks=timedelta(hours=3))
        parts = self.made(self.settings(accounts=(kept,)))
        self.assertEqual([3 * 3600], self.retired(parts, "alice"))


class MaildirTests(PartsCase):
    """Hand-overs."""

    def test_woken(self) -> None:
        """Mail goes into a Maildir as soon as it is stored."""
        folder = self.folder / "mail"
        alice = Account("alice", addresses=("alice@ours.example",), maildir=Maildir(str(folder)))
        parts = self.made(self.settings(accounts=(alice,)))
        self.start(parts.hand_over)
        self.settled(parts)
        self.deliver(parts, "alice")
        self.reactor.until(lambda: list(folder.glob("new/*")))
