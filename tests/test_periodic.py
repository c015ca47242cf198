"""Tests for L{moxsmtp.periodic}."""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import StorageUnavailable
from moxsmtp.periodic import Periodic


class PeriodicTests(SynchronousTestCase):
    """When work is done."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[Deferred[None]] = []
        self.cancelled = 0
        self.service = Periodic(
            "cleaner",
            self.work,
            first=timedelta(seconds=3),
            interval=timedelta(hours=1),
            clock=self.clock,
        )

    def work(self) -> Deferred[None]:
        def cancel(_: Deferred[None]) -> None:
            self.cancelled += 1

        self.begun.append(Deferred(cancel))
        return self.begun[-1]

    def test_times(self) -> None:
        """First soon after the start, then an interval after each end (Q-1)."""
        self.service.startService()
        self.clock.advance(2.9)
        self.assertEqual(0, len(self.begun))
        self.clock.advance(0.1)
        self.assertEqual(1, len(self.begun))
        self.clock.advance(10_000)
        self.assertEqual(1, len(self.begun))
        self.begun[0].callback(None)
        self.clock.advance(3599)
        self.assertEqual(1, len(self.begun))
        self.clock.advance(1)
        self.assertEqual(2, len(self.begun))

    def test_failure(self) -> None:
        """A failure is logged and does not end the series."""
        self.service.startService()
        self.clock.advance(3)
        self.begun[0].errback(RuntimeError("bug"))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.clock.advance(3600)
        self.assertEqual(2, len(self.begun))

    def test_store_away(self) -> None:
        """A store that is away is told in a line, without a traceback."""
        self.service.startService()
        self.clock.advance(3)
        with capturedLogs() as lines:
            self.begun[0].errback(StorageUnavailable("gone"))
        (line,) = lines
        self.assertEqual("gone", str(line["error"]))
        self.assertNotIn("log_failure", line)
        self.clock.advance(3600)
        self.assertEqual(2, len(self.begun))

    def test_stop(self) -> None:
        """Stopping ends what waits and what is under way."""
        self.service.startService()
        self.service.stopService()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.service.startService()
        self.clock.advance(3)
        self.service.stopService()
        self.assertEqual((1, []), (self.cancelled, self.clock.getDelayedCalls()))
        self.assertEqual([], self.flushLoggedErrors())
