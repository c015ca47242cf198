"""What webhooks say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv6Address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import HookTarget, OutgoingEvent
from moxsmtp.message.header import parse_header
from moxsmtp.message.structure import parse_structure
from moxsmtp.names import parse_domain
from moxsmtp.queue.job import Failed, Job
from moxsmtp.smtp.address import Path
from moxsmtp.webhooks.payload import (
    MAXIMUM_TEXT,
    Arrival,
    incoming_payload,
    is_automated,
    outgoing_payload,
    wants,
)

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = Job(
    id=7,
    base_id=0,
    account="mox",
    reverse_path=Path("s", parse_domain("a.example")),
    forward_path=Path("r", parse_domain("b.example")),
    queued=WHEN,
    next_attempt=WHEN,
    content=1,
    size=1,
    message_id="<m@a.example>",
    subject="hä",
    from_id="fid",
    extra={"k": "v"},
)
ARRIVAL = Arrival(
    reverse_path=Path("s", parse_domain("bücher.example")),
    forward_path=Path("r", parse_domain("b.example")),
    remote_address=IPv6Address("2001:db8::1"),
    received=WHEN,
)


def outgoing(event: OutgoingEvent, failure: Failed | None = None, job: Job = JOB) -> bytes:
    """The call for an event."""
    return outgoing_payload(job, event, queued=WHEN, failure=failure)


def payload(content: bytes, arrival: Arrival = ARRIVAL) -> bytes:
    """The call for a message that came."""
    header = parse_header(content)
    return incoming_payload(arrival, header, parse_structure(content), content)


def incoming(content: bytes, arrival: Arrival = ARRIVAL) -> dict[str, Any]:
    """The same, read by a consumer once the number is known."""
    found = payload(content, arrival)
    if found.count(b"\0") != 1:
        raise AssertionError("there is not one place for the number")
    read: dict[str, Any] = json.loads(found.replace(b"\0", b"42"))
    return read


class EventTests(SynchronousTestCase):
    """Which events are told."""

    def test_all_by_default(self) -> None:
        """Q-69: no list of events means all of them."""
        target = HookTarget("https://h.example/")
        self.assertEqual([event for event in OutgoingEvent if not wants(target, event)], [])

    def test_chosen(self) -> None:
        """Q-69: with a list, only those on it."""
        target = HookTarget("https://h.example/", events=frozenset({OutgoingEvent.FAILED}))
        self.assertEqual(
            [event for event in OutgoingEvent if wants(target, event)], [OutgoingEvent.FAILED]
        )


class OutgoingTests(SynchronousTestCase):
    """Q-70."""

    def test_delivered(self) -> None:
        """Q-70: names and order are those of mox; a delivery has no code and no error."""
        self.assertEqual(
            outgoing(OutgoingEvent.DELIVERED).decode(),
            '{"Version":0,"Event":"delivered","DSN":false,"Suppressing":false,"QueueMsgID":7,'
            '"FromID":"fid","MessageID":"<m@a.example>","Subject":"hä",'
            '"WebhookQueued":"2026-01-02T03:04:05Z","SMTPCode":0,"SMTPEnhancedCode":"",'
            '"Error":"","Extra":{"k":"v"}}',
        )

    def test_failed(self) -> None:
        """Q-70: a failure tells code, full enhanced code and error."""
        failure = Failed(permanent=True, error="no such user", code=550, status="1.1")
        found = json.loads(outgoing(OutgoingEvent.FAILED, failure))
        self.assertEqual(
            [found[name] for name in ("Event", "SMTPCode", "SMTPEnhancedCode", "Error")],
            ["failed", 550, "5.1.1", "no such user"],
        )

    def test_enhanced_code(self) -> None:
        """Q-70: the class follows the code, else the kind of failure; nothing stays empty."""
        cases = {
            "4.2.2": Failed(permanent=True, error="", code=452, status="2.2"),
            "4.0.0": Failed(permanent=False, error="", code=400, status="0.0"),
            "5.1.1": Failed(permanent=True, error="", code=500, status="1.1"),
            "5.4.4": Failed(permanent=True, error="", status="4.4"),
            "4.4.4": Failed(permanent=False, error="", status="4.4"),
            "": Failed(permanent=True, error="", code=550),
        }
        found = {
            code: json.loads(outgoing(OutgoingEvent.FAILED, failure))["SMTPEnhancedCode"]
            for code, failure in cases.items()
        }
        self.assertEqual(found, {code: code for code in cases})

    def test_flags(self) -> None:
        """Q-70: that it comes from a DSN, and that the address is suppressed, are told."""
        found = json.loads(
            outgoing_payload(JOB, OutgoingEvent.FAILED, queued=WHEN, suppressing=True, is_dsn=True)
        )
        self.assertEqual((found["DSN"], found["Suppressing"]), (True, True))

    def test_never_null(self) -> None:
        """Q-70: Extra is a map, even if empty."""
        found = outgoing(OutgoingEvent.CANCELED, job=replace(JOB, extra={}))
        self.assertTrue(found.endswith(b',"Extra":{}}'))
        self.assertNotIn(b"null", found)

    def test_strange_text(self) -> None:
        """Half characters and NUL make no broken JSON."""
        failure = Failed(permanent=True, error="a\udc80\0\u2028\n")
        found = outgoing(OutgoingEvent.FAILED, failure)
        self.assertEqual(json.loads(found)["Error"], "a?\0\u2028\n")
        self.assertNotIn(b"\0", found)

    def test_zone_needed(self) -> None:
        """A time without zone is refused."""
        self.assertRaises(
            ValueError,
            outgoing_payload,
            JOB,
            OutgoingEvent.FAILED,
            queued=WHEN.replace(tzinfo=None),
        )


class IncomingTests(SynchronousTestCase):
    """Q-71."""

    def test_whole(self) -> None:
        """Q-71: names and order are those of mox, to the octet."""
        content = (
            b'From: "A" <a@x.example>\r\nTo: b@x.example, =?utf-8?q?C=C3=A4?= <c@x.example>\r\n'
            b"Cc: d@x.example\r\nBcc: e@x.example\r\nReply-To: f@x.example\r\n"
            b"Subject: hi\r\nMessage-ID: <1@x>\r\nIn-Reply-To: <0@x>\r\nReferences: <8@x> <9@x>\r\n"
            b"Date: Fri, 2 Jan 2026 04:04:05 +0100\r\n"
            b"Content-Type: Text/Plain; charset=UTF-8\r\nContent-ID: <c@x>\r\n"
            b'Content-Disposition: Inline; filename="f.txt"\r\n\r\nhello\r\n'
        )
        arrival = replace(
            ARRIVAL, reverse_path_validated=True, author_validated=True, dkim_domains=("x.example",)
        )
        self.assertEqual(
            payload(content, arrival).decode(),
            '{"Version":0,"From":[{"Name":"A","Address":"a@x.example"}],'
            '"To":[{"Name":"","Address":"b@x.example"},{"Name":"Cä","Address":"c@x.example"}],'
            '"CC":[{"Name":"","Address":"d@x.example"}],'
            '"BCC":[{"Name":"","Address":"e@x.example"}],'
            '"ReplyTo":[{"Name":"","Address":"f@x.example"}],'
            '"Subject":"hi","MessageID":"<1@x>","InReplyTo":"<0@x>",'
            '"References":["<8@x>","<9@x>"],"Date":"2026-01-02T04:04:05+01:00",'
            '"Text":"hello\\n","HTML":"",'
            '"Structure":{"ContentType":"text/plain","ContentTypeParams":{"charset":"UTF-8"},'
            '"ContentID":"<c@x>","ContentDisposition":"inline","Filename":"f.txt",'
            '"DecodedSize":7,"Parts":[]},'
            '"Meta":{"MsgID":\0,"MailFrom":"s@bücher.example","MailFromValidated":true,'
            '"MsgFromValidated":true,"RcptTo":"r@b.example","DKIMVerifiedDomains":["x.example"],'
            '"RemoteIP":"2001:db8::1","Received":"2026-01-02T03:04:05Z","MailboxName":"Inbox",'
            '"Automated":false}}',
        )

    def test_empty(self) -> None:
        """Q-71: an empty message has empty lists and maps; only Date may be null."""
        found = payload(b"", replace(ARRIVAL, reverse_path=None, remote_address=None))
        self.assertEqual(found.count(b"null"), 1)
        read = json.loads(found.replace(b"\0", b"42"))
        self.assertIsNone(read["Date"])
        self.assertEqual((read["From"], read["References"], read["Text"]), ([], [], ""))
        self.assertEqual(
            (read["Meta"]["MailFrom"], read["Meta"]["RemoteIP"], read["Meta"]["MsgID"]),
            ("", "", 42),
        )
        self.assertEqual(read["Meta"]["DKIMVerifiedDomains"], [])
        self.assertIs(read["Meta"]["MailFromValidated"], False)

    def test_structure(self) -> None:
        """Q-71: parts are told recursively with their decoded sizes."""
        content = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
            b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment; filename*=utf-8''h%C3%A4.pdf\r\n\r\n"
            b"QUJD\r\nREVG\r\n--b--\r\n"
        )
        found = incoming(content)["Structure"]
        self.assertEqual((found["ContentType"], found["DecodedSize"]), ("multipart/mixed", 0))
        self.assertEqual(
            [(one["ContentType"], one["DecodedSize"], one["Filename"]) for one in found["Parts"]],
            [("text/plain", 1, ""), ("application/pdf", 6, "hä.pdf")],
        )

    def test_number_cannot_be_forged(self) -> None:
        """Q-71: NUL in a message, anywhere, leaves one place for the number: MsgID's."""
        content = (
            b'Subject: \0\r\nContent-Type: text/plain; x="\0"\r\nContent-ID: \0\r\n'
            b"From: \0 <\0@x.example>\r\n\r\n\0"
        )
        self.assertIn(b'"Meta":{"MsgID":\0,', payload(content))
        self.assertEqual(incoming(content)["Text"], "\0")

    def test_zones(self) -> None:
        """Q-71: times are RFC 3339 with the zone they came with."""
        received = datetime(2026, 1, 2, 3, 4, 5, 600000, timezone(timedelta(hours=-3.5)))
        found = incoming(
            b"Date: 1 Jan 99999 0:0:0 +9999\r\n\r\n", replace(ARRIVAL, received=received)
        )
        self.assertEqual(found["Meta"]["Received"], "2026-01-02T03:04:05.600000-03:30")
        self.assertIsNone(found["Date"])


TEXT = b"Content-Type: text/plain\r\n\r\nplain"
HTML = b"Content-Type: text/html\r\n\r\n<p>"
OTHER = b"Content-Type: application/x\r\n\r\nother"


def multipart(subtype: str, *inner: bytes, boundary: str = "b") -> bytes:
    """A multipart of these parts."""
    head = f"Content-Type: multipart/{subtype}; boundary={boundary}\r\n\r\n".encode()
    delimiter = f"--{boundary}".encode()
    return head + b"".join(delimiter + b"\r\n" + one + b"\r\n" for one in inner) + delimiter + b"--"


class TextTests(SynchronousTestCase):
    """Q-72: which part is the text."""

    def test_choice(self) -> None:
        """Q-72: the only part; both of an alternative; else the first text child; else deeper."""
        alternative = multipart("alternative", TEXT, HTML, boundary="c")
        related = multipart("related", HTML, OTHER, boundary="d")
        neither = multipart("mixed", OTHER, boundary="e")
        cases = {
            TEXT: ("plain", ""),
            HTML: ("", "<p>"),
            OTHER: ("", ""),
            multipart("alternative", TEXT, HTML): ("plain", "<p>"),
            multipart("alternative", HTML, TEXT, TEXT + b"er"): ("plain", "<p>"),
            multipart("mixed", TEXT, HTML): ("plain", ""),
            multipart("mixed", HTML, TEXT): ("", "<p>"),
            multipart("mixed", OTHER, TEXT): ("plain", ""),
            multipart("mixed", alternative, OTHER): ("plain", "<p>"),
            multipart("mixed", OTHER, related): ("", "<p>"),
            multipart("mixed", alternative, TEXT): ("plain", ""),
            multipart("mixed", OTHER, neither, related): (
                "",
                "<p>",
            ),
            multipart("mixed"): ("", ""),
        }
        found = {content: ((one := incoming(content))["Text"], one["HTML"]) for content in cases}
        self.assertEqual(found, cases)

    def test_decoded(self) -> None:
        """Q-72: text is decoded from its encoding and charset, with LF line ends."""
        content = (
            b"Content-Type: text/plain; charset=iso-8859-1\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nh=E4\r\nb\r\n"
        )
        self.assertEqual(incoming(content)["Text"], "hä\nb\n")

    def test_bounded(self) -> None:
        """Q-72: of a long text 1048576 octets are told; its size is told in full."""
        content = b"Content-Type: text/html\r\n\r\n" + "ä".encode() * 600_000
        found = incoming(content)
        self.assertEqual(found["HTML"], "ä" * (MAXIMUM_TEXT // 2))
        self.assertEqual(found["Structure"]["DecodedSize"], 1_200_000)

    def test_deep(self) -> None:
        """A thousand multiparts in one another make JSON that can be read."""
        content = b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n" + b"".join(
            b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (number, number + 1)
            for number in range(1000)
        )
        self.assertEqual(incoming(content)["Text"], "")


class AutomatedTests(SynchronousTestCase):
    """Q-72: what was not written by a human just now."""

    def automated(self, section: bytes) -> bool:
        """Whether a message with this header from somebody is."""
        return is_automated(parse_header(section + b"\r\n"), ARRIVAL.reverse_path)

    def test_signs(self) -> None:
        """Q-72: lists, bulk mail, answers of programs and reports are automated."""
        for section in (
            b"List-Id: x\r\n",
            b"list-unsubscribe: x\r\n",
            b"List-Unsubscribe-Post: x\r\n",
            b"Precedence: x\r\n",
            b"Auto-Submitted: auto-replied\r\n",
            b"Auto-Submitted: auto-generated; x=y\r\n",
            b"Auto-Submitted:\r\n",
            b"Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n",
            b"Content-Type: multipart/report; boundary=x\r\n",
        ):
            self.assertTrue(self.automated(section), section)

    def test_human(self) -> None:
        """Q-72: without those, or with Auto-Submitted no, it is not."""
        for section in (
            b"", b"Auto-Submitted: No\r\n", b"Auto-Submitted: no; x=y\r\n",
            b"Auto-Submitted: no (human)\r\n", b"Content-Type: multipart/mixed; boundary=x\r\n",
        ):  # fmt: skip
            self.assertFalse(self.automated(section), section)

    def test_null_sender(self) -> None:
        """Q-72: mail from the null sender is automated."""
        self.assertTrue(is_automated(parse_header(b"\r\n"), None))
        self.assertTrue(incoming(b"", replace(ARRIVAL, reverse_path=None))["Meta"]["Automated"])


class PropertyTests(SynchronousTestCase):
    """Whatever the message."""

    LINES = st.sampled_from(
        [b"From: a@b.example", b"From: \xff", b"To: (", b"Subject: =?utf-8?q?=00=FF?=", b"", b"\0",
         b"Content-Type: multipart/alternative; boundary=b", b"Content-Type: text/html; charset=x",
         b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable",
         b"--b", b"--b--", b"=C3=", b"QUJD", b"Date: x", b"References: <<>>", b"\xed\xa0\x80"]
    )  # fmt: skip

    @settings(max_examples=200, deadline=None)
    @given(st.lists(LINES, max_size=20))
    def test_json(self, lines: list[bytes]) -> None:
        """The payload is JSON in UTF-8 with one place for the number."""
        found = incoming(b"\r\n".join(lines))
        self.assertEqual(found["Meta"]["MsgID"], 42)
