"""Tests for L{moxsmtp.store.sending}: how much an account may send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from twisted.internet.defer import Deferred

from moxsmtp.interfaces import Allowance
from moxsmtp.queue.job import (
    FromIdInUse,
    LimitReached,
    MessageLimitReached,
    RecipientLimitReached,
)
from moxsmtp.store.sending import Sending
from tests.store.contract import NOW, Contract, new_job, spooled

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


class SendingTests(Contract):
    """Limits of the last 24 hours."""

    def send(
        self, *recipients: str, messages: int = 0, first: int = 0, account: str = "ann"
    ) -> Sequence[int]:
        """Queue a message."""
        allowance = Allowance(account, messages=messages, first_time_recipients=first)
        jobs = [new_job(recipient) for recipient in recipients]
        return self.result(self.jobs.add(spooled(), jobs, allowance))

    def refusal(
        self, *recipients: str, messages: int = 0, first: int = 0, account: str = "ann"
    ) -> LimitReached:
        """Why a message was not queued."""
        allowance = Allowance(account, messages=messages, first_time_recipients=first)
        jobs = [new_job(recipient) for recipient in recipients]
        failure = self.failure(self.jobs.add(spooled(), jobs, allowance), LimitReached)
        assert isinstance(failure.value, LimitReached)
        return failure.value

    def test_messages(self) -> None:
        """Recipients of 24 hours count, the new ones too, no older ones (Q-24, S-94)."""
        self.send("a@x.example", "b@x.example", messages=3)
        refused = self.refusal("c@x.example", "d@x.example", messages=3)
        self.assertIsInstance(refused, MessageLimitReached)
        self.assertEqual(3, refused.limit)
        self.time = NOW + 12 * timedelta(hours=1)
        self.send("c@x.example", messages=3)
        self.time = NOW + DAY - SECOND
        self.refusal("c@x.example", messages=3)
        self.time = NOW + DAY
        self.send("c@x.example", "d@x.example", messages=3)
        self.refusal("c@x.example", messages=3)

    def test_first_time(self) -> None:
        """Only recipients who were never written to count as new ones (Q-24, S-94, I-108)."""
        self.send("a@x.example", "b@x.example", first=3)
        refused = self.refusal("c@x.example", "d@x.example", first=3)
        self.assertIsInstance(refused, RecipientLimitReached)
        self.assertEqual(3, refused.limit)
        self.send("c@x.example", "a@x.example", "B@X.example", first=3)
        self.refusal("d@x.example", first=3)
        self.send("a@x.example", "c@x.example", first=3)
        self.send("a@x.example", first=2)
        self.refusal("d@x.example", first=2)

    def test_first_time_ever(self) -> None:
        """Who was written to long ago is no new recipient, clean-up or not (Q-24, S-94)."""
        self.send("a@x.example", "a@x.example", first=1)
        self.time = NOW + 400 * DAY
        sending = Sending(self.failing)
        self.assertEqual(1, self.result(sending.remove_old(self.time)))
        self.send("a@x.example", "b@x.example", first=1)
        self.refusal("c@x.example", first=1)

    def test_accounts(self) -> None:
        """Each account has its own allowance, and its own correspondents (Q-24, S-94)."""
        self.send("a@x.example", messages=1, first=1)
        self.send("a@x.example", messages=1, first=1, account="bob")
        self.refusal("a@x.example", messages=1)
        self.refusal("b@x.example", first=1, account="bob")

    def test_unlimited(self) -> None:
        """A limit of nothing is none, but what is sent is known once there is one (Q-24, S-94)."""
        for _ in range(3):
            self.send("a@x.example", "b@x.example")
        self.refusal("a@x.example", messages=6)
        self.send("a@x.example", messages=7)

    def test_nobody_counts(self) -> None:
        """Mail of nobody is not counted."""
        self.add(new_job())
        self.assertEqual([], self.rows("sent"))

    def test_parallel(self) -> None:
        """Messages that are handed in at once cannot pass the limit together (Q-24, S-94, Q-83)."""
        allowance = Allowance("ann", messages=5, first_time_recipients=0)
        adding = [
            Deferred.fromCoroutine(
                self.jobs.add(spooled(), [new_job(f"r{number}@x.example")], allowance)
            )
            for number in range(10)
        ]
        for each in adding:
            _ = each.addErrback(lambda failure: failure.trap(MessageLimitReached) and ())
            self.wait(each)
        self.assertEqual(5, sum(len(self.successResultOf(each)) for each in adding))
        self.assertEqual((5, 5), (len(self.rows("sent")), len(self.rows("job"))))

    def test_all_or_nothing(self) -> None:
        """What is not queued is not counted, and the other way round (Q-83)."""
        allowance = Allowance("ann", messages=9, first_time_recipients=9)
        jobs = [new_job("a@x.example"), new_job("b@x.example")]
        self.assertAllOrNothing(lambda: self.jobs.add(spooled(), jobs, allowance))
        self.refusal("c@x.example", messages=2)
        self.add(new_job(from_id="abc"))
        both = [new_job("c@x.example"), new_job("d@x.example", from_id="abc")]
        self.failure(self.jobs.add(spooled(), both, allowance), FromIdInUse)
        self.assertEqual((2, 3), (len(self.rows("sent")), len(self.rows("job"))))

    def test_clean_up(self) -> None:
        """
        What no limit counts any more goes, so many at once; of each recipient
        one row stays for good.
        """
        for _ in range(3):
            self.send("a@x.example", "b@x.example")
        sending = Sending(self.failing)
        self.assertEqual(0, self.result(sending.remove_old(NOW + DAY - SECOND)))
        self.assertEqual(3, self.result(sending.remove_old(NOW + DAY, limit=3)))
        self.assertEqual(1, self.result(sending.remove_old(NOW + DAY, limit=3)))
        self.assertEqual(
            {"a@x.example", "b@x.example"}, {row["recipient"] for row in self.rows("sent")}
        )
