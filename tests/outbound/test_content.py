"""Reading what is to be sent."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.interfaces import IContent
from moxsmtp.outbound.content import PIECE, ShortContent, streamed, whole
from moxsmtp.smtp.stuffing import BareLineEnd
from tests.outbound.servers import Text


@implementer(IContent)
class _Sparing:
    """Gives two octets at a time."""

    size = 7

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See L{IContent.read}."""
        return succeed(b"content"[offset : offset + min(2, length)])


class StreamedTests(SynchronousTestCase):
    """Content in pieces."""

    def test_pieces(self) -> None:
        """
        Every octet in order, dots stuffed wherever the pieces are cut, no piece much
        longer than it may be, and the last line ended.
        """
        text = b".0123456789abcdef\r\n..\r\n" * 10_000 + b"end"
        written: list[bytes] = []

        async def write(octets: bytes) -> None:
            written.append(octets)

        content = Text(text)
        self.successResultOf(Deferred.fromCoroutine(streamed(b".X: y\r\n", content, write)))
        self.assertEqual(
            b"".join(written),
            (b".X: y\r\n" + text + b"\r\n").replace(b"\n.", b"\n..").replace(b".X", b"..X"),
        )
        self.assertLessEqual(max(content.reads), PIECE)
        self.assertGreater(len(written), 3)

    def test_waits(self) -> None:
        """The next piece is read when there is room for it, and not before."""
        room: list[Deferred[None]] = []

        async def write(_: bytes) -> None:
            room.append(Deferred())
            await room[-1]

        content = Text(b"x" * 76 + b"\r\n" * 100_000)
        done = Deferred.fromCoroutine(streamed(b"", content, write))
        self.assertEqual(len(content.reads), 1)
        while not done.called:
            room[-1].callback(None)
        self.successResultOf(done)
        self.assertGreater(len(room), 3)

    def test_bare_line_end(self) -> None:
        """A bare LF never leaves."""
        written: list[bytes] = []

        async def write(octets: bytes) -> None:
            written.append(octets)

        content = Text(b"a\r\n" * 30_000 + b"b\nc\r\n")
        done = Deferred.fromCoroutine(streamed(b"", content, write))
        self.failureResultOf(done, BareLineEnd)
        self.assertNotIn(b"b\n", b"".join(written))


class WholeTests(SynchronousTestCase):
    """Short content in one piece."""

    def test_pieces(self) -> None:
        """However little the store gives at a time, it is whole in the end."""
        self.assertEqual(self.successResultOf(whole(b"prefix ", _Sparing())), b"prefix content")
        self.assertEqual(self.successResultOf(whole(b"prefix", Text(b""))), b"prefix")

    def test_short(self) -> None:
        """Less than was promised is not passed off as whole."""
        self.failureResultOf(whole(b"prefix", Text(b"content", size=8)), ShortContent)
