"""
Notices what people do in their Maildirs: a file that was moved to another
folder, flagged or removed is a moved, flagged or expunged message.

A Maildir is scanned when the modification times of its folders say that
something came, went or was renamed.  A file counts as removed once two scans
in a row have missed it, for a scan may miss one that is being moved.  Nothing
counts as removed while the Maildir as a whole is not there or cannot be read;
that is an alarm in the log.

Which folder it is, is kept in the store.  Where another one has taken its
place, an empty one, say, or a copy from a backup, what is not in that is
absent, not removed, and is known again when it is seen again.

Scanning costs time in proportion to the size of a Maildir, so each rests for a
multiple of what its last scan took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.mailbox.maildir import Sighting, Tree, Vanished
from moxsmtp.mailbox.marker import folder_identity
from moxsmtp.mailbox.rest import Rest
from moxsmtp.mailbox.storage import IHandOver, InMaildir
from moxsmtp.mailbox.threads import InThread, Maildirs, tree_of

__all__ = ["Changes", "MaildirWatch", "changes"]

#: Nanoseconds; a folder changed more recently may change again at the same
#: time of modification, as coarse as file systems keep it.
_FRESH: Final = 2_000_000_000

#: A scan may take this part of the time.
_SHARE: Final = 20


@dataclass(frozen=True, slots=True)
class Changes:
    """
    What a scan means.

    @ivar moved: Where messages are now that are elsewhere or flagged otherwise.
    @ivar missing: Messages that were not seen.
    """

    moved: tuple[InMaildir, ...] = ()
    missing: frozenset[str] = frozenset()


def changes(
    known: Mapping[str, InMaildir],
    listing: Mapping[str, Sequence[Sighting]],
    renamed: Mapping[str, Sighting],
) -> Changes:
    """
    Compare what is known with what was seen.  Of several files with one name,
    which copying makes, the one where the message was before counts.

    @param renamed: Messages that are there under other names.
    """
    moved = []
    missing = set()
    for name, before in known.items():
        sightings = listing.get(name, [renamed[name]] if name in renamed else [])
        if not sightings:
            if not before.is_absent:
                missing.add(name)
            continue
        seen = [InMaildir(name, one.mailbox, one.flags) for one in sightings]
        here = [one for one in seen if one.mailbox == before.mailbox] or seen
        if before not in here:
            moved.append(here[-1])
    return Changes(tuple(moved), frozenset(missing))


@dataclass(slots=True)
class _State:
    """
    What the last scan of an account has left.

    @ivar marks: L{None}: scan in any case.
    @ivar identity: Of the root folder, as it is recorded; empty: not known yet.
    @ivar missing: Missed by the last scan.
    @ivar rests_until: No scan before.
    """

    marks: Mapping[str, int] | None = None
    identity: str = ""
    missing: frozenset[str] = field(default_factory=frozenset)
    rests_until: float = 0.0
    alarmed: bool = False


class MaildirWatch(Service):
    """Scans Maildirs while the service runs."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: InThread,
        store: IHandOver,
        maildirs: Maildirs,
        *,
        unique: Callable[[], str],
        interval: timedelta = timedelta(seconds=5),
    ) -> None:
        """
        @param clock: Its time has to be that of the file systems, roughly.
        @param unique: Hexadecimal digits by which a folder is known again.
        @param interval: Between looks at the modification times.
        """
        self._clock = clock
        self._in_thread = in_thread
        self._store = store
        self._maildirs = maildirs
        self._unique = unique
        self._interval = interval.total_seconds()
        self._states: dict[str, _State] = {}
        self._asked = False
        self._stopping = False
        self._rest = Rest(clock)
        self._running: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to watch."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        self._stopping = False
        self._running = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """@return: Fires when no scan is under way."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        self._stopping = True
        self._rest.end()
        running, self._running = self._running, None
        ended: Deferred[None] = Deferred()
        if running is None:
            ended.callback(None)
        else:
            running.cancel()
            _ = running.addBoth(lambda _: ended.callback(None))
        return ended

    def look(self) -> None:
        """Look at all Maildirs now."""
        self._asked = True
        self._rest.end()

    async def _run(self) -> None:
        try:
            while not self._stopping:
                at_once, self._asked = self._asked, False
                maildirs = self._maildirs()
                for account in self._states.keys() - maildirs.keys():
                    del self._states[account]
                for account, maildir in maildirs.items():
                    await self._look_at(account, tree_of(maildir), at_once=at_once)
                if not self._asked:
                    await self._rest.wait(self._interval)
        except CancelledError:
            return

    # -- one account --------------------------------------------------------------------

    async def _look_at(self, account: str, tree: Tree, *, at_once: bool) -> None:
        state = self._states.setdefault(account, _State())
        began = self._clock.seconds()
        if began < state.rests_until and not at_once:
            return
        try:
            await self._compare(account, tree, state)
            state.alarmed = False
        except CancelledError:
            raise
        except (InsufficientStorage, StorageUnavailable) as error:
            state.marks = None
            self._log.warn("cannot record what happened in Maildirs: {error}", error=error)
        except (OSError, Vanished) as error:
            await self._alarm(account, state, error)
        except Exception:  # noqa: BLE001 - the next scan may go well
            state.marks = None
            self._log.failure("cannot scan the Maildir of {account}", account=account)
        ended = self._clock.seconds()
        state.rests_until = ended + (ended - began) * _SHARE

    async def _compare(self, account: str, tree: Tree, state: _State) -> None:
        now = int(self._clock.seconds() * 1_000_000_000)
        marks = await self._in_thread(tree.marks)
        if marks == state.marks and not state.missing:
            return
        known = await self._store.maildir_names(account)
        if known:
            identity = await self._in_thread(folder_identity, tree.root, tree.mode, self._unique)
            found = await self._in_thread(_scan, tree, known)
            if found.moved:
                await self._moved(account, found.moved)
            if not await self._is_other(account, state, identity, found, known):
                await self._record(account, state, found, known)
        is_settled = max(marks.values()) < now - _FRESH
        state.marks = marks if is_settled else None

    async def _moved(self, account: str, moved: Sequence[InMaildir]) -> None:
        await self._store.moved(account, moved)
        for one in moved:
            self._log.debug("{name} is in {mailbox} now", name=one.name, mailbox=one.mailbox)

    async def _is_other(
        self,
        account: str,
        state: _State,
        identity: str,
        found: Changes,
        known: Mapping[str, InMaildir],
    ) -> bool:
        """
        Whether the root is another folder than it was, however long ago that was seen.
        Then what is not in it is no longer looked for.
        """
        if identity == state.identity:
            return False
        recorded = await self._store.maildir_identity(account)
        is_other = recorded not in ("", identity)
        if recorded != identity:
            absent = sorted(found.missing) if is_other else ()
            await self._store.recognized(account, identity, absent)
        state.identity = identity
        if is_other:
            state.missing = frozenset()
            self._log.emit(
                LogLevel.warn if found.missing else LogLevel.info,
                "the Maildir of {account} is another folder than before: of {known} messages"
                " {count} are not in it, none is taken for removed",
                account=account,
                known=len(known),
                count=len(found.missing),
            )
        return is_other

    async def _record(
        self, account: str, state: _State, found: Changes, known: Mapping[str, InMaildir]
    ) -> None:
        gone = sorted(found.missing & state.missing)
        if gone:
            await self._store.expunged(account, gone)
        state.missing = found.missing.difference(gone)
        if gone:
            self._log.info(
                "{count} of {known} messages were removed from the Maildir of {account}",
                count=len(gone),
                known=len(known),
                account=account,
            )

    async def _alarm(self, account: str, state: _State, error: Exception) -> None:
        """The Maildir cannot be scanned; say so, once, if anything ought to be in it."""
        state.marks = None
        state.missing = frozenset()
        if state.alarmed:
            return
        try:
            known = await self._store.maildir_names(account)
        except (InsufficientStorage, StorageUnavailable):
            return
        if known:
            state.alarmed = True
            self._log.error(
                "the Maildir of {account} is not there, nothing is taken for removed: {error}",
                account=account,
                error=error,
            )


def _scan(tree: Tree, known: Mapping[str, InMaildir]) -> Changes:
    """In a thread."""
    listing = tree.listing()
    unseen = [name for name in known if name not in listing]
    return changes(known, listing, tree.renamed(unseen, listing))
