"""The DKIM-Signature field, read."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.dkim.signature import (
    Claim,
    InvalidSignature,
    parse_claim,
    parse_selector,
    parse_signature,
)
from moxsmtp.names import parse_domain

#: A signature in its syntax.
TAGS = {
    b"v": b"1",
    b"a": b"rsa-sha256",
    b"d": b"example.org",
    b"s": b"sel",
    b"h": b"from",
    b"bh": base64.b64encode(b"x" * 32),
    b"b": b"AAAA",
}


def with_tag(name: str, value: str | bytes) -> dict[bytes, bytes]:
    """L{TAGS} with one more, or another."""
    return {**TAGS, name.encode(): value.encode() if isinstance(value, str) else value}


def is_valid(tags: dict[bytes, bytes]) -> bool:
    """Whether it is a signature."""
    try:
        parse_signature(tags)
    except InvalidSignature:
        return False
    return True


class SignatureTests(unittest.SynchronousTestCase):
    """RFC 6376 section 3.5."""

    def assertTag(self, name: str, values: dict[str, bool]) -> None:
        """Which values of a tag a signature may have."""
        self.assertEqual({value: is_valid(with_tag(name, value)) for value in values}, values)

    def test_least(self) -> None:
        """Seven tags are enough; the others have their defaults."""
        signature = parse_signature(TAGS)
        self.assertEqual(signature.key_name, "sel._domainkey.example.org")
        self.assertEqual((signature.header_relaxed, signature.body_relaxed), (False, False))
        self.assertEqual((signature.limit, signature.expires), (None, None))
        self.assertEqual(signature.identity_domain, parse_domain("example.org"))
        self.assertEqual(signature.key_type, "rsa")

    def test_needed(self) -> None:
        """Without any of the seven it is none."""
        self.assertTrue(is_valid(TAGS))
        for name in TAGS:
            self.assertFalse(is_valid({key: TAGS[key] for key in TAGS if key != name}), name)

    def test_unknown_tags(self) -> None:
        """Other tags are passed over."""
        self.assertTrue(is_valid(with_tag("zz", "?") | with_tag("z", "From:foo|To:bar")))

    def test_version(self) -> None:
        """Version 1, and no other way to write it."""
        self.assertTag("v", {"1": True, "1.0": False, "2": False, "": False, "01": False})

    def test_algorithm(self) -> None:
        """SHA-256 with RSA or Ed25519; rsa-sha1 is refused (RFC 8301 section 3.1)."""
        self.assertTag(
            "a",
            {
                "rsa-sha256": True,
                "RSA-SHA256": True,
                "ed25519-sha256": True,
                "rsa-sha1": False,
                "rsa-sha512": False,
                "ed25519-sha1": False,
                "rsa sha256": False,
                "": False,
                "\u0131": False,
            },
        )

    def test_canonicalization(self) -> None:
        """One or two known words; the body is simple where nothing is said."""
        values = {
            "simple": (False, False),
            "relaxed": (True, False),
            "relaxed/relaxed": (True, True),
            "simple/relaxed": (False, True),
            "Relaxed/Simple": (True, False),
        }
        found = {}
        for value in values:
            signature = parse_signature(with_tag("c", value))
            found[value] = (signature.header_relaxed, signature.body_relaxed)
        self.assertEqual(found, values)
        self.assertTag(
            "c", {"nowsp": False, "": False, "simple/": False, "/": False, "simple/simple/x": False}
        )

    def test_query(self) -> None:
        """dns/txt, perhaps among others."""
        self.assertTag(
            "q", {"dns/txt": True, "x : dns/txt": True, "DNS/TXT": True, "dns": False, "": False}
        )

    def test_domain(self) -> None:
        """A domain in A-labels or U-labels; nothing that IDNA forbids (RFC 8616)."""
        self.assertTag(
            "d",
            {
                "EXAMPLE.org": True,
                "xn--mnchen-3ya.example": True,
                "m\u00fcnchen.example": True,
                "-a.example": False,
                "a b.example": False,
                "a..example": False,
                "192.0.2.1": False,
                "\u2028.example": False,
                "xn--0.example": False,
                "": False,
            },
        )
        self.assertFalse(is_valid(with_tag("d", b"\xff.example")))

    def test_spellings_are_one(self) -> None:
        """U-labels and A-labels name the same key."""
        written = parse_signature(
            with_tag("d", "m\u00fcnchen.example") | {b"s": "\u00e9t\u00e9".encode()}
        )
        ascii_ = parse_signature(with_tag("d", "xn--mnchen-3ya.example") | {b"s": b"xn--t-9fab"})
        self.assertEqual(written.key_name, ascii_.key_name)
        self.assertEqual(written.domain, ascii_.domain)

    def test_selector(self) -> None:
        """Labels, which may have underscores and may be numbers; lower case."""
        self.assertTag(
            "s",
            {
                "A.b": True,
                "2024": True,
                "k_1": True,
                "a-b": True,
                "x" * 63: True,
                "x" * 64: False,
                "a..b": False,
                "a b": False,
                "-a": False,
                "": False,
                ".": False,
                "a/b": False,
            },
        )
        self.assertEqual(parse_selector("Sel.A"), "sel.a")

    def test_long_name(self) -> None:
        """A selector and a domain that make no DNS name together are refused."""
        domain = ".".join(["x" * 60] * 3) + ".example"
        self.assertTag("d", {domain: True})
        self.assertFalse(is_valid(with_tag("d", domain) | {b"s": b"s" * 60}))

    def test_identity(self) -> None:
        """Within the domain, at it or below, whatever the spelling."""
        self.assertTag(
            "i",
            {
                "@example.org": True,
                "a@EXAMPLE.org": True,
                "a@b.example.org": True,
                '"a@b"@example.org': True,
                "a=3B@b.example.org": True,
                "a@\r\n example.org": True,
                "a@notexample.org": False,
                "a@org": False,
                "a@other.example": False,
                "example.org": False,
                "a@": False,
                "": False,
            },
        )
        unicode = with_tag("d", "m\u00fcnchen.example")
        self.assertTrue(is_valid(unicode | {b"i": b"a@x.xn--mnchen-3ya.example"}))
        self.assertTrue(is_valid(unicode | {b"i": "\u00e9@M\u00dcNCHEN.example".encode()}))

    def test_signed_fields(self) -> None:
        """A list of names; From is among them (I-17)."""
        self.assertTag(
            "h",
            {
                "From": True,
                "to : \r\n FROM : from": True,
                "to": False,
                "from:": False,
                ":from": False,
                "fr om:from": False,
                "": False,
                "x-from": False,
                "fr\u00f6m:from": False,
            },
        )
        self.assertEqual(parse_signature(with_tag("h", "To : From")).signed, (b"to", b"from"))

    def test_limit(self) -> None:
        """A number of up to 76 digits."""
        self.assertTag(
            "l", {"0": True, "9" * 76: True, "9" * 77: False, "-1": False, "": False, "1 0": False}
        )
        self.assertEqual(parse_signature(with_tag("l", "007")).limit, 7)

    def test_times(self) -> None:
        """Numbers of up to 12 digits; the end is behind the beginning."""
        for name in ("t", "x"):
            self.assertTag(
                name,
                {"1": True, "9" * 12: True, "9" * 13: False, "": False, "1.5": False, "-1": False},
            )
        for signed, expires, valid in ((5, 6, True), (5, 5, False), (6, 5, False)):
            tags = with_tag("t", str(signed)) | {b"x": str(expires).encode()}
            self.assertEqual(is_valid(tags), valid)

    def test_expired(self) -> None:
        """It is good up to and with the second in C{x=}, and always without."""
        signature = parse_signature(with_tag("x", "1000"))
        self.assertFalse(signature.has_expired(datetime.fromtimestamp(1000, UTC)))
        self.assertTrue(signature.has_expired(datetime.fromtimestamp(1001, UTC)))
        self.assertFalse(parse_signature(TAGS).has_expired(datetime.fromtimestamp(9e9, UTC)))

    def test_octets(self) -> None:
        """Base64 that may be folded, and is something."""
        for name in ("b", "bh"):
            self.assertTag(
                name, {"A AA\r\n A": True, "AAAA": True, "": False, "AAA": False, "A*AA": False}
            )

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from(["v", "a", "b", "bh", "c", "d", "h", "i", "l", "q", "s", "t", "x"]),
        st.binary(max_size=20)
        | st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace")),
    )
    def test_anything(self, name: str, value: bytes) -> None:
        """Any octets in a tag are read or refused in the declared way, and can be shown."""
        tags = with_tag(name, value)
        is_valid(tags)
        claim = parse_claim(tags)
        claim.signature.encode()
        claim.identity.encode()


class ClaimTests(unittest.SynchronousTestCase):
    """What is shown of a signature that may be none."""

    def test_all(self) -> None:
        """Names in one spelling, values without white space."""
        tags = {
            b"a": b"RSA-SHA1",
            b"d": b"Example.ORG",
            b"s": b"SEL",
            b"i": b"Joe@\r\n x.example.org",
            b"b": b"AB\r\n CD",
            b"l": b"?",
        }
        self.assertEqual(
            parse_claim(tags),
            Claim(
                parse_domain("example.org"), "sel", "rsa-sha1", "Joe@x.example.org", "ABCD",
                has_limit=True,
            ),
        )  # fmt: skip

    def test_nothing(self) -> None:
        """What is absent or cannot be read is empty."""
        for tags in ({}, {b"d": b"a b", b"s": b"\xff"}, {b"d": b"\xff", b"s": b"a b"}):
            self.assertEqual(parse_claim(tags), Claim())

    def test_short(self) -> None:
        """A short C{b=} is shown as it is; a long one is cut."""
        self.assertEqual(parse_claim({b"b": b"A"}).signature, "A")
        self.assertLess(len(parse_claim({b"b": b"A" * 16000}).signature), 2000)
