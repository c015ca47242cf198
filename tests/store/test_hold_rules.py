"""Tests for L{moxsmtp.store.hold_rules}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from sqlalchemy import Select

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import HoldRule
from moxsmtp.queue.job import Retired, Settlement
from moxsmtp.store import hold_rules
from moxsmtp.store.hold_rules import HoldRules
from tests.store.contract import NOW, Contract, new_job, path, result, spooled


class HoldRuleTests(Contract):
    """Rules by which mail is put on hold (Q-20)."""

    def setUp(self) -> None:
        """None yet."""
        super().setUp()
        self.rules = HoldRules(self.failing, now=self.now, changed=self.changed.append)

    def held(self) -> Sequence[int]:
        """Numbers of what is on hold."""
        return [row["id"] for row in self.rows("job") if row["hold"]]

    def add_rule(self, **conditions: str) -> int:
        """@return: How many jobs it has put on hold."""
        return self.result(self.rules.add(**conditions))[1]

    def add_some(self) -> None:
        """Jobs that differ in what rules may say."""
        self.add(new_job("b@example.org"))
        self.add(new_job("b@b\u00fccher.example", account="bob"))
        self.add(new_job("b@example.org", reverse_path=None))
        self.add(new_job("b@[192.0.2.1]", reverse_path=path("x@other.example"), account=""))

    CASES: ClassVar[tuple[tuple[dict[str, str], list[int]], ...]] = (
        ({}, [1, 2, 3, 4]),
        ({"account": "bob"}, [2]),
        ({"sender_domain": "mx.example"}, [1, 2]),
        ({"sender_domain": "other.example"}, [4]),
        ({"recipient_domain": "example.org"}, [1, 3]),
        ({"recipient_domain": "xn--bcher-kva.example"}, [2]),
        ({"recipient_domain": "[192.0.2.1]"}, [4]),
        ({"account": "ann", "sender_domain": "mx.example"}, [1]),
        ({"account": "ann", "sender_domain": "other.example"}, []),
        ({"account": "ann", "recipient_domain": "example.org"}, [1, 3]),
    )

    def test_told(self) -> None:
        """Whoever may have taken ahead what a new rule holds, is told (Q-20)."""
        self.add_some()
        self.add_rule(account="bob")
        self.assertEqual(self.changed, [{2}])

    def test_queued_later(self) -> None:
        """What meets all conditions of a rule is held; a null sender meets no domain (Q-20)."""
        for number, (conditions, held) in enumerate(self.CASES):
            first = 4 * number
            rule, _ = self.result(self.rules.add(**conditions))
            self.add_some()
            found = [each - first for each in self.held() if each > first]
            self.assertEqual(found, held, conditions)
            self.result(self.rules.remove(rule.id))

    def test_queued_before(self) -> None:
        """Adding a rule also holds what waits already, and tells how many (Q-20)."""
        self.add_some()
        for conditions, held in self.CASES:
            self.assertEqual(self.add_rule(**conditions), len(held), conditions)
            self.assertEqual(self.held(), held, conditions)
            self.result(self.admin.change([1, 2, 3, 4], Change(hold=False)))

    def test_in_steps(self) -> None:
        """However much waits, it is held in transactions of bounded size."""
        self.patch(hold_rules, "_MATCHES", cast("Select[Any]", hold_rules._MATCHES).limit(2))
        self.add(*[new_job(f"user{number}@example.org") for number in range(7)])
        self.assertEqual(self.add_rule(account="ann"), 7)
        self.assertEqual(self.add_rule(account="ann"), 0)

    def test_not_attempted(self) -> None:
        """What a rule holds is not attempted, and what it does not is (Q-20)."""
        self.add_rule(recipient_domain="example.org")
        self.add(new_job(), new_job("c@example.net"))
        taken = [job.id for lease in self.claim() for job in self.take(lease)]
        self.assertEqual(taken, [2])

    def test_removed(self) -> None:
        """Removing a rule releases nothing, and later mail is free (Q-20)."""
        self.add_rule(account="ann")
        self.add()
        removed = self.result(self.rules.remove(1))
        self.assertEqual(removed, HoldRule(1, "ann", "", "", NOW))
        self.assertIsNone(self.result(self.rules.remove(1)))
        self.add()
        self.assertEqual(self.held(), [1])

    def test_released_stays(self) -> None:
        """What was released while the rule stands is sent (Q-23)."""
        self.add_rule(account="ann")
        self.add()
        self.result(self.admin.change([1], Change(hold=False)))
        (lease,) = self.claim()
        self.assertEqual([job.id for job in self.take(lease)], [1])

    def test_several(self) -> None:
        """One rule that matches is enough; they are listed in order."""
        self.add_rule(account="bob")
        self.add_rule(recipient_domain="example.org")
        self.add_some()
        self.assertEqual(self.held(), [1, 2, 3])
        self.assertEqual([rule.id for rule in self.result(self.rules.all())], [1, 2])

    def test_reports(self) -> None:
        """A DSN that is queued is held like other mail."""
        self.add(new_job("b@example.net"))
        self.add_rule(recipient_domain="example.org")
        (lease,) = self.claim()
        (job,) = self.take(lease)
        report = (new_job("ann@example.org", reverse_path=None, account=""), b"it failed")
        fate = Retired(OutgoingEvent.FAILED, None)
        self.settle(lease, Settlement(job, fate, result(), report=report))
        self.assertEqual(self.held(), [2])

    def test_crash_in_the_middle(self) -> None:
        """Nothing is queued that escaped its rule."""
        self.add_rule(account="ann")
        self.assertAllOrNothing(lambda: self.jobs.add(spooled(), [new_job()]))
        self.assertEqual(len(self.held()), 1)
