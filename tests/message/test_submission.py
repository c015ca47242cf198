"""What users hand in."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.message.header import message_id, parse_header
from moxsmtp.message.submission import Acceptable, Unacceptable, examine, new_message_id
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path

HOSTNAME = parse_domain("mx.example")
TOKEN = bytes(range(240, 256))
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def verdict(section: bytes) -> Acceptable | Unacceptable:
    """What is found in a header section."""
    return examine(parse_header(section), hostname=HOSTNAME, token=lambda: TOKEN, when=WHEN)


def objection(section: bytes) -> str:
    """What is wrong with it; empty if nothing is."""
    found = verdict(section)
    return found.text if isinstance(found, Unacceptable) else ""


class AuthorTests(SynchronousTestCase):
    """From, exactly once."""

    def test_one_author(self) -> None:
        """S-89: one From field with one address is accepted, and the address is told."""
        found = verdict(
            b"From: =?utf-8?q?J=C3=B6rg?= <J@B.example>\r\nDate: x\r\nMessage-Id: a@b\r\n"
            b"Subject: =?utf-8?q?h=C3=A4?=\r\n\r\n"
        )
        self.assertEqual(
            found,
            Acceptable(
                author=Path("J", parse_domain("b.example")),
                author_name="Jörg",
                message_id="<a@b>",
                subject="hä",
                missing=b"",
            ),
        )

    def test_not_one_author(self) -> None:
        """S-89: no From field, two, none or several addresses, or damage, are refused."""
        expected = {
            b"To: a@b.example\r\n\r\n": "message has 0 From fields instead of one",
            b"From: a@b.example\r\nFROM: a@b.example\r\n\r\n": (
                "message has 2 From fields instead of one"
            ),
            b"From: a@b.example, c@d.example\r\n\r\n": (
                "message has 2 addresses in From instead of one"
            ),
            b"From: nobody:;\r\n\r\n": "message has 0 addresses in From instead of one",
            b"From:\r\n\r\n": "message has 0 addresses in From instead of one",
            b"From: a@b.example <c@d.example>\r\n\r\n": (
                "message has a From field that cannot be parsed"
            ),
            b"From: a@b.example, junk\r\n\r\n": "message has a From field that cannot be parsed",
        }
        self.assertEqual({section: objection(section) for section in expected}, expected)

    def test_strict(self) -> None:
        """S-89: a header section that cannot be parsed strictly is refused, wherever it errs."""
        for line in (b"junk", b"To : a", b"X: \0", b": a"):
            text = objection(b"From: a@b.example\r\n" + line + b"\r\n\r\n")
            self.assertTrue(text.startswith("message cannot be parsed: "), line)
        self.assertIn("cannot be parsed", objection(b" From: a@b.example\r\n\r\n"))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=60))
    def test_words_for_the_peer(self, octets: bytes) -> None:
        """An objection is one line of ASCII, whatever the message holds."""
        text = objection(b"From: a@b.example\r\nFrom: " + octets + b"\r\n\r\n")
        self.assertTrue(text.isascii() and text.isprintable() and text)


class MissingTests(SynchronousTestCase):
    """What we add."""

    def test_nothing(self) -> None:
        """S-93: a message that has both fields gets none."""
        found = verdict(b"From: a@b.example\r\ndate: x\r\nMESSAGE-ID: <a@b>\r\n\r\n")
        self.assertEqual(getattr(found, "missing", None), b"")

    def test_both(self) -> None:
        """S-93: Message-Id from 16 random octets in base64url, and Date, are put in front."""
        found = verdict(b"From: a@b.example\r\n\r\n")
        self.assertEqual(
            getattr(found, "missing", None),
            b"Message-Id: <8PHy8_T19vf4-fr7_P3-_w@mx.example>\r\n"
            b"Date: 2 Jan 2026 03:04:05 +0000\r\n",
        )
        self.assertEqual(getattr(found, "message_id", None), "<8PHy8_T19vf4-fr7_P3-_w@mx.example>")

    def test_one(self) -> None:
        """S-93: only what is missing is added; an empty field is missing too."""
        self.assertEqual(
            getattr(
                verdict(b"From: a@b.example\r\nDate: x\r\nMessage-Id:\r\n\r\n"), "missing", None
            ),
            b"Message-Id: <8PHy8_T19vf4-fr7_P3-_w@mx.example>\r\n",
        )
        self.assertEqual(
            getattr(verdict(b"From: a@b.example\r\nMessage-Id: <x@y>\r\n\r\n"), "missing", None),
            b"Date: 2 Jan 2026 03:04:05 +0000\r\n",
        )

    def test_read_back(self) -> None:
        """What we add reads as a Message-ID."""
        identifier = new_message_id(HOSTNAME, TOKEN)
        header = parse_header(f"Message-Id: {identifier}\r\n\r\n".encode())
        self.assertEqual(message_id(header), identifier)
