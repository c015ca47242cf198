"""Tests for L{moxsmtp.receive.signing}: what leaves in our name is signed, or leaves unsigned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.dkim import Status
from moxsmtp.dkim.private_key import PrivateKey, generate_key, load_private_key, public_record
from moxsmtp.dkim.sign import Signer
from moxsmtp.dkim.verify import verify
from moxsmtp.dns.records import Question, RRType
from moxsmtp.interfaces import Account, NewJob
from moxsmtp.message.header import parse_header
from moxsmtp.names import Domain, parse_domain
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.signing import Signature, signature_of, signers_for_host
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.commands import Mail, Rcpt
from moxsmtp.testing import MemoryResolver
from tests.receive.houses import CLIENT, NOW, SPF_PASSES, USER, HouseTestCase, path, session_log

OURS = parse_domain("ours.example")
OTHER = parse_domain("other.example")

BARE = b"From: Alice <alice@ours.example>\r\nSubject: hello\r\n\r\nHi\r\n"


@cache
def key(kind: str) -> PrivateKey:
    """One for all tests: an RSA key takes its time."""
    return load_private_key(generate_key(kind))


def signer(selector: str, kind: str = "ed25519", domain: Domain = OURS) -> Signer:
    return Signer(domain, selector, key(kind))


class SignedCase(HouseTestCase):
    """
    A house with keys.

    @ivar keys: Of each domain of ours.
    """

    def setUp(self) -> None:
        super().setUp()
        self.keys: Mapping[Domain, Sequence[Signer]] = {
            OURS: (signer("one", "rsa2048"), signer("two")),
            OTHER: (signer("three", domain=OTHER),),
        }
        self.house = replace(self.house, signers=lambda: self.keys)
        self.receiver = Submission(self.house, session_log(USER), tls_required=True)

    def submit(
        self, content: bytes, *, sender: str | None = "alice@ours.example", piece: int = 0
    ) -> str:
        """Hand in; the codes of the last reply."""
        self.begin(self.receiver, USER, sender, "bob@away.example")
        spooled = self.spooled(self.receiver, USER, content, piece)
        codes = self.codes(self.receiver.message(USER, spooled))
        self.receiver.reset()
        return codes

    def message(self) -> bytes:
        """The last one that was queued, as it will be sent."""
        job, content = self.queue.jobs[-1]
        return job.prefix + content

    def verified(self, message: bytes) -> list[tuple[str, str, Status]]:
        """What a recipient makes of the signatures: domain, selector, status."""
        published = {
            Question(f"{one.selector}._domainkey.{one.domain.ascii}", RRType.TXT): (
                (public_record(one.key).encode(),)
            )
            for signers in self.keys.values()
            for one in signers
        }
        checked = verify(MemoryResolver(published), message, now=NOW + timedelta(minutes=1))
        results = self.successResultOf(Deferred.fromCoroutine(checked))
        return [
            (one.domain.ascii if one.domain else "", one.selector, one.status)
            for one in results.signatures
        ]

    def prefix_fields(self) -> list[str]:
        """The names of the fields that we put in front."""
        return [name for name, _ in parse_header(self.queue.jobs[-1][0].prefix).fields()]


BOTH = [("ours.example", "one", Status.PASS), ("ours.example", "two", Status.PASS)]


class SubmissionTests(SignedCase):
    """Mail of our own users."""

    def test_signed(self) -> None:
        """Every active selector of the From domain signs, RSA and Ed25519 (S-96)."""
        self.assertEqual("250 2.2.0", self.submit(BARE))
        self.assertEqual(BOTH, self.verified(self.message()))
        self.assertEqual(
            {'mox_dkim_sign_total{key="ed25519"}': 1, 'mox_dkim_sign_total{key="rsa"}': 1},
            {name: count for name, count in self.metrics.counts.items() if "dkim" in name},
        )

    def test_order(self) -> None:
        """Received, Message-Id, Date, signatures, Authentication-Results (S-97)."""
        self.submit(BARE)
        self.assertEqual(
            [
                "Received",
                "Message-Id",
                "Date",
                "DKIM-Signature",
                "DKIM-Signature",
                "Authentication-Results",
            ],
            self.prefix_fields(),
        )
        [value] = parse_header(self.message()).values("Authentication-Results")
        self.assertEqual(
            "mx.ours.example; auth=pass smtp.mailfrom=alice@ours.example",
            re.sub(r"\s+", " ", value),
        )

    def test_null_sender(self) -> None:
        """Without a sender there is none to name (S-97)."""
        self.assertEqual("250 2.2.0", self.submit(BARE, sender=None))
        [value] = parse_header(self.message()).values("Authentication-Results")
        self.assertEqual("mx.ours.example; auth=pass", re.sub(r"\s+", " ", value))

    def test_covers_added(self) -> None:
        """What we add is signed, and can be neither changed nor given twice (S-96)."""
        self.submit(BARE)
        message = self.message()
        changed = {
            "identifier": message.replace(b"\r\nMessage-Id: <", b"\r\nMessage-Id: <x", 1),
            "date": message.replace(b"\r\nDate: 1 Mar", b"\r\nDate: 2 Mar", 1),
            "second date": b"Date: 1 Jan 2026 00:00:00 +0000\r\n" + message,
            "second author": b"From: <eve@away.example>\r\n" + message,
            "body": message + b"more\r\n",
        }
        for name, forged in changed.items():
            self.assertNotEqual(message, forged, name)
            statuses = {status for _, _, status in self.verified(forged)}
            self.assertEqual({Status.FAIL}, statuses, name)
        relayed = b"Received: from x by y; 1 Mar 2026 12:30:05 +0000\r\n" + message
        self.assertEqual(BOTH, self.verified(relayed))

    def test_pieces(self) -> None:
        """How the octets came makes no difference (S-96)."""
        body = b"a line \t of text\r\n" * 40 + b"\r\n\r\n"
        content = BARE + body
        signatures = set()
        for piece in (1, 2, 7, 64, len(content) - 1, 0):
            self.assertEqual("250 2.2.0", self.submit(content, piece=piece))
            self.assertEqual(BOTH, self.verified(self.message()))
            self.assertEqual(content, self.queue.jobs[-1][1])
            signatures.add(self.queue.jobs[-1][0].prefix)
        self.assertEqual(1, len(signatures))

    def test_odd_ends(self) -> None:
        """Messages without a body, and with one of nothing but empty lines, are signed (S-96)."""
        for content in (BARE[:-4] + b"\r\n\r\n", BARE[:-4] + b"\r\n\r\n\r\n\r\n"):
            self.assertEqual("250 2.2.0", self.submit(content))
            message = self.message()
            self.assertEqual(BOTH, self.verified(message), content)

    def test_domain_of_from(self) -> None:
        """It is the author's domain that counts, not the sender's (S-96)."""
        bare = parse_domain("bare.example")
        self.keys = {**self.keys, bare: ()}
        directory = Directory(
            [Account("alice", addresses=("alice@ours.example", "al@bare.example"))],
            domains={OURS: DomainSettings(), bare: DomainSettings()},
            hosts=(),
            postmaster="alice",
        )
        self.house = replace(self.house, accounts=directory)
        self.receiver = Submission(self.house, session_log(USER), tls_required=True)
        self.submit(BARE, sender="al@bare.example")
        self.assertEqual(BOTH, self.verified(self.message()))
        self.submit(BARE.replace(b"alice@ours", b"al@bare"))
        self.assertEqual([], self.verified(self.message()))
        self.assertNotIn("DKIM-Signature", self.prefix_fields())

    def test_no_keys(self) -> None:
        """A domain without selectors sends unsigned mail, and that is no failure."""
        self.keys = {OURS: ()}
        self.assertEqual("250 2.2.0", self.submit(BARE))
        self.assertNotIn("DKIM-Signature", self.prefix_fields())
        self.assertEqual({'mox_smtpserver_submission_total{result="ok"}': 1}, self.metrics.counts)

    def test_host_postmaster(self) -> None:
        """The postmaster of the host itself, whose name is no domain of ours, may write."""
        content = BARE.replace(b"alice@ours.example", b"postmaster@mx.ours.example")
        self.assertEqual("250 2.2.0", self.submit(content))
        self.assertEqual([], self.verified(self.message()))

    def test_reload(self) -> None:
        """Keys of a reload sign from the next message on (S-96)."""
        self.submit(BARE)
        self.keys = {OURS: (signer("new"),)}
        self.submit(BARE)
        self.assertEqual([("ours.example", "new", Status.PASS)], self.verified(self.message()))

    def test_domain_gone(self) -> None:
        """
        If a reload takes the author's domain away on the way, the answer is 451 4.3.0
        (S-96), whether or not its addresses are known any longer.
        """
        keys = self.keys
        for owns in (True, False):
            self.keys = keys
            self.begin(self.receiver, USER, "alice@ours.example", "bob@away.example")
            spooled = self.spooled(self.receiver, USER, BARE)
            self.keys = {OTHER: keys[OTHER]}
            if not owns:
                self.patch(self.receiver, "may_write_as", lambda *_: False)
            self.assertEqual("451 4.3.0", self.codes(self.receiver.message(USER, spooled)))
            self.assertEqual([], self.queue.jobs)

    def test_refused_unsigned(self) -> None:
        """A stranger's address is refused before anything is signed (S-90)."""
        self.assertEqual("550 5.7.1", self.submit(BARE.replace(b"alice@", b"mike@")))
        self.assertEqual("550 5.6.0", self.submit(BARE.replace(b"From", b"Form")))
        self.assertFalse(any("dkim" in name for name in self.metrics.counts))

    def test_own_results_removed(self) -> None:
        """
        Authentication-Results that a user wrote in our name are removed, those of
        others stay, and the signatures are those of what is left (S-97).
        """
        theirs = b"Authentication-Results: away.example; spf=pass smtp.mailfrom=x.example\r\n"
        forged = b"Authentication-Results: mx.ours.example;\r\n dkim=pass header.d=bank.example\r\n"
        self.assertEqual("250 2.2.0", self.submit(theirs + forged + BARE))
        self.assertEqual(theirs + BARE, self.queue.jobs[-1][1])
        self.assertEqual(BOTH, self.verified(self.message()))

    def test_next_message(self) -> None:
        """Nothing of one message gets into the next one's signatures (S-96)."""
        self.submit(BARE + b"first\r\n")
        self.submit(BARE + b"second\r\n")
        self.assertEqual(BOTH, self.verified(self.message()))

    def test_forgotten(self) -> None:
        """Nothing of a message is kept while a connection idles: a header may have a megabyte."""
        self.begin(self.receiver, USER, "alice@ours.example", "bob@away.example")
        spooled = self.spooled(self.receiver, USER, BARE)
        self.receiver.reset()
        self.begin(self.receiver, USER, "alice@ours.example", "bob@away.example")
        late = Deferred.fromCoroutine(self.receiver.message(USER, spooled))
        self.failureResultOf(late, RuntimeError)


class _Broken:
    """A key that cannot be used any more."""

    def sign(self, _octets: bytes) -> NoReturn:
        raise OSError("the token was pulled out")


class FailureTests(SignedCase):
    """What goes wrong with signatures."""

    FAILED = 'mox_smtpserver_errors_total{error="dkimsign"}'

    def test_broken_key(self) -> None:
        """Mail that cannot be signed goes unsigned; it is logged and counted (S-96)."""
        broken = Signer(OURS, "one", _Broken())  # type: ignore[arg-type]  # a double
        self.keys = {OURS: (signer("two"), broken)}
        self.assertEqual("250 2.2.0", self.submit(BARE))
        self.assertNotIn("DKIM-Signature", self.prefix_fields())
        self.assertEqual(1, self.metrics.counts[self.FAILED])
        self.assertNotIn('mox_dkim_sign_total{key="ed25519"}', self.metrics.counts)
        [failure] = self.flushLoggedErrors(OSError)
        self.assertIn("token", str(failure.value))

    def test_too_many_fields(self) -> None:
        """A message with more fields than can be signed is no bug of ours; it goes too (S-96)."""
        with capturedLogs() as logged:
            self.assertEqual("250 2.2.0", self.submit(b"To: <a@b.example>\r\n" * 300 + BARE))
        self.assertNotIn("DKIM-Signature", self.prefix_fields())
        self.assertEqual(1, self.metrics.counts[self.FAILED])
        self.assertIn("ours.example", [entry.get("domain") for entry in logged])

    def test_body(self) -> None:
        """A bug while the body is hashed ends the signature, once, and not the message (S-96)."""
        signature = Signature(self.keys[OURS], now=NOW, metrics=self.metrics)
        signature.feed(b"good\r\n")
        signature.feed(17)  # type: ignore[arg-type]  # a bug
        signature.feed(18)  # type: ignore[arg-type]  # another, which nobody notices
        self.assertEqual(b"", signature.fields(BARE))
        self.assertEqual({self.FAILED: 1}, self.metrics.counts)
        self.assertEqual(1, len(self.flushLoggedErrors()))

    def test_begin(self) -> None:
        """A signature that cannot even be begun is none (S-96)."""
        signature = Signature(self.keys[OURS], now=17, metrics=self.metrics)  # type: ignore[arg-type]  # a bug
        signature.feed(b"x")
        self.assertEqual(b"", signature.fields(BARE))
        self.assertEqual({self.FAILED: 1}, self.metrics.counts)
        self.assertEqual(1, len(self.flushLoggedErrors()))


class ReportTests(SignedCase):
    """Reports of partial failures."""

    def reported(self, unknown: str, *, smtputf8: bool = False) -> NewJob:
        """Of a delivery that did not reach C{unknown}."""
        receiver = Delivery(
            self.house,
            session_log(),
            hostname=self.house.hostname,
            tls_required=False,
            unknown_delay=timedelta(),
            clock=Clock(),
        )
        content = b"From: <eve@away.example>\r\n\r\nHi\r\n"
        self.checks.spf = SPF_PASSES
        self.ask(receiver.mail(CLIENT, Mail(path("eve@away.example"), smtputf8=smtputf8)))
        for recipient in ("alice@ours.example", unknown):
            self.ask(receiver.recipient(CLIENT, Rcpt(path(recipient))))
        spooled = self.spooled(receiver, CLIENT, content)
        self.assertEqual(250, self.ask(receiver.message(CLIENT, spooled)).code)
        [(job, _)] = self.queue.jobs
        self.assertEqual(path("eve@away.example"), job.forward_path)
        return job

    def test_signed(self) -> None:
        """A report is signed for the domain that it is from (I-93)."""
        self.reported("nobody@ours.example")
        message = self.message()
        self.assertIn(b"postmaster@ours.example", parse_header(message).raw("From")[0])
        self.assertEqual(BOTH, self.verified(message))

    def test_form_in_utf8(self) -> None:
        """Its form in UTF-8 is signed, too, by itself (Q-38).  RFC 8616."""
        job = self.reported("n\u00f6body@ours.example", smtputf8=True)
        self.assertEqual(BOTH, self.verified(self.message()))
        self.assertIn("n\u00f6body@ours.example".encode(), job.alternative)
        self.assertEqual(BOTH, self.verified(job.alternative))

    def test_no_keys(self) -> None:
        """Without keys it goes unsigned."""
        self.keys = {}
        self.assertEqual(b"", self.reported("nobody@ours.example").prefix)

    def test_reports_of_the_host(self) -> None:
        """
        What the server itself writes is signed as its host or, if that has no
        keys, as the nearest domain of ours above it; never as a neighbour.
        """
        own = (signer("four", domain=parse_domain("mx.ours.example")),)
        for host, extra, expected in (
            ("mx.ours.example", {}, self.keys[OURS]),
            ("a.b.mx.ours.example", {}, self.keys[OURS]),
            ("ours.example", {}, self.keys[OURS]),
            ("mx.ours.example", {parse_domain("mx.ours.example"): own}, own),
            ("mx.ours.example", {parse_domain("mx.ours.example"): ()}, self.keys[OURS]),
            ("mx.yours.example", {}, ()),
            ("notours.example", {}, ()),
            ("example", {parse_domain("example"): own}, ()),
        ):
            signers = {**self.keys, **extra}
            self.assertEqual(signers_for_host(signers, parse_domain(host)), expected, host)

    def test_whole_messages(self) -> None:
        """A message without a body, or without an empty line, can be signed."""
        for message in (BARE, BARE[:-4], BARE[:-6]):
            made = signature_of(message, self.keys[OURS], now=NOW, metrics=self.metrics)
            self.assertEqual(BOTH, self.verified(made + message), message)
