"""Threads that work through a bounded queue of units, and answer in the reactor's."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxsmtp.store.errors import DatabaseUnavailable
from moxsmtp.store.transaction import Transaction

__all__ = ["Crew", "Done", "Outcome", "Raised", "Unit", "Work", "Worker"]

_log: Final = Logger()

#: Turns of the reactor that a unit waits for others, and how many others are enough.
_TURNS: Final = 4
_MANY: Final = 16

#: Seconds that a thread and the reactor's wait for each other at most.
_WAY: Final = 0.005

Work = Callable[[Transaction], Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What a unit gave; it is committed."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What went wrong; nothing of the unit is in the database."""

    error: BaseException


Outcome = Done | Raised


class Unit:
    """
    A unit of work that waits for a thread.

    @ivar settled: Called once in the reactor's thread with whether it is
        committed, also when nobody waits for C{deferred} any more.
    """

    __slots__ = ("deferred", "dropped", "settled", "started", "work")

    def __init__(
        self,
        work: Work,
        settled: Callable[[bool], None] | None,
        drop: Callable[[Unit], None],
    ) -> None:
        self.work = work
        self.settled = settled
        self.started = False
        self.dropped = False
        self.deferred: Deferred[Any] = Deferred(lambda _: drop(self))

    def settle(self, outcome: Outcome) -> None:
        """Tell both who are waiting; who has cancelled is not."""
        if self.settled is not None:
            try:
                self.settled(isinstance(outcome, Done))
            except Exception:  # noqa: BLE001  # a bug of one must not leave others without answer
                _log.failure("what follows a unit of work failed")
        if self.deferred.called:
            return
        if isinstance(outcome, Done):
            self.deferred.callback(outcome.value)
        else:
            self.deferred.errback(outcome.error)


class Worker(Protocol):
    """
    One thread's connection.  All but the making of it happens in that thread.

    @ivar patience: Seconds without a unit after which it may L{rest}; L{None}:
        it has nothing to do then.
    """

    patience: float | None

    def run(
        self, begin: Callable[[], Sequence[Work]], worked: Callable[[], None]
    ) -> Sequence[Outcome]:
        """
        Do all, each for itself; never raises.

        @param begin: Gives what there is to do; to be called once, when it can be
            done: what comes while the worker waits for others is done with it.
        @param worked: May be called when there is only the disk to wait for.
        """

    def tidy(self) -> None:
        """The outcomes are told: do what had to come after the commit; never raises."""

    def rest(self) -> bool:
        """
        Do a small step of house-keeping; never raises.

        @return: Whether there is more of it.
        """

    def close(self) -> None:
        """There is nothing more to come; never raises."""


class Crew:
    """
    Threads in front of one queue.

    At most C{bound} units are with the threads; the rest wait here in the
    order they came.  What no thread has begun is dropped by cancelling.

    Where a thread takes several at once, those of a few turns of the reactor are
    handed over together: a commit for all of them writes the pages they share
    once, and a thread is woken once.  While it does them, the reactor's thread
    gives way to it.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        workers: Sequence[Callable[[], Worker]],
        *,
        batch: int = 1,
        bound: int = 1024,
    ) -> None:
        """
        @param reactor: IReactorFromThreads and IReactorTime.
        @param workers: Each is called in its thread, and must not raise.
        @param batch: Units that one thread takes at once at most.
        """
        self._reactor = reactor
        self._name = name
        self._workers = workers
        self._batch = batch
        self._bound = bound
        self._queue: queue.SimpleQueue[Sequence[Unit] | None] = queue.SimpleQueue()
        self._gathered: list[Unit] = []
        self._lock = threading.Lock()
        self._waiting: deque[Unit] = deque()
        self._handed = 0
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._stopped: list[Deferred[None]] = []

    # -- in the reactor's thread

    @property
    def load(self) -> int:
        """Units not answered yet."""
        return self._handed + len(self._waiting)

    @property
    def handed(self) -> int:
        """Those of them that are with the threads."""
        return self._handed

    def submit(self, work: Work, settled: Callable[[bool], None] | None = None) -> Deferred[Any]:
        """Queue a unit; see L{moxsmtp.store.database.Database.transact}."""
        unit = Unit(work, settled, self._drop)
        if self._stopping:
            unit.settle(Raised(DatabaseUnavailable("the database is closed")))
            return unit.deferred
        if not self._threads:
            self._start()
        if self._handed < self._bound:
            self._hand(unit)
        else:
            self._waiting.append(unit)
        return unit.deferred

    def stop(self) -> Deferred[None]:
        """Finish what is queued, then end the threads."""
        stopped: Deferred[None] = Deferred()
        if not self._threads:
            self._stopping = True
            stopped.callback(None)
            return stopped
        self._stopped.append(stopped)
        if not self._stopping:
            self._stopping = True
            self._dismiss()
        return stopped

    def _start(self) -> None:
        for number, make in enumerate(self._workers):
            thread = threading.Thread(
                target=self._attend, args=(make,), name=f"{self._name}-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _hand(self, unit: Unit) -> None:
        self._handed += 1
        if self._batch == 1:
            self._queue.put((unit,))
            return
        if not self._gathered:
            self._reactor.callLater(0, self._await_others, _TURNS)
        self._gathered.append(unit)

    def _await_others(self, turns: int) -> None:
        """
        A commit costs as much as six units in it, a turn of the reactor next to
        nothing; and under load each of them brings more units.
        """
        if turns and 0 < len(self._gathered) < _MANY:
            self._reactor.callLater(0, self._await_others, turns - 1)
        else:
            self._hand_gathered()

    def _hand_gathered(self) -> None:
        units, self._gathered = self._gathered, []
        if units:
            self._queue.put(units)

    def _give_way(self, way: _Way) -> None:
        """What was submitted until now is done with the rest."""
        self._hand_gathered()
        way.give()

    def _dismiss(self) -> None:
        """Once nothing waits, send each thread home behind the last unit."""
        if self._stopping and not self._waiting:
            self._hand_gathered()
            for _ in self._threads:
                self._queue.put(None)

    def _drop(self, unit: Unit) -> None:
        with self._lock:
            if unit.started:
                return  # it is on its way into the database; only its answer is dropped
            unit.dropped = True
        unit.work = _nothing
        if unit.settled is not None:
            unit.settled(False)

    def _answer(self, taken: int, answered: Sequence[tuple[Unit, Outcome]]) -> None:
        self._handed -= taken
        had_waiting = bool(self._waiting)
        while self._waiting and self._handed < self._bound:
            unit = self._waiting.popleft()
            if not unit.dropped:
                self._hand(unit)
        if had_waiting:
            self._dismiss()
        for unit, outcome in answered:
            unit.settle(outcome)

    def _gone(self, thread: threading.Thread) -> None:
        thread.join()
        self._threads.remove(thread)
        if not self._threads:
            stopped, self._stopped = self._stopped, []
            for each in stopped:
                each.callback(None)

    # -- in a thread

    def _attend(self, make: Callable[[], Worker]) -> None:
        worker = make()
        pile = _Pile(self._queue)
        while pile.wait(worker):
            taken: list[Unit] = []
            way = _Way()
            outcomes = worker.run(partial(self._begin, pile, taken, way), way.leave)
            way.leave()
            answered = list(zip((unit for unit in taken if unit.started), outcomes, strict=True))
            self._reactor.callFromThread(self._answer, len(taken), answered)
            worker.tidy()
        worker.close()
        self._reactor.callFromThread(self._gone, threading.current_thread())

    def _begin(self, pile: _Pile, taken: list[Unit], way: _Way) -> Sequence[Work]:
        """
        Begin what has come by now; it cannot be dropped any more.

        @param taken: Gets these units, and those that were dropped before.
        """
        if self._batch > 1:
            self._reactor.callFromThread(self._give_way, way)
            way.take()
        taken += pile.take(self._batch)
        with self._lock:
            for unit in taken:
                unit.started = not unit.dropped
        return [unit.work for unit in taken if unit.started]


class _Way:
    """
    The reactor's thread gives way to another one.

    The interpreter runs one of them at a time anyhow.  But SQLite lets go of it in each
    statement, and so do sockets whenever something is read or written; where both
    are at work, each time the other is woken up, mostly to find that it has to wait
    on.  That took more than the statements themselves.
    """

    __slots__ = ("_is_given", "_is_over")

    def __init__(self) -> None:
        self._is_given = threading.Event()
        self._is_over = threading.Event()

    def give(self) -> None:
        """In the reactor's thread: wait until the other leaves, though not for a slow one."""
        self._is_given.set()
        self._is_over.wait(_WAY)

    def take(self) -> None:
        """In the other: wait for the reactor's turn to end, though not for a long one."""
        self._is_given.wait(_WAY)

    def leave(self) -> None:
        """The reactor may go on.  May be repeated."""
        self._is_over.set()


class _Pile:
    """Units that a thread has taken out of the queue, as many as came at once."""

    def __init__(self, waiting: queue.SimpleQueue[Sequence[Unit] | None]) -> None:
        self._queue = waiting
        self._units: list[Unit] = []
        self._at_work = True

    def wait(self, worker: Worker) -> bool:
        """
        For a unit, the worker resting meanwhile.

        @return: Whether there is one; if not, it is time to go home.
        """
        pause = worker.patience
        while self._at_work and not self._units:
            try:
                self._add(self._queue.get(timeout=pause))
            except queue.Empty:
                pause = 0 if worker.rest() else None
        return bool(self._units)

    def take(self, most: int) -> Sequence[Unit]:
        """Those that are here by now, C{most} of them."""
        while self._at_work and len(self._units) < most:
            try:
                self._add(self._queue.get_nowait())
            except queue.Empty:
                break
        taken = self._units[:most]
        del self._units[:most]
        return taken

    def _add(self, more: Sequence[Unit] | None) -> None:
        if more is None:
            self._at_work = False
        else:
            self._units += more


def _nothing(tx: Transaction) -> None:
    """Stands for the work of a unit that was dropped."""
