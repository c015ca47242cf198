"""Replies on the wire."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.smtp.reply import LOCAL_ERROR, NO_SPACE, Reply, without_space
from moxsmtp.smtp.reply_id import ReplyIds


class EncodeTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.2."""

    def test_enhanced_status(self) -> None:
        """The class of the enhanced code is the first digit of the code, on every line (S-19)."""
        self.assertEqual(
            Reply(550, "7.26", "one\ntwo").encode(), b"550-5.7.26 one\r\n550 5.7.26 two\r\n"
        )
        self.assertEqual(Reply(450, "2.0", "later").encode(), b"450 4.2.0 later\r\n")

    def test_without_status(self) -> None:
        """What may have no enhanced code has none (S-20)."""
        self.assertEqual(Reply(354, None, "go").encode(), b"354 go\r\n")
        self.assertEqual(Reply(334, None, "").encode(), b"334 \r\n")

    def test_long_challenge(self) -> None:
        """A challenge is one line, however long: RFC 4954 section 4 knows no other (S-19)."""
        self.assertEqual(Reply(334, None, "a" * 9000).encode(), b"334 " + b"a" * 9000 + b"\r\n")

    def test_reply_id(self) -> None:
        """The reply id stands at the end of the last line (S-21)."""
        self.assertEqual(
            Reply(550, "1.1", "one\ntwo").encode("ABC"),
            b"550-5.1.1 one\r\n550 5.1.1 two (ABC)\r\n",
        )

    def test_long_line_at_space(self) -> None:
        """A line over 510 octets is cut at the last space behind octet 400 that fits (S-19)."""
        text = "a" * 420 + " " + "b" * 60 + " " + "c" * 100
        first, second = Reply(550, "1.1", text).encode().split(b"\r\n")[:-1]
        self.assertEqual(first, b"550-5.1.1 " + b"a" * 420 + b" " + b"b" * 60)
        self.assertEqual(second, b"550 5.1.1  " + b"c" * 100)

    def test_cut_at_the_last_octet(self) -> None:
        """A piece may be as long as a line can be (S-19)."""
        first, second = Reply(550, None, "a" * 506 + " " + "b").encode().split(b"\r\n")[:-1]
        self.assertEqual((len(first), second), (510, b"550  b"))

    def test_long_line_without_space(self) -> None:
        """Without such a space it is cut at octet 400 (S-19)."""
        lines = Reply(550, "1.1", "a " + "x" * 900).encode().split(b"\r\n")[:-1]
        self.assertEqual([len(line) - 10 for line in lines], [400, 400, 102])

    def test_longest_line(self) -> None:
        """A line of 510 octets is left whole, one of 511 is not (S-19)."""
        self.assertEqual(Reply(250, None, "x" * 506).encode().count(b"\r\n"), 1)
        self.assertEqual(Reply(250, None, "x" * 507).encode().count(b"\r\n"), 2)

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=2000), st.sampled_from([None, "7.26"]), st.sampled_from(["", "I" * 22]))
    def test_any_text(self, text: str, status: str | None, reply_id: str) -> None:
        """
        Whatever the text, lines are ASCII without controls, at most 510 octets, and begin
        as they must (S-19).
        """
        encoded = Reply(550, status, text).encode(reply_id)
        self.assertTrue(encoded.endswith(b"\r\n"))
        lines = encoded[:-2].split(b"\r\n")
        for number, line in enumerate(lines):
            self.assertTrue(line.isascii())
            self.assertTrue(line.decode().isprintable(), line)
            self.assertLessEqual(len(line), 510)
            separator = b" " if number == len(lines) - 1 else b"-"
            self.assertTrue(line.startswith(b"550" + separator + (b"5.7.26 " if status else b"")))

    def test_code(self) -> None:
        """What is no reply code makes no reply."""
        for code in (199, 600):
            self.assertRaises(ValueError, Reply, code, None, "")


class SpaceTests(unittest.SynchronousTestCase):
    """Refusals where there is no room.  RFC 3463 sections 3.3 and 3.4."""

    def test_codes(self) -> None:
        """
        451 4.3.0 becomes 452 4.3.1, 451 4.2.0 becomes 452 4.2.2; with other codes only the
        enhanced code changes, and what says something else already stays (S-112).
        """
        expected = {
            (451, "3.0"): "452 4.3.1",
            (451, "2.0"): "452 4.2.2",
            (454, "3.0"): "454 4.3.1",
            (450, "2.0"): "450 4.2.2",
            (550, "3.0"): "550 5.3.1",
            (554, "2.0"): "554 5.2.2",
            (451, "7.0"): "451 4.7.0",
            (451, "3.2"): "451 4.3.2",
            (451, "4.0"): "451 4.4.0",
        }
        found = {
            (code, status): without_space(Reply(code, status, "text")) for code, status in expected
        }
        self.assertEqual(
            {key: f"{reply.code} {reply.enhanced_status}" for key, reply in found.items()}, expected
        )
        self.assertEqual(found[454, "3.0"].text, "text")
        self.assertEqual(without_space(LOCAL_ERROR), NO_SPACE)
        bare = Reply(354, None, "go")
        self.assertIs(without_space(bare), bare)


class ReplyIdTests(unittest.SynchronousTestCase):
    """Session numbers in disguise."""

    def test_known(self) -> None:
        """One block of AES-128 over prefix and number, base64url without padding (S-10)."""
        # FIPS 197 appendix C.1: this key and this block give 69c4e0d8 6a7b0430 d8cdb780 70b4c55a.
        ids = ReplyIds(bytes(range(16)), bytes.fromhex("0011223344556677"))
        self.assertEqual(ids.encode(0x8899AABBCCDDEEFF), "acTg2Gp7BDDYzbeAcLTFWg")

    def test_key_size(self) -> None:
        """A key or prefix of another size is refused."""
        self.assertRaises(ValueError, ReplyIds, b"k" * 15, b"p" * 8)
        self.assertRaises(ValueError, ReplyIds, b"k" * 16, b"p" * 9)

    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 2**64 - 1), st.text(max_size=30))
    def test_decoded(self, number: int, other: str) -> None:
        """An id gives its number back, and nothing else is one (S-10)."""
        ids = ReplyIds(b"k" * 16, b"p" * 8)
        self.assertEqual(ids.decode(ids.encode(number)), number)
        foreign = ReplyIds(b"k" * 16, b"q" * 8).encode(number)
        for wrong in (other, foreign, ids.encode(number)[:-1], ids.encode(number) + "="):
            self.assertRaises(ValueError, ids.decode, wrong)
