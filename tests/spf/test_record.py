"""Reading SPF records."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.spf.record import MAXIMUM_RECORD, InvalidRecord, Record, parse_record, select

FRAGMENT = st.sampled_from(
    ["v=spf1", " ", "  ", "a", "mx", "ptr", "all", "include", "exists", "ip4", "ip6", ":", "=",
     "/", "//", "24", "33", "0", "+", "-", "?", "~", "redirect", "exp", "x.example", "%{d}", "%",
     "192.0.2.1", "2001:db8::1", "::", ".", ",", "\t", "\r\n", "\x00", "\xe9", "EXP", "Ip4"]
)  # fmt: skip
RECORD_TEXT = st.lists(FRAGMENT, max_size=14).map("".join) | st.text(max_size=40)


def is_refused(terms: str) -> bool:
    """Whether a record of these terms is invalid."""
    try:
        parse_record(f"v=spf1 {terms}")
    except InvalidRecord:
        return True
    return False


class SelectTests(unittest.SynchronousTestCase):
    """Which TXT record is meant.  RFC 7208 section 4.5."""

    def test_only_spf(self) -> None:
        """The version stands alone or before a blank, in any case; all else is no SPF record."""
        for record in (b"v=spf1", b"V=SPF1 -all", b"v=spf1 "):
            self.assertEqual(select([b"other", record, b"\xff"]), record.decode())
        others = [b"v=spf10", b"v=spf1\n", b"v=spf1\t-all", b"spf2.0/pra", b" v=spf1", b""]
        self.assertIsNone(select(others))
        self.assertIsNone(select([]))

    def test_several(self) -> None:
        """Several records are a mistake, even equal ones."""
        self.assertRaises(InvalidRecord, select, [b"v=spf1 -all", b"v=spf1 -all"])

    def test_not_ascii(self) -> None:
        """Other octets than ASCII are a mistake in the record, and none beside it."""
        self.assertRaises(InvalidRecord, select, [b"v=spf1 a:\xc3\xa9.example -all"])
        self.assertRaises(InvalidRecord, select, [b"v=spf1 \xff"])

    def test_length(self) -> None:
        """The longest record is read, one octet more is a mistake."""
        longest = b"v=spf1".ljust(MAXIMUM_RECORD)
        self.assertIsNotNone(select([longest]))
        self.assertRaises(InvalidRecord, select, [longest + b" "])


class GrammarTests(unittest.SynchronousTestCase):
    """What a record may say.  RFC 7208 section 12."""

    def test_directives(self) -> None:
        """Each mechanism and qualifier in any case, with what it was written as."""
        record = parse_record("v=spf1 A -MX:b.example/24//64 ?ptr ~exists:%{i}.example +aLL")
        self.assertEqual(
            [(d.written, d.mechanism, d.result, d.prefix4, d.prefix6) for d in record.directives],
            [
                ("A", "a", "pass", 32, 128),
                ("-MX:b.example/24//64", "mx", "fail", 24, 64),
                ("?ptr", "ptr", "neutral", 32, 128),
                ("~exists:%{i}.example", "exists", "softfail", 32, 128),
                ("+aLL", "all", "pass", 32, 128),
            ],
        )

    def test_networks(self) -> None:
        """Addresses in the forms that RFC 4291 section 2.2 has, and their lengths."""
        record = parse_record("v=spf1 ip4:192.0.2.1/24 ip6:2001:DB8::192.0.2.1/32 ip6:::")
        self.assertEqual(
            [(d.network, d.prefix4, d.prefix6) for d in record.directives],
            [
                (0xC0000201, 24, 128),
                (0x20010DB80000000000000000C0000201, 32, 32),
                (0, 32, 128),
            ],
        )

    def test_refused(self) -> None:
        """One mistake anywhere makes the record invalid."""
        for terms in (
            "moo", "all.", "all:", "all/8", "all:x.example", "include", "include:", "exists",
            "include:x.example/24", "exists:x.example/24", "ptr/0", "ptr:", "a:", "a/33",
            "a//129", "a/032", "a/", "a//", "a/24/64", "a:x.example/24/", "a/24:x.example",
            "mx:localhost", "a:192.0.2.1", "a:x.example:8080", "ip4", "ip4:", "ip4:192.0.2",
            "ip4:192.0.2.01", "ip4:192.0.2.1/", "ip4:192.0.2.1/33", "ip4:192.0.2.1//32",
            "ip4:192.0.2.1:25", "ip4:::1", "ip6:192.0.2.1", "ip6:fe80::1%eth0", "ip6:::1/129",
            "ip6:::1//8", "ip6::", "ip6:1::2::3", "=a", "-", "+-all", "a,", "192.0.2.1",
            "redirect:x.example", "redirect=", "exp=", "redirect=a.example redirect=b.example",
            "exp=a.example EXP=b.example", "exp=%{c}.example", "x=%", "x=%{c}", "x=\x7f",
            "a\t-all", "a\r\n", "%{d}=x", "1x=y", "ip4:192.0.2.1/\u0662",
        ):  # fmt: skip
            self.assertTrue(is_refused(terms), terms)
            self.assertTrue(is_refused(f"-all {terms}"), terms)

    def test_unknown_modifiers(self) -> None:
        """Unknown modifiers are ignored wherever and however often they stand."""
        record = parse_record("v=spf1 x=1 -all x=2 default=pass a.b-c_d=:%{d}/ x=")
        self.assertEqual([d.written for d in record.directives], ["-all"])

    def test_modifiers_in_any_case(self) -> None:
        """C{REDIRECT} and C{Exp} are what they are in lower case."""
        record = parse_record("v=spf1 REDIRECT=a.example Exp=b.example")
        self.assertIsNotNone(record.redirect)
        self.assertIsNotNone(record.explanation)

    def test_blanks(self) -> None:
        """Any number of blanks stands between terms and at the end."""
        self.assertEqual(len(parse_record("v=spf1   a    mx  ").directives), 2)
        self.assertEqual(parse_record("V=SPF1"), Record(()))

    def test_no_record(self) -> None:
        """What is no SPF record is a mistake, not an empty record."""
        for text in ("", "v=spf1\n", "v=spf10", "-all"):
            self.assertRaises(InvalidRecord, parse_record, text)


class HostileTests(unittest.SynchronousTestCase):
    """Any text at all."""

    @settings(deadline=None, max_examples=200)
    @given(RECORD_TEXT)
    def test_read_or_refused(self, text: str) -> None:
        """A record is read or refused; what is read has directives as they were written."""
        try:
            record = parse_record(f"v=spf1 {text}")
        except InvalidRecord:
            return
        terms = text.split(" ")
        for directive in record.directives:
            self.assertIn(directive.written, terms)

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.binary(max_size=20) | st.just(b"v=spf1 -all"), max_size=4))
    def test_any_records(self, records: list[bytes]) -> None:
        """Of any TXT records at most one is selected, as text."""
        try:
            selected = select(records)
        except InvalidRecord:
            return
        if selected is not None:
            self.assertIn(selected.encode("ascii"), records)

    def test_long_terms(self) -> None:
        """Terms that are as long as a record may be, in shapes that patterns fear."""
        room = MAXIMUM_RECORD - 16
        for unit in ("0", "a", "-", ".", "%%", "%{d}", "/", "0/", ":", "a.", "//1", "9"):
            for prefix in ("a:", "a/", "ip6:", "exists:", "x=", "exp=", "", "a:%{d"):
                is_refused(prefix + unit * (room // len(unit)))
                is_refused(prefix + unit * (room // len(unit)) + "}")
