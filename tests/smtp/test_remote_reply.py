"""Replies of servers that may say anything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.remote_reply import (
    MAXIMUM_LINE,
    MAXIMUM_REPLY,
    ProtocolError,
    RemoteReply,
    ReplyReader,
)


def read(data: bytes, cut: int = 0) -> list[RemoteReply] | str:
    """All replies in C{data}, given in pieces of C{cut} octets; or the error."""
    reader = ReplyReader()
    replies = []
    step = cut or len(data) or 1
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            while (reply := reader.next_reply()) is not None:
                replies.append(reply)
    except ProtocolError as error:
        return str(error)
    return replies


class GrammarTests(SynchronousTestCase):
    """What is a reply, and what is none."""

    def test_replies(self) -> None:
        """One line or several, with or without text; LF alone is a line end here."""
        expected = {
            b"220 mx.example ESMTP\r\n": RemoteReply(220, ("mx.example ESMTP",)),
            b"250\r\n": RemoteReply(250, ("",)),
            b"250 \r\n": RemoteReply(250, ("",)),
            b"250-a\r\n250-b\r\n250 c\r\n": RemoteReply(250, ("a", "b", "c")),
            b"250-a\n250\n": RemoteReply(250, ("a", "")),
            "550 über\r\n".encode(): RemoteReply(550, ("über",)),
            b"550 \xff\x00\x1b[2J\r\n": RemoteReply(550, ("\\xff??[2J",)),
        }
        self.assertEqual(
            {wire: read(wire) for wire in expected},
            {wire: [reply] for wire, reply in expected.items()},
        )

    def test_any_cut(self) -> None:
        """Whole, octet by octet, and with another reply behind: the same replies."""
        wire = b"250-a\r\n250 b\r\n354 go\r\n"
        expected = [RemoteReply(250, ("a", "b")), RemoteReply(354, ("go",))]
        self.assertEqual([read(wire, cut) for cut in range(len(wire))], [expected] * len(wire))

    def test_no_replies(self) -> None:
        """Exactly three digits, then space, dash or the end (Q-64)."""
        for wire in (
            b"\r\n", b"25\r\n", b"2500 ok\r\n", b"250_ok\r\n", b"250ok\r\n", b" 250 ok\r\n",
            b"150 ok\r\n", b"650 ok\r\n", b"\xb2\xb3\xb0 ok\r\n", b"HTTP/1.1 400\r\n",
            b"250-a\r\n\r\n",
        ):  # fmt: skip
            for cut in (0, 1):
                self.assertEqual(read(wire, cut), "the server's answer is no SMTP reply", wire)

    def test_mixed_codes(self) -> None:
        """Several codes in one reply are an error (Q-64)."""
        for cut in (0, 1):
            self.assertEqual(read(b"250-a\r\n550 b\r\n", cut), "one reply has several codes")

    def test_text(self) -> None:
        """A reply reads as it was sent."""
        self.assertEqual(
            RemoteReply(550, ("5.7.1 no", "", "never")).text, "550-5.7.1 no\n550-\n550 never"
        )

    def test_status(self) -> None:
        """An enhanced status code counts only where its class is that of the code (Q-64)."""
        expected = {
            (550, "5.7.1 no"): "7.1",
            (550, "5.7.1"): "7.1",
            (550, "4.7.1 no"): "",
            (250, "2.0.0 ok"): "0.0",
            (450, "4.7.1000 no"): "",
            (550, "5.7.1x"): "",
            (550, "no 5.7.1"): "",
        }
        self.assertEqual({key: RemoteReply(key[0], (key[1],)).status for key in expected}, expected)


class HostileTests(SynchronousTestCase):
    """Nothing makes it keep much or think long."""

    def test_long_line(self) -> None:
        """A line without end is refused once it is too long, however it comes."""
        for cut in (0, 1, 1000):
            self.assertEqual(
                read(b"220 " + b"x" * MAXIMUM_LINE, cut), "a line of the reply is too long"
            )
        longest = b"220 " + b"x" * (MAXIMUM_LINE - 6) + b"\r\n"
        self.assertEqual(len(read(longest, 7)), 1)

    def test_endless_reply(self) -> None:
        """A reply of a MiB is refused after 16 KiB."""
        wire = b"250-x\r\n" * (1 << 18)
        for cut in (1, 4096):
            self.assertEqual(read(wire[: MAXIMUM_REPLY + 7], cut), "the reply is too long")

    def test_flood(self) -> None:
        """What nobody reads does not grow without bound."""
        reader = ReplyReader()
        with self.assertRaises(ProtocolError):
            for _ in range(1000):
                reader.feed(b"250 ok\r\n" * 100)

    def test_together(self) -> None:
        """
        Replies of allowed length are refused when they are too much together: a
        part of the session gets 128 KiB, and 512 octets for each reply due.
        """
        for due in (0, 1000):
            reader = ReplyReader()
            reader.allow(due)
            read = 0
            with self.assertRaises(ProtocolError):
                for _ in range(1000):
                    reader.feed(b"250-" + b"x" * 1000 + b"\r\n" + b"250 ok\r\n")
                    self.assertIsNotNone(reader.next_reply())
                    read += 1014
            self.assertLessEqual(read, 131_072 + 512 * due)
            self.assertGreater(read, 131_072 + 512 * due - 1014)
            reader.allow(0)
            reader.feed(b"250 ok\r\n")
            self.assertIsNotNone(reader.next_reply())

    def test_unread(self) -> None:
        """It knows whether octets wait: a whole reply, part of one, part of a line."""
        states = []
        for data in (b"220 a\r\n", b"220 a\r\n2", b"220 a\r\n220-b\r\n"):
            reader = ReplyReader()
            reader.feed(data)
            before = reader.has_unread
            reader.next_reply()
            reader.next_reply()
            states.append((before, reader.has_unread))
        self.assertEqual(states, [(True, False), (True, True), (True, True)])

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200), st.integers(1, 9))
    def test_anything(self, data: bytes, cut: int) -> None:
        """Any octets give replies or a protocol error, the same for every cut."""
        self.assertEqual(read(data, cut), read(data))

    @settings(max_examples=100, deadline=None)
    @given(
        st.integers(200, 599),
        st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"])), min_size=1),
    )
    def test_round_trip(self, code: int, lines: list[str]) -> None:
        """What a server writes by the grammar is read back whole."""
        printable = ["".join(c for c in line if c.isprintable()) for line in lines]
        last = len(printable) - 1
        wire = b"".join(
            f"{code}{' ' if i == last else '-'}{line}\r\n".encode()
            for i, line in enumerate(printable)
        )
        self.assertEqual(read(wire), [RemoteReply(code, tuple(printable))])
