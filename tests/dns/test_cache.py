"""What is kept, and for how long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.cache import FAILURE_TTL, Cache
from moxsmtp.dns.records import TLSA, Answer, Question, RRType


def question(number: int = 0) -> Question:
    """One of many."""
    return Question(f"n{number}.example", RRType.A)


class CacheTests(SynchronousTestCase):
    """Time and room."""

    def test_counts_down(self) -> None:
        """An answer's time to live shrinks while it is kept, and then it is gone."""
        cache = Cache(10)
        cache.put(question(), Answer(("192.0.2.1",), ttl=60), 100.0)
        kept = [cache.get(question(), now) for now in (100.0, 130.5, 159.9, 160.0)]
        self.assertEqual(
            [answer and answer.ttl for answer in kept if not isinstance(answer, str)],
            [60, 29, 0, None],
        )
        self.assertEqual(len(cache), 0)

    def test_same_object(self) -> None:
        """Within a second everybody gets the same object, and always the same records."""
        cache = Cache(10)
        answer = Answer(("192.0.2.1",), ttl=60)
        cache.put(question(), answer, 100.0)
        first, second, later = (cache.get(question(), now) for now in (100.1, 100.9, 105.0))
        assert isinstance(first, Answer)
        assert isinstance(later, Answer)
        self.assertIs(first, second)
        self.assertIs(later.records, answer.records)

    def test_failures(self) -> None:
        """A failure is kept for a few seconds."""
        cache = Cache(10)
        cache.put(question(), "SERVFAIL", 0.0)
        self.assertEqual(cache.get(question(), FAILURE_TTL - 0.1), "SERVFAIL")
        self.assertIsNone(cache.get(question(), FAILURE_TTL))

    def test_set_back(self) -> None:
        """Where the clock was set back, nothing is kept for longer: it is asked anew."""
        cache = Cache(10)
        cache.put(question(1), Answer((), ttl=60), 86_400.0)
        cache.put(question(2), Answer((), ttl=86_400), 86_400.0)
        cache.put(question(3), "SERVFAIL", 86_400.0)
        cache.get(question(2), 86_400.0 + 3_600.0)
        self.assertEqual([cache.get(question(n), 83_000.0) for n in (1, 2, 3)], [None] * 3)
        self.assertEqual(len(cache), 0)

    def test_nothing_to_keep(self) -> None:
        """A time to live of zero is not kept, and replaces what was."""
        cache = Cache(10)
        cache.put(question(), Answer(("192.0.2.1",), ttl=60), 0.0)
        cache.put(question(), Answer(("192.0.2.2",), ttl=0), 1.0)
        self.assertIsNone(cache.get(question(), 1.0))

    def test_bounded(self) -> None:
        """The answer unused for longest makes room."""
        cache = Cache(3)
        for number in range(3):
            cache.put(question(number), Answer((), ttl=60), 0.0)
        cache.get(question(0), 1.0)
        cache.put(question(3), Answer((), ttl=60), 1.0)
        self.assertEqual(
            [n for n in range(4) if cache.get(question(n), 1.0) is not None], [0, 2, 3]
        )

    def test_large(self) -> None:
        """An answer of many KiB is not kept: the bound on answers is one on memory."""
        cache = Cache(10)
        cache.put(question(), Answer((b"x" * 10_000,), ttl=60), 0.0)
        cache.put(question(1), Answer(("192.0.2.1",) * 1000, ttl=60), 0.0)
        cache.put(question(2), Answer((TLSA(3, 0, 0, b"x" * 10_000),), ttl=60), 0.0)
        cache.put(Question("a" * 10_000, RRType.A), "too long", 0.0)
        self.assertEqual(len(cache), 0)

    def test_no_room(self) -> None:
        """A cache of size zero keeps nothing."""
        cache = Cache(0)
        cache.put(question(), Answer((), ttl=60), 0.0)
        self.assertEqual(len(cache), 0)
