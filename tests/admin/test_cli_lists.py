"""C{moxsmtp check dnsbl}."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxsmtp.admin import cli_lists
from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.testing import MemoryResolver
from tests.admin.test_cli import CLITestCase
from tests.config.test_load import LEAST

T = TypeVar("T")

CONFIG = LEAST.replace(
    "no_starttls = true\n",
    'no_starttls = true\ndnsbls = ["good.example", "Bad.Example", "away.example"]\n',
)


def a(name: str) -> Question:
    """For IPv4 addresses."""
    return Question(name, RRType.A)


class CheckListsTests(CLITestCase):
    """Three lists: in order, listing everybody, not to be asked."""

    def setUp(self) -> None:
        """The lists are configured."""
        super().setUp()
        self.patch(cli_lists, "run", self.run_with)
        self.config = self.write(CONFIG)
        self.resolver = MemoryResolver(
            {
                a("2.0.0.127.good.example"): ("127.0.0.2",),
                a("7.2.0.192.good.example"): ("127.0.0.3",),
                Question("7.2.0.192.good.example", RRType.TXT): (b"sends\x1bspam",),
                a("1.0.0.127.bad.example"): ("127.0.0.2",),
                a("7.2.0.192.bad.example"): ("127.0.0.2",),
                a("1.0.0.127.away.example"): LookupFailed("SERVFAIL"),
            }
        )

    def run_with(
        self, config: str | None, main: Callable[[Any, IResolver], Coroutine[Any, Any, T]]
    ) -> T:
        """Like L{moxsmtp.admin.offline.run}."""
        del config
        return self.successResultOf(Deferred.fromCoroutine(main(Clock(), self.resolver)))

    def test_configured(self) -> None:
        """I-73: Each configured list is told of; one not to be believed is the exit status."""
        result = self.run_cli("-c", self.config, "check", "dnsbl", status=1)
        self.assertEqual(
            result.output.splitlines(),
            [
                "good.example: in order",
                "bad.example: not to be believed: it lists 127.0.0.1, so perhaps everybody",
                "away.example: cannot be asked: SERVFAIL",
            ],
        )

    def test_address(self) -> None:
        """I-72: An address is looked up in lists that are in order, and in no others."""
        result = self.run_cli(
            "check", "dnsbl", "--ip", "192.0.2.7", "good.example", "bad.example", status=1
        )
        self.assertEqual(
            result.output.splitlines(),
            [
                'good.example: in order; lists the address: it says "sends?spam"',
                "bad.example: not to be believed: it lists 127.0.0.1, so perhaps everybody",
            ],
        )
        result = self.run_cli("check", "dnsbl", "--ip", "192.0.2.8", "good.example")
        self.assertEqual(result.output, "good.example: in order; does not list the address\n")

    def test_json(self) -> None:
        """C{--json} says the same."""
        result = self.run_cli("check", "dnsbl", "--json", "--ip", "192.0.2.7", "good.example")
        self.assertEqual(
            json.loads(result.output),
            {
                "zone": "good.example", "healthy": True, "problem": "", "listed": True,
                "explanation": "sends?spam", "listing_problem": "",
            },
        )  # fmt: skip

    def test_nothing_to_ask(self) -> None:
        """Without a list, or with what is none, one line says so."""
        self.assertIn("no list to look at", self.run_cli("check", "dnsbl", status=1).stderr)
        none = self.write(LEAST)
        self.assertIn("has no dnsbls", self.run_cli("-c", none, "check", "dnsbl", status=1).stderr)
        for words in (("a..b",), ("--ip", "nonsense", "good.example")):
            self.assertIn(" is not a", self.run_cli("check", "dnsbl", *words, status=1).stderr)
