"""Tests for L{moxsmtp.store.suppressions}, and for what the queue does with the lists."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.job import Job, Retired, Settlement
from moxsmtp.queue.suppression import Suppression
from moxsmtp.store.job_rows import CANCELED
from moxsmtp.store.suppressions import Suppressions
from tests.store.contract import NOW, Contract, new_job, path, result

DAY = timedelta(days=1)

ENTRY = Suppression(
    account="ann",
    base_address="ab@b\u00fccher.example",
    original_address="a.b-c+d@b\u00fccher.example",
    manual=False,
    reason="550 5.1.1 no such user \u2603",
    created=NOW,
)


class SuppressionTests(Contract):
    """An account's list (Q-28)."""

    def setUp(self) -> None:
        """Nothing is on it."""
        super().setUp()
        self.lists = Suppressions(self.failing)

    def test_kept(self) -> None:
        """An entry is kept with all that is known of it (Q-28)."""
        self.assertTrue(self.result(self.lists.add(ENTRY)))
        self.assertEqual(self.result(self.lists.page()), [(1, ENTRY)])

    def test_once(self) -> None:
        """An address stands once on an account's list, as it first came (Q-28)."""
        self.result(self.lists.add(ENTRY))
        again = replace(ENTRY, manual=True, reason="again", created=NOW + DAY)
        self.assertFalse(self.result(self.lists.add(again)))
        self.assertTrue(self.result(self.lists.add(replace(again, account="bob"))))
        self.assertEqual(
            [(entry.account, entry.reason) for _, entry in self.result(self.lists.page())],
            [("ann", ENTRY.reason), ("bob", "again")],
        )

    def test_pages(self) -> None:
        """Pages hold each entry once, of one account or of all, the oldest first."""
        for number in range(5):
            account = "bob" if number % 2 else "ann"
            entry = replace(ENTRY, account=account, base_address=f"{number}@x.example")
            self.result(self.lists.add(entry))
        one = self.result(self.lists.page(limit=3))
        two = self.result(self.lists.page(after=one[-1][0], limit=3))
        self.assertEqual([number for number, _ in (*one, *two)], [1, 2, 3, 4, 5])
        self.assertEqual([number for number, _ in self.result(self.lists.page("bob"))], [2, 4])

    def test_spellings(self) -> None:
        """An entry stands for every spelling of the mailbox, of its account alone (Q-29)."""
        self.result(self.lists.add(ENTRY))
        for spelling, found in (
            ("ab@b\u00fccher.example", ENTRY),
            ("A.B+x@xn--bcher-kva.example", ENTRY),
            ("abc@b\u00fccher.example", None),
            ("ab@example.org", None),
        ):
            self.assertEqual(self.result(self.lists.find("ann", path(spelling))), found, spelling)
        self.assertIsNone(self.result(self.lists.find("bob", path("ab@b\u00fccher.example"))))

    def test_removed(self) -> None:
        """Any spelling takes the entry off again."""
        self.result(self.lists.add(ENTRY))
        self.assertIsNone(self.result(self.lists.remove("bob", path("ab@b\u00fccher.example"))))
        removed = self.result(self.lists.remove("ann", path("AB-z@b\u00fccher.example")))
        self.assertEqual(removed, ENTRY)
        self.assertEqual(self.result(self.lists.page()), [])

    # -- and the queue --

    def taken(self) -> dict[str, bool]:
        """Whether each recipient that is due is suppressed."""
        jobs = [job for lease in self.claim() for job in self.take(lease)]
        return {job.forward_path.ascii: job.suppressed for job in jobs}

    def test_taken(self) -> None:
        """Each recipient of a transaction is looked up on its own (Q-17, Q-30)."""
        self.result(self.lists.add(ENTRY))
        names = ("a.b+list", "c", "AB-x")
        self.add(*(new_job(f"{name}@b\u00fccher.example") for name in names))
        self.assertEqual(
            self.taken(),
            {f"{name}@xn--bcher-kva.example": name != "c" for name in names},
        )

    def test_other_account(self) -> None:
        """One account's list is nothing to others, nor to the server itself (Q-28)."""
        for account, recipient in (("bob", "ab@example.org"), ("", "ab@example.net")):
            for owner in ("ann", ""):
                entry = replace(ENTRY, account=owner, base_address=recipient)
                self.result(self.lists.add(entry))
            self.add(new_job(recipient, account=account))
            self.assertEqual(self.taken(), {recipient: False})

    def test_settled(self) -> None:
        """A failure puts the address on the list in its own transaction, if it is not there."""
        self.add(new_job("ab@b\u00fccher.example"), new_job("a.b@b\u00fccher.example"))
        (lease,) = self.claim()
        jobs = self.take(lease)
        fate = Retired(OutgoingEvent.FAILED, None)
        settled = [
            Settlement(job, fate, result(), suppress=replace(ENTRY, reason=str(job.id)))
            for job in jobs
        ]
        self.assertAllOrNothing(lambda: self.jobs.settle(lease, settled))
        self.assertEqual([entry.reason for _, entry in self.result(self.lists.page())], ["1"])


class FailedBeforeTests(Contract):
    """What the history says of a recipient (Q-31)."""

    def setUp(self) -> None:
        """A job that asks."""
        super().setUp()
        self.add(new_job("b@example.org"))
        found = self.result(self.admin.job(1))
        if not isinstance(found, Job):
            self.fail("it does not wait")
        self.job = found
        self.ended = 0

    def end(
        self, event: OutgoingEvent, *, recipient: str = "b@example.org", account: str = "ann",
        error: str = "busy",
    ) -> None:  # fmt: skip
        """One more in the history, later than those before."""
        (number,) = self.add(new_job(recipient, account=account))
        self.ended += 1
        last = result(
            start=NOW + self.ended * DAY, success=event is OutgoingEvent.DELIVERED, error=error
        )
        fate = Retired(event, NOW + 99 * DAY)
        self.result(self.admin.end([number], lambda job, _: Settlement(job, fate, last)))

    def answer(self) -> bool:
        """Whether the last two failed."""
        return self.result(self.jobs.failed_before(self.job))

    def test_two(self) -> None:
        """Two failures are enough, one is not (Q-31)."""
        answers = [self.answer()]
        for event in (
            OutgoingEvent.DELIVERED, OutgoingEvent.FAILED, OutgoingEvent.FAILED,
            OutgoingEvent.DELIVERED, OutgoingEvent.FAILED, OutgoingEvent.FAILED,
        ):  # fmt: skip
            self.end(event)
            answers.append(self.answer())
        self.assertEqual(answers, [False, False, False, True, False, False, True])

    def test_exactly_the_recipient(self) -> None:
        """Other recipients' and other accounts' failures say nothing (Q-31)."""
        for _ in range(2):
            self.end(OutgoingEvent.FAILED, recipient="b+x@example.org")
            self.end(OutgoingEvent.FAILED, recipient="b@example.net")
            self.end(OutgoingEvent.FAILED, account="bob")
        self.assertFalse(self.answer())

    def test_own_doing(self) -> None:
        """What an administrator ended, or the list itself, says nothing (Q-31)."""
        for _ in range(2):
            self.end(OutgoingEvent.FAILED)
        self.assertTrue(self.answer())
        for event, error in (
            (OutgoingEvent.CANCELED, CANCELED),
            (OutgoingEvent.FAILED, CANCELED),
            (OutgoingEvent.SUPPRESSED, "suppressed"),
        ):
            self.end(event, error=error)
            self.assertFalse(self.answer(), event)
            self.end(OutgoingEvent.FAILED)
            self.assertFalse(self.answer(), event)
            self.end(OutgoingEvent.FAILED)
            self.assertTrue(self.answer(), event)

    def test_itself(self) -> None:
        """The message that asks does not count, though it is in the history by now (Q-31)."""
        self.end(OutgoingEvent.FAILED)
        fate = Retired(OutgoingEvent.FAILED, NOW + DAY)
        self.result(self.admin.end([1], lambda job, _: Settlement(job, fate, result())))
        self.assertFalse(self.answer())
