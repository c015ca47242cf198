"""Noticing what people do in their Maildirs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial import unittest

from moxsmtp.interfaces import Maildir, StorageUnavailable
from moxsmtp.mailbox.maildir import Sighting, Tree
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
        self.watch = MaildirWatch(self.clock, inline, self.store, lambda: self.maildirs)
        self.addCleanup(self.end)

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

    def test_another_maildir(self) -> None:
        """Another, empty Maildir in its place, which an IMAP server may make, expunges nothing."""
        self.watch.startService()
        self.root.rename(self.root.with_name(self.root.name + "away"))
        self.tree.make()
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
