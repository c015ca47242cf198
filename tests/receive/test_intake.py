"""Tests for L{moxsmtp.receive.intake}."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import InsufficientStorage, ISpool, Spooled
from moxsmtp.message.header import MAXIMUM_LINES, MAXIMUM_SECTION
from moxsmtp.receive.intake import HeaderTaken, Intake, Room
from moxsmtp.smtp.reply import Unjudged
from moxsmtp.testing import MemorySpool

MESSAGE = b"From: a@x.example\r\nSubject: s\r\n\r\nHi\r\n\r\nthere\r\n"
SECTION = b"From: a@x.example\r\nSubject: s\r\n\r\n"


@implementer(ISpool)
class Slow:
    """A spool each of whose writes has to be waited for."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.waits: list[Deferred[None]] = []
        self.is_aborted = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self.writes.append(data)
        self.waits.append(Deferred())
        return self.waits[-1]

    async def finish(self) -> Spooled:
        return MemorySpool.spooled(b"".join(self.writes))

    def abort(self) -> None:
        self.is_aborted = True


def in_pieces(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """C{data}, cut at each of C{cuts}."""
    ends = sorted(cut for cut in cuts if cut <= len(data))
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        yield data[start:end]


class IntakeTests(SynchronousTestCase):
    """
    @ivar sections: What was said to be a header section.
    @ivar body: What was shown behind it.
    """

    def setUp(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing has come yet."""
        self.sections: list[bytes] = []
        self.body = b""

    def taken(self, section: bytes) -> HeaderTaken:
        """As it came."""
        self.sections.append(section)
        return HeaderTaken(section, self.more)

    def more(self, data: bytes) -> None:
        self.body += data

    def passed(
        self, *pieces: bytes, taken: Callable[[bytes], HeaderTaken] | None = None
    ) -> bytes | None:
        """What the inner spool holds after all of them."""
        self.forget()
        intake = Intake(MemorySpool(), taken or self.taken)
        for piece in pieces:
            self.assertIsNone(intake.write(piece))
        spooled = self.successResultOf(Deferred.fromCoroutine(intake.finish()))
        return spooled.inline

    def assertSplit(self, content: bytes, section: bytes) -> None:
        """Whole and octet by octet, the section ends there, and all is kept."""
        octets = (content[at : at + 1] for at in range(len(content)))
        for pieces in ([content], octets, in_pieces(content, [len(section)])):
            self.assertEqual(content, self.passed(*pieces))
            self.assertEqual([section], self.sections)
            self.assertEqual(content[len(section) :], self.body)

    def test_port(self) -> None:
        """It is a spool."""
        verifyObject(ISpool, Intake(MemorySpool(), self.taken))

    def test_usual(self) -> None:
        """The first empty line ends the header section; a later one is the body's."""
        self.assertSplit(MESSAGE, SECTION)

    def test_every_cut(self) -> None:
        """Wherever two pieces meet, in the empty line too, nothing changes."""
        for at in range(len(MESSAGE) + 1):
            self.assertEqual(MESSAGE, self.passed(*in_pieces(MESSAGE, [at])))
            self.assertEqual(([SECTION], MESSAGE[len(SECTION) :]), (self.sections, self.body))

    def test_no_body(self) -> None:
        """A message may end with its empty line."""
        self.assertSplit(SECTION, SECTION)

    def test_no_empty_line(self) -> None:
        """Without an empty line all is header, told at the end."""
        self.assertSplit(SECTION[:-2], SECTION[:-2])
        self.assertSplit(b"no line end", b"no line end")

    def test_empty_header(self) -> None:
        """An empty line at the start ends an empty header section."""
        self.assertSplit(b"\r\nbody\r\n\r\nmore\r\n", b"\r\n")
        self.assertSplit(b"\r\n\r\n", b"\r\n")
        self.assertSplit(b"\r\n", b"\r\n")

    def test_nothing(self) -> None:
        """A message of no octets has an empty section, and is told of all the same."""
        self.assertSplit(b"", b"")

    def test_looks_like_end(self) -> None:
        """Line feeds alone and a lone CR end nothing."""
        self.assertSplit(
            b"A: b\n\nC: d\r\r\n\n\r\nE: f\r\n\r\nbody", b"A: b\n\nC: d\r\r\n\n\r\nE: f\r\n\r\n"
        )

    def assertTooLarge(self, content: bytes, pieces: Iterator[bytes]) -> None:
        """All of C{content} is taken in, and none of it kept."""
        self.forget()
        spool = Slow()
        room = Room(MAXIMUM_SECTION)
        intake = Intake(spool, self.taken, room)
        for piece in pieces:
            self.assertIsNone(intake.write(piece))
        failure = self.failureResultOf(Deferred.fromCoroutine(intake.finish()), Unjudged)
        reply = failure.value.reply
        self.assertEqual((552, "5.3.4"), (reply.code, reply.enhanced_status))
        self.assertEqual(([], b"", []), (self.sections, self.body, spool.writes))
        # Nothing is held for it any more.
        room.take(MAXIMUM_SECTION)
        intake.release()

    def cuts(self, content: bytes, *around: int) -> Iterator[Iterator[bytes]]:
        """Whole, in some sizes, and round some places."""
        for size in (len(content), 1 << 16, 1000):
            yield (content[at : at + size] for at in range(0, len(content), size))
        for place in around:
            for at in range(place - 4, place + 5):
                yield in_pieces(content, [at])

    def test_long_header(self) -> None:
        """
        A header section beyond 1 MiB is refused at its end, with nothing of it
        looked at or kept: what is not looked at cannot be told from a forgery.
        """
        line = b"X-Long: " + b"x" * 990 + b"\r\n"
        for end in (b"\r\nbody\r\n", b""):
            content = line * 1050 + end
            for pieces in self.cuts(content, MAXIMUM_SECTION):
                self.assertTooLarge(content, pieces)

    def test_end_at_limit(self) -> None:
        """An empty line that ends exactly at 1 MiB is in time; one octet later it is too late."""
        content = b"A: " + b"x" * (MAXIMUM_SECTION - 7) + b"\r\n\r\nbody"
        for pieces in self.cuts(content, MAXIMUM_SECTION):
            self.assertEqual(content, self.passed(*pieces))
            self.assertEqual([content[:MAXIMUM_SECTION]], self.sections)
        content = b"A" + content
        for pieces in self.cuts(content, MAXIMUM_SECTION):
            self.assertTooLarge(content, pieces)

    def test_many_lines(self) -> None:
        """The same goes for 20000 lines."""
        for lines, is_taken in ((MAXIMUM_LINES, True), (MAXIMUM_LINES + 1, False)):
            section = b"A:b\r\n" * lines
            for end in (b"\r\n", b"\r\nbody\r\nmore\r\n", b""):
                content = section + end
                for pieces in self.cuts(content, len(section)):
                    if is_taken:
                        self.assertEqual(content, self.passed(*pieces))
                        self.assertEqual([section + end[:2]], self.sections)
                    else:
                        self.assertTooLarge(content, pieces)

    def test_long_body(self) -> None:
        """Behind the empty line, there may be as much as there is."""
        content = SECTION + b"x\r\n" * (MAXIMUM_SECTION // 2)
        for pieces in self.cuts(content):
            self.assertEqual(content, self.passed(*pieces))

    def test_changed(self) -> None:
        """What is made of the section stands in its place; the rest follows it unchanged."""
        for pieces in ([MESSAGE], in_pieces(MESSAGE, [3, 9, 34])):
            kept = self.passed(*pieces, taken=lambda _: HeaderTaken(b"B: c\r\n\r\n", self.more))
            self.assertEqual(b"B: c\r\n\r\nHi\r\n\r\nthere\r\n", kept)
            self.assertEqual(b"Hi\r\n\r\nthere\r\n", self.body)

    def test_waits(self) -> None:
        """What the inner spool waits for is waited for, in L{write} and at the end."""
        spool = Slow()
        intake = Intake(spool, self.taken)
        self.assertIsNone(intake.write(b"A: b\r\n"))
        self.assertIs(intake.write(b"\r\nbody"), spool.waits[0])
        self.assertIs(intake.write(b"more"), spool.waits[1])
        self.assertEqual([b"A: b\r\n\r\nbody", b"more"], spool.writes)

        spool = Slow()
        intake = Intake(spool, self.taken)
        intake.write(b"A: b\r\n")
        finished = Deferred.fromCoroutine(intake.finish())
        self.assertNoResult(finished)
        spool.waits[0].callback(None)
        self.assertEqual(b"A: b\r\n", self.successResultOf(finished).inline)

    def test_full(self) -> None:
        """A lack of space is told wherever it shows."""
        intake = Intake(MemorySpool(room=10), self.taken)
        self.assertRaises(InsufficientStorage, intake.write, MESSAGE)
        intake = Intake(MemorySpool(room=40), self.taken)
        intake.write(SECTION)
        self.assertRaises(InsufficientStorage, intake.write, b"x" * 40)
        intake = Intake(MemorySpool(room=3), self.taken)
        intake.write(b"A: b\r\n")
        self.failureResultOf(Deferred.fromCoroutine(intake.finish()), InsufficientStorage)

    def test_bug(self) -> None:
        """What goes wrong with a section comes out, and is not kept."""

        def broken(_: bytes) -> HeaderTaken:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, Intake(MemorySpool(), broken).write, MESSAGE)

    def test_abort(self) -> None:
        """Giving up reaches the inner spool, before and behind the header section."""
        for content in (b"A: b\r\n", MESSAGE):
            spool = Slow()
            intake = Intake(spool, self.taken)
            intake.write(content)
            intake.abort()
            intake.abort()
            self.assertTrue(spool.is_aborted)

    def test_room(self) -> None:
        """
        Of the octets of a section beyond 64 KiB, all connections together may
        hold so many; another one is told that there is no space, and usual
        sections are never refused.
        """
        line = b"X-Long: " + b"x" * 990 + b"\r\n"
        room = Room(100_000)
        first, second, usual = (Intake(MemorySpool(), self.taken, room) for _ in range(3))
        for _ in range(150):
            first.write(line)
        self.assertRaises(InsufficientStorage, second.write, line * 120)
        self.assertIsNone(usual.write(line * 60))
        first.write(b"\r\nbody")
        second.abort()
        second.release()
        self.assertRaises(
            InsufficientStorage, Intake(MemorySpool(), self.taken, room).write, line * 120
        )
        first.release()
        first.release()
        whole = Intake(MemorySpool(), self.taken, room)
        self.assertIsNone(whole.write(line * 160 + b"\r\nbody"))
        self.assertRaises(
            InsufficientStorage,
            Intake(MemorySpool(), self.taken, room).write,
            line * 120 + b"\r\nbody",
        )

    def test_room_of_usual_ones(self) -> None:
        """Sections of usual length need none of it, while they are held and afterwards."""
        room = Room(10)
        for _ in range(3):
            intake = Intake(MemorySpool(), self.taken, room)
            intake.write(b"Subject: short\r\n\r\n")
            self.assertRaises(InsufficientStorage, room.take, 11)
            room.take(10)
            room.give(10)
            intake.release()
        self.assertRaises(InsufficientStorage, room.take, 11)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b": ", b"\xff"])).map(b"".join),
        st.lists(st.integers(0, 30), max_size=5),
    )
    def test_any_cut(self, content: bytes, cuts: list[int]) -> None:
        """However content is cut, section and body are those of the whole."""
        self.passed(content)
        whole = self.sections, self.body
        self.assertEqual(content, self.passed(*in_pieces(content, cuts)))
        self.assertEqual(whole, (self.sections, self.body))
        self.assertEqual(content, self.sections[0] + self.body)
