"""
Hands stored messages over to Maildirs.

A batch goes through these steps, and a process may die between any two:

 1. files are written in C{tmp};
 2. they are put on disk, all at once;
 3. their names are recorded in the store;
 4. they are renamed into C{new}, and the folders put on disk;
 5. the store forgets the content.

Whoever finds a name recorded looks for that file first, in every folder, and
writes it again only where there is none: so there is exactly one copy, even if
its reader has moved it meanwhile.  A Maildir that has vanished while messages
are known to be in it is not made again: it may be a disk that is not mounted.
An account whose Maildir fails waits, ever longer, and holds up nobody else, and so
does a message whose content cannot be read.

One process at a time does this for a store; the others stand by.  One that was
frozen in the middle of a batch finds its duty gone before it lets a file appear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.interfaces import INBOX, IMetrics, InsufficientStorage, StorageUnavailable
from moxsmtp.mailbox.duty import IDuty
from moxsmtp.mailbox.maildir import Draft, Tree, Vanished, sync_files, sync_folder
from moxsmtp.mailbox.rest import Rest
from moxsmtp.mailbox.storage import HandOver, IHandOver
from moxsmtp.mailbox.threads import InThread, Maildirs, tree_of
from moxsmtp.mailbox.troubles import Troubles, longer

__all__ = ["HandOvers"]

#: Messages in one batch; each may bring 128 KiB of content along.
_BATCH: Final = 128

#: Octets of large content at a time.
_PIECE: Final = 1 << 20

#: Seconds that a batch gets when the service stops.
_GRACE: Final = 20.0


@dataclass(slots=True)
class _Written:
    """A file that waits in C{tmp} for its name to be recorded."""

    hand_over: HandOver
    tree: Tree
    draft: Draft
    name: str


class HandOvers(Service):
    """Does it while the service runs, whenever it is woken."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: InThread,
        store: IHandOver,
        maildirs: Maildirs,
        metrics: IMetrics,
        *,
        duty: IDuty,
        host: str,
    ) -> None:
        """
        @param duty: To hand mail over, where others share the store.
        @param host: Who we are, in the names of files.
        """
        self._clock = clock
        self._in_thread = in_thread
        self._store = store
        self._maildirs = maildirs
        self._metrics = metrics
        self._duty = duty
        self._host = host
        self._prepared: set[str] = set()
        self._troubles = Troubles(clock)
        self._store_delay = 0.0
        #: The last message that was looked at.
        self._seen = 0
        self._woken = False
        self._stopping = False
        self._rest = Rest(clock)
        self._running: Deferred[None] | None = None

    # -- service -------------------------------------------------------------------

    def startService(self) -> None:
        """Begin with what an earlier run has left."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        self._stopping = False
        self._running = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """@return: Fires when the batch under way is done."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        return Deferred.fromCoroutine(self._stop())

    def wake(self) -> None:
        """There may be messages to hand over."""
        self._woken = True
        self._rest.end()

    async def _run(self) -> None:
        try:
            while not self._stopping:
                self._woken = False
                await self._pass()
                if not self._woken and not self._stopping:
                    await self._rest.wait(self._until_again())
        except CancelledError:
            return

    async def _stop(self) -> None:
        self._stopping = True
        self._rest.end()
        running, self._running = self._running, None
        if running is not None:
            limit = self._clock.callLater(_GRACE, running.cancel)
            await running
            if limit.active():
                limit.cancel()
        try:
            await self._duty.give_up()
        except (InsufficientStorage, StorageUnavailable):
            return  # it ends by itself

    def _until_again(self) -> float | None:
        """Seconds until the next pass; L{None}: when somebody wakes us."""
        # While the store fails nothing can be tried, whatever is due.
        again = [self._store_delay] if self._store_delay else self._troubles.left()
        if self._duty.poll is not None:
            again.append(self._duty.poll)
        return min(again, default=None)

    # -- one pass over all that waits -----------------------------------------------

    async def _pass(self) -> None:
        after = self._seen if self._troubles.hold_up() else 0
        due = self._troubles.due()
        try:
            while not self._stopping and await self._duty.take():
                pending = await self._store.pending_hand_overs(_BATCH, after)
                if pending:
                    await self._batch(pending)
                    after = self._seen = pending[-1].id
                if len(pending) < _BATCH:
                    break
            self._store_delay = 0.0
            self._troubles.tried(due)
        except CancelledError:
            raise
        except (InsufficientStorage, StorageUnavailable) as error:
            self._log.warn("cannot hand mail over: {error}", error=error)
            self._store_delay = longer(self._store_delay)
        except Exception:  # noqa: BLE001 - all of it is still in the store, and is tried again
            self._log.failure("cannot hand mail over")
            self._store_delay = longer(self._store_delay)

    async def _batch(self, pending: Sequence[HandOver]) -> None:
        by_account: dict[str, list[HandOver]] = defaultdict(list)
        for hand_over in pending:
            by_account[hand_over.account].append(hand_over)
        maildirs = self._maildirs()
        there: list[HandOver] = []
        written: list[_Written] = []
        errors: dict[str, Exception] = {}
        for account, messages in by_account.items():
            maildir = maildirs.get(account)
            if maildir is None or self._troubles.waits(account):
                continue
            try:
                await self._account(account, tree_of(maildir), messages, there, written)
            except (OSError, Vanished) as error:
                errors[account] = error
        try:
            await self._publish(there, written, errors)
        except (InsufficientStorage, StorageUnavailable):
            # Nobody knows when they are tried again, and they take room that the store may want.
            await self._in_thread(_abandon, written)
            raise
        finally:
            for account, reason in errors.items():
                self._failed(account, reason)

    async def _account(
        self,
        account: str,
        tree: Tree,
        messages: Sequence[HandOver],
        there: list[HandOver],
        written: list[_Written],
    ) -> None:
        """Find what is there already, write the rest into C{tmp}."""
        await self._prepare(account, tree)
        named = {each.name: each for each in messages if each.name is not None}
        if named:
            found = await self._in_thread(_find_and_sync, tree, list(named))
            there += [named[name] for name in found]
            messages = [each for each in messages if each.name not in found]
        small = [each for each in messages if each.data is not None]
        await self._in_thread(self._write_small, tree, small, written)
        for hand_over in messages:
            if hand_over.data is None and not self._troubles.waits(hand_over.id):
                large = await self._write_large(tree, hand_over)
                written += [large] if large is not None else []

    async def _prepare(self, account: str, tree: Tree) -> None:
        """
        Make the folders of an account that gets its first message.

        @raise Vanished: It is not the first, and they are not there.
        """
        if account in self._prepared and await self._in_thread(tree.is_there):
            return
        self._prepared.discard(account)
        if not await self._in_thread(tree.is_there) and await self._store.maildir_names(account):
            raise Vanished(f"no Maildir at {tree.root}, where there was one")
        await self._in_thread(tree.make)
        await self._in_thread(tree.remove_litter, self._clock.seconds())
        self._prepared.add(account)

    # -- writing ---------------------------------------------------------------------

    def _write_small(
        self, tree: Tree, messages: Sequence[HandOver], written: list[_Written]
    ) -> None:
        """In a thread.  C{written} gets each at once: one that fails takes no other along."""
        for each in messages:
            written += [self._write_whole(tree, each, each.data or b"")]

    def _write_whole(self, tree: Tree, hand_over: HandOver, data: bytes) -> _Written:
        draft = self._begin(tree, hand_over)
        try:
            draft.write(data)
            return _Written(hand_over, tree, draft, draft.finish(self._host))
        except BaseException:
            draft.abandon()
            raise

    async def _write_large(self, tree: Tree, hand_over: HandOver) -> _Written | None:
        """@return: L{None}: its content cannot be had, which holds up no other message."""
        draft = await self._in_thread(self._begin, tree, hand_over)
        try:
            await self._copy(hand_over, draft)
            name = await self._in_thread(draft.finish, self._host)
        except (CancelledError, OSError, InsufficientStorage, StorageUnavailable):
            draft.abandon()
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong is wrong with this message only
            draft.abandon()
            self._unreadable(hand_over, error)
            return None
        return _Written(hand_over, tree, draft, name)

    async def _copy(self, hand_over: HandOver, draft: Draft) -> None:
        content = self._store.content(hand_over)
        while data := await content.read(draft.wire - len(hand_over.prefix), _PIECE):
            await self._in_thread(draft.write, data)
        if draft.wire != hand_over.size:
            raise ValueError(f"{draft.wire} octets of {hand_over.size}")

    def _begin(self, tree: Tree, hand_over: HandOver) -> Draft:
        """In a thread."""
        draft = tree.draft(hand_over.id, hand_over.received)
        try:
            draft.write(hand_over.prefix)
        except BaseException:
            draft.abandon()
            raise
        return draft

    # -- publishing --------------------------------------------------------------------

    async def _publish(
        self,
        there: list[HandOver],
        written: Sequence[_Written],
        errors: dict[str, Exception],
    ) -> None:
        """
        Let written files appear, and tell the store of them and of those found.

        @param errors: By account; gets what goes wrong here.
        """
        if written:
            lost = await self._in_thread(sync_files, [each.draft.path for each in written])
            failed = [each for each in written if each.draft.path in lost]
            for each in failed:
                errors[each.hand_over.account] = lost[each.draft.path]
            if failed:
                await self._in_thread(_abandon, failed)
            written = [each for each in written if each.draft.path not in lost]
        if written:
            names = {each.hand_over.id: each.name for each in written}
            is_ours = await self._duty.take()
            waiting = set(await self._store.name_hand_overs(names)) if is_ours else set()
            done, refused = await self._in_thread(_rename, written, waiting, self._duty.is_held)
            errors.update(refused)
            there += done
        if not there:
            return
        await self._store.handed_over(there)
        for hand_over in there:
            # Of one of whose messages another failed, the rest waits for its time.
            if hand_over.account not in errors:
                self._troubles.over(hand_over.account)
            self._troubles.over(hand_over.id)
            self._metrics.count("moxsmtp_handed_over_total")

    # -- trouble -----------------------------------------------------------------------

    def _unreadable(self, hand_over: HandOver, error: Exception) -> None:
        self._log.error(
            "cannot read message {number} of {account}, again in {delay} s: {error}",
            number=hand_over.id,
            account=hand_over.account,
            delay=self._troubles.failed(hand_over.id),
            error=str(error) or type(error).__name__,
        )

    def _failed(self, account: str, error: Exception) -> None:
        self._prepared.discard(account)
        self._log.error(
            "cannot hand mail over to the Maildir of {account}, again in {delay} s: {error}",
            account=account,
            delay=self._troubles.failed(account),
            error=error,
        )


def _find_and_sync(tree: Tree, names: Sequence[str]) -> set[str]:
    """In a thread: which of C{names} have appeared already, now surely on disk."""
    found = tree.find(names)
    for folder in {(tree.root / sighting.path).parent for sighting in found.values()}:
        sync_folder(folder)
    return set(found)


def _abandon(written: Sequence[_Written]) -> None:
    """In a thread: remove files that have not appeared; those that have are elsewhere by now."""
    for each in written:
        with suppress(OSError):
            each.draft.abandon()


def _rename(
    written: Sequence[_Written], waiting: set[int], is_held: Callable[[], bool]
) -> tuple[list[HandOver], Mapping[str, OSError]]:
    """
    In a thread: let files appear and put their folders on disk.

    @param waiting: Messages that were not removed meanwhile.
    @param is_held: Whether the duty is still ours.
    @return: What has appeared, and errors by account.
    """
    renamed: dict[Path, list[HandOver]] = defaultdict(list)
    errors: dict[str, OSError] = {}
    for each in written:
        hand_over = each.hand_over
        try:
            if hand_over.id not in waiting or not is_held():
                each.draft.abandon()
                continue
            if hand_over.mailbox != INBOX:
                each.tree.make(hand_over.mailbox)
            folder = each.draft.publish(
                each.tree.root, hand_over.mailbox, each.name, hand_over.flags
            )
            renamed[folder].append(hand_over)
        except OSError as error:
            errors[hand_over.account] = error
    done: list[HandOver] = []
    for folder, hand_overs in renamed.items():
        try:
            sync_folder(folder)
            done += hand_overs
        except OSError as error:
            errors[hand_overs[0].account] = error
    return done, errors
