"""Messages signed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dkim  # type: ignore[import-untyped]  # no stubs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from moxsmtp.dkim import (
    SIGNED_FIELDS,
    CannotSign,
    InvalidSignature,
    Results,
    Signer,
    Signing,
    Status,
    sign,
    verify,
)
from moxsmtp.dkim.fields import Section
from moxsmtp.dkim.tags import parse_tags
from moxsmtp.dns.records import Question, RRType
from moxsmtp.names import parse_domain
from moxsmtp.testing import MemoryResolver
from tests.dkim.forging import ED25519_KEY, ED25519_RECORD, MESSAGE, RECORD, RSA_KEY

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)

DOMAIN: Final = parse_domain("example.org")

RSA: Final = Signer(DOMAIN, "rsa", RSA_KEY)
ED25519: Final = Signer(DOMAIN, "ed", ED25519_KEY)

RESOLVER: Final = MemoryResolver(
    {
        Question("rsa._domainkey.example.org", RRType.TXT): (RECORD,),
        Question("ed._domainkey.example.org", RRType.TXT): (ED25519_RECORD,),
        Question("xn--9ca._domainkey.xn--mnchen-3ya.example", RRType.TXT): (RECORD,),
    }
)


def field_of(signer: Signer, message: bytes = MESSAGE) -> bytes:
    """The signature that goes in front of C{message}."""
    return sign(message, [signer], now=NOW).removesuffix(message)


def tags_of(field: bytes) -> dict[bytes, bytes]:
    """What a field says."""
    return parse_tags(field.partition(b":")[2])


def names_of(field: bytes) -> list[str]:
    """The fields that it covers."""
    return b"".join(tags_of(field)[b"h"].split()).decode().split(":")


class SignCase(unittest.SynchronousTestCase):
    """What the tests ask."""

    def results(self, message: bytes, now: datetime = NOW) -> Results:
        """What our verifier says."""
        return self.successResultOf(Deferred.fromCoroutine(verify(RESOLVER, message, now=now)))

    def assertVerifies(self, message: bytes, count: int = 1) -> None:
        """All signatures pass, of which there are so many."""
        results = self.results(message)
        self.assertEqual([one.reason for one in results.signatures], [""] * count)

    def assertStatus(self, message: bytes, status: Status) -> None:
        """The status of the only signature."""
        self.assertEqual([one.status for one in self.results(message).signatures], [status])


class VerifiedTests(SignCase):
    """Others verify what we sign."""

    def signers(self) -> Sequence[Signer]:
        """An RSA key with each way to canonicalise."""
        return [
            Signer(DOMAIN, "rsa", RSA_KEY, header_relaxed=header, body_relaxed=body)
            for header in (False, True)
            for body in (False, True)
        ]

    def test_by_dkimpy(self) -> None:
        """dkimpy verifies our signatures, however they canonicalise (S-96)."""
        asked = []

        def record(name: bytes, **_: object) -> bytes:
            asked.append(name)
            return RECORD

        for signer in self.signers():
            self.assertTrue(dkim.verify(sign(MESSAGE, [signer], now=NOW), dnsfunc=record))
        self.assertEqual(asked, [b"rsa._domainkey.example.org."] * 4)

    def test_by_dkimpy_all(self) -> None:
        """Of several signatures dkimpy verifies each RSA one at its place."""
        message = sign(MESSAGE, [RSA, ED25519, RSA], now=NOW)
        checked = dkim.DKIM(message)
        for place in (0, 2):
            self.assertTrue(checked.verify(place, dnsfunc=lambda *_, **__: RECORD))

    def test_by_us(self) -> None:
        """So do we, of every selector and algorithm at once (S-96)."""
        message = sign(MESSAGE, [*self.signers(), ED25519], now=NOW)
        self.assertVerifies(message, 5)
        self.assertEqual(
            [one.algorithm for one in self.results(message).signatures],
            ["rsa-sha256"] * 4 + ["ed25519-sha256"],
        )

    def test_signatures_do_not_touch(self) -> None:
        """Each signature holds without the others, and with fields in front."""
        message = sign(MESSAGE, [RSA, ED25519], now=NOW)
        second = message.index(b"DKIM-Signature", 1)
        self.assertVerifies(message[second:])
        self.assertVerifies(message[:second] + MESSAGE)
        self.assertVerifies(b"Received: x\r\nReturn-Path: <>\r\n" + message, 2)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([*SIGNED_FIELDS, "X-A", "DKIM-Signature", "Received"]),
                st.text("ab \t\u00e9;=", max_size=90),
            ),
            max_size=8,
        ),
        st.text("ab \t\r\n", max_size=60),
    )
    def test_any_message(self, fields: list[tuple[str, str]], body: str) -> None:
        """Any message with From is signed so that it verifies."""
        header = "".join(f"{name}:{value}\r\n" for name, value in fields)
        message = f"From: a@example.org\r\n{header}\r\n{body}".encode()
        results = self.results(sign(message, [RSA, ED25519], now=NOW))
        self.assertEqual([one.status for one in results.signatures[:2]], [Status.PASS] * 2)


class CoverTests(SignCase):
    """What is covered.  S-96."""

    def test_names(self) -> None:
        """Each field stands once more than there are, absent ones too (S-96)."""
        field = field_of(RSA, b"Reply-To: x\r\nREPLY-to: y\r\n" + MESSAGE)
        counts = {name: names_of(field).count(name) for name in SIGNED_FIELDS}
        present = {"From": 2, "To": 2, "Subject": 2, "Date": 2, "Reply-To": 3}
        self.assertEqual(counts, {name: present.get(name, 1) for name in SIGNED_FIELDS})

    def test_what_people_see(self) -> None:
        """What people are shown and answer to, and how it is shown, is signed (S-96)."""
        for name in (
            "From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "MIME-Version",
            "Content-Type", "Content-Transfer-Encoding",
        ):  # fmt: skip
            self.assertIn(name, SIGNED_FIELDS)

    def test_nothing_can_be_added(self) -> None:
        """A second or first field of any name that is signed breaks the signature (S-96)."""
        message = sign(MESSAGE, [RSA], now=NOW)
        for name in SIGNED_FIELDS:
            self.assertStatus(f"{name}: x\r\n".encode() + message, Status.FAIL)

    def test_trace_can_be_added(self) -> None:
        """What we and others put in front later is not covered."""
        self.assertEqual(
            {"received", "return-path", "authentication-results", "dkim-signature"}
            & {name.lower() for name in SIGNED_FIELDS},
            set(),
        )

    def test_own_list(self) -> None:
        """A domain may cover other fields."""
        signer = Signer(DOMAIN, "rsa", RSA_KEY, headers=("X-A", "from", "Subject"))
        field = field_of(signer)
        self.assertEqual(names_of(field), ["X-A", "from", "from", "Subject", "Subject"])
        self.assertVerifies(field + MESSAGE)
        self.assertStatus(b"X-A: y\r\n" + field + MESSAGE, Status.FAIL)

    def test_added_fields_are_covered(self) -> None:
        """A Message-ID that we put in front before is signed like one of the message (S-96)."""
        signing = Signing([RSA], now=NOW)
        header, body = MESSAGE.split(b"\r\n\r\n", 1)
        signing.feed(body)
        full = b"Message-ID: <1@x>\r\n" + header + b"\r\n\r\n"
        message = signing.fields(full) + full + body
        self.assertVerifies(message)
        self.assertStatus(message.replace(b"<1@x>", b"<2@x>"), Status.FAIL)


class FieldTests(SignCase):
    """The field itself.  RFC 6376 section 3.5."""

    def test_tags(self) -> None:
        """It says who signed, how and when."""
        tags = tags_of(field_of(RSA))
        self.assertEqual(
            {name: tags[name] for name in tags if name not in {b"h", b"b", b"bh"}},
            {
                b"v": b"1", b"a": b"rsa-sha256", b"c": b"relaxed/relaxed", b"d": b"example.org",
                b"s": b"rsa", b"t": b"1767225600",
            },
        )  # fmt: skip
        self.assertEqual(tags_of(field_of(ED25519))[b"a"], b"ed25519-sha256")

    def test_expiration(self) -> None:
        """It is good for as long as it was told."""
        signer = Signer(DOMAIN, "rsa", RSA_KEY, expiration=timedelta(days=3))
        message = sign(MESSAGE, [signer], now=NOW)
        self.assertEqual(tags_of(field_of(signer))[b"x"], b"1767484800")
        for now, status in (
            (NOW + timedelta(days=3), Status.PASS),
            (NOW + timedelta(days=3, seconds=1), Status.PERMERROR),
        ):
            self.assertEqual(self.results(message, now).signatures[0].status, status)

    def test_folded(self) -> None:
        """No line but that of a long name has more than 77 columns, and all are ASCII."""
        signers = [RSA, ED25519, Signer(parse_domain("m\u00fcnchen.example"), "\u00e9", RSA_KEY)]
        for signer in signers:
            field = field_of(signer, b"To: x\r\n" * 40 + MESSAGE)
            lines = field.split(b"\r\n")
            self.assertEqual(lines.pop(), b"")
            self.assertTrue(all(len(line) < 78 for line in lines), lines)
            self.assertTrue(all(line.startswith(b"\t") for line in lines[1:]))
            self.assertTrue(field.isascii())
            self.assertNotIn(b"\n", field.replace(b"\r\n", b""))

    def test_long_names(self) -> None:
        """A domain and selector of any length are on lines of their own."""
        domain = parse_domain(".".join(["x" * 60] * 3) + ".example")
        field = field_of(Signer(domain, "s" * 50, RSA_KEY))
        lines = [line for line in field.split(b"\r\n") if len(line) >= 78]
        self.assertEqual([line[:3] for line in lines], [b"\td="])

    def test_a_labels(self) -> None:
        """An internationalised domain and selector are written as A-labels, which all can read."""
        signer = Signer(parse_domain("m\u00fcnchen.example"), "\u00c9", RSA_KEY)
        self.assertEqual(tags_of(field_of(signer))[b"d"], b"xn--mnchen-3ya.example")
        self.assertEqual(signer.selector, "xn--9ca")
        self.assertVerifies(sign("Subject: \u00e9\r\n".encode() + MESSAGE, [signer], now=NOW))

    def test_key_is_not_shown(self) -> None:
        """A signer does not print its key."""
        self.assertIsNone(re.search("key|PRIVATE", repr(RSA)))


class StreamTests(SignCase):
    """The body in pieces."""

    def test_pieces(self) -> None:
        """However the body is cut, the signature is the same (Ed25519 has no chance in it)."""
        header, body = MESSAGE.split(b"\r\n\r\n", 1)
        whole = sign(MESSAGE, [ED25519, RSA], now=NOW).removesuffix(MESSAGE)
        signing = Signing([ED25519, RSA], now=NOW)
        for place in range(len(body)):
            signing.feed(body[place : place + 1])
        self.assertEqual(signing.fields(header + b"\r\n"), whole)

    def test_no_signers(self) -> None:
        """Nobody signs: nothing is put in front."""
        self.assertEqual(sign(MESSAGE, [], now=NOW), MESSAGE)


class RefusedTests(SignCase):
    """What cannot be signed."""

    def test_no_author(self) -> None:
        """No verifier accepts a signature without From."""
        for message in (b"", b"\r\nbody", b"Subject: x\r\n\r\nFrom: y\r\n", b" From: x\r\n"):
            self.assertRaises(CannotSign, sign, message, [RSA], now=NOW)

    def test_too_many_fields(self) -> None:
        """A message of thousands of fields gets no signature that nobody would read."""
        message = b"To: x\r\n" * 2000 + MESSAGE
        self.assertRaises(CannotSign, sign, message, [RSA], now=NOW)
        long = b"To: x\r\n" * 200 + MESSAGE
        self.assertVerifies(sign(long, [RSA], now=NOW))
        self.assertLess(len(field_of(RSA, long)), 16000)

    def test_long_section(self) -> None:
        """A header section above 256 KiB is not signed."""
        message = b"From: x\r\nX: " + b"x" * (1 << 18) + b"\r\n" + MESSAGE
        self.assertRaises(CannotSign, sign, message, [RSA], now=NOW)

    def test_invalid_signers(self) -> None:
        """Such signers cannot be made."""
        for selector in ("", "a b", "a;b", "-", "a..b"):
            self.assertRaises(InvalidSignature, Signer, DOMAIN, selector, RSA_KEY)
        for headers in ((), ("Subject",), ("From", "a:b"), ("From", "a;"), ("From", "\u00e9")):
            self.assertRaises(ValueError, Signer, DOMAIN, "s", RSA_KEY, headers=headers)
        for expiration in (timedelta(), timedelta(milliseconds=5), timedelta(days=-1)):
            self.assertRaises(ValueError, Signer, DOMAIN, "s", RSA_KEY, expiration=expiration)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=80))
    def test_anything(self, message: bytes) -> None:
        """Any octets are signed, or refused in the declared way."""
        try:
            signed = sign(message, [ED25519], now=NOW)
        except CannotSign:
            self.assertEqual(len(Section(message).places(b"from")), 0)
        else:
            self.assertTrue(signed.endswith(message))
