"""Turns that are shared between sites."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import LookupFailed
from moxsmtp.dns.turns import Turns, site_of
from moxsmtp.names import Domain
from tests.clock import CrowdedClock


class SiteTests(SynchronousTestCase):
    """Whose a name is."""

    def test_site(self) -> None:
        """The last two labels, one more below a registry; of addresses a network."""
        suffixes = {"co.uk", "city.kawasaki.jp", "kawasaki.jp"}
        expected = {
            "": "",
            "example": "example",
            "example.org": "example.org",
            "_dmarc.mail.example.org": "example.org",
            "a.b.example.co.uk": "example.co.uk",
            "co.uk": "co.uk",
            "a.b.c.d.city.kawasaki.jp": "d.city.kawasaki.jp",
            "4.3.2.1.in-addr.arpa": "2.1.in-addr.arpa",
            f"{'0.' * 24}8.b.d.0.1.0.0.2.ip6.arpa": "8.b.d.0.1.0.0.2.ip6.arpa",
            "..a..": ".",
        }
        self.assertEqual(
            {name: site_of(name, lambda domain: domain.ascii in suffixes) for name in expected},
            expected,
        )

    def test_registry_is_no_way_out(self) -> None:
        """One who has names of many labels gets no site for each of them."""
        sites = {site_of(f"n{number}.x.evl.de", lambda _: False) for number in range(100)}
        self.assertEqual(sites, {"evl.de"})

    def test_every_suffix(self) -> None:
        """Where everything is said to be a registry's, a site still has an end."""
        self.assertEqual(site_of("a.b.c.d.e.f.g", lambda _: True), "d.e.f.g")


class TurnsTests(SynchronousTestCase):
    """Six turns, of which one site gets two, and three seconds to wait for one."""

    def setUp(self) -> None:
        """Nobody has one."""
        self.clock = CrowdedClock()
        self.turns = Turns(self.clock, most=6, share=2, seconds=3)

    def take(self, site: str) -> Deferred[None]:
        """Ask for one."""
        return Deferred.fromCoroutine(self.turns.take(site))

    def fill(self, *sites: str) -> None:
        """Each takes its share."""
        for site in sites:
            self.successResultOf(self.take(site))
            self.successResultOf(self.take(site))

    def give(self, site: str) -> None:
        """Give one back."""
        self.turns.give(site)
        self.clock.advance(0)

    def test_share(self) -> None:
        """A site gets its share and no more; others are not kept waiting by it."""
        self.fill("evil.test")
        third = self.take("evil.test")
        self.assertNoResult(third)
        self.successResultOf(self.take("good.test"))
        self.give("good.test")
        self.assertNoResult(third)
        self.give("evil.test")
        self.successResultOf(third)

    def test_site_by_site(self) -> None:
        """When all are taken, those who wait are served site by site, not in one row."""
        self.fill("a.test", "b.test", "c.test")
        many = [self.take("d.test") for _ in range(4)]
        one = self.take("e.test")
        self.give("a.test")
        self.successResultOf(many[0])
        self.give("a.test")
        self.successResultOf(one)
        self.assertNoResult(many[1])
        self.give("b.test")
        self.successResultOf(many[1])
        self.give("b.test")
        self.assertNoResult(many[2])
        self.give("d.test")
        self.successResultOf(many[2])

    def test_too_late(self) -> None:
        """Who has no turn in time fails, takes none later, and leaves nothing behind."""
        self.fill("evil.test")
        late = self.take("evil.test")
        self.clock.advance(2.9)
        self.assertNoResult(late)
        self.clock.advance(0.1)
        text = str(self.failureResultOf(late, LookupFailed).value)
        self.assertEqual(text, "no turn within 3 s: too many look-ups under way")
        self.give("evil.test")
        self.successResultOf(self.take("evil.test"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Who gives up before its turn takes none, and the next one is not kept waiting."""
        self.fill("evil.test")
        first, second = self.take("evil.test"), self.take("evil.test")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.give("evil.test")
        self.successResultOf(second)
        third = self.take("evil.test")
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_queue_is_bounded(self) -> None:
        """Of one site no more than four times its share wait; others may all the same."""
        self.fill("a.test", "b.test", "c.test")
        waiting = [self.take("d.test") for _ in range(8)]
        text = str(self.failureResultOf(self.take("d.test"), LookupFailed).value)
        self.assertEqual(text, "too many look-ups in d.test at once")
        other = self.take("e.test")
        self.assertNoResult(other)
        for asking in (*waiting, other):
            asking.cancel()
            self.failureResultOf(asking, CancelledError)

    def test_row_does_not_nest(self) -> None:
        """A long row of turns that are given back at once is no deep recursion."""
        turns = Turns(self.clock, most=1000, share=1000, seconds=3)

        async def brief() -> None:
            await turns.take("a.test")
            turns.give("a.test")

        for _ in range(1000):
            self.successResultOf(Deferred.fromCoroutine(turns.take("a.test")))
        row = [Deferred.fromCoroutine(brief()) for _ in range(3000)]
        for _ in range(1000):
            turns.give("a.test")
        for _ in range(5):
            self.clock.advance(0)
        for one in row:
            self.successResultOf(one)


class PublicSuffixTests(SynchronousTestCase):
    """What is asked about names."""

    def test_asks_for_domains(self) -> None:
        """Only the end of the name is asked about, however long the name is."""
        asked: list[Domain] = []

        def look(domain: Domain) -> bool:
            asked.append(domain)
            return False

        site_of("a." * 100 + "example.org", look)
        self.assertEqual(asked, [Domain("example.org")])
