"""Tests for L{moxsmtp.mailbox.rest}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.mailbox.rest import Rest


class RestTests(SynchronousTestCase):
    """Waiting that ends early."""

    def setUp(self) -> None:
        """Nobody waits."""
        self.clock = Clock()
        self.rest = Rest(self.clock)

    def waiting(self, seconds: float | None) -> Deferred[None]:
        """Begin to wait."""
        return Deferred.fromCoroutine(self.rest.wait(seconds))

    def test_limit(self) -> None:
        """It ends when the time is over; a time that is over already ends it at once."""
        waiting = self.waiting(5)
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.successResultOf(waiting)
        waiting = self.waiting(-1)
        self.clock.advance(0)
        self.successResultOf(waiting)

    def test_ended(self) -> None:
        """It ends early, with or without a limit, and leaves no timer."""
        for seconds in (5, None):
            waiting = self.waiting(seconds)
            self.assertNoResult(waiting)
            self.rest.end()
            self.successResultOf(waiting)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody(self) -> None:
        """To end what nobody waits for is no mistake, and spares nobody a later wait."""
        self.rest.end()
        waiting = self.waiting(5)
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
