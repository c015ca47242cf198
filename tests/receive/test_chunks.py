"""Messages in chunks, between a wire and a receiver."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.testing import MemorySpool
from tests.receive.wires import WireCase

DURATION = "mox_smtpserver_command_duration_seconds"


class ChunkTests(WireCase):
    """RFC 3030."""

    def setUp(self) -> None:
        super().setUp()
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")

    def envelope(self) -> None:
        self.speak(b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")

    def test_whole(self) -> None:
        """The receiver is asked for a place once, and given the message once."""
        self.told.asked.clear()
        self.assertEqual(self.speak(b"BDAT 6\r\na: b\r\n"), b"250 2.0.0 6 octets received\r\n")
        self.assertEqual(self.told.asked, ["data"])
        self.assertEqual(self.speak(b"BDAT 3 LAST\r\n\r\nc"), b"250 2.2.0 stored\r\n")
        self.assertEqual(self.told.asked, ["data", "message", "reset"])
        self.assertEqual(self.told.contents, [b"a: b\r\n\r\nc\r\n"])
        self.assertEqual(self.speak(b"NOOP\r\n"), b"250 2.0.0 done\r\n")

    def test_place_takes_time(self) -> None:
        """While a place is looked for, the chunk's octets wait and are not obeyed."""
        self.told.outcomes["data"] = thinking = Deferred[None]()
        self.assertEqual(self.speak(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"), b"")
        del self.told.outcomes["data"]
        thinking.callback(None)
        self.assertEqual(self.said(), b"250 2.2.0 stored\r\n250 2.0.0 done\r\n")
        self.assertEqual(self.told.contents, [b"QUIT\r\n"])

    def test_no_place(self) -> None:
        """That there is no place is told once the chunk is whole; the next is refused (S-75)."""
        for outcome, code in (
            (Refused(Reply(452, "3.1", "disk full")), b"452 4.3.1"),
            (ZeroDivisionError(), b"451 4.3.0"),
        ):
            self.envelope()
            self.told.outcomes["data"] = outcome
            said = self.speak(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
            codes = [line[:9] for line in said.splitlines()]
            self.assertEqual(codes, [code, b"503 5.5.1", b"250 2.0.0"])
            self.assertEqual(self.told.asked[-1], "reset")
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.told.contents, [])

    def test_no_place_for_the_last(self) -> None:
        """So it is where there is one chunk only."""
        self.told.outcomes["data"] = Refused(Reply(452, "3.1", "disk full"))
        said = self.speak(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        self.assertEqual(said, b"452 4.3.1 disk full (id7)\r\n250 2.0.0 done\r\n")

    def test_room_runs_out(self) -> None:
        """If room runs out, the chunk is read to its end and refused (S-75, S-112)."""
        self.told.spool = spool = MemorySpool(room=10)
        said = self.speak(b"BDAT 20\r\n" + b"x" * 20 + b"NOOP\r\n")
        self.assertTrue(said.startswith(b"452 4.3.1 "), said)
        self.assertTrue(said.endswith(b" (id7)\r\n250 2.0.0 done\r\n"), said)
        self.assertTrue(spool.aborted)

    def test_refused(self) -> None:
        """Smuggling and size leave the place free; the connection goes on (S-77, S-78)."""
        for chunk, code in ((b"BDAT 3 LAST\r\na\rb", b"554 5.6.0"),
                            (b"BDAT 1001 LAST\r\n" + b"x" * 1001, b"552 5.2.3")):  # fmt: skip
            self.envelope()
            self.told.spool = spool = MemorySpool()
            said = self.speak(chunk + b"NOOP\r\n")
            self.assertTrue(said.startswith(code), said)
            self.assertTrue(said.endswith(b"250 2.0.0 done\r\n"), said)
            self.assertTrue(spool.aborted)
            self.assertNotIn("message", self.told.asked)

    def test_given_up(self) -> None:
        """RSET, a new hello, QUIT and hanging up free the place (S-27)."""
        for end in (b"RSET\r\n", b"EHLO x.example\r\n", b"HELO x.example\r\n", b"QUIT\r\n", b""):
            self.connect()
            self.told.spool = spool = MemorySpool()
            self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
            self.speak(b"BDAT 6\r\nabcdef" + end)
            if end in {b"QUIT\r\n", b""}:
                self.drop()
            self.assertTrue(spool.aborted, end)
            self.assertEqual(self.told.contents, [])

    def test_judged(self) -> None:
        """Messages in chunks count as good and bad ones (S-56, S-113)."""
        self.told.outcomes["message"] = Reply(550, "7.1", "spam")
        for _ in range(11):
            self.envelope()
            self.assertEqual(self.speak(b"BDAT 1 LAST\r\nx"), b"550 5.7.1 spam (id7)\r\n")
        self.speak(b"RSET\r\n")
        self.assertTrue(self.speak(b"MAIL FROM:<>\r\n").startswith(b"550 5.1.0 "))

    def test_time(self) -> None:
        """All chunks together have half an hour, each block of one three minutes (S-16)."""
        self.speak(b"BDAT 900\r\n")
        for _ in range(17):
            self.clock.pump([1] * 100)
            self.speak(b"x")
        self.clock.pump([1] * 99)
        self.assertFalse(self.wire.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.wire.disconnected)

    def test_block(self) -> None:
        """A chunk of which nothing more comes is given up after three minutes (S-16)."""
        self.speak(b"BDAT 9\r\nx")
        self.clock.pump([1] * 179)
        self.assertFalse(self.wire.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.wire.disconnected)

    def test_measured(self) -> None:
        """A chunk takes from its command to its reply (S-114)."""
        self.speak(b"BDAT 4\r\nx")
        self.clock.advance(3)
        self.speak(b"yz\n")
        name = f'{DURATION}{{cmd="bdat",code="250",ecode="2.0.0",kind="smtp"}}'
        self.assertEqual(self.metrics.durations[name], [3.0])

    def test_stopping(self) -> None:
        """A message of which chunks have come may arrive (S-15)."""
        self.speak(b"BDAT 1\r\nx")
        _ = self.factory.drain()
        self.assertEqual(self.speak(b"BDAT 1 LAST\r\ny"), b"250 2.2.0 stored\r\n")
        self.assertTrue(self.speak(b"NOOP\r\n").startswith(b"421 4.3.2 "))

    def test_many(self) -> None:
        """A long pipeline of chunks lets others have their turn, and is answered whole."""
        said = self.speak(b"BDAT 1\r\nx" * 500 + b"BDAT 0 LAST\r\n")
        self.assertLess(said.count(b"\r\n"), 200)
        while self.clock.getDelayedCalls()[0].getTime() == self.clock.seconds():
            self.clock.advance(0)
        said += self.said()
        self.assertEqual(said.count(b"250 2.0.0 1 octets received\r\n"), 500)
        self.assertEqual(self.told.contents, [b"x" * 500 + b"\r\n"])
