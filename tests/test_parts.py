"""Tests for L{moxsmtp.parts}: the parts as they are joined, over a database of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select

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
from moxsmtp.names import parse_domain
from moxsmtp.parts import Parts
from moxsmtp.queue.job import Result, Retired, Settlement
from moxsmtp.smtp.address import Path as Address
from moxsmtp.store.database import Transaction
from moxsmtp.store.schema import retired_hook
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

    def settled(self, parts: Parts) -> None:
        """Give threads every chance to bring more."""
        for _ in range(3):
            self.reactor.advance(0.1)
            self.result(parts.engine.database.transact(lambda _: None))


class HookTests(PartsCase):
    """How long webhook calls are kept."""

    def setUp(self) -> None:
        """Accounts with webhooks."""
        super().setUp()
        target = HookTarget("http://127.0.0.1:8080/")
        self.accounts = tuple(
            Account(name, addresses=(f"{name}@ours.example",), incoming_webhook=target)
            for name in ("alice", "bob", "carol")
        )

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


class _Listener:
    """Hears what was stored."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def queued(self) -> None:
        """Mail to deliver."""
        self.heard.append("queued")

    def stored(self, accounts: frozenset[str]) -> None:
        """Mail or calls."""
        self.heard.append(accounts)


class ToldTests(PartsCase):
    """Whoever sends is told what there is to send."""

    def setUp(self) -> None:
        """One account is handed mail, one is not."""
        super().setUp()
        maildir = Maildir(str(self.folder / "mail"))
        accounts = (
            Account("alice", addresses=("alice@ours.example",), maildir=maildir),
            Account("bob", addresses=("bob@ours.example",)),
        )
        self.parts = self.made(self.settings(accounts=accounts))
        self.listener = _Listener()

    def test_told(self) -> None:
        """Of mail that is queued, and of accounts whose mail goes on; of no others."""
        self.parts.told = self.listener
        for account in ("bob", "alice"):
            self.deliver(self.parts, account)
        self.add(self.parts, "a@far.example")
        self.assertEqual([frozenset({"alice"}), "queued"], self.listener.heard)

    def test_of_others(self) -> None:
        """What another process stored is told likewise."""
        self.parts.told = self.listener
        self.parts.wake(frozenset({"bob"}), queued=False)
        self.parts.wake(frozenset({"alice", "bob"}), queued=True)
        self.assertEqual(["queued", frozenset({"alice", "bob"})], self.listener.heard)

    def test_nobody_yet(self) -> None:
        """Before anybody sends, mail is stored all the same."""
        self.deliver(self.parts, "alice")
        self.assertEqual(1, len(self.add(self.parts, "a@far.example")))
        self.parts.wake(frozenset({"alice"}), queued=True)
