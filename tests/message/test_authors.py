"""Tests for L{moxsmtp.message.authors}: whose domains a message goes by."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dmarc import MAXIMUM_AUTHORS
from moxsmtp.message.addresses import MAXIMUM_FROM
from moxsmtp.message.authors import MAXIMUM_DOMAINS, ClaimedAuthors, claimed_authors
from moxsmtp.message.header import parse_header

UNREADABLE = "From cannot be read whole"
TOO_LONG = "From is too long to be read whole"


def claimed(fields: bytes) -> ClaimedAuthors:
    """What a header section with these fields claims."""
    return claimed_authors(parse_header(fields + b"\r\n\r\n"))


def brief(fields: bytes) -> tuple[str, ...]:
    """The problem, and the domains in A-labels."""
    found = claimed(fields)
    return (found.problem, *(domain.ascii for domain in found.domains))


class ReadableTests(SynchronousTestCase):
    """From fields that are as they should be."""

    def test_whole(self) -> None:
        """Every author's domain is named once, and nobody else's (I-6)."""
        fields = {
            b"From: a@one.example": ("", "one.example"),
            b'From: "ceo@bank.example" <a@one.example> (x@y.example)': ("", "one.example"),
            b"From: A <a@One.Example>, b@two.example, c@one.example": (
                "",
                "one.example",
                "two.example",
            ),
            b"From: Team: a@one.example, b@two.example;": ("", "one.example", "two.example"),
            "From: a@b\u00fccher.example".encode(): ("", "xn--bcher-kva.example"),
            b"From: a@one.example (comment (in comment)),": ("", "one.example"),
            "From: ceo@bank.example\u200b".encode(): ("", "bank.example"),
            b"From: Boss <ceo@bank.example>, ": ("", "bank.example"),
        }
        self.assertEqual({one: brief(one) for one in fields}, fields)

    def test_nobody(self) -> None:
        """Only where no domain shows at all there is no author, and that is no problem (I-7)."""
        for field in (
            b"Subject: none", b"From:", b"From: nobody", b"From: undisclosed:;", b"From: <>",
            b"From: a@[192.0.2.1]", b"From: =?utf-8?q?The_Company?=", b"From: \xff\xfe",
        ):  # fmt: skip
            self.assertEqual(claimed(field), ClaimedAuthors(), field)


class UnreadableTests(SynchronousTestCase):
    """From fields whose authors a lenient reader shows and a strict one does not."""

    def test_one(self) -> None:
        """One author whom a strict reader does not understand is named all the same (I-6)."""
        for value in (
            "ceo@bank.example.",
            "Boss <ceo@bank.example.>",
            "<ceo@bank.example>>",
            "<ceo@bank.example> x",
            "<ceo@bank.example",
            "ceo@bank.example (x",
            'ceo@bank.example "x',
            "Boss ceo@bank.example",
            "ceo@@bank.example",
            "ceo@ bank.example.",
            "<ceo@bank(c).example> x",
            "<ceo@(c (d))bank . example> x",
            r"<ceo@bank(c\)d\(\\).example> x",
            "ceo@bank.example\u00a0x",
            "ceo@bank.example-",
            "=?utf-8?q?ceo=40bank.example?=",
            "ceo@bank\u3002example x",
            "[ceo@bank.example]",
            f"{'x' * 300}@bank.example",
            "nobody, ceo@bank.example",
            "The Bank, Inc. <ceo@bank.example>",
            "ceo@bank.example:",
            "ceo@bank.example:;",
            "a@evil.example, ceo@bank.example: b@evil.example;",
            '"ceo@bank.example":;',
            "=?utf-8?q?ceo=40bank.example?=:;",
            "(ceo@bank.example)",
        ):
            problem, *domains = brief(b"From: " + value.encode())
            self.assertEqual(problem, UNREADABLE, value)
            self.assertIn("bank.example", domains, value)

    def test_another(self) -> None:
        """An author that is not understood does not vanish behind one that is (I-6)."""
        for value in (
            b"a@evil.example, Boss <ceo@bank.example> x",
            b"a@evil.example, <ceo@bank.example.>",
            b"a@evil.example (x, ceo@bank.example",
            b'a@evil.example "x, ceo@bank.example',
            b"a@evil.example ceo@bank.example",
        ):
            self.assertEqual(
                brief(b"From: " + value), (UNREADABLE, "evil.example", "bank.example"), value
            )

    def test_without_domain(self) -> None:
        """Beside an author with a domain, one without counts as an author too."""
        self.assertEqual(
            brief(b"From: a@evil.example, b@[192.0.2.1]"),
            ("an author has no domain", "evil.example"),
        )

    def test_no_domain_made_out(self) -> None:
        """What looks like an address but has no domain that could be asked is a problem."""
        for value in (b"ceo@", b"\xff\xfe@\x00", b'ceo@"bank.example"', b"ceo@192.0.2.1"):
            self.assertEqual(brief(b"From: " + value), (UNREADABLE,), value)

    def test_long(self) -> None:
        """Whatever stands in front of it, an author's domain is found within 32 KiB."""
        comments = b"".join(b" (" + b"c" * 900 + b")\r\n" for _ in range(10))
        field = b"From: a@evil.example,\r\n" + comments + b" ceo@bank.example"
        self.assertEqual(brief(field), (TOO_LONG, "evil.example", "bank.example"))
        field = b"From: a@evil.example," + b"\r\n " * 9_000 + b" ceo@bank.example"
        self.assertEqual(brief(field), (TOO_LONG, "evil.example", "bank.example"))

    def test_longer(self) -> None:
        """What is behind that is not looked at, which is a problem, not an end."""
        for filler in (b"\r\n ", b" "):
            count = MAXIMUM_FROM // len(filler)
            field = b"From: a@evil.example," + filler * count + b" ceo@bank.example"
            self.assertEqual(brief(field), (TOO_LONG, "evil.example"))
            self.assertEqual(brief(b"From:" + filler * count + b" ceo@bank.example"), (TOO_LONG,))

    def test_several_fields(self) -> None:
        """Each of several From fields counts, though there may be one only."""
        self.assertEqual(
            brief(b"From: a@evil.example\r\nfrom : ceo@bank.example"),
            ("2 From fields", "evil.example", "bank.example"),
        )


class HostileTests(SynchronousTestCase):
    """Much of it."""

    def test_many(self) -> None:
        """More domains are named than are judged, and not all of a megabyte."""
        many = b", ".join(b"a@d%d.example" % number for number in range(50_000))
        for value, problem in ((many[:4000] + b".example", ""), (many, TOO_LONG)):
            found = claimed(b"From: " + value)
            self.assertEqual((len(found.domains), found.problem), (MAXIMUM_DOMAINS, problem))
        self.assertGreater(MAXIMUM_DOMAINS, MAXIMUM_AUTHORS)

    def test_linear(self) -> None:
        """
        Of a field of a megabyte of anything somebody's domain is found, or a problem,
        in one pass over it; more would not end today.
        """
        megabyte = 1 << 20
        for piece in (
            b"@", b"(", b")", b"()", b"(a", b"@(", b" @ ", b"=?a?q?", b"=?utf-8?q?=40a?=", b"\\(",
            b'"', b"<", b"\r\n ", b" .", b". ", b"a@b.", b"a@\xc3\xa9\xc3\xa9.example,",
            b"@xn--a.", b"a@b--c.example,", b"@" + "\u00fc".encode() * 250 + b" ",
            b"@" + b"a.\xe2\x80\x8d" * 80 + b" ", b"From: a@b.example x\r\n",
        ):  # fmt: skip
            header = parse_header(b"From: " + piece * (megabyte // len(piece)) + b" x@\r\n\r\n")
            self.assertTrue(claimed_authors(header).problem, piece)

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet='a.@<>(),:;"\\[] \t=?-_\u3002\u00fc\u200b', max_size=60))
    def test_anything(self, text: str) -> None:
        """
        Whatever a From field says, an address that stands alone in a field that
        is not read strictly is found.
        """
        found = claimed(b"From: " + text.encode())
        self.assertIsInstance(found, ClaimedAuthors)
        more = claimed(b"From: " + text.encode() + b" ceo@bank.example @")
        if text.count("@") < 10:
            self.assertIn("bank.example", [domain.ascii for domain in more.domains])
        self.assertTrue(more.problem)
