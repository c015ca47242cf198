"""Header sections, read."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.header import (
    MAXIMUM_SECTION,
    MAXIMUM_VALUE,
    is_message_id,
    message_id,
    message_ids,
    parse_header,
)

USUAL = (
    b"Received: from a.example by b.example\r\n"
    b"\twith ESMTP id 1; 2 Jan 2026 03:04:05 +0000\r\n"
    b"received: from c.example by a.example with ESMTP id 2;\r\n 1 Jan 2026 03:04:05 +0000\r\n"
    b"From: A <a@example.org>\r\n"
    b"SUBJECT: =?utf-8?q?h=C3=A4?=\r\n =?utf-8?q?llo?=\r\n"
    b"X-Empty:\r\n"
    b"To:b@example.org\r\n"
    b"\r\n"
)


class HeaderTests(SynchronousTestCase):
    """Fields, found by name."""

    def test_names_without_case(self) -> None:
        """A field is found however its name and the question are spelt, in order."""
        header = parse_header(USUAL)
        self.assertEqual(header.count("RECEIVED"), 2)
        self.assertEqual(
            header.values("Received"),
            [
                "from a.example by b.example\twith ESMTP id 1; 2 Jan 2026 03:04:05 +0000",
                "from c.example by a.example with ESMTP id 2; 1 Jan 2026 03:04:05 +0000",
            ],
        )

    def test_octets_kept(self) -> None:
        """What stands behind the colon is given with its spaces and folds."""
        header = parse_header(USUAL)
        self.assertEqual(header.raw("Subject"), [b" =?utf-8?q?h=C3=A4?=\r\n =?utf-8?q?llo?="])
        self.assertEqual(header.raw("to"), [b"b@example.org"])
        self.assertEqual(header.section + b"\r\n", USUAL)

    def test_text_for_people(self) -> None:
        """A subject reads as its author wrote it."""
        self.assertEqual(parse_header(USUAL).text("Subject"), "hällo")

    def test_absent(self) -> None:
        """An absent field and an empty one are told apart; neither is an error."""
        header = parse_header(USUAL)
        self.assertEqual(
            [header.has("Date"), header.first("Date"), header.text("Date"), header.raw("Date")],
            [False, None, "", []],
        )
        self.assertEqual((header.has("X-Empty"), header.first("X-Empty")), (True, ""))

    def test_part_of_a_name(self) -> None:
        """A name matches whole: neither its begin nor its end will do."""
        header = parse_header(b"X-From: a\r\nFrom-X: b\r\nFrom\r\n: c\r\n\r\n")
        self.assertFalse(header.has("From"))

    def test_name_in_a_fold(self) -> None:
        """What looks like a field inside of a folded one is none."""
        header = parse_header(b"Subject: x\r\n From: a@b.example\r\n\tFrom: c\r\n\r\n")
        self.assertFalse(header.has("From"))

    def test_body_is_not_read(self) -> None:
        """The empty line ends the section, whatever comes behind."""
        for end in (b"\r\n", b"\n"):
            header = parse_header(b"To: a" + end + end + b"From: b" + end)
            self.assertEqual(header.fields(), [("To", b" a")])
        self.assertEqual(parse_header(b"\r\nFrom: b\r\n").fields(), [])

    def test_no_empty_line(self) -> None:
        """Without an empty line everything is the section; the last line may lack its end."""
        for section in (b"To: a\r\nFrom: b\r\n", b"To: a\r\nFrom: b", b"To: a\nFrom: b\n"):
            self.assertEqual(parse_header(section).fields(), [("To", b" a"), ("From", b" b")])

    def test_bad_utf8_and_nul(self) -> None:
        """Octets that are no text show as replacement characters, so text can be stored."""
        header = parse_header(b"Subject: a\xffb\0c \xc3\xa4\r\n\r\n")
        self.assertEqual(header.values("Subject"), ["a\ufffdb\ufffdc ä"])

    def test_white_space_before_colon(self) -> None:
        """The obsolete space before the colon hides no field (RFC 5322 section 4.5)."""
        self.assertEqual(parse_header(b"From: a\r\nFrom \t: b\r\n\r\n").count("From"), 2)


class ProblemTests(SynchronousTestCase):
    """What a strict reader objects to."""

    def test_good(self) -> None:
        """A usual header, an empty one and one without an empty line have no problem."""
        for section in (USUAL, b"\r\n", b"", b"From: a\r\n", b"A: \r\n  \r\n\tx\r\n\r\n"):
            self.assertEqual(parse_header(section).problems, ())

    def test_bad(self) -> None:
        """Each kind of damage is told, with the line where that helps."""
        found = {
            section: parse_header(section).problems
            for section in (
                b"A: b\r\nno field\r\nC: d\r\n\r\n",
                b" A: b\r\n\r\n",
                b"A : b\r\n\r\n",
                b"A: \0\r\n\r\n",
                b": b\r\n\r\n",
                b"\xc3\xa4: b\r\n\r\n",
                b"A: b\r\n\r\r\n\r\n",
            )
        }
        self.assertEqual(
            found,
            {
                b"A: b\r\nno field\r\nC: d\r\n\r\n": (
                    "line 2 of the header section is no header field",
                ),
                b" A: b\r\n\r\n": ("header section begins with a folded line",),
                b"A : b\r\n\r\n": ("white space between a header field's name and its colon",),
                b"A: \0\r\n\r\n": ("NUL in the header section",),
                b": b\r\n\r\n": ("line 1 of the header section is no header field",),
                b"\xc3\xa4: b\r\n\r\n": ("line 1 of the header section is no header field",),
                b"A: b\r\n\r\r\n\r\n": ("line 2 of the header section is no header field",),
            },
        )

    def test_too_long(self) -> None:
        """Only the first MiB is read, and a strict reader is told."""
        section = b"From: a\r\n" + b"X: y\r\n" * (MAXIMUM_SECTION // 6) + b"From: b\r\n\r\n"
        header = parse_header(section)
        self.assertEqual(header.count("From"), 1)
        self.assertIn("header section is longer than 1 MiB", header.problems)
        self.assertLessEqual(len(header.lines), MAXIMUM_SECTION + 1)


class HostileTests(SynchronousTestCase):
    """A MiB of malice; a look that is not linear would not come back."""

    def test_many_lines(self) -> None:
        """Half a million lines without a colon hide no field and make none."""
        header = parse_header(b"a\r\n" * 340_000 + b"From: b\r\n\r\n")
        self.assertEqual((header.values("From"), len(header.fields())), (["b"], 1))
        self.assertEqual(header.problems, ("line 1 of the header section is no header field",))

    def test_long_fold(self) -> None:
        """A field of many folds is one field."""
        header = parse_header(b"A: x" + b"\r\n " * 340_000 + b"z\r\nB: y\r\n\r\n")
        self.assertEqual((header.first("A"), header.first("B")), ("x", "y"))
        self.assertEqual(2, len(header.fields()))

    def test_long_words(self) -> None:
        """Endless names, values, spaces and line ends are nothing special."""
        million = 1 << 20
        for section in (b"a" * million, b"a" + b" " * million, b"\r" * million, b" " * million):
            self.assertEqual(parse_header(section).fields(), [])
        self.assertEqual(len(parse_header(b"A:" + b"x" * 1_000_000).raw("a")[0]), 1_000_000)

    def test_long_subject(self) -> None:
        """A text for people is bounded, so that a row and a page can hold it."""
        header = parse_header(b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\n")
        self.assertEqual(len(header.text("Subject")), 1 << 16)


LINES = st.lists(
    st.one_of(
        st.sampled_from([b"From: a", b" fold", b"\tfold", b"junk", b"", b"To:", b"X : y", b"\r"]),
        st.binary(max_size=12),
    ),
    max_size=12,
)


class LongValueTests(SynchronousTestCase):
    """Fields that are long for no good reason."""

    def test_cut(self) -> None:
        """No more of a field is unfolded than a bound says."""
        header = parse_header(b"Subject: x" + b"\r\n x" * MAXIMUM_VALUE + b"\r\n\r\n")
        value = header.first("Subject") or ""
        self.assertTrue(value.startswith("x x x"))
        self.assertLess(len(value), MAXIMUM_VALUE)


class PropertyTests(SynchronousTestCase):
    """Whatever the octets."""

    @settings(max_examples=150, deadline=None)
    @given(LINES, st.sampled_from([b"\r\n", b"\n"]))
    def test_agrees_with_itself(self, lines: list[bytes], end: bytes) -> None:
        """Asking by name and listing all fields give the same."""
        header = parse_header(end.join(lines))
        fields = header.fields()
        for name in {name for name, _ in fields}:
            expected = [value for other, value in fields if other.lower() == name.lower()]
            self.assertEqual(header.raw(name), expected)
            self.assertEqual(header.count(name), len(expected))
            self.assertEqual(header.first(name), header.values(name)[0])
            self.assertNotIn("\0", header.text(name))

    @settings(max_examples=100, deadline=None)
    @given(LINES, st.binary(max_size=30))
    def test_what_follows(self, lines: list[bytes], body: bytes) -> None:
        """Behind the empty line octets change nothing; before it a cut loses only the end."""
        section = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        whole = parse_header(section)
        self.assertEqual(parse_header(section + body), whole)
        for cut in range(len(section)):
            part = parse_header(section[:cut])
            self.assertTrue(whole.lines.startswith(part.lines) or part.lines.endswith(b"\n\r"))


class MessageIDTests(SynchronousTestCase):
    """Identifiers, with angle brackets."""

    def test_forms(self) -> None:
        """Brackets are put where the sender forgot them; what is none gives nothing."""
        expected = {
            b"<a@b.example>": "<a@b.example>",
            b" (c) <a@b.example> <c@d>": "<a@b.example>",
            b"a@b.example": "<a@b.example>",
            b"<long-\r\n part@b.example>": "<long-part@b.example>",
            b"two words": "",
            b"<>": "",
            b"": "",
            b"<a@b": "",
            b"<a\xffb\x01@c>": "",
            b"<" + b"x" * 1000 + b">": "",
        }
        found = {
            text: message_id(parse_header(b"Message-Id: " + text + b"\r\n\r\n"))
            for text in expected
        }
        self.assertEqual(found, expected)
        self.assertEqual(message_id(parse_header(b"\r\n")), "")

    def test_lists(self) -> None:
        """References are told one by one, whatever stands between."""
        self.assertEqual(
            message_ids("<a@b>\t<c@d>, <e@f><g@h> junk <i@ j> <"),
            ["<a@b>", "<c@d>", "<e@f>", "<g@h>", "<i@j>"],
        )
        self.assertEqual(message_ids("<" * 1_000_000), [])

    def test_white_space_of_unicode(self) -> None:
        """
        A message and those that refer to it name it alike, whatever white space is
        in it; no identifier has any.
        """
        for space in "\u1680\u2003\u2028\u2029\u3000":
            spaced = f"<a{space}b@c.example>"
            header = parse_header(f"Message-Id: {spaced}\r\n\r\n".encode())
            self.assertEqual([message_id(header)], message_ids(spaced))
            self.assertEqual(message_id(header), "<ab@c.example>")
            self.assertFalse(is_message_id(spaced))
        self.assertTrue(is_message_id("<\u00fc\u200b\U0010ffff@c.example>"))

    def test_fits_in_a_line(self) -> None:
        """An identifier that is taken can be written behind a field name in 998 octets."""
        longest = "<" + "x" * 960 + ">"
        self.assertTrue(is_message_id(longest))
        self.assertFalse(is_message_id(longest.replace("<", "<x")))
        self.assertLessEqual(len(f"Message-Id: {longest}"), 998)
