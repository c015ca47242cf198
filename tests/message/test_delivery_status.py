"""Notifications of others, read."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.delivery_status import (
    MAXIMUM_STATUS,
    InvalidStatus,
    RecipientStatus,
    parse_delivery_status,
    status_in,
)
from moxsmtp.message.dsn import Action, Form, compose_dsn
from moxsmtp.message.structure import parse_structure
from tests.message.test_dsn import DSN, REPORT, WIDE

MESSAGE = "Reporting-MTA: dns; mx.example\r\nArrival-Date: 1 Jan 2026 00:00:00 +0000\r\n"
RECIPIENT = (
    "Final-Recipient: rfc822; bob@example.org\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.7.26 no such user\r\n"
)
USUAL = RecipientStatus(Action.FAILED, 550, "7.26", "550 5.7.26 no such user")


def read(recipient: str = RECIPIENT, message: str = MESSAGE) -> RecipientStatus:
    """What one group about a recipient says."""
    return parse_delivery_status(f"{message}\r\n{recipient}".encode())


def diagnosed(diagnostic: str, status: str = "5.0.0") -> RecipientStatus:
    """What a diagnostic code says."""
    return read(
        "Final-Recipient: rfc822; bob@example.org\r\nAction: failed\r\n"
        f"Status: {status}\r\nDiagnostic-Code: {diagnostic}\r\n"
    )


class FieldTests(SynchronousTestCase):
    """Groups of fields."""

    def test_usual(self) -> None:
        """Q-41: a group of the message, a blank line, a group of the recipient."""
        self.assertEqual(read(), USUAL)

    def test_required(self) -> None:
        """Q-41: Reporting-MTA, Final-Recipient, Action and Status have to be there."""
        whole = f"{MESSAGE}\r\n{RECIPIENT}"
        for name in ("Reporting-MTA", "Final-Recipient", "Action", "Status"):
            broken = whole.replace(f"{name}:", f"X-{name}:")
            self.assertRaises(InvalidStatus, parse_delivery_status, broken.encode())
        self.assertEqual(read(message="Reporting-MTA: dns; mx.example\r\n"), USUAL)

    def test_required_and_bad(self) -> None:
        """Q-41: one that is required and says nothing makes the whole unrecognized."""
        for good, bad in (
            ("dns; mx.example", "mx.example"),
            ("dns; mx.example", "dns;"),
            ("dns; mx.example", "(dns;) mx.example"),
            ("rfc822; bob@example.org", "bob@example.org"),
            ("rfc822; bob@example.org", ""),
            ("Action: failed", "Action: exploded"),
            ("Action: failed", "Action: failed; delayed"),
            ("Action: failed", "Action:"),
            ("Status: 5.1.1", "Status: 5.1"),
            ("Status: 5.1.1", "Status: 3.1.1"),
            ("Status: 5.1.1", "Status: 5.1.1.1"),
            ("Status: 5.1.1", "Status: 5.1.1234"),
            ("Status: 5.1.1", "Status: (5.1.1)"),
        ):
            whole = f"{MESSAGE}\r\n{RECIPIENT}".replace(good, bad)
            self.assertRaises(InvalidStatus, parse_delivery_status, whole.encode())

    def test_twice(self) -> None:
        """Q-41: a field stands in a group once, whatever it says; in both groups it may."""
        for line in ("Action: failed", "STATUS: 5.1.1", "Diagnostic-Code: smtp; 550 x"):
            self.assertRaises(InvalidStatus, read, RECIPIENT + line + "\r\n")
        self.assertRaises(InvalidStatus, read, message=MESSAGE + MESSAGE)
        for name in (
            "Original-Envelope-Id", "Reporting-MTA", "DSN-Gateway", "Received-From-MTA",
            "Arrival-Date", "Original-Recipient", "Final-Recipient", "Action", "Status",
            "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date", "Final-Log-ID",
            "Will-Retry-Until",
        ):  # fmt: skip
            self.assertRaises(InvalidStatus, read, f"{RECIPIENT}{name}: x\r\n{name}: x\r\n")
        self.assertEqual(read(RECIPIENT + "Arrival-Date: x\r\n"), USUAL)
        self.assertEqual(read(f"{RECIPIENT}X-Note: a\r\nX-Note: b\r\n"), USUAL)

    def test_one_recipient(self) -> None:
        """Q-41: there is exactly one group of a recipient."""
        for body in (b"", MESSAGE.encode(), f"{MESSAGE}{RECIPIENT}".encode()):
            self.assertRaises(InvalidStatus, parse_delivery_status, body)
        self.assertRaises(InvalidStatus, read, f"{RECIPIENT}\r\n{RECIPIENT}")

    def test_blank_lines(self) -> None:
        """Q-41: more blank lines than one, before and behind, and with spaces, do no harm."""
        body = f"\r\n \r\n{MESSAGE}\r\n\t\r\n\r\n{RECIPIENT}\r\n\r\n"
        self.assertEqual(parse_delivery_status(body.encode()), USUAL)

    def test_line_ends(self) -> None:
        """Lines may end with CRLF, LF or CR, and the last one with nothing."""
        whole = f"{MESSAGE}\r\n{RECIPIENT}"
        for end in ("\r\n", "\n", "\r"):
            body = whole.replace("\r\n", end)
            self.assertEqual(parse_delivery_status(body.encode()), USUAL)
            self.assertEqual(parse_delivery_status(body.strip().encode()), USUAL)

    def test_folded(self) -> None:
        """Fields may be folded, and names and words be in any case."""
        self.assertEqual(
            read(
                "FINAL-RECIPIENT:RFC822;\r\n bob@example.org\r\naction :\r\n\tFAILED\r\n"
                "status: 5.1.1\r\ndiagnostic-code: SMTP;\r\n 550 5.7.26 no\r\n such user\r\n"
            ),
            USUAL,
        )

    def test_comments(self) -> None:
        """Q-41: comments, nested and quoted, are no part of what is said."""
        self.assertEqual(
            read(
                "Final-Recipient: rfc822 (a (nested) one) ; bob@example.org\r\n"
                'Action: (not "delayed") failed (\\) really)\r\n'
                "Status: (permanent) 5.1.1 (no such user\r\n"
                "Diagnostic-Code: (by) smtp (us); 550 5.7.26 no such user\r\n"
            ),
            USUAL,
        )

    def test_optional_and_bad(self) -> None:
        """Q-41: what is optional and malformed, or no field at all, is passed over."""
        noise = (
            "Last-Attempt-Date: yesterday\r\nRemote-MTA: ???\r\nWill-Retry-Until:\r\n"
            "no field at all\r\n and its continuation\r\n: neither\r\nOriginal-Recipient: x\r\n"
        )
        self.assertEqual(read(RECIPIENT + noise), USUAL)
        self.assertEqual(read(noise + RECIPIENT), USUAL)

    def test_actions(self) -> None:
        """Q-42: the five actions of RFC 3464 section 2.3.3."""
        words = ["failed", "delayed", "delivered", "relayed", "expanded"]
        found = [read(RECIPIENT.replace("failed", word.title())).action for word in words]
        self.assertEqual(found, words)


class CodeTests(SynchronousTestCase):
    """The SMTP code."""

    def test_diagnostic(self) -> None:
        """Q-42: three digits, space or dash, and perhaps an enhanced code."""
        expected = {
            "smtp; 550 5.1.1 no such user": (550, "1.1"),
            "smtp; 550-5.7.26 unauthenticated": (550, "7.26"),
            "smtp;451 4.7.1 later": (451, "7.1"),
            "smtp; 550 no such user": (550, ""),
            "smtp; 550-no such user": (550, ""),
            "smtp; 550": (550, ""),
            "smtp; 550 #5.1.0 address rejected": (550, "1.0"),
            "smtp; (mx.example) 552 5.2.2 full": (552, "2.2"),
            "smtp; 250 2.1.5 ok": (250, "1.5"),
            "smtp; 550 5.1.1.1 what": (550, ""),
            "smtp; 550 5.1.1234 what": (550, ""),
            "smtp; 550 5.01.001 zeros": (550, "1.1"),
        }
        found = {text: diagnosed(text) for text in expected}
        self.assertEqual(
            {text: (status.code, status.status) for text, status in found.items()}, expected
        )

    def test_other_diagnostics(self) -> None:
        """Q-42: where it is of another type, or no reply, the status says 500, or 400."""
        for text in (
            "X-Postfix; 550 5.1.1 unknown user",
            "x-unix; 67",
            "smtp; no such user",
            "smtp; 5501 x",
            "smtp; 150 x",
            "smtp; 5.1.1 x",
            "550 5.1.1 without a type",
            "",
        ):
            self.assertEqual((diagnosed(text, "5.2.1").code, diagnosed(text, "5.2.1").status),
                             (500, "2.1"))  # fmt: skip
            self.assertEqual((diagnosed(text, "4.4.7").code, diagnosed(text, "4.4.7").status),
                             (400, "4.7"))  # fmt: skip
            self.assertEqual((diagnosed(text, "2.0.0").code, diagnosed(text, "2.0.0").status),
                             (0, ""))  # fmt: skip

    def test_words(self) -> None:
        """What is said for people is that of the diagnostic, of whatever type, or the status."""
        self.assertEqual(diagnosed("X-Postfix; unknown\r\n user").text, "unknown user")
        self.assertEqual(diagnosed("", "5.1.1 (gone)").text, "5.1.1 (gone)")


class KindsTests(SynchronousTestCase):
    """The ways in which much-used servers write."""

    def test_kinds(self) -> None:
        """Q-41, Q-42: what stands in most bounces that come is understood."""
        kinds = {
            # Postfix, of what it could not pass on by itself
            "Reporting-MTA: dns; mx.example\nX-Postfix-Queue-ID: 4ABC\n"
            "X-Postfix-Sender: rfc822; a@b.example\nArrival-Date: Sun,  1 Mar 2026 12:00:00 +0000"
            " (UTC)\n\nFinal-Recipient: rfc822; c@d.example\n"
            "Original-Recipient: rfc822;c@d.example\nAction: failed\nStatus: 5.4.4\n"
            "Diagnostic-Code: X-Postfix; Host or domain name not found\n": (500, "4.4"),
            # Postfix, of what another server said
            "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; c@d.example\n"
            "Action: failed\nStatus: 5.7.26\nRemote-MTA: dns; mx.d.example\n"
            "Diagnostic-Code: smtp; 550-5.7.26 This mail is unauthenticated, which\n"
            "    550-5.7.26 is a risk. 550 5.7.26 (in reply to end of DATA command)\n":
                (550, "7.26"),
            # no space behind the semicolon, and one more of them in the text
            "Original-Envelope-Id: <x@y>\nReporting-MTA: dns;a.example\n"
            "Received-From-MTA: dns;[192.0.2.1]\n\nFinal-Recipient: rfc822;c@d.example\n"
            "Action: failed\nStatus: 5.1.10\nDiagnostic-Code: smtp;550 5.1.10 R.ADR.NotFound;"
            " not found by address lookup\nX-Display-Name: C\n": (550, "1.10"),
            # the name of a remote with a full stop and a comment
            "Reporting-MTA: dns; a.example\nX-Original-Message-ID: <x@y>\n\n"
            "Final-Recipient: rfc822; c@d.example\nAction: failed\nStatus: 5.1.1\n"
            "Remote-MTA: dns; mx.d.example. (192.0.2.1, the server for d.example.)\n"
            "Diagnostic-Code: smtp; 550-5.1.1 There is no such\n 550 5.1.1 account.\n"
            "Last-Attempt-Date: Sun, 01 Mar 2026 12:00:00 -0800 (PST)\n": (550, "1.1"),
            # another order of fields
            "Reporting-MTA: dns; a.example\n\nAction: failed\n"
            "Final-Recipient: rfc822; c@d.example\nDiagnostic-Code: smtp; 552 4.2.2 over quota\n"
            "Status: 4.2.2\n\n": (552, "2.2"),
            # a status with words behind it, and nothing else
            "Reporting-MTA: x-local-hostname; a\n\nFinal-Recipient: RFC822; <c@d.example>\n"
            "Action: Failed\nStatus: 5.0.0 (permanent failure)\n": (500, "0.0"),
        }  # fmt: skip
        found = {text: parse_delivery_status(text.encode()) for text in kinds}
        self.assertEqual(
            {text: (status.code, status.status) for text, status in found.items()}, kinds
        )
        self.assertEqual({status.action for status in found.values()}, {Action.FAILED})


class HostileTests(SynchronousTestCase):
    """Input made to hurt."""

    def test_long_words(self) -> None:
        """What is kept for people is on one line, and short."""
        text = diagnosed("smtp; 550 5.1.1 " + "no\x07way \x1b[2J " * 3000).text
        self.assertLessEqual(len(text), 500)
        self.assertTrue(text.isprintable())

    def test_much(self) -> None:
        """What exceeds the limit is not read, also if it would be a violation."""
        fill = "X-Fill: " + "x" * 70 + "\r\n"
        body = f"{MESSAGE}\r\n{RECIPIENT}" + fill * (MAXIMUM_STATUS // len(fill) + 1)
        self.assertEqual(parse_delivery_status(f"{body}Action: x\r\n".encode()), USUAL)

    def test_time(self) -> None:
        """
        No nesting, folding or repetition makes time grow faster than length: it
        would not end today.
        """
        size = MAXIMUM_STATUS
        for body in (
            "(" * size,
            "Action: " + "(" * size,
            f"{MESSAGE}\r\nFinal-Recipient: " + "(a\\)" * (size // 4),
            f"{MESSAGE}\r\nFinal-Recipient: " + " ;" * (size // 2),
            f"{MESSAGE}\r\nFinal-Recipient: " + '"' * size,
            f"{MESSAGE}\r\n{RECIPIENT}X: a\r\n" + " b\r\n" * (size // 4),
            f"{MESSAGE}\r\n{RECIPIENT}" + "a:\r\n" * (size // 4),
            MESSAGE + "\r\n" * (size // 2) + RECIPIENT,
            "a" * size + ":",
            " " * size,
            f"{MESSAGE}\r\n{RECIPIENT}".replace("smtp;", "smtp;" + " " * (size - 500)),
            f"{MESSAGE}\r\n{RECIPIENT}".replace("smtp;", "smtp;" + "(" * (size - 500)),
        ):
            with contextlib.suppress(InvalidStatus):
                parse_delivery_status(body.encode())

    def test_piece_by_piece(self) -> None:
        """Cut anywhere it is understood, or not; never does it say something else."""
        whole = f"{MESSAGE}\r\n{RECIPIENT}".encode()
        complete = len(whole.partition(b"\r\nDiagnostic")[0])
        for length in range(len(whole)):
            try:
                found = parse_delivery_status(whole[:length])
            except InvalidStatus:
                self.assertLess(length, complete)
            else:
                self.assertEqual(found.action, Action.FAILED)
                self.assertIn((found.code, found.status), {(500, "1.1"), (550, ""), (550, "7.2"),
                                                           (550, "7.26")})  # fmt: skip
        self.assertEqual(parse_delivery_status(whole + b"\r\n\r\n"), USUAL)

    @given(st.binary(max_size=300))
    @settings(max_examples=200, deadline=None)
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever octets: understood or not, nothing else."""
        for body in (octets, f"{MESSAGE}\r\n{RECIPIENT}".encode() + octets):
            try:
                found = parse_delivery_status(body)
            except InvalidStatus:
                continue
            self.assertTrue(found.code == 0 or 200 <= found.code <= 599)

    @given(
        st.lists(
            st.sampled_from(
                ["Action: failed", "Status: 5.1.1 (x)", "Final-Recipient: rfc822;a@b", "", " ",
                 "Reporting-MTA: dns;x", "Diagnostic-Code: smtp; 550-5.1.1 x", "(", ")", "\t y",
                 "Action", ":", "X-A: (b"]
            ),
            max_size=20,
        )
    )  # fmt: skip
    @settings(max_examples=200, deadline=None)
    def test_any_lines(self, lines: list[str]) -> None:
        """In whatever order lines stand, what is understood had all that is required."""
        body = "\r\n".join(lines)
        try:
            found = parse_delivery_status(body.encode())
        except InvalidStatus:
            return
        self.assertEqual(found.action, Action.FAILED)
        for line in ("Action: failed", "Status: 5.1.1 (x)", "Final-Recipient: rfc822;a@b",
                     "Reporting-MTA: dns;x"):  # fmt: skip
            self.assertIn(line, lines)


class MessageTests(SynchronousTestCase):
    """Whole messages."""

    def status(self, content: bytes) -> RecipientStatus | None:
        """Of a message."""
        return status_in(content, parse_structure(content))

    def test_our_own(self) -> None:
        """Q-41: what we write we read, in each form and for each action."""
        for dsn, form in ((DSN, Form.ASCII), (WIDE, Form.UTF8), (WIDE, Form.ASCII_OF_UTF8)):
            for action in Action:
                one = replace(dsn, form=form, reports=(replace(dsn.reports[0], action=action),))
                found = self.status(compose_dsn(one))
                assert found is not None
                self.assertEqual((found.action, found.code, found.status), (action, 550, "1.1"))

    def test_hostile_words_of_our_own(self) -> None:
        """Q-37, Q-41: whatever a remote said to us, our report on it can be read."""
        for text in ("(((", ")))", "a\r\nAction: delivered\r\n\r\nAction: x", '"', "\\", "\0"):
            report = replace(REPORT, error=text, reply=f"550 5.1.1 {text}")
            found = self.status(compose_dsn(replace(DSN, reports=(report,))))
            assert found is not None
            self.assertEqual((found.action, found.code), (Action.FAILED, 550))

    def test_base64(self) -> None:
        """RFC 6533 section 3: the part may be encoded."""
        content = compose_dsn(DSN)
        part = parse_structure(content).parts[1]
        encoded = base64.encodebytes(content[part.body : part.end])
        rewritten = (
            content[: part.start]
            + b"Content-Type: message/global-delivery-status\r\n"
            + b"Content-Transfer-Encoding: base64\r\n\r\n"
            + encoded
            + content[part.end :]
        )
        self.assertEqual(self.status(rewritten), self.status(content))

    def test_no_dsn(self) -> None:
        """Q-40: only a multipart/report whose second part is a delivery status is a DSN."""
        content = compose_dsn(DSN)
        for good, bad in (
            (b"multipart/report;", b"multipart/mixed;"),
            (b"message/delivery-status", b"text/plain"),
            (b"message/delivery-status", b"message/disposition-notification"),
        ):
            self.assertIsNone(self.status(content.replace(good, bad)))
        self.assertIsNone(self.status(b"Subject: hello\r\n\r\nI am away.\r\n"))
        self.assertIsNotNone(self.status(content.replace(b"multipart/r", b"MultiPart/R")))

    def test_several_recipients(self) -> None:
        """Q-41: a DSN about several recipients is not understood."""
        self.assertIsNone(self.status(compose_dsn(replace(DSN, reports=(REPORT, REPORT)))))
