"""Delivery status notifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.addresses import addresses
from moxsmtp.message.decoding import decoded
from moxsmtp.message.dsn import Action, Dsn, Form, RecipientReport, compose_dsn
from moxsmtp.message.header import Header, parse_header
from moxsmtp.message.structure import Part, is_dsn, parse_structure
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path

HOSTNAME = parse_domain("mx.example")
IDN = parse_domain("bücher.example")
SENDER = Path("s", parse_domain("a.example"))
RECIPIENT = Path("r", parse_domain("b.example"))
WIDE_SENDER = Path("sü", IDN)
WIDE_RECIPIENT = Path("r+ü", IDN)
ARRIVAL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LAST = datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC)
UNTIL = datetime(2026, 1, 5, 3, 4, 5, tzinfo=UTC)
NOW = datetime(2026, 1, 4, 3, 4, 5, tzinfo=UTC)

ORIGINAL = b"From: s@a.example\r\nSubject: long\r\n and folded\r\n\r\n"

REPORT = RecipientReport(
    recipient=RECIPIENT,
    action=Action.FAILED,
    status="1.1",
    error="no such user",
    remote_name="mx.b.example",
    remote_address=IPv4Address("192.0.2.1"),
    reply="550-5.1.1 no such user\n550 5.1.1 really",
    last_attempt=LAST,
)

DSN = Dsn(
    hostname=HOSTNAME,
    postmaster=Path("postmaster", HOSTNAME),
    sender=SENDER,
    date=NOW,
    boundary="boundary",
    message_id="<new@mx.example>",
    arrival=ARRIVAL,
    reports=(REPORT,),
    original=ORIGINAL,
    references="<old@a.example>",
)

WIDE = replace(
    DSN,
    form=Form.UTF8,
    sender=WIDE_SENDER,
    reports=(replace(REPORT, recipient=WIDE_RECIPIENT),),
    original="Subject: hä\r\n\r\n".encode(),
)


def parts(dsn: Dsn) -> list[tuple[Part, bytes]]:
    """The parts of a DSN with their decoded bodies."""
    content = compose_dsn(dsn)
    return [(one, decoded(content, one, 1 << 30)) for one in parse_structure(content).parts]


def groups(dsn: Dsn) -> list[Header]:
    """The groups of fields of the status part: of the message, then of each recipient."""
    return [parse_header(group) for group in parts(dsn)[1][1].split(b"\r\n\r\n")]


def fields(header: Header) -> list[tuple[str, str]]:
    """Names and unfolded values in their order."""
    return [(name, header.values(name)[0]) for name, _ in header.fields()]


class EnvelopeTests(SynchronousTestCase):
    """Who may get a DSN, and what its header says."""

    def test_null_sender(self) -> None:
        """Q-35: no DSN is ever written to the null sender."""
        self.assertRaises(ValueError, compose_dsn, replace(DSN, sender=None))

    def test_invalid(self) -> None:
        """A DSN reports on somebody, and has a boundary and a Message-ID."""
        for wrong in (
            replace(DSN, reports=()),
            replace(DSN, boundary=""),
            replace(DSN, boundary='a"b'),
            replace(DSN, boundary="b" * 71),
            replace(DSN, message_id="new@mx.example"),
            replace(DSN, message_id="<a@b>\r\nBcc: x"),
        ):
            self.assertRaises(ValueError, compose_dsn, wrong)

    def test_header(self) -> None:
        """Q-36: the header names postmaster, sender, the original, and the kind of report."""
        header = parse_header(compose_dsn(DSN))
        self.assertEqual(
            fields(header),
            [
                ("From", "<postmaster@mx.example>"),
                ("To", "<s@a.example>"),
                ("Subject", "Mail delivery failed"),
                ("Message-Id", "<new@mx.example>"),
                ("References", "<old@a.example>"),
                ("Date", "4 Jan 2026 03:04:05 +0000"),
                ("Auto-Submitted", "auto-replied"),
                ("MIME-Version", "1.0"),
                (
                    "Content-Type",
                    'multipart/report; report-type="delivery-status"; boundary="boundary"',
                ),
            ],
        )
        self.assertTrue(is_dsn(parse_structure(compose_dsn(DSN))))

    def test_subject_of_a_delay(self) -> None:
        """Q-36: a delay is not called a failure."""
        delayed = replace(DSN, reports=(replace(REPORT, action=Action.DELAYED),))
        self.assertEqual(
            parse_header(compose_dsn(delayed)).text("Subject"), "Mail delivery delayed"
        )

    def test_bad_references(self) -> None:
        """Q-36: References is left out if the original has no usable Message-ID."""
        for text in ("", "x", "<a b>", "<a@b>\r\nBcc: c@d.example", "<ä@b>"):
            header = parse_header(compose_dsn(replace(DSN, references=text)))
            self.assertFalse(header.has("References") or header.has("Bcc"), text)

    def test_sender_that_ascii_cannot_hold(self) -> None:
        """Q-36: in an ASCII DSN such a sender is named by an empty group (RFC 6857)."""
        header = parse_header(compose_dsn(replace(WIDE, form=Form.ASCII_OF_UTF8)))
        self.assertEqual(header.values("To"), ['"s\\\\x{FC}@xn--bcher-kva.example" :;'])
        self.assertEqual(addresses(header, "To"), ())


class FormTests(SynchronousTestCase):
    """The table of Q-36."""

    def test_types(self) -> None:
        """Q-36: types, charsets and encodings of the three parts, in each of the three forms."""
        forms = (DSN, WIDE, replace(WIDE, form=Form.ASCII_OF_UTF8))
        found = [
            [
                (one.content_type, one.parameters.get("charset"), one.encoding)
                for one, _ in parts(dsn)
            ]
            for dsn in forms
        ]
        self.assertEqual(
            found,
            [
                [
                    ("text/plain", "us-ascii", "7bit"),
                    ("message/delivery-status", None, "7bit"),
                    ("text/rfc822-headers", None, "7bit"),
                ],
                [
                    ("text/plain", "utf-8", "8bit"),
                    ("message/global-delivery-status", None, "8bit"),
                    ("message/global-headers", None, "8bit"),
                ],
                [
                    ("text/plain", "us-ascii", "7bit"),
                    ("message/delivery-status", None, "7bit"),
                    ("text/rfc822-headers", "utf-8", "base64"),
                ],
            ],
        )

    def test_only_ascii(self) -> None:
        """Q-36: an ASCII DSN has no octet above 127, whatever it reports on."""
        strange = replace(
            REPORT, recipient=WIDE_RECIPIENT, error="ä", reply="550 ä", remote_name="ä",
            original_recipient="utf-8;ä@b.example",
        )  # fmt: skip
        for form in (Form.ASCII, Form.ASCII_OF_UTF8):
            dsn = replace(WIDE, form=form, reports=(strange,), envelope_id="ä")
            self.assertTrue(compose_dsn(dsn).isascii())

    def test_original(self) -> None:
        """Q-36: the header section comes back as it was, and no body with it."""
        self.assertEqual(parts(DSN)[2][1], ORIGINAL.removesuffix(b"\r\n"))
        self.assertEqual(parts(replace(DSN, original=ORIGINAL + b"secret"))[2][1], parts(DSN)[2][1])

    def test_unwritable_original(self) -> None:
        """Q-36: octets that a line may not hold come back in base64, unharmed."""
        for section in (
            b"Subject: \xe4\r\n",
            b"Subject: " + b"x" * 998 + b"\r\n",
            b"Subject: \0\r\n",
            b"Subject: a\rb\r\n",
            b"Subject: a\r\n--boundary\r\n",
        ):
            for form in Form:
                one, body = parts(replace(DSN, form=form, original=section + b"\r\n"))[2]
                self.assertEqual((one.encoding, body), ("base64", section))

    def test_whole_message(self) -> None:
        """
        Where all of the message is wanted and can be had, it comes as it is, else its
        header section does (Q-36).  RFC 3461 section 4.3, RFC 2046 section 5.2.1.
        """
        body = b"\r\n--bound-of-it\r\ntext\r\n"
        wide = "t\u00e4xt\r\n".encode()
        header, accented = b"Subject: a\r\n", "Subject: \u00e4\r\n".encode()
        both, globally = {Form.ASCII: "message/rfc822", Form.UTF8: "message/global"}, {
            Form.UTF8: "message/global"
        }  # fmt: skip
        table: dict[bytes, dict[Form, str]] = {
            header + body: both,
            header + body + wide: both,
            header.replace(b"\r", b"") + b"\ntext\n": both,
            accented + body: globally,
            b"Subject: \xe4\r\n" + body: {},
            header + body + b"--boundary\r\n": {},
            header + body + b"a\0b\r\n": {},
            header + body + b"a\rb\r\n": {},
            header + body + b"x" * 999 + b"\r\n": {},
        }
        for message, forms in table.items():
            for form in Form:
                dsn = replace(DSN, form=form, original=message, full=True, boundary="boundary")
                (_, said), _, (returned, octets) = parts(dsn)
                expected = forms.get(form)
                self.assertEqual(
                    returned.content_type in {"message/rfc822", "message/global"},
                    expected is not None,
                    (message, form),
                )
                if expected is not None:
                    self.assertEqual(returned.content_type, expected)
                    self.assertEqual(octets, message.replace(b"\r", b"").replace(b"\n", b"\r\n"))
                    is_wide = not message.isascii() or form.is_utf8
                    self.assertEqual(returned.encoding, "8bit" if is_wide else "7bit")
                    whole = parse_structure(compose_dsn(dsn))
                    self.assertEqual(whole.encoding, "8bit" if is_wide else "")
                self.assertEqual(b"Your message follows" in said, expected is not None)

    def test_label_of_the_whole(self) -> None:
        """A message that holds 8-bit parts says so itself (RFC 2045 section 6.4)."""
        self.assertEqual(parse_structure(compose_dsn(WIDE)).encoding, "8bit")
        self.assertEqual(parse_structure(compose_dsn(DSN)).encoding, "")


class StatusTests(SynchronousTestCase):
    """The fields for programs."""

    def test_message_group(self) -> None:
        """Q-37: what is known of the message stands in the first group, in order."""
        self.assertEqual(
            fields(groups(DSN)[0]),
            [("Reporting-MTA", "dns; mx.example"), ("Arrival-Date", "2 Jan 2026 03:04:05 +0000")],
        )
        full = replace(
            DSN, envelope_id="env", gateway=parse_domain("gw.example"), received_from=IDN,
            future_release="for;3600",
        )  # fmt: skip
        self.assertEqual(
            fields(groups(full)[0]),
            [
                ("Original-Envelope-ID", "env"),
                ("Reporting-MTA", "dns; mx.example"),
                ("DSN-Gateway", "dns; gw.example"),
                ("Received-From-MTA", "dns; xn--bcher-kva.example"),
                ("Arrival-Date", "2 Jan 2026 03:04:05 +0000"),
                ("Future-Release-Request", "for;3600"),
            ],
        )

    def test_failed(self) -> None:
        """Q-37: a failure that a remote answered, with its name, address and whole answer."""
        report = replace(REPORT, original_recipient="rfc822;R@b.example", retry_until=UNTIL)
        self.assertEqual(
            fields(groups(replace(DSN, reports=(report,)))[1]),
            [
                ("Original-Recipient", "rfc822;R@b.example"),
                ("Final-Recipient", "rfc822; r@b.example"),
                ("Action", "failed"),
                ("Status", "5.1.1 (no such user)"),
                ("Remote-MTA", "dns; mx.b.example (192.0.2.1)"),
                ("Diagnostic-Code", "smtp; 550-5.1.1 no such user 550 5.1.1 really"),
                ("Last-Attempt-Date", "3 Jan 2026 03:04:05 +0000"),
            ],
        )

    def test_delivered(self) -> None:
        """
        A delivery has class 2 and nothing about attempts to come; what a failure
        beside it says, the subject says.  RFC 3464 section 2.3.3.
        """
        report = RecipientReport(recipient=RECIPIENT, action=Action.DELIVERED, last_attempt=LAST)
        dsn = replace(DSN, reports=(report,))
        self.assertEqual(
            fields(groups(dsn)[1]),
            [
                ("Final-Recipient", "rfc822; r@b.example"),
                ("Action", "delivered"),
                ("Status", "2.0.0"),
                ("Last-Attempt-Date", "3 Jan 2026 03:04:05 +0000"),
            ],
        )
        text = parts(dsn)[0][1]
        self.assertIn(b"was delivered to", text)
        self.assertNotIn(b"tried", text)
        subjects = [
            parse_header(compose_dsn(replace(DSN, reports=reports))).text("Subject")
            for reports in ((report,), (report, REPORT), (replace(report, action=Action.RELAYED),))
        ]
        self.assertEqual(subjects, ["Mail delivered", "Mail delivery failed", "Mail relayed"])

    def test_original_recipient(self) -> None:
        """
        An original recipient of type utf-8 is written as it is in UTF-8 DSNs, else as
        utf-8-addr-xtext (Q-37).  RFC 6533 section 4.1.
        """
        report = replace(REPORT, original_recipient="utf-8;j\u00f6 +=\\@b.example")
        found = {
            form: fields(groups(replace(DSN, reports=(report,), form=form))[1])[0][1]
            for form in Form
        }
        escaped = "utf-8;j\\x{F6}\\x{20}\\x{2B}\\x{3D}\\x{5C}@b.example"
        self.assertEqual(
            found,
            {
                Form.UTF8: "utf-8;j\u00f6 +=\\@b.example",
                Form.ASCII: escaped,
                Form.ASCII_OF_UTF8: escaped,
            },
        )

    def test_delayed(self) -> None:
        """Q-37: a delay that nobody answered: class 4, no diagnostic, and until when."""
        report = RecipientReport(
            recipient=RECIPIENT, action=Action.DELAYED, error="no route", last_attempt=LAST,
            retry_until=UNTIL,
        )  # fmt: skip
        self.assertEqual(
            fields(groups(replace(DSN, reports=(report,)))[1]),
            [
                ("Final-Recipient", "rfc822; r@b.example"),
                ("Action", "delayed"),
                ("Status", "4.0.0 (no route)"),
                ("Last-Attempt-Date", "3 Jan 2026 03:04:05 +0000"),
                ("Will-Retry-Until", "5 Jan 2026 03:04:05 +0000"),
            ],
        )

    def test_final_failure_after_4xx(self) -> None:
        """Q-37: Status says class 5, the diagnostic keeps what the remote said."""
        report = replace(REPORT, status="2.2", reply="452 4.2.2 full")
        group = groups(replace(DSN, reports=(report,)))[1]
        self.assertEqual(group.first("Status"), "5.2.2 (no such user)")
        self.assertEqual(group.first("Diagnostic-Code"), "smtp; 452 4.2.2 full")

    def test_several(self) -> None:
        """Q-37: each recipient has a group of its own."""
        other = replace(REPORT, recipient=Path("q", parse_domain("b.example")))
        found = groups(replace(DSN, reports=(REPORT, other)))
        self.assertEqual(
            [group.first("Final-Recipient") for group in found],
            [None, "rfc822; r@b.example", "rfc822; q@b.example"],
        )

    def test_wide_recipient(self) -> None:
        """Q-37: in a UTF-8 DSN as it is, in an ASCII one as numbers (RFC 6533 section 3)."""
        expected: Mapping[Form, str] = {
            Form.UTF8: "utf-8; r+ü@bücher.example",
            Form.ASCII_OF_UTF8: "utf-8; r\\x{2B}\\x{FC}@xn--bcher-kva.example",
        }
        found = {
            form: groups(replace(WIDE, form=form))[1].first("Final-Recipient") for form in expected
        }
        self.assertEqual(found, expected)

    def test_unusable_status(self) -> None:
        """Q-37: a status that is none reads 0.0."""
        for status in ("", "x", "1", "1.1.1", "1.1\r\nX: y", "\u0661.1"):
            report = replace(REPORT, status=status, error="")
            self.assertEqual(groups(replace(DSN, reports=(report,)))[1].first("Status"), "5.0.0")

    def test_address_of_the_remote(self) -> None:
        """Q-37: an IPv6 address stands in the comment too; an unknown one does not."""
        for address, text in ((IPv6Address("2001:db8::1"), " (2001:db8::1)"), (None, "")):
            report = replace(REPORT, remote_address=address)
            self.assertEqual(
                groups(replace(DSN, reports=(report,)))[1].first("Remote-MTA"),
                f"dns; mx.b.example{text}",
            )


class ExplanationTests(SynchronousTestCase):
    """The text for people."""

    def test_failed(self) -> None:
        """Q-37: the body quotes recipient, error and the full reply, line by line."""
        text = parts(DSN)[0][1].decode()
        for line in (
            "    r@b.example",
            "    no such user",
            "    550-5.1.1 no such user",
            "    550 5.1.1 really",
        ):
            self.assertIn(f"\r\n{line}\r\n", text)
        self.assertIn("could not be delivered", text)

    def test_delayed(self) -> None:
        """Q-37: the body of a delay says until when we try."""
        report = replace(REPORT, action=Action.DELAYED, retry_until=UNTIL)
        text = parts(replace(DSN, reports=(report,)))[0][1].decode()
        self.assertIn("has not been delivered yet", text)
        self.assertIn("until 5 Jan 2026 03:04:05 +0000.", text)


class HostileTests(SynchronousTestCase):
    """The words of strangers."""

    def test_injection(self) -> None:
        """Line ends in foreign words start no field, no group, no part."""
        evil = (
            "x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; e@f.example\n--boundary--\r\n"
        )
        report = replace(
            REPORT, error=evil, reply=evil, remote_name=evil, original_recipient=evil, status=evil
        )
        dsn = replace(DSN, reports=(report,), envelope_id=evil, future_release=evil)
        self.assertEqual(len(parts(dsn)), 3)
        found = groups(dsn)
        self.assertEqual(len(found), 2)
        self.assertEqual([group.problems for group in found], [(), ()])
        self.assertEqual(found[1].values("Action"), ["failed"])
        self.assertEqual(found[1].values("Final-Recipient"), ["rfc822; r@b.example"])

    def test_parentheses(self) -> None:
        """Parentheses of strangers neither open nor close a comment of ours."""
        report = replace(REPORT, error=") 2.0.0 (", reply="550 )(", remote_name="a)(")
        group = groups(replace(DSN, reports=(report,)))[1]
        self.assertEqual(
            [group.first(name) for name in ("Status", "Diagnostic-Code", "Remote-MTA")],
            ["5.1.1 (] 2.0.0 [)", "smtp; 550 ][", "dns; a][ (192.0.2.1)"],
        )

    def test_endless(self) -> None:
        """Much of it is cut."""
        report = replace(REPORT, error="x" * 1_000_000, reply="(" * 1_000_000)
        self.assertLess(len(compose_dsn(replace(DSN, reports=(report,)))), 20_000)

    WORDS = st.one_of(
        st.text(max_size=40),
        st.text(alphabet='a ()\\\r\nä😀"', max_size=60),
        st.text(alphabet="aä😀 ", min_size=1, max_size=30).map(lambda text: text * 100),
    )

    @settings(max_examples=150, deadline=None)
    @given(
        WORDS,
        WORDS,
        WORDS,
        st.text(alphabet='aü "\\(+😀', min_size=1, max_size=32),
        st.binary(max_size=2000),
        st.sampled_from(list(Form)),
    )
    def test_always_sound(
        self, error: str, reply: str, other: str, local_part: str, original: bytes, form: Form
    ) -> None:
        """Whatever the words: three parts, lines of at most 998 octets, ASCII where promised."""
        report = replace(
            REPORT, error=error, reply=reply, remote_name=other, original_recipient=other,
            recipient=Path(local_part, IDN),
        )  # fmt: skip
        dsn = replace(
            DSN, reports=(report,), original=original, form=form, sender=Path(local_part, IDN)
        )
        octets = compose_dsn(dsn)
        lines = octets.split(b"\r\n")
        self.assertLessEqual(max(len(line) for line in lines), 998)
        self.assertFalse(any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines))
        self.assertTrue(form is Form.UTF8 or octets.isascii())
        octets.decode()
        found = parse_structure(octets)
        self.assertTrue(is_dsn(found))
        self.assertEqual(len(found.parts), 3)
        self.assertEqual([group.problems for group in groups(dsn)], [(), ()])

    def test_long_domain(self) -> None:
        """A domain whose U-labels would not fit in a line is written with A-labels."""
        wide = parse_domain(".".join(["\U00010380" * 50] * 4))
        self.assertGreater(len(wide.unicode.encode()), 800)
        report = replace(REPORT, recipient=Path("ü" * 64, wide))
        octets = compose_dsn(replace(WIDE, reports=(report,)))
        self.assertIn(wide.ascii.encode(), octets)
        self.assertLessEqual(max(len(line) for line in octets.split(b"\r\n")), 998)
