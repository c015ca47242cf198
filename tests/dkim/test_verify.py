"""Signatures verified."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import dkim  # type: ignore[import-untyped]  # no stubs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial import unittest
from zope.interface import implementer

from moxsmtp.dkim import Result, Results, Status, Verifier, verify
from moxsmtp.dkim.fields import split_message
from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain, parse_domain
from moxsmtp.testing import MemoryResolver
from tests.dkim import keys
from tests.dkim.forging import (
    ED25519_KEY,
    ED25519_RECORD,
    MESSAGE,
    RECORD,
    forged,
)

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)

KEY: Final = Question("sel._domainkey.example.org", RRType.TXT)

Records = Sequence[Record] | Answer | LookupFailed


@implementer(IResolver)
class SlowResolver:
    """
    A DNS that answers when the test says so.

    @ivar asked: Every question with the answer that is due.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Question, Deferred[Answer]]] = []

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver.lookup}."""
        answer: Deferred[Answer] = Deferred()
        self.asked.append((question, answer))
        return answer


class VerifyCase(unittest.SynchronousTestCase):
    """What the tests ask."""

    def results(
        self,
        message: bytes,
        records: Records = (RECORD,),
        *,
        is_public_suffix: Callable[[Domain], bool] = lambda _: False,
    ) -> Results:
        """Of all signatures; the key is at L{KEY}."""
        self.resolver = MemoryResolver({KEY: records})
        coroutine = verify(self.resolver, message, now=NOW, is_public_suffix=is_public_suffix)
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def result(self, message: bytes, records: Records = (RECORD,)) -> Result:
        """Of the only signature."""
        [result] = self.results(message, records).signatures
        return result

    def assertResult(
        self, message: bytes, status: Status, reason: str = "", records: Records = (RECORD,)
    ) -> Result:
        """The only signature's status, and what the reason says."""
        result = self.result(message, records)
        self.assertEqual(result.status, status, result.reason)
        self.assertIn(reason, result.reason)
        self.assertEqual(result.reason == "", status is Status.PASS)
        return result

    def assertNotAsked(self) -> None:
        """The DNS had nothing to do."""
        self.assertEqual(self.resolver.asked, [])


class SoundTests(VerifyCase):
    """Signatures that are good."""

    def test_canonicalizations(self) -> None:
        """Any canonicalisation verifies, with RSA and with Ed25519."""
        for c in (
            None, "simple", "relaxed", "simple/simple", "simple/relaxed", "relaxed/simple",
            "relaxed/relaxed",
        ):  # fmt: skip
            self.assertResult(forged({"c": c}), Status.PASS)
            message = forged({"c": c, "a": "ed25519-sha256"}, key=ED25519_KEY)
            self.assertResult(message, Status.PASS, records=(ED25519_RECORD,))

    def test_told(self) -> None:
        """All that is known of a signature is in its result."""
        answer = Answer((RECORD + b"; s=email; t=y",), authentic=True)
        result = self.result(forged({"i": "joe@x.example.org", "d": "Example.ORG"}), answer)
        self.assertEqual(
            result,
            Result(
                Status.PASS,
                parse_domain("example.org"),
                "sel",
                "rsa-sha256",
                "joe@x.example.org",
                result.signature,
                key_bits=2048,
                services=("email",),
                testing=True,
                authentic=True,
            ),
        )
        self.assertEqual(len(result.signature), 344)

    def test_touched_where_allowed(self) -> None:
        """Relaxed, white space and folds may change on the way; simple, they may not."""
        for old, new in (
            (b"Is dinner\r\n  ready?", b"Is   dinner ready?\t"),
            (b"Subject:", b"SUBJECT :"),
            (b"We lost  the game. \r\n", b"We\tlost the game.\r\n"),
        ):
            relaxed, simple = forged({}), forged({"c": "simple/simple"})
            self.assertResult(relaxed.replace(old, new), Status.PASS)
            self.assertResult(simple.replace(old, new), Status.FAIL)

    def test_lines_at_the_end(self) -> None:
        """Empty lines at the end may come and go with any canonicalisation."""
        for c in ("simple/simple", "relaxed/relaxed"):
            self.assertResult(forged({"c": c}) + b"\r\n\r\n", Status.PASS)
            self.assertResult(forged({"c": c}).removesuffix(b"\r\n\r\n"), Status.PASS)

    def test_fields_above(self) -> None:
        """Fields that no one signed may be added, as every relay does; even a folded first line."""
        for added in (b"Received: by x\r\n\tfor y\r\n", b" folded: x\r\n", b"no field\r\n x\r\n"):
            self.assertResult(added + forged({"c": "simple/simple"}), Status.PASS)

    def test_unicode(self) -> None:
        """U-labels find the key under A-labels, and verified domains read as such (I-18)."""
        for domain, selector in (
            ("m\u00fcnchen.example", "\u00e9"),
            ("xn--mnchen-3ya.example", "xn--9ca"),
        ):
            message = forged({"d": domain, "s": selector, "i": f"@x.{domain}"})
            resolver = MemoryResolver(
                {Question("xn--9ca._domainkey.xn--mnchen-3ya.example", RRType.TXT): (RECORD,)}
            )
            results = self.successResultOf(
                Deferred.fromCoroutine(verify(resolver, message, now=NOW))
            )
            self.assertEqual([one.status for one in results.signatures], [Status.PASS])
            self.assertEqual(
                [str(one) for one in results.verified_domains], ["m\u00fcnchen.example"]
            )
            self.assertEqual(results.signatures[0].selector, "xn--9ca")

    def test_signed_by_dkimpy(self) -> None:
        """What dkimpy signs verifies, however it canonicalises."""
        for header in (b"simple", b"relaxed"):
            for body in (b"simple", b"relaxed"):
                field = dkim.sign(
                    MESSAGE, b"sel", b"example.org", keys.RSA_PKCS1, canonicalize=(header, body)
                )
                self.assertResult(field + MESSAGE, Status.PASS)

    def test_no_signature(self) -> None:
        """A message that is not signed has no results and asks nothing."""
        for message in (MESSAGE, b"", b"\r\n", MESSAGE + forged({})):
            self.assertEqual(self.results(message), Results())
            self.assertNotAsked()


class BrokenTests(VerifyCase):
    """Signatures that are not."""

    def test_changed(self) -> None:
        """A word that changed in body or header, or a field that was added, is a failure."""
        message = forged({"h": "from:to:subject:date:from"})
        self.assertResult(message.replace(b"game", b"Game"), Status.FAIL, "body hash")
        self.assertResult(message.replace(b"dinner", b"Dinner"), Status.FAIL, "signature")
        self.assertResult(b"From: eve@example.org\r\n" + message, Status.FAIL, "signature")
        self.assertResult(message.replace(b"d=example.org", b"d=example.org;x2=1"), Status.FAIL)

    def test_another_key(self) -> None:
        """The key has to be that of the signer."""
        for der in (keys.rsa_public(2048), keys.rsa_public(1024), keys.rsa_public(8192)):
            self.assertResult(forged({}), Status.FAIL, "signature", records=(b"p=" + _base64(der),))

    def test_short_signature(self) -> None:
        """A C{b=} of few characters is a failure like any other."""
        result = self.assertResult(forged({"b": "AAAA"}), Status.FAIL)
        self.assertEqual(result.signature, "AAAA")
        message = forged({"b": "AA==", "a": "ed25519-sha256"})
        self.assertResult(message, Status.FAIL, records=(ED25519_RECORD,))

    def test_no_signature_field(self) -> None:
        """What is no signature is C{PERMERROR}, with what can be read of it; nothing is asked."""
        for value, domain in (
            (b"", None),
            (b"hello", None),
            (b"v=1; d=example.org", "example.org"),
        ):
            result = self.assertResult(
                b"DKIM-Signature: " + value + b"\r\n" + MESSAGE, Status.PERMERROR
            )
            self.assertEqual(result.domain, parse_domain(domain) if domain else None)
            self.assertNotAsked()

    def test_tag_twice(self) -> None:
        """A tag that stands twice is C{PERMERROR}."""
        message = forged({}).replace(b"v=1;", b"v=1; v=1;", 1)
        self.assertResult(message, Status.PERMERROR, "tag list")

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_any_change(self, data: st.DataObject) -> None:
        """No letter that is signed can change under a signature that passes; nothing raises."""
        message = forged({})
        place = data.draw(st.integers(0, len(message) - 1))
        octet = data.draw(st.binary(min_size=1, max_size=1))
        changed = message[:place] + octet + message[place + 1 :]
        results = self.results(changed)
        harmless = b" \t\r\n;=" + message[place : place + 1].swapcase() + message[place : place + 1]
        if not (octet in harmless or message[place : place + 1] in b" \t\r\n;="):
            self.assertEqual(results.verified_domains, ())

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=100), st.binary(max_size=60), st.binary(max_size=40))
    def test_anything(self, above: bytes, value: bytes, record: bytes) -> None:
        """No header, no signature and no record raises anything or passes."""
        for message in (
            above,
            b"DKIM-Signature:" + value + b"\r\n" + MESSAGE,
            forged({}) + value,
            above + forged({}),
        ):
            self.results(message, (record,))
            self.assertEqual(self.results(message, (record,)).verified_domains, ())


class ObjectionTests(VerifyCase):
    """Good signatures that say too little.  I-17."""

    def test_limit(self) -> None:
        """With C{l=} the end of the body is anybody's (I-17)."""
        message = forged({"l": "10"}, limit=10)
        for added in (b"", b"buy!\r\n"):
            result = self.assertResult(message + added, Status.POLICY, "l=")
            self.assertTrue(result.has_limit)
        self.assertEqual(self.results(message).verified_domains, ())

    def test_limit_all(self) -> None:
        """Even a limit that is the whole body does not close it; no octet more is there."""
        self.assertResult(forged({"l": "19"}, limit=19), Status.POLICY, "l=")
        self.assertResult(forged({"l": "20"}, limit=20), Status.FAIL, "shorter")

    def test_limit_broken(self) -> None:
        """A failure is not made better by C{l=}."""
        message = forged({"l": "10"}, limit=10).replace(b"We lost", b"We won!")
        self.assertTrue(self.assertResult(message, Status.FAIL).has_limit)

    def test_subject(self) -> None:
        """Subject has to be signed, whether it is there or not (I-17)."""
        self.assertResult(forged({"h": "from:to"}), Status.POLICY, "Subject")
        bare = b"From: a@example.org\r\n\r\n"
        self.assertResult(forged({"h": "from"}, message=bare), Status.POLICY, "Subject")
        self.assertResult(forged({"h": "from:subject"}, message=bare), Status.PASS)

    def test_added_field(self) -> None:
        """A second From or Subject above a signature for one does not pass (I-17)."""
        for name in (b"From", b"Subject"):
            added = name + b": eve@example.org\r\n" + forged({})
            self.assertResult(added, Status.POLICY, f"a {name.decode()} field")

    def test_two_signed(self) -> None:
        """Two From fields that are both signed pass; which is the author is another's question."""
        message = forged({"h": "from:subject:from"}, message=b"From: b@example.org\r\n" + MESSAGE)
        self.assertResult(message, Status.PASS)


class RefusedTests(VerifyCase):
    """What nobody needs a key for.  I-17."""

    def test_refused(self) -> None:
        """Such signatures are C{PERMERROR}, and no look-up is made for them (I-17)."""
        for tags, reason in (
            ({"h": "to:subject"}, "From"),
            ({"x": "1767225599"}, "expired"),
            ({"t": "5", "x": "5"}, "x="),
            ({"a": "rsa-sha1"}, "rsa-sha1"),
            ({"a": "rsa-md5"}, "algorithm"),
            ({"v": "2"}, "version"),
            ({"c": "nowsp"}, "c="),
            ({"q": "http"}, "q="),
            ({"i": "joe@example.net"}, "i="),
            ({"l": "x"}, "l="),
            ({"d": "a b"}, "d="),
        ):
            self.assertResult(forged(dict(tags)), Status.PERMERROR, reason)
            self.assertNotAsked()

    def test_not_expired(self) -> None:
        """A signature is good until its end, and one from the future is too."""
        self.assertResult(forged({"x": "1767225600"}), Status.PASS)
        self.assertResult(forged({"t": "1767999999"}), Status.PASS)

    def test_public_suffix(self) -> None:
        """Nobody signs for a domain below which others have theirs (I-17)."""
        suffix = parse_domain("example.org")
        results = self.results(forged({}), is_public_suffix=lambda domain: domain == suffix)
        [result] = results.signatures
        self.assertEqual(result.status, Status.PERMERROR)
        self.assertEqual(result.domain, suffix)
        self.assertNotAsked()


class KeyTests(VerifyCase):
    """What the DNS says of the key.  RFC 6376 section 6.1.2."""

    def assertKeys(
        self, tags: dict[str, str | None], keys_: dict[bytes, tuple[Status, str]]
    ) -> None:
        """The result with each of these records."""
        message = forged(tags)
        for record, (status, reason) in keys_.items():
            self.assertResult(message, status, reason, (record,))

    def test_tags(self) -> None:
        """The key has to be for mail, for SHA-256, of the right type and length (I-17)."""
        good, bad = (Status.PASS, ""), Status.PERMERROR
        short, long_ = (keys.rsa_public(bits) for bits in (1023, 16384))
        self.assertKeys(
            {},
            {
                RECORD + b"; s=email": good,
                RECORD + b"; s=other:*": good,
                RECORD + b"; s=other": (bad, "mail"),
                RECORD + b"; s=tlsrpt": (bad, "mail"),
                RECORD + b"; h=sha1:sha256": good,
                RECORD + b"; h=sha1": (bad, "SHA-256"),
                RECORD + b"; g=; zz=?": good,
                b"v=DKIM1; p=": (bad, "revoked"),
                b"k=rot13; p=AAAA": (bad, "type"),
                ED25519_RECORD: (bad, "another type"),
                b"p=" + _base64(short): (bad, "1023 bits"),
                b"p=" + _base64(long_): (bad, "too long"),
            },
        )

    def test_bits_told(self) -> None:
        """The length of a key that is refused is told."""
        for bits in (512, 16384):
            result = self.result(forged({}), (b"p=" + _base64(keys.rsa_public(bits)),))
            self.assertEqual(result.key_bits, bits)

    def test_strict(self) -> None:
        """With C{t=s} the identity is not below the domain."""
        record = RECORD + b"; t=s"
        self.assertKeys(
            {"i": "a@x.example.org"},
            {record: (Status.PERMERROR, "subdomain"), RECORD: (Status.PASS, "")},
        )
        self.assertKeys({"i": "a@Example.org"}, {record: (Status.PASS, "")})
        self.assertKeys({}, {record: (Status.PASS, "")})

    def test_testing(self) -> None:
        """Failures under a key with C{t=y} are as if nobody had signed (I-17)."""
        record = RECORD + b"; t=y"
        self.assertTrue(self.assertResult(forged({}), Status.PASS, records=(record,)).testing)
        for message, problem in (
            (forged({}).replace(b"game", b"Game"), record),
            (forged({}).replace(b"dinner", b"Dinner"), record),
            (forged({}), b"v=DKIM1; t=y; p="),
            (forged({}), record + b"; s=other"),
        ):
            result = self.assertResult(message, Status.NONE, records=(problem,))
            self.assertTrue(result.testing)

    def test_none(self) -> None:
        """Without a key record the signature is C{PERMERROR} (I-17)."""
        for records in (
            Answer((), exists=False),
            Answer(()),
            (b"v=spf1 -all",),
            (b"v=DKIM1",),
            ("name",),
        ):
            self.assertResult(forged({}), Status.PERMERROR, "no key record", records)

    def test_dns_failed(self) -> None:
        """DNS that fails is C{TEMPERROR}, never a missing key (I-17)."""
        self.assertResult(forged({}), Status.TEMPERROR, "DNS", LookupFailed("SERVFAIL"))

    def test_several(self) -> None:
        """Of several keys at a name nobody knows which is meant; other records do no harm."""
        for records in ((RECORD, RECORD + b"; n=2"), (ED25519_RECORD, RECORD)):
            self.assertResult(forged({}), Status.PERMERROR, "several", records)
        self.assertResult(forged({}), Status.PASS, records=(b"v=spf1 -all", RECORD, b"hello"))

    def test_many_records(self) -> None:
        """Thousands of records are not all read."""
        self.assertResult(forged({}), Status.PERMERROR, records=(b"x",) * 9000 + (RECORD,))

    def test_authentic(self) -> None:
        """Whether DNSSEC vouches for the record is told, of a missing one too."""
        for authentic in (False, True):
            for records in ((RECORD,), ()):
                answer = Answer(records, authentic=authentic)
                self.assertEqual(self.result(forged({}), answer).authentic, authentic)


class SeveralTests(VerifyCase):
    """Messages with more than one signature."""

    def test_order_and_domains(self) -> None:
        """Results are in the order of the fields, verified domains each once (I-18)."""
        broken = forged({"b": "AAAA"}).removesuffix(MESSAGE)
        message = forged({})
        message = broken + forged({"t": "1"}).removesuffix(MESSAGE) + message
        results = self.results(message)
        self.assertEqual(
            [one.status for one in results.signatures], [Status.FAIL, Status.PASS, Status.PASS]
        )
        self.assertEqual(results.verified_domains, (parse_domain("example.org"),))

    def test_asked_once(self) -> None:
        """A key that several signatures need is looked up once."""
        message = forged({}).removesuffix(MESSAGE) * 3 + MESSAGE
        self.assertEqual(len(self.results(message).signatures), 3)
        self.assertEqual(self.resolver.asked, [KEY])

    def test_many(self) -> None:
        """The first ten of 500 are evaluated, the rest counted (I-17)."""
        field = forged({}).removesuffix(MESSAGE)
        results = self.results(field * 500 + MESSAGE)
        self.assertEqual([one.status for one in results.signatures], [Status.PASS] * 10)
        self.assertEqual(results.omitted, 490)
        self.assertEqual(self.results(field * 10 + MESSAGE).omitted, 0)

    def test_different_limits(self) -> None:
        """Each has its own body hash."""
        names = {"s": "sel", "c": "simple/simple"}
        message = MESSAGE
        for limit in range(9):
            tags: dict[str, str | None] = {**names, "l": str(limit)}
            message = forged(tags, limit=limit).removesuffix(MESSAGE) + message
        results = self.results(message)
        self.assertEqual([one.status for one in results.signatures], [Status.POLICY] * 9)

    def test_signs_signature(self) -> None:
        """A signature may cover another below it, not itself."""
        inner = forged({})
        outer = forged({"h": "from:subject:dkim-signature:dkim-signature"}, message=inner)
        self.assertEqual([one.status for one in self.results(outer).signatures], [Status.PASS] * 2)


class BoundTests(VerifyCase):
    """Sizes that nobody needs.  They are refused or read; soon, or these hang."""

    def test_long_signature(self) -> None:
        """A signature of more than 16 kB is C{PERMERROR}."""
        for length, status in ((15000, Status.PASS), (17000, Status.PERMERROR)):
            self.assertResult(forged({"z": "x" * length}), status)

    def test_long_header(self) -> None:
        """Signatures of a header section above 256 KiB or 5000 lines are C{PERMERROR} (I-17)."""
        for added, status in (
            (b"X: " + b"x" * (1 << 17) + b"\r\n", Status.PASS),
            (b"X: " + b"x" * (1 << 18) + b"\r\n", Status.PERMERROR),
            (b"X:\r\n" * 4_900, Status.PASS),
            (b"X:\r\n" * 5_100, Status.PERMERROR),
        ):
            self.assertResult(forged({}, message=added + MESSAGE), status)

    def test_long_fields(self) -> None:
        """Ten signatures over a field of 240 kB that is made to be slow."""
        for piece in (b"a b ", b" ", b"\t \t", b"\r\n" + b" " * 60):
            field = b"Subject: x" + piece * (240_000 // len(piece)) + b"x\r\n"
            message = forged({"c": "relaxed"}, message=field + MESSAGE)
            fields = message[: message.index(b"Subject")]
            results = self.results(fields * 9 + message)
            self.assertEqual([one.status for one in results.signatures], [Status.POLICY] * 10)

    def test_many_names(self) -> None:
        """Ten signatures that name thousands of fields, of which there are thousands."""
        names = ":".join(["from", "subject", *(f"x{number}" for number in range(2500))])
        message = b"".join(b"x%d: y\r\n" % number for number in range(4900)) + MESSAGE
        signed = forged({"h": names}, message=message)
        fields = signed.removesuffix(message)
        results = self.results(fields * 9 + signed)
        self.assertEqual([one.status for one in results.signatures], [Status.PASS] * 10)

    def test_slow_values(self) -> None:
        """Values of 15 kB that lead a search astray are refused."""
        for value in (" " * 15000 + "*", "A " * 7500 + "*", "\r\n " * 5000 + "*", ";" * 15000):
            for tag in ("b", "bh", "h", "c", "i", "d", "s", "l", "x", "a"):
                self.assertResult(forged({tag: value, "b": value}), Status.PERMERROR)

    def test_body_of_megabytes(self) -> None:
        """A body of white space verifies."""
        body = (b" " * 998 + b"\r\n") * 2000 + b"\t" * 500_000 + b"\r\n" * 400_000
        message = MESSAGE + body + b"x"
        self.assertResult(forged({}, message=message), Status.PASS)


class WaitingTests(unittest.SynchronousTestCase):
    """The verifier in the middle of its work."""

    def setUp(self) -> None:
        """A message with two signatures whose keys the DNS does not know yet."""
        message = forged({"s": "two"}, message=forged({}))
        self.header, self.body = split_message(message)
        self.resolver = SlowResolver()

    def verifier(self, header: bytes | None = None) -> Verifier:
        """One for that message."""
        return Verifier(
            self.resolver,
            self.header if header is None else header,
            now=NOW,
            is_public_suffix=lambda _: False,
        )

    def test_asks_at_once(self) -> None:
        """All keys are asked for before the body comes."""
        self.verifier()
        self.assertEqual(
            [question.name for question, _ in self.resolver.asked],
            ["two._domainkey.example.org", "sel._domainkey.example.org"],
        )

    def test_answers_in_any_order(self) -> None:
        """The result is there with the last key, whichever that is."""
        for order in ((0, 1), (1, 0)):
            self.resolver.asked.clear()
            verifier = self.verifier()
            for place in range(len(self.body)):
                verifier.feed(self.body[place : place + 1])
            finished = Deferred.fromCoroutine(verifier.finish())
            for number in order:
                self.assertNoResult(finished)
                self.resolver.asked[number][1].callback(Answer((RECORD,)))
            results = self.successResultOf(finished)
            self.assertEqual([one.status for one in results.signatures], [Status.PASS] * 2)

    def test_one_fails(self) -> None:
        """A look-up that fails concerns its own signature only."""
        verifier = self.verifier()
        self.resolver.asked[0][1].errback(LookupFailed("time-out"))
        self.resolver.asked[1][1].callback(Answer((RECORD,)))
        verifier.feed(self.body)
        results = self.successResultOf(Deferred.fromCoroutine(verifier.finish()))
        self.assertEqual(
            [one.status for one in results.signatures], [Status.TEMPERROR, Status.PASS]
        )

    def test_with_empty_line(self) -> None:
        """The header section may come with its empty line."""
        verifier = self.verifier(self.header + b"\r\n")
        verifier.feed(self.body)
        for _, answer in self.resolver.asked:
            answer.callback(Answer((RECORD,)))
        results = self.successResultOf(Deferred.fromCoroutine(verifier.finish()))
        self.assertEqual([one.status for one in results.signatures], [Status.PASS] * 2)

    def test_cancel(self) -> None:
        """Who gives up leaves no look-up and no logged failure behind, also if it does twice."""
        cancelled: list[str] = []
        verifier = self.verifier()
        for question, answer in self.resolver.asked:
            answer._canceller = lambda _, name=question.name: cancelled.append(name)
        self.resolver.asked[0][1].errback(LookupFailed("time-out"))
        verifier.cancel()
        verifier.cancel()
        self.assertEqual(cancelled, ["sel._domainkey.example.org"])
        self.resolver.asked.clear()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_cancelled_while_waiting(self) -> None:
        """Cancelling the wait cancels every look-up."""
        verifier = self.verifier()
        finished = Deferred.fromCoroutine(verifier.finish())
        finished.cancel()
        self.failureResultOf(finished, CancelledError)
        for _, answer in self.resolver.asked:
            self.assertTrue(answer.called)
        verifier.cancel()

    def test_cancel_after_end(self) -> None:
        """Giving up what has ended does nothing."""
        verifier = self.verifier()
        for _, answer in self.resolver.asked:
            answer.callback(Answer((RECORD,)))
        finished = Deferred.fromCoroutine(verifier.finish())
        verifier.cancel()
        self.assertEqual(len(self.successResultOf(finished).signatures), 2)


def _base64(octets: bytes) -> bytes:
    return base64.b64encode(octets)
