"""Answers on a terminal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.admin.display import TextDecoder, fields, size, table, time


class TableTests(unittest.SynchronousTestCase):
    """Aligned text."""

    def test_aligned(self) -> None:
        """Columns are as wide as their widest cell; nothing stands behind the last."""
        self.assertEqual(
            list(table(["ID", "WHO"], [["1", "a"], ["100", ""]])), ["ID   WHO", "1    a", "100"]
        )

    def test_wide_letters(self) -> None:
        """Letters that take two columns, or none, do not disturb the next column."""
        lines = list(table(["A", "B"], [["\u65e5\u672c", "x"], ["e\u0301", "x"]]))
        self.assertEqual(lines, ["A     B", "\u65e5\u672c  x", "e\u0301     x"])

    def test_control_characters(self) -> None:
        """No control character of a stranger gets through."""
        lines = list(table(["A", "B"], [["a\x1b[2J\nb", "\u202e\ud800"]]))
        self.assertEqual(len(lines), 2)
        self.assertTrue(all(line.isprintable() for line in lines), lines)

    def test_long_cells(self) -> None:
        """A long cell is cut, also one of wide letters; the table stays on the screen."""
        for text in ("x" * 100_000, "\u65e5" * 1000, "\x1b" * 500):
            _, line, _ = table(["A", "B"], [[text, "y"], ["x" * 60, "z"]])
            self.assertTrue(line.endswith("\u2026  y") or "\u2026" in line)
            self.assertLessEqual(len(line), 70)

    def test_fields(self) -> None:
        """What is empty is left out; zero is not empty."""
        self.assertEqual(
            list(fields({"a": "", "long": "x\x07", "n": 0, "none": None, "list": []})),
            ["long: x\\x07", "n:    0"],
        )

    def test_sizes(self) -> None:
        """Rounded to what people compare."""
        cases = {0: "0", 1023: "1023", 1024: "1.0 KiB", 5_242_880: "5.0 MiB", 1 << 40: "1.0 TiB"}
        self.assertEqual({number: size(number) for number in cases}, cases)

    def test_time(self) -> None:
        """To the second, without zone; never is empty."""
        self.assertEqual(time("2026-01-02T03:04:05.678+00:00"), "2026-01-02 03:04:05")
        self.assertEqual(time(""), "")


class TextDecoderTests(unittest.SynchronousTestCase):
    """A message as text."""

    def decoded(self, *pieces: bytes) -> str:
        decoder = TextDecoder()
        return "".join(map(decoder.feed, pieces)) + decoder.end()

    def test_text(self) -> None:
        """UTF-8 is shown, line ends are one octet, tabs stay, other controls are escapes."""
        self.assertEqual(
            self.decoded(b"J\xc3\xb6rg\r\n\ta\x1b[2J\r\n\xff\r\x00\xc2\x85end"),
            "J\u00f6rg\n\ta\\x1b[2J\n\\xff\\r\\x00\\x85end",
        )

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.sampled_from([b"\r", b"\n", b"\xc3", b"\xb6", b"a", b"\x1b", b"\r\n"])))
    def test_pieces(self, pieces: list[bytes]) -> None:
        """However the octets are cut, the text is the same, and safe."""
        whole = self.decoded(b"".join(pieces))
        self.assertEqual(self.decoded(*pieces), whole)
        self.assertTrue(whole.replace("\n", "").replace("\t", "").isprintable())

    def test_endless_line(self) -> None:
        """A line without end is not collected."""
        decoder = TextDecoder()
        shown = sum(len(decoder.feed(b"x" * 50_000)) for _ in range(100))
        self.assertGreater(shown, 4_800_000)
        self.assertLessEqual(5_000_000 - shown, 120_000)
