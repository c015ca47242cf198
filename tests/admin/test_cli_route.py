"""C{moxsmtp route}."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.admin import cli_route
from moxsmtp.admin.client import CommandRefused, NoServer
from moxsmtp.admin.control import CommandFailed, Send
from moxsmtp.admin.route_commands import RouteCommands, consignment
from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.dns.records import MX, TLSA, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import Account, IResolver
from moxsmtp.names import parse_domain
from moxsmtp.outbound.forecast import Forecast, Forecaster
from moxsmtp.outbound.route import Consignment
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.testing import MemoryResolver
from tests.admin.test_cli import CLITestCase
from tests.config.test_load import LEAST

RELAY = """
[transport.relay]
kind = "smarthost"
host = "smtp.example.net"
username = "u"
password = "hunter2"
[[account.alice.route]]
transport = "relay"
to_domains = ["far.example"]
[transport.stop]
kind = "fail"
message = "not today"
[transport.proxy]
kind = "socks"
host = "192.0.2.9"
remote_hostname = "mx.example.net"
remote_addresses = ["192.0.2.3", "192.0.2.4"]
"""

SIGNED = Answer((), authentic=True)


class RouteTestCase(CLITestCase):
    """
    A configuration and a DNS; no server runs.

    @ivar asked: What the running server was asked.
    """

    def setUp(self) -> None:
        super().setUp()
        self.config = self.write(LEAST + RELAY)
        self.asked: list[tuple[str, str, Mapping[str, object]]] = []
        self.said: Mapping[str, Any] | Exception = NoServer("nobody is there")
        self.patch(cli_route, "call", self.ask)
        self.patch(cli_route, "run", self.run_with)
        self.zone: dict[Question, Any] = {
            Question("there.example", RRType.CNAME): SIGNED,
            Question("there.example", RRType.MX): Answer((MX(10, "mx.x.example"),), authentic=True),
            Question("mx.x.example", RRType.CNAME): SIGNED,
            Question("mx.x.example", RRType.A): Answer(("192.0.2.7",), authentic=True),
            Question("mx.x.example", RRType.AAAA): SIGNED,
            Question("_25._tcp.mx.x.example", RRType.TLSA): Answer(
                (TLSA(3, 1, 1, b"\x01" * 32),), authentic=True
            ),
            Question("smtp.example.net", RRType.A): ("192.0.2.8",),
        }

    def ask(
        self, folder: str, command: str, arguments: Mapping[str, object], *, time_limit: float
    ) -> Iterator[Mapping[str, Any]]:
        del time_limit
        self.asked.append((folder, command, arguments))
        if isinstance(self.said, Exception):
            raise self.said
        yield self.said

    def run_with(
        self, config: str | None, main: Callable[[Any, IResolver], Coroutine[Any, Any, object]]
    ) -> object:
        self.assertEqual(self.config, config)
        found: list[object] = []
        running = Deferred.fromCoroutine(main(Clock(), MemoryResolver(self.zone)))
        _ = running.addBoth(found.append)
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def lines(self, *words: str, status: int = 0) -> list[str]:
        output = self.run_cli("--config", self.config, "route", *words, status=status).output
        return output.splitlines()


LOCAL = """
separator = "+"
[account.carol]
addresses = ["@example.org"]
[account.dave]
addresses = ["dave@other.example"]
[domain."other.example"]
[domain."other.example".alias.all]
addresses = ["dave@other.example", "alice@example.org"]
"""


class LocalTests(RouteTestCase):
    """Who reads it here."""

    def setUp(self) -> None:
        super().setUp()
        text = LEAST.replace("[account.alice]", f"{LOCAL}[account.alice]")
        self.config = self.write(text)
        for domain in ("example.org", "other.example"):
            self.zone[Question(domain, RRType.MX)] = Answer((MX(10, "mx.x.example"),))

    def test_whose(self) -> None:
        """
        An address of ours says how it comes to whose mailbox, and that its mail leaves like
        that to others (Q-8); an address elsewhere says nothing of that.
        """
        catch_all = "account carol, which takes all that is for nobody else in the domain"
        nobody = "nobody: the domain is served here, and RCPT for the address is refused"
        expected = {
            "Alice+x@EXAMPLE.org": "account alice",
            "who@example.org": catch_all,
            "all@other.example": "an alias, whose members are of account dave, alice",
            "nobody@other.example": nobody,
            "other.example": "the domain is served here",
        }
        for to, whose in expected.items():
            lines = self.lines(to)
            self.assertEqual(
                [f"local      {whose}",
                 "           it goes by queue and SMTP all the same, like mail to others:"],
                lines[2:4],
            )  # fmt: skip
            self.assertTrue(lines[6].startswith("next hop   mx.x.example (MX of "), lines[6])
        self.assertNotIn("local", " ".join(self.lines("bob@there.example")))

    def test_json(self) -> None:
        """Kind and accounts are there for programs."""
        expected = {
            "alice@example.org": {"kind": "account", "accounts": ["alice"]},
            "who@example.org": {"kind": "catch-all", "accounts": ["carol"]},
            "all@other.example": {"kind": "alias", "accounts": ["dave", "alice"]},
            "postmaster@mx.example.org": {"kind": "postmaster", "accounts": ["carol"]},
            "bob@there.example": None,
        }
        self.zone[Question("mx.example.org", RRType.MX)] = Answer((MX(10, "mx.x.example"),))
        for to, whose in expected.items():
            output = self.run_cli("--config", self.config, "--json", "route", to).output
            self.assertEqual(whose, json.loads(output)["local"])


class OfflineTests(RouteTestCase):
    """By the configuration as it stands."""

    def test_direct(self) -> None:
        """Transport, MX with DNSSEC, MTA-STS, addresses, TLS demand, TLSA, and why."""
        lines = self.lines("bob@there.example")
        self.assertEqual(
            lines[: lines.index("")],
            [
                "to         there.example",
                "from       <>",
                "transport  direct",
                "           because no route matches",
                "next hop   mx.x.example (MX of there.example, with DNSSEC)",
                "MTA-STS    none",
                "host       mx.x.example port 25, with DNSSEC",
                "             192.0.2.7, from 192.0.2.1",
                "             TLS is required, certificate by DANE for mx.x.example",
                "             because: 1 usable TLSA records (DANE)",
                f"             TLSA 3 1 1 {'01' * 32}",
            ],
        )
        self.assertIn("What was asked:", lines)

    def test_smarthost(self) -> None:
        """The routes of the sender's account count; the password is nowhere."""
        lines = self.lines("bob@far.example", "--from", "alice@example.org")
        text = "\n".join(lines)
        self.assertIn("from       example.org of account alice", lines)
        self.assertIn("transport  smarthost relay, smtp.example.net port 587, TLS starttls", text)
        self.assertIn("           because a route of account alice matches", lines)
        self.assertIn("host       smtp.example.net port 587, without DNSSEC", lines)
        self.assertIn(
            "             TLS is required, trusted certificate for smtp.example.net", lines
        )
        self.assertNotIn("hunter2", text)

    def test_proxy(self) -> None:
        """The addresses of a proxy are told, for who looks after SPF (Q-43)."""
        lines = self.lines("bob@there.example", "--transport", "proxy")
        transport = "transport  socks proxy, [192.0.2.9] port 1080"
        self.assertIn(f"{transport}, which connects from 192.0.2.3, 192.0.2.4", lines)
        self.assertIn("             192.0.2.7, from whatever address the proxy chooses", lines)

    def test_failure(self) -> None:
        """What would not leave says why, and the command's status is 1."""
        lines = self.lines("bob@there.example", "--transport", "stop", status=1)
        self.assertIn("outcome    fails for good: 554 5.7.0 not today", lines)
        lines = self.lines("bob@there.example", "--transport", "lost", status=1)
        self.assertIn('outcome    fails for now: 4.3.5 there is no transport "lost"', lines)

    def test_literal(self) -> None:
        """An address literal has neither DNSSEC nor policies (Q-46)."""
        lines = self.lines("bob@[192.0.2.7]")
        self.assertIn("next hop   [192.0.2.7]", lines)
        self.assertIn("host       [192.0.2.7] port 25", lines)
        self.assertNotIn("MTA-STS", "".join(lines))

    def test_required_tls(self) -> None:
        """REQUIRETLS where nothing vouches for a host is refused by rule (Q-59)."""
        self.zone[Question("_25._tcp.mx.x.example", RRType.TLSA)] = SIGNED
        lines = self.lines("there.example", "--require-tls", "yes", status=1)
        self.assertIn("outcome    fails for good: 554 5.7.30", "".join(lines))

    def test_lookup_failed(self) -> None:
        """A DNS that fails is no crash."""
        self.zone[Question("there.example", RRType.MX)] = LookupFailed("no answer")
        self.assertIn("fails for now: 4.4.3", "".join(self.lines("there.example", status=1)))

    def test_json(self) -> None:
        """One object for programs."""
        result = self.run_cli("--config", self.config, "route", "--json", "bob@there.example")
        entry = json.loads(result.output)
        self.assertEqual({"name": "", "kind": "direct", "why": "no route matches"},
                         entry["transport"])  # fmt: skip
        self.assertTrue(entry["next_hop"]["authentic"])
        (host,) = entry["hosts"]
        self.assertEqual([{"address": "192.0.2.7", "source": "192.0.2.1"}], host["addresses"])
        self.assertEqual(["3 1 1 " + "01" * 32], host["tls"]["tlsa"])
        self.assertIsNone(entry["failure"])

    def test_wrong(self) -> None:
        """What is no address is told in one line."""
        for words in (("bob@",), ("a b",), ("bob@there.example", "--from", "x")):
            result = self.run_cli("--config", self.config, "route", *words, status=1)
            self.assertEqual(1, len(result.output.splitlines()), result.output)

    def test_wrong_configuration(self) -> None:
        """So is what is wrong with the file, with line and key."""
        self.config = self.write(LEAST + RELAY.replace('"relay"\nto', '"x"\nto'))
        result = self.run_cli("--config", self.config, "route", "--offline", "x.example", status=1)
        self.assertIn("account.alice.route[0].transport", result.output)

    def test_no_configuration(self) -> None:
        """Offline needs one; without, a server is needed."""
        result = self.run_cli("route", "--offline", "x.example", status=1)
        self.assertIn("--offline needs", result.output)
        result = self.run_cli("route", "x.example", status=1)
        self.assertIn("nobody is there", result.output)


class RunningTests(RouteTestCase):
    """By the server that runs."""

    def test_asked(self) -> None:
        """It is asked first, and what it says is shown."""
        self.said = {
            "to": "x.example", "from": "", "account": "", "transport": None, "next_hop": None,
            "mta_sts": None, "hosts": [], "steps": [],
            "failure": {"permanent": False, "code": 0, "status": "4.3.2", "error": "is disabled"},
        }  # fmt: skip
        lines = self.lines("x.example", "--failed", "2", status=1)
        self.assertIn("outcome    fails for now: 4.3.2 is disabled", lines)
        ((_, command, arguments),) = self.asked
        self.assertEqual("route", command)
        self.assertEqual(("x.example", 2), (arguments["to"], arguments["failed"]))
        self.asked.clear()
        self.lines("bob@there.example", "--offline")
        self.assertEqual([], self.asked)

    def test_refused(self) -> None:
        """Its refusal is final."""
        self.said = CommandRefused("no such command")
        result = self.run_cli("--config", self.config, "route", "x.example", status=1)
        self.assertIn("no such command", result.output)


class _Forecaster(Forecaster):
    """Says that nothing leaves, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Consignment] = []

    async def forecast(self, consignment: Consignment, *given: object) -> Forecast:
        self.asked.append(consignment)
        return Forecast(failure=Unreachable(permanent=True, status="1.2", error="no"))


class CommandTests(SynchronousTestCase):
    """The server's side."""

    def setUp(self) -> None:
        self.directory = Directory(
            [Account("alice", ("alice@example.org",))],
            domains={parse_domain("example.org"): DomainSettings()},
            hosts=(),
            postmaster="alice",
        )
        self.forecaster = _Forecaster()
        self.sent: list[dict[str, object]] = []

    def tell(self, **arguments: object) -> None:
        async def send(entry: Mapping[str, object]) -> None:
            self.sent.append(dict(entry))

        self.successResultOf(self.running(arguments, send))

    def running(self, arguments: Mapping[str, object], send: Send) -> Deferred[None]:
        table = RouteCommands(self.forecaster, self.directory).table()

        async def run() -> None:
            await table["route"](arguments, send)

        return Deferred.fromCoroutine(run())

    def test_told(self) -> None:
        """One entry, about what was asked."""
        self.tell(**{"to": "bob@there.example", "from": "alice@example.org", "failed": 3})
        self.assertEqual(
            [
                Consignment(
                    account="alice",
                    sender=parse_domain("example.org"),
                    recipient=parse_domain("there.example"),
                    failed_attempts=3,
                )
            ],
            self.forecaster.asked,
        )
        (entry,) = self.sent
        self.assertEqual(
            {"permanent": True, "code": 0, "status": "5.1.2", "error": "no"}, entry["failure"]
        )

    def test_wrong(self) -> None:
        """Arguments that make no sense are refused, whoever sent them."""
        wrong: tuple[dict[str, object], ...] = (
            {}, {"to": 7}, {"to": "@"}, {"to": "a@b", "from": "x"}, {"to": "a.b", "failed": -1},
            {"to": "a.b", "failed": "x"}, {"to": "a.b", "require_tls": "maybe"},
        )  # fmt: skip

        async def send(entry: Mapping[str, object]) -> None:
            raise AssertionError(entry)

        for arguments in wrong:
            self.failureResultOf(self.running(arguments, send), CommandFailed)

    def test_of_nobody(self) -> None:
        """A sender elsewhere has no account here."""
        found = consignment(self.directory, {"to": "x.example", "from": "bob@far.example"})
        self.assertEqual(("", "far.example"), (found.account, str(found.sender)))
