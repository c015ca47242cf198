"""What parameters of MAIL and RCPT come to, with receivers that are whole."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxsmtp import spf
from moxsmtp.interfaces import InsufficientStorage, NewJob, RequireTLS, TLSInfo
from moxsmtp.names import parse_domain
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.receiver import House
from moxsmtp.receive.rehearsal import Rehearsal
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.commands import BodyType, Mail, Rcpt
from moxsmtp.smtp.notification import Notify, ReturnContent, Wishes
from moxsmtp.smtp.reply import Refused, Unjudged
from tests.receive.houses import CLIENT, NOW, USER, session_log
from tests.receive.transactions import TransactionTestCase, parsed

COMPLETE = (
    b"From: Alice <alice@ours.example>\r\nMessage-ID: <1@ours.example>\r\n"
    b"Date: Sun, 1 Mar 2026 12:00:00 +0000\r\nSubject: hello\r\n\r\nHi\r\n"
)

#: With TLS, where everything is offered.
SECURED = replace(CLIENT, tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"))

MULTIPART = (
    b"From: Alice <alice@ours.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n%s\r\nHi\r\n--b--\r\n"
)
NAMED = MULTIPART % "Content-Disposition: attachment; filename=\u00e4\r\n".encode()


class SubmissionTests(TransactionTestCase):
    """Mail of our own users."""

    def setUp(self) -> None:
        super().setUp()
        self.client = USER
        self.use(self.house)

    def use(self, house: House) -> None:
        self.receiver = Submission(house, session_log(USER), tls_required=True)

    def job(self, mail: str = "", rcpt: str = "", content: bytes = COMPLETE) -> NewJob:
        """The job that comes of a transaction with these parameters."""
        codes = self.transact(
            content, f"MAIL FROM:<alice@ours.example>{mail}", f"RCPT TO:<bob@away.example>{rcpt}"
        )
        self.assertEqual("250 2.2.0", codes)
        return self.queue.jobs[-1][0]

    def test_require_tls(self) -> None:
        """It goes with the job, and into Received (Q-27, S-63, S-85).  RFC 8689 section 2."""
        job = self.job(" REQUIRETLS")
        self.assertEqual(RequireTLS.YES, job.require_tls)
        self.assertIn(b" with ESMTPSA (requiretls) id ", job.prefix.replace(b"\r\n\t", b" "))
        self.assertNotIn(b"requiretls", self.job().prefix)

    def test_tls_required_field(self) -> None:
        """
        TLS-Required waives TLS if all of its fields say no and REQUIRETLS does not
        say otherwise (Q-27, S-91).  RFC 8689 section 3.
        """
        table = {
            ("", ""): RequireTLS.UNSET,
            ("TLS-Required: No\r\n", ""): RequireTLS.NO,
            ("tls-required: NO \r\n", ""): RequireTLS.NO,
            ("TLS-Required: no\r\nTLS-Required: No\r\n", ""): RequireTLS.NO,
            ("TLS-Required: no\r\nTLS-Required: yes\r\n", ""): RequireTLS.UNSET,
            ("TLS-Required: yes\r\n", ""): RequireTLS.UNSET,
            ("TLS-Required:\r\n", ""): RequireTLS.UNSET,
            ("TLS-Required: no, really\r\n", ""): RequireTLS.UNSET,
            ("TLS-Required: No\r\n", " REQUIRETLS"): RequireTLS.YES,
        }
        found = {
            (field, mail): self.job(mail, content=field.encode() + COMPLETE).require_tls
            for field, mail in table
        }
        self.assertEqual(table, found)

    def test_hold(self) -> None:
        """Held mail has its time and what was asked for (S-64, S-99, Q-21).  RFC 4865."""
        job = self.job(" HOLDFOR=3600")
        self.assertEqual(
            (NOW + timedelta(hours=1), "for;3600"), (job.next_attempt, job.future_release)
        )
        job = self.job(" HOLDUNTIL=2026-03-01T12:30:06.5Z")
        self.assertEqual(
            (NOW + timedelta(seconds=1.5), "until;2026-03-01T12:30:06.5Z"),
            (job.next_attempt, job.future_release),
        )
        job = self.job()
        self.assertEqual((None, ""), (job.next_attempt, job.future_release))

    def test_hold_too_long(self) -> None:
        """
        Neither the past nor more than 60 days ahead; the transaction does not begin,
        and one that is open is not touched (S-64, Q-21).
        """
        for value in ("HOLDFOR=5184001", "HOLDUNTIL=2026-03-01T12:30:04Z"):
            self.assertEqual(["554 5.5.4"], self.talk(f"MAIL FROM:<alice@ours.example> {value}"))
            self.assertRaises(RuntimeError, lambda: self.receiver.envelope)

    def test_hold_ends_with_its_transaction(self) -> None:
        """The next message is not held."""
        self.talk("MAIL FROM:<alice@ours.example> HOLDFOR=3600")
        self.receiver.reset()
        self.assertIsNone(self.job().next_attempt)

    def test_wishes(self) -> None:
        """RET, ENVID, NOTIFY and ORCPT go with the job, each with its own (S-68).  RFC 3461."""
        self.transact(
            COMPLETE,
            "MAIL FROM:<alice@ours.example> RET=HDRS ENVID=QQ+2B1",
            "RCPT TO:<bob@away.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@away.example",
            "RCPT TO:<eve@away.example>",
        )
        self.assertEqual(
            [
                Wishes(
                    ReturnContent.HEADERS, "QQ+1", Notify.parse("SUCCESS,DELAY"),
                    "rfc822;Bob@away.example",
                ),
                Wishes(ReturnContent.HEADERS, "QQ+1"),
            ],
            [job.wishes for job, _ in self.queue.jobs],
        )  # fmt: skip

    def test_no_empty_line(self) -> None:
        """
        Without an empty line there is no message: 554 5.6.0, and nothing was judged;
        one at the start parts an empty header from the body (S-79, S-113).
        """
        lines = ("MAIL FROM:<alice@ours.example>", "RCPT TO:<bob@away.example>")
        table = {
            COMPLETE: "250 2.2.0",
            b"From: alice@ours.example\r\n\r\n": "250 2.2.0",
            b"From: alice@ours.example\r\n": "554 5.6.0",
            b"From: alice@ours.example": "554 5.6.0",
            b"just text\r\n": "554 5.6.0",
            b"": "554 5.6.0",
            b"\r\nbody": "550 5.6.0",
        }
        self.assertEqual(table, {content: self.transact(content, *lines) for content in table})
        self.assertEqual(1, self.counted('mox_smtpserver_submission_total{result="badmessage"}'))
        self.talk(*lines)
        spooled = self.spooled(self.receiver, USER, b"just text\r\n")
        asked = Deferred.fromCoroutine(self.receiver.message(USER, spooled))
        self.failureResultOf(asked, Unjudged)

    def test_smtputf8(self) -> None:
        """
        Whether a message is internationalized is seen by its local-parts and
        the headers of its parts, whatever was declared; domains and bodies do not
        count (S-80, S-85).  RFC 6531 section 3.6.
        """
        accented = COMPLETE.replace(b"hello", "h\u00e9llo".encode())
        a, b = "alice@ours.example", "bob@away.example"
        table: dict[tuple[str, str, bytes], bool] = {
            (a, b, COMPLETE): False,
            (a, b, accented): True,
            (a, b, COMPLETE + "\u00e4".encode()): False,
            (a, b, COMPLETE.replace(b"hello", b"h\xe9llo")): True,
            (a, "j\u00f6rg@away.example", COMPLETE): True,
            (a, "bob@b\u00fccher.example", COMPLETE): False,
            ("\u00e4lice+x@ours.example", b, COMPLETE): True,
            (a, b, NAMED): True,
            (a, b, MULTIPART % b"X: y\r\n" + "\u00e4".encode()): False,
            (a, b, NAMED.replace(b"multipart/mixed", b"text/plain")): False,
        }
        addresses = ("alice@ours.example", "\u00e4lice@ours.example")
        self.use(self.made(replace(self.accounts[0], addresses=addresses)))
        for declared in ("", " SMTPUTF8"):
            for (sender, recipient, content), needed in table.items():
                codes = self.transact(
                    content, f"MAIL FROM:<{sender}> SMTPUTF8", f"RCPT TO:<{recipient}>"
                ) if declared else self.undeclared(sender, recipient, content)  # fmt: skip
                self.assertEqual("250 2.2.0", codes)
                job = self.queue.jobs[-1][0]
                word = b" with UTF8SMTPSA " if needed else b" with ESMTPSA "
                self.assertEqual(needed, job.smtputf8, (sender, recipient, content))
                self.assertIn(word, job.prefix.replace(b"\r\n\t", b" "))

    def undeclared(self, sender: str, recipient: str, content: bytes) -> str:
        """A transaction without SMTPUTF8, which the session would not let begin with some."""
        mail, rcpt = parsed(f"MAIL FROM:<{sender}> SMTPUTF8", USER), parsed(
            f"RCPT TO:<{recipient}>", USER
        )  # fmt: skip
        assert isinstance(mail, Mail)
        assert isinstance(rcpt, Rcpt)
        self.ask(self.receiver.mail(USER, replace(mail, smtputf8=False)))
        self.ask(self.receiver.recipient(USER, rcpt))
        return self.end(content)

    def test_pedantic_smtputf8(self) -> None:
        """
        The pedantic refuse what needs SMTPUTF8 and did not say so, as 550 5.6.0,
        and count it (S-80, S-111).
        """
        self.use(replace(self.house, pedantic=True))
        lines = ("MAIL FROM:<alice@ours.example>{}", "RCPT TO:<bob@away.example>")
        accented = COMPLETE.replace(b"hello", "h\u00e9llo".encode())
        found = {
            parameters: self.transact(accented, lines[0].format(parameters), lines[1])
            for parameters in (" BODY=8BITMIME", " BODY=8BITMIME SMTPUTF8")
        }
        self.assertEqual(["550 5.6.0", "250 2.2.0"], list(found.values()))
        self.assertEqual(
            1, self.counted('mox_smtpserver_submission_total{result="missingsmtputf8"}')
        )

    def test_pedantic_8bit(self) -> None:
        """The pedantic want BODY=8BITMIME with 8-bit content: 500 5.6.0 (S-79, S-111)."""
        content = COMPLETE + "\u00e4\r\n".encode()
        lines = ("MAIL FROM:<alice@ours.example>", "RCPT TO:<bob@away.example>")
        self.assertEqual("250 2.2.0", self.transact(content, *lines))
        self.use(replace(self.house, pedantic=True))
        self.assertEqual("500 5.6.0", self.transact(content, *lines))
        self.assertEqual("250 2.2.0", self.transact(COMPLETE, *lines))
        for body, codes in ((BodyType.SEVEN_BIT, "500 5.6.0"), (BodyType.EIGHT_BIT, "250 2.2.0")):
            self.assertEqual(codes, self.transact(content, f"{lines[0]} BODY={body}", lines[1]))

    def test_pedantic_return_path(self) -> None:
        """The pedantic take no Return-Path from users: 550 5.6.0, counted (S-92, S-111)."""
        content = b"return-path: <a@x.example>\r\n" + COMPLETE
        lines = ("MAIL FROM:<alice@ours.example>", "RCPT TO:<bob@away.example>")
        self.assertEqual("250 2.2.0", self.transact(content, *lines))
        self.use(replace(self.house, pedantic=True))
        self.assertEqual("550 5.6.0", self.transact(content, *lines))
        self.assertEqual(1, self.counted('mox_smtpserver_submission_total{result="badheader"}'))

    def test_strict_mime(self) -> None:
        """Where the pedantic rehearse, the whole of MIME must be sound: 554 5.6.0 (S-111)."""
        lines = ("MAIL FROM:<alice@ours.example>", "RCPT TO:<bob@away.example>")
        sound = MULTIPART % b"X: y\r\n"
        cut = sound.replace(b"--b--\r\n", b"")
        self.assertEqual("250 2.2.0", self.transact(cut, *lines))
        self.use(replace(self.house, pedantic=True, strict_mime=True))
        self.assertEqual("250 2.2.0", self.transact(sound, *lines))
        self.assertEqual("554 5.6.0", self.transact(cut, *lines))
        self.assertEqual("554 5.6.0", self.transact(MULTIPART % b"no field\r\n", *lines))


class DeliveryTests(TransactionTestCase):
    """Mail from outside."""

    def setUp(self) -> None:
        super().setUp()
        self.client = SECURED
        self.checks.spf = spf.Result(spf.Status.PASS, scope=spf.Scope.MAIL_FROM)
        self.use(self.house)

    def use(self, house: House) -> None:
        self.receiver = Delivery(
            house,
            session_log(),
            hostname=parse_domain("in.ours.example"),
            tls_required=False,
            unknown_delay=timedelta(),
            clock=self.clock,
        )

    def report(self, *lines: str, content: bytes = COMPLETE) -> tuple[str, list[str]] | None:
        """The fields of the report for programs, and the types of its parts; L{None}: none."""
        self.queue.jobs.clear()
        self.assertEqual("250 2.2.0", self.transact(content, *lines))
        if not self.queue.jobs:
            return None
        ((job, written),) = self.queue.jobs
        self.assertEqual((None, "eve@away.example"), (job.reverse_path, job.forward_path.ascii))
        message = email.message_from_bytes(written, policy=email.policy.SMTP)
        parts = message.get_payload()
        assert isinstance(parts, list)
        types = [part.get_content_type() for part in parts]  # type: ignore[union-attr]  # a list of messages
        return "".join(map(str, parts[1].get_payload())), types  # type: ignore[union-attr]  # the same

    def test_require_tls(self) -> None:
        """REQUIRETLS is kept with the message and told in Received (S-63, S-85)."""
        for parameter, kept in ((" REQUIRETLS", RequireTLS.YES), ("", RequireTLS.UNSET)):
            self.transact(
                COMPLETE, f"MAIL FROM:<eve@away.example>{parameter}", "RCPT TO:<alice@ours.example>"
            )
            message = self.store.messages[-1][0]
            self.assertEqual(kept, message.provenance.require_tls)
            self.assertEqual(bool(parameter), b"(requiretls)" in message.prefix)

    def test_reports_require_tls(self) -> None:
        """What is said about a message with REQUIRETLS demands it, too (Q-38)."""
        self.report(
            "MAIL FROM:<eve@away.example> REQUIRETLS",
            "RCPT TO:<alice@ours.example> NOTIFY=SUCCESS",
        )
        self.assertEqual(RequireTLS.YES, self.queue.jobs[0][0].require_tls)

    def test_success(self) -> None:
        """
        With NOTIFY=SUCCESS the sender is told of a delivery, through the queue, with
        all that he gave us to recognize it by (S-68).  RFC 3461 section 5.2.3.
        """
        found = self.report(
            "MAIL FROM:<eve@away.example> ENVID=QQ+20314159 RET=FULL",
            "RCPT TO:<alice@ours.example> NOTIFY=SUCCESS ORCPT=rfc822;al+2Bice@list.example",
        )
        assert found is not None
        fields, types = found
        for line in (
            "Original-Envelope-ID: QQ 314159", "Reporting-MTA: dns; mx.ours.example",
            "Original-Recipient: rfc822;al+ice@list.example",
            "Final-Recipient: rfc822; alice@ours.example", "Action: delivered", "Status: 2.0.0",
        ):  # fmt: skip
            self.assertIn(line, fields)
        # The whole message comes back only with failures; RFC 3461 section 4.3.
        self.assertEqual(["text/plain", "message/delivery-status", "text/rfc822-headers"], types)
        written = self.queue.jobs[0][1]
        self.assertIn(b"\r\nSubject: Mail delivered\r\n", written)
        self.assertEqual(1, len(self.store.messages))

    def test_not_asked(self) -> None:
        """Nobody who did not ask is told of a success (S-68)."""
        for notify in ("", " NOTIFY=NEVER", " NOTIFY=FAILURE,DELAY"):
            found = self.report(
                "MAIL FROM:<eve@away.example>", f"RCPT TO:<alice@ours.example>{notify}"
            )
            self.assertIsNone(found)

    def test_null_sender(self) -> None:
        """The null sender is told nothing, whatever it asks for (S-68)."""
        found = self.report("MAIL FROM:<>", "RCPT TO:<alice@ours.example> NOTIFY=SUCCESS")
        self.assertIsNone(found)

    def test_partial(self) -> None:
        """
        A report has those whose senders want to hear of what became of them: failures
        unless NOTIFY leaves them out, success only if it is in (S-68, Q-38).
        """
        table = {
            (" NOTIFY=NEVER", " NOTIFY=NEVER"): [],
            ("", " NOTIFY=NEVER"): [],
            ("", " NOTIFY=SUCCESS"): [],
            ("", ""): ["failed"],
            ("", " NOTIFY=FAILURE"): ["failed"],
            (" NOTIFY=SUCCESS", " NOTIFY=DELAY"): ["delivered"],
            (" NOTIFY=SUCCESS", " NOTIFY=FAILURE"): ["failed", "delivered"],
        }
        found = {}
        for known, unknown in table:
            told = self.report(
                "MAIL FROM:<eve@away.example>",
                f"RCPT TO:<alice@ours.example>{known}",
                f"RCPT TO:<nobody@ours.example>{unknown}",
            )
            fields = told[0] if told is not None else ""
            found[known, unknown] = [
                word for word in ("failed", "delivered") if f"Action: {word}" in fields
            ]
        self.assertEqual(table, found)

    def test_partial_words(self) -> None:
        """A report of a failure names the recipient as the sender knew him (S-68, Q-37)."""
        found = self.report(
            "MAIL FROM:<eve@away.example> ENVID=QQ",
            "RCPT TO:<alice@ours.example>",
            "RCPT TO:<nobody@ours.example> ORCPT=rfc822;Nobody@list.example",
        )
        assert found is not None
        self.assertIn("Original-Recipient: rfc822;Nobody@list.example", found[0])
        self.assertIn("Original-Envelope-ID: QQ", found[0])

    def test_nothing_stored(self) -> None:
        """Where nobody has the message, the reply says so, and no report (S-68)."""
        codes = self.transact(
            COMPLETE,
            "MAIL FROM:<eve@away.example>",
            "RCPT TO:<nobody@ours.example> NOTIFY=SUCCESS,FAILURE",
        )
        self.assertEqual("550 5.1.1", codes)
        self.assertEqual([], self.queue.jobs)

    def test_whole_message(self) -> None:
        """
        RET=FULL brings all of the message back to whom a failure is told, as long as
        every host can take it (S-68).  RFC 3461 section 4.3.
        """
        types = {
            (returns, content): found[1][2]
            for returns in ("FULL", "HDRS")
            for content in (COMPLETE, COMPLETE + "\u00e4\r\n".encode())
            if (found := self.report(
                f"MAIL FROM:<eve@away.example> RET={returns}",
                "RCPT TO:<alice@ours.example>",
                "RCPT TO:<nobody@ours.example>",
                content=content,
            ))
        }  # fmt: skip
        self.assertEqual(
            ["message/rfc822", "text/rfc822-headers", "text/rfc822-headers", "text/rfc822-headers"],
            list(types.values()),
        )

    def test_reports_in_utf8(self) -> None:
        """
        A report on an SMTPUTF8 message is in ASCII, which every host takes, and in UTF-8
        beside it; on any other it is in ASCII alone (Q-38).  RFC 6533 section 6.
        """
        lines = ("RCPT TO:<alice@ours.example>", "RCPT TO:<n\u00f6body@ours.example>")
        found = {}
        for sender in ("eve@away.example", "\u00e8ve@away.example"):
            self.queue.jobs.clear()
            mail = f"MAIL FROM:<{sender}> SMTPUTF8"
            self.assertEqual("250 2.2.0", self.transact(COMPLETE, mail, *lines))
            ((job, written),) = self.queue.jobs
            self.assertTrue(written.isascii())
            self.assertIn(b"\r\nContent-Type: message/delivery-status\r\n", written)
            alternative = job.alternative
            self.assertIn("utf-8; n\u00f6body@ours.example".encode(), alternative)
            self.assertIn(b"\r\nContent-Type: message/global-delivery-status\r\n", alternative)
            found[sender] = job.smtputf8
        self.assertEqual([False, True], list(found.values()))
        self.queue.jobs.clear()
        lines = ("RCPT TO:<alice@ours.example>", "RCPT TO:<nobody@ours.example>")
        self.assertEqual(
            "250 2.2.0", self.transact(COMPLETE, "MAIL FROM:<eve@away.example>", *lines)
        )
        ((job, _),) = self.queue.jobs
        self.assertEqual(b"", job.alternative)

    def test_report_fails(self) -> None:
        """A report that cannot be queued costs nobody the message (S-114)."""
        self.queue.trouble = InsufficientStorage("full")
        found = self.report(
            "MAIL FROM:<eve@away.example>", "RCPT TO:<alice@ours.example> NOTIFY=SUCCESS"
        )
        self.assertIsNone(found)
        self.assertEqual(1, self.counted('mox_smtpserver_errors_total{error="queuedsn"}'))

    def test_rehearsed(self) -> None:
        """Who rehearses is told of a success, but sees failures in the reply (S-110)."""
        self.use(replace(self.house, policy=Rehearsal(Clock())))
        found = self.report(
            "MAIL FROM:<eve@away.example>",
            "RCPT TO:<alice@ours.example> NOTIFY=SUCCESS",
            "RCPT TO:<mike+550@ours.example> NOTIFY=FAILURE",
        )
        assert found is not None
        self.assertIn("Action: delivered", found[0])
        self.assertNotIn("Action: failed", found[0])

    def test_smtputf8(self) -> None:
        """
        Without SMTPUTF8 a message from outside is taken as it is; with it, it is only
        what it needs to be; the pedantic look and refuse (S-80, S-111).
        """
        lines = ("MAIL FROM:<eve@away.example>{}", "RCPT TO:<alice@ours.example>")
        accented = COMPLETE.replace(b"hello", "h\u00e9llo".encode())
        found = {}
        for parameter in ("", " SMTPUTF8"):
            for content in (COMPLETE, accented):
                self.transact(content, lines[0].format(parameter), lines[1])
                prefix = self.store.messages[-1][0].prefix
                found[parameter, content] = b"UTF8SMTPS" in prefix
        self.assertEqual([False, False, False, True], list(found.values()))
        self.use(replace(self.house, pedantic=True))
        self.assertEqual("550 5.6.0", self.transact(accented, lines[0].format(""), lines[1]))
        self.assertEqual(
            "250 2.2.0", self.transact(accented, lines[0].format(" SMTPUTF8"), lines[1])
        )

    def test_no_empty_line(self) -> None:
        """From outside, a message may do without an empty line (S-79)."""
        lines = ("MAIL FROM:<eve@away.example>", "RCPT TO:<alice@ours.example>")
        self.assertEqual("250 2.2.0", self.transact(b"From: eve@away.example\r\n", *lines))

    def test_hold(self) -> None:
        """Nobody from outside has mail held: 555 5.3.3 (S-64)."""
        with self.assertRaises(Refused) as caught:
            parsed("MAIL FROM:<eve@away.example> HOLDFOR=60", SECURED)
        self.assertEqual(555, caught.exception.reply.code)
