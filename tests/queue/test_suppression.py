"""Which failures suppress an address, and how it is spelled."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import parse_domain, parse_host
from moxsmtp.queue.suppression import base_address, is_about_us, refuses_address
from moxsmtp.smtp.address import Path, parse_mailbox

DOMAIN = parse_domain("x.example")


class BaseAddressTests(SynchronousTestCase):
    """One spelling for one mailbox."""

    def test_table(self) -> None:
        """Q-29: cut at the first plus, then at the first hyphen, without dots, lower case."""
        expected = {
            "A.b-c+d": "ab",
            "a": "a",
            "Ann.Other": "annother",
            "ann+list-x.y": "ann",
            "ann-list+x": "ann",
            "a..b": "ab",
            "J\u00dcRGEN+x": "j\u00fcrgen",
        }
        self.assertEqual(
            {text: base_address(Path(text, DOMAIN)) for text in expected},
            {text: f"{base}@x.example" for text, base in expected.items()},
        )

    def test_nothing_left(self) -> None:
        """Q-29: an address of which nothing would be left stands for itself alone."""
        for text in ("+x", "-x", "+", "-+", "-.+x"):
            path = Path(text, DOMAIN)
            self.assertEqual(base_address(path), path.unicode)
        self.assertNotEqual(base_address(Path("+x", DOMAIN)), base_address(Path("+y", DOMAIN)))

    def test_domain(self) -> None:
        """Q-29: the domain is in Unicode; a literal is itself."""
        self.assertEqual(
            base_address(Path("a+b", parse_domain("xn--bcher-kva.example"))),
            "a@b\u00fccher.example",
        )
        self.assertEqual(base_address(Path("a+b", parse_host("[192.0.2.1]"))), "a@[192.0.2.1]")

    @given(st.text(min_size=1, max_size=20))
    @settings(max_examples=200, deadline=None)
    def test_any_local_part(self, text: str) -> None:
        """A base always has a local-part, and is that of every address that ends in more."""
        base = base_address(Path(text, DOMAIN))
        self.assertGreater(len(base), len("@x.example"))
        if not text.startswith(("+", "-", ".")) and "+" not in text:
            self.assertEqual(base_address(Path(f"{text}+more", DOMAIN)), base)

    @given(st.from_regex(r"[A-Za-z0-9]{1,5}([.+-][A-Za-z0-9]{1,5}){0,3}", fullmatch=True))
    @settings(max_examples=200, deadline=None)
    def test_again(self, text: str) -> None:
        """A base is its own base."""
        base = base_address(Path(text, DOMAIN))
        self.assertEqual(base_address(parse_mailbox(base)), base)


class RefusalTests(SynchronousTestCase):
    """What a remote says."""

    def test_codes(self) -> None:
        """Q-31: 521, 550, 551, 553 and 556 suppress, whatever stands behind them."""
        found = {code for code in range(200, 600) if refuses_address(code, "0.0")}
        self.assertEqual(found, {521, 550, 551, 553, 556})

    def test_statuses(self) -> None:
        """Q-31: so does any 5xx with one of six details; no 4xx does, nor no code at all."""
        statuses = [f"{subject}.{detail}" for subject in range(8) for detail in range(30)]
        found = {status for status in statuses if refuses_address(554, status)}
        self.assertEqual(found, {"1.1", "1.2", "1.3", "1.6", "2.1", "7.1"})
        for code in (0, 250, 421, 450, 499):
            self.assertFalse(any(refuses_address(code, status) for status in statuses))

    def test_login(self) -> None:
        """Q-31: what is said to a login of ours says nothing of the recipient (RFC 4954)."""
        self.assertTrue(all(map(is_about_us, (432, 454, 530, 534, 535, 538))))
        self.assertFalse(any(map(is_about_us, (0, 450, 550, 554))))
