"""One round of looking at what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.interfaces import StorageUnavailable
from moxsmtp.mtasts.cache import Refreshed
from moxsmtp.mtasts.refresh import Refresh
from moxsmtp.mtasts.storage import Kept, Known
from moxsmtp.names import Domain
from moxsmtp.testing import MemoryMetrics
from tests.mtasts.policies import MemoryPolicies, policy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class RoundTests(unittest.SynchronousTestCase):
    """
    @ivar looked: Seconds since the start, and domains.
    @ivar outcomes: What is not there at once, by domain.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryPolicies()
        self.metrics = MemoryMetrics()
        self.looked: list[tuple[float, str]] = []
        self.outcomes: dict[str, Deferred[Refreshed]] = {}
        self.refresh = Refresh(
            self.store,
            self.look,
            self.metrics,
            clock=self.clock,
            now=lambda: NOON + timedelta(seconds=self.clock.seconds()),
            shuffle=list.reverse,
        )

    def look(self, domain: Domain) -> Deferred[Refreshed]:
        """As L{moxsmtp.mtasts.cache.Policies.refresh}."""
        self.looked.append((self.clock.seconds(), domain.ascii))
        return self.outcomes.get(domain.ascii, succeed(Refreshed.UNCHANGED))

    def keep(self, *names: str, age: timedelta = timedelta(hours=13)) -> None:
        """Policies that were fetched so long ago."""
        for name in names:
            fetched = NOON - age
            kept = Kept(policy(), "1", fetched, fetched + timedelta(days=9))
            self.store.rows[Domain(name)] = Known(kept)

    def begin(self) -> Deferred[None]:
        """A round."""
        return Deferred.fromCoroutine(self.refresh.round())

    def test_order(self) -> None:
        """Q-54: policies not looked at for 12 hours come in random order, over 3 hours."""
        self.keep("a.example", "b.example", "c.example", "d.example")
        self.keep("fresh.example", age=timedelta(hours=11))
        done = self.begin()
        self.clock.pump([60] * 180)
        self.successResultOf(done)
        self.assertEqual(
            self.looked,
            [(0, "d.example"), (2700, "c.example"), (5400, "b.example"), (8100, "a.example")],
        )
        self.assertEqual(
            self.metrics.counts, {'moxsmtp_mtasts_refreshes_total{result="unchanged"}': 4}
        )

    def test_forgotten(self) -> None:
        """Q-54: policies unused for 180 days are forgotten, mere failures after an hour."""
        self.successResultOf(self.begin())
        self.assertEqual(self.store.writes, ["remove_old 2025-09-02 11:00"])
        self.assertEqual(self.looked, [])

    def test_a_minute(self) -> None:
        """Q-54: one policy has a minute, and those that hang do not hold up the others."""
        names = [f"{number}.example" for number in range(100)]
        self.keep(*names)
        cancelled: list[str] = []
        for name in names[50:]:
            self.outcomes[name] = Deferred(lambda _, name=name: cancelled.append(name))  # type: ignore[misc]  # mypy cannot type a lambda's default
        done = self.begin()
        self.clock.pump([10] * (18 * 60 + 6))
        self.successResultOf(done)
        self.assertEqual([name for _, name in self.looked], names[::-1])
        self.assertEqual(sorted(cancelled), sorted(names[50:]))
        pace = 3 * 3600 / 100
        late = max(when - number * pace for number, (when, _) in enumerate(self.looked))
        self.assertLess(late, 10)
        self.assertEqual(self.metrics.counts['moxsmtp_mtasts_refreshes_total{result="failed"}'], 50)

    def test_no_longer(self) -> None:
        """Q-54: that minute ends the look, and not before."""
        self.keep("a.example")
        cancelled: list[object] = []
        self.outcomes["a.example"] = Deferred(cancelled.append)
        done = self.begin()
        self.clock.advance(59.5)
        self.assertEqual(len(cancelled), 0)
        self.clock.advance(0.5)
        self.assertEqual(len(cancelled), 1)
        self.successResultOf(done)

    def test_store_away(self) -> None:
        """A store that is away for one policy is a failure of that one."""
        self.keep("a.example", "b.example")
        away: Deferred[Refreshed] = Deferred()
        self.outcomes["b.example"] = away
        done = self.begin()
        away.errback(StorageUnavailable("locked"))
        self.clock.pump([60] * 180)
        self.successResultOf(done)
        self.assertEqual([name for _, name in self.looked], ["b.example", "a.example"])

    def test_bug(self) -> None:
        """A bug ends the round, all of it, and is told."""
        self.keep("a.example", "b.example")
        self.outcomes["b.example"] = Deferred()
        done = self.begin()
        self.outcomes["b.example"].errback(ZeroDivisionError())
        self.failureResultOf(done, ZeroDivisionError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """Cancelling a round ends what is under way and what waits."""
        self.keep("a.example", "b.example", "c.example")
        cancelled: list[object] = []
        self.outcomes["c.example"] = Deferred(cancelled.append)
        done = self.begin()
        done.cancel()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.failureResultOf(done, CancelledError)
