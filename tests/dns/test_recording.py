"""What was looked up, kept."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.dns.recording import RecordingResolver
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver

ADDRESS = Question("a.example", RRType.A)
TEXT = Question("a.example", RRType.TXT)


@implementer(IResolver)
class Waiting:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: dict[Question, Deferred[Answer]] = {}

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        self.asked[question] = Deferred()
        return self.asked[question]


class RecordingTests(SynchronousTestCase):
    """It listens, and changes nothing."""

    def setUp(self) -> None:
        """Two look-ups are under way."""
        self.inner = Waiting()
        self.resolver = RecordingResolver(self.inner)
        self.address = self.resolver.lookup(ADDRESS)
        self.text = self.resolver.lookup(TEXT)

    def test_keeps(self) -> None:
        """Answers and failures reach who asked, and are kept in the order in which they came."""
        self.assertTrue(verifyObject(IResolver, self.resolver))
        failure, answer = LookupFailed("SERVFAIL"), Answer(("192.0.2.1",))
        self.inner.asked[TEXT].errback(failure)
        self.inner.asked[ADDRESS].callback(answer)
        self.assertIs(self.failureResultOf(self.text, LookupFailed).value, failure)
        self.assertIs(self.successResultOf(self.address), answer)
        self.assertEqual(self.resolver.looked_up, [(TEXT, failure), (ADDRESS, answer)])

    def test_cancelled(self) -> None:
        """Who gives up cancels the look-up itself, and leaves nothing in the record."""
        self.address.cancel()
        self.failureResultOf(self.address, CancelledError)
        self.assertTrue(self.inner.asked[ADDRESS].called)
        self.assertNoResult(self.text)
        self.assertEqual(self.resolver.looked_up, [])
