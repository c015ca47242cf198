"""C{[transport.NAME]} and C{[[route]]}, and all that can be wrong with them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from moxsmtp.config.load import load
from moxsmtp.config.mistakes import Mistake
from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.outbound.route import NO_ROUTING, Routing
from moxsmtp.outbound.transport import (
    DEFAULT_MECHANISMS,
    Direct,
    Fail,
    Families,
    Route,
    Smarthost,
    SmarthostTLS,
    Socks,
)
from tests.config.test_load import LEAST, ConfigTestCase

RELAY = '[transport.relay]\nkind = "smarthost"\nhost = "smtp.example.net"\n'
LOGIN = 'username = "u"\npassword = "p"\n'
PROXY = (
    '[transport.proxy]\nkind = "socks"\nhost = "192.0.2.9"\nremote_hostname = "mx.example.net"\n'
)
FAIL = '[transport.stop]\nkind = "fail"\n'


class RoutingTestCase(ConfigTestCase):
    """Files that begin with the least that there can be; transports start at line 11."""

    def routing(self, text: str) -> Routing:
        return self.loaded(LEAST + text).routing

    def assertWrong(self, text: str, line: int, key: str, word: str) -> None:
        """C{text} behind the least has this mistake alone."""
        self.assertMistake(LEAST + text, line, key, word)


class TransportTests(RoutingTestCase):
    """Ways out."""

    def test_none(self) -> None:
        """By default there are none."""
        self.assertEqual(NO_ROUTING, self.routing(""))

    def test_smarthost(self) -> None:
        """STARTTLS at port 587 without a login, unless said otherwise (Q-43)."""
        host = parse_domain("smtp.example.net")
        self.assertEqual(
            {"relay": Smarthost("relay", host, 587, SmarthostTLS.STARTTLS, "", "",
                                DEFAULT_MECHANISMS)},
            self.routing(RELAY).transports,
        )  # fmt: skip
        text = RELAY + 'tls = "immediate"\nmechanisms = ["plain", "CRAM-MD5"]\n' + LOGIN
        self.assertEqual(
            {"relay": Smarthost("relay", host, 465, SmarthostTLS.IMMEDIATE, "u", "p",
                                ("PLAIN", "CRAM-MD5"))},
            self.routing(text).transports,
        )  # fmt: skip

    def test_hosts(self) -> None:
        """A name, also in Unicode, or an address, with brackets or without."""
        for written, host in (
            ("Bücher.example", parse_domain("xn--bcher-kva.example")),
            ("192.0.2.1", AddressLiteral(ip_address("192.0.2.1"))),
            ("[192.0.2.1]", AddressLiteral(ip_address("192.0.2.1"))),
            ("2001:db8::1", AddressLiteral(ip_address("2001:db8::1"))),
        ):
            found = self.routing(RELAY.replace("smtp.example.net", written)).transports["relay"]
            assert isinstance(found, Smarthost)
            self.assertEqual(host, found.host)

    def test_others(self) -> None:
        """Proxy, one family of addresses, and failing (Q-43)."""
        text = PROXY + 'port = 9\nremote_addresses = ["2001:db8::1", "192.0.2.7"]\n' + FAIL
        text += 'code = 450\nmessage = "not today"\n[transport.six]\nkind = "direct"\n'
        text += 'families = "ipv6"\n'
        self.assertEqual(
            {
                "proxy": Socks("proxy", AddressLiteral(ip_address("192.0.2.9")), 9,
                               parse_domain("mx.example.net"), (ip_address("192.0.2.7"),),
                               (ip_address("2001:db8::1"),)),
                "stop": Fail("stop", 450, "not today"),
                "six": Direct("six", Families.IPV6),
            },
            self.routing(text).transports,
        )  # fmt: skip
        usual = self.routing(PROXY + FAIL).transports
        proxy = usual["proxy"]
        assert isinstance(proxy, Socks)
        self.assertEqual((1080, Fail("stop", 554, "")), (proxy.port, usual["stop"]))

    def test_values(self) -> None:
        """What is wrong is told with its line and its key, and what would be right."""
        for text, line, key, word in (
            (RELAY.replace("smarthost", "mx"), 12, "relay.kind", "smarthost"),
            ('[transport.relay]\nhost = "x"\n', 11, "relay.kind", "missing"),
            (RELAY.replace("smtp.example.net", ""), 13, "relay.host", "missing"),
            (RELAY.replace('host = "smtp.example.net"\n', ""), 11, "relay.host", "missing"),
            (RELAY.replace("smtp.example.net", "a b"), 13, "relay.host", "smtp.example.net"),
            (RELAY + "port = 0\n", 14, "relay.port", "65535"),
            (RELAY + 'tls = "yes"\n', 14, "relay.tls", "starttls-unverified"),
            (RELAY + 'username = "u"\n', 14, "relay.username", "password_file"),
            (RELAY + 'password = "p"\n', 11, "relay.username", "missing"),
            (RELAY + LOGIN + 'password_file = "x"\n', 16, "relay.password_file", "as well"),
            (RELAY + "mechanisms = []\n", 14, "relay.mechanisms", "empty"),
            (RELAY + 'mechanisms = ["PLAIN", "LOGIN"]\n', 14, "relay.mechanisms[1]", "known are"),
            (RELAY + 'tls = "none"\nmechanisms = ["SCRAM-SHA-1-PLUS"]\n', 15, "relay.mechanisms",
             "no"),
            (PROXY.replace("mx.example.net", "a b"), 14, "proxy.remote_hostname", "not a domain"),
            (FAIL + "code = 399\n", 13, "stop.code", "400 and 599"),
            (FAIL + "code = 600\n", 13, "stop.code", "400 and 599"),
            (FAIL + 'message = "é"\n', 13, "stop.message", "ASCII"),
            (FAIL + f'message = "{"x" * 257}"\n', 13, "stop.message", "256"),
            ('[transport."a b"]\nkind = "direct"\n', 11, '"a b"', "letters"),
            (RELAY + 'hots = "x"\n', 14, "relay.hots", "host"),
        ):  # fmt: skip
            self.assertWrong(text, line, f"transport.{key}", word)
        self.routing(FAIL + f'message = "{"x" * 256}"\n')

    def test_remote_hostname(self) -> None:
        """A proxy is somewhere."""
        text = PROXY.replace('remote_hostname = "mx.example.net"\n', "")
        self.assertWrong(text, 11, "transport.proxy.remote_hostname", "missing")

    def test_keys_of_others(self) -> None:
        """A key that this kind does not obey is not passed over in silence."""
        for text, key in (
            (FAIL + 'host = "x.example"\n', "stop.host"),
            (RELAY.replace('"smarthost"', '"direct"'), "relay.host"),
            (FAIL + 'families = "ipv4"\n', "stop.families"),
        ):
            self.assertWrong(text, 13, f"transport.{key}", "does not obey")


class SecretTests(RoutingTestCase):
    """Passwords in files."""

    def setUp(self) -> None:
        super().setUp()
        self.warnings: list[Mistake] = []
        self.text = LEAST + RELAY + 'username = "u"\npassword_file = "secret"\n'

    def put(self, octets: bytes, mode: int) -> Path:
        path = self.folder / "secret"
        path.write_bytes(octets)
        path.chmod(mode)
        return path

    def load(self, text: str) -> Smarthost:
        found = load(self.write(text), self.warnings.append).routing.transports["relay"]
        assert isinstance(found, Smarthost)
        return found

    def test_file(self) -> None:
        """The first line, whatever characters it has, relative to the configuration."""
        self.put("pass wörd \nmore\n".encode(), 0o600)
        self.assertEqual("pass wörd", self.load(self.text).password)
        self.assertEqual([], self.warnings)

    def test_readers(self) -> None:
        """A warning if others may read it."""
        self.put(b"x\n", 0o640)
        self.load(self.text)
        self.assertEqual([15], [warning.line for warning in self.warnings])
        self.assertIn("chmod 600", self.warnings[0].text)

    def test_unusable(self) -> None:
        """No file, an empty one, and no text."""
        key = "transport.relay.password_file"
        self.assertMistake(self.text, 15, key, "cannot read")
        for octets in (b"", b"\n", b"\xff\n", b"a\0b\n"):
            self.put(octets, 0o600)
            self.assertMistake(self.text, 15, key, "no password")

    def test_hidden(self) -> None:
        """Whoever prints settings does not print the password."""
        self.put(b"hunter2\n", 0o600)
        self.assertNotIn("hunter2", repr(load(self.write(self.text))))

    def test_plain(self) -> None:
        """A warning where PLAIN would show the password to others (Q-44)."""
        for tls, count in (("starttls", 0), ("immediate", 0), ("starttls-unverified", 1),
                           ("none", 1)):  # fmt: skip
            self.warnings = []
            text = f'{LEAST}{RELAY}{LOGIN}tls = "{tls}"\nmechanisms = ["PLAIN"]\n'
            self.load(text)
            self.assertEqual(count, len(self.warnings), tls)


class RouteTests(RoutingTestCase):
    """Who takes which way."""

    def test_levels(self) -> None:
        """Of the server, of a domain and of an account, in the order of the file (Q-43)."""
        text = RELAY + FAIL + '[[route]]\ntransport = "stop"\nto_domains = [".Bücher.example"]\n'
        text += 'from_domains = [".", "example.org"]\nminimum_attempts = 2\n'
        text += '[[route]]\ntransport = "relay"\n'
        text += '[[domain."example.org".route]]\ntransport = "relay"\nminimum_attempts = 0\n'
        text += '[[account.alice.route]]\ntransport = "stop"\n'
        found = self.routing(text)
        first = Route((".", "example.org"), (".xn--bcher-kva.example",), 2, "stop")
        self.assertEqual((first, Route((), (), 0, "relay")), found.routes)
        self.assertEqual(
            {parse_domain("example.org"): (Route((), (), 0, "relay"),)}, found.of_domains
        )
        self.assertEqual({"alice": (Route((), (), 0, "stop"),)}, found.of_accounts)

    def test_folder(self) -> None:
        """Files of a folder add their routes one after the other."""
        self.write(LEAST + RELAY + '[[route]]\ntransport = "relay"\n', "a.toml")
        self.write('[[route]]\ntransport = "stop"\n' + FAIL, "b.toml")
        found = load(self.folder).routing.routes
        self.assertEqual(["relay", "stop"], [route.transport for route in found])

    def test_mistakes(self) -> None:
        """Unknown transports, patterns that are none, and negative attempts."""
        for table, key in (
            ("[[route]]", "route[0]"),
            ('[[domain."example.org".route]]', 'domain."example.org".route[0]'),
            ("[[account.alice.route]]", "account.alice.route[0]"),
        ):
            start = f'{RELAY}{table}\ntransport = "relay"\n'
            for old, new, line, name, word in (
                ('"relay"\n', '"relais"\n', 15, "transport", "relay"),
                ('transport = "relay"\n', "", 14, "transport", "missing"),
                ("\n", '\nto_domains = ["a b"]\n', 16, "to_domains[0]", "example.org"),
                ("\n", '\nfrom_domains = ["a.example", ".."]\n', 16, "from_domains[1]", "not a"),
                ("\n", '\nto_domains = [""]\n', 16, "to_domains[0]", "not a"),
                ("\n", "\nminimum_attempts = -1\n", 16, "minimum_attempts", "between 0"),
            ):
                head, found, tail = start.rpartition(old)
                assert found
                self.assertWrong(head + new + tail, line, f"{key}.{name}", word)

    def test_blame(self) -> None:
        """A route is not blamed for a transport that cannot be read."""
        self.assertWrong(
            RELAY.replace("smarthost", "x") + '[[route]]\ntransport = "relay"\n',
            12, "transport.relay.kind", "smarthost",
        )  # fmt: skip


class DisabledTests(RoutingTestCase):
    """C{disabled} of a domain."""

    def test_disabled(self) -> None:
        """The domain's mail stays, and nobody else's (Q-14)."""
        text = LEAST.replace('[domain."example.org"]', '[domain."example.org"]\ndisabled = true')
        found = self.loaded(text)
        domain = parse_domain("example.org")
        self.assertEqual(frozenset({domain}), found.routing.disabled)
        self.assertTrue(found.domains[domain].disabled)
        self.assertFalse(self.loaded(LEAST).domains[domain].disabled)
