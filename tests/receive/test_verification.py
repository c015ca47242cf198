"""Tests for L{moxsmtp.receive.verification}: all checks of one message."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.message.header import parse_header
from moxsmtp.names import parse_domain
from moxsmtp.receive.running import LOCAL_ERROR, TOO_LATE, Site
from moxsmtp.receive.verification import Authentication, Reverse, Verification
from moxsmtp.testing import MemoryChecks, MemoryMetrics
from tests.receive.houses import CLIENT, path, session_log

HOST = parse_domain("in.ours.example")
AWAY = parse_domain("away.example")
SECTION = b"From: Eve <eve@away.example>\r\nSubject: s\r\n\r\n"

SPF_PASS = spf.Result(spf.Status.PASS, spf.Scope.MAIL_FROM, AWAY)
SIGNED = dkim.Results(
    (dkim.Result(dkim.Status.PASS, domain=AWAY, algorithm="rsa-sha256"),), omitted=3
)
DMARC_PASS = dmarc.Result(dmarc.Status.PASS, dmarc.Alignment.DMARC, author=AWAY)
NAMED = iprev.Result(iprev.Status.PASS, "mx.away.example")


class VerificationCase(SynchronousTestCase):
    """@ivar told: What the checks will say: all pass, at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = MemoryMetrics()
        self.site = Site(self.clock, self.metrics, session_log())
        self.told = MemoryChecks()
        self.told.iprev, self.told.spf = NAMED, SPF_PASS
        self.told.dkim, self.told.dmarc = SIGNED, DMARC_PASS

    def begun(
        self, *, sender: str | None = "eve@away.example", waits: bool = False
    ) -> Verification:
        """MAIL has been accepted."""
        checks = self.told.checks(spf_waits=waits)
        self.reverse = Reverse(checks, self.site)
        return Verification(
            checks,
            self.site,
            CLIENT,
            path(sender) if sender else None,
            hostname=HOST,
            reverse=self.reverse.begin(CLIENT),
        )

    def whole(
        self, verification: Verification, section: bytes = SECTION
    ) -> Deferred[Authentication]:
        """The message has come."""
        verification.header_complete(section, parse_header(section))
        verification.body(b"Hi\r\n")

        async def found() -> Authentication:
            await verification.identities()
            return await verification.authentication()

        return Deferred.fromCoroutine(found())

    def names(self) -> list[str]:
        """The checks begun so far."""
        return [name for name, *_ in self.told.asked]

    def panics(self) -> list[str]:
        """The checks whose bugs were counted."""
        return [name.split('"')[1] for name in self.metrics.counts if "panic" in name]


class AuthorTests(VerificationCase):
    """Whose names a message goes by."""

    def judged(self, value: bytes) -> tuple[list[str], str]:
        """Whose domains DMARC is asked for, which says that they pass; and what comes of it."""
        self.told.asked.clear()
        self.told.dmarc = DMARC_PASS
        found = self.successResultOf(self.whole(self.begun(), value + b"\r\n\r\n"))
        asked = [given[1] for given in self.told.asked if given[0] == "dmarc"]
        domains = asked[0] if asked else ()
        self.assertEqual(found.authors, domains)
        result = found.dmarc
        said = f"{result.status} {result.alignment}"
        return [domain.ascii for domain in domains], f"{said} {result.problem}".strip()

    def test_authors(self) -> None:
        """
        Every author's domain counts, each once; where no domain is claimed at
        all there is no author (I-6, I-7).
        """
        fields = {
            b"From: a@one.example": (["one.example"], "pass dmarc"),
            b"From: A <a@One.Example>, b@two.example, c@one.example": (
                ["one.example", "two.example"],
                "pass dmarc",
            ),
            b"From: a@[192.0.2.1]": ([], "none none"),
            b"From: undisclosed:;": ([], "none none"),
            b"From: nobody": ([], "none none"),
            b"From:": ([], "none none"),
            b"Subject: none": ([], "none none"),
        }
        self.assertEqual(fields, {field: self.judged(field) for field in fields})

    def test_unreadable(self) -> None:
        """
        A From field that cannot be read whole never passes and validates nobody,
        whatever the domains in it say, which are judged all the same (I-6); nor
        is it C{none}, which is for messages without an author (I-7).
        """
        unreadable = "permerror none From cannot be read whole"
        comments = b" (" + b"c" * 9000 + b")"
        fields = {
            b"From: a@evil.example, Boss <ceo@bank.example> x": (
                ["evil.example", "bank.example"],
                unreadable,
            ),
            b"From: a@evil.example," + comments + b" ceo@bank.example": (
                ["evil.example", "bank.example"],
                "permerror none From is too long to be read whole",
            ),
            b"From: ceo@bank.example.": (["bank.example"], unreadable),
            b"From: <ceo@bank.example>>": (["bank.example"], unreadable),
            b"From: <ceo@bank.example> x": (["bank.example"], unreadable),
            b"From: ceo@bank.example (x": (["bank.example"], unreadable),
            b"From: \xff\xfe@\x00": ([], unreadable),
        }
        self.assertEqual(fields, {field: self.judged(field) for field in fields})

    def test_unreadable_rejected(self) -> None:
        """A domain that asks to refuse is heard, however its name came into From (I-6)."""
        self.told.dmarc = dmarc.Result(
            dmarc.Status.FAIL, dmarc.Alignment.RELAXED, author=AWAY, rejects=True
        )
        found = self.successResultOf(
            self.whole(self.begun(), b"From: x <eve@away.example> y\r\n\r\n")
        )
        self.assertEqual(dmarc.Result(dmarc.Status.FAIL, author=AWAY, rejects=True), found.dmarc)


class OrderTests(VerificationCase):
    """What begins when, with what."""

    def test_all_at_once(self) -> None:
        """With all answers there, nothing is waited for, and no timer is made."""
        found = self.successResultOf(self.whole(self.begun()))
        self.assertEqual(Authentication(NAMED, SPF_PASS, SIGNED, DMARC_PASS, (AWAY,)), found)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual({}, self.metrics.counts)

    def test_order(self) -> None:
        """
        iprev and SPF begin with MAIL, DKIM with the header section, DMARC with
        their results (I-1); SPF is told who sends, and the listener's name (I-14).
        """
        verification = self.begun()
        self.assertEqual(["iprev", "spf"], self.names())
        self.assertEqual(("iprev", CLIENT.address), self.told.asked[0])
        identity = spf.Identity(
            CLIENT.address, path("eve@away.example"), parse_domain("client.example"), HOST
        )
        self.assertEqual(("spf", identity, ()), self.told.asked[1])
        verification.header_complete(SECTION, parse_header(SECTION))
        self.assertEqual(("dkim", SECTION, (AWAY,)), self.told.asked[2])
        verification.body(b"on")
        verification.body(b"e")
        self.assertEqual(b"one", self.told.body)
        self.successResultOf(Deferred.fromCoroutine(verification.identities()))
        self.assertEqual(3, len(self.told.asked))
        self.successResultOf(Deferred.fromCoroutine(verification.authentication()))
        self.assertEqual(("dmarc", (AWAY,), SPF_PASS, SIGNED.signatures), self.told.asked[3])

    def test_together(self) -> None:
        """SPF and DKIM are waited for side by side, and DMARC waits for both (I-1)."""
        sender: Deferred[spf.Result] = Deferred()
        signed: Deferred[dkim.Results] = Deferred()
        self.told.spf, self.told.dkim = sender, signed
        asked = self.whole(self.begun())
        signed.callback(SIGNED)
        self.assertEqual(["iprev", "spf", "dkim"], self.names())
        self.assertNoResult(asked)
        sender.callback(SPF_PASS)
        self.assertEqual(SPF_PASS, self.successResultOf(asked).spf)
        self.assertEqual("dmarc", self.names()[-1])

    def test_no_author(self) -> None:
        """Without an author there is no DMARC: C{none}, without anybody being asked (I-7)."""
        found = self.successResultOf(self.whole(self.begun(), b"Subject: s\r\n\r\n"))
        self.assertEqual((dmarc.Result(dmarc.Status.NONE), ()), (found.dmarc, found.authors))
        self.assertNotIn("dmarc", self.names())

    def test_several_authors(self) -> None:
        """DMARC judges every author's domain (I-6)."""
        section = b"From: a@one.example, b@two.example\r\n\r\n"
        found = self.successResultOf(self.whole(self.begun(), section))
        self.assertEqual(["one.example", "two.example"], [each.ascii for each in found.authors])
        self.assertEqual(found.authors, self.told.asked[-1][1])

    def test_spf_waits(self) -> None:
        """Where the author decides what SPF sees, it begins with the header section (I-114)."""
        verification = self.begun(waits=True)
        self.assertEqual(["iprev"], self.names())
        self.assertEqual(SPF_PASS, self.successResultOf(self.whole(verification)).spf)
        self.assertEqual((AWAY,), self.told.asked[1][2])

    def test_measured(self) -> None:
        """Each check's outcome and duration is put down, in bounded labels."""
        odd = dkim.Result(dkim.Status.PERMERROR, algorithm="rot13\n")
        self.told.dkim = replace(SIGNED, signatures=(*SIGNED.signatures, odd))
        self.successResultOf(self.whole(self.begun()))
        self.assertEqual(
            {
                'mox_iprev_lookup_total{status="pass"}': [0.0],
                'mox_spf_verify_duration_seconds{status="pass"}': [0.0],
                'mox_dkim_verify_duration_seconds{algorithm="rsa-sha256",status="pass"}': [0.0],
                'mox_dkim_verify_duration_seconds{algorithm="other",status="permerror"}': [0.0],
                'mox_dmarc_verify_duration_seconds{reject="no",status="pass",use="yes"}': [0.0],
            },
            self.metrics.durations,
        )


class TroubleTests(VerificationCase):
    """No check harms the message."""

    def test_never_answered(self) -> None:
        """
        Look-ups that never answer: each check ends by itself after 60 seconds,
        DMARC with 60 of its own (I-2).
        """
        for name in ("iprev", "spf", "dkim", "dmarc"):
            setattr(self.told, name, Deferred())
        asked = self.whole(self.begun())
        self.clock.advance(60)
        self.assertNoResult(asked)
        self.assertEqual("dmarc", self.names()[-1])
        self.clock.advance(60)
        found = self.successResultOf(asked)
        self.assertEqual(iprev.Result(iprev.Status.TEMPERROR), found.iprev)
        self.assertEqual((spf.Status.TEMPERROR, TOO_LATE), (found.spf.status, found.spf.problem))
        (signature,) = found.dkim.signatures
        self.assertEqual((dkim.Status.TEMPERROR, TOO_LATE), (signature.status, signature.reason))
        self.assertEqual(dmarc.Status.TEMPERROR, found.dmarc.status)
        self.assertFalse(found.dmarc.rejects)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.panics())

    def test_bugs(self) -> None:
        """
        A check that raises is counted under its own name, the others say what
        they say, and the message goes on (I-3).
        """
        labels = {
            "iprev": "iprevverify",
            "spf": "spfverify",
            "dkim": "dkimverify",
            "dmarc": "dmarcverify",
        }
        for name, label in labels.items():
            self.setUp()
            setattr(self.told, name, ZeroDivisionError())
            found = self.successResultOf(self.whole(self.begun()))
            self.assertEqual([label], self.panics())
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
            kept = {"iprev": NAMED, "spf": SPF_PASS, "dkim": SIGNED, "dmarc": DMARC_PASS}
            for other in kept.keys() - {name}:
                self.assertEqual(kept[other], getattr(found, other), (name, other))

    def test_broken_identities(self) -> None:
        """
        An SPF or DKIM that could not be evaluated cannot make DMARC fail: it is
        told that any author may have passed (I-3, I-24).
        """
        self.told.spf = self.told.dkim = ZeroDivisionError()
        found = self.successResultOf(self.whole(self.begun()))
        _, authors, sender, signatures = self.told.asked[-1]
        self.assertEqual((AWAY,), authors)
        self.assertEqual(
            spf.Result(spf.Status.TEMPERROR, spf.Scope.MAIL_FROM, AWAY, problem=LOCAL_ERROR),
            sender,
        )
        self.assertEqual((dkim.Result(dkim.Status.TEMPERROR, domain=AWAY),), signatures)
        self.assertIsNone(found.dkim.signatures[0].domain)
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_broken_hello(self) -> None:
        """With the null sender, it is HELO's name that SPF could not judge."""
        self.told.spf = ZeroDivisionError()
        found = self.successResultOf(self.whole(self.begun(sender=None)))
        self.assertEqual(
            (spf.Scope.HELO, "client.example"),
            (found.spf.scope, found.spf.domain and found.spf.domain.ascii),
        )
        self.flushLoggedErrors(ZeroDivisionError)

    def test_broken_signatures(self) -> None:
        """A DKIM that breaks at the header section or in the body is asked no more (I-3)."""
        for broken in ("made", "fed"):
            self.setUp()
            checks = self.told.checks()
            verification = self.begun()
            if broken == "made":
                self.patch(verification, "_checks", replace(checks, dkim=self.bug))
            else:
                self.patch(self.told, "feed", self.bug)
            found = self.successResultOf(self.whole(verification))
            self.assertEqual(int(broken == "fed"), self.told.cancelled)
            verification.body(b"more")
            (signature,) = found.dkim.signatures
            self.assertEqual(dkim.Status.TEMPERROR, signature.status)
            self.assertEqual(["dkimverify"], self.panics())
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
            (told,) = self.told.asked[-1][3]
            self.assertEqual(AWAY, told.domain)

    def bug(self, *_: object) -> Any:
        raise ZeroDivisionError

    def test_cancelled(self) -> None:
        """Whatever runs when the transaction ends is called off, and no timer stays."""
        called_off: list[str] = []
        for name in ("iprev", "spf", "dkim"):
            waiting: Deferred[object] = Deferred(partial(_noted, called_off, name))
            setattr(self.told, name, waiting)
        verification = self.begun()
        asked = self.whole(verification)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual([], called_off)
        verification.cancel()
        self.reverse.cancel()
        self.assertEqual(["dkim", "iprev", "spf"], sorted(called_off))
        self.assertEqual(1, self.told.cancelled)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual({}, self.metrics.counts)

    def test_cancelled_early(self) -> None:
        """A transaction may end before there was any header section."""
        waiting: Deferred[object] = Deferred()
        self.told.spf = waiting
        verification = self.begun()
        verification.cancel()
        verification.cancel()
        self.assertTrue(waiting.called)
        self.assertEqual(0, self.told.cancelled)


class ReverseTests(VerificationCase):
    """The client's name."""

    def test_once(self) -> None:
        """A name is looked up once a connection; trouble is tried again (I-11)."""
        reverse = Reverse(self.told.checks(), self.site)
        self.told.iprev = iprev.Result(iprev.Status.TEMPERROR)
        reverse.begin(CLIENT)
        self.told.iprev = NAMED
        self.assertEqual(NAMED, reverse.begin(CLIENT).value)
        reverse.cancel()
        self.assertEqual(NAMED, reverse.begin(CLIENT).value)
        self.assertEqual(["iprev"] * 2, self.names())

    def test_unfinished(self) -> None:
        """One that was called off is begun anew."""
        waiting: Deferred[object] = Deferred()
        self.told.iprev = waiting
        reverse = Reverse(self.told.checks(), self.site)
        reverse.begin(CLIENT)
        reverse.cancel()
        self.assertTrue(waiting.called)
        self.told.iprev = NAMED
        self.assertEqual(NAMED, reverse.begin(CLIENT).value)


def _noted(names: list[str], name: str, _: Deferred[object]) -> None:
    names.append(name)
