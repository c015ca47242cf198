"""Lists of addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.addresses import (
    MAXIMUM_AUTHOR,
    MAXIMUM_LIST,
    Mailbox,
    addresses,
    author_of,
    parse_addresses,
)
from moxsmtp.message.header import parse_header
from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.smtp.address import Path


def box(name: str, address: str) -> Mailbox:
    """An entry with a plain address."""
    local_part, _, domain = address.rpartition("@")
    return Mailbox(name, Path(local_part, parse_domain(domain)))


def addresses_of(text: str) -> list[str]:
    """Names and addresses as people see them; no address in angle marks."""
    return [
        f"{one.name}|{one.path.unicode}" if one.path else f"{one.name}|<{one.text}>"
        for one in parse_addresses(text)
    ]


class ListTests(SynchronousTestCase):
    """RFC 5322 section 3.4."""

    def test_rfc_5322_appendix_a(self) -> None:
        """The examples of the RFC, obsolete ones too, read as it says."""
        expected = {
            "John Doe <jdoe@machine.example>": ["John Doe|jdoe@machine.example"],
            'Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>': [
                "Mary Smith|mary@x.test", "|jdoe@example.org", "Who?|one@y.test",
            ],
            '<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>': [
                "|boss@nil.test", 'Giant; "Big" Box|sysservices@example.net',
            ],
            "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;": [
                "Ed Jones|c@a.test", "|joe@where.test", "John|jdoe@one.test",
            ],
            "Undisclosed recipients:;": [],
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>": [
                "Pete|pete@silly.test",
            ],
            "A Group(Some people)\r\n :Chris Jones <c@(Chris's host.)public.example>,\r\n"
            " joe@example.org,\r\n John <jdoe@one.test> (my dear friend); (the end of the group)": [
                "Chris Jones|c@public.example", "|joe@example.org", "John|jdoe@one.test",
            ],
            "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;": [],
            "Joe Q. Public <john.q@example.com>": ["Joe Q. Public|john.q@example.com"],
            "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example": [
                "Mary Smith|mary@example.net", "|jdoe@test.example",
            ],
            "John Doe <jdoe@machine(comment).  example>": ["John Doe|jdoe@machine.example"],
        }  # fmt: skip
        self.assertEqual({text: addresses_of(text) for text in expected}, expected)

    def test_local_parts(self) -> None:
        """Quotes and escapes go, dots between words stay; what no one may write is none."""
        expected = {
            '"a b"@c.example': "a b",
            '"a\\"b"@c.example': 'a"b',
            '""@c.example': "",
            '"a@b, <c>"@d.example': "a@b, <c>",
            'a."b".c@d.example': "a.b.c",
            "ü@c.example": "ü",
            "u\u0308@c.example": "ü",
            "a..b@c.example": None,
            ".a@c.example": None,
            "a.@c.example": None,
            "@c.example": None,
            "a b@c.example": None,
            '"a\tb"@c.example': None,
            '"a\0b"@c.example': None,
            "a" * 128 + "@c.example": "a" * 128,
            "a" * 129 + "@c.example": None,
            "ü" * 65 + "@c.example": None,
        }
        found = {
            text: (one.path.local_part if (one := parse_addresses(text)[0]).path else None)
            for text in expected
        }
        self.assertEqual(found, expected)

    def test_domains(self) -> None:
        """U-labels, A-labels and literals are hosts; the rest is none."""
        expected = {
            "a@Bücher.example": parse_domain("xn--bcher-kva.example"),
            "a@[192.0.2.1]": AddressLiteral(IPv4Address("192.0.2.1")),
            "a@[IPv6:2001:db8::1]": AddressLiteral(IPv6Address("2001:db8::1")),
            "a@[2001:db8::1]": None,
            "a@[IPv6:fe80::1%eth0]": None,
            "a@192.0.2.1": None,
            "a@b_c.example": None,
            "a@b.example.": None,
            "a@": None,
            "a@b@c.example": None,
        }
        found = {
            text: (one.path.domain if (one := parse_addresses(text)[0]).path else None)
            for text in expected
        }
        self.assertEqual(found, expected)

    def test_no_name_of_a_group(self) -> None:
        """What stands before a colon and is no phrase stays in the list, as no address (I-6)."""
        for text, others in (
            ("ceo@bank.example:;", []),
            ("ceo@bank.example:", []),
            ("ceo@bank.example: a@b.example;", ["|a@b.example"]),
            ("[x]: a@b.example", ["|a@b.example"]),
        ):
            first, *rest = parse_addresses(text)
            self.assertIsNone(first.path, text)
            self.assertEqual(first.text, text.partition(":")[0])
            self.assertEqual([f"{one.name}|{one.address}" for one in rest], others)
        self.assertEqual(
            parse_addresses("a@c.example, b@d.example: ;")[1].text.strip(), "b@d.example"
        )

    def test_encoded_words(self) -> None:
        """They are read in words and comments; in quotes they are none (RFC 2047 section 5)."""
        expected = {
            "=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_M.?= <a@b.example>": ["Jörg M.|a@b.example"],
            '"=?utf-8?q?x?=" <a@b.example>': ["=?utf-8?q?x?=|a@b.example"],
            "a@b.example (=?utf-8?q?J=C3=B6rg?=)": ["Jörg|a@b.example"],
            "Jörg <a@b.example>": ["Jörg|a@b.example"],
            '"A" =?utf-8?q?B?= "C" <a@b.example>': ["A B C|a@b.example"],
        }
        self.assertEqual({text: addresses_of(text) for text in expected}, expected)

    def test_damaged(self) -> None:
        """A damaged entry is told as none, and hides no good one before or behind it."""
        expected = {
            "a@b.example, c, d@e.example": ["|a@b.example", "|<c>", "|d@e.example"],
            "x <a@b.example> y, c@d.example": ["x|<x <a@b.example> y>", "|c@d.example"],
            "a@b.example <c@d.example>": ["a@b.example|<a@b.example <c@d.example>>"],
            "<a@b.example": ["|<<a@b.example>"],
            '"a <b@c.example>, d@e.example': ['|<"a <b@c.example>, d@e.example>'],
            "a@b.example (c": ["|<a@b.example (c>"],
            "<>": ["|<<>>"],
            "a@b.example;c@d.example": ["|a@b.example", "|c@d.example"],
            "a@b.example\x00": ["|<a@b.example>"],
        }
        self.assertEqual({text: addresses_of(text) for text in expected}, expected)

    def test_names_on_one_line(self) -> None:
        """No name brings a line end with it, quoted or encoded."""
        for text in ('"a\\\r\\\nb" <a@b.example>', "=?utf-8?q?a=0D=0Ab?= <a@b.example>"):
            name = parse_addresses(text)[0].name
            self.assertEqual(len(name.splitlines()), 1)


class FieldTests(SynchronousTestCase):
    """Lists over the fields of a header."""

    def test_all_fields(self) -> None:
        """Several fields of one name give one list; none bleeds into the next."""
        header = parse_header(b'To: "a <b@c.example>\r\nto: d@e.example\r\n\r\n')
        self.assertEqual([one.path is None for one in addresses(header, "To")], [True, False])

    def test_author(self) -> None:
        """There is an author only if one From field holds one good address."""
        sections = {
            b"From: A <a@b.example>\r\n": box("A", "a@b.example"),
            b"From: g: a@b.example;\r\n": box("", "a@b.example"),
            b"From: a@b.example, c@d.example\r\n": None,
            b"From: a@b.example\r\nFROM : c@d.example\r\n": None,
            b"From: a@b.example, junk\r\n": None,
            b"From: undisclosed:;\r\n": None,
            b"From:\r\n": None,
            b"To: a@b.example\r\n": None,
            b"From: a@b.example" + b" " * MAXIMUM_AUTHOR + b"\r\n": box("", "a@b.example"),
            b"From: a@b.example" + b" " * MAXIMUM_AUTHOR + b", c@d.example\r\n": None,
        }
        found = {section: author_of(parse_header(section + b"\r\n")) for section in sections}
        self.assertEqual(found, sections)


class HostileTests(SynchronousTestCase):
    """Much of one thing; time that is not linear would not come back."""

    def test_nesting(self) -> None:
        """Comments may nest as deep as they like, closed or not."""
        deep = 20_000
        self.assertEqual(
            addresses_of("(" * deep + ")" * deep + " a@b.example")[0].rpartition("|")[2],
            "a@b.example",
        )
        self.assertIsNone(parse_addresses("(" * 100_000 + " a@b.example")[0].path)

    def test_open_quotes(self) -> None:
        """Quotes, brackets and escapes without end give no address."""
        for mark in ('"', "<", "[", "\\", "(", "@", ":", '"\\', "a."):
            found = parse_addresses(mark * (100_000 // len(mark)))
            self.assertEqual([one for one in found if one.path], [])

    def test_long_list(self) -> None:
        """A list is read up to a bound, and that it went on is told by an entry."""
        text = "a@b.example," * 20_000
        found = parse_addresses(text)
        self.assertEqual(len(found), MAXIMUM_LIST // 12 + 2)
        self.assertEqual(found[0], box("", "a@b.example"))
        self.assertIsNone(found[-1].path)
        header = parse_header(b"To: a@b.example\r\n" * 60_000 + b"\r\n")
        self.assertLessEqual(len(addresses(header, "To")), MAXIMUM_LIST // 12 + 2)


PIECES = st.sampled_from(
    ["a", "b.c", "@", "x.example", "<", ">", ",", ";", ":", "(", ")", '"', "\\", " ", ".", "[",
     "]", "[192.0.2.1]", "ü", "\0", "=?utf-8?q?=0A?=", "\r\n "]
)  # fmt: skip


class PropertyTests(SynchronousTestCase):
    """Whatever the text."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(PIECES, max_size=20).map("".join))
    def test_entries_are_clean(self, text: str) -> None:
        """Every entry can be shown on a line; every address is one when written again."""
        for one in parse_addresses(text):
            self.assertNotIn("\n", one.name + one.address)
            self.assertNotIn("\0", one.name + one.address)
            if one.path is not None:
                again = parse_addresses(one.path.unicode)
                self.assertEqual([entry.path for entry in again], [one.path])

    @settings(max_examples=100, deadline=None)
    @given(st.lists(PIECES, max_size=12).map("".join))
    def test_what_follows(self, text: str) -> None:
        """A good address in front stays the first entry, whatever follows the comma."""
        self.assertEqual(parse_addresses("a@b.example," + text)[0], box("", "a@b.example"))


class UsualTests(SynchronousTestCase):
    """The short way for usual addresses."""

    @settings(max_examples=300, deadline=None)
    @given(
        st.text('ab1 .<>@_-+\t("', max_size=30)
        | st.builds("{} <{}@{}>".format, *[st.text("ab1 .-_", max_size=9)] * 3)
        | st.builds(
            '"{}" <{}@{}>'.format,
            st.text("ab1 .-_()<>,;:@=?~\t\x7fé", max_size=9),
            *[st.text("ab1.-_", max_size=9)] * 2,
        )
        | st.builds("{}@{}".format, *[st.text("ab1.-_+", max_size=9)] * 2)
    )
    def test_same(self, value: str) -> None:
        """A comma behind it, which goes the long way, changes nothing."""
        if not re.fullmatch(r'(?:"[^"\\]*" |[^<>("]*)(?:<[^<>("]*>)?', value):
            return  # what is not closed would take the comma in
        self.assertEqual(parse_addresses(f"{value},"), parse_addresses(value))

    def test_names(self) -> None:
        """A name of words stands with its address; one of other characters, too."""
        alice = Path("alice.e", parse_domain("mail.example"))
        expected = {
            "Alice B Example <alice.e@mail.example>": Mailbox("Alice B Example", alice),
            "alice.e@mail.example": Mailbox("", alice),
            "A. Example <alice.e@mail.example>": Mailbox("A. Example", alice),
            '"Example, A. (Alice)" <alice.e@mail.example>': Mailbox("Example, A. (Alice)", alice),
            '" Alice  E " <alice.e@mail.example>': Mailbox("Alice  E", alice),
            '"" <alice.e@mail.example>': Mailbox("", alice),
            '"A \\"B\\"" <alice.e@mail.example>': Mailbox('A "B"', alice),
            '"A" "B" <alice.e@mail.example>': Mailbox("A B", alice),
        }
        self.assertEqual(expected, {text: parse_addresses(text)[0] for text in expected})
