"""Header fields as signatures cover them."""

from __future__ import annotations

from dkim.canonicalization import (  # type: ignore[import-untyped]  # no stubs
    CanonicalizationPolicy,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.dkim.fields import (
    MAXIMUM_LINES,
    MAXIMUM_SECTION,
    Section,
    split_message,
    without_signature,
)

#: RFC 6376 section 3.4.5.
EXAMPLE = b"A: X\r\nB : Y\t\r\n\tZ  \r\n"


def everything(section: Section, *names: bytes, relaxed: bool) -> bytes:
    """What is hashed for a list of names."""
    return section.canonical(section.chosen(names), relaxed=relaxed)


class CanonicalTests(unittest.SynchronousTestCase):
    """RFC 6376 sections 3.4.1, 3.4.2 and 3.4.5."""

    def test_example_relaxed(self) -> None:
        """Names in lower case, folds gone, white space single, none round the colon."""
        section = Section(EXAMPLE)
        self.assertEqual(everything(section, b"a", b"b", relaxed=True), b"a:X\r\nb:Y Z\r\n")

    def test_example_simple(self) -> None:
        """Not an octet is changed."""
        section = Section(EXAMPLE + b"\r\n")
        self.assertEqual(everything(section, b"a", b"b", relaxed=False), EXAMPLE)

    def test_white_space_of_the_rfc(self) -> None:
        """Form feeds and such are no white space: they stay."""
        section = Section(b"A: \x0b\x0c x\x0c\x0b \r\n")
        self.assertEqual(everything(section, b"a", relaxed=True), b"a:\x0b\x0c x\x0c\x0b\r\n")

    def test_octets_above_127(self) -> None:
        """UTF-8 and what is none pass unchanged."""
        section = Section("A: \u00e9 ".encode() + b"\xff\r\n")
        self.assertEqual(everything(section, b"a", relaxed=True), b"a:\xc3\xa9 \xff\r\n")

    def test_last_line_without_end(self) -> None:
        """A section that was cut off ends its last field all the same."""
        for relaxed, expected in ((False, b"A: x\r\n"), (True, b"a:x\r\n")):
            self.assertEqual(everything(Section(b"A: x"), b"a", relaxed=relaxed), expected)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.text("ab: \t", max_size=8), max_size=4), st.sampled_from([" ", "\t", ""]))
    def test_as_dkimpy(self, lines: list[str], space: str) -> None:
        """dkimpy has the same of any field with any folds."""
        value = "".join(f"{line}\r\n " for line in [*lines, "x"]).encode()[:-1]
        section = Section(b"Sub-Ject" + space.encode() + b":" + value)
        policy = CanonicalizationPolicy.from_c_value(b"relaxed")
        [(name, canonical)] = policy.canonicalize_headers([(b"Sub-Ject", value)])
        self.assertEqual(
            everything(section, b"sub-ject", relaxed=True), b"%b:%b" % (name, canonical)
        )

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.lists(st.text("a:\r \t", max_size=6), min_size=1, max_size=4).map(" \r\n\t".join),
            min_size=1,
            max_size=5,
        )
    )
    def test_together(self, values: list[str]) -> None:
        """Fields that are made canonical together are what each is by itself."""
        fields = [f"N{number}:{value}\r\n".encode() for number, value in enumerate(values)]
        alone = [everything(Section(one), one[:2].lower(), relaxed=True) for one in fields]
        names = [one[:2].lower() for one in fields]
        together = everything(Section(b"".join(fields)), *names, relaxed=True)
        self.assertEqual(together, b"".join(alone))


class ChosenTests(unittest.SynchronousTestCase):
    """Which fields a list of names covers.  RFC 6376 section 5.4.2."""

    def test_from_the_bottom(self) -> None:
        """A name takes the lowest field, again the one above, then nothing."""
        section = Section(b"A: 1\r\nB: 2\r\na: 3\r\n")
        self.assertEqual(section.chosen([b"a"]), [2])
        self.assertEqual(section.chosen([b"a", b"b", b"a", b"a"]), [2, 1, 0])

    def test_absent(self) -> None:
        """A name without a field is nothing, not even an empty line."""
        section = Section(b"A: 1\r\n")
        self.assertEqual(everything(section, b"b", b"a", b"b", relaxed=True), b"a:1\r\n")

    def test_never_itself(self) -> None:
        """A signature that names signatures covers the others."""
        section = Section(b"S: 1\r\nS: 2\r\nS: 3\r\n")
        self.assertEqual(section.chosen([b"s", b"s", b"s"], but=1), [2, 0])

    def test_no_fields(self) -> None:
        """Lines that are no field, and what is folded below them, are covered by no name."""
        section = Section(b" A: 1\r\nnot a field\r\n A: 2\r\n: 3\r\nA: 4\r\n")
        self.assertEqual(everything(section, b"a", b"a", relaxed=True), b"a:4\r\n")

    def test_behind_the_empty_line(self) -> None:
        """The body has no header fields."""
        self.assertEqual(len(Section(b"A: 1\r\n\r\nA: 2\r\n").places(b"a")), 1)
        self.assertEqual(len(Section(b"\r\nA: 2\r\n").places(b"a")), 0)


class SignatureFieldTests(unittest.SynchronousTestCase):
    """The field as it signs itself.  RFC 6376 section 3.7."""

    def test_value_is_gone(self) -> None:
        """All between the equals sign and the semicolon, or the end, goes; nothing else."""
        values = {
            b" b=AB; c=x\r\n": b" b=; c=x",
            b" a=x; b=A\r\n B=\r\n": b" a=x; b=",
            b" a=x;\r\n\tb = AB ;c=x\r\n": b" a=x;\r\n\tb =;c=x",
            b"b=; bh=b=; x\r\n": b"b=; bh=b=; x",
            b" bh=b=Q; b=Q\r\n": b" bh=b=Q; b=",
            b" bb=Q; a=b\r\n": b" bb=Q; a=b",
        }
        self.assertEqual(
            {value: without_signature(b"S", value, relaxed=False) for value in values},
            {value: b"S:" + expected for value, expected in values.items()},
        )

    def test_relaxed(self) -> None:
        """The rest is canonical, and has no line end."""
        value = b" a=x ;\r\n\tb = AB \r\n CD== ;\r\n  c=x\r\n"
        self.assertEqual(
            without_signature(b"DKIM-Signature ", value, relaxed=True),
            b"dkim-signature:a=x ; b =; c=x",
        )


class BoundTests(unittest.SynchronousTestCase):
    """Sections of any size."""

    def test_cut(self) -> None:
        """What is behind 256 KiB is not read, and that is told."""
        filler = b"X: " + b"x" * (MAXIMUM_SECTION - 5) + b"\r\n"
        self.assertFalse(Section(filler).is_cut)
        section = Section(filler + b"A: 1\r\n")
        self.assertTrue(section.is_cut)
        self.assertEqual(len(section.places(b"a")), 0)

    def test_lines(self) -> None:
        """What is behind 5000 lines is not read, and that is told."""
        self.assertFalse(Section(b"X:\r\n" * MAXIMUM_LINES).is_cut)
        section = Section(b"X:\r\n" * MAXIMUM_LINES + b"A: 1\r\n")
        self.assertTrue(section.is_cut)
        self.assertEqual(len(section.places(b"a")), 0)
        self.assertEqual(len(section.places(b"x")), MAXIMUM_LINES)

    def test_made_to_be_slow(self) -> None:
        """As much as is read of anything is canonical soon, or this hangs."""
        for piece in (b"A:\r\n", b"A: a b \r\n", b"A: x\r\n \r\n", b"A:" + b" " * 60_000 + b"\r\n"):
            octets = piece * (MAXIMUM_SECTION // len(piece))
            section = Section(octets)
            count = len(section.places(b"a"))
            lines = octets.split(b"\r\n")[:MAXIMUM_LINES]
            self.assertEqual(count, sum(line.startswith(b"A:") for line in lines))
            hashed = everything(section, *[b"a"] * (count + 1), relaxed=True)
            self.assertEqual(hashed.count(b"a:"), count)

    def test_no_colon(self) -> None:
        """A megabyte that might become a field, and does not, is read once."""
        for octets in (b"x" * (1 << 20), b"x\r\n" * 300_000, (b"x" + b" " * 997) * 1000):
            self.assertEqual(len(Section(octets).places(b"x")), 0)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=80), st.binary(max_size=20))
    def test_anything(self, octets: bytes, name: bytes) -> None:
        """No octets and no name raise anything."""
        section = Section(octets)
        for relaxed in (False, True):
            everything(section, name, name, b"a", relaxed=relaxed)
        for relaxed in (False, True):
            without_signature(name, octets, relaxed=relaxed)


class SplitTests(unittest.SynchronousTestCase):
    """Header section and body."""

    def test_split(self) -> None:
        """The empty line belongs to neither; without one, all is header."""
        messages = {
            b"A: 1\r\n\r\nbody\r\n\r\n": (b"A: 1\r\n", b"body\r\n\r\n"),
            b"A: 1\r\n\r\n": (b"A: 1\r\n", b""),
            b"\r\n\r\nbody": (b"", b"\r\nbody"),
            b"A: 1\r\n": (b"A: 1\r\n", b""),
            b"A: 1": (b"A: 1", b""),
            b"": (b"", b""),
        }
        self.assertEqual({message: split_message(message) for message in messages}, messages)
