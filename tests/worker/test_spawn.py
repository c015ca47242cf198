"""Tests for L{moxsmtp.worker.spawn}."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import moxsmtp
from moxsmtp.worker import spawn as spawn_module
from moxsmtp.worker.passing import Arrival
from moxsmtp.worker.spawn import Spawner, Watcher


class Crowded:
    """
    A reactor whose process may have no more files open.

    @ivar spawned: So many processes were started.
    """

    spawned = 0

    def adoptStreamConnection(self, descriptor: int, *_: Any) -> None:
        """There is no room."""
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def spawnProcess(self, *_: Any, **__: Any) -> object:
        """One more."""
        self.spawned += 1
        return object()


def open_files() -> int:
    """How many this process has, where the system tells; one is the listing itself."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


class Roomy:
    """
    A reactor.

    @ivar environments: Of what was started.
    @ivar blocked: The signals that it never hears of.
    """

    def __init__(self) -> None:
        self.environments: list[dict[str, str]] = []
        self.blocked: list[set[int]] = []

    def adoptStreamConnection(self, *_: Any) -> None:
        """The channel is not needed."""

    def spawnProcess(self, *_: Any, env: dict[str, str], **__: Any) -> object:
        """One more."""
        self.environments.append(env)
        self.blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return object()


class Looking(Clock):
    """
    A reactor that knows the time.

    @ivar writing: Whose sockets are looked at for room.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writing: set[object] = set()

    def adoptStreamConnection(self, *_: Any) -> None:
        """The channel is not needed."""

    def spawnProcess(self, *_: Any, **__: Any) -> object:
        """One that can be killed."""
        return self

    def signalProcess(self, name: str) -> None:
        """It must not be."""
        raise AssertionError(name)

    def addWriter(self, writer: object) -> None:
        """See C{IReactorFDSet}."""
        self.writing.add(writer)

    def removeWriter(self, writer: object) -> None:
        """See C{IReactorFDSet}."""
        self.writing.discard(writer)


class LinkTests(SynchronousTestCase):
    """Connections on their way to a worker."""

    def setUp(self) -> None:
        """A worker, and what the system says of descriptors that are sent to it."""
        self.errors: list[int] = []
        self.sent: list[int] = []
        self.patch(spawn_module, "send_connection", self.send)
        self.reactor = Looking()
        make = Spawner(self.reactor, 0, "text", lambda _: None)
        self.watcher = WatcherDouble()
        self.link = cast("Any", make(0, cast("Watcher", self.watcher)))
        self.addCleanup(self.link._passing.close)

    def send(self, channel: object, descriptor: int, arrival: Arrival) -> None:
        """One."""
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        self.sent.append(arrival.number)

    def come(self, *numbers: int) -> None:
        """Connections."""
        for number in numbers:
            here, there = socket.socketpair()
            self.addCleanup(there.close)
            self.link.pass_on(here, Arrival(0, number))

    def test_in_order(self) -> None:
        """They arrive in the order in which they came."""
        self.come(1, 2)
        self.assertEqual([1, 2], self.sent)

    def test_not_now(self) -> None:
        """
        Too many descriptors under way are no reason to give the worker up, nor to lose a
        connection: a moment later it is tried again, and not all the time.
        """
        self.errors = [errno.ETOOMANYREFS, errno.ENOBUFS]
        self.come(1, 2)
        self.assertEqual(([], set()), (self.sent, self.reactor.writing))
        self.reactor.advance(0.1)
        self.assertEqual([], self.sent)
        self.reactor.advance(0.1)
        self.assertEqual([1, 2], self.sent)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_unclogged(self) -> None:
        """Who waited for a worker that took no more is told when it does again."""
        self.errors = [errno.ETOOMANYREFS]
        self.come(*range(64))
        self.assertTrue(self.link.is_clogged)
        self.reactor.advance(0.1)
        self.assertEqual((64, 1), (len(self.sent), self.watcher.unclogs))

    def test_end_meanwhile(self) -> None:
        """A worker that ends meanwhile is not waited for."""
        self.errors = [errno.ETOOMANYREFS]
        self.come(1)
        self.link.processEnded(Failure(ProcessDone(0)))
        self.assertEqual([], self.reactor.getDelayedCalls())


class SpawnerTests(SynchronousTestCase):
    """Starting a worker."""

    def test_no_room(self) -> None:
        """
        Where no file can be opened any more no process is left that nobody knows: it
        would be counted as ended twice.  No descriptor is left, either.
        """
        reactor = Crowded()
        spawn = Spawner(reactor, 0, "text", lambda _: None)
        before = open_files()
        self.assertRaises(OSError, spawn, 0, cast("Watcher", WatcherDouble()))
        self.assertEqual(reactor.spawned, 0)
        self.assertEqual(open_files(), before)

    def test_packages(self) -> None:
        """
        Where this package is not installed for all, a worker finds it, and what it needs,
        where its parent did.
        """
        self.patch(moxsmtp, "__file__", "/opt/ours/moxsmtp/__init__.py")
        self.patch(sys, "path", ["", *sys.path, "/opt/theirs"])
        reactor = Roomy()
        link = cast(
            "Any", Spawner(reactor, 0, "text", lambda _: None)(0, cast("Watcher", WatcherDouble()))
        )
        link._passing.close()
        (environment,) = reactor.environments
        paths = environment["PYTHONPATH"].split(os.pathsep)
        self.assertEqual((paths[0], paths[-1]), ("/opt/ours", "/opt/theirs"))
        self.assertNotIn("", paths)

    def test_signals(self) -> None:
        """
        What ends or reloads the server by way of its parent does not end a worker that
        has not read its own code yet; the parent hears all that it heard before.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        reactor = Roomy()
        spawn = Spawner(reactor, 0, "text", lambda _: None)
        cast("Any", spawn(0, cast("Watcher", WatcherDouble())))._passing.close()
        (blocked,) = reactor.blocked
        self.assertEqual({signal.SIGHUP, signal.SIGINT}, blocked - before)
        self.assertEqual(before, signal.pthread_sigmask(signal.SIG_BLOCK, ()))


class WatcherDouble:
    """
    Hears nothing else.

    @ivar unclogs: How often it was told that there is room again.
    """

    unclogs = 0

    def heard(self, message: object) -> None:
        """See L{Watcher}."""

    def unclogged(self) -> None:
        """See L{Watcher}."""
        self.unclogs += 1

    def ended(self, why: str) -> None:
        """See L{Watcher}."""
