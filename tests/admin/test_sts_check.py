"""What MTA-STS a domain has."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.admin.sts_check import Finding, examine
from moxsmtp.dns.records import MX, LookupFailed, Question, RRType
from moxsmtp.mtasts.policy import Policy, parse_policy
from moxsmtp.mtasts.storage import Failure, ResultType
from moxsmtp.names import Domain
from moxsmtp.outbound.next_hop import NextHops
from moxsmtp.testing import MemoryResolver

DOMAIN = Domain("a.example")
ONE, TWO = Domain("mx.a.example"), Domain("two.b.example")
TXT = Question("_mta-sts.a.example", RRType.TXT)


def policy(mode: str) -> Policy:
    """That names the first host."""
    return parse_policy(f"version: STSv1\nmode: {mode}\nmx: *.a.example\nmax_age: 86400\n")


class ExamineTests(unittest.SynchronousTestCase):
    """Everything is looked at, whatever fails."""

    def setUp(self) -> None:
        self.resolver = MemoryResolver(
            {
                TXT: (b"v=STSv1; id=7",),
                Question("a.example", RRType.MX): (MX(1, ONE.ascii), MX(2, TWO.ascii)),
            }
        )
        self.fetched: list[Domain] = []
        self.outcome: Policy | Failure = policy("enforce")

    async def fetch(self, domain: Domain) -> Policy | Failure:
        """The policy."""
        self.fetched.append(domain)
        return self.outcome

    def find(self) -> Finding:
        """All that is found."""
        hops = NextHops(resolver=self.resolver, clock=Clock(), randbelow=lambda _: 0)
        looking = examine(DOMAIN, resolver=self.resolver, next_hops=hops, fetch=self.fetch)
        return self.successResultOf(Deferred.fromCoroutine(looking))

    def test_unnamed(self) -> None:
        """Q-55: a host that an enforced or tested policy does not name is found."""
        for mode in ("enforce", "testing"):
            self.outcome = policy(mode)
            found = self.find()
            self.assertEqual((found.record_id, found.policy), ("7", self.outcome))
            self.assertEqual(found.hosts, ((ONE, True), (TWO, False)))
            self.assertEqual((found.unnamed, found.is_fine), ((TWO,), False))
        self.outcome = policy("none")
        self.assertEqual((self.find().unnamed, self.find().is_fine), ((), True))

    def test_fine(self) -> None:
        """Where all hosts are named nothing is wrong, and nothing is where there is no MTA-STS."""
        self.resolver.zone[Question("a.example", RRType.MX)] = (MX(1, ONE.ascii),)
        self.assertTrue(self.find().is_fine)
        del self.resolver.zone[TXT]
        found = self.find()
        self.assertEqual((found.record_id, found.policy, found.hosts), ("", None, ((ONE, None),)))
        self.assertTrue(found.is_fine)
        self.assertEqual(len(self.fetched), 1)

    def test_problems(self) -> None:
        """A record, a policy, or hosts that are not to be had are told apart."""
        self.outcome = Failure(ResultType.UNTRUSTED, "certificate verify failed")
        found = self.find()
        self.assertEqual((found.failure, found.policy), (self.outcome, None))
        self.assertEqual(found.hosts, ((ONE, None), (TWO, None)))
        self.assertFalse(found.is_fine)
        self.resolver.zone[Question("a.example", RRType.MX)] = (MX(0, ""),)
        self.outcome = policy("enforce")
        found = self.find()
        self.assertEqual((found.hosts, found.is_fine), ((), False))
        self.assertTrue(found.hosts_problem)
        for records in ((b"v=STSv1; id=",), LookupFailed("SERVFAIL")):
            self.resolver.zone[TXT] = records
            found = self.find()
            self.assertEqual((found.record_id, found.is_fine), ("", False))
            self.assertTrue(found.record_problem)
