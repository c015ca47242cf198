"""Tests for L{moxsmtp.worker.gate}."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any, cast

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.config import Settings
from moxsmtp.entrances import Door, Entrances
from moxsmtp.interfaces import Role
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.localserve import settings
from moxsmtp.metrics import Metrics
from moxsmtp.receive.settings import ListenerSettings
from moxsmtp.worker.acceptor import Acceptor
from moxsmtp.worker.gate import Gate, Staff
from moxsmtp.worker.orders import unpacked
from moxsmtp.worker.passing import Arrival
from moxsmtp.worker.spawn import Spawner, Watcher
from tests.worker.doubles import Bound, Link, Reactor


class GateCase(SynchronousTestCase):
    """A gate with two doors of one listener and two workers."""

    def setUp(self) -> None:
        """Not serving."""
        self.reactor = Reactor()
        self.links: list[Link] = []
        self.metrics = Metrics(CollectorRegistry())
        self.woken: list[tuple[frozenset[str], bool]] = []
        self.smtp, self.submissions = Bound(), Bound()
        self.gate = self.made()

    def settings(self, **others: Any) -> Settings:
        """With one listener; its TLS is no matter here."""
        made = settings("/nowhere")
        listener = replace(made.listeners[0], tls=None, max_connections=4)
        return replace(made, **{"workers": 2, "listeners": (listener,), **others})

    def made(self, **others: Any) -> Gate:
        """With such settings."""
        doors = [
            Door("local", Role.SMTP, self.smtp),
            Door("local", Role.SUBMISSIONS, self.submissions),
        ]
        made = self.settings(**others)
        staff = Staff(
            cast("Spawner", self.spawn),
            itertools.count(1000),
            self.metrics,
            lambda accounts, queued: self.woken.append((accounts, queued)),
            self.reactor,
        )
        return Gate(Entrances(made, doors=doors), made, staff)

    def spawn(self, number: int, watcher: Watcher) -> Link:
        """One more process."""
        link = Link(number, watcher)
        self.links.append(link)
        self.addCleanup(link.close)
        return link

    def serving(self, **others: Any) -> Gate:
        """With both workers ready."""
        if others:
            self.gate = self.made(**others)
        begun = Deferred.fromCoroutine(self.gate.serve(self.settings(**others)))
        for link in list(self.links):
            link.ready()
        self.successResultOf(begun)
        return self.gate

    def come(self, *hosts: str, door: int = 0) -> None:
        """Connections come in, as far as they are taken."""
        bound = (self.smtp, self.submissions)[door]
        bound.listening.coming += hosts
        for acceptor in list(self.reactor.reading):
            cast("Acceptor", acceptor).doRead()
        self.addCleanup(bound.listening.close)

    def last_words(self, door: int = 0) -> bytes:
        """What the client that came last is told by us."""
        bound = (self.smtp, self.submissions)[door]
        return bound.listening.accepted[-1].recv(1000)

    @property
    def counts(self) -> list[int]:
        """Connections that each worker was given."""
        return [len(link.arrivals) for link in self.links]


class ArrivalTests(GateCase):
    """Connections on their way."""

    def test_not_yet(self) -> None:
        """Nobody is let in before all workers are ready."""
        begun = Deferred.fromCoroutine(self.gate.serve(self.settings()))
        self.links[0].ready()
        self.come("192.0.2.1")
        self.assertEqual((self.counts, len(self.smtp.listening.coming)), ([0, 0], 1))
        self.links[1].ready()
        self.successResultOf(begun)
        self.come()
        self.assertEqual(sum(self.counts), 1)

    def test_named(self) -> None:
        """Each comes with its door, and with a number that no other session has (S-9)."""
        self.serving()
        self.come("192.0.2.1", "203.0.113.9")
        self.come("192.0.2.1", door=1)
        found = sorted(one.number for link in self.links for one in link.arrivals)
        self.assertEqual(found, [1000, 1001, 1002])
        doors = {one for link in self.links for one in link.arrivals}
        self.assertIn(Arrival(1, 1002), doors)

    def test_networks(self) -> None:
        """Clients of one network meet one worker, at whichever door (S-12)."""
        self.serving()
        self.come("192.0.2.1", "192.0.2.2")
        self.come("192.0.3.3", door=1)
        self.assertEqual(sorted(self.counts), [0, 3])

    def test_exempt(self) -> None:
        """Who is not limited goes where the fewest are."""
        self.serving()
        self.come("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1")
        self.assertEqual(self.counts, [2, 2])
        for _ in range(2):
            self.links[1].watcher.heard(
                {"kind": "news", "ended": {"local": 1}, "accounts": [], "queued": False}
            )
        self.come("127.0.0.1")
        self.assertEqual(self.counts, [2, 3])

    def test_full(self) -> None:
        """Beyond max_connections they are refused; an end, or a worker's, frees places (S-12)."""
        self.serving()
        self.come(*["127.0.0.1"] * 5)
        self.assertEqual(sum(self.counts), 4)
        self.assertTrue(self.last_words().startswith(b"421 4.7.0 too many connections"))
        self.come("127.0.0.1", door=1)
        self.assertEqual(self.last_words(door=1), b"")
        self.links[0].kill()
        self.come(*["127.0.0.1"] * 3)
        self.assertEqual(sum(self.counts), 6)

    def test_crowded(self) -> None:
        """Workers are told when more than half of the places are in use, and when not (S-16)."""
        self.serving()
        self.come(*["127.0.0.1"] * 3)
        crowded = {"kind": "crowded", "listener": "local", "is_crowded": True}
        self.assertEqual([link.told[-1] for link in self.links], [crowded] * 2)
        self.links[0].kill()
        self.assertEqual(self.links[1].told[-1], {**crowded, "is_crowded": False})

    def test_crowded_from_the_start(self) -> None:
        """A worker that is started meanwhile knows it, too."""
        self.serving()
        self.come(*["127.0.0.1"] * 4)
        self.links[0].kill()
        self.come("127.0.0.1")
        self.reactor.advance(1)
        self.assertEqual(self.links[2].told[0]["crowds"], ["local"])

    def test_clogged(self) -> None:
        """While a worker takes no more, nobody is accepted; afterwards they are."""
        self.serving()
        self.links[0].is_clogged = True
        self.come("127.0.0.1", "127.0.0.1", "127.0.0.1")
        self.assertEqual((self.counts, len(self.smtp.listening.coming)), ([1, 0], 2))
        self.links[0].is_clogged = False
        self.links[0].watcher.unclogged()
        self.come()
        self.assertEqual(sum(self.counts), 3)

    def test_hangs(self) -> None:
        """
        A worker that takes no more and gives no sign of life stops only its own clients:
        they are told to come again, all others are served by those who work.
        """
        self.serving()
        self.come("192.0.2.1")
        hanging = self.counts.index(1)
        other = self.links[1 - hanging]
        self.links[hanging].is_clogged = True
        self.come("192.0.2.1")
        for _ in range(2):
            self.assertEqual(self.reactor.reading, set())
            self.reactor.advance(2)
            other.watcher.heard({"kind": "alive"})
        self.come("192.0.2.1")
        self.assertTrue(self.last_words().startswith(b"421 4.7.0"))
        self.come(*["127.0.0.1"] * 2)
        self.assertEqual((self.counts[hanging], self.counts[1 - hanging]), (2, 2))
        self.links[hanging].watcher.heard({"kind": "alive"})
        self.assertEqual(self.reactor.reading, set())

    def test_nobody(self) -> None:
        """With no worker at all connections wait until there is one."""
        self.serving()
        for link in list(self.links):
            link.kill()
        self.come("127.0.0.1")
        self.assertEqual((sum(self.counts), len(self.smtp.listening.coming)), (0, 1))
        self.reactor.advance(1)
        self.links[-1].ready()
        self.come()
        self.assertEqual(sum(self.counts), 1)

    def test_draining(self) -> None:
        """While the workers end, who comes is told so; then the sockets are closed (S-15)."""
        self.serving()
        closing = Deferred.fromCoroutine(self.gate.close())
        self.come("127.0.0.1")
        self.assertTrue(self.last_words().startswith(b"421 4.3.2"))
        for link in self.links:
            link.watcher.ended("exit status 0")
        self.successResultOf(closing)
        self.assertEqual((self.smtp.is_closed, self.reactor.reading), (True, set()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class TalkTests(GateCase):
    """What is said."""

    def test_news(self) -> None:
        """What a worker stored wakes what delivers it."""
        self.serving()
        news = {"kind": "news", "ended": {}, "accounts": ["ann"], "queued": True}
        self.links[1].watcher.heard(news)
        self.links[1].watcher.heard({**news, "accounts": [], "queued": False})
        self.assertEqual(self.woken, [(frozenset({"ann"}), True)])

    def test_reload(self) -> None:
        """Every worker is told the settings; it is known when all obey them."""
        gate = self.serving()
        limits = LimitSettings(limits_exempt=(IPv4Network("10.0.0.0/8"),))
        gate.reload(self.settings(limits=limits), cast("Any", None))
        obeyed = Deferred.fromCoroutine(gate.obeyed())
        for link in self.links:
            self.assertNoResult(obeyed)
            self.assertEqual(unpacked(link.told[-1]["settings"]).limits, limits)
            link.watcher.heard({"kind": "obeyed", "round": link.told[-1]["round"]})
        self.successResultOf(obeyed)
        self.come("127.0.0.1", "127.0.0.1")
        self.assertEqual(sorted(self.counts), [0, 2])
        self.links[0].kill()
        self.reactor.advance(1)
        self.assertEqual(unpacked(self.links[2].told[0]["orders"]).settings.limits, limits)

    def test_not_obeyed(self) -> None:
        """One that does not answer, or ends, is not waited for without end."""
        gate = self.serving()
        gate.reload(self.settings(), cast("Any", None))
        obeyed = Deferred.fromCoroutine(gate.obeyed())
        self.links[0].kill()
        self.assertNoResult(obeyed)
        self.reactor.advance(10)
        self.successResultOf(obeyed)
        self.successResultOf(Deferred.fromCoroutine(gate.obeyed()))

    def test_listener_gone(self) -> None:
        """A listener that the file has no more is served as before, until a restart."""
        gate = self.serving()
        other = ListenerSettings(name="other", addresses=())
        words = gate.reload(self.settings(listeners=(other,)), cast("Any", None))
        self.assertEqual(len(words), 2)
        told = unpacked(self.links[0].told[-1]["settings"])
        self.assertEqual([one.name for one in told.listeners], ["other", "local"])
        self.come("127.0.0.1")
        self.assertEqual(sum(self.counts), 1)

    def test_tickets(self) -> None:
        """Every worker gets new ticket keys (S-7)."""
        gate = self.serving()
        self.successResultOf(Deferred.fromCoroutine(gate.renew_tickets()))
        self.assertEqual([link.kinds()[-1] for link in self.links], ["tickets"] * 2)

    def test_samples(self) -> None:
        """What all have counted is there once all have told, or after two seconds."""
        gate = self.serving()
        for answers in (2, 1):
            asked = Deferred.fromCoroutine(gate.samples())
            for link in self.links[:answers]:
                self.assertNoResult(asked)
                link.watcher.heard({
                    "kind": "samples",
                    "round": link.told[-1]["round"],
                    "samples": [["n_total", [], 5.0, True]],
                })  # fmt: skip
            if answers == 1:
                self.assertNoResult(asked)
                self.reactor.advance(2)
            self.assertEqual(self.successResultOf(asked), {("n_total", ()): 10.0})
        self.assertIn(b"moxsmtp_worker_silent_total 1.0", self.metrics.exposition())
        self.assertIn(b"moxsmtp_workers 2.0", self.metrics.exposition())

    def test_trouble(self) -> None:
        """Who asks whether the server is ready is told of workers that are not."""
        gate = self.serving()
        self.assertIsNone(gate.trouble())
        self.links[0].kill()
        self.assertEqual(gate.trouble(), "1 of 2 workers are not ready")
        self.assertIn(b"moxsmtp_worker_ends_total 1.0", self.metrics.exposition())
