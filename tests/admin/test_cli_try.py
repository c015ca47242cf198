"""C{moxsmtp try}."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.admin import cli, cli_try
from moxsmtp.admin.trial import Trial
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.testing import MemoryResolver
from tests.bridge.test_delivery import MESSAGE, NOW, SENDER, SIGNED, ZONE
from tests.config.test_load import LEAST

GIVEN = (
    "--from-ip",
    "192.0.2.1",
    "--mail-from",
    "a@sender.example",
    "--helo",
    "mail.sender.example",
)


class TryTests(SynchronousTestCase):
    """The command over a DNS of the test's own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.patch(os, "environ", {"HOME": str(self.folder)})
        self.patch(cli_try, "run", self.run_with)
        self.patch(platform, "node", lambda: "mx.example")
        self.zone = dict(ZONE)
        self.config: str | None = None

    def run_with(
        self, config: str | None, main: Callable[[Any, IResolver], Coroutine[Any, Any, Trial]]
    ) -> object:
        """Like L{moxsmtp.admin.offline.run}."""
        self.config = config
        clock = Clock()
        clock.rightNow = NOW.timestamp()
        trying = Deferred.fromCoroutine(main(clock, MemoryResolver(self.zone)))
        return self.successResultOf(trying)

    def command(self, *words: str, message: bytes = SIGNED, code: int = 0) -> Result:
        """Run it over C{message} on standard input."""
        runner = CliRunner()
        result = runner.invoke(cli.main, list(words), input=message, catch_exceptions=False)
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def tried(self, *words: str, message: bytes = SIGNED) -> list[str]:
        """Lines of what it says."""
        return self.command("try", *GIVEN, *words, "-", message=message).output.splitlines()

    def test_report(self) -> None:
        """It tells each check, the fields that would be written, and every DNS answer used."""
        lines = self.tried()
        self.assertEqual(
            lines[: lines.index("")],
            [
                "iprev  pass      mail.sender.example",
                "spf    pass      sender.example of MAIL FROM, by ip4:192.0.2.1",
                "dkim   pass      sender.example with selector s, ed25519-sha256",
                f"dmarc  pass      {SENDER}, alignment strict, policy reject of {SENDER}",
                "       organizational domain sender.example, by the public suffix list too",
                *[line for line in lines if line.startswith("       _dmarc.")],
            ],
        )
        self.assertIn("  Authentication-Results: mx.example;", lines)
        self.assertIn("  Received-SPF: pass (without dnssec) client-ip=192.0.2.1;", lines)
        place = lines.index("DNS answers that were used:")
        self.assertIn("  sender.example TXT", lines[place:])
        self.assertIn('    "v=spf1 ip4:192.0.2.1 -all"', lines[place:])
        self.assertIn("  1.2.0.192.in-addr.arpa PTR", lines[place:])

    def test_walk(self) -> None:
        """DMARC comes with each step of its walk."""
        walk = [line for line in self.tried() if line.startswith("       _dmarc.")]
        self.assertTrue(walk[0].startswith("       _dmarc.sender.example: "), walk)
        self.assertIn("v=DMARC1; p=reject", walk[0])

    def test_organizations(self) -> None:
        """Whose the author's domain is, is told by the tree walk and by the public suffix list."""
        self.zone[Question("_dmarc.sender.example", RRType.TXT)] = ()
        message = MESSAGE.replace(b"@sender.example", b"@x.sender.example", 1)
        text = "\n".join(self.tried(message=message))
        told = "organizational domain x.sender.example, but sender.example by the public suffix"
        self.assertIn(told, text)
        (line,) = self.tried("--json", message=message)
        self.assertEqual(
            [
                json.loads(line)["dmarc"]["organizational_domain"],
                json.loads(line)["listed_organization"],
            ],
            ["x.sender.example", "sender.example"],
        )

    def test_ends_and_errors(self) -> None:
        """Where a chain of CNAMEs ends is told, and what servers tell of their answers."""
        self.zone[Question("s._domainkey.sender.example", RRType.TXT)] = Answer(
            (), canonical_name="k.esp.example", extended_errors=("3 (Stale Answer): \x1b",)
        )
        text = "\n".join(self.tried())
        self.assertIn(
            "  s._domainkey.sender.example TXT\n"
            "    is an alias that ends at k.esp.example\n"
            "    no such records\n"
            "    the server says: 3 (Stale Answer): \\x1b",
            text,
        )
        self.assertNotIn("alias that ends at sender.example", text)
        (line,) = self.tried("--json")
        entries = {entry["name"]: entry for entry in json.loads(line)["dns"]}
        entry = entries["s._domainkey.sender.example"]
        self.assertEqual(
            [entry["canonical_name"], entry["extended_errors"]],
            ["k.esp.example", ["3 (Stale Answer): \x1b"]],
        )

    def test_refusal(self) -> None:
        """What a domain asks to be refused is said to be."""
        text = "\n".join(self.tried("--from-ip", "198.51.100.7", message=MESSAGE))
        self.assertIn("spf    fail      sender.example of MAIL FROM, by -all", text)
        self.assertIn("policy reject of sender.example, asks for refusal", text)

    def test_failures(self) -> None:
        """Failures of the DNS, names that are not there and DNSSEC are told."""
        self.zone[Question("sender.example", RRType.TXT)] = LookupFailed("SERVFAIL")
        self.zone[Question("_dmarc.sender.example", RRType.TXT)] = Answer(
            (b"v=DMARC1; p=none",), authentic=True
        )
        del self.zone[Question("s._domainkey.sender.example", RRType.TXT)]
        text = "\n".join(self.tried())
        self.assertIn("spf    temperror", text)
        self.assertIn("    failed: SERVFAIL", text)
        self.assertIn('    "v=DMARC1; p=none" (with DNSSEC)', text)
        self.assertIn("  s._domainkey.sender.example TXT\n    no such name", text)
        self.assertIn("dkim   permerror", text)

    def test_unsigned(self) -> None:
        """A message without signature, without author, and one that claims to be checked."""
        text = "\n".join(self.tried(message=b"Authentication-Results: mx.example; none\n\n"))
        self.assertIn("dkim   none      no signatures", text)
        self.assertIn("dmarc  none      no author's domain", text)
        self.assertIn("claim to be ours; they would be removed", text)

    def test_terminal_is_safe(self) -> None:
        """No record of a stranger reaches the terminal as control characters."""
        self.zone[Question("sender.example", RRType.TXT)] = (b"v=spf1 \x1b]0;x\x07\xff -all",)
        output = self.command("try", *GIVEN, "-").output
        self.assertNotIn("\x1b", output)
        self.assertIn("\\x1b]0;x\\x07\\xff", output)

    def test_json(self) -> None:
        """One object with everything."""
        (line,) = self.tried("--json")
        entry = json.loads(line)
        self.assertEqual(
            [entry["iprev"]["status"], entry["spf"]["status"], entry["spf"]["domain"],
             entry["dkim"]["signatures"][0]["domain"], entry["dmarc"]["policy"], entry["authors"],
             entry["forged"]],
            ["pass", "pass", "sender.example", "sender.example", "reject", ["sender.example"],
             False],
        )  # fmt: skip
        self.assertTrue(entry["fields"].startswith("Authentication-Results: "))
        self.assertEqual(
            entry["dns"][2],
            {"name": "sender.example", "type": "TXT", "exists": True, "authentic": False,
                "canonical_name": "sender.example", "extended_errors": [],
             "records": ["v=spf1 ip4:192.0.2.1 -all"]},
        )  # fmt: skip

    def test_file(self) -> None:
        """A file is read, lines with LF are taken as CRLF."""
        path = self.folder / "mail.eml"
        path.write_bytes(SIGNED.replace(b"\r\n", b"\n"))
        text = self.command("try", *GIVEN, str(path)).output
        self.assertIn("dkim   pass", text)

    def test_null_sender(self) -> None:
        """Both spellings of the null reverse-path check the name of HELO."""
        for sender in ("", "<>"):
            words = ["try", "--from-ip", "192.0.2.1", "--mail-from", sender, "--helo",
                     "mail.sender.example", "-"]  # fmt: skip
            text = self.command(*words, message=MESSAGE).output
            self.assertIn("mail.sender.example of HELO", text)

    def test_configuration(self) -> None:
        """The server's name and resolver are those of the configuration."""
        path = self.folder / "moxsmtp.toml"
        path.write_text(LEAST)
        text = self.command("--config", str(path), "try", *GIVEN, "-").output
        self.assertEqual(self.config, str(path))
        self.assertNotIn("Authentication-Results: mx.example;", text)
        self.assertIn("Authentication-Results: ", text)

    def test_mistakes(self) -> None:
        """What cannot be used is told in one line, exit status 1."""
        cases = [
            ("--from-ip", "192.0.2", "is not an IP address"),
            ("--mail-from", "nobody", "is not an address"),
            ("--helo", "a b", "is not a host name"),
        ]
        for option, value, text in cases:
            output = self.command("try", *GIVEN, option, value, "-", code=1).output
            self.assertEqual(len(output.splitlines()), 1, output)
            self.assertIn(f'{option}: "{value}" {text}', output)
        missing = str(self.folder / "missing.eml")
        output = self.command("try", *GIVEN, missing, code=1).output
        self.assertEqual(output, f"moxsmtp: {missing}: No such file or directory\n")
        output = self.command("try", *GIVEN, str(self.folder), code=1).output
        self.assertIn("Is a directory", output)

    def test_help(self) -> None:
        """The help has an example."""
        output = self.command("try", "--help").output
        self.assertIn("Example: moxsmtp try --from-ip", output)
