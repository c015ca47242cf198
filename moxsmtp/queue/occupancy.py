"""
Who holds the slots of a runner, and who gives way.

B{Attempts that wait.}  An attempt that has not heard a word for two seconds
costs no more than a socket: it I{waits aside}, and its slot is free until it is
spoken to again.  Five times as many attempts as there are slots may be under way in all.
So silent destinations pass through each slot at one every two seconds, whatever
they are silent at.  When many that waited are answered at once, all of them
go on, and nothing new begins until no more are at work than there are slots.

B{Attempts that crawl.}  A destination is I{troubled} if its last attempt
failed or took more than ten seconds; the store keeps that with the
destination.  A worker is I{slow} while its destination is troubled, and from
the moment its attempt under way has taken ten seconds.

 1. Of the slots, at most half are entitled to be slow, in the order in which
    workers became slow, and so is half of all that may be under way.
    Troubled destinations are claimed only as far as these
    halves have room; the rest takes destinations in good health only.
 2. A healthy destination may turn slow in any slot.  Beyond the half it has
    its slot B{on loan}: it may finish as long as nobody healthy wants the slot.
 3. When a healthy destination is due and there is no room for it, the attempt that
    became slow last of those on loan is cut, and settled as a transient
    failure; its destination is troubled from then on and waits for room in the
    slow half.

So there is room at once or, when all attempts are young, within ten seconds,
however many destinations hang, and an attempt that is merely long, on a server
with slots to spare, is never cut.  With C{n} slots, destinations that hang and
were in good health until then delay those due after them by 2 s for each C{n} of
them, and beyond the first C{5n} by 10 s for each C{2.5n}: a thousand and a hundred slots
make 34 s.  A troubled destination is given
back after every failed attempt, so the slow half goes round among all of
them, the longest due first.  With a single slot there are no halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["Holder", "Occupancy"]

#: Attempts under way, aside or not, for each slot.
_IN_ALL: Final = 5


class Holder(Protocol):
    """
    Who works on a destination.

    @ivar crawling: The attempt under way has taken too long.
    """

    crawling: bool


Worker = TypeVar("Worker", bound=Holder)


class Occupancy(Generic[Worker]):
    """Of one runner."""

    def __init__(self, limit: int) -> None:
        """@param limit: Slots."""
        self._limit = limit
        self._most = limit * _IN_ALL
        self._count = 0
        self._aside: set[Worker] = set()
        #: Those that were told to make room.
        self._leaving: set[Worker] = set()
        #: Slow workers, in the order in which they became slow.
        self._slow: dict[Worker, None] = {}

    # -- who comes and goes

    def begin(self, worker: Worker, *, troubled: bool) -> None:
        """It works, on such a destination."""
        self._count += 1
        if troubled:
            self._slow[worker] = None

    def end(self, worker: Worker) -> None:
        """Not any more."""
        self._count -= 1
        self._aside.discard(worker)
        self._leaving.discard(worker)
        self._slow.pop(worker, None)

    def slowed(self, worker: Worker) -> None:
        """Its attempt has begun to crawl."""
        self._slow.setdefault(worker)

    def recovered(self, worker: Worker) -> None:
        """Its destination is in good health."""
        self._slow.pop(worker, None)

    def step_aside(self, worker: Worker) -> None:
        """It waits for a word."""
        self._aside.add(worker)

    def step_back(self, worker: Worker) -> None:
        """It does not any more."""
        self._aside.discard(worker)

    def dismiss(self, worker: Worker) -> None:
        """It was told to make room."""
        self._leaving.add(worker)

    # -- who may come, and who has to go

    @property
    def leaving(self) -> int:
        """How many were told to make room and have not gone yet."""
        return len(self._leaving)

    @property
    def is_full(self) -> bool:
        """Whether nobody may begin."""
        return self.room <= 0

    @property
    def room(self) -> int:
        """For how many more; negative, where more are at work than there are slots."""
        return min(self._room_at_work, self._room_in_all)

    @property
    def room_for_trouble(self) -> int:
        """For how many of those that are troubled from the start."""
        contenders = self._contenders()
        at_work = sum(worker not in self._aside for worker in contenders)
        return min(self.room, _half(self._limit) - at_work, _half(self._most) - len(contenders))

    def on_loan(self) -> Sequence[Worker]:
        """Who makes room by being cut, the last one first to go."""
        contenders, most = self._contenders(), self._most
        if self._room_at_work < self._room_in_all:
            contenders = [worker for worker in contenders if worker not in self._aside]
            most = self._limit
        return [worker for worker in contenders[_half(most) :] if worker.crawling]

    @property
    def _room_at_work(self) -> int:
        return self._limit - (self._count - len(self._aside))

    @property
    def _room_in_all(self) -> int:
        return self._most - self._count

    def _contenders(self) -> list[Worker]:
        """Slow workers that have not been told to make room, in order."""
        return [worker for worker in self._slow if worker not in self._leaving]


def _half(slots: int) -> int:
    return max(1, slots // 2)
