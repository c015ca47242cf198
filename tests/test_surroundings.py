"""Tests for L{moxsmtp.surroundings}."""

from __future__ import annotations

from twisted.internet.task import Clock

from moxsmtp.dns.records import Question, RRType
from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.surroundings import Internet
from moxsmtp.testing import MemoryResolver
from tests.dns.packets import Net
from tests.running import LOOPBACK, RunningCase


class RouteTests(RunningCase):
    """Where queued mail goes."""

    def test_port(self) -> None:
        """Mail servers are looked for at C{outbound_port}, 25 where nothing is said."""
        ports = []
        for queue in (QueueSettings(), QueueSettings(outbound_port=2525)):
            settings = self.settings(queue=queue)
            ports.append(Internet().route(settings, MemoryResolver(), Clock()).port)
        self.assertEqual([25, 2525], ports)


class ResolverTests(RunningCase):
    """Who is asked for names."""

    def test_registries(self) -> None:
        """
        It knows the public suffix list, so that one domain below a registry
        does not stop its neighbours.
        """
        net = Net()
        upstream = Upstream(address=LOOPBACK, port=5353)
        made = self.settings(resolver=ResolverSettings(servers=(upstream,)))
        resolver = Internet().resolver(made, net, PublicSuffixes().is_public_suffix)
        for number in range(300):
            name = f"slow{number}.evil.co.uk"
            _ = resolver.lookup(Question(name, RRType.A)).addErrback(lambda _: None)
        self.assertEqual(256, len(net.sent))
        _ = resolver.lookup(Question("good.co.uk", RRType.A)).addErrback(lambda _: None)
        self.assertEqual(257, len(net.sent))
        self.result(resolver.close())
