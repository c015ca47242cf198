"""Tests for L{moxsmtp.receive.begin}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.receive.begin import begin


class BeginTests(SynchronousTestCase):
    """The same as a Deferred round the coroutine, but for what it costs."""

    def setUp(self) -> None:
        self.waited: list[Deferred[int]] = []
        self.got: list[object] = []

    async def work(self, count: int) -> None:
        """Wait so many times, and note what comes of each."""
        for _ in range(count):
            waiting: Deferred[int] = Deferred()
            self.waited.append(waiting)
            try:
                self.got.append(await waiting)
            except ValueError as error:
                self.got.append(str(error))
        self.got.append("end")

    def test_ends_at_once(self) -> None:
        """What does not wait has ended, and there is nothing to hold on to."""
        self.assertIsNone(begin(self.work(0)))
        self.assertEqual(["end"], self.got)

    def test_ready(self) -> None:
        """A result that is there already is not waited for."""

        async def ready() -> None:
            self.got.append(await succeed(3))

        self.assertIsNone(begin(ready()))
        self.assertEqual([3], self.got)

    def test_waits(self) -> None:
        """Results and failures reach the coroutine, in order, however often it waits."""
        ended = begin(self.work(3))
        assert ended is not None
        self.waited[0].callback(1)
        self.waited[1].errback(ValueError("two"))
        self.assertNoResult(ended)
        self.waited[2].callback(3)
        self.assertEqual([1, "two", 3, "end"], self.got)
        self.assertIsNone(self.successResultOf(ended))

    def test_failures(self) -> None:
        """What the coroutine raises is the result's failure, before and behind the first wait."""

        async def fails(*, waits: bool) -> None:
            if waits:
                await self.waited[-1]
            raise KeyError("bug")

        for waits in (False, True):
            self.waited.append(Deferred())
            ended = begin(fails(waits=waits))
            assert ended is not None
            self.waited[-1].callback(1)
            self.failureResultOf(ended, KeyError)

    def test_cancelled(self) -> None:
        """Cancelling reaches what is awaited, at the first wait and at a later one."""
        for before in (0, 1):
            self.waited.clear()
            ended = begin(self.work(2))
            assert ended is not None
            if before:
                self.waited[0].callback(1)
            ended.cancel()
            self.failureResultOf(ended, CancelledError)
            self.assertTrue(self.waited[before].called)
