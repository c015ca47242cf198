"""Tests for L{moxsmtp.worker.entry}."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.entry import prefer_throughput


class PreferThroughputTests(SynchronousTestCase):
    """How the system schedules a worker, which is a matter of each thread."""

    if sys.platform != "linux":
        skip = "only Linux can be asked"

    def policies(self, before: Callable[[], object]) -> list[int]:
        """Those of a thread that does C{before}, then asks, and of one that it starts."""
        found: list[int] = []

        def tell() -> None:
            found.append(os.sched_getscheduler(0))

        def run() -> None:
            before()
            prefer_throughput()
            tell()
            other = threading.Thread(target=tell)
            other.start()
            other.join()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found

    def test_usual(self) -> None:
        """A thread takes the processor from nobody, nor do those that it starts."""
        self.assertEqual(self.policies(lambda: None), [os.SCHED_BATCH] * 2)

    def test_chosen(self) -> None:
        """Another policy, which somebody has chosen for the server, stays."""

        def choose() -> None:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

        self.assertEqual(self.policies(choose), [os.SCHED_IDLE] * 2)
