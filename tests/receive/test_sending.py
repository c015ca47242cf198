"""Tests for L{moxsmtp.receive.submission}: how much may be sent, and under which name."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.task import Clock

from moxsmtp.directory import AliasSettings, Directory, DomainSettings
from moxsmtp.interfaces import Allowance
from moxsmtp.names import parse_domain
from moxsmtp.queue.job import FromIdInUse, MessageLimitReached, QueueFull, RecipientLimitReached
from moxsmtp.receive.rehearsal import Rehearsal
from moxsmtp.receive.submission import Submission
from tests.receive.houses import USER, HouseTestCase, session_log

ALICE = "alice@ours.example"


def message(author: str = ALICE, fields: str = "") -> bytes:
    """One that C{author} wrote."""
    return f"From: <{author}>\r\n{fields}\r\nHi\r\n".encode()


class SendingCase(HouseTestCase):
    """Alice hands in mail."""

    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def serve(self, **settings: object) -> None:
        """With other settings of her account."""
        alice = replace(self.accounts[0], **settings)  # type: ignore[arg-type]  # as the test says
        directory = Directory(
            (alice, self.accounts[1]),
            domains={parse_domain("ours.example"): DomainSettings(separators=("+", "-"))},
            hosts=(),
            postmaster="alice",
            aliases=(
                AliasSettings(
                    address="team@ours.example", addresses=(ALICE,), allow_message_from=True
                ),
                AliasSettings(address="board@ours.example", addresses=(ALICE,)),
                AliasSettings(
                    address="others@ours.example",
                    addresses=("mike@ours.example",),
                    allow_message_from=True,
                ),
            ),
        )
        tokens = iter(range(1000))

        def random_bytes(count: int) -> bytes:
            return next(tokens).to_bytes(count, "big")

        self.house = replace(self.house, accounts=directory, random_bytes=random_bytes)
        self.receiver = Submission(self.house, session_log(USER), tls_required=True)

    def submit(
        self, *recipients: str, content: bytes | None = None, sender: str | None = ALICE
    ) -> str:
        """A whole transaction; the codes of its last reply."""
        recipients = recipients or ("bob@away.example",)
        content = message() if content is None else content
        reply = self.send(self.receiver, USER, content, sender, *recipients)
        self.text = reply.text
        return f"{reply.code} {reply.enhanced_status}"


class AliasTests(SendingCase):
    """Writing in an alias's name, and to one."""

    def test_sender(self) -> None:
        """A member may send as an alias that lets him, not as any other (S-66)."""
        expected = {"team": "250 2.1.0", "Team+x": "250 2.1.0", "board": "550 5.7.1",
                    "others": "550 5.7.1"}  # fmt: skip
        codes = {
            name: self.begin(self.receiver, USER, f"{name}@ours.example")[0] for name in expected
        }
        self.assertEqual(expected, codes)

    def test_author(self) -> None:
        """The same holds for the author in From (S-90)."""
        expected = {"team": "250 2.2.0", "board": "550 5.7.1", "others": "550 5.7.1"}
        codes = {name: self.submit(content=message(f"{name}@ours.example")) for name in expected}
        self.assertEqual(expected, codes)

    def test_recipient(self) -> None:
        """Mail to an alias of ours is queued like any other (S-73, S-99)."""
        self.assertEqual("250 2.2.0", self.submit("board+x@ours.example"))
        self.assertEqual("board+x@ours.example", self.queue.jobs[0][0].forward_path.ascii)

    def test_unknown_here(self) -> None:
        """An unknown user of ours is refused at once, anywhere else is not (S-73)."""
        recipients = {
            "nobody@ours.example": "550 5.1.1",
            "x@[192.0.2.9]": "250 2.1.0",
            "x@elsewhere.example": "250 2.1.0",
            "others@ours.example": "250 2.1.0",
        }
        codes = self.begin(self.receiver, USER, None, *recipients)
        self.assertEqual(["250 2.1.0", *recipients.values()], codes)

    def test_duplicates(self) -> None:
        """One named twice is queued once (S-74); strangers' spellings are theirs."""
        recipients = (
            "mike@ours.example", "MIKE+x@ours.example", "a@away.example", "A@away.example",
            "a@AWAY.example",
        )  # fmt: skip
        self.submit(*recipients)
        self.assertEqual(
            ["mike@ours.example", "a@away.example", "A@away.example"],
            [job.forward_path.ascii for job, _ in self.queue.jobs],
        )


class LimitTests(SendingCase):
    """How much an account may send."""

    def test_allowance(self) -> None:
        """Its settings go with the message into the queue's transaction (Q-24, S-94, Q-83)."""
        self.submit()
        self.serve(max_outgoing_messages_per_day=5, max_first_time_recipients_per_day=0)
        self.submit()
        self.assertEqual(
            [Allowance("alice", 1000, 200), Allowance("alice", 5, 0)], self.queue.allowances
        )

    def test_reached(self) -> None:
        """What is over a limit may come later, and is told which limit and setting (Q-24, S-94)."""
        for trouble, setting, result in (
            (MessageLimitReached(5), "max_outgoing_messages_per_day", "messagelimiterror"),
            (RecipientLimitReached(7), "max_first_time_recipients_per_day", "recipientlimiterror"),
        ):
            self.queue.trouble = trouble
            self.assertEqual("451 4.7.1", self.submit())
            self.assertIn(setting, self.text)
            self.assertIn(f" {trouble.limit} ", self.text)
            self.assertEqual(
                {f'mox_smtpserver_submission_total{{result="{result}"}}': 1}, self.metrics.counts
            )
            self.metrics.counts.clear()

    def test_queue_full(self) -> None:
        """Who has as much waiting as may wait comes again later, and learns why (Q-95)."""
        self.serve(max_queued_messages=9)
        self.queue.trouble = QueueFull(9)
        self.assertEqual("452 4.3.1", self.submit())
        self.assertIn("no more than 9 messages", self.text)
        self.assertIn("max_queued_messages", self.text)
        self.assertEqual(
            [allowance.queued for allowance in self.queue.allowances if allowance], [9]
        )
        self.assertEqual(
            {'mox_smtpserver_submission_total{result="queuelimiterror"}': 1}, self.metrics.counts
        )

    def test_reached_first(self) -> None:
        """A limit is told before what else is wrong with the message (S-94 before S-95, S-98)."""
        self.serve(from_id_login_addresses=(ALICE,))
        twice = message(fields="X-Mox-Extra-A: 1\r\nX-Mox-Extra-A: 2\r\n")
        wrong = (
            {"content": twice},
            {"sender": "alice+7@ours.example"},
        )
        recipients = ("a@away.example", "b@away.example")
        self.assertEqual(
            ["554 5.6.0", "554 5.5.3"], [self.submit(*recipients, **each) for each in wrong]
        )
        self.queue.trouble = MessageLimitReached(5)
        self.assertEqual(
            ["451 4.7.1", "451 4.7.1"], [self.submit(*recipients, **each) for each in wrong]
        )


class FromIdTests(SendingCase):
    """Identifiers in the sender."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(from_id_login_addresses=(ALICE,))

    def sent_as(self) -> list[tuple[str, str]]:
        """Sender and identifier of each job."""
        return [(str(job.reverse_path), job.from_id) for job, _ in self.queue.jobs]

    def test_made(self) -> None:
        """Each recipient's copy has its own, and stands alone in the queue (Q-25, S-98)."""
        self.assertEqual("250 2.2.0", self.submit("a@away.example", "b@away.example"))
        self.assertEqual(
            [
                ("alice+AAAAAAAAAAAAAAAAAAAAAQ@ours.example", "AAAAAAAAAAAAAAAAAAAAAQ"),
                ("alice+AAAAAAAAAAAAAAAAAAAAAg@ours.example", "AAAAAAAAAAAAAAAAAAAAAg"),
            ],
            self.sent_as(),
        )

    def test_given(self) -> None:
        """The client's own is kept, for one recipient (Q-25, S-98)."""
        sender = "alice-7@ours.example"
        self.assertEqual("250 2.2.0", self.submit(sender=sender))
        self.assertEqual([(sender, "7")], self.sent_as())
        self.assertEqual("554 5.5.3", self.submit("a@x.example", "b@x.example", sender=sender))

    def test_in_use(self) -> None:
        """One that the queue or its history knows is refused (Q-25, S-98)."""
        self.queue.trouble = FromIdInUse("known")
        self.assertEqual("554 5.1.7", self.submit(sender="alice+7@ours.example"))
        self.assertEqual({}, self.metrics.counts)

    def test_null_sender(self) -> None:
        """The null sender stays null (Q-25, S-98)."""
        self.assertEqual("250 2.2.0", self.submit(sender=None))
        self.assertEqual([("None", "")], self.sent_as())

    def test_other_login(self) -> None:
        """Who logs in with another address sends as he says (Q-25, S-98)."""
        self.serve(from_id_login_addresses=("a2@ours.example",))
        self.submit("a@away.example", "b@away.example", sender="alice+7@ours.example")
        self.assertEqual([("alice+7@ours.example", "")] * 2, self.sent_as())

    def test_told_as_given(self) -> None:
        """Our header fields tell the sender as the client gave it (Q-25, S-97, S-98)."""
        self.submit()
        self.assertIn(b"smtp.mailfrom=alice@ours.example", self.queue.jobs[0][0].prefix)


class ExtraTests(SendingCase):
    """Fields for webhooks."""

    def test_kept(self) -> None:
        """They go with each job, and stay in the message (Q-26, S-95)."""
        content = message(fields="X-Mox-Extra-order-ID: 17\r\n")
        self.submit("a@away.example", "b@away.example", content=content)
        self.assertEqual(
            [({"Order-Id": "17"}, content)] * 2,
            [(job.extra, octets) for job, octets in self.queue.jobs],
        )

    def test_twice(self) -> None:
        """A key that is there twice is refused (Q-26, S-95)."""
        content = message(fields="X-Mox-Extra-a: 1\r\nX-Mox-Extra-A: 2\r\n")
        self.assertEqual("554 5.6.0", self.submit(content=content))
        self.assertEqual([], self.queue.jobs)


class RehearsedTests(SendingCase):
    """Submission in localserve."""

    def test_counted(self) -> None:
        """Failures at MAIL and RCPT count, one before queueing does not (S-110)."""
        self.serve(addresses=(ALICE, "mailfrom451@ours.example"))
        house = replace(self.house, policy=Rehearsal(Clock()))
        self.receiver = Submission(house, session_log(USER), tls_required=True)
        self.assertEqual(["451 4.0.0"], self.begin(self.receiver, USER, "mailfrom451@ours.example"))
        self.assertEqual(
            ["250 2.1.0", "550 5.0.0"],
            self.begin(self.receiver, USER, ALICE, "rcptto-permerror@away.example"),
        )
        self.assertEqual("452 4.0.0", self.submit("x452@away.example"))
        self.assertEqual(
            {'mox_smtpserver_delivery_total{reason="localserve",result="delivererror"}': 2},
            self.metrics.counts,
        )
