"""Tests for L{moxsmtp.worker.news} and L{moxsmtp.worker.share}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.worker.frames import Message
from moxsmtp.worker.news import News
from moxsmtp.worker.share import Share


class NewsTests(SynchronousTestCase):
    """What the parent is told."""

    def setUp(self) -> None:
        """Nothing yet."""
        self.clock = Clock()
        self.told: list[Message] = []
        self.news = News(self.clock, self.told.append)

    def test_one_message(self) -> None:
        """However much happens in a turn, it is one message, and told once."""
        for _ in range(3):
            self.news.ended("a")
            self.news.queued()
            self.news.stored(frozenset({"ann", "bob"}))
        self.news.ended("b")
        self.assertEqual(self.told, [])
        self.clock.advance(0)
        self.assertEqual(
            self.told,
            [{"kind": "news", "ended": {"a": 3, "b": 1}, "accounts": ["ann", "bob"],
              "queued": True}],
        )  # fmt: skip
        self.clock.advance(10)
        self.news.flush()
        self.assertEqual(len(self.told), 1)

    def test_next_turn(self) -> None:
        """What happens later is told later, and nothing of before again."""
        self.news.queued()
        self.clock.advance(0)
        self.news.stored(frozenset({"ann"}))
        self.clock.advance(0)
        self.assertEqual(
            [(message["queued"], message["accounts"]) for message in self.told],
            [(True, []), (False, ["ann"])],
        )

    def test_no_hurry(self) -> None:
        """
        Where there is room, ends wait a little for others, but not for what is urgent, and
        where places are waited for they do not wait at all.
        """
        self.news.ended("a", is_crowded=False)
        self.clock.advance(0.01)
        self.news.ended("a", is_crowded=False)
        self.assertEqual(self.told, [])
        self.clock.advance(0.01)
        self.assertEqual([message["ended"] for message in self.told], [{"a": 2}])
        for hurry in (self.news.queued, lambda: self.news.ended("b")):
            self.news.ended("a", is_crowded=False)
            hurry()
            self.clock.advance(0)
            self.assertEqual(self.told[-1]["ended"]["a"], 1)
            self.assertEqual(self.clock.getDelayedCalls(), [])


class ShareTests(SynchronousTestCase):
    """A listener's connections in a worker."""

    def test_passed_on(self) -> None:
        """There is room for each that the parent let in; each end is told once."""
        ended: list[str] = []
        share = Share(lambda: ended.append("ended"), lambda: ended.append("missed"))
        self.assertTrue(all(share.acquire() for _ in range(5000)))
        share.release()
        self.assertEqual((share.open, ended), (4999, ["ended"]))
        share.missed()
        self.assertEqual((share.open, ended), (4999, ["ended", "missed", "ended"]))

    def test_busy(self) -> None:
        """Whether the listener is busy is what the parent says (S-16)."""
        share = Share(lambda: None, lambda: None)
        for _ in range(2000):
            share.acquire()
        self.assertFalse(share.is_busy)
        share.is_crowded = True
        self.assertTrue(share.is_busy)
