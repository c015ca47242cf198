"""Tests for L{moxsmtp.local_checks}: who sent what to a server that has only itself."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from ipaddress import ip_address

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp import dkim, spf
from moxsmtp.config import Selector, Settings
from moxsmtp.dkim import Signer, generate_key, load_private_key, public_record, sign
from moxsmtp.dns.records import Question, RRType
from moxsmtp.local_checks import local_checks
from moxsmtp.localserve import settings
from moxsmtp.names import Domain, parse_domain
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.smtp.address import Path
from moxsmtp.testing import MemoryResolver

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
LOCALHOST = parse_domain("localhost")
AWAY = parse_domain("away.example")

KEY = load_private_key(generate_key("ed25519"))


def signer(domain: Domain, selector: str) -> Signer:
    """Of the one key."""
    return Signer(domain, selector, KEY)


class LocalChecksTests(SynchronousTestCase):
    """
    Mail of localhost, which has the selector C{ours}.

    @ivar resolver: What localserve has for a DNS.
    """

    def setUp(self) -> None:
        self.resolver = MemoryResolver()
        selector = Selector(signer=signer(LOCALHOST, "ours"), record=public_record(KEY))
        made: Settings = replace(settings("/data"), selectors={LOCALHOST: (selector,)})
        self.checks = local_checks(
            made,
            self.resolver,
            clock=Clock(),
            now=lambda: NOW,
            is_public_suffix=PublicSuffixes().is_public_suffix,
        )

    def dkim(self, by: Signer, author: str) -> dkim.Status:
        """Of a message of C{author} that C{by} signs."""
        message = sign(b"From: a@%s\r\n\r\nHi\r\n" % author.encode(), [by], now=NOW)
        end = message.index(b"\r\n\r\n") + 4
        check = self.checks.dkim(message[:end], (parse_domain(author),))
        check.feed(message[end:])
        found = self.successResultOf(Deferred.fromCoroutine(check.finish()))
        return found.signatures[0].status

    def spf(self, address: str, sender: str, author: str) -> spf.Status:
        """Of a client at C{address}."""
        identity = spf.Identity(
            ip_address(address), Path("a", parse_domain(sender)), None, LOCALHOST
        )
        check = self.checks.spf(identity, (parse_domain(author),))
        return self.successResultOf(Deferred.fromCoroutine(check)).status

    def test_own_signature(self) -> None:
        """
        What a domain of ours has signed with a selector of its own passes, and
        no DNS is asked (I-114).
        """
        self.assertEqual(dkim.Status.PASS, self.dkim(signer(LOCALHOST, "ours"), "localhost"))
        self.assertEqual([], self.resolver.asked)

    def test_own_author_only(self) -> None:
        """For mail of a domain of ours no other key exists (I-114)."""
        record = public_record(KEY)
        self.resolver.zone[Question("s._domainkey.away.example", RRType.TXT)] = (record.encode(),)
        for by in (signer(LOCALHOST, "other"), signer(AWAY, "s")):
            self.assertEqual(dkim.Status.PERMERROR, self.dkim(by, "localhost"))
        self.assertEqual([], self.resolver.asked)

    def test_others_signature(self) -> None:
        """Mail of other domains is looked up as usual; even ours is no key for it (I-114)."""
        self.assertEqual(dkim.Status.PERMERROR, self.dkim(signer(AWAY, "s"), "away.example"))
        record = public_record(KEY)
        self.resolver.zone[Question("s._domainkey.away.example", RRType.TXT)] = (record.encode(),)
        self.assertEqual(dkim.Status.PASS, self.dkim(signer(AWAY, "s"), "away.example"))
        self.assertNotEqual(dkim.Status.PASS, self.dkim(signer(LOCALHOST, "ours"), "away.example"))

    def test_spf(self) -> None:
        """
        Who is on this machine may send as a domain of ours, and mail of such an
        author that names another sender has no SPF (I-114).
        """
        outcomes = {
            ("127.0.0.1", "localhost", "localhost"): spf.Status.PASS,
            ("127.9.9.9", "localhost", "localhost"): spf.Status.PASS,
            ("::1", "localhost", "localhost"): spf.Status.PASS,
            ("127.0.0.1", "away.example", "localhost"): spf.Status.NONE,
        }
        self.assertEqual(outcomes, {given: self.spf(*given) for given in outcomes})
        self.assertEqual([], self.resolver.asked)

    def test_usual_spf(self) -> None:
        """Other clients and other authors are looked up as usual (I-114)."""
        question = Question("away.example", RRType.TXT)
        self.resolver.zone[question] = (b"v=spf1 ip4:127.0.0.1 -all",)
        outcomes = {
            ("127.0.0.1", "away.example", "away.example"): spf.Status.PASS,
            ("127.0.0.2", "away.example", "away.example"): spf.Status.FAIL,
            ("192.0.2.1", "away.example", "localhost"): spf.Status.FAIL,
        }
        self.assertEqual(outcomes, {given: self.spf(*given) for given in outcomes})

    def test_waits_for_author(self) -> None:
        """SPF is not begun before the author is known."""
        self.assertTrue(self.checks.spf_waits)
