"""Tests for L{moxsmtp.worker.spawn}."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

import moxsmtp
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
    """

    def __init__(self) -> None:
        self.environments: list[dict[str, str]] = []

    def adoptStreamConnection(self, *_: Any) -> None:
        """The channel is not needed."""

    def spawnProcess(self, *_: Any, env: dict[str, str], **__: Any) -> object:
        """One more."""
        self.environments.append(env)
        return object()


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


class WatcherDouble:
    """Hears nothing."""

    def heard(self, message: object) -> None:
        """See L{Watcher}."""

    def unclogged(self) -> None:
        """See L{Watcher}."""

    def ended(self, why: str) -> None:
        """See L{Watcher}."""
