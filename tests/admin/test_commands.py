"""The operator's commands over stores of the test's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from moxsmtp.admin.commands import Commands
from moxsmtp.admin.control import CommandFailed
from moxsmtp.admin.wire import PIECE, octets
from moxsmtp.interfaces import (
    Account,
    Provenance,
    RequireTLS,
    TLSInfo,
    Validation,
)
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.store.message_rows import StoredMessage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXAMPLE = parse_domain("b\u00fccher.example")

MESSAGE = StoredMessage(
    id=1,
    account="alice",
    mailbox="Inbox",
    size=100,
    received=NOW,
    reverse_path=None,
    forward_path=Path("alice", EXAMPLE),
    remote_address=ip_address("192.0.2.1"),
    tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"),
    subject="hello",
    provenance=Provenance(
        mail_from=Validation.PASS,
        author=Validation.STRICT,
        author_domain=EXAMPLE,
        dmarc="pass",
        dmarc_policy="reject",
        dkim_domains=(EXAMPLE,),
        require_tls=RequireTLS.NO,
    ),
)


class Content:
    """Octets, read in small pieces."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.longest = 0

    async def read(self, offset: int, length: int) -> bytes:
        self.longest = max(self.longest, length)
        return self.content[offset : offset + length]


class House:
    """All that the commands need, in memory."""

    def __init__(self) -> None:
        self.messages = [replace(MESSAGE, id=number) for number in range(250, 0, -1)]
        self.content = Content(b"x" * (2 * PIECE + 1))
        self.passwords: dict[str, str] = {}
        self.pages: list[int] = []
        self.backups: list[str] = []

    async def list_messages(
        self, account: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[StoredMessage]:
        self.pages.append(limit)
        found = [m for m in self.messages if m.account == account and m.id < (before or 999)]
        return found[:limit]

    async def open(self, account: str, number: int) -> tuple[StoredMessage, Any] | None:
        found = [m for m in self.messages if (m.account, m.id) == (account, number)]
        return (found[0], self.content) if found else None

    async def delete(self, account: str, numbers: Sequence[int]) -> Sequence[StoredMessage]:
        gone = [m for m in self.messages if m.account == account and m.id in numbers]
        self.messages = [m for m in self.messages if m not in gone]
        return gone

    def named(self, text: str) -> Account | None:
        names = {"alice": "alice", "alice@x.example": "alice", "bob": "bob"}
        return Account(names[text]) if text in names else None

    async def set_password(self, account: str, password: str) -> None:
        if password == "bad":
            raise ValueError("too short")
        self.passwords[account] = password

    async def backup(self, folder: str) -> None:
        self.backups.append(folder)


class CommandTests(unittest.SynchronousTestCase):
    """Each command."""

    def setUp(self) -> None:
        self.house = House()
        house = self.house
        self.table = Commands(mail=house, accounts=house, backup=house).table()

    def run_command(self, name: str, **arguments: object) -> tuple[list[Any], str]:
        """What it sends, and its error."""
        sent: list[Any] = []

        async def send(entry: Mapping[str, object]) -> None:
            sent.append(dict(entry))

        async def run() -> str:
            try:
                await self.table[name](arguments, send)
            except CommandFailed as error:
                return str(error)
            return ""

        return sent, self.successResultOf(Deferred.fromCoroutine(run()))

    def test_password(self) -> None:
        """An account is named by name or address; what it is set to is its own business."""
        sent = self.run_command(
            "account.set-password", account="alice@x.example", password="\u00e9"
        )
        self.assertEqual(sent, ([{"account": "alice"}], ""))
        self.assertEqual(self.house.passwords, {"alice": "\u00e9"})

    def test_bad_password(self) -> None:
        """The reason against a password reaches the operator."""
        _, error = self.run_command("account.set-password", account="alice", password="bad")
        self.assertIn("too short", error)
        _, error = self.run_command("account.set-password", account="alice")
        self.assertIn("password is missing", error)

    def test_unknown_account(self) -> None:
        """Every command that names an account says if there is none."""
        for command in ("account.set-password", "mail.list", "mail.show", "mail.delete"):
            sent, error = self.run_command(command, account="carol", password="x", numbers=[1])
            self.assertEqual((sent, error), ([], "there is no account carol"))
        _, error = self.run_command("mail.list", account="c@x.example")
        self.assertEqual(error, "no account has the address c@x.example")
        odds: list[Any] = [None, 3, "", []]
        for odd in odds:
            self.assertIn("missing", self.run_command("mail.list", account=odd)[1])

    def test_list(self) -> None:
        """Messages come newest first, read by pages, up to the limit."""
        for limit, pages in ((1, [1]), (100, [100]), (101, [100, 1]), (1000, [100, 100, 100])):
            self.house.pages.clear()
            sent, error = self.run_command("mail.list", account="alice", limit=limit)
            expected = list(range(250, max(0, 250 - limit), -1))
            self.assertEqual([entry["id"] for entry in sent], expected)
            self.assertEqual((self.house.pages, error), (pages, ""))

    def test_list_entry(self) -> None:
        """A message is told in plain values; the null reverse-path is empty."""
        (entry,), _ = self.run_command("mail.list", account="alice", limit=1)
        self.assertEqual(
            entry,
            {
                "id": 250,
                "account": "alice",
                "mailbox": "Inbox",
                "received": "2026-01-02T03:04:05.000+00:00",
                "size": 100,
                "flags": "",
                "mail_from": "",
                "rcpt_to": "alice@b\u00fccher.example",
                "author": "",
                "subject": "hello",
                "message_id": "",
                "is_dsn": False,
                "absent": False,
                "remote_ip": "192.0.2.1",
                "hello": "",
                "tls": "TLS1.3 TLS_AES_128_GCM_SHA256",
                "hello_validation": "",
                "mail_from_validation": "pass",
                "author_validation": "strict",
                "author_domain": "b\u00fccher.example",
                "author_organization": "",
                "dmarc": "pass",
                "dmarc_policy": "reject",
                "dmarc_rejects": False,
                "dkim_domains": ["b\u00fccher.example"],
                "iprev": "",
                "reverse_name": "",
                "require_tls": "no",
            },
        )

    def test_nothing(self) -> None:
        """An account without mail has an empty list."""
        self.assertEqual(self.run_command("mail.list", account="bob"), ([], ""))

    def test_limits(self) -> None:
        """A limit is a number from 1."""
        for limit in (0, -1, "5", True, 1.5):
            self.assertIn("limit", self.run_command("mail.list", account="alice", limit=limit)[1])

    def test_show(self) -> None:
        """A message's content follows in bounded pieces, whole."""
        sent, error = self.run_command("mail.show", account="alice", numbers=[7])
        self.assertEqual((sent[0]["id"], error), (7, ""))
        content = b"".join(octets(entry) for entry in sent[1:])
        self.assertEqual(content, self.house.content.content)
        self.assertEqual(self.house.content.longest, PIECE)

    def test_show_missing(self) -> None:
        """Another account's message is none."""
        sent, error = self.run_command("mail.show", account="bob", numbers=[7])
        self.assertEqual((sent, error), ([], "account bob has no message 7"))

    def test_numbers(self) -> None:
        """Numbers are whole and fit into a database."""
        for numbers in (None, [], ["1"], [0], [-1], [True], [2**63], [1.0], 5, [1, 2]):
            _, error = self.run_command("mail.show", account="alice", numbers=numbers)
            self.assertTrue(error, numbers)
        _, error = self.run_command("mail.delete", account="alice", numbers=[1] * 1001)
        self.assertIn("1000", error)

    def test_delete(self) -> None:
        """What is gone is told, and what was not there is an error behind it."""
        sent, error = self.run_command("mail.delete", account="alice", numbers=[3, 999, 4, 500])
        self.assertEqual(sorted(entry["id"] for entry in sent), [3, 4])
        self.assertEqual(error, "account alice has no message 500, 999")
        self.assertEqual(len(self.house.messages), 248)

    def test_backup(self) -> None:
        """The folder is absolute: the server's working folder is not the operator's."""
        self.assertEqual(self.run_command("backup", folder="/b"), ([{"folder": "/b"}], ""))
        self.assertIn("absolute", self.run_command("backup", folder="b")[1])
        self.assertEqual(self.house.backups, ["/b"])
