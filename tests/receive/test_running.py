"""Tests for L{moxsmtp.receive.running}: a check whatever happens to it."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import IMetrics
from moxsmtp.receive.running import LOCAL_ERROR, TOO_LATE, Kind, Running, Site
from moxsmtp.testing import MemoryMetrics
from tests.receive.houses import session_log


class RunningTests(SynchronousTestCase):
    """
    @ivar measured: Values and the seconds they took, as they were put down.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = MemoryMetrics()
        self.site = Site(self.clock, self.metrics, session_log())
        self.measured: list[tuple[str, float]] = []
        self.kind = Kind("testcheck", lambda why: f"trouble: {why}", self.put_down)
        self.answer: Deferred[str] = Deferred(self.note_cancel)
        self.cancels = 0

    def put_down(self, metrics: IMetrics, value: str, seconds: float) -> None:
        self.measured.append((value, seconds))

    def note_cancel(self, _: Deferred[str]) -> None:
        self.cancels += 1

    async def check(self, answer: Deferred[str]) -> str:
        return "found " + await answer

    def begun(self) -> Running[str]:
        """One that waits for L{answer}."""
        return Running(self.site, self.kind, self.check, self.answer)

    def asked(self, running: Running[str]) -> Deferred[str]:
        return Deferred.fromCoroutine(running.result())

    def assertQuiet(self) -> None:
        """Nothing is left that could happen."""
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual({}, self.metrics.counts)

    def test_at_once(self) -> None:
        """What need not wait has its value at once, and no timer was made for it."""
        running = Running(self.site, self.kind, self.check, succeed("it"))
        self.assertEqual("found it", running.value)
        self.assertEqual("found it", self.successResultOf(self.asked(running)))
        self.assertEqual([("found it", 0.0)], self.measured)
        self.assertFalse(running.is_broken)
        self.assertQuiet()

    def test_waits(self) -> None:
        """What has to wait answers all who ask, before and after it is done."""
        running = self.begun()
        first, second = self.asked(running), self.asked(running)
        self.clock.advance(3)
        self.assertNoResult(first)
        self.answer.callback("it")
        for asked in (first, second, self.asked(running)):
            self.assertEqual("found it", self.successResultOf(asked))
        self.assertEqual([("found it", 3.0)], self.measured)
        self.assertQuiet()

    def test_impatient(self) -> None:
        """One who stops waiting changes nothing for the check and the others (I-2)."""
        running = self.begun()
        gone, stays = self.asked(running), self.asked(running)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.assertEqual(0, self.cancels)
        self.answer.callback("it")
        self.assertEqual("found it", self.successResultOf(stays))

    def test_too_late(self) -> None:
        """After 60 seconds there is a value, and what was asked is called off (I-2)."""
        running = self.begun()
        asked = self.asked(running)
        self.clock.advance(59.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.assertEqual(f"trouble: {TOO_LATE}", self.successResultOf(asked))
        self.assertEqual(1, self.cancels)
        self.assertTrue(running.is_broken)
        self.assertEqual([(f"trouble: {TOO_LATE}", 60.0)], self.measured)
        self.assertQuiet()

    def test_stubborn(self) -> None:
        """A check that goes on though it is too late changes its value no more (I-2)."""

        async def stubborn() -> str:
            try:
                await self.answer
            except CancelledError:
                return "after all"
            return "never"

        running = Running(self.site, self.kind, stubborn)
        self.clock.advance(60)
        self.assertEqual(f"trouble: {TOO_LATE}", running.value)
        self.assertEqual(1, len(self.measured))

    def test_bugs(self) -> None:
        """
        A bug at the start, before the first wait or behind it is logged with its
        traceback, counted by check, and ends in a value (I-3).
        """

        async def late() -> str:
            await self.answer
            raise ZeroDivisionError

        async def early() -> str:
            raise ZeroDivisionError

        def no_coroutine() -> Deferred[str]:
            raise ZeroDivisionError

        for number, check in enumerate((late, early, no_coroutine), 1):
            with capturedLogs() as lines:
                running = Running(self.site, self.kind, check)  # type: ignore[arg-type]  # a bug
                if not self.answer.called:
                    self.answer.callback("it")
            self.assertEqual(f"trouble: {LOCAL_ERROR}", running.value)
            self.assertTrue(running.is_broken)
            self.assertEqual({'mox_panic_total{pkg="testcheck"}': number}, self.metrics.counts)
            (line,) = lines
            self.assertTrue(line["log_failure"].check(ZeroDivisionError))
        self.assertEqual(3, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_cancelled_within(self) -> None:
        """Where what it waits for is cancelled by another, it is trouble, but no bug."""
        running = self.begun()
        self.answer.cancel()
        self.assertEqual(f"trouble: {LOCAL_ERROR}", running.value)
        self.assertQuiet()

    def test_cancelled(self) -> None:
        """Its owner ends it: whoever waits is told, nothing is measured, nothing goes on."""
        running = self.begun()
        asked = self.asked(running)
        running.cancel()
        running.cancel()
        self.failureResultOf(asked, CancelledError)
        self.failureResultOf(self.asked(running), CancelledError)
        self.assertEqual((1, []), (self.cancels, self.measured))
        self.assertQuiet()

    def test_cancelled_when_done(self) -> None:
        """To end what is done changes nothing."""
        running = Running(self.site, self.kind, self.check, succeed("it"))
        running.cancel()
        self.assertEqual("found it", self.successResultOf(self.asked(running)))

    def test_bug_while_cancelled(self) -> None:
        """What a check raises because it was ended is nobody's concern."""

        async def clumsy() -> str:
            try:
                return await self.answer
            finally:
                raise ZeroDivisionError

        Running(self.site, self.kind, clumsy).cancel()
        self.assertQuiet()
