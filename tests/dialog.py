"""Dialogues as they are printed in RFCs, for tests of either end."""

from __future__ import annotations

from textwrap import dedent

from twisted.trial import unittest

__all__ = ["Dialogue"]


class Dialogue(unittest.SynchronousTestCase):
    """
    A test case that talks to a server.

    A line of a dialogue begins with C{C:} or C{S:}.  What follows C{C:} is sent
    with CRLF; what the server says must be the C{S:} lines that come next, all
    of them.  One that ends in C{...} gives the beginning only.
    """

    def speak(self, octets: bytes) -> bytes:
        """Send, and say what came back at once."""
        raise NotImplementedError

    def assertDialog(self, script: str) -> None:
        """The server says what it says in C{script}, neither more nor less."""
        said: list[str] = []
        for line in dedent(script).strip().splitlines():
            who, _, words = line.partition(":")
            words = words.removeprefix(" ")
            if who == "C":
                self.assertEqual(said, [], "more was said than the dialogue has")
                heard = self.speak(words.encode() + b"\r\n")
                self.assertTrue(not heard or heard.endswith(b"\r\n"), heard)
                said = heard.decode("ascii").split("\r\n")[:-1]
            else:
                self.assertEqual(who, "S", line)
                self.assertTrue(said, f"nothing was said, but expected: {words}")
                answer = said.pop(0)
                if words.endswith("..."):
                    self.assertEqual(answer[: len(words) - 3], words[:-3])
                else:
                    self.assertEqual(answer, words)
        self.assertEqual(said, [], "more was said than the dialogue has")
