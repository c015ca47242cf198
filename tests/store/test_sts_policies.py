"""Tests for L{moxsmtp.store.sts_policies}."""

from __future__ import annotations

from datetime import timedelta

from moxsmtp.mtasts.policy import LONGEST_POLICY, Policy, parse_policy
from moxsmtp.mtasts.storage import Failure, IPolicyStore, Kept, Known, ResultType
from moxsmtp.names import Domain
from moxsmtp.store.sts_policies import StsPolicies
from tests.store.contract import NOW, Contract

A, B = Domain("a.example"), Domain("xn--bcher-kva.example")
DAY = timedelta(days=1)
AWAY = Failure(ResultType.FETCH_ERROR, "host: away\0 \ud800")
#: As the database can hold it.
AWAY_KEPT = Failure(ResultType.FETCH_ERROR, "host: away\ufffd \ufffd")


def _policy(mode: str = "enforce", rest: str = "") -> Policy:
    return parse_policy(f"version: STSv1\r\nmode: {mode}\r\nmx: *.A.example\nmax_age: 86400{rest}")


def _kept(record_id: str = "1", mode: str = "enforce", after: timedelta = timedelta()) -> Kept:
    return Kept(_policy(mode), record_id, NOW + after, NOW + after + DAY)


class StsPoliciesTests(Contract):
    """What is known of other domains."""

    def setUp(self) -> None:
        """Nothing yet."""
        super().setUp()
        self.policies = StsPolicies(self.database)

    def known(self, domain: Domain = A) -> Known:
        """What is kept."""
        return self.result(self.policies.known(domain))

    def test_interface(self) -> None:
        """It is what the cache asks for."""
        store: IPolicyStore = self.policies
        self.assertEqual(self.result(store.known(A)), Known())

    def test_kept(self) -> None:
        """Q-54: a policy comes back as it was fetched, its text octet for octet, per domain."""
        self.result(self.policies.keep(A, _kept()))
        self.assertEqual(self.known(), Known(_kept(), used=NOW))
        self.assertEqual(self.known(B), Known())
        longest = _policy(rest="\nx: " + "\u00fc" * ((LONGEST_POLICY - 200) // 2))
        other = Kept(longest, "9" * 32, NOW, NOW + DAY)
        self.result(self.policies.keep(B, other))
        self.assertEqual(self.known(B).kept, other)
        self.assertEqual(self.known().kept, _kept())

    def test_replaced(self) -> None:
        """Q-53: a policy takes the place of the one before, and of its failure; not of its use."""
        self.result(self.policies.keep(A, _kept()))
        self.result(self.policies.mark_used(A, NOW + 2 * DAY))
        self.result(self.policies.keep_failure(A, AWAY, NOW))
        self.result(self.policies.keep(A, _kept("2", "none", 3 * DAY)))
        self.assertEqual(self.known(), Known(_kept("2", "none", 3 * DAY), used=NOW + 2 * DAY))

    def test_failure(self) -> None:
        """Q-53: a failure is remembered, and leaves the policy that is there as it is."""
        self.result(self.policies.keep_failure(A, AWAY, NOW))
        self.assertEqual(self.known(), Known(failure=AWAY_KEPT, failed_at=NOW))
        self.result(self.policies.keep(A, _kept()))
        self.assertEqual(self.known(), Known(_kept(), used=NOW))
        self.result(self.policies.keep_failure(A, AWAY, NOW + DAY))
        self.assertEqual(
            self.known(), Known(_kept(), used=NOW, failure=AWAY_KEPT, failed_at=NOW + DAY)
        )

    def test_extended(self) -> None:
        """Q-54: only the policy that was found unchanged is extended, not one newer."""
        self.result(self.policies.keep(A, _kept()))
        self.result(self.policies.keep_failure(A, AWAY, NOW))
        self.result(self.policies.extend(A, _kept(after=DAY)))
        self.assertEqual(self.known(), Known(_kept(after=DAY), used=NOW))
        for other in (_kept("2", after=2 * DAY), _kept(mode="none", after=2 * DAY)):
            self.result(self.policies.extend(A, other))
            self.result(self.policies.remove(A, other))
        self.result(self.policies.extend(B, _kept()))
        self.assertEqual(self.known().kept, _kept(after=DAY))
        self.assertEqual(self.known(B), Known())

    def test_removed(self) -> None:
        """Q-54: a policy is forgotten."""
        self.result(self.policies.keep(A, _kept()))
        self.result(self.policies.keep(B, _kept()))
        self.result(self.policies.remove(A, _kept()))
        self.assertEqual(self.known(), Known())
        self.assertEqual(self.known(B).kept, _kept())

    def test_due(self) -> None:
        """Q-54: due are policies last fetched or found unchanged before a time, no failures."""
        self.result(self.policies.keep(A, _kept()))
        self.result(self.policies.keep_failure(B, AWAY, NOW - DAY))
        self.assertEqual(self.result(self.policies.due(NOW)), [])
        soon = NOW + timedelta(microseconds=1)
        self.assertEqual(self.result(self.policies.due(soon)), [A])
        self.result(self.policies.extend(A, _kept(after=DAY)))
        self.assertEqual(self.result(self.policies.due(soon)), [])

    def test_old(self) -> None:
        """Q-54: policies long unused are forgotten, and failures by themselves soon."""
        self.result(self.policies.keep(A, _kept()))
        self.result(self.policies.extend(A, _kept(after=9 * DAY)))
        self.result(self.policies.keep_failure(B, AWAY, NOW))
        forget = self.policies.remove_old
        self.assertEqual(self.result(forget(unused=NOW, failed=NOW)), 0)
        later = NOW + timedelta(microseconds=1)
        self.assertEqual(self.result(forget(unused=NOW, failed=later)), 1)
        self.assertEqual(self.known(B), Known())
        self.result(self.policies.mark_used(A, NOW + DAY))
        self.assertEqual(self.result(forget(unused=NOW + DAY, failed=later)), 0)
        self.assertEqual(self.result(forget(unused=later + DAY, failed=later)), 1)
        self.assertEqual(self.known(), Known())
