"""What operators do to the queue, over a store of the test's own."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import delete
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxsmtp.interfaces import Account, HookTarget, OutgoingEvent
from moxsmtp.names import parse_domain
from moxsmtp.queue.change import Change
from moxsmtp.queue.filter import EVERYTHING, JobFilter
from moxsmtp.queue.mail import MailWork
from moxsmtp.queue.notification import MAXIMUM_RETURNED
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue_operations import QueueOperations
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Notify, ReturnContent, Wishes
from moxsmtp.store.job_rows import RetiredJob
from moxsmtp.store.schema import content_chunk
from tests.store.contract import NOW, Contract, new_job

ANN = Account(
    "ann",
    keep_retired_messages=timedelta(days=3),
    outgoing_webhook=HookTarget("https://hooks.example/"),
)


class Accounts:
    """ann, and whoever is postmaster."""

    def account(self, name: str) -> Account | None:
        """By name."""
        return ANN if name == "ann" else None

    def recipient_of(self, _: Path) -> None:
        """Nobody."""

    def postmaster(self) -> Account | None:
        """Reads bounces of those who are gone."""
        return Account("root")


class QueueOperationsTests(Contract):
    """Jobs that an administrator ends (Q-23)."""

    def setUp(self) -> None:
        """Operations over the store."""
        super().setUp()
        self.operations = QueueOperations(
            self.admin,
            Accounts(),  # type: ignore[arg-type]  # no more of it is asked
            content=self.jobs.content,
            settings=QueueSettings(),
            hostname=parse_domain("mx.example"),
            now=self.now,
            unique=lambda: "unique",
        )

    def work(self) -> MailWork:
        """Mail that a runner would take."""
        clock = Clock()
        clock.advance(NOW.timestamp())
        return MailWork(
            clock,
            self.jobs,
            lambda _: Deferred(),
            Accounts(),  # type: ignore[arg-type]  # no more of it is asked
            settings=QueueSettings(),
            hostname=parse_domain("mx.example"),
            randint=lambda low, high: min(max(0, low), high),
            unique=lambda: "unique",
        )

    def history(self, number: int = 1) -> RetiredJob:
        """What became of it."""
        found = self.result(self.admin.job(number))
        if not isinstance(found, RetiredJob):
            self.fail("it is not in the history")
        return found

    def bounces(self) -> list[bytes]:
        """The content of each message that was stored."""
        contents: dict[int, bytes] = {}
        for row in self.rows("content_chunk"):
            contents[row["content_id"]] = contents.get(row["content_id"], b"") + row["data"]
        return [contents[row["content_id"]] for row in self.rows("message")]

    def payloads(self) -> list[dict[str, object]]:
        """What webhooks are told."""
        return [json.loads(hook.payload) for hook in self.waiting_hooks()]

    def test_drop(self) -> None:
        """
        Dropped jobs have the result C{cancelled by admin} and the event C{canceled};
        nobody gets a DSN (Q-23).
        """
        self.add()
        self.assertEqual(self.result(self.operations.drop([1], EVERYTHING)), [1])
        retired = self.history()
        self.assertEqual((retired.event, retired.success), (OutgoingEvent.CANCELED, False))
        self.assertEqual([each.error for each in retired.job.results], ["cancelled by admin"])
        self.assertEqual(retired.keep_until, NOW + timedelta(days=3))
        self.assertEqual(self.bounces(), [])
        (payload,) = self.payloads()
        self.assertEqual(
            (payload["Event"], payload["Error"], payload["Suppressing"]),
            ("canceled", "cancelled by admin", False),
        )

    def test_fail(self) -> None:
        """
        Failed jobs have the same result, the event C{failed}, and a failed DSN that
        brings the header back (Q-23).
        """
        self.add(content=b"Subject: precious\r\n\r\nhello\r\n")
        self.assertEqual(self.result(self.operations.fail([1], EVERYTHING)), [1])
        retired = self.history()
        self.assertEqual((retired.event, retired.success), (OutgoingEvent.FAILED, False))
        self.assertEqual([each.error for each in retired.job.results], ["cancelled by admin"])
        (bounce,) = self.bounces()
        for part in (b"Action: failed", b"Subject: precious", b"b@example.org"):
            self.assertIn(part, bounce)
        self.assertNotIn(b"\r\nhello\r\n", bounce)
        (payload,) = self.payloads()
        self.assertEqual((payload["Event"], payload["Suppressing"]), ("failed", False))

    def test_whole_message(self) -> None:
        """With RET=FULL the DSN brings back all of the message (Q-23).  RFC 3461 section 4.3."""
        full = Wishes(returns=ReturnContent.FULL)
        body = b"line\r\n" * 60_000
        self.add(new_job(wishes=full), content=b"Subject: precious\r\n\r\n" + body)
        self.result(self.operations.fail([1], EVERYTHING))
        (bounce,) = self.bounces()
        self.assertTrue(b"\r\nContent-Type: message/rfc822\r\n" in bounce)
        self.assertTrue(b"Subject: precious\r\n\r\n" + body in bounce)

    def test_whole_messages(self) -> None:
        """Whole messages come back as far as that is bounded, alone and together (Q-23)."""
        full = Wishes(returns=ReturnContent.FULL)
        large = b"Subject: x\r\n\r\n" + b"line\r\n" * (MAXIMUM_RETURNED // 6 - 10)
        for content in (large + b"line\r\n" * 10, large, large, large, large, large):
            self.add(new_job(wishes=full), content=content)
        self.result(self.operations.fail([*range(1, 7)], EVERYTHING))
        whole = [len(bounce) > MAXIMUM_RETURNED for bounce in self.bounces()]
        self.assertEqual(whole, [False, True, True, True, True, False])
        self.assertEqual(self.rows("job"), [])

    def test_end_lost(self) -> None:
        """Of a message whose end is lost the header comes back (Q-23)."""
        full = Wishes(returns=ReturnContent.FULL)
        self.add(new_job(wishes=full), content=b"Subject: precious\r\n\r\n" + b"y" * 500_000)
        cut = delete(content_chunk).where(content_chunk.c.number > 0)
        self.result(self.database.transact(lambda tx: tx.execute(cut)))
        self.assertEqual(self.result(self.operations.fail([1], EVERYTHING)), [1])
        (bounce,) = self.bounces()
        self.assertIn(b"Subject: precious", bounce)
        self.assertFalse(b"yyyy" in bounce)

    def test_taken_ahead(self) -> None:
        """
        What was taken ahead and is dropped before its turn is not sent; what was taken along
        with it goes back uncounted, and so does what is changed (Q-23).
        """
        for _ in range(7):
            self.add()
        work = self.work()
        (lease,) = self.claim()
        # One, two, then four at once.
        for number in range(1, 5):
            batch = self.result(work.take(lease))
            self.assertEqual(batch and batch.leader.id, number)
        self.result(self.operations.drop([6], EVERYTHING))
        self.result(self.operations.change([7], EVERYTHING, Change(transport="other")))
        for numbers in self.changed:
            work.withdraw(numbers)
        self.assertIsNone(self.result(work.take(lease)))
        self.result(work.leave(lease))
        self.assertEqual(
            [(row["id"], row["in_flight"], row["attempts"]) for row in self.rows("job")],
            [*((number, 1, 1) for number in range(1, 5)), (5, 0, 0), (7, 0, 0)],
        )
        taken = self.result(work.take(lease)), self.result(work.take(lease))
        self.assertEqual([5, 7], [batch.leader.id for batch in taken if batch is not None])

    def test_no_suppression(self) -> None:
        """What an administrator ends suppresses no address, however often (Q-23, Q-31)."""
        for number in range(1, 5):
            self.add()
            self.result(self.operations.fail([number], EVERYTHING))
        self.assertEqual(self.rows("suppression"), [])

    def test_no_dsn_wanted(self) -> None:
        """No DSN goes to the null sender, nor to who asked for none."""
        self.add(new_job(reverse_path=None), new_job(wishes=Wishes(notify=Notify.parse("NEVER"))))
        self.assertEqual(self.result(self.operations.fail([1, 2], EVERYTHING)), [1, 2])
        self.assertEqual(self.bounces(), [])

    def test_future_release(self) -> None:
        """The DSN repeats until when the message was to be held (Q-21).  RFC 4865 section 7."""
        self.add(new_job(future_release="for;3600", next_attempt=NOW + timedelta(hours=1)))
        self.assertEqual(self.claim(), [])
        self.result(self.operations.fail([1], EVERYTHING))
        (bounce,) = self.bounces()
        self.assertIn(b"\r\nFuture-Release-Request: for;3600\r\n", bounce)

    def test_account_gone(self) -> None:
        """The postmaster hears of mail whose account is gone; its history stays a week (Q-77)."""
        self.add(new_job(account="eve"))
        self.result(self.operations.fail([1], EVERYTHING))
        self.assertEqual([row["account"] for row in self.rows("message")], ["root"])
        self.assertEqual(self.history().keep_until, NOW + timedelta(days=7))

    def test_of_nobody(self) -> None:
        """The DSN for a sender that is no account's is queued to him."""
        sender = Path("x", parse_domain("away.example"))
        self.add(new_job(account="", reverse_path=sender))
        self.result(self.operations.fail([1], EVERYTHING))
        (row,) = self.rows("job")
        self.assertEqual((row["rcpt_to"], row["mail_from"]), ("x@away.example", None))

    def test_conditions(self) -> None:
        """What meets the conditions no more is left alone."""
        self.add()
        wanted = JobFilter(hold=True)
        self.assertEqual(self.result(self.operations.fail([1], wanted)), [])
        self.assertEqual(self.result(self.operations.drop([1], wanted)), [])
        self.assertEqual(len(self.rows("job")), 1)
