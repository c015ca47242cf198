"""The operator's commands about hold rules and suppression lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from moxsmtp.admin.control import CommandFailed
from moxsmtp.admin.list_commands import ListCommands
from moxsmtp.queue.filter import HoldRule
from moxsmtp.queue.suppression import Suppression, base_address
from moxsmtp.smtp.address import Path
from tests.admin.test_queue_commands import Accounts

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIME = "2026-01-02T03:04:05.000+00:00"


class Rules:
    """Hold rules; each holds three jobs."""

    def __init__(self) -> None:
        self.rules: list[HoldRule] = []

    async def all(self) -> Sequence[HoldRule]:
        return self.rules

    async def add(
        self, *, account: str, sender_domain: str, recipient_domain: str
    ) -> tuple[HoldRule, int]:
        rule = HoldRule(len(self.rules) + 1, account, sender_domain, recipient_domain, NOW)
        self.rules.append(rule)
        return rule, 3

    async def remove(self, number: int) -> HoldRule | None:
        found = [rule for rule in self.rules if rule.id == number]
        self.rules = [rule for rule in self.rules if rule.id != number]
        return found[0] if found else None


class Lists:
    """Suppression lists."""

    def __init__(self) -> None:
        self.entries: list[Suppression] = []

    async def page(
        self, account: str, *, after: int, limit: int
    ) -> Sequence[tuple[int, Suppression]]:
        numbered = enumerate(self.entries, start=1)
        found = [(n, e) for n, e in numbered if n > after and account in {"", e.account}]
        return found[:limit]

    async def find(self, account: str, address: Path) -> Suppression | None:
        key = (account, base_address(address))
        found = [e for e in self.entries if (e.account, e.base_address) == key]
        return found[0] if found else None

    async def add(self, new: Suppression) -> bool:
        if any(
            (e.account, e.base_address) == (new.account, new.base_address) for e in self.entries
        ):
            return False
        self.entries.append(new)
        return True

    async def remove(self, account: str, address: Path) -> Suppression | None:
        found = await self.find(account, address)
        self.entries = [entry for entry in self.entries if entry is not found]
        return found


class ListCommandCase(unittest.SynchronousTestCase):
    """Runs commands."""

    def setUp(self) -> None:
        self.rules = Rules()
        self.lists = Lists()
        self.table = ListCommands(self.rules, self.lists, Accounts(), lambda: NOW).table()

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


class HoldRuleTests(ListCommandCase):
    """C{hold-rule} (Q-20)."""

    def test_add(self) -> None:
        """A rule's domains may be spelled as people do; what it holds is told (Q-20)."""
        sent, error = self.run_command(
            "hold-rule.add", account="alice@x.example", from_domain="B\u00fccher.example"
        )
        rule = {
            "id": 1, "account": "alice", "from_domain": "b\u00fccher.example", "to_domain": "",
            "created": TIME,
        }  # fmt: skip
        self.assertEqual((sent, error), ([{**rule, "held": 3}], ""))
        self.assertEqual(self.rules.rules[0].sender_domain, "xn--bcher-kva.example")
        self.assertEqual(self.run_command("hold-rule.list"), ([rule], ""))

    def test_whole_queue(self) -> None:
        """A rule without conditions holds everything, so that has to be said (Q-20)."""
        sent, error = self.run_command("hold-rule.add", account="", to_domain="")
        self.assertEqual(sent, [])
        self.assertIn("the whole queue", error)
        self.assertEqual(len(self.run_command("hold-rule.add", all=True)[0]), 1)

    def test_bad(self) -> None:
        """No domain, no account, no number."""
        for arguments in ({"to_domain": "a b"}, {"account": "carol"}, {"from_domain": 5}):
            sent, error = self.run_command("hold-rule.add", **arguments)
            self.assertEqual((sent, bool(error)), ([], True), arguments)
        self.assertEqual(self.rules.rules, [])

    def test_remove(self) -> None:
        """What is removed is told; what is not there is an error."""
        self.run_command("hold-rule.add", to_domain="[192.0.2.1]")
        (rule,), _ = self.run_command("hold-rule.remove", numbers=[1])
        self.assertEqual(rule["to_domain"], "[192.0.2.1]")
        self.assertEqual(
            self.run_command("hold-rule.remove", numbers=[1]), ([], "there is no hold rule 1")
        )


class SuppressionTests(ListCommandCase):
    """C{suppression} (Q-28)."""

    def add(self, address: str, account: str = "alice", **more: str) -> tuple[list[Any], str]:
        """Put one on a list."""
        return self.run_command("suppression.add", account=account, address=address, **more)

    def test_add(self) -> None:
        """A person's entry has the base address and the reason (Q-28, Q-29)."""
        sent, error = self.add("A.b+c@x.example", reason="asked for it")
        entry = {
            "account": "alice", "base_address": "ab@x.example",
            "original_address": "A.b+c@x.example", "manual": True, "reason": "asked for it",
            "created": TIME,
        }  # fmt: skip
        self.assertEqual((sent, error), ([entry], ""))
        self.assertEqual(
            self.add("ab@x.example"), ([], "ab@x.example is on the list of alice already")
        )
        self.assertEqual(self.add("ab@x.example", "bob")[1], "")

    def test_list(self) -> None:
        """Of one account or of all, all pages."""
        for number in range(250):
            self.add(f"user{number}@x.example", "bob" if number % 2 else "alice")
        for account, count in (("", 250), ("bob", 125), ("alice@x.example", 125)):
            sent, error = self.run_command("suppression.list", account=account)
            self.assertEqual((len({entry["base_address"] for entry in sent}), error), (count, ""))

    def test_check(self) -> None:
        """Whether an address is suppressed, in any spelling, and why."""
        self.add("ab@x.example", reason="asked")
        (found,), _ = self.run_command(
            "suppression.check", account="alice", address="a.b@x.example"
        )
        self.assertEqual((found["suppressed"], found["reason"]), (True, "asked"))
        (other,), _ = self.run_command("suppression.check", account="bob", address="ab@x.example")
        self.assertEqual(
            other,
            {
                "account": "bob", "address": "ab@x.example", "base_address": "ab@x.example",
                "suppressed": False,
            },
        )  # fmt: skip

    def test_remove(self) -> None:
        """Any spelling takes it off; what is not there is an error."""
        self.add("ab@x.example")
        arguments = {"account": "alice", "address": "a.b+x@x.example"}
        (removed,), _ = self.run_command("suppression.remove", **arguments)
        self.assertEqual(removed["base_address"], "ab@x.example")
        self.assertEqual(
            self.run_command("suppression.remove", **arguments),
            ([], "a.b+x@x.example is not on the list of alice"),
        )

    def test_bad(self) -> None:
        """No account, no address, an endless reason."""
        for arguments in (
            {"address": "a@x.example"},
            {"account": "carol", "address": "a@x.example"},
            {"account": "alice"},
            {"account": "alice", "address": "nobody"},
            {"account": "alice", "address": "@x.example"},
            {"account": "alice", "address": "a@x.example", "reason": "x" * 501},
        ):
            sent, error = self.run_command("suppression.add", **arguments)
            self.assertEqual((sent, bool(error)), ([], True), arguments)
