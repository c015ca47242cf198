"""Configuration files into settings, and all that can be wrong with them."""

from __future__ import annotations

import datetime as dt
import os
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.config import (
    ConfigError,
    LogLevel,
    Mistake,
    Settings,
    default_data_directory,
    localserve_directory,
)
from moxsmtp.config.load import data_directory, load
from moxsmtp.config.mistakes import key_name
from moxsmtp.config.schema import known_keys
from moxsmtp.directory import DomainSettings
from moxsmtp.dns.settings import Upstream
from moxsmtp.interfaces import Account, HookTarget, Maildir, OutgoingEvent
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.localserve import ensure_certificate
from moxsmtp.names import parse_domain
from moxsmtp.receive.settings import (
    DelaySettings,
    ServiceSettings,
    SubmissionSettings,
    TLSFiles,
    TLSSettings,
)
from moxsmtp.receive.tracing import Tracing

#: As little as a configuration can be.
LEAST = """\
hostname = "mx.example.org"
[[listener]]
name = "public"
addresses = ["192.0.2.1"]
[listener.smtp]
enabled = true
no_starttls = true
[domain."example.org"]
[account.alice]
addresses = ["alice@example.org"]
"""


class ConfigTestCase(unittest.SynchronousTestCase):
    """Writes files and loads them."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, text: str, name: str = "x.toml") -> str:
        path = self.folder / name
        path.write_text(text, "utf-8")
        return str(path)

    def loaded(self, text: str) -> Settings:
        return load(self.write(text))

    def mistakes(self, text: str) -> list[tuple[int, str, str]]:
        """Line, key and text of each."""
        error = self.assertRaises(ConfigError, self.loaded, text)
        return [(mistake.line, mistake.key, mistake.text) for mistake in error.mistakes]

    def assertMistake(self, text: str, line: int, key: str, word: str) -> None:
        """C{text} has this mistake alone."""
        found = self.mistakes(text)
        self.assertEqual([(line, key)], [mistake[:2] for mistake in found], found)
        self.assertIn(word, found[0][2])

    def certificate(self, name: str = "one") -> TLSSettings:
        files = TLSSettings(
            certificate=str(self.folder / f"{name}.crt"), key=str(self.folder / f"{name}.key")
        )
        ensure_certificate(files, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        return files


class GoodTests(ConfigTestCase):
    """Configurations that can be used."""

    def test_least(self) -> None:
        """What is left out has its default; the first account is the postmaster."""
        settings = self.loaded(LEAST)
        self.assertEqual(settings.hostname, parse_domain("mx.example.org"))
        self.assertEqual(settings.postmaster, "alice")
        self.assertEqual(settings.accounts, (Account("alice", ("alice@example.org",)),))
        self.assertEqual(settings.domains, {parse_domain("example.org"): DomainSettings()})
        (listener,) = settings.listeners
        self.assertEqual(listener.smtp, ServiceSettings(enabled=True, no_starttls=True))
        self.assertEqual(listener.submission, SubmissionSettings(port=587))
        self.assertEqual(settings.http.port, 8025)
        self.assertEqual(settings.default_account, "")

    def test_logins(self) -> None:
        """CRAM-MD5 can be turned off, and an account told that it may not log in (S-55)."""
        settings = self.loaded(LEAST)
        self.assertTrue(settings.cram_md5)
        self.assertEqual(settings.accounts[0].login_disabled, "")
        text = f'cram_md5 = false\n{LEAST}[account.carol]\nlogin_disabled = "ask us first"\n'
        settings = self.loaded(text)
        self.assertFalse(settings.cram_md5)
        self.assertEqual(settings.accounts[-1].login_disabled, "ask us first")

    def test_pedantic(self) -> None:
        """Nobody is pedantic who does not say so (S-111)."""
        self.assertFalse(self.loaded(LEAST).pedantic)
        self.assertTrue(self.loaded(f"pedantic = true\n{LEAST}").pedantic)

    def test_submission_keeps_its_port(self) -> None:
        """S-1: a service that is merely enabled listens on its own default port."""
        files = self.certificate()
        text = LEAST.replace(
            "[domain.",
            f'[listener.tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n'
            "[listener.submission]\nenabled = true\n[listener.submissions]\nenabled = true\n"
            "[domain.",
            1,
        )
        (listener,) = self.loaded(text).listeners
        self.assertEqual(listener.submission, SubmissionSettings(enabled=True, port=587))
        self.assertEqual(listener.submissions, SubmissionSettings(enabled=True, port=465))
        self.assertEqual(listener.tls, files)

    def test_everything(self) -> None:
        """Every kind of value arrives in the setting that it is for."""
        (self.folder / "secret").write_text("Bearer abc\nnot this\n")
        (self.folder / "secret").chmod(0o600)
        text = (
            'postmaster = "bob"\ndata_directory = "data"\n'
            'maildir = "/home/{account}/Maildir"\nmaildir_mode = 0o750\n'
            + LEAST.replace(
                '["192.0.2.1"]', '["192.0.2.1", "2001:db8::1"]\nmax_message_size="1MiB"'
            )
            + """
[listener.limits]
command = "10s"
[account.bob]
mailbox = "maildir"
keep_retired_messages = "3d"
[account.bob.outgoing_webhook]
url = "https://example.com/out"
authorization_file = "secret"
events = ["failed", "delivered"]
[account.bob.incoming_webhook]
url = "http://example.com:8080/in?x=1"
authorization = "Basic eA=="
[account.carol]
mailbox = "maildir"
maildir = "/mail/{account}/x"
maildir_mode = 0o700
[queue]
retry_after = 60
[resolver]
servers = ["127.0.0.1", { address = "192.0.2.53", port = 5353, trust_ad = true }]
[webhooks]
allow_private = ["10.0.0.0/8"]
[store]
url = "postgresql://user@host/db"
minimum_free = "1GiB"
[http]
addresses = []
[log]
level = "debug"
"""
        )
        settings = self.loaded(text)
        self.assertEqual(settings.postmaster, "bob")
        self.assertEqual(settings.data_directory, str(self.folder / "data"))
        (listener,) = settings.listeners
        self.assertEqual(listener.addresses, (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")))
        self.assertEqual(listener.max_message_size, 1048576)
        self.assertEqual(listener.limits.command, dt.timedelta(seconds=10))
        self.assertEqual(listener.limits.data, dt.timedelta(minutes=30))
        _, bob, carol = settings.accounts
        self.assertEqual(bob.maildir, Maildir("/home/bob/Maildir", 0o750))
        self.assertEqual(carol.maildir, Maildir("/mail/carol/x", 0o700))
        self.assertEqual(bob.keep_retired_messages, dt.timedelta(days=3))
        self.assertEqual(
            bob.outgoing_webhook,
            HookTarget(
                "https://example.com/out",
                "Bearer abc",
                frozenset({OutgoingEvent.FAILED, OutgoingEvent.DELIVERED}),
            ),
        )
        self.assertEqual(
            bob.incoming_webhook, HookTarget("http://example.com:8080/in?x=1", "Basic eA==")
        )
        self.assertEqual(settings.queue.retry_after, dt.timedelta(minutes=1))
        self.assertEqual(
            settings.resolver.servers,
            (
                Upstream(address=IPv4Address("127.0.0.1")),
                Upstream(address=IPv4Address("192.0.2.53"), port=5353, trust_ad=True),
            ),
        )
        self.assertEqual(settings.webhooks.allow_private, (ip_network("10.0.0.0/8"),))
        self.assertEqual(settings.store.url, "postgresql://user@host/db")
        self.assertEqual(settings.store.minimum_free, 1 << 30)
        self.assertEqual(settings.http.addresses, ())
        self.assertIs(settings.log.level, LogLevel.DEBUG)

    def test_byte_order_mark(self) -> None:
        """A byte order mark, which some editors write, is no mistake."""
        self.assertEqual(self.loaded("\ufeff" + LEAST).postmaster, "alice")

    def test_directory(self) -> None:
        """I-25: the postmaster is found at the server's name and at SMTP listeners' names."""
        text = LEAST.replace('name = "public"', 'name = "public"\nhostname = "in.example.org"')
        directory = self.loaded(text).directory()
        for address in ("mx.example.org", "in.example.org"):
            account = directory.named(f"Postmaster@{address}")
            self.assertEqual(account and account.name, "alice")
        self.assertIsNone(directory.named("postmaster@out.example.org"))

    def test_secrets_stay_secret(self) -> None:
        """Settings may be printed: neither Authorization nor database password shows."""
        text = LEAST + (
            '[account.alice.incoming_webhook]\nurl = "https://example.com/"\n'
            'authorization = "Basic hush"\n[store]\nurl = "postgresql://u:hush@h/d"\n'
        )
        self.assertNotIn("hush", repr(self.loaded(text)))


class LimitTests(ConfigTestCase):
    """Who may do how much, and waits how long."""

    def test_limits(self) -> None:
        """Limits have three numbers; networks can be exempt, none is by default (S-12)."""
        self.assertEqual(self.loaded(LEAST).limits, LimitSettings())
        text = LEAST + (
            '[limits]\nopen_connections = [1, 2, 3]\nlimits_exempt = ["127.0.0.0/8", "fd00::/8"]\n'
        )
        limits = self.loaded(text).limits
        self.assertEqual(limits.open_connections, (1, 2, 3))
        self.assertEqual(limits.limits_exempt, (ip_network("127.0.0.0/8"), ip_network("fd00::/8")))
        self.assertEqual(limits.connections_per_minute, (300, 900, 2700))

    def test_wrong_limits(self) -> None:
        """What is no limit is told with what would be one."""
        for line, words in (
            ("open_connections = [1, 2]", "three numbers are needed"),
            ("open_connections = [1, 2, -3]", "must be between 1 and"),
            ('limits_exempt = ["127.0.0.1/8"]', "bits are set behind the prefix"),
        ):
            self.assertRaisesRegex(ConfigError, words, self.loaded, f"{LEAST}[limits]\n{line}\n")

    def test_several_wrong_limits(self) -> None:
        """Each is told at its own line, with what is right for it."""
        text = LEAST + "[limits]\nopen_connections = [1, 2]\nfailed_logins_per_day = []\n"
        found = self.mistakes(text)
        self.assertEqual(
            [(12, "limits.open_connections"), (13, "limits.failed_logins_per_day")],
            [each[:2] for each in found],
        )
        self.assertIn("[30, 90, 270]", found[0][2])
        self.assertIn("[50, 150, 450]", found[1][2])

    def test_delays(self) -> None:
        """Delays can be nothing (S-17)."""
        text = LEAST + '[delays]\nslow_client = "0s"\nauthentication = 0\nunknown_recipient = 0\n'
        self.assertEqual(
            self.loaded(text).delays,
            DelaySettings(
                slow_client=dt.timedelta(),
                authentication=dt.timedelta(),
                unknown_recipient=dt.timedelta(),
            ),
        )

    def test_tracing(self) -> None:
        """The log's level says how much of sessions is traced (S-23)."""
        found = {
            level: self.loaded(f'{LEAST}[log]\nlevel = "{level}"\n').log.level.tracing
            for level in ("debug", "info", "trace", "traceauth", "tracedata")
        }
        self.assertEqual(
            found,
            {
                "debug": Tracing.NONE, "info": Tracing.NONE, "trace": Tracing.TRACE,
                "traceauth": Tracing.CREDENTIALS, "tracedata": Tracing.DATA,
            },
        )  # fmt: skip

    def test_debugging(self) -> None:
        """Who traces debugs, too."""
        levels = ("tracedata", "traceauth", "trace", "debug", "info", "warn", "error")
        found = [level for level in levels if LogLevel(level).is_debugging]
        self.assertEqual(found, ["tracedata", "traceauth", "trace", "debug"])

    def test_listener(self) -> None:
        """A listener has proxies and a delay before its greeting if it says so; else none."""
        listener = self.loaded(LEAST).listeners[0]
        self.assertEqual(listener.proxy.networks, ())
        self.assertEqual(listener.smtp.greeting_delay, dt.timedelta())
        text = LEAST.replace(
            "[listener.smtp]", '[listener.proxy]\nnetworks = ["10.0.0.0/8"]\n[listener.smtp]'
        ).replace("[listener.smtp]", '[listener.smtp]\ngreeting_delay = "2s"')
        listener = self.loaded(text).listeners[0]
        self.assertEqual(listener.proxy.networks, (ip_network("10.0.0.0/8"),))
        self.assertEqual(listener.smtp.greeting_delay, dt.timedelta(seconds=2))


class FolderTests(ConfigTestCase):
    """Several files as one configuration."""

    def test_merged(self) -> None:
        """Tables of all files come together, listeners in the order of the names."""
        self.write(LEAST, "b.toml")
        self.write('[[listener]]\nname="a"\naddresses=["192.0.2.2"]\nsmtp.enabled=true\n'
                   "smtp.no_starttls=true\n[queue]\nmax_attempts=3\n", "a.toml")  # fmt: skip
        self.write('[account.bob]\n[queue]\nretry_after="1s"\n', "c.toml")
        self.write("not toml at all", "d.toml~")
        settings = load(self.folder)
        self.assertEqual([listener.name for listener in settings.listeners], ["a", "public"])
        self.assertEqual([account.name for account in settings.accounts], ["alice", "bob"])
        self.assertEqual(settings.queue.max_attempts, 3)
        self.assertEqual(settings.queue.retry_after, dt.timedelta(seconds=1))

    def test_places(self) -> None:
        """A mistake is told with the file that holds it, listeners' too."""
        first = self.write(LEAST, "a.toml")
        second = self.write(
            '\n[[listener]]\nname = "b"\naddresses = ["x"]\n'
            "smtp = {enabled = true, no_starttls = true}\n[queue]\nbad = 1\n",
            "b.toml",
        )
        error = self.assertRaises(ConfigError, load, self.folder)
        places = [(mistake.file, mistake.line, mistake.key) for mistake in error.mistakes]
        self.assertEqual(
            places, [(second, 4, "listener[1].addresses[0]"), (second, 7, "queue.bad")]
        )
        self.assertNotIn(first, str(error))

    def test_clash(self) -> None:
        """What is given twice is a mistake that names both places."""
        first = self.write(LEAST, "a.toml")
        self.write('hostname = "mx.example.org"\n[account.alice]\n', "b.toml")
        error = self.assertRaises(ConfigError, load, self.folder)
        found = [(m.line, m.key, f"{first}:" in m.text) for m in error.mistakes]
        self.assertEqual(found, [(1, "hostname", True), (2, "account.alice", True)])

    def test_empty(self) -> None:
        """A folder without *.toml is no configuration."""
        error = self.assertRaises(ConfigError, load, self.folder)
        self.assertIn("no *.toml", str(error))


class BrokenFileTests(ConfigTestCase):
    """Files that cannot be read."""

    def test_missing(self) -> None:
        """There is no such file."""
        error = self.assertRaises(ConfigError, load, self.folder / "none.toml")
        self.assertEqual(
            str(error), f"{self.folder}/none.toml: cannot be read: No such file or directory"
        )

    def test_syntax(self) -> None:
        """What tomllib cannot read is told with its line."""
        self.assertMistake("a = 1\nb == 2\n", 2, "", "not TOML")
        self.assertMistake('a = 1\n\nb = """', 3, "", "not TOML")
        self.assertMistake("a = 1\n[a]\n", 2, "", "not TOML")
        self.assertMistake("a = 1\na = 2\n", 2, "", "not TOML")

    def test_not_utf8(self) -> None:
        """The line with the wrong octet is named."""
        path = self.folder / "x.toml"
        path.write_bytes(b'a = 1\nb = "\xff"\n')
        error = self.assertRaises(ConfigError, load, path)
        self.assertEqual([(m.line, "UTF-8" in m.text) for m in error.mistakes], [(2, True)])

    def test_deep(self) -> None:
        """Arrays nested a thousandfold are a mistake, not the end of the program."""
        self.assertTrue(self.mistakes("a = " + "[" * 50_000 + "]" * 50_000))

    def test_control_characters(self) -> None:
        """No octet of the file reaches a terminal as a control character."""
        path = self.write(LEAST + '"\\u001b[2J" = 1\n[domain."\\u0007x"]\n')
        error = self.assertRaises(ConfigError, load, path)
        self.assertTrue(all(line.isprintable() for line in str(error).split("\n")), str(error))
        self.assertIn("\\x1b[2J", str(error))

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=40), st.integers(0, LEAST.count("\n")))
    def test_any_text(self, text: str, line: int) -> None:
        """Whatever a file holds, it is used or refused with mistakes, never anything else."""
        lines = LEAST.split("\n")
        lines.insert(line, text.replace("\r", ""))
        path = self.folder / "any.toml"
        path.write_text("\n".join(lines), "utf-8", "surrogatepass")
        try:
            load(path)
        except ConfigError as error:
            self.assertTrue(error.mistakes)


class MistakeTests(ConfigTestCase):
    """Single mistakes, each with its line and key."""

    def test_all_at_once(self) -> None:
        """Mistakes of all kinds in one file are reported together, by line."""
        text = """\
hostname = "mx example"
postmaster = "nobody"
[[listener]]
name = "public"
addresses = ["192.0.2.1", "fe80::1%eth0"]
[listener.smtp]
enabled = "yes"
prot = 25
[listener.submissions]
enabled = true
[domain."example.org"]
separator = "+"
[account.alice]
addresses = ["alice+x@example.org", "alice@elsewhere.example"]
mailbox = "maildirs"
[queue]
retry_after = "soon"
"""
        found = [(line, key) for line, key, _ in self.mistakes(text)]
        self.assertEqual(
            found,
            [
                (1, "hostname"),
                (2, "postmaster"),
                (5, "listener[0].addresses[1]"),
                (7, "listener[0].smtp.enabled"),
                (8, "listener[0].smtp.prot"),
                (9, "listener[0].submissions"),
                (14, "account.alice.addresses[0]"),
                (14, "account.alice.addresses[1]"),
                (15, "account.alice.mailbox"),
                (17, "queue.retry_after"),
            ],
        )

    def test_form(self) -> None:
        """A mistake reads C{file:line: key: text}."""
        path = self.write(LEAST + "[queue]\nmax_attempts = 0\n")
        error = self.assertRaises(ConfigError, load, path)
        self.assertEqual(
            str(error), f"{path}:12: queue.max_attempts: must be between 1 and 1000000000"
        )

    def test_empty_file(self) -> None:
        """All that is missing is named, on the first line."""
        found = [(line, key) for line, key, _ in self.mistakes("")]
        self.assertEqual(found, [(1, "account"), (1, "hostname"), (1, "listener")])

    def test_unknown_keys(self) -> None:
        """A key that we do not know is a mistake, with the one that was probably meant."""
        self.assertMistake(
            LEAST + "[queue]\nretry_afte = 1\n", 12, "queue.retry_afte", "retry_after"
        )
        self.assertMistake("hostnam = 1\n" + LEAST, 1, "hostnam", '"hostname"')
        self.assertMistake(LEAST + "[zzzz]\n", 11, "zzzz", "known here: account")

    def test_wrong_types(self) -> None:
        """The kind that is wanted is named in words of TOML."""
        cases = {
            "queue.max_attempts": ('"8"', "digits"),
            "queue.outbound_port": ("70000", "65535"),
            "http.port": ("true", "digits"),
            "http.addresses": ('"127.0.0.1"', "square brackets"),
            "log.level": ('"loud"', '"debug"'),
            "store.url": ("1", "quotes"),
            "store.memory": ('"lots"', "64KiB"),
            "webhooks.allow_private": ('["10.0.0.1/8"]', "10.0.0.0/8"),
            "webhooks.time_limit": ("0", "longer than 0"),
            "resolver": ("3", "section"),
        }
        for key, (value, word) in cases.items():
            found = self.mistakes(LEAST.replace("hostname", f"{key} = {value}\nhostname", 1))
            self.assertEqual(len(found), 1, found)
            self.assertEqual((found[0][0], found[0][1].partition("[")[0]), (1, key))
            self.assertIn(word, found[0][2])

    def test_any_value_anywhere(self) -> None:
        """Whatever stands at any key, it is used or refused, and refused at that key."""
        values = ('"x"', "1", "-1", "1.5", "true", "[]", "[1]", "[[]]", "{}", "{x=1}", "07:32:00")
        tables: list[tuple[str, ...]] = [
            *((name,) for name in ("queue", "resolver", "webhooks", "store", "http", "log")),
            (),
            ("domain", "x.example"),
            ("domain", "x.example", "dkim", "s"),
            ("account", "bob"),
            ("account", "bob", "incoming_webhook"),
            ("account", "bob", "outgoing_webhook"),
        ]
        for table in tables:
            for key in known_keys(table):
                for value in values:
                    text = f"{key_name((*table, key))} = {value}\n{LEAST}"
                    try:
                        self.loaded(text)
                    except ConfigError as error:
                        # TOML itself refuses a section that is a value already.
                        lines = {mistake.line for mistake in error.mistakes}
                        self.assertTrue(1 in lines or "not TOML" in str(error), f"{text} {error}")

    def test_hostname(self) -> None:
        """The server's name is a domain."""
        self.assertMistake(LEAST.replace("mx.example.org", "192.0.2.1"), 1, "hostname", "domain")
        text = LEAST.replace('name = "public"', 'name = "public"\nhostname = "a..b"')
        self.assertMistake(text, 4, "listener[0].hostname", "domain")

    def test_no_listener(self) -> None:
        """S-1: a server listens somewhere."""
        start, end = LEAST.index("[[listener]]"), LEAST.index("[domain")
        self.assertMistake(LEAST[:start] + LEAST[end:], 1, "listener", "at least one")
        self.assertMistake(
            LEAST.replace("[[listener]]", "[listener]"), 2, "listener", "[[listener]]"
        )

    def test_needless_listener(self) -> None:
        """A listener has addresses, a service, and a name of its own."""
        self.assertMistake(
            LEAST.replace('["192.0.2.1"]', "[]"), 4, "listener[0].addresses", "empty"
        )
        self.assertMistake(
            LEAST.replace("enabled = true", "enabled = false"), 2, "listener[0]", "no service"
        )
        twice = LEAST[LEAST.index("[[") : LEAST.index("[domain")].replace(".1", ".2")
        self.assertMistake(LEAST + twice, 12, "listener[1].name", "name of its own")
        self.assertMistake(LEAST.replace('name = "public"\n', ""), 2, "listener[0].name", "missing")

    def test_tls_needed(self) -> None:
        """S-8: each service that needs TLS is refused without a certificate, unless waived."""
        bare = LEAST.replace("no_starttls = true\n", "")
        self.assertMistake(bare, 5, "listener[0].smtp", "certificate")
        for name, waiver in (("submission", "no_require_starttls = true\n"), ("submissions", "")):
            section = f"[listener.{name}]\nenabled = true\n"
            text = LEAST.replace("[domain", section + "[domain", 1)
            self.assertMistake(text, 8, f"listener[0].{name}", "certificate")
            if waiver:
                self.loaded(text.replace(section, section + waiver))

    def test_tls_contradictions(self) -> None:
        """Flags that exclude each other, and one that has no meaning."""
        text = LEAST.replace("no_starttls = true", "no_starttls = true\nrequire_starttls = true")
        self.assertMistake(text, 8, "listener[0].smtp.require_starttls", "contradicts")
        section = "[listener.submissions]\nno_require_starttls = true\n[domain"
        text = LEAST.replace("[domain", section, 1)
        self.assertMistake(text, 9, "listener[0].submissions.no_require_starttls", "no meaning")

    def test_ports_collide(self) -> None:
        """Two services, listeners or the HTTP server cannot share a socket."""
        section = "[listener.submission]\nenabled = true\nport = 25\nno_require_starttls = true\n"
        text = LEAST.replace("[domain", section + "[domain", 1)
        self.assertMistake(text, 10, "listener[0].submission.port", "port 25")
        other = LEAST[LEAST.index("[[") : LEAST.index("[domain")].replace("public", "other")
        self.assertMistake(LEAST + other, 13, "listener[1].addresses", "port 25")
        wild = other.replace("192.0.2.1", "0.0.0.0")
        self.assertMistake(LEAST + wild, 13, "listener[1].addresses", '"public"')
        self.loaded(LEAST + other.replace("192.0.2.1", "::"))
        self.assertMistake(
            LEAST + '[http]\naddresses = ["192.0.2.1"]\nport = 25\n', 13, "http.port", "port 25"
        )

    def test_domains(self) -> None:
        """Names are domains, each once; a separator is no letter."""
        self.assertMistake(LEAST + '[domain."a b"]\n', 11, 'domain."a b"', "not a domain")
        self.assertMistake(
            LEAST + '[domain."Example.ORG"]\n', 11, 'domain."Example.ORG"', "same domain"
        )
        text = LEAST + '[domain."x.example"]\nseparator = "a"\n'
        self.assertMistake(text, 12, 'domain."x.example".separator', "write")

    def test_account_names(self) -> None:
        """A name is a word and a folder: neither path nor option."""
        for name in ("../x", "-x", ".x", "a@b", "a b", "", "x" * 65, "a/b"):
            text = LEAST + f'[account."{name}"]\n'
            self.assertMistake(text, 11, key_name(("account", name)), "not an account name")
        self.loaded(LEAST + '[account."j\u00f6rg.b-1"]\n')

    def test_postmaster(self) -> None:
        """The postmaster is one of the accounts."""
        self.assertMistake('postmaster = "bob"\n' + LEAST, 1, "postmaster", '"bob"')

    def test_postmaster_that_is_wrong_otherwise(self) -> None:
        """An account with a mistake of its own is still the postmaster's."""
        text = 'postmaster = "bob"\n' + LEAST + "[account.bob]\nmailbox = 1\n"
        found = [key for _, key, _ in self.mistakes(text)]
        self.assertEqual(found, ["account.bob.mailbox"])

    def test_addresses(self) -> None:
        """An address is one, and in a domain that is configured."""
        self.assertMistake(
            LEAST.replace("alice@example.org", "alice"), 10, "account.alice.addresses[0]", "no addr"
        )
        self.assertMistake(
            LEAST.replace("alice@example.org", "a@x.example"), 10, "account.alice.addresses[0]",
            '[domain."x.example"]',
        )  # fmt: skip

    def test_separator_in_address(self) -> None:
        """I-111: an address with the separator in it could never be reached."""
        text = LEAST.replace('org"]\n[acc', 'org"]\nseparator = "+"\n[acc')
        text = text.replace("alice@", "a+b@")
        self.assertMistake(text, 11, "account.alice.addresses[0]", "separator")

    def test_addresses_collide(self) -> None:
        """I-111: the same address twice, in whatever spelling, is refused."""
        text = LEAST + '[account.bob]\naddresses = ["bob@example.org", "ALICE@Example.Org"]\n'
        self.assertMistake(text, 12, "account.bob.addresses[1]", "account.alice.addresses[0]")
        text = LEAST.replace('["alice@example.org"]', '["@example.org", "@example.org"]')
        self.assertMistake(text, 10, "account.alice.addresses[1]", "same address")
        strict = text.replace('["@example.org", "@', '["Alice@example.org", "alice@')
        self.loaded(strict.replace('org"]\n[acc', 'org"]\ncase_sensitive = true\n[acc'))

    def test_webhook_urls(self) -> None:
        """A webhook is called by http or https, at a name or an IPv4 address."""
        for url, word in {
            "ftp://example.com/": "https",
            "example.com/hook": "https",
            "https://": "host",
            "https://[2001:db8::1]/": "IPv6",
            "https://u:p@example.com/": "authorization",
            "https://example.com:99999/": "URL",
            "https://example.com:0/": "port",
            "https://exa mple.com/": "spaces",
            "https://[x/": "URL",
            "https://under_score.example/": '"under_score.example" is no host name',
            "https://a..example/": "hooks.example.org",
            "https://127.1/": "no host name",
            "http://localhost:8080/": "only localserve",
            "http://LOCALHOST./": "only localserve",
            "http://x.localhost/": "only localserve",
            "http://127.0.0.1/": "only localserve",
            "http://127.255.0.3:1/": "only localserve",
            "http://0.0.0.0/": "only localserve",
            "http://10.1.2.3/": 'allow_private = ["10.1.2.3/32"] in [webhooks]',
            "http://169.254.169.254/": "allow_private",
            "http://224.0.0.1/": "not public",
        }.items():
            text = LEAST + f'[account.alice.incoming_webhook]\nurl = "{url}"\n'
            self.assertMistake(text, 12, "account.alice.incoming_webhook.url", word)
        self.assertMistake(
            LEAST + "[account.alice.incoming_webhook]\n", 11,
            "account.alice.incoming_webhook.url", "missing",
        )  # fmt: skip
        self.assertMistake(
            LEAST + '[account.alice.incoming_webhook]\nurl = "http://x.example"\nevents = []\n',
            13, "account.alice.incoming_webhook.events", "unknown key",
        )  # fmt: skip

    def test_webhook_hosts(self) -> None:
        """Names in any script, public addresses and private ones that are allowed are good."""
        networks = '[webhooks]\nallow_private = ["10.0.0.0/8", "127.0.0.0/8"]\n'
        hook = '[account.alice.incoming_webhook]\nurl = "{}"\n'
        for host in ("b\u00fccher.example", "a.example.", "single", "198.41.0.4", "10.1.2.3"):
            self.loaded(LEAST + hook.format(f"http://{host}/") + networks)
        self.assertMistake(
            LEAST + hook.format("http://127.0.0.1/") + networks,
            12, "account.alice.incoming_webhook.url", "only localserve",
        )  # fmt: skip
        # Whether an address is allowed is not known while the networks have a mistake.
        text = LEAST + hook.format("http://10.1.2.3/") + '[webhooks]\nallow_private = ["x"]\n'
        self.assertMistake(text, 14, "webhooks.allow_private[0]", "")

    def test_header_injection(self) -> None:
        """An Authorization header cannot hold a line end."""
        text = LEAST + (
            '[account.alice.incoming_webhook]\nurl = "http://x.example"\n'
            'authorization = "a\\r\\nX: y"\n'
        )
        self.assertMistake(text, 13, "account.alice.incoming_webhook.authorization", "control")

    def test_maildir(self) -> None:
        """A Maildir is needed where mail is read in one; absolute; and nobody else's."""
        text = LEAST + 'mailbox = "maildir"\n'
        self.assertMistake(text, 9, "account.alice.maildir", "needs one")
        self.assertMistake(text + 'maildir = "x"\n', 12, "account.alice.maildir", "absolute")
        both = 'maildir = "/var/mail/all"\n' + text + '[account.bob]\nmailbox = "maildir"\n'
        self.assertMistake(both, 13, "account.bob.maildir", '"alice"')
        self.loaded(both.replace("/all", "/{account}"))

    def test_maildirs_of_two(self) -> None:
        """However it is written, a Maildir is one account's, and none is in another."""
        text = (
            LEAST
            + 'mailbox = "maildir"\nmaildir = "/mail/x"\n'
            + '[account.bob]\nmailbox = "maildir"\nmaildir = "%s"\n'
        )
        for path in ("/mail//x", "//mail/x", "/mail/./x/", "/mail/y/../x", "/MAIL/x"):
            self.assertMistake(text % path, 15, "account.bob.maildir", '"alice"; use')
        self.assertMistake(
            text % "/mail/x/.bob", 15, "account.bob.maildir", "in the Maildir of acc"
        )
        self.assertMistake(text % "/mail", 12, "account.alice.maildir", 'of account "bob"')
        for path in ("/mail/xy", "/mail/x.bob", "/mail/x/../y"):
            self.loaded(text % path)

    def test_maildir_mode(self) -> None:
        """Permission bits are written in octal, and the owner has all of his."""
        for mode in ("700", "0o1700", "0o070", "0o000"):
            found = self.mistakes(f"maildir_mode = {mode}\n" + LEAST)
            self.assertEqual([(1, "maildir_mode")], [m[:2] for m in found])
            self.assertIn("0o700", found[0][2])

    def test_store_url(self) -> None:
        """A database is PostgreSQL's or none."""
        text = LEAST + '[store]\nurl = "mysql://x/y"\n'
        self.assertMistake(text, 12, "store.url", "postgresql://")


class NamedFileTests(ConfigTestCase):
    """Files that the configuration names."""

    def tls(self, files: TLSSettings) -> str:
        section = f'[listener.tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n'
        return LEAST.replace("[domain", section + "[domain", 1)

    def test_relative(self) -> None:
        """Names start at the folder of the configuration file."""
        files = self.certificate()
        self.assertEqual(
            self.loaded(self.tls(TLSSettings("one.crt", "one.key"))).listeners[0].tls, files
        )

    def test_others(self) -> None:
        """Each certificate is read, its names start at the folder too, and mistakes name it."""
        one, two = self.certificate("one"), self.certificate("two")
        other = '[[listener.tls.other]]\ncertificate = "two.crt"\nkey = "two.key"\n'
        text = self.tls(one).replace("[domain", f"{other}[domain", 1)
        tls = self.loaded(text).listeners[0].tls
        assert tls is not None
        self.assertEqual(
            [TLSFiles(one.certificate, one.key), TLSFiles(two.certificate, two.key)],
            list(tls.pairs),
        )
        wrong = text.replace("two.key", "one.key")
        self.assertMistake(wrong, 13, "listener[0].tls.other[0].key", "not the key")

    def test_names_of_certificates(self) -> None:
        """Hosts are domains, perhaps with a wildcard in front; each that is none is told (S-5)."""
        section = self.tls(self.certificate())
        good = 'names = ["mx.example.org", "*.example.org", "b\u00fccher.example"]\n'
        self.loaded(section.replace("[domain", f"{good}[domain", 1))
        bad = 'names = ["mx.example.org", "*", "a.*.example", "192.0.2.1"]\n'
        found = self.mistakes(section.replace("[domain", f"{bad}[domain", 1))
        self.assertEqual(
            [f"listener[0].tls.names[{number}]" for number in (1, 2, 3)],
            [key for _, key, _ in found],
        )

    def test_words_of_tls(self) -> None:
        """Versions and what to do with unknown names are words, others are told (S-5, S-6)."""
        section = self.tls(self.certificate())
        for line, key in (("minimum_version = 1.2", "minimum_version"),
                          ('minimum_version = "1.4"', "minimum_version"),
                          ('sni = "loose"', "sni")):  # fmt: skip
            text = section.replace("[domain", f"{line}\n[domain", 1)
            self.assertMistake(text, 11, f"listener[0].tls.{key}", "write")
        text = section.replace("[domain", 'minimum_version = "1.3"\nsni = "strict"\n[domain', 1)
        tls = self.loaded(text).listeners[0].tls
        assert tls is not None
        self.assertEqual(("1.3", "strict"), (tls.minimum_version, tls.sni))

    def test_missing(self) -> None:
        """Both files are looked at."""
        found = self.mistakes(self.tls(TLSSettings("no.crt", "no.key")))
        self.assertEqual(
            [(line, key) for line, key, _ in found],
            [(9, "listener[0].tls.certificate"), (10, "listener[0].tls.key")],
        )

    def test_authorities(self) -> None:
        """The file of authorities is read, and its name starts at the folder too."""
        files = self.certificate()
        text = LEAST + '[outbound]\ncertificates = "{}"\nallow_private = ["10.0.0.0/8"]\n'
        outbound = self.loaded(text.format("one.crt")).outbound
        self.assertEqual(outbound.certificates, files.certificate)
        self.assertEqual(outbound.allow_private, (ip_network("10.0.0.0/8"),))
        self.assertEqual(self.loaded(LEAST).outbound.certificates, "")
        line = text[: text.index("certificates")].count("\n") + 1
        for name, word in (("no.crt", "cannot read"), ("one.key", "holds no PEM certificates")):
            self.assertMistake(text.format(name), line, "outbound.certificates", word)

    def test_missing_beside_others(self) -> None:
        """A missing file is reported together with mistakes of other kinds."""
        text = self.tls(TLSSettings("no.crt", "no.key")) + "[queue]\nx = 1\n"
        self.assertEqual(len(self.mistakes(text)), 3)

    def test_half_a_pair(self) -> None:
        """A certificate without key is told once, and not as a lack of TLS."""
        text = self.tls(TLSSettings("one.crt", "one.key")).replace('key = "one.key"\n', "")
        text = text.replace("no_starttls = true\n", "")
        self.assertMistake(text, 7, "listener[0].tls.key", "missing")

    def test_not_matching(self) -> None:
        """A key of another certificate is refused."""
        one, two = self.certificate("one"), self.certificate("two")
        text = self.tls(TLSSettings(one.certificate, two.key))
        self.assertMistake(text, 10, "listener[0].tls.key", "not the key")

    def test_swapped(self) -> None:
        """Certificate and key in each other's place."""
        files = self.certificate()
        found = self.mistakes(self.tls(TLSSettings(files.key, files.certificate)))
        self.assertEqual(
            [key for _, key, _ in found], ["listener[0].tls.certificate", "listener[0].tls.key"]
        )

    def test_pass_phrase(self) -> None:
        """Nobody is there to type a pass phrase."""
        files = self.certificate()
        key = ec.generate_private_key(ec.SECP256R1())
        Path(files.key).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"x"),
            )
        )
        self.assertMistake(self.tls(files), 10, "listener[0].tls.key", "pass phrase")

    def test_damaged(self) -> None:
        """An RSA key whose parts do not belong together is refused, not served with."""
        files = self.certificate()
        good = rsa.generate_private_key(65537, 2048).private_numbers()
        damaged = rsa.RSAPrivateNumbers(
            good.p, good.q, good.d + 2, good.dmp1 + 2, good.dmq1, good.iqmp, good.public_numbers
        ).private_key(unsafe_skip_rsa_key_validation=True)
        Path(files.key).write_bytes(
            damaged.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.assertMistake(self.tls(files), 10, "listener[0].tls.key", "damaged")

    def hook(self, extra: str) -> str:
        return LEAST + f'[account.alice.incoming_webhook]\nurl = "http://x.example"\n{extra}\n'

    def test_authorization_file(self) -> None:
        """It is there, holds a header value, and is the only source."""
        at = "account.alice.incoming_webhook.authorization_file"
        self.assertMistake(self.hook('authorization_file = "no"'), 13, at, "No such file")
        (self.folder / "bad").write_bytes(b"\xff\n")
        self.assertMistake(self.hook('authorization_file = "bad"'), 13, at, "ASCII")
        (self.folder / "empty").write_bytes(b"\n")
        self.assertMistake(self.hook('authorization_file = "empty"'), 13, at, "header value")
        both = self.hook('authorization = "x"\nauthorization_file = "no"')
        self.assertMistake(both, 14, at, "keep one")

    def test_readable_secret(self) -> None:
        """A secret that others may read is a warning; the configuration can be used."""
        secret = self.folder / "secret"
        secret.write_text("Basic x\n")
        warnings: list[Mistake] = []
        for mode, count in ((0o600, 0), (0o640, 1), (0o604, 2)):
            secret.chmod(mode)
            load(self.write(self.hook('authorization_file = "secret"')), warnings.append)
            self.assertEqual(len(warnings), count)
        self.assertEqual(warnings[0].line, 13)


class DirectoryTests(ConfigTestCase):
    """Where data lives."""

    def test_defaults(self) -> None:
        """A folder of its own in the user's data directory, on macOS in Apple's."""
        cases = {
            ("linux", ""): "/home/u/.local/share/moxsmtp",
            ("linux", "/data"): "/data/moxsmtp",
            ("linux", "relative"): "/home/u/.local/share/moxsmtp",
            ("darwin", "/data"): "/home/u/Library/Application Support/moxsmtp",
        }
        found = {
            (platform, xdg): default_data_directory(
                {"HOME": "/home/u", "XDG_DATA_HOME": xdg}, platform
            )
            for platform, xdg in cases
        }
        self.assertEqual(found, cases)

    def test_localserve(self) -> None:
        """Trials never meet real mail."""
        environment = {"HOME": "/home/u"}
        self.assertNotEqual(
            localserve_directory(environment, "linux"),
            default_data_directory(environment, "linux"),
        )

    def test_default_in_settings(self) -> None:
        """Without data_directory it is the user's."""
        self.patch(os, "environ", {"HOME": "/home/u"})
        self.assertTrue(self.loaded(LEAST).data_directory.startswith("/home/u/"))

    def test_of_a_wrong_file(self) -> None:
        """The data folder is found in a file that has mistakes otherwise."""
        path = self.write('data_directory = "data"\nhostname = 5\n')
        self.assertEqual(data_directory(path), str(self.folder / "data"))
        self.assertRaises(ConfigError, data_directory, self.write("= ="))
