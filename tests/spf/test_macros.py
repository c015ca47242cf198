"""Macro strings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.spf.macros import InvalidMacros, parse_domain_spec, parse_explanation, parse_macros

#: RFC 7208 section 7.4.
VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "p": "mx.example.org",
    "v": "in-addr",
    "h": "mx.client.example",
    "c": "192.0.2.3",
    "r": "mx.receiver.example",
    "t": "1700000000",
}

IP6 = "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.b.0.1"

MACRO_TEXT = st.text(alphabet="%{}slodiphcrtvSLODIPH0123459r.-+,/_= a~\x7f\xe9", max_size=60)


def expanded(text: str, **changed: str) -> str:
    """C{text} as a name, with the RFC's values or others."""
    return parse_macros(text).domain((VALUES | changed).__getitem__)


def is_refused(text: str) -> bool:
    """Whether C{text} is no macro string."""
    try:
        parse_macros(text)
    except InvalidMacros:
        return True
    return False


class ExpansionTests(unittest.SynchronousTestCase):
    """What macros stand for."""

    def test_rfc_examples(self) -> None:
        """The examples of RFC 7208 section 7.4, all of them."""
        examples = {
            "%{s}": "strong-bad@email.example.com",
            "%{o}": "email.example.com",
            "%{d}": "email.example.com",
            "%{d4}": "email.example.com",
            "%{d3}": "email.example.com",
            "%{d2}": "example.com",
            "%{d1}": "com",
            "%{dr}": "com.example.email",
            "%{d2r}": "example.email",
            "%{l}": "strong-bad",
            "%{l-}": "strong.bad",
            "%{lr}": "strong-bad",
            "%{lr-}": "bad.strong",
            "%{l1r-}": "strong",
            "%{ir}.%{v}._spf.%{d2}": "3.2.0.192.in-addr._spf.example.com",
            "%{lr-}.lp._spf.%{d2}": "bad.strong.lp._spf.example.com",
            "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}": ("bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}": ("3.2.0.192.in-addr.strong.lp._spf.example.com"),
            "%{d2}.trusted-domains.example.net": "example.com.trusted-domains.example.net",
        }
        self.assertEqual({text: expanded(text) for text in examples}, examples)

    def test_rfc_example_ip6(self) -> None:
        """The example of RFC 7208 section 7.4 for IPv6."""
        self.assertEqual(
            expanded("%{ir}.%{v}._spf.%{d2}", i=IP6, v="ip6"),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
        )

    def test_joined_with_dots(self) -> None:
        """Parts are joined with dots, whatever divided them and whichever macro it is."""
        self.assertEqual(expanded("%{d-}", d="a-b.example"), "a.b.example")
        self.assertEqual(expanded("%{d+-=}", d="a-b+c=d"), "a.b.c.d")
        self.assertEqual(expanded("%{d1-}", d="a-b.example"), "b.example")

    def test_escapes(self) -> None:
        """Two signs are one, an underscore a blank, a hyphen an escaped blank."""
        self.assertEqual(expanded("a%%b%_c%-d"), "a%b c%20d")

    def test_upper_case(self) -> None:
        """An upper-case letter is escaped as in a URI, but for unreserved characters."""
        self.assertEqual(expanded("%{S}", s="~a&b=c_d@e-f.g"), "~a%26b%3Dc_d%40e-f.g")

    def test_huge_number(self) -> None:
        """A number that no name has parts for keeps all, however long it is written."""
        self.assertEqual(expanded("%{d" + "9" * 5000 + "}"), "email.example.com")
        self.assertEqual(expanded("%{d" + "0" * 5000 + "1}"), "com")

    def test_shortened_by_labels(self) -> None:
        """A name of more than 253 octets loses as many labels on the left as it takes."""
        label = "x" * 60
        text = ".".join([label] * 6) + ".%{d}"
        self.assertEqual(expanded(text, d="example.com"), ".".join([label] * 3) + ".example.com")

    def test_longest_stays(self) -> None:
        """A name of exactly 253 octets is whole, with and without its dot at the end."""
        name = ".".join(["x" * 62] * 4) + ".y"
        self.assertEqual(len(name), 253)
        self.assertEqual(expanded("%{d}", d=name), name)
        self.assertEqual(expanded("%{d}.", d=name), name)
        self.assertEqual(expanded("%{d}", d="z" + name), name.partition(".")[2])
        self.assertEqual(expanded("z%{d}", d=name), name.partition(".")[2])
        self.assertEqual(expanded("z.%{d}.", d=name), name)

    def test_many_macros(self) -> None:
        """Of very many macros only those are expanded that can be seen in the name."""
        asked: list[str] = []

        def value_of(letter: str) -> str:
            asked.append(letter)
            return "a.example"

        name = parse_macros("%{d}." * 1600 + "com").domain(value_of)
        self.assertLessEqual(len(name), 253)
        self.assertLess(len(asked), 40)

    def test_text_ends(self) -> None:
        """Text is expanded no further than it will be shown."""
        asked: list[str] = []

        def value_of(letter: str) -> str:
            asked.append(letter)
            return "a" * 100

        text = parse_explanation("%{d} " * 12000).text(value_of, 800)
        self.assertLessEqual(len(text), 1000)
        self.assertLess(len(asked), 10)


class GrammarTests(unittest.SynchronousTestCase):
    """What is a macro string."""

    def test_refused(self) -> None:
        """What the grammar of RFC 7208 section 7.1 does not have is refused."""
        for text in (
            "%", "a%", "%a", "%{", "%{d", "%{}", "%{a}", "%{dd}", "%{d0}", "%{d00}", "%{dR2}",
            "%{dr2}", "%{d:}", "%{d }", "% {d}", "%(d)", "%{d}%", "a b", "\x7f",
            "\t", "\xe9", "a\n",
        ):  # fmt: skip
            self.assertTrue(is_refused(text), text)

    def test_taken(self) -> None:
        """What it has is taken, in either case; so is nothing at all."""
        for text in ("", "!", "$", "~", "{}", "%%", "%{d}", "%{D}", "%{d12R.-+,/_=}", "%{Lr-}"):
            self.assertFalse(is_refused(text), text)

    def test_explanations_only(self) -> None:
        """C{c}, C{r} and C{t} have no place in names (RFC 7208 section 7.2)."""
        for letter in "crtCRT":
            self.assertTrue(is_refused(f"%{{{letter}}}"), letter)
            self.assertIsNotNone(parse_explanation(f"%{{{letter}}} and more"))

    def test_end_of_domain(self) -> None:
        """A domain-spec ends with a top-level label behind a dot, or with a macro."""
        good = (
            "example.com", "example.com.", ".com", "a.%{d}", "%{d}", "%%", "a%-", "x.a1", "x.1-2",
            "x.xn--p1ai", "foo:bar/baz.example.com",
        )  # fmt: skip
        bad = ("", "com", "com.", "a.1", "a.-a", "a.a-", "a..", "%{d}a", "%{d}.1", "a.b:80", "%%1")
        for text in good:
            self.assertIsNotNone(parse_domain_spec(text), text)
        for text in bad:
            self.assertRaises(InvalidMacros, parse_domain_spec, text)


class HostileTests(unittest.SynchronousTestCase):
    """Any text at all."""

    @settings(deadline=None, max_examples=150)
    @given(MACRO_TEXT, st.dictionaries(st.sampled_from("slodipvh"), st.text(max_size=300)))
    def test_expands_or_is_refused(self, text: str, changed: dict[str, str]) -> None:
        """What is read expands to the end of its text, 253 characters at most."""
        values = VALUES | changed
        for parse in (parse_macros, parse_domain_spec, parse_explanation):
            try:
                read = parse(text)
            except InvalidMacros:
                continue
            name = read.domain(values.__getitem__)
            whole = read.text(values.__getitem__, 1 << 20).removesuffix(".")
            self.assertLessEqual(len(name), 253)
            self.assertTrue(whole.endswith(name))
            if len(whole) <= 253:
                self.assertEqual(name, whole)
