"""The machine's resolvers."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.dns.system import Trust, believes_ad, parse_resolv_conf, trust, upstreams


def at(*addresses: str, trust_ad: bool = False) -> tuple[Upstream, ...]:
    """Servers at these addresses."""
    return tuple(Upstream(address=ip_address(a), trust_ad=trust_ad) for a in addresses)


class ResolvConfTests(SynchronousTestCase):
    """resolv.conf(5)."""

    def test_texts(self) -> None:
        """Servers in order, three at most; comments and nonsense are passed over."""
        expected = {
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\n": at("192.0.2.1", "2001:db8::1"),
            "# nameserver 192.0.2.9\n;nameserver 192.0.2.9\n\tnameserver\t192.0.2.1": at(
                "192.0.2.1"
            ),
            "nameserver\nnameserver host.example\nsearch a.example\nnameserver 192.0.2.1": at(
                "192.0.2.1"
            ),
            "": (),
            "".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 6)): at(
                "192.0.2.1", "192.0.2.2", "192.0.2.3"
            ),
        }
        self.assertEqual({text: parse_resolv_conf(text) for text in expected}, expected)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.one_of(st.sampled_from(["nameserver", "options", " ", "\n", "#"]), st.text()))
    )
    def test_anything(self, words: list[str]) -> None:
        """Any text names three servers at most, and does nothing else."""
        for text in (" ".join(words), "".join(words)):
            self.assertLessEqual(len(parse_resolv_conf(text)), 3)

    def test_trust_ad(self) -> None:
        """The option is believed, save for forwarders on loopback: they write it too (Q-48)."""
        self.assertEqual(
            parse_resolv_conf("options trust-ad\nnameserver 192.0.2.1\nnameserver 127.0.0.53"),
            (*at("192.0.2.1", trust_ad=True), *at("127.0.0.53")),
        )

    def test_believes_ad(self) -> None:
        """AD is believed from loopback, from no forwarder there, and where so configured (Q-48)."""
        expected = {
            "127.0.0.1": True, "127.0.0.2": True, "::1": True,
            "127.0.0.53": False, "127.0.0.11": False, "192.0.2.1": False, "2001:db8::1": False,
        }  # fmt: skip
        self.assertEqual({a: believes_ad(at(a)[0]) for a in expected}, expected)
        self.assertTrue(all(believes_ad(at(a, trust_ad=True)[0]) for a in expected))

    def test_trust(self) -> None:
        """Why a server is believed or not is told by what it is (Q-48)."""
        expected = {
            "127.0.0.1": Trust.LOOPBACK, "::1": Trust.LOOPBACK, "127.0.0.53": Trust.FORWARDER,
            "127.0.0.11": Trust.FORWARDER, "192.0.2.1": Trust.ELSEWHERE,
        }  # fmt: skip
        self.assertEqual({a: trust(at(a)[0]) for a in expected}, expected)
        self.assertEqual({trust(at(a, trust_ad=True)[0]) for a in expected}, {Trust.CONFIGURED})

    def test_configured(self) -> None:
        """
        Configured servers replace those of the machine; a file that is missing or
        names none means this machine.
        """
        empty = Path(self.mktemp())
        empty.write_text("search example\n")
        path = Path(self.mktemp())
        path.write_text("nameserver 192.0.2.1\n")
        servers = at("192.0.2.9")
        self.assertEqual(
            [
                upstreams(ResolverSettings(servers=servers), str(path)),
                upstreams(ResolverSettings(), str(path)),
                upstreams(ResolverSettings(), str(path) + "-missing"),
                upstreams(ResolverSettings(), str(empty)),
            ],
            [servers, at("192.0.2.1"), at("127.0.0.1"), at("127.0.0.1")],
        )
