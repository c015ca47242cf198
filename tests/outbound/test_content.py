"""Reading what is to be sent."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp.interfaces import IContent
from moxsmtp.outbound.content import ShortContent, whole
from tests.outbound.servers import Text


@implementer(IContent)
class _Sparing:
    """Gives two octets at a time."""

    size = 7

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See L{IContent.read}."""
        return succeed(b"content"[offset : offset + min(2, length)])


class WholeTests(SynchronousTestCase):
    """Short content in one piece."""

    def test_pieces(self) -> None:
        """However little the store gives at a time, it is whole in the end."""
        self.assertEqual(self.successResultOf(whole(b"prefix ", _Sparing())), b"prefix content")
        self.assertEqual(self.successResultOf(whole(b"prefix", Text(b""))), b"prefix")

    def test_short(self) -> None:
        """Less than was promised is not passed off as whole."""
        self.failureResultOf(whole(b"prefix", Text(b"content", size=8)), ShortContent)
