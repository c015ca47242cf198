"""Tests for L{moxsmtp.receive.submission}: mail of our own users."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import Hello, InsufficientStorage, IReceiver
from moxsmtp.names import parse_domain
from moxsmtp.receive.rehearsal import Rehearsal
from moxsmtp.receive.submission import Submission
from tests.receive.houses import USER, HouseTestCase, session_log

COMPLETE = (
    b"From: Alice <alice@ours.example>\r\nMessage-ID: <1@ours.example>\r\n"
    b"Date: Sun, 1 Mar 2026 12:00:00 +0000\r\nSubject: hello\r\n\r\nHi\r\n"
)


class SubmissionTests(HouseTestCase):
    """What may be handed in, and what becomes of it."""

    def setUp(self) -> None:
        super().setUp()
        self.receiver = Submission(self.house, session_log(USER), tls_required=True)

    def submit(
        self, content: bytes, *recipients: str, sender: str | None = "alice@ours.example"
    ) -> str:
        """A whole transaction; the codes of its last reply."""
        recipients = recipients or ("bob@away.example",)
        reply = self.send(self.receiver, USER, content, sender, *recipients)
        return f"{reply.code} {reply.enhanced_status}"

    def test_port(self) -> None:
        """It is what the protocol asks for."""
        verifyObject(IReceiver, self.receiver)

    def test_senders(self) -> None:
        """One's own addresses and the null sender may send, others may not."""
        senders = {
            "alice@ours.example": "250 2.1.0",
            "Alice+tag@ours.example": "250 2.1.0",
            "a2@ours.example": "250 2.1.0",
            "mike@ours.example": "550 5.7.1",
            "alice@away.example": "550 5.7.1",
            "alice@[192.0.2.1]": "550 5.7.1",
            None: "250 2.1.0",
        }
        codes = {sender: self.begin(self.receiver, USER, sender)[0] for sender in senders}
        self.assertEqual(senders, codes)

    def test_recipients(self) -> None:
        """Anybody elsewhere, literals, and our own users; not unknown ones of ours (S-73)."""
        recipients = {
            "bob@away.example": "250 2.1.0",
            "bob@[192.0.2.9]": "250 2.1.0",
            "mike@ours.example": "250 2.1.0",
            "unknown@ours.example": "550 5.1.1",
            "postmaster": "250 2.1.0",
        }
        codes = self.begin(self.receiver, USER, "alice@ours.example", *recipients)
        self.assertEqual(["250 2.1.0", *recipients.values()], codes)

    def test_tls(self) -> None:
        """Without TLS where it is required, RCPT is refused (S-4)."""
        bare = replace(USER, tls=None)
        codes = self.begin(self.receiver, bare, "alice@ours.example", "bob@away.example")
        self.assertEqual(["250 2.1.0", "530 5.7.0"], codes)

    def test_told_without_name(self) -> None:
        """Who has no name that counts is told of by its address."""
        nameless = replace(USER, hello=Hello(None, extended=True))
        with capturedLogs() as lines:
            self.send(self.receiver, nameless, COMPLETE, "alice@ours.example", "bob@away.example")
        self.assertIn(" by 192.0.2.7 of account alice for ", formatEvent(lines[0]))

    def test_told(self) -> None:
        """An operator sees who hands in a message, as whom, for whom, and its numbers."""
        with capturedLogs() as lines:
            self.submit(COMPLETE, "bob@away.example", "mike@ours.example")
        first, second = lines
        self.assertEqual(
            f"queued {len(COMPLETE)} octets from <alice@ours.example> by client.example of account"
            " alice for bob@away.example, one of 2, as job 1; Message-ID <1@ours.example>",
            formatEvent(first),
        )
        expected = {
            "client": "192.0.2.7", "session": 7, "username": "alice@ours.example",
            "account": "alice", "recipient": "mike@ours.example", "number": 2,
        }  # fmt: skip
        self.assertEqual(expected, {name: second[name] for name in expected})

    def test_queued(self) -> None:
        """Each recipient is queued, local ones too, and the reply is 250 (S-99, S-82)."""
        codes = self.submit(COMPLETE, "bob@away.example", "mike@ours.example", "postmaster")
        self.assertEqual("250 2.2.0", codes)
        self.assertEqual(
            ["bob@away.example", "mike@ours.example", "postmaster@mx.ours.example"],
            [job.forward_path.ascii for job, _ in self.queue.jobs],
        )
        job, content = self.queue.jobs[0]
        self.assertEqual(
            ("alice", "alice@ours.example", "<1@ours.example>", "hello", COMPLETE),
            (job.account, job.reverse_path and job.reverse_path.ascii, job.message_id,
             job.subject, content),
        )  # fmt: skip
        self.assertEqual([], self.store.messages)

    def test_received(self) -> None:
        """
        Received shows the host but not the client's address, and a recipient
        only if there is just one, so that copies stay identical (S-83, S-87, Q-15).
        """
        self.submit(COMPLETE, "bob@away.example")
        self.submit(COMPLETE, "bob@away.example", "eve@away.example")
        single, first, second = (job.prefix.replace(b"\r\n\t", b" ") for job, _ in self.queue.jobs)
        self.assertEqual(
            b"Received: from mx.ours.example by mx.ours.example ([192.0.2.1]) via tcp with"
            b" ESMTPSA id reply-7 (TLS1.3 TLS_AES_128_GCM_SHA256) for <bob@away.example>;"
            b" 1 Mar 2026 12:30:05 +0000\r\n",
            single[: single.index(b"\r\n") + 2],
        )
        self.assertEqual(first, second)
        self.assertNotIn(b" for <", first)

    def test_missing_fields(self) -> None:
        """Message-Id and Date are added where they are missing (S-93)."""
        self.submit(b"From: alice@ours.example\r\n\r\nHi\r\n")
        job = self.queue.jobs[0][0]
        self.assertIn(b"\r\nMessage-Id: " + job.message_id.encode() + b"\r\n", job.prefix)
        self.assertIn(b"\r\nDate: ", job.prefix)
        self.assertTrue(job.message_id.endswith("@mx.ours.example>"), job.message_id)

    def test_bad_messages(self) -> None:
        """Without exactly one author in exactly one From there is no submission (S-89)."""
        contents = {
            "none": b"Subject: x\r\n\r\n",
            "two fields": b"From: alice@ours.example\r\nFrom: alice@ours.example\r\n\r\n",
            "two authors": b"From: alice@ours.example, a2@ours.example\r\n\r\n",
            "no address": b"From: alice\r\n\r\n",
            "no header": b"just text\r\n\r\n",
        }
        codes = {name: self.submit(content) for name, content in contents.items()}
        self.assertEqual(dict.fromkeys(contents, "550 5.6.0"), codes)
        self.assertEqual([], self.queue.jobs)
        self.assertEqual(
            {'mox_smtpserver_submission_total{result="badmessage"}': 5}, self.metrics.counts
        )

    def test_large_header(self) -> None:
        """
        A header section of more than 1 MiB is not handed on: an author who
        stands behind that is one whom nobody has looked at (S-89, S-90).
        """
        content = COMPLETE[: COMPLETE.index(b"\r\n\r\n") + 2] + b"X-Pad: " + b"p" * 900 + b"\r\n"
        content += (b"X-Pad: " + b"p" * 900 + b"\r\n") * 1200 + b"From: mike@ours.example\r\n\r\n"
        self.begin(self.receiver, USER, "alice@ours.example", "bob@away.example")
        spool = self.successResultOf(Deferred.fromCoroutine(self.receiver.data(USER)))
        self.assertIsNone(spool.write(content))
        reply = self.refused_at_end(spool)
        self.assertEqual((552, "5.3.4"), (reply.code, reply.enhanced_status))
        self.assertEqual([], self.queue.jobs)

    def test_foreign_author(self) -> None:
        """The author in From must be the user's own (S-90)."""
        content = COMPLETE.replace(b"alice@ours", b"mike@ours")
        self.assertEqual("550 5.7.1", self.submit(content))
        self.assertEqual(
            {'mox_smtpserver_submission_total{result="badfrom"}': 1}, self.metrics.counts
        )

    def test_queue_fails(self) -> None:
        """When the queue cannot take it, nothing is acknowledged (S-99, S-112)."""
        self.queue.trouble = InsufficientStorage("full")
        self.assertEqual("452 4.3.1", self.submit(COMPLETE))
        self.assertEqual(
            {'mox_smtpserver_submission_total{result="queueerror"}': 1}, self.metrics.counts
        )

    def test_rehearsed(self) -> None:
        """In localserve a recipient may ask for a failure before queueing (S-110)."""
        house = replace(self.house, policy=Rehearsal(Clock()))
        self.receiver = Submission(house, session_log(USER), tls_required=True)
        self.assertEqual("451 4.0.0", self.submit(COMPLETE, "x@away.example", "y451@away.example"))
        self.assertEqual([], self.queue.jobs)

    def test_bare_postmaster_is_ours(self) -> None:
        """The bare postmaster is queued for our own host."""
        self.submit(COMPLETE, "postmaster")
        self.assertEqual(parse_domain("mx.ours.example"), self.queue.jobs[0][0].forward_path.domain)
