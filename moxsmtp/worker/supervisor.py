"""Keeps worker processes running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from moxsmtp.worker.affinity import in_order
from moxsmtp.worker.frames import Message
from moxsmtp.worker.spawn import ILink, Watcher

__all__ = ["Crew", "ICrewOwner", "Worker", "WorkerFailed"]

#: Seconds before one that ended is started again, each time twice as long.
_FIRST: Final = 1.0
_MOST: Final = 60.0

#: Seconds of a life after which its end is the first one again.
_LONG: Final = 60.0

#: Seconds for one to get ready.
_START: Final = 120.0

#: Seconds between two signs of life, and how many may stay out: they are counted, for
#: time that passes while this process itself stands still says nothing of another.
_PULSE: Final = 2.0
_SILENT: Final = 15

#: How many may stay out before others are preferred.
_SLOW: Final = 2

#: Seconds for one to end by itself: four for its connections (S-15), the rest for
#: what it has to store.
_STOP: Final = 20.0

_log: Final = Logger()

Spawn = Callable[[int, Watcher], ILink]


class WorkerFailed(Exception):
    """A worker process cannot run."""


class Worker:
    """
    One place in the crew, whatever processes come to fill it.

    @ivar link: The process there; L{None}: there is none now.
    @ivar is_ready: It takes connections.
    @ivar is_silent: It may hang.
    """

    def __init__(self, crew: Crew, number: int) -> None:
        self.number = number
        self.link: ILink | None = None
        self.is_ready = False
        self._crew = crew
        self._since = 0.0
        self._unanswered = 0
        self._delay = _FIRST
        self._timer: IDelayedCall | None = None

    @property
    def is_silent(self) -> bool:
        """See above."""
        return self._unanswered >= _SLOW

    def start(self) -> None:
        """Start a process."""
        clock = self._crew.clock
        self._timer = None
        self._unanswered = 0
        self._since = clock.seconds()
        try:
            self.link = self._crew.spawn(self.number, self)
        except OSError as error:
            self.ended(str(error))
            return
        self._timer = clock.callLater(_START, self._overdue)
        self.link.tell(self._crew.owner.first_message())

    def tell(self, message: Message) -> None:
        """If there is a process."""
        if self.link is not None:
            self.link.tell(message)

    def stop(self) -> None:
        """Start no more; tell it to end, and see that it does."""
        self.is_ready = False
        self._cancel()
        if self.link is not None:
            self.link.tell({"kind": "stop"})
            self._timer = self._crew.clock.callLater(_STOP, self._overdue)

    def kill(self) -> None:
        """At once."""
        if self.link is not None:
            self.link.kill()

    def _overdue(self) -> None:
        self._timer = None
        _log.error("worker {number} takes too long, and is killed", number=self.number)
        self.kill()

    def _feel(self) -> None:
        """Who hangs would keep everybody waiting whose connections it got."""
        self._timer = None
        if self._unanswered >= _SILENT:
            _log.error("worker {number} does not answer, and is killed", number=self.number)
            self.kill()
            return
        self._unanswered += 1
        self.tell({"kind": "alive"})
        self._timer = self._crew.clock.callLater(_PULSE, self._feel)
        if self._unanswered == _SLOW:
            self._crew.owner.changed()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # -- Watcher

    def heard(self, message: Message) -> None:
        """See L{Watcher.heard}."""
        was_silent, self._unanswered = self.is_silent, 0
        if was_silent:
            self._crew.owner.changed()
        if message["kind"] == "ready":
            if not self._crew.is_stopping:
                self._cancel()
                self.is_ready = True
                self._timer = self._crew.clock.callLater(_PULSE, self._feel)
            self._crew.ready(self)
        elif message["kind"] != "alive":
            self._crew.owner.heard(self, message)

    def unclogged(self) -> None:
        """See L{Watcher.unclogged}."""
        self._crew.owner.changed()

    def ended(self, why: str) -> None:
        """See L{Watcher.ended}."""
        was_ready, self.is_ready = self.is_ready, False
        self._cancel()
        self.link = None
        crew = self._crew
        if crew.lost(self, why):
            return
        lived = crew.clock.seconds() - self._since
        delay = _FIRST if was_ready and lived >= _LONG else self._delay
        self._delay = min(2 * delay, _MOST)
        _log.error(
            "worker {number} has ended ({why}); it is started again in {delay} s",
            number=self.number, why=why, delay=int(delay),
        )  # fmt: skip
        self._timer = crew.clock.callLater(delay, self.start)


class ICrewOwner(Protocol):
    """Who knows what workers are there for."""

    def first_message(self) -> Message:
        """What a new process is told."""

    def heard(self, worker: Worker, message: Message) -> None:
        """A worker says something."""

    def changed(self) -> None:
        """Workers came, went, or take connections again."""

    def lost(self, worker: Worker) -> None:
        """What it had is gone with it."""


class Crew:
    """
    All of them.

    @ivar is_stopping: No more are started.
    """

    def __init__(self, clock: Any, count: int, spawn: Spawn, owner: ICrewOwner) -> None:
        """@param clock: IReactorTime."""
        self.clock = clock
        self.spawn = spawn
        self.owner = owner
        self.is_stopping = False
        self.workers: Sequence[Worker] = [Worker(self, number) for number in range(count)]
        self._starting: Deferred[None] | None = None
        self._ending: Deferred[None] | None = None

    async def start(self) -> None:
        """
        Until all are ready.

        @raise WorkerFailed: One ended before.
        """
        starting: Deferred[None] = Deferred(lambda _: self._started())
        self._starting = starting
        for worker in self.workers:
            if not starting.called:
                worker.start()
        await starting

    def _started(self) -> None:
        self._starting = None

    @property
    def present(self) -> Sequence[Worker]:
        """Those that are ready."""
        return [worker for worker in self.workers if worker.is_ready]

    def chosen(self, key: str) -> Worker | None:
        """The one for C{key}, or who stands in for it; L{None}: there is nobody."""
        order = in_order(key, len(self.workers))
        return next((self.workers[n] for n in order if self.workers[n].is_ready), None)

    def tell(self, message: Message) -> None:
        """All who are there, ready or not: what was told first is obeyed first."""
        for worker in self.workers:
            worker.tell(message)

    def ready(self, worker: Worker) -> None:
        """One takes connections."""
        _log.info("worker {number} is ready", number=worker.number)
        self.owner.changed()
        if self._starting is not None and len(self.present) == len(self.workers):
            starting, self._starting = self._starting, None
            starting.callback(None)

    def lost(self, worker: Worker, why: str) -> bool:
        """@return: That it is not to be replaced."""
        self.owner.lost(worker)
        self.owner.changed()
        if self._starting is not None:
            starting, self._starting = self._starting, None
            self.is_stopping = True
            starting.errback(
                WorkerFailed(f"worker {worker.number} has ended before it was ready ({why})")
            )
        if self._ending is not None and not any(each.link for each in self.workers):
            ending, self._ending = self._ending, None
            ending.callback(None)
        return self.is_stopping

    async def stop(self) -> None:
        """Until none is left.  May be repeated once the first has ended."""
        self.is_stopping = True
        for worker in self.workers:
            worker.stop()
        if any(worker.link for worker in self.workers):
            self._ending = Deferred(lambda _: None)
            await self._ending

    def kill(self) -> None:
        """All, at once."""
        for worker in self.workers:
            worker.kill()
