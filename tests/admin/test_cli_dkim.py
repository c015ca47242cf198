"""Commands for keys that mail is signed with."""

from __future__ import annotations

import json
import os
import re
import stat
import time
import tomllib
from pathlib import Path
from typing import Any

import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from dns.rdtypes.ANY.TXT import TXT

from moxsmtp.admin import cli_dkim
from moxsmtp.config.load import load
from moxsmtp.dkim.private_key import load_private_key, public_record
from moxsmtp.names import parse_domain
from tests.admin.test_cli import CLITestCase
from tests.config.test_load import LEAST


def records(zone: str) -> dict[str, str]:
    """What a name server would make of lines of a zone file: texts by name."""
    origin = "example.org."
    text = f"@ 60 IN SOA a b 1 2 3 4 5\n@ 60 IN NS a\n$TTL 60\n{zone}"
    parsed = dns.zone.from_text(text, origin, relativize=False)
    return {
        str(name): b"".join(rdata.strings).decode()
        for name, _, rdata in parsed.iterate_rdatas(dns.rdatatype.TXT)
        if isinstance(rdata, TXT)
    }


class KeyTestCase(CLITestCase):
    """Runs in a folder of its own."""

    def setUp(self) -> None:
        super().setUp()
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)

    def generated(self, *arguments: str) -> dict[str, Any]:
        """What C{dkim generate --json} says of an Ed25519 key, made fast."""
        result = self.run_cli(
            "dkim", "generate", "example.org", "--algorithm", "ed25519", "--json", *arguments
        )
        said: dict[str, Any] = json.loads(result.stdout)
        return said

    def configure(self, *tables: str) -> str:
        """A configuration with these tables; its name."""
        file = self.folder / "moxsmtp.toml"
        file.write_text(LEAST + "\n".join(tables))
        return str(file)


class GenerateTests(KeyTestCase):
    """C{moxsmtp dkim generate}."""

    def test_file(self) -> None:
        """The key lies in a file for its owner only, whatever the umask is."""
        for mask in (0o000, 0o777):
            before = os.umask(mask)
            try:
                said = self.generated("--selector", f"s{mask}")
            finally:
                os.umask(before)
            file = Path(said["file"])
            self.assertEqual(self.folder / f"s{mask}._domainkey.example.org.pem", file)
            self.assertEqual(0o600, stat.S_IMODE(file.stat().st_mode))
            self.assertEqual(said["record"], public_record(load_private_key(file.read_bytes())))

    def test_rsa(self) -> None:
        """By default it is RSA with 2048 bits, which everybody verifies."""
        result = self.run_cli("dkim", "generate", "example.org")
        [file] = self.folder.iterdir()
        self.assertRegex(file.name, r"^20[0-9]{2}-rsa\._domainkey\.example\.org\.pem$")
        key = load_private_key(file.read_bytes())
        assert isinstance(key, RSAPrivateKey)
        self.assertEqual(2048, key.key_size)
        self.assertIn(str(file), result.stdout)
        zone = result.stdout[result.stdout.index("20", result.stdout.index("DNS, first")) :]
        zone = zone[: zone.index("\n\n")]
        name = file.name.removesuffix("pem")
        self.assertEqual({name: public_record(key)}, records(zone))

    def test_strings(self) -> None:
        """Records are written in strings of 255 octets at most.  RFC 1035 section 3.3."""
        for length in (1, 254, 255, 256, 510, 511, 800):
            record = cli_dkim.Record("s._domainkey.example.org", "x" * length)
            strings = re.findall('"([^"]*)"', record.zone)
            self.assertEqual([255] * (length // 255), [len(s) for s in strings][: length // 255])
            self.assertEqual({"s._domainkey.example.org.": record.text}, records(record.zone))

    def test_year(self) -> None:
        """The selector that nobody gave tells the year and the kind of key."""
        self.patch(time, "gmtime", lambda: time.struct_time((2031, 1, 1, 0, 0, 0, 0, 1, 0)))
        self.assertEqual("2031-ed25519", self.generated()["selector"])

    def test_usable(self) -> None:
        """What is printed for the configuration is taken as it is."""
        said = [
            self.generated("--selector", name, "--out", f"{name} é.pem")
            for name in ("a", "B.c", "d_e")
        ]
        settings = load(self.configure(*(one["toml"] for one in said)))
        self.assertEqual({one["name"]: one["record"] for one in said}, dict(settings.key_records()))
        signers = settings.signers()[parse_domain("example.org")]
        self.assertEqual(["a", "b.c", "d_e"], [signer.selector for signer in signers])

    def test_unicode_domain(self) -> None:
        """The configuration has the domain as it was given, the DNS as A-labels."""
        result = self.run_cli(
            "dkim", "generate", "bücher.example", "--algorithm", "ed25519", "--json"
        )
        said = json.loads(result.stdout)
        self.assertEqual("xn--bcher-kva.example", said["domain"])
        self.assertTrue(said["name"].endswith("._domainkey.xn--bcher-kva.example"))
        self.assertEqual(["bücher.example"], [*tomllib.loads(said["toml"])["domain"]])

    def test_no_overwriting(self) -> None:
        """A file that is there stays as it is, even an empty one, and so does what a link is to."""
        for name in ("there.pem", "link.pem"):
            Path("there.pem").write_text("old")
            if not Path("link.pem").is_symlink():
                Path("link.pem").symlink_to("nowhere.pem")
            result = self.run_cli("dkim", "generate", "example.org", "--out", name, status=1)
            self.assertIn("is there already", result.stderr)
            self.assertEqual("", result.stdout)
        self.assertEqual("old", Path("there.pem").read_text())
        self.assertFalse(Path("nowhere.pem").exists())

    def test_refusals(self) -> None:
        """One line says what is wrong, and nothing is written."""
        for arguments, word in (
            (("exa mple",), "is not a domain"),
            (("example.org", "--selector", "-"), "not a selector"),
            (("example.org", "--selector", "a b"), "not a selector"),
            (("example.org", "--out", "nowhere/x.pem"), "No such file"),
            (("example.org", "--out", "a\x07b.pem"), "--out"),
            (("example.org", "--out", "."), "there already"),
        ):
            result = self.run_cli("dkim", "generate", *arguments, status=1)
            self.assertIn(word, result.stderr)
            self.assertEqual(1, result.stderr.count("\n"), result.stderr)
            self.assertTrue(result.stderr.rstrip("\n").isprintable(), result.stderr)
        self.assertEqual([], [*self.folder.iterdir()])

    def test_interrupted(self) -> None:
        """A key that could not be made leaves no empty file behind."""

        def broken(_kind: str) -> bytes:
            raise OSError(28, "No space left on device")

        self.patch(cli_dkim, "generate_key", broken)
        result = self.run_cli("dkim", "generate", "example.org", status=1)
        self.assertIn("No space left", result.stderr)
        self.assertEqual([], [*self.folder.iterdir()])


class RecordTests(KeyTestCase):
    """C{moxsmtp dkim record}."""

    def setUp(self) -> None:
        super().setUp()
        self.said = [self.generated("--selector", name) for name in ("one", "two")]
        first, second = (one["toml"] for one in self.said)
        self.config = self.configure(first, f"{second}\nactive = false", '[domain."bare.example"]')

    def test_zone(self) -> None:
        """All selectors' records, the inactive ones included, as lines of a zone file."""
        result = self.run_cli("--config", self.config, "dkim", "record", "EXAMPLE.org")
        self.assertEqual(
            {f"{one['name']}.": one["record"] for one in self.said}, records(result.stdout)
        )
        self.assertEqual(["; not active"], re.findall("^;.*", result.stdout, re.MULTILINE))

    def test_json(self) -> None:
        """One object for each."""
        result = self.run_cli("--config", self.config, "dkim", "record", "example.org", "--json")
        self.assertEqual(
            [
                {
                    "domain": "example.org",
                    "selector": one["selector"],
                    "active": active,
                    "name": one["name"],
                    "record": one["record"],
                    "zone": one["zone"],
                }
                for one, active in zip(self.said, (True, False), strict=True)
            ],
            [json.loads(line) for line in result.stdout.splitlines()],
        )

    def test_one(self) -> None:
        """The one that is asked for, in any spelling; the configuration by the environment."""
        self.environment["MOXSMTP_CONFIG"] = self.config
        result = self.run_cli("dkim", "record", "example.org", "--selector", "TWO")
        self.assertEqual(
            {f"{self.said[1]['name']}.": self.said[1]["record"]}, records(result.stdout)
        )

    def test_unicode(self) -> None:
        """A selector is asked for as it was given to make its key."""
        made = self.generated("--selector", "zw\u00f6lf")
        option = ("--config", self.configure(made["toml"]))
        result = self.run_cli(*option, "dkim", "record", "example.org", "--selector", "Zw\u00f6lf")
        self.assertEqual({f"{made['name']}.": made["record"]}, records(result.stdout))

    def test_refusals(self) -> None:
        """What is missing is named in one line."""
        option = ("--config", self.config)
        Path("broken.toml").write_text("x = 1")
        for arguments, word in (
            (("dkim", "record", "example.org"), "--config FILE"),
            ((*option, "dkim", "record", "example.org", "--selector", "a b"), "not a selector"),
            ((*option, "dkim", "record", "exa mple"), "not a domain"),
            ((*option, "dkim", "record", "other.example"), 'no [domain."other.example"]'),
            ((*option, "dkim", "record", "bare.example"), "no selector of bare.example"),
            ((*option, "dkim", "record", "example.org", "--selector", "x"), "selector x"),
            (("--config", "broken.toml", "dkim", "record", "example.org"), "broken.toml:1"),
        ):
            result = self.run_cli(*arguments, status=1)
            self.assertIn(word, result.stderr)
            self.assertEqual("", result.stdout)
