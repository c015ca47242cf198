"""Tests for L{moxsmtp.receive.results}: the checks in Authentication-Results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.message.authres import authentication_results
from moxsmtp.names import parse_domain
from moxsmtp.receive.results import method_results
from moxsmtp.receive.verification import Authentication

HOST = parse_domain("mx.ours.example")
AWAY = parse_domain("away.example")
SPECIAL = parse_domain("b\u00fccher.example")

NOTHING = Authentication(
    iprev.Result(iprev.Status.PERMERROR),
    spf.Result(spf.Status.NONE),
    dkim.Results(),
    dmarc.Result(dmarc.Status.NONE),
)


class ResultsTests(SynchronousTestCase):
    """What a reader of the field sees."""

    def lines(
        self, authentication: Authentication, *, address: str = "192.0.2.7", smtputf8: bool = False
    ) -> Sequence[str]:
        """The field's results, one a line."""
        results = method_results(authentication, address=ip_address(address))
        field = authentication_results(HOST, results, smtputf8=smtputf8).decode()
        unfolded = field.removesuffix("\r\n").replace("\r\n\t", " ")
        return unfolded.split("; ")[1:]

    def signatures(self, *signatures: dkim.Result, omitted: int = 0) -> Sequence[str]:
        """Only those of DKIM."""
        told = self.lines(replace(NOTHING, dkim=dkim.Results(signatures, omitted)))
        return [line for line in told if line.startswith("dkim")]

    def test_nothing(self) -> None:
        """Every method says something; DKIM says why it is none (I-76)."""
        self.assertEqual(
            [
                "iprev=permerror (without dnssec) policy.iprev=192.0.2.7",
                'dkim=none reason="no signatures"',
                "spf=none",
                "dmarc=none",
            ],
            self.lines(NOTHING),
        )

    def test_all_pass(self) -> None:
        """What was checked, with whose domain, and whether DNSSEC vouched for it (I-76)."""
        told = self.lines(
            Authentication(
                iprev.Result(iprev.Status.PASS, "a.away.example", authentic=True),
                spf.Result(
                    spf.Status.PASS, spf.Scope.MAIL_FROM, AWAY, "include:x.example", authentic=True
                ),
                dkim.Results(
                    (
                        dkim.Result(
                            dkim.Status.PASS,
                            domain=AWAY,
                            selector="s1",
                            algorithm="rsa-sha256",
                            identity="@sub.away.example",
                            signature="abcdefghijklmnopqrstuvwxyz",
                            key_bits=2048,
                            authentic=True,
                        ),
                    )
                ),
                dmarc.Result(
                    dmarc.Status.PASS,
                    dmarc.Alignment.DMARC,
                    author=AWAY,
                    policy=dmarc.Policy.REJECT,
                    authentic=True,
                ),
                (AWAY,),
            ),
            address="2001:db8::7",
        )
        self.assertEqual(
            [
                'iprev=pass (with dnssec) policy.iprev="2001:db8::7"',
                (
                    "dkim=pass (2048 bit rsa, with dnssec) header.d=away.example header.s=s1"
                    " header.a=rsa-sha256 header.b=abcdefghijkl header.i=@sub.away.example"
                ),
                "spf=pass (with dnssec) smtp.mailfrom=away.example",
                "dmarc=pass (with dnssec) header.from=away.example policy.dmarc=reject",
            ],
            told,
        )

    def test_trouble(self) -> None:
        """Why a check failed is its reason; the identity of HELO is told as such (I-76)."""
        told = self.lines(
            replace(
                NOTHING,
                spf=spf.Result(
                    spf.Status.TEMPERROR, spf.Scope.HELO, AWAY, problem='no "answer"\r\nX: y'
                ),
                dmarc=dmarc.Result(dmarc.Status.PERMERROR, author=AWAY, problem="bad record"),
            )
        )
        self.assertEqual(
            r'spf=temperror (without dnssec) reason="no \"answer\" X: y" smtp.helo=away.example',
            told[2],
        )
        self.assertEqual(
            'dmarc=permerror (without dnssec) reason="bad record" header.from=away.example',
            told[3],
        )

    def test_each_signature(self) -> None:
        """
        Each signature has its own result; what it does not say is left out, and
        a short C{b=} is no trouble (I-76, trap 5).
        """
        self.assertEqual(
            [
                (
                    "dkim=fail (without dnssec) reason=mismatch header.d=away.example header.s=s"
                    " header.a=ed25519-sha256 header.b=abc"
                ),
                'dkim=permerror (without dnssec) reason="no d="',
            ],
            self.signatures(
                dkim.Result(
                    dkim.Status.FAIL,
                    domain=AWAY,
                    selector="s",
                    algorithm="ed25519-sha256",
                    signature="abc",
                    reason="mismatch",
                ),
                dkim.Result(dkim.Status.PERMERROR, reason="no d="),
            ),
        )

    def test_too_many(self) -> None:
        """Signatures that nobody evaluated are noted (I-17)."""
        passed = dkim.Result(dkim.Status.PASS, domain=AWAY)
        told = self.signatures(*[passed] * 10, omitted=490)
        self.assertEqual(11, len(told))
        self.assertEqual('dkim=policy reason="490 more signatures were not evaluated"', told[-1])

    def test_unicode(self) -> None:
        """Domains are U-labels where the message may have them, and else A-labels (I-77)."""
        authentication = replace(
            NOTHING, spf=spf.Result(spf.Status.PASS, spf.Scope.MAIL_FROM, SPECIAL)
        )
        self.assertEqual(
            "spf=pass (without dnssec) smtp.mailfrom=xn--bcher-kva.example",
            self.lines(authentication)[2],
        )
        self.assertEqual(
            "spf=pass (without dnssec) smtp.mailfrom=b\u00fccher.example (xn--bcher-kva.example)",
            self.lines(authentication, smtputf8=True)[2],
        )
