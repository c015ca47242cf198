"""The examples of the documentation do what they say."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dkim import generate_key, load_private_key, public_record
from moxsmtp.dns.records import MX, Answer, LookupFailed, Question, Record, RRType
from moxsmtp.testing import MemoryResolver

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "docs" / "examples"

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Zone = Mapping[Question, Sequence[Record] | Answer | LookupFailed]


def example(name: str) -> ModuleType:
    """The module of an example, imported as if it stood in its folder."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ExamplesTests(SynchronousTestCase):
    """Each, over a DNS that is a dictionary."""

    def printed(self, work: Callable[[Clock, MemoryResolver], Awaitable[None]], zone: Zone) -> str:
        """What an example's C{main} says."""
        clock = Clock()
        clock.rightNow = NOW.timestamp()
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self.successResultOf(Deferred.fromCoroutine(work(clock, MemoryResolver(zone))))  # type: ignore[arg-type]  # examples have no types
        return output.getvalue()

    def test_all_are_tested(self) -> None:
        """Every file of the examples has its test here, or is imported by those."""
        names = {path.stem for path in EXAMPLES.glob("*.py")} - {"with_resolver"}
        tested = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(names - tested, set())

    def test_all_are_shown(self) -> None:
        """Every example stands in the documentation."""
        text = (EXAMPLES.parent / "library.rst").read_text("utf-8")
        names = sorted(path.name for path in EXAMPLES.glob("*.py"))
        self.assertEqual([name for name in names if f":: examples/{name}" not in text], [])

    def test_spf_verify(self) -> None:
        """SPF: the client passes, or the mechanism that refused it is told."""
        question = Question("example.org", RRType.TXT)
        main = example("spf_verify").main
        self.assertEqual(
            self.printed(main, {question: (b"v=spf1 ip4:192.0.2.0/24 -all",)}),
            "example.org: pass\n",
        )
        self.assertEqual(
            self.printed(main, {question: (b"v=spf1 ip4:198.51.100.0/24 -all",)}),
            "example.org: fail\nrefused by -all\n",
        )

    def test_dkim_sign(self) -> None:
        """DKIM: what one example signs, another verifies by the record that was printed."""
        key = load_private_key(generate_key("ed25519"))
        message = example("dkim_sign").signed(key, NOW)
        question = Question("2026._domainkey.example.org", RRType.TXT)
        zone = {question: (public_record(key).encode("ascii"),)}
        report = example("dkim_verify").report
        self.assertEqual(
            self.printed(lambda clock, resolver: report(clock, resolver, message), zone),
            "example.org (2026): pass \nverified: example.org\n",
        )

    def test_dkim_verify(self) -> None:
        """DKIM: a file with LF is verified; without the key nobody has signed."""
        key = load_private_key(generate_key("ed25519"))
        path = Path(self.mktemp())
        path.write_bytes(example("dkim_sign").signed(key, NOW).replace(b"\r\n", b"\n"))
        self.patch(sys, "argv", ["dkim_verify.py", str(path)])
        main = example("dkim_verify").main
        text = self.printed(main, {})
        self.assertTrue(text.startswith("example.org (2026): permerror"), text)
        self.assertTrue(text.endswith("verified: nobody\n"), text)

    def test_dmarc_verify(self) -> None:
        """DMARC: aligned by SPF in relaxed mode, with the walk."""
        zone: Zone = {
            Question("_dmarc.example.org", RRType.TXT): (b"v=DMARC1; p=reject; sp=quarantine",),
            Question("news.example.org", RRType.A): ("192.0.2.9",),
        }
        text = self.printed(example("dmarc_verify").main, zone)
        self.assertIn("news.example.org: pass, alignment", text)
        self.assertIn("policy quarantine of example.org, to be refused: False", text)
        self.assertIn("  _dmarc.news.example.org: ", text)
        self.assertIn("  _dmarc.example.org: v=DMARC1; p=reject; sp=quarantine", text)

    def test_iprev_verify(self) -> None:
        """iprev: the name, if it leads back."""
        zone: Zone = {
            Question("1.2.0.192.in-addr.arpa", RRType.PTR): ("mail.example.org",),
            Question("mail.example.org", RRType.A): ("192.0.2.1",),
        }
        main = example("iprev_verify").main
        self.assertEqual(self.printed(main, zone), "pass: mail.example.org\n")
        self.assertEqual(self.printed(main, {}), "permerror: no name\n")

    def test_dnsbl_look_up(self) -> None:
        """DNSBL: a list that is in order says why; one that is not is not asked."""
        zone: Zone = {
            Question("2.0.0.127.dnsbl.example.org", RRType.A): ("127.0.0.2",),
            Question("1.2.0.192.dnsbl.example.org", RRType.A): ("127.0.0.2",),
            Question("1.2.0.192.dnsbl.example.org", RRType.TXT): (b"sends spam",),
        }
        main = example("dnsbl_look_up").main
        self.assertEqual(self.printed(main, zone), "listed: True sends spam\n")
        self.assertEqual(self.printed(main, {}), "dnsbl.example.org is not in order\n")

    def test_organizations(self) -> None:
        """Public suffixes: what belongs together, and what is for everybody."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            example("organizations").main()
        self.assertEqual(
            output.getvalue().splitlines(),
            [
                "mail.example.co.uk is of example.co.uk",
                "example.co.uk is of example.co.uk",
                "co.uk is a public suffix",
                "bücher.example is of bücher.example",
            ],
        )

    def test_dns_look_up(self) -> None:
        """DNS: records, none, no name and failure are four outcomes."""
        zone: Zone = {
            Question("example.org", RRType.MX): Answer((MX(10, "mx.example.org"),), authentic=True),
            Question("no-mail.example.org", RRType.A): ("192.0.2.1",),
            Question("broken.example.org", RRType.MX): LookupFailed("SERVFAIL"),
        }
        self.assertEqual(
            self.printed(example("dns_look_up").main, zone).splitlines(),
            [
                "example.org: mx.example.org (with DNSSEC)",
                "no-mail.example.org: no such records",
                "nowhere.example.org: no such name",
                "broken.example.org: nothing is known, SERVFAIL",
            ],
        )

    def test_checked_delivery(self) -> None:
        """The server of twisted.mail prints the results of a message, then the message."""
        module = example("checked_delivery")
        reactor = MemoryReactorClock()
        reactor.rightNow = NOW.timestamp()
        zone: Zone = {Question("example.org", RRType.TXT): (b"v=spf1 ip4:192.0.2.1 -all",)}
        serving = Deferred.fromCoroutine(module.main(reactor, MemoryResolver(zone)))
        self.assertNoResult(serving)
        ((port, factory, _, interface),) = reactor.tcpServers
        self.assertEqual((port, interface), (2525, "127.0.0.1"))
        session: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        session.noisy = False
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 1))
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            session.makeConnection(transport)
            for line in ("EHLO mail.example.org", "MAIL FROM:<alice@example.org>",
                         "RCPT TO:<bob@mx.example.org>", "DATA", "From: alice@example.org", "",
                         "Hello!", "."):  # fmt: skip
                session.dataReceived(f"{line}\r\n".encode())
            session.setTimeout(None)
        self.assertTrue(transport.value().endswith(b"250 Delivery in progress\r\n"))
        text = output.getvalue()
        with contextlib.redirect_stdout(output):
            session.dataReceived(
                b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@mx.example.org>\r\nDATA\r\nFrom: a"
            )
            session.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(output.getvalue(), f"{text}given up\n")
        self.assertTrue(text.startswith("Authentication-Results: mx.example.org;\n"), text)
        self.assertIn("spf=pass (without dnssec) smtp.mailfrom=example.org", text)
        self.assertTrue(text.endswith("\nFrom: alice@example.org\n\nHello!\n"), text)
