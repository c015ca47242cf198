"""The way from the reactor to the tables: units of work, run in threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from moxsmtp.store.files import ContentFiles
from moxsmtp.store.transaction import Transaction

__all__ = ["Database", "Transaction"]

T = TypeVar("T")


class Database(ABC):
    """
    A unit of work is a function of a L{Transaction}.  It runs in a thread of
    the database, may be run again from its start where the engine demands that
    (so it changes nothing outside but through its result), and touches no
    reactor object.

    @ivar files: The content folder.
    """

    files: ContentFiles

    @abstractmethod
    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        settled: Callable[[bool], None] | None = None,
    ) -> Deferred[T]:
        """
        Run C{work} in a transaction of its own.  The result comes after the
        commit, when it is on disk.  What C{work} raises undoes all of it, and
        is the result.

        Cancelling drops a unit that has not begun; one that has is still
        committed, only its answer is lost.

        @param settled: Called once in the reactor's thread with whether it is
            committed, before the result is given, and after cancelling too.
        @raise InsufficientStorage: Disk full, quota (through the Deferred).
        @raise DatabaseUnavailable: Locked too long, gone, closed (likewise).
        """

    @abstractmethod
    def read(self, work: Callable[[Transaction], T]) -> Deferred[T]:
        """
        Run C{work}, which only reads and is short, over one state of the
        tables.  It does not wait for those who write.
        """

    @abstractmethod
    def stop(self) -> Deferred[None]:
        """Finish what is queued and close.  Whatever comes later is refused."""
