"""
Content that streams in: in memory while it is small and there is room, in a
file beyond.

What waits in memory, over all sessions, is charged to one L{Budget}.  Disk work
is done by threads in pieces; a writer waits only where one piece is being
written and another is full, or where the budget is used up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from moxsmtp.interfaces import InsufficientStorage, ISpool, Spooled
from moxsmtp.store.files import ContentFiles, IncomingFile, header_end
from moxsmtp.store.schema import CHUNK

__all__ = ["Budget", "Contents", "Spool"]

#: Octets that are given to a thread at once, and that wait meanwhile.
PIECE: Final = 256 * 1024

T = TypeVar("T")

_log: Final = Logger()


class Budget:
    """Octets of content that wait in memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, octets: int) -> bool:
        """Charge, if it fits."""
        if self.used + octets > self.limit:
            return False
        self.used += octets
        return True

    def charge(self, octets: int) -> None:
        """Charge, even if it does not fit."""
        self.used += octets

    def give(self, octets: int) -> None:
        """What was charged is free again."""
        self.used -= octets


class Contents:
    """
    Makes spools, and knows what became of their content.

    @ivar budget: What waits in memory.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        files: ContentFiles,
        *,
        memory: int,
        keep_files: bool,
        has_room: Callable[[], bool],
    ) -> None:
        """
        @param pool: For disk work; started and stopped by its owner.
        @param keep_files: Whether stored content stays the file it came in
            (SQLite) or is in the tables (PostgreSQL).
        @param has_room: Whether the disk has its C{minimum_free}.
        """
        self.budget = Budget(memory)
        self.files = files
        self.keep_files = keep_files
        self._reactor = reactor
        self._pool = pool
        self._has_room = has_room
        #: Finished and nobody's yet, by the identity of the L{Spooled} that each keeps.
        self._finished: dict[int, Spool] = {}

    def spool(self) -> Spool:
        """
        A place for content about to come in.

        @raise InsufficientStorage: There is no room.
        """
        if not self._has_room():
            raise InsufficientStorage("less disk space is free than has to be")
        return Spool(self)

    def custody(self, spooled: Spooled) -> Callable[[bool], None]:
        """
        A unit is about to store C{spooled}.  Until it is settled, aborting the
        spool removes nothing; once it is committed, the content is the store's.

        @return: For L{Database.transact}'s C{settled}.
        """
        spool = self._finished.get(id(spooled))
        return _nobody if spool is None else spool.in_custody()

    def finished(self, spool: Spool, spooled: Spooled) -> None:
        """C{spool} keeps C{spooled}, so that no other can get its identity."""
        self._finished[id(spooled)] = spool

    def forget(self, spooled: Spooled) -> None:
        """It is the store's, or gone."""
        self._finished.pop(id(spooled), None)

    def run(self, work: Callable[..., T], *arguments: object) -> Deferred[T]:
        """In a thread for disk work."""
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)


def _nobody(_: bool) -> None:
    """For content that no spool of ours made."""


@implementer(ISpool)
class Spool:
    """One message's content; see L{ISpool}."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._budget = contents.budget
        self._size = 0
        self._has_8bit = False
        #: What is neither written nor being written, and what is charged for it.
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._charged = 0
        self._file: IncomingFile | None = None
        #: A thread is at the file, for C{_job}.
        self._busy = False
        self._job: Deferred[None] | None = None
        self._waiter: Deferred[None] | None = None
        #: The waiter waits until nothing is buffered.
        self._drain = False
        self._error: BaseException | None = None
        self._spooled: Spooled | None = None
        #: Units under way that store this content.
        self._custody = 0
        self._taken = False
        self._aborted = False
        self._over = False

    # -- ISpool

    def write(self, data: bytes) -> Deferred[None] | None:
        """See L{ISpool.write}."""
        if self._error is not None:
            raise self._error
        if self._over:
            raise ValueError("the spool is at its end")
        length = len(data)
        self._size += length
        if not self._has_8bit and not data.isascii():
            self._has_8bit = True
        self._pieces.append(data)
        self._buffered += length
        fits = self._budget.take(length)
        if fits:
            self._charged += length
            if self._size <= CHUNK and self._file is None:
                return None
        return self._spill(wait=not fits)

    def finish(self) -> Deferred[Spooled]:
        """See L{ISpool.finish}."""
        if self._file is None:
            # Most content: there is nothing to wait for.
            return succeed(self._finished_in_memory())
        return Deferred.fromCoroutine(self._finish(self._file))

    def abort(self) -> None:
        """See L{ISpool.abort}."""
        self._aborted = True
        if not self._custody:
            self._end(keep=False)

    def _finished_in_memory(self) -> Spooled:
        data = b"".join(self._pieces)
        self._pieces = [data]
        end = header_end(data)
        header = data if end is None else data[:end]
        return self._handed_out(Spooled(self._size, header, self._has_8bit, inline=data))

    async def _finish(self, file: IncomingFile) -> Spooled:
        header = await self._finish_file(file)
        self._budget.charge(len(header))
        self._charged = len(header)
        return self._handed_out(Spooled(self._size, header, self._has_8bit, file=file.final.name))

    def _handed_out(self, spooled: Spooled) -> Spooled:
        self._spooled = spooled
        self._contents.finished(self, spooled)
        return spooled

    async def _finish_file(self, file: IncomingFile) -> bytes:
        if self._busy:
            await self._wait(drain=True)
        if self._error is not None:
            raise self._error
        pieces, charge = self._take()
        # Cancelling this does not end the thread's work; _finished sees its end.
        answer: Deferred[bytes] = Deferred()
        self._busy = True
        job = self._contents.run(file.finish, pieces)
        self._job = job.addBoth(self._finished, charge, answer)
        return await answer

    # -- the file

    def _spill(self, *, wait: bool) -> Deferred[None] | None:
        """@param wait: There is no room in memory."""
        if self._file is None:
            files = self._contents.files
            self._file = IncomingFile(files.path(files.new_name()))
        if self._buffered < PIECE and not wait:
            return None
        if not self._busy:
            self._start(self._file)
            if self._error is not None:
                raise self._error
            if not wait or not self._busy:
                return None
        return self._wait(drain=wait)

    def _take(self) -> tuple[list[bytes], int]:
        pieces, charge = self._pieces, self._charged
        self._pieces, self._charged, self._buffered = [], 0, 0
        return pieces, charge

    def _start(self, file: IncomingFile) -> None:
        pieces, charge = self._take()
        self._busy = True
        self._job = self._contents.run(file.append, pieces).addBoth(self._written, charge, file)

    def _written(self, result: object, charge: int, file: IncomingFile) -> None:
        self._budget.give(charge)
        self._busy = False
        if isinstance(result, Failure):
            self._error = result.value
        if self._over:
            self._remove()
        elif self._error is None and (self._buffered >= PIECE or (self._drain and self._buffered)):
            drain = self._drain
            self._start(file)
            if drain:
                return  # whoever waits for all waits on
        self._wake()

    def _finished(self, result: bytes | Failure, charge: int, answer: Deferred[bytes]) -> None:
        self._budget.give(charge)
        self._busy = False
        if isinstance(result, Failure):
            self._error = result.value
        if self._over:
            self._remove()
        answer.callback(result)

    def _wait(self, *, drain: bool) -> Deferred[None]:
        self._waiter = Deferred(self._wait_no_more)
        self._drain = drain
        return self._waiter

    def _wait_no_more(self, _: Deferred[None]) -> None:
        self._waiter = None
        self._drain = False

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        self._drain = False
        if waiter is None:
            return
        if self._error is None:
            waiter.callback(None)
        else:
            waiter.errback(self._error)

    # -- the end

    def in_custody(self) -> Callable[[bool], None]:
        """See L{Contents.custody}."""
        self._custody += 1
        return self._settled

    def _settled(self, committed: bool) -> None:
        self._custody -= 1
        self._taken = self._taken or committed
        if self._custody:
            return
        if self._taken:
            self._end(keep=self._contents.keep_files)
        elif self._aborted:
            self._end(keep=False)

    def _end(self, *, keep: bool) -> None:
        """It is the store's, or nobody's."""
        if self._over:
            return
        self._over = True
        self._budget.give(self._charged)
        self._take()
        if self._spooled is not None:
            self._contents.forget(self._spooled)
        if not keep and not self._busy:
            self._remove()

    def _remove(self) -> None:
        if self._file is not None:
            done = self._contents.run(self._file.remove)
            self._job = done.addErrback(_stays_behind)


def _stays_behind(why: Failure) -> None:
    """The daily sweep will find it."""
    _log.failure("a content file stays behind", failure=why)
