"""Domains and address literals."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.names import (
    AddressLiteral,
    Domain,
    InvalidName,
    parse_address_literal,
    parse_domain,
    parse_host,
)


class DomainTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.1.2, RFC 5890."""

    def test_spellings(self) -> None:
        """Upper case, U-labels and A-labels of one name are one domain (S-103)."""
        expected = {
            "Example.ORG": "example.org",
            "xn--bcher-kva.example": "xn--bcher-kva.example",
            "XN--Bcher-KVA.Example": "xn--bcher-kva.example",
            "bücher.example": "xn--bcher-kva.example",
            "BÜCHER.example": "xn--bcher-kva.example",
            "bu\u0308cher.example": "xn--bcher-kva.example",
            "faß.example": "xn--fa-hia.example",
            "例え.テスト": "xn--r8jz45g.xn--zckzah",
            "localhost": "localhost",
            "1.example": "1.example",
            "a-b.c--d.example": "a-b.c--d.example",
        }
        self.assertEqual({text: parse_domain(text).ascii for text in expected}, expected)

    def test_unicode(self) -> None:
        """A domain is read by people as U-labels."""
        self.assertEqual(parse_domain("xn--bcher-kva.example").unicode, "bücher.example")
        self.assertEqual(str(parse_domain("plain.example")), "plain.example")

    def test_no_domains(self) -> None:
        """Underscores, final dots, bare addresses, empty and long labels are none (S-103)."""
        wrong = [
            "", ".", "example.org.", ".example.org", "a..b", "a_b.example", "-a.example",
            "192.0.2.1", "1.2", "::1", "[192.0.2.1]", "a b.example", "a\tb", "a\0b", "a@b",
            "x" * 64 + ".example", ".".join(["x" * 63] * 4), "xn--.example", "xn--a.example",
            "a\r\n.example", "\uff41\u3002", "\ud800.example",
        ]  # fmt: skip
        for text in wrong:
            with self.assertRaises(InvalidName, msg=text):
                parse_domain(text)

    def test_longest(self) -> None:
        """253 octets are a domain: what RFC 1035 can carry (S-103)."""
        longest = ".".join(["x" * 63] * 3 + ["y" * 61])
        self.assertEqual(parse_domain(longest), Domain(longest))
        self.assertRaises(InvalidName, parse_domain, longest + "y")

    def test_long_labels(self) -> None:
        """
        A label that is too long is refused before the rules of IDNA look at it, some
        of which take time with its square; how it is spelt is no matter.
        """
        digits = "\u06f0" * 64
        for label in (digits, "e\u0301" * 64, f"xn--{'a' * 60}", "\u00bd" * 22):
            with self.assertRaisesRegex(InvalidName, "a label is too long"):
                parse_domain(f"{label}.example")
        hangul = "\u1112\u1161\u11ab" * 23  # of 69 characters that become 23
        self.assertEqual(parse_domain(f"{hangul}.example"), parse_domain(f"{'한' * 23}.example"))

    @settings(deadline=None, max_examples=80)
    @given(st.text(max_size=80))
    def test_any_text(self, text: str) -> None:
        """What is read is a fixed point of reading; all else is refused, never a crash."""
        try:
            domain = parse_domain(text)
        except InvalidName:
            return
        self.assertTrue(domain.ascii.isascii())
        self.assertEqual(parse_domain(domain.ascii), domain)


class AddressLiteralTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.1.3."""

    def test_literals(self) -> None:
        """IPv4 bare, IPv6 with its tag in any case (S-106)."""
        expected = {
            "[192.0.2.1]": IPv4Address("192.0.2.1"),
            "[IPv6:2001:db8::1]": IPv6Address("2001:db8::1"),
            "[ipv6:::1]": IPv6Address("::1"),
        }
        self.assertEqual({text: parse_address_literal(text).address for text in expected}, expected)

    def test_written(self) -> None:
        """A literal is written as it is read."""
        for text in ("[192.0.2.1]", "[IPv6:2001:db8::1]"):
            self.assertEqual(parse_address_literal(text).ascii, text)

    def test_no_literals(self) -> None:
        """Untagged IPv6, tagged IPv4, mapped ones, zones and open brackets are none (S-106)."""
        wrong = [
            "[2001:db8::1]", "[IPv6:192.0.2.1]", "[IPv6:::ffff:192.0.2.1]", "[IPv6:fe80::1%eth0]",
            "[192.0.2.1", "192.0.2.1]", "192.0.2.1", "[192.0.2]", "[192.0.2.256]", "[192.0.2.01]",
            "[ 192.0.2.1]", "[192.0.2.1]\n", "[]", "[IPv6:]", "[tag:x]", "[\u0661.0.2.1]",
            "[IPv6:1:2:3:4:5:6:7:8:9]",
        ]  # fmt: skip
        for text in wrong:
            with self.assertRaises(InvalidName, msg=text):
                parse_address_literal(text)

    def test_host(self) -> None:
        """Behind an at sign a bracket begins a literal, all else is a domain."""
        self.assertEqual(parse_host("[192.0.2.1]"), AddressLiteral(IPv4Address("192.0.2.1")))
        self.assertEqual(parse_host("a.example"), Domain("a.example"))
