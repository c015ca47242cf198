"""The DSN that an attempt gives rise to."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import timedelta

from twisted.trial import unittest

from moxsmtp.interfaces import Account, Maildir, RequireTLS
from moxsmtp.message.delivery_status import status_in
from moxsmtp.message.structure import parse_structure
from moxsmtp.names import parse_domain
from moxsmtp.queue.job import Job, Outcome, Retired, Retry
from moxsmtp.queue.notification import MAXIMUM_RETURNED, bounces, returns_all
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import Notify, ReturnContent, Wishes
from tests.queue.test_settle import (
    DELIVERED,
    HEADER,
    NOON,
    PERMANENT,
    SENDER,
    TRANSIENT,
    UNREACHED,
    job,
    settled,
)


def types(message: bytes) -> list[str]:
    """Of its parts."""
    parts = email.message_from_bytes(message, policy=email.policy.SMTPUTF8).get_payload()
    assert isinstance(parts, list)
    return [part.get_content_type() for part in parts]  # type: ignore[union-attr]  # a list of messages


class BounceTests(unittest.SynchronousTestCase):
    """DSNs."""

    def test_into_the_inbox(self) -> None:
        """Q-35: a failure puts a DSN into the sending account's Inbox, flagged as one."""
        bounce = settled(PERMANENT).bounce
        assert bounce is not None
        message, _ = bounce
        self.assertEqual(
            (message.account, message.mailbox, message.is_dsn), ("alice", "Inbox", True)
        )
        self.assertIsNone(message.reverse_path)
        self.assertEqual(message.forward_path, SENDER)
        self.assertEqual(message.received, NOON)
        self.assertEqual(message.message_id, "<u1@mx.ours.example>")
        self.assertFalse(message.hand_over)

    def test_prefix(self) -> None:
        """Q-35: Return-Path and Delivered-To stand before it."""
        bounce = settled(PERMANENT).bounce
        assert bounce is not None
        self.assertEqual(
            bounce[0].prefix, b"Return-Path: <>\r\nDelivered-To: alice@ours.example\r\n"
        )

    def test_to_the_sender(self) -> None:
        """
        Of mail that is no account's, the report is queued to the sender, with
        the demands of the message, and is nobody's to report on (Q-35).
        """
        mine = job(account="", require_tls=RequireTLS.YES)
        settlement = settled(PERMANENT, mine, account=None)
        self.assertIsNone(settlement.bounce)
        assert settlement.report is not None
        new, content = settlement.report
        self.assertEqual(
            ("", None, SENDER, RequireTLS.YES, "<u1@mx.ours.example>"),
            (new.account, new.reverse_path, new.forward_path, new.require_tls, new.message_id),
        )
        self.assertIn(b"\r\nTo: <alice@ours.example>\r\n", content)
        self.assertIn(b"Status: 5.1.1", content)
        for silent in (job(account="", reverse_path=None), job()):
            self.assertIsNone(settled(PERMANENT, silent).report)
        self.assertIsNone(settled(DELIVERED, mine).report)
        self.assertIsNone(settled(TRANSIENT, mine).report)

    def test_to_the_postmaster(self) -> None:
        """Q-35: without an account the postmaster's account gets it; without both, nobody."""
        bounce = settled(PERMANENT, account=None).bounce
        assert bounce is not None
        self.assertEqual(bounce[0].account, "postmaster")
        self.assertIsNone(settled(PERMANENT, account=None, postmaster=None).bounce)

    def test_maildir(self) -> None:
        """A DSN for an account with a Maildir is handed over there."""
        bounce = settled(PERMANENT, account=Account("alice", maildir=Maildir("/m"))).bounce
        assert bounce is not None
        self.assertTrue(bounce[0].hand_over)

    def test_never_for_null_sender(self) -> None:
        """Q-35: a message from the null sender never yields a DSN (RFC 5321 section 6.1)."""
        null = job(reverse_path=None)
        self.assertIsNone(settled(PERMANENT, null).bounce)
        self.assertFalse(bounces(null, PERMANENT, QueueSettings()))

    def test_only_for_final_failures(self) -> None:
        """Q-35: neither delivery nor delay yields a DSN; the last delay does."""
        for outcome in (DELIVERED, TRANSIENT, UNREACHED):
            self.assertIsNone(settled(outcome).bounce)
            self.assertFalse(bounces(job(), outcome, QueueSettings()))
        last = job(attempts=8)
        self.assertIsNotNone(settled(UNREACHED, last).bounce)
        self.assertTrue(bounces(last, UNREACHED, QueueSettings()))

    def test_report_in_both_forms(self) -> None:
        """
        Q-36: a report that leaves is in ASCII, which every host takes, and on an SMTPUTF8
        message in UTF-8 beside it, whoever reads it (Q-6); both are the same message, and
        say the same to programs.  RFC 6533 section 6.
        """
        wide = Path("jürgen", parse_domain("theirs.example"))
        for sender in (SENDER, wide):
            one = job(account="", smtputf8=True, forward_path=wide, reverse_path=sender)
            report = settled(PERMANENT, one, account=None).report
            assert report is not None
            new, content = report
            self.assertEqual(new.smtputf8, sender is wide)
            self.assertTrue(content.isascii())
            self.assertFalse(new.alternative.isascii())
            self.assertEqual(
                [types(content), types(new.alternative)],
                [
                    ["text/plain", "message/delivery-status", "text/rfc822-headers"],
                    ["text/plain", "message/global-delivery-status", "message/global-headers"],
                ],
            )
            plain, other = (
                email.message_from_bytes(octets, policy=email.policy.SMTPUTF8)
                for octets in (content, new.alternative)
            )
            for name in ("Message-Id", "Subject", "Date", "References", "From"):
                self.assertEqual(plain[name], other[name], name)
            told = [
                status_in(octets, parse_structure(octets)) for octets in (content, new.alternative)
            ]
            self.assertEqual(told[0], told[1])
            assert told[0] is not None
            self.assertEqual((told[0].code, told[0].status), (550, "1.1"))

    def test_report_of_one_form(self) -> None:
        """A report on an ASCII message has no second form."""
        report = settled(PERMANENT, job(account=""), account=None).report
        assert report is not None
        self.assertEqual((report[0].alternative, report[1].isascii()), (b"", True))

    def test_both_forms_signed(self) -> None:
        """Each form has a signature of its own, that in UTF-8 within it (Q-6, Q-36)."""
        signed: list[bytes] = []

        def sign(content: bytes) -> bytes:
            signed.append(content)
            return f"DKIM-Signature: {len(signed)}\r\n".encode()

        one = job(account="", smtputf8=True)
        report = settled(PERMANENT, one, account=None, sign=sign).report
        assert report is not None
        new, content = report
        self.assertEqual(
            (new.prefix + content, new.alternative),
            tuple(f"DKIM-Signature: {n}\r\n".encode() + signed[n - 1] for n in (1, 2)),
        )
        self.assertIn(b"message/global", new.alternative)

    def test_report_on_reports(self) -> None:
        """Q-36: a report asks for no report on itself.  RFC 3461 section 6.1."""
        report = settled(PERMANENT, job(account=""), account=None).report
        assert report is not None
        self.assertEqual(str(report[0].wishes.notify), "NEVER")

    def read(self, outcome: Outcome, one: Job) -> tuple[email.message.Message, str, str]:
        """A DSN as others read it: header, fields for programs, what is sent back."""
        bounce = settled(outcome, one).bounce
        assert bounce is not None
        message = email.message_from_bytes(bounce[1], policy=email.policy.SMTP)
        parts = message.get_payload()
        assert isinstance(parts, list)
        status, original = parts[1], parts[2]
        assert isinstance(status, email.message.Message)
        assert isinstance(original, email.message.Message)
        groups = status.get_payload()
        assert isinstance(groups, list)
        return message, "\n".join(map(str, groups)), str(original.get_payload())

    def test_header(self) -> None:
        """Q-36: from the postmaster to the sender, referring to the original."""
        message, _, original = self.read(PERMANENT, job())
        self.assertEqual(message["From"], "postmaster@mx.ours.example")
        self.assertEqual(message["To"], "alice@ours.example")
        self.assertEqual(message["References"], "<1@ours.example>")
        self.assertEqual(message["Message-Id"], "<u1@mx.ours.example>")
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertIn("Subject: hello", original)

    def test_fields(self) -> None:
        """Q-37: who, what, whose words, when it came and when it was tried last."""
        _, fields, _ = self.read(PERMANENT, job(future_release="for;60"))
        for line in (
            "Reporting-MTA: dns; mx.ours.example",
            "Arrival-Date: 1 Mar 2026 11:00:00 +0000",
            "Future-Release-Request: for;60",
            "Final-Recipient: rfc822; bob@theirs.example",
            "Action: failed",
            "Status: 5.1.1 (no such user)",
            "Remote-MTA: dns; mx.theirs.example (192.0.2.7)",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user",
            "Last-Attempt-Date: 1 Mar 2026 11:59:57 +0000",
        ):
            self.assertIn(line, fields)

    def test_class_after_delays(self) -> None:
        """Q-37: a final failure after 4xx has class 5, and keeps the remote's words."""
        _, fields, _ = self.read(TRANSIENT, job(attempts=8))
        self.assertIn("Status: 5.7.1", fields)
        self.assertIn("Diagnostic-Code: smtp; 451-4.7.1 come", fields)

    def test_no_remote(self) -> None:
        """Q-37: where nobody answered there is neither Remote-MTA nor Diagnostic-Code."""
        _, fields, _ = self.read(UNREACHED, job(attempts=8))
        self.assertIn("Status: 5.0.0 (no connection)", fields)
        self.assertNotIn("Remote-MTA", fields)
        self.assertNotIn("Diagnostic-Code", fields)

    def test_smtputf8(self) -> None:
        """Q-36: what reports on an internationalized message may be so itself."""
        path = Path("jürgen", parse_domain("theirs.example"))
        bounce = settled(PERMANENT, job(smtputf8=True, forward_path=path)).bounce
        assert bounce is not None
        self.assertIn(b"message/global-delivery-status", bounce[1])
        self.assertIn("jürgen@theirs.example".encode(), bounce[1])


class WishesTests(unittest.SynchronousTestCase):
    """What the sender wanted to hear (S-68).  RFC 3461."""

    def told(self, notify: str, outcome: Outcome, **changes: object) -> bytes:
        """The report, or empty for none."""
        one = job(wishes=Wishes(notify=Notify.parse(notify)), **changes)
        bounce = settled(outcome, one).bounce
        self.assertEqual(bounce is not None, bounces(one, outcome, QueueSettings()))
        return b"" if bounce is None else bounce[1]

    def test_occasions(self) -> None:
        """
        S-68: failure is told unless NOTIFY leaves it out, success only if NOTIFY
        has it, as relayed.  RFC 3461 sections 4.1 and 5.2.2.
        """
        expected = {
            "": (True, False),
            "NEVER": (False, False),
            "SUCCESS": (False, True),
            "FAILURE": (True, False),
            "DELAY": (False, False),
            "SUCCESS,FAILURE,DELAY": (True, True),
        }
        found = {
            notify: (
                b"Action: failed" in self.told(notify, PERMANENT),
                b"Action: relayed" in self.told(notify, DELIVERED),
            )
            for notify in expected
        }
        self.assertEqual(found, expected)
        self.assertEqual({self.told(notify, TRANSIENT) for notify in expected}, {b""})

    def test_handed_on(self) -> None:
        """
        S-68: who was handed the wishes reports success by himself, so that nothing
        is said of relaying.  RFC 3461 section 5.2.1.
        """
        handed = replace(DELIVERED, handed_on=True)
        self.assertEqual(self.told("SUCCESS", handed), b"")
        self.assertEqual(self.told("SUCCESS", handed, account=""), b"")

    def test_envelope(self) -> None:
        """
        S-68: ENVID and ORCPT come back in every report.  RFC 3461 sections 4.2,
        4.4 and 6.3.
        """
        wishes = Wishes(
            envelope_id="QQ314159",
            original_recipient="rfc822;Bob@old.example",
            notify=Notify.parse("SUCCESS,FAILURE,DELAY"),
        )
        for outcome, attempts in ((PERMANENT, 1), (DELIVERED, 1), (TRANSIENT, 5)):
            bounce = settled(outcome, job(wishes=wishes, attempts=attempts)).bounce
            assert bounce is not None
            self.assertIn(b"Original-Envelope-ID: QQ314159\r\n", bounce[1])
            self.assertIn(b"Original-Recipient: rfc822;Bob@old.example\r\n", bounce[1])

    def test_null_sender(self) -> None:
        """Q-35: whatever NOTIFY asks for, the null sender is told nothing."""
        for outcome in (PERMANENT, DELIVERED):
            self.assertEqual(self.told("SUCCESS,FAILURE", outcome, reverse_path=None), b"")

    def test_relayed(self) -> None:
        """
        S-68, Q-37: a report of success says so in its subject, to people, and with
        class 2, and quotes what the next hop said.  RFC 3461 section 6.3.
        """
        report = self.told("SUCCESS", DELIVERED)
        for line in (
            b"Subject: Mail relayed\r\n", b"Status: 2.0.0\r\n",
            b"Your message was handed to a server that reports no deliveries, for\r\n",
            b"Remote-MTA: dns; mx.theirs.example (192.0.2.7)\r\n",
            b"Diagnostic-Code: smtp; 250 2.0.0 ok\r\n",
        ):  # fmt: skip
            self.assertIn(line, report)
        self.assertNotIn(b"tried", report)

    def test_words(self) -> None:
        """
        Q-37: ENVID comes back as Original-Envelope-Id, ORCPT as Original-Recipient.
        RFC 3461 sections 6.3 and 6.4.
        """
        wishes = Wishes(envelope_id="QQ 314159", original_recipient="rfc822;bob+list@example")
        bounce = settled(PERMANENT, job(wishes=wishes)).bounce
        assert bounce is not None
        self.assertIn(b"\r\nOriginal-Envelope-ID: QQ 314159\r\n", bounce[1])
        self.assertIn(b"\r\nOriginal-Recipient: rfc822;bob+list@example\r\n", bounce[1])

    def test_whole_message(self) -> None:
        """
        Q-36: with RET=FULL a report of failure brings back the message, if all of it
        could be read; a report of success the header only.  RFC 3461 section 4.3.
        """
        whole = HEADER + b"what I wrote\r\n"
        for returns, header, outcome, is_whole in (
            (ReturnContent.FULL, whole, PERMANENT, True),
            (ReturnContent.FULL, whole[:-2], PERMANENT, False),
            (ReturnContent.FULL, whole, DELIVERED, False),
            (ReturnContent.HEADERS, whole, PERMANENT, False),
            (ReturnContent.UNSET, whole, PERMANENT, False),
        ):
            wishes = Wishes(returns=returns, notify=Notify.parse("SUCCESS,FAILURE"))
            one = job(wishes=wishes, size=len(whole))
            bounce = settled(outcome, one, header=header).bounce
            assert bounce is not None
            self.assertEqual(b"what I wrote" in bounce[1], is_whole, (returns, outcome))
            self.assertEqual(b"message/rfc822\r\n" in bounce[1], is_whole)

    def test_large_message(self) -> None:
        """Of a large message the header comes back, whatever RET says."""
        wishes = Wishes(returns=ReturnContent.FULL)
        self.assertTrue(returns_all(job(wishes=wishes, size=MAXIMUM_RETURNED)))
        self.assertFalse(returns_all(job(wishes=wishes, size=MAXIMUM_RETURNED + 1)))


class DelayTests(unittest.SynchronousTestCase):
    """One notice of a long delay."""

    def test_once(self) -> None:
        """Q-13: after attempt 5 that failed, and no other, the sender hears of the delay."""
        told = [
            number
            for number in range(1, 9)
            if (bounce := settled(TRANSIENT, job(attempts=number)).bounce) is not None
            and b"Action: delayed" in bounce[1]
        ]
        self.assertEqual(told, [5])
        self.assertIsInstance(settled(TRANSIENT, job(attempts=5)).fate, Retry)

    def test_only_if_more_attempts_remain(self) -> None:
        """Q-13: whose attempt 5 is the last hears of the failure instead."""
        bounce = settled(TRANSIENT, job(attempts=5, max_attempts=5)).bounce
        assert bounce is not None
        self.assertIn(b"Action: failed", bounce[1])

    def test_until(self) -> None:
        """
        Q-13: Will-Retry-Until is the last attempt and the intervals to come, 14
        hours, and the text lists the same intervals.
        """
        late = job(attempts=5, last_attempt=NOON - timedelta(seconds=3))
        bounce = settled(TRANSIENT, late).bounce
        assert bounce is not None
        message, content = bounce
        self.assertEqual(message.subject, "Mail delivery delayed")
        self.assertIn(b"Will-Retry-Until: 2 Mar 2026 01:59:57 +0000\r\n", content)
        self.assertIn(b"\r\n    2 hours, 4 hours, 8 hours\r\n", content)
        self.assertIn(b"It will be tried until 2 Mar 2026 01:59:57 +0000.", content)
        self.assertIn(b"Status: 4.7.1 (greylisted)", content)

    def test_odd_intervals(self) -> None:
        """Q-13: with another first interval other times are told."""
        quick = QueueSettings(retry_after=timedelta(seconds=100))
        bounce = settled(TRANSIENT, job(attempts=5), settings=quick).bounce
        assert bounce is not None
        self.assertIn(
            b"26 minutes 40 seconds, 53 minutes 20 seconds, 1 hour 46 minutes 40\r\n", bounce[1]
        )

    def test_notify(self) -> None:
        """Q-13: who asked not to hear of delays does not.  RFC 3461 section 4.1."""
        expected = {"": True, "NEVER": False, "FAILURE,SUCCESS": False, "DELAY": True}
        found = {
            notify: settled(
                TRANSIENT, job(attempts=5, wishes=Wishes(notify=Notify.parse(notify)))
            ).bounce
            is not None
            for notify in expected
        }
        self.assertEqual(found, expected)

    def test_not_of_reports(self) -> None:
        """Q-35: reports of ours never have notices of a delay."""
        for kind in ("dmarc", "tls"):
            one = job(attempts=5, report=kind, account="", max_attempts=8)
            settlement = settled(TRANSIENT, one, account=None)
            self.assertEqual((settlement.bounce, settlement.report), (None, None))


class ReportTests(unittest.SynchronousTestCase):
    """Reports of ours that did not arrive."""

    def test_folder(self) -> None:
        """Q-35: such failures go, marked seen, into a folder below the postmaster's mailbox."""
        for kind, folder in (("dmarc", "dmarc"), ("tls", "tlsrpt")):
            for owner in ("", "alice"):
                one = job(report=kind, account=owner)
                settlement = settled(PERMANENT, one, postmaster_mailbox="Admin")
                self.assertIsNone(settlement.report)
                assert settlement.bounce is not None
                message, content = settlement.bounce
                self.assertEqual(
                    (message.account, message.mailbox, message.flags),
                    ("postmaster", f"Admin/{folder}", "S"),
                )
                self.assertIn(b"Action: failed", content)

    def test_attempts(self) -> None:
        """Q-12: reports are tried five times, unless their row says otherwise."""
        self.assertIsInstance(settled(TRANSIENT, job(report="tls", attempts=4)).fate, Retry)
        self.assertIsInstance(settled(TRANSIENT, job(report="tls", attempts=5)).fate, Retired)
        own = job(report="tls", attempts=5, max_attempts=6)
        self.assertIsInstance(settled(TRANSIENT, own).fate, Retry)

    def test_other_mail(self) -> None:
        """Q-35: other mail is not marked; the postmaster reads it in his own mailbox."""
        bounce = settled(PERMANENT).bounce
        assert bounce is not None
        self.assertEqual((bounce[0].mailbox, bounce[0].flags), ("Inbox", ""))
        bounce = settled(PERMANENT, account=None, postmaster_mailbox="Admin").bounce
        assert bounce is not None
        self.assertEqual((bounce[0].account, bounce[0].mailbox), ("postmaster", "Admin"))
