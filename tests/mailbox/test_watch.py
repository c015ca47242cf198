"""Noticing what people do in their Maildirs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import count, pairwise
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial import unittest

from moxsmtp.interfaces import Maildir, StorageUnavailable
from moxsmtp.mailbox.maildir import Sighting, Tree
from moxsmtp.mailbox.marker import MARKER
from moxsmtp.mailbox.storage import InMaildir
from moxsmtp.mailbox.watch import Changes, MaildirWatch, changes
from tests.mailbox.doubles import RECEIVED, MemoryHandOvers, inline


def seen(directory: str = "", flags: str = "") -> Sighting:
    """A file."""
    return Sighting(directory, flags, 1, "x")


class ChangesTests(unittest.SynchronousTestCase):
    """What a scan means."""

    KNOWN: Mapping[str, InMaildir] = {"a": InMaildir("a", "Inbox", "S")}

    def test_table(self) -> None:
        """Moved, flagged, missing, or none of these; of copies the one in its old place counts."""
        cases: dict[tuple[Sighting, ...], Changes] = {
            (): Changes(missing=frozenset("a")),
            (seen("", "S"),): Changes(),
            (seen("", "FS"),): Changes((InMaildir("a", "Inbox", "FS"),)),
            (seen(".Junk", "S"),): Changes((InMaildir("a", "Junk", "S"),)),
            (seen(".Junk", "S"), seen("", "S")): Changes(),
            (seen("", "S"), seen(".Junk", "S")): Changes(),
            (seen("", ""), seen("", "S")): Changes(),
            (seen("", "R"), seen(".Junk", "S")): Changes((InMaildir("a", "Inbox", "R"),)),
        }
        self.assertEqual(
            {case: changes(self.KNOWN, {"a": case} if case else {}, {}) for case in cases}, cases
        )

    def test_renamed(self) -> None:
        """A file under another name is the message all the same."""
        self.assertEqual(changes(self.KNOWN, {"b": [seen()]}, {"a": seen("", "S")}), Changes())
        self.assertEqual(
            changes(self.KNOWN, {}, {"a": seen(".Junk")}),
            Changes((InMaildir("a", "Junk", ""),)),
        )

    def test_absent(self) -> None:
        """What is absent does not count as missing, and is known again once it is seen."""
        known = {"a": InMaildir("a", "Inbox", "S", is_absent=True)}
        self.assertEqual(changes(known, {}, {}), Changes())
        self.assertEqual(
            changes(known, {"a": [seen("", "S")]}, {}), Changes((InMaildir("a", "Inbox", "S"),))
        )

    def test_foreign(self) -> None:
        """What other programs put there is no concern of ours."""
        self.assertEqual(changes({}, {"b": [seen()]}, {}), Changes())


class WatchTestCase(unittest.SynchronousTestCase):
    """One account with a Maildir of three messages."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.tree = Tree(self.root, 0o700)
        self.tree.make()
        self.clock = Clock()
        self.clock.advance(4_000_000_000)
        self.store = MemoryHandOvers()
        self.maildirs = {"alice": Maildir(str(self.root))}
        self.names = [self.deliver(number) for number in range(3)]
        self.listings = 0
        self.tokens = (f"{number:032x}" for number in count(1))
        self.watch = self.make_watch()
        self.addCleanup(self.end)

    def make_watch(self) -> MaildirWatch:
        """As of a process that has just begun."""
        return MaildirWatch(
            self.clock,
            inline,
            self.store,
            lambda: self.maildirs,
            unique=lambda: next(self.tokens),
        )

    def restart(self) -> None:
        """Another process takes its place."""
        if self.watch.running:
            self.successResultOf(self.watch.stopService())
        self.watch = self.make_watch()
        self.watch.startService()

    def end(self) -> None:
        """Stop it."""
        if self.watch.running:
            self.successResultOf(self.watch.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def deliver(self, number: int) -> str:
        """A message that was handed over."""
        draft = self.tree.draft(number, RECEIVED)
        draft.write(b"x" * number)
        name = draft.finish("mx.example")
        draft.publish(self.root, "Inbox", name, "")
        self.store.known.setdefault("alice", {})[name] = InMaildir(name, "Inbox")
        return name

    @property
    def known(self) -> list[tuple[str, str] | None]:
        """Where the store has each message."""
        known = self.store.known["alice"]
        return [
            (known[name].mailbox, known[name].flags) if name in known else None
            for name in self.names
        ]

    def move(self, number: int, target: str) -> None:
        """Rename a file that is in C{new}."""
        source = self.root / "new" / self.names[number]
        source.rename(self.root / target.format(self.names[number]))

    def scans(self, count: int = 1) -> None:
        """Let the interval pass."""
        for _ in range(count):
            self.clock.advance(5)


class WatchTests(WatchTestCase):
    """What people do."""

    def test_nothing(self) -> None:
        """Left alone, nothing changes."""
        self.watch.startService()
        self.scans(5)
        self.assertEqual(self.known, [("Inbox", "")] * 3)

    def test_flagged(self) -> None:
        """A file that is moved to C{cur} with flags is a flagged message."""
        self.watch.startService()
        self.move(0, "cur/{}:2,FS")
        self.scans()
        self.assertEqual(self.known, [("Inbox", "FS"), ("Inbox", ""), ("Inbox", "")])

    def test_moved(self) -> None:
        """A file in another folder is a moved message; the folder's name is decoded."""
        self.watch.startService()
        self.tree.make("Entwürfe")
        self.move(1, ".Entw&APw-rfe/cur/{}:2,")
        self.scans()
        self.assertEqual(self.known, [("Inbox", ""), ("Entwürfe", ""), ("Inbox", "")])

    def test_moved_with_another_name(self) -> None:
        """A program may give a file another name when it moves it."""
        self.watch.startService()
        self.tree.make("Junk")
        self.move(1, ".Junk/cur/999.M1P1.other:2,S")
        self.scans(3)
        self.assertEqual(self.known, [("Inbox", ""), ("Junk", "S"), ("Inbox", "")])

    def test_removed(self) -> None:
        """A file that two scans in a row have missed is an expunged message."""
        self.watch.startService()
        (self.root / "new" / self.names[2]).unlink()
        self.scans()
        self.assertEqual(self.known, [("Inbox", "")] * 3)
        self.scans()
        self.assertEqual(self.known, [("Inbox", ""), ("Inbox", ""), None])

    def test_removed_folder(self) -> None:
        """A folder that is removed takes its messages along, and no others."""
        self.tree.make("Junk")
        self.move(0, ".Junk/cur/{}:2,S")
        self.watch.startService()
        shutil.rmtree(self.root / ".Junk")
        self.scans(3)
        self.assertEqual(self.known, [None, ("Inbox", ""), ("Inbox", "")])

    def test_missed_once(self) -> None:
        """A file that one scan misses and the next one sees was never removed."""
        self.watch.startService()
        path = self.root / "new" / self.names[0]
        for _ in range(3):
            path.rename(self.root / "tmp" / "hidden")
            self.scans()
            (self.root / "tmp" / "hidden").rename(path)
            self.scans()
        self.assertEqual(self.known, [("Inbox", "")] * 3)

    def test_missed_turn_by_turn(self) -> None:
        """Different files missed by two scans are each missed once only."""
        self.watch.startService()
        one, two = (self.root / "new" / name for name in self.names[:2])
        one.rename(self.root / "tmp" / "one")
        self.scans()
        (self.root / "tmp" / "one").rename(one)
        two.rename(self.root / "tmp" / "two")
        self.scans()
        (self.root / "tmp" / "two").rename(two)
        self.scans()
        self.assertEqual(self.known, [("Inbox", "")] * 3)

    def test_on_request(self) -> None:
        """Asked to look, it looks at once."""
        self.watch.startService()
        self.move(0, "cur/{}:2,S")
        self.watch.look()
        self.assertEqual(self.known[0], ("Inbox", "S"))

    def test_while_it_was_off(self) -> None:
        """What happened while no process ran is noticed at the start."""
        self.move(0, "cur/{}:2,S")
        self.watch.startService()
        self.assertEqual(self.known[0], ("Inbox", "S"))

    def test_account_gone(self) -> None:
        """An account that has no Maildir any more is left alone."""
        self.watch.startService()
        self.maildirs.clear()
        shutil.rmtree(self.root)
        self.scans(3)
        self.assertEqual(self.known, [("Inbox", "")] * 3)


class VanishedTests(WatchTestCase):
    """A Maildir that is not there as a whole."""

    def alarms(self) -> list[str]:
        """What was logged as an error."""
        return [formatEvent(event) for event in self.events if event["log_level"] is LogLevel.error]

    def setUp(self) -> None:
        super().setUp()
        self.events = self.enterContext(capturedLogs())

    def test_root(self) -> None:
        """A vanished root expunges nothing, ever; it is one alarm until it is back."""
        self.watch.startService()
        away = self.root.with_name(self.root.name + "away")
        self.root.rename(away)
        self.scans(10)
        self.assertEqual(self.known, [("Inbox", "")] * 3)
        self.assertEqual(len(self.alarms()), 1)
        away.rename(self.root)
        self.scans(3)
        self.assertEqual(self.known, [("Inbox", "")] * 3)

    def test_empty_mount_point(self) -> None:
        """An empty folder in its place, as where a disk is not mounted, expunges nothing."""
        self.watch.startService()
        self.root.rename(self.root.with_name(self.root.name + "away"))
        self.root.mkdir()
        self.scans(10)
        self.assertEqual(self.known, [("Inbox", "")] * 3)
        self.assertEqual(len(self.alarms()), 1)

    def test_before_the_scan_that_would_decide(self) -> None:
        """A file missed once does not count as missed when the Maildir vanished in between."""
        self.watch.startService()
        (self.root / "new" / self.names[0]).rename(self.root / "tmp" / "x")
        self.scans()
        away = self.root.with_name(self.root.name + "away")
        self.root.rename(away)
        self.scans()
        away.rename(self.root)
        self.scans()
        self.assertEqual(self.known, [("Inbox", "")] * 3)

    def test_unreadable_folder(self) -> None:
        """A folder that cannot be read makes no message count as removed."""
        self.watch.startService()

        def unreadable(tree: Tree) -> Mapping[str, Sequence[Sighting]]:
            raise PermissionError(f"no access to {tree.root}")

        listing = Tree.listing
        self.patch(Tree, "listing", unreadable)
        (self.root / "new" / self.names[0]).unlink()
        self.scans(5)
        self.assertEqual(self.known, [("Inbox", "")] * 3)
        self.assertEqual(len(self.alarms()), 1)
        self.patch(Tree, "listing", listing)
        self.scans(2)
        self.assertEqual(self.known, [None, ("Inbox", ""), ("Inbox", "")])

    def test_never_made(self) -> None:
        """An account that never got mail needs no Maildir, and raises no alarm."""
        self.maildirs["bob"] = Maildir(str(self.root / "nowhere"))
        self.watch.startService()
        self.scans(3)
        self.assertEqual(self.alarms(), [])


class OtherFolderTests(WatchTestCase):
    """Another folder in the place of a Maildir, whether anybody watched or not."""

    def setUp(self) -> None:
        super().setUp()
        self.events = self.enterContext(capturedLogs())
        self.told = 0
        self.away = self.root.with_name(self.root.name + "away")
        self.watch.startService()
        self.scans(2)

    def warnings(self) -> list[str]:
        """What was logged as a warning."""
        return [
            formatEvent(event)
            for event in self.events[self.told :]
            if event["log_level"] is LogLevel.warn
        ]

    def stop(self) -> None:
        """The server is down."""
        self.successResultOf(self.watch.stopService())

    def copy(self, *numbers: int) -> None:
        """A backup of the Maildir is put back, with these messages only."""
        self.root.rename(self.away)
        shutil.copytree(self.away, self.root)
        for number in {0, 1, 2} - set(numbers):
            (self.root / "new" / self.names[number]).unlink()

    def test_empty(self) -> None:
        """
        An empty Maildir in its place, which an IMAP server may make, expunges nothing,
        whether that befell while the server ran or while it was down.
        """
        for is_down in (False, True):
            if is_down:
                self.stop()
            self.root.rename(self.away)
            self.tree.make()
            if is_down:
                self.restart()
            self.scans(10)
            self.restart()
            self.scans(10)
            self.assertEqual(self.known, [("Inbox", "")] * 3)
            self.assertEqual(len(self.warnings()), 1)
            self.assertIn("of 3 messages 3 are not in it", self.warnings()[0])
            shutil.rmtree(self.root)
            self.away.rename(self.root)
            self.scans(3)
            self.told = len(self.events)

    def test_back_again(self) -> None:
        """When the folder is back, its messages are as before: seen, moved and removed."""
        self.stop()
        self.root.rename(self.away)
        self.tree.make()
        self.restart()
        self.scans(3)
        shutil.rmtree(self.root)
        self.away.rename(self.root)
        self.scans(3)
        self.move(0, "cur/{}:2,S")
        (self.root / "new" / self.names[1]).unlink()
        self.scans(3)
        self.assertEqual(self.known, [("Inbox", "S"), None, ("Inbox", "")])

    def test_restored(self) -> None:
        """
        From a backup: what it lacks is not taken for removed, and what it has is watched
        like any Maildir, the marker that it brings along notwithstanding.
        """
        self.stop()
        self.copy(0, 1)
        self.restart()
        self.scans(5)
        self.assertEqual(self.known, [("Inbox", "")] * 3)
        self.assertIn("of 3 messages 1 are not in it", self.warnings()[0])
        (self.root / "new" / self.names[0]).unlink()
        self.scans(3)
        self.assertEqual(self.known, [None, ("Inbox", ""), ("Inbox", "")])
        self.restart()
        self.scans(3)
        self.assertEqual(self.known, [None, ("Inbox", ""), ("Inbox", "")])

    def test_new_mail(self) -> None:
        """What is handed over to the other folder and removed there is expunged."""
        self.stop()
        self.root.rename(self.away)
        self.tree.make()
        self.restart()
        self.scans(2)
        self.names.append(self.deliver(3))
        self.scans(2)
        (self.root / "new" / self.names[3]).unlink()
        self.scans(3)
        self.assertEqual(self.known, [*[("Inbox", "")] * 3, None])

    def test_renamed_and_whole(self) -> None:
        """Nothing is lost where the folder was moved, and removals while it was down count."""
        self.stop()
        self.root.rename(self.away)
        self.maildirs["alice"] = Maildir(str(self.away))
        (self.away / "new" / self.names[2]).unlink()
        self.restart()
        self.scans(3)
        self.assertEqual(self.known, [("Inbox", ""), ("Inbox", ""), None])
        self.assertEqual(self.warnings(), [])

    def test_same_after_restart(self) -> None:
        """The same folder is known again: what was removed while the server was down is gone."""
        self.stop()
        for name in self.names:
            (self.root / "new" / name).unlink()
        self.restart()
        self.scans(3)
        self.assertEqual(self.known, [None, None, None])
        self.assertEqual(self.warnings(), [])

    def test_marker_lost(self) -> None:
        """A marker that somebody removes makes it another folder, in which all is found."""
        (self.root / MARKER).unlink()
        self.scans(3)
        self.assertTrue((self.root / MARKER).exists())
        self.assertFalse(any(one.is_absent for one in self.store.known["alice"].values()))
        self.assertEqual(self.warnings(), [])
        (self.root / "new" / self.names[2]).unlink()
        self.scans(3)
        self.assertEqual(self.known, [("Inbox", ""), ("Inbox", ""), None])


class CostTests(WatchTestCase):
    """What watching costs."""

    def count_listings(self) -> None:
        """From now on."""
        listing = Tree.listing

        def counting(tree: Tree) -> Mapping[str, Sequence[Sighting]]:
            self.listings += 1
            return listing(tree)

        self.patch(Tree, "listing", counting)

    def test_unchanged(self) -> None:
        """A Maildir where nothing happened is not read again, nor the store asked."""
        self.watch.startService()
        self.scans(2)
        self.count_listings()
        calls = len(self.store.calls)
        self.scans(100)
        self.assertEqual(self.listings, 0)
        self.assertEqual(len(self.store.calls), calls)

    def test_fresh_change(self) -> None:
        """A folder changed this moment is read once more, for times are coarse."""
        now = self.clock.seconds()
        os.utime(self.root / "new", (now, now))
        self.watch.startService()
        self.count_listings()
        self.scans()
        self.assertEqual(self.listings, 1)
        self.scans()
        self.assertEqual(self.listings, 1)

    def test_large_maildirs_rest(self) -> None:
        """After a scan that took long the next one waits for a multiple of that."""
        listing = Tree.listing
        times: list[float] = []

        def slow(tree: Tree) -> Mapping[str, Sequence[Sighting]]:
            times.append(self.clock.seconds())
            self.clock.rightNow += 2
            (self.root / "new" / f"foreign{len(times)}").touch()
            return listing(tree)

        self.patch(Tree, "listing", slow)
        self.watch.startService()
        self.scans(40)
        gaps = [b - a for a, b in pairwise(times)]
        self.assertGreaterEqual(min(gaps), 40)

    def test_store_away(self) -> None:
        """A store that is away loses nothing: the change is noticed when it is back."""
        self.watch.startService()
        self.move(0, "cur/{}:2,S")
        self.store.failing = StorageUnavailable("locked")
        self.scans(3)
        self.store.failing = None
        self.scans()
        self.assertEqual(self.known[0], ("Inbox", "S"))
