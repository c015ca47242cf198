"""How hard sites are worked."""

from __future__ import annotations

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.queue.shaping import Shaper, ShapingRule

A, B = "a.example", "b.example"
HOSTS = ("mx1.big.example", "mx2.big.example")


class SiteTests(SynchronousTestCase):
    """What belongs together."""

    def test_rules(self) -> None:
        """
        Q-93: the first rule whose pattern names the domain or a host of it counts; only
        one that begins with a dot is for what ends in it.
        """
        rules = (
            ShapingRule(sites=("mx1.big.example", "where.example"), connections=2),
            ShapingRule(sites=(".big.example",), connections=3),
            ShapingRule(sites=(A,), connections=4),
        )
        expected = {
            HOSTS: 2,
            ("mx2.big.example",): 3,
            ("big.example",): 3,
            ("notbig.example",): 4,
            ("mx.elsewhere.example",): 4,
        }
        found = {}
        for hosts in expected:
            shaper = Shaper(rules)
            shaper.learn(A, hosts)
            found[hosts] = shaper.connections(A)
        self.assertEqual(found, expected)

    def test_default(self) -> None:
        """Q-93: without a rule there is one connection to each domain, without other limits."""
        shaper = Shaper()
        shaper.learn(A, HOSTS)
        self.assertEqual(shaper.connections(A), 1)
        for _ in range(1000):
            shaper.begin(A, 5.0)
        self.assertEqual(shaper.wait(A, 5.0), 0.0)
        self.assertFalse(shaper.is_crowded(A))
        self.assertEqual(shaper.rule(A).messages_per_connection, 100)

    def test_unknown(self) -> None:
        """Until it is known where its mail goes, one connection has to do."""
        shaper = Shaper((ShapingRule(connections=4),))
        self.assertEqual(shaper.connections(A), 1)
        shaper.learn(A, HOSTS)
        self.assertEqual(shaper.connections(A), 4)

    def test_one_while_it_fails(self) -> None:
        """So it is while connections fail."""
        shaper = Shaper((ShapingRule(connections=4),))
        shaper.learn(A, HOSTS)
        shaper.unconnected(A, 1.0, "refused")
        self.assertEqual(shaper.connections(A), 1)
        shaper.connected(A)
        self.assertEqual(shaper.connections(A), 4)

    def test_grouped(self) -> None:
        """Q-93: domains with the same MX hosts, in whatever order, share what a site may have."""
        shaper = Shaper((ShapingRule(site_connections=2),))
        shaper.learn(A, HOSTS)
        shaper.learn(B, HOSTS[::-1])
        shaper.begin(A, 0.0)
        self.assertEqual(shaper.wait(B, 0.0), 0.0)
        shaper.begin(B, 0.0)
        self.assertGreater(shaper.wait(A, 0.0), 0.0)
        shaper.end(B)
        self.assertEqual(shaper.wait(A, 0.0), 0.0)

    def test_learned_under_way(self) -> None:
        """An attempt counts at the site that it turns out to go to, and is known to be too many."""
        shaper = Shaper((ShapingRule(site_connections=1),))
        shaper.learn(A, HOSTS)
        shaper.begin(A, 0.0)
        shaper.begin(B, 0.0)
        self.assertFalse(shaper.is_crowded(B))
        shaper.learn(B, HOSTS)
        self.assertTrue(shaper.is_crowded(B))
        shaper.end(B)
        self.assertFalse(shaper.is_crowded(A))
        shaper.end(A)
        self.assertEqual(shaper.wait(A, 0.0), 0.0)

    def test_counted(self) -> None:
        """Each that is over makes room for one, at a site that is learned later too."""
        shaper = Shaper((ShapingRule(site_connections=2),))
        for _ in range(2):
            shaper.begin(A, 0.0)
        shaper.end(A)
        shaper.learn(A, HOSTS)
        self.assertEqual(shaper.wait(A, 0.0), 0.0)
        shaper.begin(A, 0.0)
        self.assertGreater(shaper.wait(A, 0.0), 0.0)
        for _ in range(2):
            shaper.end(A)
        for _ in range(2):
            self.assertEqual(shaper.wait(A, 0.0), 0.0)
            shaper.begin(A, 0.0)
        self.assertGreater(shaper.wait(A, 0.0), 0.0)

    def test_moved(self) -> None:
        """Who is at work while his domain moves to other hosts does so at those, and there only."""
        shaper = Shaper((ShapingRule(site_connections=1),))
        shaper.learn(A, HOSTS)
        shaper.learn(B, HOSTS)
        shaper.begin(A, 0.0)
        self.assertGreater(shaper.wait(B, 0.0), 0.0)
        shaper.learn(A, ("mx.new.example",))
        self.assertEqual(shaper.wait(B, 0.0), 0.0)
        self.assertGreater(shaper.wait(A, 0.0), 0.0)

    def test_nowhere(self) -> None:
        """Domains without any host are no site together."""
        shaper = Shaper((ShapingRule(site_connections=1),))
        shaper.learn(A, ())
        shaper.learn(B, ())
        shaper.begin(A, 0.0)
        self.assertEqual(shaper.wait(B, 0.0), 0.0)

    def test_bounded(self) -> None:
        """However many domains there are, what is remembered is bounded; who is at work is not."""
        shaper = Shaper((ShapingRule(site_connections=1),))
        shaper.learn(A, HOSTS)
        shaper.begin(A, 0.0)
        for number in range(10_050):
            shaper.learn(f"d{number}.example", (f"mx{number}.example",))
        self.assertLessEqual(len(shaper._sites), 10_001)
        self.assertLessEqual(len(shaper._names), 10_000)
        shaper.end(A)
        shaper.learn(A, HOSTS)
        self.assertEqual(shaper.wait(A, 0.0), 0.0)

    def test_all_at_work(self) -> None:
        """So it is where all of them are at work, of which none is forgotten till it ends."""
        shaper = Shaper((ShapingRule(site_connections=1),))
        domains = [f"d{number}.example" for number in range(10_005)]
        for domain in domains:
            shaper.begin(domain, 0.0)
        self.assertGreater(shaper.wait(domains[0], 0.0), 0.0)
        for domain in domains:
            shaper.end(domain)
        shaper.learn(A, HOSTS)
        self.assertLessEqual(len(shaper._sites), 10_001)

    def test_busy(self) -> None:
        """A site that mail goes to all the time is not forgotten, nor which rule is its own."""
        shaper = Shaper((ShapingRule(sites=HOSTS[:1], connections=4),))
        for number in range(10_050):
            if number % 1000 == 0:
                shaper.learn(A, HOSTS)
                shaper.unconnected(A, 0.0, "refused")
            shaper.learn(f"d{number}.example", (f"mx{number}.example",))
        self.assertEqual(shaper.rule(A).connections, 4)
        self.assertEqual(shaper._site(A).failures, 11)


class RateTests(SynchronousTestCase):
    """So many in a minute."""

    def test_messages(self) -> None:
        """Q-93: beyond its messages of a minute, a site waits until the first is a minute old."""
        shaper = Shaper((ShapingRule(messages_per_minute=2),))
        for now in (0.0, 10.0):
            self.assertEqual(shaper.wait(A, now), 0.0)
            shaper.begin(A, now)
            shaper.end(A)
        self.assertEqual(shaper.wait(A, 15.0), 45.0)
        self.assertEqual(shaper.wait(A, 60.0), 0.0)

    def test_connections(self) -> None:
        """Q-93: likewise connections, however many attempts are under way."""
        shaper = Shaper((ShapingRule(connections_per_minute=1),))
        shaper.begin(A, 0.0)
        self.assertEqual(shaper.connecting(A, 0.0), 0.0)
        self.assertEqual(shaper.connecting(A, 20.0), 40.0)
        self.assertEqual(shaper.wait(A, 20.0), 40.0)
        self.assertEqual(shaper.wait(A, 60.0), 0.0)
        self.assertEqual(shaper.connecting(A, 60.0), 0.0)

    def test_reuse(self) -> None:
        """Q-93: who needs no connection is not put off by those that were made."""
        shaper = Shaper((ShapingRule(connections_per_minute=1),))
        self.assertEqual(shaper.connecting(A, 0.0), 0.0)
        self.assertEqual(shaper.wait(A, 1.0), 0.0)

    def test_fewer_workers(self) -> None:
        """Q-93: there are no more workers than may connect in a minute."""
        shaper = Shaper((ShapingRule(connections=4, connections_per_minute=2),))
        shaper.learn(A, HOSTS)
        self.assertEqual(shaper.connections(A), 2)

    def test_full_and_clock_set_back(self) -> None:
        """A clock that is set back by a day keeps nobody from connecting for a day."""
        shaper = Shaper((ShapingRule(connections_per_minute=1),))
        _ = shaper.connecting(A, 100_000.0)
        _ = shaper.connecting(A, 100_000.0)
        self.assertEqual(shaper.wait(A, 13_600.0), 0.0)
        self.assertEqual(shaper.connecting(A, 13_600.0), 0.0)

    def test_clock_set_back(self) -> None:
        """A clock that is set back by a day blocks nobody for a day."""
        shaper = Shaper((ShapingRule(messages_per_minute=1),))
        shaper.begin(A, 100_000.0)
        shaper.end(A)
        self.assertEqual(shaper.wait(A, 13_600.0), 0.0)


class PauseTests(SynchronousTestCase):
    """Sites that cannot be connected to."""

    def setUp(self) -> None:
        """Two failures are too many."""
        self.shaper = Shaper((ShapingRule(failures=2, pause=timedelta(seconds=60)),))

    def failed(self, now: float) -> None:
        """A connection fails."""
        self.shaper.unconnected(A, now, "refused")

    def test_pause(self) -> None:
        """Q-93: after so many failures in a row nobody connects for a while, and is told why."""
        self.failed(0.0)
        self.assertEqual(self.shaper.objection(A, 0.0), "")
        self.failed(1.0)
        self.assertIn("refused", self.shaper.objection(A, 60.9))
        self.assertEqual(self.shaper.objection(A, 61.0), "")

    def test_one_finds_out(self) -> None:
        """When the pause is over, one attempt finds out; the others wait for what it finds."""
        self.failed(0.0)
        self.failed(0.0)
        self.assertEqual(self.shaper.objection(A, 60.0), "")
        self.assertNotEqual(self.shaper.objection(A, 60.0), "")
        self.shaper.connected(A)
        self.assertEqual(self.shaper.objection(A, 61.0), "")

    def test_nobody_found_out(self) -> None:
        """If that one never comes to a connection, another may after a minute."""
        self.failed(0.0)
        self.failed(0.0)
        self.assertEqual(self.shaper.objection(A, 60.0), "")
        self.assertEqual(self.shaper.objection(A, 120.0), "")

    def test_longer(self) -> None:
        """Each pause is twice as long, up to five minutes: less than between two attempts."""
        now = 0.0
        self.failed(now)
        pauses = []
        for _ in range(5):
            self.failed(now)
            length = next(s for s in range(1, 1000) if not self.shaper.objection(A, now + s))
            pauses.append(length)
            now += length
        self.assertEqual(pauses, [60, 120, 240, 300, 300])

    def test_short_again(self) -> None:
        """Once there was a connection, the next pause is as long as the first one."""
        for now in (0.0, 0.0, 60.0):
            self.failed(now)
        self.shaper.connected(A)
        for now in (200.0, 200.0):
            self.failed(now)
        self.assertNotEqual(self.shaper.objection(A, 259.0), "")
        self.assertEqual(self.shaper.objection(A, 260.0), "")

    def test_never(self) -> None:
        """With 0 there is never a pause."""
        shaper = Shaper((ShapingRule(failures=0),))
        for _ in range(100):
            shaper.unconnected(A, 0.0, "refused")
        self.assertEqual(shaper.objection(A, 0.0), "")

    def test_clock_set_back(self) -> None:
        """A clock that is set back ends a pause."""
        self.failed(100_000.0)
        self.failed(100_000.0)
        self.assertEqual(self.shaper.objection(A, 13_600.0), "")
