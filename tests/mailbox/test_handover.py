"""Handing mail over to Maildirs."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import InsufficientStorage, Maildir, StorageUnavailable
from moxsmtp.mailbox import handover as handover_module
from moxsmtp.mailbox import maildir as maildir_module
from moxsmtp.mailbox.duty import IDuty, Sole
from moxsmtp.mailbox.handover import HandOvers
from moxsmtp.mailbox.maildir import Draft
from moxsmtp.mailbox.storage import IHandOver, InMaildir
from moxsmtp.testing import MemoryMetrics
from tests.mailbox.doubles import Killed, MemoryHandOvers, Mortal, SharedDuty
from tests.queue.doubles import MemoryContent


def no_more_than(writes: int) -> Callable[[Draft, bytes], None]:
    """C{Draft.write} of a disk that is full behind so many of them."""
    left = iter(range(writes))
    write = Draft.write

    def refuse(draft: Draft, data: bytes) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "no room")
        write(draft, data)

    return refuse


class HandOverTestCase(unittest.SynchronousTestCase):
    """Two accounts with Maildirs below one folder."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.store = MemoryHandOvers()
        self.metrics = MemoryMetrics()
        self.maildirs = {name: Maildir(str(self.base / name)) for name in ("alice", "bob")}
        # Syncing costs time and shows nothing here.
        self.patch(maildir_module, "_syncfs", lambda _: True)

    def service(self, mortal: Mortal | None = None, duty: IDuty | None = None) -> HandOvers:
        """A process; not to be ended, for it may be dead."""
        self.store.mortal = mortal or Mortal()
        return HandOvers(
            self.clock,
            self.store.mortal.run,
            self.store,
            lambda: self.maildirs,
            self.metrics,
            duty=duty or Sole(),
            host="mx.example",
        )

    def start(self, duty: IDuty | None = None) -> HandOvers:
        """A process that lives."""
        service = self.service(duty=duty)
        service.startService()
        self.addCleanup(self.end, service)
        return service

    def end(self, service: HandOvers) -> None:
        """Stop it."""
        if service.running:
            self.store.failing = None
            self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def files(self, account: str = "alice") -> dict[str, bytes]:
        """What is in a Maildir, but for C{tmp}."""
        root = self.base / account
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.parent.name in {"new", "cur"}
        }


class HandOverTests(HandOverTestCase):
    """Ordinary days."""

    def test_double(self) -> None:
        """Our double provides what it stands for."""
        verifyObject(IHandOver, self.store)

    def test_small(self) -> None:
        """A message appears in C{new}, prefix and all, with LF, and leaves the store."""
        self.store.add(1)
        self.start()
        ((path, octets),) = self.files().items()
        self.assertTrue(path.startswith("new/"))
        self.assertEqual(octets, b"Delivered-To: a\nSubject: x\n\nbody\n")
        self.assertEqual(self.store.messages, {})
        self.assertEqual(list((self.base / "alice" / "tmp").iterdir()), [])

    def test_large(self) -> None:
        """Large content streams into the file."""
        data = b"0123456789abcdef\r\n" * 200_000
        self.store.add(1, data, large=True)
        self.start()
        ((_, octets),) = self.files().items()
        self.assertEqual(octets, b"Delivered-To: a\n" + data.replace(b"\r\n", b"\n"))

    def test_known_under_its_name(self) -> None:
        """The store knows the message by the name that its file has."""
        self.store.add(1)
        self.start()
        (path,) = self.files()
        name = path.removeprefix("new/")
        self.assertEqual(self.store.known, {"alice": {name: InMaildir(name, "Inbox")}})
        self.assertRegex(name, r"^1772366400\.M123456P[0-9]+Q1I[0-9a-f]+\.mx\.example,S=33,W=37$")

    def test_woken(self) -> None:
        """Being woken, it hands over at once."""
        service = self.start()
        self.assertEqual(self.files(), {})
        self.store.add(1)
        service.wake()
        self.assertEqual(len(self.files()), 1)

    def test_idle(self) -> None:
        """With nothing to do it waits to be woken, without asking the store again."""
        self.start()
        calls = len(self.store.calls)
        self.clock.advance(3600)
        self.assertEqual(len(self.store.calls), calls)

    def test_many(self) -> None:
        """Many messages go in batches, each with one record of names and one of the end."""
        for number in range(1, 301):
            self.store.add(number, account="alice" if number % 2 else "bob")
        self.start()
        self.assertEqual((len(self.files("alice")), len(self.files("bob"))), (150, 150))
        self.assertEqual(self.store.calls.count("name"), 3)
        self.assertEqual(self.store.calls.count("forget"), 3)
        self.assertEqual(self.metrics.counts, {"moxsmtp_handed_over_total": 300})

    def test_names_differ(self) -> None:
        """Messages of one moment and one content have different names."""
        for number in range(1, 51):
            self.store.add(number)
        self.start()
        self.assertEqual(len(self.files()), 50)

    def test_flags_and_folder(self) -> None:
        """A message for a folder goes there, one with flags into C{cur}."""
        self.store.add(1, mailbox="Junk", flags="S")
        self.start()
        (path,) = self.files()
        self.assertTrue(path.startswith(".Junk/cur/"))
        self.assertTrue(path.endswith(":2,S"))

    def test_no_maildir(self) -> None:
        """Mail of an account that has no Maildir any more stays in the store."""
        self.store.add(1, account="carol")
        self.store.add(2)
        self.start()
        self.assertEqual(list(self.store.messages), [1])
        self.assertEqual(len(self.files()), 1)

    def test_deleted_meanwhile(self) -> None:
        """A message that is removed from the store while it is written does not appear."""
        self.store.add(1)
        self.store.add(2)
        finish = Draft.finish

        def delete(draft: Draft, host: str) -> str:
            self.store.messages.pop(1, None)
            return finish(draft, host)

        self.patch(Draft, "finish", delete)
        self.start()
        (path,) = self.files()
        self.assertIn("Q2I", path)
        self.assertEqual(list((self.base / "alice" / "tmp").iterdir()), [])

    def test_stopped(self) -> None:
        """Stopping waits for the batch under way."""
        waiting: list[Deferred[None]] = []
        self.store.add(1)
        service = self.service()
        forget = self.store.handed_over

        async def slow(done: object) -> None:
            waiting.append(Deferred())
            await waiting[0]
            await forget(done)  # type: ignore[arg-type]  # handed on

        self.patch(self.store, "handed_over", slow)
        service.startService()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        waiting[0].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.store.messages, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CrashTests(HandOverTestCase):
    """Killed between any two steps."""

    def one_copy_each(self, count: int, crash: str) -> None:
        """Every message is there exactly once, whole, and known by its name."""
        files = self.files()
        numbers = sorted(path.partition("Q")[2].partition("I")[0] for path in files)
        self.assertEqual(numbers, sorted(str(n) for n in range(1, count + 1)), crash)
        self.assertEqual(
            {path.rpartition("/")[2].partition(":")[0] for path in files},
            set(self.store.known["alice"]),
            crash,
        )
        self.assertEqual(self.store.messages, {}, crash)

    def fill(self) -> None:
        """Begin anew, with three messages."""
        shutil.rmtree(self.base / "alice", ignore_errors=True)
        self.store = MemoryHandOvers()
        self.store.add(1)
        self.store.add(2, b"Subject: large\r\n\r\n" + b"x" * 100 + b"\r\n", large=True)
        self.store.add(3)

    def steps(self) -> int:
        """How many there are without a crash."""
        self.fill()
        mortal = Mortal()
        service = self.service(mortal)
        service.startService()
        self.successResultOf(service.stopService())
        self.one_copy_each(3, "no crash")
        return mortal.steps

    def test_any_step(self) -> None:
        """Killed before or after any step, the next start leaves exactly one copy of each."""
        steps = self.steps()
        self.assertGreater(steps, 10)
        for step in range(steps):
            for done in (False, True):
                self.fill()
                self.service(Mortal(step, done=done)).startService()
                self.start()
                self.one_copy_each(3, f"killed at step {step}, done: {done}")

    def test_twice(self) -> None:
        """Killed again at the second start, too."""
        steps = self.steps()
        for first in range(steps):
            for second in range(0, steps, 2):
                self.fill()
                self.service(Mortal(first, done=True)).startService()
                self.service(Mortal(second, done=True)).startService()
                self.start()
                self.one_copy_each(3, f"killed at steps {first} and {second}")

    def test_between_renames(self) -> None:
        """Killed when some files of a batch have appeared and others not."""
        publish = Draft.publish
        for survivors in range(3):
            self.fill()
            published: list[str] = []

            def dying(
                draft: Draft,
                root: Path,
                mailbox: str,
                name: str,
                flags: str,
                *,
                published: list[str] = published,
                survivors: int = survivors,
            ) -> Path:
                if len(published) == survivors:
                    raise Killed
                published.append(name)
                return publish(draft, root, mailbox, name, flags)

            self.patch(Draft, "publish", dying)
            self.service().startService()
            self.patch(Draft, "publish", publish)
            self.start()
            self.one_copy_each(3, f"{survivors} had appeared")

    def test_moved_before_the_next_start(self) -> None:
        """A file that its reader moves, flags or renames after the crash is not made again."""
        for move in ("cur/{}:2,S", ".Archive/cur/{}:2,S", "cur/999.other:2,"):
            self.fill()
            names_to_end = self.steps_until("forget")
            self.fill()
            self.service(Mortal(names_to_end)).startService()
            root = self.base / "alice"
            (root / ".Archive" / "cur").mkdir(parents=True)
            (root / ".Archive" / "new").mkdir(parents=True)
            (file,) = [path for path in (root / "new").iterdir() if "Q1I" in path.name]
            file.rename(root / move.format(file.name))
            self.start()
            self.assertEqual(len(self.files()), 3, move)
            self.assertEqual(self.store.messages, {}, move)

    def steps_until(self, call: str) -> int:
        """How many steps come before the first of this name."""
        found: list[int] = []
        mortal = Mortal()
        service = self.service(mortal)
        step = self.store._step

        def counting(work, /, *args, **kwargs):  # type: ignore[no-untyped-def]  # handed on
            if work.__name__ == call and not found:
                found.append(mortal.steps)
            return step(work, *args, **kwargs)

        self.patch(self.store, "_step", counting)
        service.startService()
        self.successResultOf(service.stopService())
        return found[0]


class TroubleTests(HandOverTestCase):
    """When things break."""

    def test_failing_maildir(self) -> None:
        """A Maildir that cannot be written holds up nobody else, and is tried ever later."""
        (self.base / "alice").write_text("in the way")
        self.store.add(1)
        self.store.add(2, account="bob")
        self.start()
        self.assertEqual(len(self.files("bob")), 1)
        tried: list[float] = []
        make = maildir_module.Tree.make

        def note(tree: maildir_module.Tree, mailbox: str = "") -> None:
            tried.append(self.clock.seconds())
            make(tree, mailbox)

        self.patch(maildir_module.Tree, "make", note)
        begin = self.clock.seconds()
        for _ in range(2000):
            self.clock.advance(1)
        waits = [int(when - begin) for when in tried]
        self.assertEqual(waits[:6], [1, 3, 7, 15, 31, 63])
        self.assertLess(len(waits), 16)
        (self.base / "alice").unlink()
        for _ in range(301):
            self.clock.advance(1)
        self.assertEqual(len(self.files("alice")), 1)

    def test_nothing_left(self) -> None:
        """Where a Maildir that failed has no more messages, nobody looks for them again."""
        (self.base / "alice").write_text("in the way")
        self.store.add(1)
        self.start()
        del self.maildirs["alice"]
        for _ in range(5):
            self.clock.advance(1)
        self.store.calls.clear()
        self.clock.pump([0.0] * 20)
        self.assertEqual(self.store.calls, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_store_fails_meanwhile(self) -> None:
        """Nor where it is due while the store cannot be read: that has its own delay."""
        (self.base / "alice").write_text("in the way")
        self.store.add(1)
        self.start()
        self.store.failing = StorageUnavailable("gone")
        for _ in range(5):
            self.clock.advance(1)
        self.store.calls.clear()
        for _ in range(20):
            self.clock.advance(0.01)
        self.assertLess(len(self.store.calls), 3)

    def test_clock_set_back(self) -> None:
        """Where the clock is set back by a day, it is tried again no later than before."""
        (self.base / "alice").write_text("in the way")
        self.store.add(1)
        self.start()
        for _ in range(10):
            self.clock.advance(1)
        (self.base / "alice").unlink()
        # As the timers have it: what is delayed keeps its length.
        delays = [(call, call.getTime() - self.clock.seconds()) for call in self.clock.calls]
        self.clock.rightNow -= 86_400
        for call, delay in delays:
            call.reset(delay)
        for _ in range(8):
            self.clock.advance(1)
        self.assertEqual(len(self.files("alice")), 1)

    def test_file_cannot_be_synced(self) -> None:
        """A file that is gone, or cannot be put on disk, holds up nobody else either."""
        finish = maildir_module.Draft.finish

        def swept(draft: maildir_module.Draft, host: str) -> str:
            name = finish(draft, host)
            if draft.path.is_relative_to(self.base / "alice"):
                draft.path.unlink()
            return name

        patch = self.patch(maildir_module.Draft, "finish", swept)
        self.store.add(1)
        self.store.add(2, account="bob")
        self.start()
        self.assertEqual([len(self.files("alice")), len(self.files("bob"))], [0, 1])
        patch.restore()
        self.clock.advance(1)
        self.assertEqual(len(self.files("alice")), 1)

    def test_one_of_two_fails(self) -> None:
        """What could not be handed over beside what could is tried again without new mail."""
        tree = maildir_module.Tree(self.base / "alice", 0o700)
        tree.make()
        obstacle = self.base / "alice" / ".Junk"
        obstacle.write_text("in the way")
        self.store.add(1)
        self.store.add(2, mailbox="Junk")
        self.start()
        self.assertEqual(len(self.files()), 1)
        obstacle.unlink()
        self.clock.advance(1)
        self.assertEqual(len(self.files()), 2)

    def begun(self) -> list[Path]:
        """What is in C{tmp}."""
        return list((self.base / "alice" / "tmp").iterdir())

    def test_full(self) -> None:
        """
        A disk that is full leaves nothing half written in C{tmp}, at whichever octet it is
        noticed, and what there was room for before is handed over.
        """
        # Four writes: first what the server adds, then the message, for each of two.
        for room, expected in ((0, 0), (1, 0), (2, 1), (3, 1)):
            self.setUp()
            patch = self.patch(Draft, "write", no_more_than(room))
            self.store.add(1)
            self.store.add(2)
            self.start()
            self.assertEqual((len(self.files()), self.begun()), (expected, []), room)
            patch.restore()
            self.clock.advance(1)
            self.assertEqual(len(self.files()), 2)

    def test_lost_file_leaves_nothing(self) -> None:
        """A file that cannot be put on disk is not left in C{tmp} either."""
        refused = OSError(errno.ENOSPC, "no room")

        def refuse(paths: Iterable[Path]) -> dict[Path, OSError]:
            return dict.fromkeys(paths, refused)

        patch = self.patch(handover_module, "sync_files", refuse)
        self.store.add(1)
        self.start()
        self.assertEqual((self.files(), self.begun()), ({}, []))
        patch.restore()
        self.clock.advance(1)
        self.assertEqual(len(self.files()), 1)

    def test_store_full_leaves_nothing(self) -> None:
        """Where the store has no room to note a name, the file does not wait in C{tmp}."""
        name = self.store.name_hand_overs

        def refuse(_: Mapping[int, str]) -> Deferred[list[int]]:
            raise InsufficientStorage("no room for the database")

        self.patch(self.store, "name_hand_overs", refuse)
        self.store.add(1)
        self.start()
        self.assertEqual((self.files(), self.begun()), ({}, []))
        self.patch(self.store, "name_hand_overs", name)
        self.clock.advance(1)
        self.assertEqual(len(self.files()), 1)

    def test_new_mail_beside_trouble(self) -> None:
        """While one Maildir fails, being woken reads only what is new."""
        (self.base / "alice").write_text("in the way")
        for number in range(1, 300):
            self.store.add(number)
        service = self.start()
        before = self.store.calls.count("pending")
        self.store.add(300, account="bob")
        service.wake()
        self.assertEqual(len(self.files("bob")), 1)
        self.assertEqual(self.store.calls.count("pending"), before + 1)

    def test_store_away(self) -> None:
        """A store that is away is asked again after a while, ever later, and all is well."""
        self.store.failing = StorageUnavailable("locked")
        self.store.add(1)
        self.start()
        for _ in range(100):
            self.clock.advance(1)
        self.assertLess(len(self.store.calls), 10)
        self.store.failing = None
        for _ in range(300):
            self.clock.advance(1)
        self.assertEqual(len(self.files()), 1)

    def test_bug(self) -> None:
        """An unexpected error is logged, and the hand-over is tried again."""
        self.store.failing = ZeroDivisionError("bug")
        self.store.add(1)
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.store.failing = None
        self.clock.advance(1)
        self.assertEqual(len(self.files()), 1)

    def errors(self) -> list[str]:
        """What is logged from now on as an error."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_level"] is LogLevel.error:
                lines.append(str(formatEvent(event)))

        observer: ILogObserver = observe  # type: ignore[assignment]  # a callable is one
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return lines

    def test_content_missing(self) -> None:
        """A message without content stays, holds up no other, and is told in one line."""
        lines = self.errors()
        self.store.add(1, large=True)
        self.store.contents[1] = MemoryContent(b"", LookupError("gone"))
        self.store.add(2)
        self.start()
        self.assertEqual(lines, ["cannot read message 1 of alice, again in 1.0 s: gone"])
        self.assertEqual(list(self.store.messages), [1])
        self.assertEqual(len(self.files()), 1)

    def test_content_missing_for_long(self) -> None:
        """It is tried ever later, whatever else comes, and handed over once it can be read."""
        lines = self.errors()
        self.store.add(1, b"x" * 1000, large=True)
        self.store.contents[1] = MemoryContent(b"", LookupError("gone"))
        service = self.start()
        for number in range(2, 102):
            self.store.add(number)
            service.wake()
            self.clock.advance(0.1)
        self.assertEqual(len(self.files()), 100)
        self.assertEqual(len(lines), 4)  # at the start, after 1, 3, 7 seconds
        self.store.contents[1] = MemoryContent(b"x" * 1000)
        self.clock.advance(10)
        self.assertEqual(len(self.files()), 101)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_content_missing_beside_trouble(self) -> None:
        """It is tried again, and nothing without a rest, while a Maildir fails as well."""
        (self.base / "bob").write_text("in the way")
        self.store.add(1, b"x" * 1000, large=True)
        self.store.contents[1] = MemoryContent(b"", LookupError("gone"))
        self.store.add(2, account="bob")
        self.start()
        for _ in range(100):
            self.clock.advance(0.1)
        self.assertLess(self.store.calls.count("pending"), 20)
        self.store.contents[1] = MemoryContent(b"x" * 1000)
        self.clock.advance(10)
        self.assertEqual(len(self.files()), 1)

    def test_content_cut_short(self) -> None:
        """Content that is shorter than it should be is not handed over."""
        lines = self.errors()
        self.store.add(1, b"x" * 1000, large=True)
        self.store.contents[1] = MemoryContent(b"x" * 10)
        self.start()
        self.assertEqual(len(lines), 1)
        self.assertEqual(self.files(), {})
        self.assertEqual(list(self.store.messages), [1])

    def test_vanished_root(self) -> None:
        """A Maildir that held mail and is gone is not made again, nor is mail lost."""
        self.store.add(1)
        service = self.start()
        away = self.base / "away"
        (self.base / "alice").rename(away)
        self.store.add(2)
        service.wake()
        self.assertFalse((self.base / "alice").exists())
        self.assertEqual(list(self.store.messages), [2])
        away.rename(self.base / "alice")
        self.clock.advance(1)
        self.assertEqual(len(self.files()), 2)

    def test_vanished_before_the_start(self) -> None:
        """The same for one that is gone, or empty, when the process starts."""
        self.store.known["alice"] = {"x": InMaildir("x", "Inbox")}
        self.store.add(1)
        self.start()
        self.assertFalse((self.base / "alice").exists())
        (self.base / "alice").mkdir()
        self.clock.advance(1)
        self.assertEqual(list((self.base / "alice").iterdir()), [])


class DutyTests(HandOverTestCase):
    """Several processes on one store."""

    def test_doubles(self) -> None:
        """What stands for a duty, and the duty of one who is alone, are duties."""
        verifyObject(IDuty, SharedDuty())
        verifyObject(IDuty, Sole())

    def test_untold(self) -> None:
        """Who alone hands mail over looks for what another has stored and not told of."""
        self.start(Sole(5.0))
        self.store.add(1)
        self.clock.advance(5)
        self.assertEqual(len(self.files()), 1)

    def test_stands_by(self) -> None:
        """Who does not have the duty touches nothing, looks now and then, and takes over."""
        duty = SharedDuty(is_ours=False)
        self.store.add(1)
        self.start(duty)
        self.assertEqual((self.store.calls, self.files()), ([], {}))
        duty.is_ours = True
        self.clock.advance(SharedDuty.poll)
        self.assertEqual(len(self.files()), 1)

    def test_lost_before_names(self) -> None:
        """Who loses it while files are written records no name and lets none appear."""
        self.store.add(1)
        self.start(SharedDuty(takes=1))
        self.assertEqual(self.files(), {})
        self.assertIsNone(self.store.messages[1].name)
        self.assertEqual(list((self.base / "alice" / "tmp").iterdir()), [])

    def test_lost_before_files_appear(self) -> None:
        """Who was frozen behind the last look lets no file appear."""
        duty = SharedDuty()
        duty.holds = False
        self.store.add(1)
        self.start(duty)
        self.assertEqual(self.files(), {})
        self.assertIn(1, self.store.messages)

    def test_given_up(self) -> None:
        """Who stops lets another have it at once."""
        duty = SharedDuty()
        service = self.start(duty)
        self.successResultOf(service.stopService())
        self.assertTrue(duty.given_up)
