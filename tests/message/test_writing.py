"""Header fields, written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.header import parse_header
from moxsmtp.message.writing import MAXIMUM_LINE, balanced, comment, field_line, plain

TEXT = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="a ()\\\r\nä\0\x1b\u2028", max_size=200),
    st.text(alphabet="a😀", min_size=1, max_size=30).map(lambda text: text * 200),
)


class FieldTests(SynchronousTestCase):
    """Folding."""

    def test_fold(self) -> None:
        """A fold stands where a space stood, so unfolding gives the text back."""
        value = " ".join(f"word{number}" for number in range(30))
        line = field_line("X", value)
        self.assertGreater(line.count("\r\n "), 1)
        self.assertEqual(parse_header(line.encode()).values("X"), [value])
        self.assertLessEqual(max(len(one) for one in line.split("\r\n")), 76)

    @settings(max_examples=200, deadline=None)
    @given(TEXT, st.sampled_from([True, False]))
    def test_one_sound_field(self, text: str, utf8: bool) -> None:
        """Whatever the text, one field comes of it, in lines that may be sent."""
        octets = field_line("X", "x " + plain(text, utf8=utf8)).encode()
        header = parse_header(octets + b"Y: z\r\n\r\n")
        self.assertEqual([name for name, _ in header.fields()], ["X", "Y"])
        self.assertEqual(header.problems, ())
        self.assertLessEqual(max(len(line) for line in octets.split(b"\r\n")), MAXIMUM_LINE)
        self.assertTrue(utf8 or octets.isascii())
        self.assertFalse(set(octets) & (set(range(32)) - set(b"\r\n")))


class CommentTests(SynchronousTestCase):
    """Strangers' words in parentheses (trap of unbalanced ones)."""

    def test_parentheses(self) -> None:
        """Parentheses in order stay; others, and very deep ones, become brackets."""
        expected = {
            "a (b) (c (d))": "a (b) (c (d))",
            "a ) b (": "a ] b [",
            "((": "[[",
            "a \\( b )": "a \\[ b ]",
            "(" * 9 + ")" * 9: "[" * 9 + "]" * 9,
        }
        self.assertEqual({text: balanced(text) for text in expected}, expected)

    @settings(max_examples=200, deadline=None)
    @given(TEXT)
    def test_comment_ends(self, text: str) -> None:
        """A reader who knows quoted pairs finds the end of the comment where we put it."""
        written = f"({comment(text, utf8=False)}) behind"
        depth = position = 0
        while True:
            letter = written[position]
            position += 2 if letter == "\\" else 1
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if depth == 0:
                break
        self.assertEqual(written[position:], " behind")
