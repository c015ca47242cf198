"""A coroutine with a resolver, run to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.admin.cli_base import Trouble
from moxsmtp.admin.offline import resolver_settings, run
from moxsmtp.dns.records import Question, RRType
from moxsmtp.interfaces import IResolver
from tests.config.test_load import LEAST
from tests.dns.packets import Net, reply


class Loop(Net):
    """
    A net whose reactor runs until it is told to stop.

    @ivar interrupted: The user ends it at once.
    """

    def __init__(self, *, interrupted: bool = False) -> None:
        super().__init__()
        self.interrupted = interrupted
        self.started: list[Callable[[], object]] = []
        self.at_end: list[Callable[[], object]] = []
        self.stopped = False

    def addSystemEventTrigger(self, phase: str, event: str, trigger: Callable[[], object]) -> None:
        """See C{IReactorCore}."""
        assert (phase, event) == ("before", "shutdown")
        self.at_end.append(trigger)

    def callWhenRunning(self, call: Callable[..., object], *args: object) -> None:
        """See C{IReactorCore}."""
        self.started.append(lambda: call(*args))

    def run(self) -> None:
        """See C{IReactorCore}: answers each query, and ends when all is done."""
        if self.interrupted:
            for trigger in self.at_end:
                trigger()
            return
        for port, packet in self.sent:
            port.receive(reply(packet, ("a.example. 300 IN A 192.0.2.1",)))
        for call in self.started:
            call()

    def stop(self) -> None:
        """See C{IReactorCore}."""
        self.stopped = True


async def look_up(reactor: Any, resolver: IResolver) -> object:
    """The address of C{a.example}."""
    del reactor
    return (await resolver.lookup(Question("a.example", RRType.A))).records


class RunTests(SynchronousTestCase):
    """What becomes of the coroutine."""

    def write(self, text: str) -> str:
        """A configuration."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path.rename(path.with_suffix(".toml")))

    def test_result(self) -> None:
        """It asks the servers of the configuration; its result is ours, and no socket is left."""
        config = self.write(f'{LEAST}\n[resolver]\nservers = ["192.0.2.53"]\n')
        loop = Loop()
        self.assertEqual(run(config, look_up, reactor=loop), ("192.0.2.1",))
        self.assertEqual([port.address for port in loop.ports], [("192.0.2.53", 53)])
        self.assertFalse(any(port.open for port in loop.ports))
        self.assertTrue(loop.stopped)

    def test_trouble(self) -> None:
        """What it raises is raised here, without a traceback on the way."""

        async def fail(reactor: Any, resolver: IResolver) -> None:
            raise Trouble(f"no {reactor} and {resolver}")

        loop = Loop()
        with self.assertRaises(Trouble):
            run(None, fail, reactor=loop)
        self.assertTrue(loop.stopped)

    def test_interrupted(self) -> None:
        """A reactor that is stopped from outside is the user giving up, not an empty result."""
        config = self.write(f'{LEAST}\n[resolver]\nservers = ["192.0.2.53"]\n')
        loop = Loop(interrupted=True)
        with self.assertRaises(KeyboardInterrupt):
            run(config, look_up, reactor=loop)
        self.assertFalse(any(port.open for port in loop.ports))

    def test_bad_configuration(self) -> None:
        """A configuration with mistakes is told as such, and nothing runs."""
        with self.assertRaisesRegex(Trouble, "attempts"):
            resolver_settings(self.write(f"{LEAST}\n[resolver]\nattempts = 'x'\n"))
