"""Tests for L{moxsmtp.surroundings}."""

from __future__ import annotations

from twisted.internet.task import Clock

from moxsmtp.queue.settings import QueueSettings
from moxsmtp.surroundings import Internet
from moxsmtp.testing import MemoryResolver
from tests.running import RunningCase


class RouteTests(RunningCase):
    """Where queued mail goes."""

    def test_port(self) -> None:
        """Mail servers are looked for at C{outbound_port}, 25 where nothing is said."""
        ports = []
        for queue in (QueueSettings(), QueueSettings(outbound_port=2525)):
            settings = self.settings(queue=queue)
            ports.append(Internet().route(settings, MemoryResolver(), Clock()).port)
        self.assertEqual([25, 2525], ports)
