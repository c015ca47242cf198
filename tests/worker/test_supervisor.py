"""Tests for L{moxsmtp.worker.supervisor}."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.affinity import in_order
from moxsmtp.worker.frames import Message
from moxsmtp.worker.spawn import Watcher
from moxsmtp.worker.supervisor import Crew, Worker, WorkerFailed
from tests.worker.doubles import Link


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lost_ones: list[int] = []
        self.messages: list[Message] = []
        self.changes = 0

    def first_message(self) -> Message:
        """What is in force."""
        return {"kind": "start"}

    def heard(self, worker: Worker, message: Message) -> None:
        """Keep it."""
        self.messages.append(message)

    def changed(self) -> None:
        """Count it."""
        self.changes += 1

    def lost(self, worker: Worker) -> None:
        """Keep who."""
        self.lost_ones.append(worker.number)


class CrewCase(SynchronousTestCase):
    """Two workers, and a clock that stands still."""

    def setUp(self) -> None:
        """Not started."""
        self.clock = Clock()
        self.owner = Owner()
        self.links: list[Link] = []
        self.failing = False
        self.crew = Crew(self.clock, 2, self.spawn, self.owner)

    def spawn(self, number: int, watcher: Watcher) -> Link:
        """One more process."""
        if self.failing:
            raise OSError("no more processes")
        link = Link(number, watcher)
        self.links.append(link)
        return link

    def started(self) -> None:
        """Both are ready."""
        starting = Deferred.fromCoroutine(self.crew.start())
        for link in list(self.links):
            link.ready()
        self.successResultOf(starting)

    def pending(self) -> int:
        """Calls that wait."""
        return len(self.clock.getDelayedCalls())


class StartTests(CrewCase):
    """Until all are ready."""

    def test_ready(self) -> None:
        """The start waits for the last one; each is told what is in force first of all."""
        starting = Deferred.fromCoroutine(self.crew.start())
        self.assertEqual([link.told for link in self.links], [[{"kind": "start"}]] * 2)
        self.links[1].ready()
        self.assertNoResult(starting)
        self.assertEqual([worker.number for worker in self.crew.present], [1])
        self.links[0].ready()
        self.successResultOf(starting)

    def test_one_fails(self) -> None:
        """One that ends before it is ready ends the start, and no more are started."""
        starting = Deferred.fromCoroutine(self.crew.start())
        self.links[0].ready()
        self.links[1].watcher.ended("exit status 1")
        why = self.failureResultOf(starting, WorkerFailed)
        self.assertIn("worker 1 has ended before it was ready (exit status 1)", str(why.value))
        self.clock.advance(1000)
        self.assertEqual(len(self.links), 2)

    def test_cannot_spawn(self) -> None:
        """Nor can a server start that cannot start processes."""
        self.failing = True
        starting = Deferred.fromCoroutine(self.crew.start())
        self.failureResultOf(starting, WorkerFailed)

    def test_never_ready(self) -> None:
        """One that does not get ready is killed; the start has failed then."""
        starting = Deferred.fromCoroutine(self.crew.start())
        self.links[0].ready()
        self.clock.advance(120)
        self.assertTrue(self.links[1].killed)
        self.failureResultOf(starting, WorkerFailed)


class ReplaceTests(CrewCase):
    """One that ends is replaced."""

    def setUp(self) -> None:
        """Both are ready."""
        super().setUp()
        self.started()

    def test_again(self) -> None:
        """After a second; until it is ready the other one stands in for it."""
        self.assertEqual(self.both(), [0, 1])
        self.links[0].watcher.ended("signal 9")
        self.assertEqual(self.owner.lost_ones, [0])
        self.assertEqual(self.both(), [1, 1])
        self.clock.advance(0.9)
        self.assertEqual(len(self.links), 2)
        self.clock.advance(0.2)
        self.assertEqual([link.number for link in self.links], [0, 1, 0])
        self.assertEqual(self.both(), [1, 1])
        self.links[2].ready()
        self.assertEqual(self.both(), [0, 1])

    def both(self) -> list[int | None]:
        """Whose clients are those who belong to each worker."""
        keys = [f"network 4 {number}" for number in range(20)]
        return [
            self.chosen(next(key for key in keys if in_order(key, 2)[0] == worker))
            for worker in range(2)
        ]

    def chosen(self, key: str) -> int | None:
        """Whose clients of this key are."""
        worker = self.crew.chosen(key)
        return None if worker is None else worker.number

    def test_nobody(self) -> None:
        """With none left there is nobody to choose."""
        for link in list(self.links):
            link.watcher.ended("signal 9")
        self.assertIsNone(self.chosen("a"))
        self.assertEqual(self.crew.present, [])

    def delays(self, count: int) -> list[int]:
        """Seconds until a worker that ends at once is started again, each time."""
        found = []
        for _ in range(count):
            link = self.links[-1]
            link.watcher.ended("exit status 1")
            seconds = 0
            while self.links[-1] is link:
                self.live(1)
                seconds += 1
            found.append(seconds)
        return found

    def live(self, seconds: int) -> None:
        """Time passes, and all who are there give signs of life."""
        for _ in range(seconds):
            self.clock.advance(1)
            for link in self.links:
                link.watcher.heard({"kind": "alive"})

    def test_back_off(self) -> None:
        """Again and again it takes twice as long, up to a minute."""
        self.links.append(self.links[1])
        self.assertEqual(self.delays(8), [1, 2, 4, 8, 16, 32, 60, 60])

    def test_long_life(self) -> None:
        """After a minute of work its end is the first one again."""
        self.links.append(self.links[1])
        self.assertEqual(self.delays(4), [1, 2, 4, 8])
        self.links[-1].ready()
        self.live(61)
        self.assertEqual(self.delays(2), [1, 2])

    def test_hangs(self) -> None:
        """One that gives no sign of life for half a minute is killed, one that does is not."""
        for second in range(2, 36, 2):
            self.assertEqual(self.links[0].killed, second > 32)
            self.clock.advance(2)
            self.links[1].watcher.heard({"kind": "alive"})
        self.assertEqual([link.killed for link in self.links[:2]], [True, False])
        self.assertEqual([link.number for link in self.links], [0, 1, 0])
        self.assertEqual(self.links[1].kinds(), ["start", *["alive"] * 17])
        self.assertEqual(self.owner.messages, [])

    def test_time_jumps(self) -> None:
        """
        The clock is put forward, or this process was halted for long: that is no sign of
        death, for nobody had a chance to answer.
        """
        for _ in range(3):
            self.clock.advance(1000)
            for link in self.links:
                self.assertEqual(link.kinds()[-1], "alive")
                link.watcher.heard({"kind": "alive"})
        self.assertEqual([link.killed for link in self.links], [False, False])

    def test_logged(self) -> None:
        """An end is one line; nothing else is made of it."""
        self.links[0].watcher.ended("signal 9")
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.owner.messages, [])

    def test_told(self) -> None:
        """What is said goes to those who are not ready yet as well."""
        self.links[0].watcher.ended("signal 9")
        self.crew.tell({"kind": "a"})
        self.clock.advance(1)
        self.crew.tell({"kind": "b"})
        self.assertEqual(
            [link.kinds() for link in self.links],
            [["start"], ["start", "a", "b"], ["start", "b"]],
        )


class StopTests(CrewCase):
    """Until none is left."""

    def setUp(self) -> None:
        """Both are ready."""
        super().setUp()
        self.started()

    def test_stop(self) -> None:
        """Each is told once; the end comes with the last one, and none is replaced."""
        stopping = Deferred.fromCoroutine(self.crew.stop())
        self.assertEqual([link.told[-1] for link in self.links], [{"kind": "stop"}] * 2)
        self.assertEqual(self.crew.present, [])
        self.links[0].watcher.ended("exit status 0")
        self.assertNoResult(stopping)
        self.links[1].watcher.ended("exit status 0")
        self.successResultOf(stopping)
        self.clock.advance(1000)
        self.assertEqual((len(self.links), self.pending()), (2, 0))

    def test_late(self) -> None:
        """One that does not end in time is killed."""
        stopping = Deferred.fromCoroutine(self.crew.stop())
        self.links[0].watcher.ended("exit status 0")
        self.clock.advance(19)
        self.assertNoResult(stopping)
        self.clock.advance(1)
        self.assertTrue(self.links[1].killed)
        self.successResultOf(stopping)

    def test_while_one_is_down(self) -> None:
        """One that was about to be started again is not."""
        self.links[0].watcher.ended("signal 9")
        stopping = Deferred.fromCoroutine(self.crew.stop())
        self.links[1].watcher.ended("exit status 0")
        self.successResultOf(stopping)
        self.clock.advance(1000)
        self.assertEqual(len(self.links), 2)

    def test_while_one_starts(self) -> None:
        """One that gets ready too late takes no connections."""
        self.links[0].watcher.ended("signal 9")
        self.clock.advance(1)
        stopping = Deferred.fromCoroutine(self.crew.stop())
        self.links[2].ready()
        self.assertEqual(self.crew.present, [])
        for link in self.links[1:]:
            link.watcher.ended("exit status 0")
        self.successResultOf(stopping)
