"""C{[[relay]]}: what is taken, and what would be an open relay."""

from __future__ import annotations

from ipaddress import ip_network

from moxsmtp.config import ConfigError
from moxsmtp.config.load import load
from moxsmtp.names import parse_domain
from moxsmtp.receive.relay_settings import RelaySettings
from tests.config.test_load import LEAST, ConfigTestCase

RELAY = '[[relay]]\nname = "printers"\nnetworks = ["10.1.0.0/16"]\n'


class RelayTests(ConfigTestCase):
    """Networks that may send to anybody."""

    def test_none(self) -> None:
        """By default nobody may."""
        self.assertEqual((), self.loaded(LEAST).relays)

    def test_loaded(self) -> None:
        """All that can be said of one; several keep their order."""
        text = LEAST + RELAY + 'from_domains = ["Example.org"]\naccount = "alice"\n'
        text += "max_messages_per_hour = 0\npublic = true\n" + RELAY.replace("printers", "other")
        self.assertEqual(
            (
                RelaySettings(
                    name="printers",
                    networks=(ip_network("10.1.0.0/16"),),
                    from_domains=(parse_domain("example.org"),),
                    account="alice",
                    max_messages_per_hour=0,
                    public=True,
                ),
                RelaySettings(name="other", networks=(ip_network("10.1.0.0/16"),)),
            ),
            self.loaded(text).relays,
        )

    def test_open(self) -> None:
        """Networks of everybody are refused, unless a word of its own says so."""
        for network in ("0.0.0.0/0", "::/0", "128.0.0.0/1", "8.0.0.0/8", "2000::/3", "2001::/16"):
            text = LEAST + RELAY.replace("10.1.0.0/16", network)
            self.assertMistake(text, 13, "relay[0].networks[0]", "spam")
            self.loaded(text + "public = true\n")

    def test_own(self) -> None:
        """Private networks, and public ones that somebody may have, are taken."""
        for network in ("10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "fc00::/7", "198.18.0.0/15",
                        "9.1.0.0/16", "2a00:1::/32", "192.0.2.1/32"):  # fmt: skip
            self.loaded(LEAST + RELAY.replace("10.1.0.0/16", network))

    def test_mistakes(self) -> None:
        """Names, networks and accounts are there; names are unique."""
        for old, new, line, key, word in (
            ('"printers"', '" "', 12, "name", "is empty"),
            ('["10.1.0.0/16"]', "[]", 13, "networks", "is empty"),
            ("10.1.0.0/16", "10.1.0.1/16", 13, "networks[0]", "10.1.0.0/16"),
            ("10.1.0.0/16", "inside", 13, "networks[0]", "not a network"),
            ('name = "printers"\n', "", 11, "name", "missing"),
            ('networks = ["10.1.0.0/16"]\n', "", 11, "networks", "missing"),
        ):
            text = LEAST + RELAY.replace(old, new)
            self.assertMistake(text, line, f"relay[0].{key}", word)
        self.assertMistake(
            LEAST + RELAY + 'account = "bob"\n', 14, "relay[0].account", "no account"
        )
        self.assertMistake(LEAST + RELAY + RELAY, 15, "relay[1].name", "another")
        self.assertMistake(
            LEAST + RELAY + 'from_domains = ["a b"]\n', 14, "relay[0].from_domains[0]", "domain"
        )
        self.assertMistake(LEAST + "[relay]\n", 11, "relay", "[[relay]]")

    def test_no_port(self) -> None:
        """Without a port for it, relaying has no use."""
        text = LEAST.replace("[listener.smtp]", "[listener.submission]")
        text = text.replace("no_starttls", "no_require_starttls") + RELAY
        self.assertMistake(text, 11, "relay[0]", "no use")

    def test_folder(self) -> None:
        """Files of a folder each add their own, and a mistake names the right one."""
        self.write(LEAST + RELAY, "a.toml")
        self.write(RELAY, "b.toml")
        error = self.assertRaises(ConfigError, load, self.folder)
        self.assertEqual(
            [(str(self.folder / "b.toml"), 2, "relay[1].name")],
            [(mistake.file, mistake.line, mistake.key) for mistake in error.mistakes],
        )
