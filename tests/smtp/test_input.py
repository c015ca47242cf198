"""What waits to be understood."""

from __future__ import annotations

from twisted.trial import unittest

from moxsmtp.smtp.input import Input, LineTooLong


class InputTests(unittest.SynchronousTestCase):
    """Lines and octets out of pieces."""

    def test_lines(self) -> None:
        """A line ends with LF, a CR before it is no part of it (S-18)."""
        octets = Input()
        octets.receive(b"a\r\nb\nc\r\r\n\n")
        lines = [octets.line(100) for _ in range(5)]
        self.assertEqual(lines, [b"a", b"b", b"c\r", b"", None])

    def test_pieces(self) -> None:
        """However they come, lines are the same."""
        octets, lines = Input(), list[bytes]()
        for octet in b"one\r\ntwo\nthree":
            octets.receive(bytes([octet]))
            line = octets.line(100)
            if line is not None:
                lines.append(line)
        self.assertEqual(lines, [b"one", b"two"])
        self.assertEqual(octets.take_all(), b"three")

    def test_too_long(self) -> None:
        """A line of so many octets with its end is taken, one more is not waited for (S-18)."""
        octets = Input()
        octets.receive(b"12345678\r\n")
        self.assertEqual(octets.line(10), b"12345678")
        octets.receive(b"123456789\r\n")
        self.assertRaises(LineTooLong, octets.line, 10)
        octets = Input()
        octets.receive(b"123456789")
        self.assertIsNone(octets.line(10))
        octets.receive(b"0")
        self.assertRaises(LineTooLong, octets.line, 10)

    def test_taken(self) -> None:
        """Octets are taken in order, and what was taken too many can be put back."""
        octets = Input()
        octets.receive(b"abcdef\nNOOP\n")
        self.assertEqual(octets.take(4), b"abcd")
        self.assertEqual(len(octets), 8)
        octets.put_back(b"d")
        self.assertEqual(octets.line(100), b"def")
        self.assertTrue(octets.has_line)
        self.assertEqual(octets.take(100), b"NOOP\n")
        self.assertFalse(octets.has_line)
        self.assertEqual(octets.take(1), b"")
