"""C{moxsmtp check resolver}, over a net without sockets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import dns.flags
import dns.rcode

from moxsmtp.admin import cli_check, offline
from tests.admin.test_cli import CLITestCase
from tests.admin.test_offline import Loop
from tests.config.test_load import LEAST
from tests.dns.packets import reply

T = TypeVar("T")

ROOT = ". 300 IN NS a.root."

#: By address, what each server makes of a query; who is not here stays silent.
Answers = dict[str, Callable[[bytes], bytes]]


class Servers(Loop):
    """Servers that answer at once, or not at all."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self.answers = answers

    def run(self) -> None:
        """See C{IReactorCore}."""
        while not self.started:
            sent, self.sent = self.sent, []
            for port, packet in sent:
                if port.address[0] in self.answers:
                    port.receive(self.answers[port.address[0]](packet))
            self.advance(5)
        for call in self.started:
            call()


def validated(packet: bytes) -> bytes:
    """By a server that validates."""
    return reply(packet, (ROOT,))


def unvalidated(packet: bytes) -> bytes:
    """By one that does not."""
    return reply(packet, (ROOT,), flags=0)


def failed(packet: bytes) -> bytes:
    """By one that cannot."""
    return reply(packet, rcode=dns.rcode.SERVFAIL)


class CheckResolverTests(CLITestCase):
    """What is said of which resolvers."""

    def setUp(self) -> None:
        """The system names two resolvers, one on this machine."""
        super().setUp()
        self.answers: Answers = {"127.0.0.1": validated, "192.0.2.1": unvalidated}
        self.patch(cli_check, "run_reactor", self.run_reactor)
        self.resolv_conf = self.folder / "resolv.conf"
        self.resolv_conf.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\n")
        self.patch(cli_check, "RESOLV_CONF", str(self.resolv_conf))

    def run_reactor(self, main: Callable[[Any], Awaitable[T]]) -> T:
        """Run it over these servers."""
        return offline.run_reactor(main, reactor=Servers(self.answers))

    def configured(self, servers: str) -> str:
        """A configuration with these resolvers, and a mistake elsewhere."""
        return self.write(f"nonsense = 1\n{LEAST}\n[resolver]\nservers = {servers}\n")

    def entries(self, *arguments: str, status: int = 0) -> dict[str, dict[str, Any]]:
        """What C{--json} says, by address."""
        lines = self.run_cli(*arguments, "check", "resolver", "--json", status=status).output
        return {entry["address"]: entry for entry in map(json.loads, lines.splitlines())}

    def test_system(self) -> None:
        """Without a configuration the system's are asked, and said to be the system's."""
        first, second = self.entries().values()
        self.assertEqual(
            first,
            {
                "address": "127.0.0.1", "port": 53, "source": str(self.resolv_conf),
                "asked": "NS of .", "answers": True, "milliseconds": 0.0, "problem": "",
                "ad": True, "believed": True, "because": "it is on this machine",
            },
        )  # fmt: skip
        self.assertEqual((second["ad"], second["believed"]), (False, False))
        self.assertIn("not on this machine", second["because"])

    def test_configuration(self) -> None:
        """Those of the configuration stand before the system's, whatever else is wrong in it."""
        self.answers = dict.fromkeys(["192.0.2.7", "127.0.0.53"], validated)
        config = self.configured('[{ address = "192.0.2.7", trust_ad = true }, "127.0.0.53"]')
        found = self.entries("--config", config)
        self.assertEqual(
            {a: (e["source"], e["believed"], e["because"][:16]) for a, e in found.items()},
            {
                "192.0.2.7": (config, True, "trust_ad is set "),
                "127.0.0.53": (config, False, "it only forwards"),
            },
        )
        self.environment["MOXSMTP_CONFIG"] = config
        self.assertEqual(self.entries(), found)

    def test_no_servers_configured(self) -> None:
        """A configuration that names none leaves it to the system; a system that does, to us."""
        config = self.write(LEAST)
        sources = {e["source"] for e in self.entries("--config", config).values()}
        self.assertEqual(sources, {str(self.resolv_conf)})
        self.resolv_conf.unlink()
        self.assertEqual(
            [(a, e["source"][:11]) for a, e in self.entries().items()],
            [("127.0.0.1", "the default")],
        )

    def test_some_silent(self) -> None:
        """One that does not answer is told, and is no failure while another does."""
        del self.answers["127.0.0.1"]
        found = self.entries()["127.0.0.1"]
        self.assertEqual((found["answers"], found["problem"]), (False, "no answer within 5 s"))
        text = self.run_cli("check", "resolver").output
        self.assertIn("127.0.0.1 port 53\n  does not answer: no answer within 5 s\n", text)
        self.assertIn("DNSSEC counts as absent", text)

    def test_all_silent(self) -> None:
        """If none answers, the exit status says so."""
        self.answers.clear()
        self.assertEqual(len(self.entries(status=1)), 2)
        text = self.run_cli("check", "resolver", status=1).output
        self.assertIn("No resolver answers", text)

    def test_conclusions(self) -> None:
        """What follows for the server is said in words, by who validates and is believed."""
        expected = {
            (validated, None): "DNSSEC is used.",
            (validated, unvalidated): "DNSSEC is used, but not with every resolver",
            (unvalidated, validated): "DNSSEC counts as absent",
            (failed, None): "No resolver knows that domain",
        }
        for (first, second), conclusion in expected.items():
            self.answers = {"127.0.0.1": first, **({"192.0.2.1": second} if second else {})}
            self.assertIn(conclusion, self.run_cli("check", "resolver").output)

    def test_text(self) -> None:
        """For people: where they come from, and for each whether it answers and is believed."""
        text = self.run_cli("check", "resolver").output
        self.assertEqual(
            text.splitlines()[:5],
            [
                f"Resolvers ({self.resolv_conf}), asked for NS of .:",
                "",
                "127.0.0.1 port 53",
                "  answers in 0.0 ms",
                "  AD set: it validates",
            ],
        )
        self.answers["127.0.0.1"] = failed
        self.assertIn(
            "answers in 0.0 ms, but with an error: SERVFAIL",
            self.run_cli("check", "resolver").output,
        )

    def test_domain(self) -> None:
        """Another domain may be asked for; one that is none is refused without asking."""
        asked = self.run_cli("check", "resolver", "--signed", "Signed.Example.").output
        self.assertIn("asked for NS of signed.example:", asked)
        refused = self.run_cli("check", "resolver", "--signed", "a..b", status=1).output
        self.assertIn("a..b cannot be asked for", refused)

    def test_bad_configuration(self) -> None:
        """Mistakes in the resolver's own table are told, with their place."""
        config = self.configured('["192.0.2.7", "x"]')
        refused = self.run_cli("--config", config, "check", "resolver", status=1).output
        self.assertIn(f"{config}:", refused)
        self.assertIn("resolver.servers[1]", refused)
        self.run_cli("--config", str(Path(config) / "x"), "check", "resolver", status=1)

    def test_help(self) -> None:
        """The help has an example."""
        self.assertIn("Example: moxsmtp", self.run_cli("check", "resolver", "--help").output)
