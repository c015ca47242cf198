"""Tests for L{moxsmtp.admin.key_commands}."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.admin.control import CommandFailed
from moxsmtp.admin.key_commands import KeyCommands
from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.interfaces import Account, Login
from moxsmtp.names import parse_domain
from moxsmtp.store.client_keys import ClientKey

NOW = datetime(2026, 3, 1, tzinfo=UTC)
#: The second begins with a dash.
KEY, OTHER = (
    urlsafe_b64encode(bytes.fromhex(text * 32)).decode().removesuffix("=") for text in ("ab", "fb")
)


class Keys:
    """Keeps keys in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, ClientKey] = {}

    async def add(self, fingerprint: str, login: Login, name: str) -> ClientKey:
        made = ClientKey(fingerprint, login.account, login.address, name, NOW)
        return self.kept.setdefault(fingerprint, made)

    async def registered(self, account: str = "") -> Sequence[ClientKey]:
        return [key for key in self.kept.values() if account in {"", key.account}]

    async def remove(self, fingerprint: str) -> ClientKey | None:
        return self.kept.pop(fingerprint, None)


class KeyCommandTests(SynchronousTestCase):
    """Keys of TLS client certificates, as operators manage them."""

    def setUp(self) -> None:
        self.keys = Keys()
        accounts = Directory(
            [
                Account("alice", addresses=("alice@x.example", "a2@x.example")),
                Account("bob", addresses=("bob@x.example",)),
            ],
            domains={parse_domain("x.example"): DomainSettings()},
            hosts=set(),
            postmaster="alice",
        )
        self.table = KeyCommands(self.keys, accounts).table()

    def run_command(self, command: str, /, **arguments: object) -> tuple[list[Any], str]:
        """What it sends, and its error."""
        sent: list[Any] = []

        async def send(entry: Mapping[str, object]) -> None:
            sent.append(dict(entry))

        async def run() -> str:
            try:
                await self.table[f"tlspubkey.{command}"](arguments, send)
            except CommandFailed as error:
                return str(error)
            return ""

        return sent, self.successResultOf(Deferred.fromCoroutine(run()))

    def add(self, fingerprint: str = KEY, login: str = "alice@x.example", **more: object) -> str:
        return self.run_command("add", fingerprint=fingerprint, login=login, **more)[1]

    def test_add(self) -> None:
        """A key is registered for an address and its account (S-37); again changes nothing."""
        for _ in range(2):
            sent, error = self.run_command(
                "add", fingerprint=KEY, login="alice@X.example", name="laptop"
            )
            self.assertEqual(error, "")
            self.assertEqual(
                sent,
                [
                    {
                        "fingerprint": KEY,
                        "account": "alice",
                        "login": "alice@x.example",
                        "name": "laptop",
                        "created": "2026-03-01T00:00:00.000+00:00",
                    }
                ],
            )

    def test_taken(self) -> None:
        """A key that is registered otherwise stays as it is, and that is told."""
        self.assertEqual(self.add(), "")
        for login in ("bob@x.example", "a2@x.example"):
            self.assertIn("registered for alice@x.example already", self.add(login=login))
        self.assertEqual(self.keys.kept[KEY].login, "alice@x.example")

    def test_mistakes(self) -> None:
        """Whom, which and what it is called are checked before anything is kept."""
        for error, told in (
            (self.add(login="eve@x.example"), "no account has the address"),
            (self.add(login="alice"), "alice is not an address"),
            (self.add(login=""), "login is missing"),
            (self.add(fingerprint=""), "fingerprint is missing"),
            (self.add(fingerprint="ab"), "no fingerprint"),
            (self.add(fingerprint=KEY + "0"), "no fingerprint"),
            (self.add(fingerprint="\u00e9" * 43), "no fingerprint"),
            (self.add(name="a\nb"), "printable"),
            (self.add(name="a" * 201), "printable"),
            (self.add(name=["x"]), "printable"),
        ):
            self.assertIn(told, error)
        self.assertEqual(self.keys.kept, {})

    def test_spellings(self) -> None:
        """A fingerprint is kept in base64url, and may be given in hexadecimal too (S-37)."""
        for written in (KEY, "ab" * 32, "AB" * 32):
            self.assertEqual(self.add(written), "")
            self.assertEqual([KEY], list(self.keys.kept))
            self.assertEqual(self.run_command("remove", fingerprint=written)[1], "")
            self.assertEqual(self.keys.kept, {})

    def test_list(self) -> None:
        """All keys, or those of an account by name, also one that is gone, or by address."""
        self.add()
        self.add(OTHER, "bob@x.example")
        self.keys.kept["ef" * 32] = ClientKey("ef" * 32, "old", "old@x.example", "", NOW)

        def listed(account: str) -> list[str]:
            sent, error = self.run_command("list", account=account)
            self.assertEqual(error, "")
            return [entry["account"] for entry in sent]

        self.assertEqual(listed(""), ["alice", "bob", "old"])
        self.assertEqual(listed("bob"), ["bob"])
        self.assertEqual(listed("old"), ["old"])
        self.assertEqual(listed("a2@x.example"), ["alice"])
        for text in ("eve@x.example", "@"):
            self.assertIn("no account", self.run_command("list", account=text)[1])

    def test_remove(self) -> None:
        """A key is removed once."""
        self.add()
        sent, error = self.run_command("remove", fingerprint=KEY)
        self.assertEqual(([entry["login"] for entry in sent], error), (["alice@x.example"], ""))
        self.assertIn("no key has the fingerprint", self.run_command("remove", fingerprint=KEY)[1])
