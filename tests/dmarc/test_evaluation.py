"""What DMARC says of a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from moxsmtp.dkim.result import Result as DKIMResult
from moxsmtp.dkim.result import Status as DKIMStatus
from moxsmtp.dmarc import MAXIMUM_AUTHORS, Alignment, Policy, Result, Status, Step, verify
from moxsmtp.dmarc.tree import is_below
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain, parse_domain
from moxsmtp.spf.result import Result as SPFResult
from moxsmtp.spf.result import Scope
from moxsmtp.spf.result import Status as SPFStatus
from tests.dmarc.zones import (
    FAILED,
    SilentResolver,
    VerifyTestCase,
    asked,
    dkim,
    dmarc_zone,
    spf,
)

REJECT = "v=DMARC1; p=reject"
STRICT = "v=DMARC1; p=reject; adkim=s; aspf=s"

Zone = Mapping[str, str | bytes | Answer | LookupFailed]


def brief(result: Result) -> str:
    """Status and alignment, and whether the message is to be refused."""
    return f"{result.status} {result.alignment}{' rejects' if result.rejects else ''}"


class AlignmentTests(VerifyTestCase):
    """I-19, I-20: who vouches for the author, and how closely."""

    def test_examples(self) -> None:
        """I-19: The examples of RFC 9989 section 4.4 and appendix B.1."""
        zone = {"example.com": REJECT, "example.net": REJECT}
        cases = {
            ("example.com", "example.com"): "pass strict",
            ("example.com", "child.example.com"): "pass dmarc",
            ("child.example.com", "example.com"): "pass dmarc",
            ("child.example.com", "example.net"): "fail none rejects",
            ("news.example.com", "foo.example.com"): "pass dmarc",
            ("news.example.com", "news.example.com"): "pass strict",
            ("news.example.com", "foo.example.net"): "fail none rejects",
        }
        by_spf = {
            (author, domain): brief(self.verify(dmarc_zone(zone), author, spf=spf(domain)))
            for author, domain in cases
        }
        by_dkim = {
            (author, domain): brief(self.verify(dmarc_zone(zone), author, dkim=dkim(domain)))
            for author, domain in cases
        }
        self.assertEqual((by_spf, by_dkim), (cases, cases))

    def test_tree_walk_examples(self) -> None:
        """I-19: The examples of RFC 9989 appendices B.3.1 and B.4."""
        signing = {"example.com": REJECT, "signing.example.com": REJECT}
        bank = {"bank.example": "v=DMARC1; p=reject; psd=y", "giant.bank.example": REJECT}
        deep = "a.b.c.d.e.f.g.h.i.j.k.example.com"
        rua = {"example.com": "v=DMARC1; p=reject; aspf=r; rua=mailto:dmarc-feedback@example.com"}
        cases = [
            (rua, "example.com", "mail.example.com", "example.com", "pass strict"),
            (signing, "example.com", "example.com", "signing.example.com", "pass strict"),
            (signing, "example.com", None, "signing.example.com", "pass dmarc"),
            (signing, deep, "example.com", "signing.example.com", "pass dmarc"),
            (signing, deep, None, "signing.example.com", "pass dmarc"),
            (bank, "giant.bank.example", "mail.giant.bank.example", "mail.mega.bank.example",
             "pass dmarc"),
            (bank, "giant.bank.example", None, "mail.mega.bank.example", "fail none rejects"),
        ]  # fmt: skip
        self.assertEqual(
            [
                brief(self.verify(dmarc_zone(zone), author, spf=spf(sender), dkim=dkim(signer)))
                for zone, author, sender, signer, _ in cases
            ],
            [expected for *_, expected in cases],
        )

    def test_modes(self) -> None:
        """I-20, I-24: C{adkim} and C{aspf} each decide whether the organization suffices."""
        zone = {
            "s.example": STRICT,
            "d.example": "v=DMARC1; p=reject; adkim=s",
            "f.example": "v=DMARC1; p=reject; aspf=s",
        }
        found = {}
        for name in zone:
            author, near = f"m.{name}", f"x.{name}"
            found[name] = [
                brief(self.verify(dmarc_zone(zone), author, spf=spf(near))),
                brief(self.verify(dmarc_zone(zone), author, dkim=dkim(near))),
                brief(self.verify(dmarc_zone(zone), author, dkim=dkim(near, author))),
            ]
        self.assertEqual(
            found,
            {
                "s.example": ["fail relaxed rejects", "fail relaxed rejects", "pass strict"],
                "d.example": ["pass dmarc", "fail relaxed rejects", "pass strict"],
                "f.example": ["fail relaxed rejects", "pass dmarc", "pass strict"],
            },
        )

    def test_any_suffices(self) -> None:
        """One aligned signature among others passes, wherever it stands."""
        zone = {"example.com": REJECT}
        others = ("example.net", "a.example.org", "example", "com")
        for place in range(len(others) + 1):
            domains = [*others[:place], "m.example.com", *others[place:]]
            result = self.verify(dmarc_zone(zone), "example.com", dkim=dkim(*domains))
            self.assertEqual(brief(result), "pass dmarc")

    def test_only_what_passed(self) -> None:
        """I-19: No other status than pass makes aligned; only a C{temperror} leaves it open."""
        zone = {"example.com": REJECT}
        by_spf = {
            status: brief(
                self.verify(dmarc_zone(zone), "example.com", spf=spf("example.com", status))
            )
            for status in SPFStatus
        }
        by_dkim = {
            status: brief(
                self.verify(
                    dmarc_zone(zone), "example.com", dkim=dkim("example.com", status=status)
                )
            )
            for status in DKIMStatus
        }
        failed = "fail none rejects"
        self.assertEqual(
            by_spf,
            dict.fromkeys(SPFStatus, failed)
            | {SPFStatus.PASS: "pass strict", SPFStatus.TEMPERROR: "temperror none"},
        )
        self.assertEqual(
            by_dkim,
            dict.fromkeys(DKIMStatus, failed)
            | {DKIMStatus.PASS: "pass strict", DKIMStatus.TEMPERROR: "temperror none"},
        )

    def test_without_record(self) -> None:
        """
        I-20: Alignment does not depend on a policy: a domain without record, with an
        invalid one, or with one that cannot be had, can still be vouched for.
        """
        cases: dict[str, tuple[Zone, str]] = {
            "none strict": ({}, "example.com"),
            "none none": ({}, "m.example.com"),
            "permerror strict": ({"example.com": "v=DMARC1"}, "example.com"),
            "permerror relaxed": ({"example.com": "v=DMARC1"}, "m.example.com"),
            "temperror strict": ({"example.com": FAILED}, "example.com"),
            "temperror none": ({"example.com": FAILED}, "m.example.com"),
        }
        self.assertEqual(
            [
                brief(self.verify(dmarc_zone(zone), "example.com", dkim=dkim(signer)))
                for zone, signer in cases.values()
            ],
            list(cases),
        )

    def test_helo(self) -> None:
        """
        With a null reverse-path the name in HELO is the identity of MAIL FROM
        (RFC 9989 section 3.2.4).
        """
        resolver = dmarc_zone({"example.com": REJECT})
        helo = spf("mx.example.com", scope=Scope.HELO)
        self.assertEqual(brief(self.verify(resolver, "example.com", spf=helo)), "pass dmarc")

    def test_suffix_is_no_organization(self) -> None:
        """I-19: Neighbours below a public suffix that says so are not of one organization."""
        for zone in ({"example": "v=DMARC1; p=reject; psd=y"}, {"a.example": REJECT}):
            result = self.verify(dmarc_zone(zone), "a.example", dkim=dkim("b.example"))
            self.assertEqual(brief(result), "fail none rejects")


class PolicyTests(VerifyTestCase):
    """I-21, I-22: which record applies, and what it asks for."""

    def policies(self, record: str, author: str, extra: Zone | None = None) -> str:
        """The policy for C{author} with C{record} at example.com, and what is done."""
        result = self.verify(dmarc_zone({"example.com": record} | dict(extra or {})), author)
        return f"{result.policy} {brief(result)}"

    def test_own_domain(self) -> None:
        """I-22: At the author's own domain C{p} applies; quarantine counts as reject."""
        cases = {
            "p=none; sp=reject; np=reject": "none fail none",
            "p=quarantine; sp=none": "quarantine fail none rejects",
            "p=reject; sp=none": "reject fail none rejects",
        }
        self.assertEqual(
            {tags: self.policies(f"v=DMARC1; {tags}", "example.com") for tags in cases}, cases
        )

    def test_subdomain(self) -> None:
        """I-22: Below, C{np} applies to what does not exist, C{sp} to the rest, C{p} else."""
        exists = {"x.a.example.com": "other"}  # so that a.example.com exists too
        # policy for an existing subdomain, and for one that does not exist
        cases = {
            "p=reject": ("reject", "reject"),
            "p=reject; sp=none": ("none", "none"),
            "p=none; sp=quarantine; np=reject": ("quarantine", "reject"),
            "p=reject; np=none": ("reject", "none"),
            "p=none; np=quarantine": ("none", "quarantine"),
            "p=reject; sp=none; np=none": ("none", "none"),
        }
        found = {
            tags: (
                self.policies(f"v=DMARC1; {tags}", "a.example.com", exists).split()[0],
                self.policies(f"v=DMARC1; {tags}", "a.example.com").split()[0],
            )
            for tags in cases
        }
        self.assertEqual(found, cases)

    def test_existence(self) -> None:
        """
        I-22: Whether the author's domain exists is asked only where it matters, and
        nothing has shown it.  RFC 9989 section 3.2.13, RFC 8020.
        """
        name = Question("a.example.com", RRType.A)
        alias = Answer((), exists=False, canonical_name="gone.example.net")
        cases: dict[str, tuple[str, Zone, dict[Question, Answer], bool, str]] = {
            "no np": ("p=reject; sp=none", {}, {}, False, "none"),
            "the same": ("p=reject; np=reject", {}, {}, False, "reject"),
            "np": ("p=none; np=reject", {}, {}, True, "reject"),
            "no data": ("p=none; np=reject", {}, {name: Answer(())}, True, "none"),
            "address": ("p=none; np=reject", {}, {name: Answer(("192.0.2.1",))}, True, "none"),
            "alias": ("p=none; np=reject", {}, {name: alias}, True, "none"),
            "seen": ("p=none; np=reject", {"a.example.com": Answer(())}, {}, False, "none"),
            "other text": ("p=none; np=reject", {"a.example.com": "v=other"}, {}, False, "none"),
        }
        found = {}
        for title, (tags, zone, addresses, _, _) in cases.items():
            resolver = dmarc_zone({"example.com": f"v=DMARC1; {tags}"} | dict(zone))
            resolver.zone.update(addresses)
            result = self.verify(resolver, "a.example.com")
            found[title] = (name in resolver.asked, result.policy)
        self.assertEqual(found, {title: (case[3], case[4]) for title, case in cases.items()})

    def test_existence_shown(self) -> None:
        """A domain that SPF or DKIM authenticated exists."""
        for shown in (True, False):
            resolver = dmarc_zone({"example.com": "v=DMARC1; p=none; np=reject"})
            result = self.verify(
                resolver,
                "a.example.com",
                spf=spf("a.example.com") if shown else spf(),
                dkim=() if shown else dkim("a.example.com"),
            )
            self.assertEqual((brief(result), result.policy), ("pass strict", Policy.NONE))
            self.assertEqual({question.type for question in resolver.asked}, {RRType.TXT})

    def test_existence_unknown(self) -> None:
        """
        Where it matters and cannot be told, the outcome is open; a message that
        passes, passes.
        """
        resolver = dmarc_zone({"example.com": "v=DMARC1; p=none; np=reject"})
        resolver.zone[Question("a.example.com", RRType.A)] = FAILED
        result = self.verify(resolver, "a.example.com")
        self.assertEqual(
            (brief(result), result.policy, result.problem),
            ("temperror none", Policy.NONE, "SERVFAIL"),
        )
        self.assertEqual(result.walk[-1], Step("a.example.com", "SERVFAIL"))
        passed = self.verify(resolver, "a.example.com", dkim=dkim("b.example.com"))
        self.assertEqual((brief(passed), passed.policy), ("pass dmarc", Policy.NONE))

    def test_public_suffix(self) -> None:
        """I-21: A public suffix's own record applies below it where an organization has none."""
        zone = {"bank.example": "v=DMARC1; p=none; sp=reject; psd=y"}
        result = self.verify(dmarc_zone(zone), "a.mega.bank.example")
        self.assertEqual(
            (brief(result), result.policy_domain, result.organizational_domain),
            ("fail none rejects", Domain("bank.example"), Domain("mega.bank.example")),
        )

    def test_organization_before_suffix(self) -> None:
        """I-21: An organization's record stands before that of the suffix above it."""
        zone = {
            "bank.example": "v=DMARC1; p=reject; psd=y",
            "mega.bank.example": "v=DMARC1; p=none",
        }
        result = self.verify(dmarc_zone(zone), "a.mega.bank.example")
        self.assertEqual(
            (brief(result), result.policy_domain), ("fail none", Domain("mega.bank.example"))
        )

    def test_testing(self) -> None:
        """I-23: A record in testing refuses nothing, and shows its policy."""
        found = {
            tags: self.policies(f"v=DMARC1; {tags}", "example.com")
            for tags in ("p=reject; t=y", "p=quarantine; t=y", "p=reject; pct=0")
        }
        self.assertEqual(
            found,
            {
                "p=reject; t=y": "reject fail none",
                "p=quarantine; t=y": "quarantine fail none",
                "p=reject; pct=0": "reject fail none",
            },
        )

    def test_percentage(self) -> None:
        """No other percentage than 0 is heard: nothing is left to chance (I-23)."""
        for percentage in (1, 50, 99, 100):
            self.assertEqual(
                self.policies(f"v=DMARC1; p=reject; pct={percentage}", "example.com"),
                "reject fail none rejects",
            )

    def test_invalid(self) -> None:
        """I-21: A bad record is C{permerror}, enforces nothing, and hides the one above."""
        zone = {"a.example.com": "v=DMARC1; p=rejects", "example.com": REJECT}
        result = self.verify(dmarc_zone(zone), "a.example.com")
        self.assertEqual(
            (brief(result), result.problem, result.policy, result.record, result.policy_domain),
            ("permerror none", "p= has no valid value", None, None, Domain("a.example.com")),
        )

    def test_several_records(self) -> None:
        """I-21: Several records at one name are none; that of the organization applies."""
        both = Answer((REJECT.encode(), b"v=DMARC1; p=none"))
        result = self.verify(
            dmarc_zone({"a.example.com": both, "example.com": REJECT}), "a.example.com"
        )
        self.assertEqual(
            (brief(result), result.policy_domain),
            ("fail none rejects", Domain("example.com")),
        )
        alone = self.verify(dmarc_zone({"example.com": both}), "example.com")
        self.assertEqual((brief(alone), alone.policy), ("none none", None))

    def test_no_record(self) -> None:
        """I-21: Without a record nothing is enforced."""
        result = self.verify(dmarc_zone({}), "a.example.com", dkim=dkim("example.net"))
        self.assertEqual(
            (brief(result), result.policy, result.record, result.organizational_domain),
            ("none none", None, None, Domain("a.example.com")),
        )

    def test_long_names(self) -> None:
        """A name that leaves no room for C{_dmarc.} is no way round the organization's policy."""
        author = ".".join(["x" * 60] * 4) + ".v.example"
        self.assertEqual(
            brief(self.verify(dmarc_zone({"v.example": REJECT}), author)), "fail none rejects"
        )


class TroubleTests(VerifyTestCase):
    """I-21, I-24: a DNS that fails."""

    def test_never_no_policy(self) -> None:
        """I-21: Wherever on the way to the record a look-up fails, the outcome is open."""
        for name in ("a.b.example.com", "b.example.com", "example.com", "com"):
            zone: Zone = {"example.com": REJECT, name: FAILED}
            result = self.verify(dmarc_zone(zone), "a.b.example.com", dkim=dkim("example.net"))
            self.assertEqual(
                (brief(result), result.problem, result.organizational_domain, result.record),
                ("temperror none", "SERVFAIL", None, None),
            )

    def test_no_matter(self) -> None:
        """
        I-21: A failure above the author's own record changes nothing where nobody
        could be aligned, or somebody is anyway.
        """
        zone: Zone = {"example.com": REJECT, "com": FAILED}
        cases = {
            "unsigned": (dkim(), "fail none rejects"),
            "elsewhere": (dkim("example.net"), "fail none rejects"),
            "the same domain": (dkim("example.com"), "pass strict"),
            "perhaps": (dkim("m.example.com"), "temperror none"),
        }
        self.assertEqual(
            {
                title: brief(self.verify(dmarc_zone(zone), "example.com", dkim=signed))
                for title, (signed, _) in cases.items()
            },
            {title: expected for title, (_, expected) in cases.items()},
        )

    def test_strict_needs_no_walk(self) -> None:
        """Where only equal domains count, a failure above hides nothing."""
        zone: Zone = {"example.com": STRICT, "com": FAILED}
        result = self.verify(dmarc_zone(zone), "example.com", dkim=dkim("m.example.com"))
        self.assertEqual(brief(result), "fail none rejects")

    def test_identifiers_walk(self) -> None:
        """A failure in the walk of a domain that may be aligned leaves the outcome open."""
        zone: Zone = {"example.com": REJECT, "m.example.com": FAILED, "example.net": FAILED}
        cases = {
            ("m.example.com",): "temperror none",
            ("example.net",): "fail none rejects",
            ("m.example.com", "x.example.com"): "pass dmarc",
        }
        self.assertEqual(
            {
                domains: brief(self.verify(dmarc_zone(zone), "example.com", dkim=dkim(*domains)))
                for domains in cases
            },
            cases,
        )

    def test_temperror(self) -> None:
        """
        I-24: A C{temperror} of SPF or DKIM leaves the outcome open, unless that domain
        could not have been aligned (trap 9).
        """
        zone: Zone = {
            "example.com": REJECT,
            "own.example.com": "v=DMARC1; p=reject; psd=n",
            "strict.example": STRICT,
        }
        cases = {
            ("example.com", "example.com"): "temperror none",
            ("example.com", "m.example.com"): "temperror none",
            ("m.example.com", "example.com"): "temperror none",
            ("example.com", "example.net"): "fail none rejects",
            ("example.com", "com"): "fail none rejects",
            ("example.com", "own.example.com"): "fail none rejects",
            ("strict.example", "strict.example"): "temperror none",
            ("strict.example", "m.strict.example"): "fail none rejects",
        }
        by_dkim = {
            (author, domain): brief(
                self.verify(
                    dmarc_zone(zone), author, dkim=dkim(domain, status=DKIMStatus.TEMPERROR)
                )
            )
            for author, domain in cases
        }
        by_spf = {
            (author, domain): brief(
                self.verify(dmarc_zone(zone), author, spf=spf(domain, SPFStatus.TEMPERROR))
            )
            for author, domain in cases
        }
        self.assertEqual((by_dkim, by_spf), (cases, cases))

    def test_pass_overrides(self) -> None:
        """I-24: An aligned pass is a pass, whatever else failed for the time being."""
        signed = (*dkim("example.com", status=DKIMStatus.TEMPERROR), *dkim("m.example.com"))
        sender = spf("x.example.com", SPFStatus.TEMPERROR)
        for signatures in (signed, signed[::-1]):
            result = self.verify(
                dmarc_zone({"example.com": REJECT}), "example.com", spf=sender, dkim=signatures
            )
            self.assertEqual((brief(result), result.problem), ("pass dmarc", ""))

    def test_says_whose(self) -> None:
        """The problem names what could not be had."""
        resolver = dmarc_zone({"example.com": REJECT})
        open_key = dkim("m.example.com", status=DKIMStatus.TEMPERROR)
        self.assertEqual(
            [
                self.verify(resolver, "example.com", dkim=open_key).problem,
                self.verify(
                    resolver, "example.com", spf=spf("example.com", SPFStatus.TEMPERROR)
                ).problem,
            ],
            ["DKIM of m.example.com: temperror", "SPF of example.com: temperror"],
        )

    def test_no_record_no_trouble(self) -> None:
        """Without a record no C{temperror} of others matters."""
        signed = dkim("example.com", status=DKIMStatus.TEMPERROR)
        self.assertEqual(
            brief(self.verify(dmarc_zone({}), "example.com", dkim=signed)), "none none"
        )

    def test_cancelled(self) -> None:
        """Whoever cancels the check cancels its question."""
        resolver = SilentResolver()
        checking = Deferred.fromCoroutine(
            verify(resolver, [parse_domain("example.com")], spf=spf(), dkim=())
        )
        self.assertNoResult(checking)
        checking.cancel()
        self.failureResultOf(checking, CancelledError)
        self.assertEqual(resolver.cancelled, [Question("_dmarc.example.com", RRType.TXT)])


class AuthorsTests(VerifyTestCase):
    """No author, and several."""

    def test_none(self) -> None:
        """I-7: without an author there is nothing to judge, and nothing to say."""
        resolver = dmarc_zone({})
        result = self.verify(resolver, spf=spf("example.com"), dkim=dkim("example.com"))
        self.assertEqual((result, resolver.asked), (Result(Status.NONE), []))

    def test_strictest(self) -> None:
        """Each author domain is judged; the strictest outcome is used, in any order."""
        zone: Zone = {
            "pass.example": REJECT,
            "reject.example": REJECT,
            "quarantine.example": "v=DMARC1; p=quarantine",
            "fail.example": "v=DMARC1; p=none",
            "testing.example": "v=DMARC1; p=reject; t=y",
            "invalid.example": "v=DMARC1",
            "broken.example": FAILED,
        }
        order = ["reject", "quarantine", "broken", "testing", "fail", "invalid", "other", "pass"]
        for place, worse in enumerate(order):
            for better in order[place:]:
                pair = [f"{worse}.example", f"{better}.example"]
                for authors in (pair, pair[::-1]):
                    result = self.verify(
                        dmarc_zone(zone), *authors, dkim=dkim("pass.example", "other.example")
                    )
                    self.assertEqual(result.author, Domain(f"{worse}.example"), authors)

    def test_weakest_alignment(self) -> None:
        """Authors are vouched for only as well as the one for whom nobody does."""
        zone: Zone = {"a.example": STRICT, "b.example": REJECT}
        signed = dkim("m.a.example", "b.example")
        found = {
            authors: brief(self.verify(dmarc_zone(zone), *authors, dkim=signed))
            for authors in (
                ("a.example", "b.example"),
                ("b.example", "m.a.example"),
                ("a.example", "none.example"),
                ("b.example", "b.example"),
            )
        }
        self.assertEqual(
            found,
            {
                ("a.example", "b.example"): "fail relaxed rejects",
                ("b.example", "m.a.example"): "pass strict",
                ("a.example", "none.example"): "fail none rejects",
                ("b.example", "b.example"): "pass strict",
            },
        )

    def test_many(self) -> None:
        """
        So many author domains are judged and no more; the rest is C{permerror},
        unless one of the first rejects already.
        """
        authors = [f"a{number}.example" for number in range(MAXIMUM_AUTHORS + 5)]
        resolver = dmarc_zone({"a3.example": "v=DMARC1; p=reject"})
        passing = dkim(*authors[:MAXIMUM_AUTHORS])
        result = self.verify(resolver, *authors, dkim=passing)
        self.assertEqual(
            (brief(result), result.problem),
            ("permerror none", "more than 10 author domains"),
        )
        self.assertEqual(len(asked(resolver)), MAXIMUM_AUTHORS + 1)
        self.assertEqual(brief(self.verify(resolver, *authors)), "fail none rejects")

    def test_slow_others(self) -> None:
        """
        Author domains are judged side by side, and one whose DNS is slow is a
        C{temperror} of its own in a third of the time of a check (I-2): it
        cannot take a rejection away, wherever it stands.
        """
        slow = [f"a{number}.slow.example" for number in range(MAXIMUM_AUTHORS - 1)]
        for authors in ([*slow, "bank.example"], ["bank.example", *slow]):
            clock = Clock()
            resolver = SilentResolver(dmarc_zone({"bank.example": REJECT}), below=".slow.example")
            checking = self.checking(resolver, clock, *authors)
            clock.advance(19.9)
            self.assertNoResult(checking)
            clock.advance(0.2)
            result = self.successResultOf(checking)
            self.assertEqual(
                (brief(result), result.author), ("fail none rejects", Domain("bank.example"))
            )
            self.assertEqual(len(resolver.cancelled), len(slow))
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_slow_says_so(self) -> None:
        """Where nobody rejects, the one that could not be judged is what is told."""
        clock = Clock()
        resolver = SilentResolver(dmarc_zone({"good.example": REJECT}), below=".slow.example")
        checking = self.checking(
            resolver, clock, "good.example", "a.slow.example", signed=("good.example",)
        )
        clock.advance(20)
        result = self.successResultOf(checking)
        self.assertEqual(
            (brief(result), result.author, result.problem),
            ("temperror none", Domain("a.slow.example"), "not judged within 20 seconds"),
        )

    def test_cancelled_with_several(self) -> None:
        """Whoever cancels the check of several authors cancels all of their questions."""
        clock = Clock()
        resolver = SilentResolver()
        checking = self.checking(resolver, clock, "a.example", "b.example", "c.example")
        checking.cancel()
        self.failureResultOf(checking, CancelledError)
        self.assertEqual(len(resolver.cancelled), 3)
        self.assertEqual(clock.getDelayedCalls(), [])

    def checking(
        self, resolver: IResolver, clock: Clock, *authors: str, signed: Sequence[str] = ()
    ) -> Deferred[Result]:
        """A check with time limits, begun."""
        domains = [parse_domain(one) for one in authors]
        return Deferred.fromCoroutine(
            verify(resolver, domains, spf=spf(), dkim=dkim(*signed), clock=clock)
        )

    def test_shared_look_ups(self) -> None:
        """The walks of authors, sender and signers ask for no name twice."""
        resolver = dmarc_zone({"example.com": STRICT, "a.example.com": STRICT})
        self.verify(
            resolver,
            "a.example.com", "b.example.com", "example.com",
            spf=spf("c.example.com"),
            dkim=dkim("d.example.com", "d.example.com", "e.d.example.com", "c.example.com"),
        )  # fmt: skip
        names = asked(resolver)
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_trace_is_whole(self) -> None:
        """Each author's trace shows what it rests on, also what another had asked for before."""
        resolver = dmarc_zone({"example.com": REJECT})
        result = self.verify(resolver, "a.example.com", "b.example.com", dkim=dkim("a.example.com"))
        self.assertEqual(
            [step.name for step in result.walk],
            ["_dmarc.b.example.com", "_dmarc.example.com", "_dmarc.com", "_dmarc.a.example.com"],
        )


class TraceTests(VerifyTestCase):
    """What is kept of the way."""

    def test_walk(self) -> None:
        """The walk is kept, with what each name said, in order."""
        resolver = dmarc_zone({"example.com": "v=DMARC1; p=none; np=reject"})
        result = self.verify(resolver, "a.example.com", dkim=dkim("b.example.com", "example.net"))
        self.assertEqual(
            result.walk,
            (
                Step("_dmarc.a.example.com", "no record"),
                Step("_dmarc.example.com", "v=DMARC1; p=none; np=reject"),
                Step("_dmarc.com", "no record"),
                Step("_dmarc.b.example.com", "no record"),
                Step("a.example.com", "does not exist"),
            ),
        )

    def test_unrelated_not_walked(self) -> None:
        """Domains that cannot be aligned cost no question, however many sign."""
        resolver = dmarc_zone({"example.com": REJECT})
        self.verify(resolver, "example.com", dkim=dkim(*(f"s{n}.example.net" for n in range(10))))
        self.assertEqual(asked(resolver), ["_dmarc.example.com", "_dmarc.com"])

    def test_enough(self) -> None:
        """Nobody is walked besides a domain that passes and is aligned."""
        resolver = dmarc_zone({"example.com": REJECT})
        signed = (
            *dkim("x.example.com", status=DKIMStatus.TEMPERROR),
            *dkim("a.example.com", "b.example.com"),
        )
        self.verify(resolver, "example.com", dkim=signed)
        self.assertEqual(
            asked(resolver), ["_dmarc.example.com", "_dmarc.com", "_dmarc.a.example.com"]
        )

    def test_nothing_to_align(self) -> None:
        """Where no record is found, nobody else is walked."""
        resolver = dmarc_zone({})
        self.verify(resolver, "example.com", dkim=dkim("a.example.com"))
        self.assertEqual(asked(resolver), ["_dmarc.example.com", "_dmarc.com"])

    def test_authentic(self) -> None:
        """
        The record is authentic if its answer is, and if it was found above, if
        the absence of those below is.
        """
        record = Answer((REJECT.encode(),), authentic=True)
        absent = Answer((), authentic=True)
        cases: dict[str, tuple[Zone, bool]] = {
            "own": ({"m.example.com": record}, True),
            "own, not validated": ({"m.example.com": REJECT}, False),
            "above": ({"m.example.com": absent, "example.com": record, "com": absent}, True),
            "above, gap": ({"example.com": record, "com": absent}, False),
            "none": ({"m.example.com": absent, "example.com": absent, "com": absent}, True),
            "none, gap": ({"m.example.com": absent, "com": absent}, False),
            "failed": ({"m.example.com": absent, "example.com": FAILED}, False),
        }
        self.assertEqual(
            {
                title: self.verify(dmarc_zone(zone), "m.example.com").authentic
                for title, (zone, _) in cases.items()
            },
            {title: expected for title, (_, expected) in cases.items()},
        )

    def test_existence_authentic(self) -> None:
        """Where C{np} applies because a name does not exist, that has to be validated too."""
        absent = Answer((), authentic=True, exists=False)
        record = Answer((b"v=DMARC1; p=none; np=reject",), authentic=True)
        found = []
        for authentic in (True, False):
            resolver = dmarc_zone({"m.example.com": absent, "example.com": record, "com": absent})
            resolver.zone[Question("m.example.com", RRType.A)] = Answer(
                (), authentic=authentic, exists=False
            )
            result = self.verify(resolver, "m.example.com")
            found.append((result.policy, result.authentic))
        self.assertEqual(found, [(Policy.REJECT, True), (Policy.REJECT, False)])


NAMES = st.lists(st.sampled_from(["a", "b", "x" * 60]), min_size=1, max_size=9).map(
    lambda labels: ".".join(labels)[-253:].lstrip(".")
)

RECORDS = st.one_of(
    st.sampled_from([FAILED, Answer(()), Answer((), exists=False)]),
    st.binary(max_size=30),
    st.builds(
        "v=DMARC1; p={}; {}; {}".format,
        st.sampled_from(["none", "quarantine", "reject", "other"]),
        st.sampled_from(["psd=y", "psd=n", "adkim=s", "aspf=s", "t=y", "rua=mailto:a@b", ""]),
        st.sampled_from(["sp=none", "np=reject", "np=none; sp=reject", ""]),
    ),
)


class AnythingTests(VerifyTestCase):
    """Whatever the DNS holds."""

    @settings(max_examples=150, deadline=None)
    @given(
        st.dictionaries(NAMES, RECORDS, max_size=6),
        st.lists(NAMES, max_size=3),
        st.tuples(st.sampled_from(SPFStatus), NAMES),
        st.lists(st.tuples(st.sampled_from(DKIMStatus), NAMES), max_size=4),
    )
    def test_anything(
        self,
        zone: dict[str, str | bytes | Answer | LookupFailed],
        authors: list[str],
        sender: tuple[SPFStatus, str],
        signed: list[tuple[DKIMStatus, str]],
    ) -> None:
        """There is always a result, it does not contradict itself, and costs few questions."""
        resolver = dmarc_zone(zone)
        result = self.verify(
            resolver,
            *authors,
            spf=SPFResult(sender[0], Scope.MAIL_FROM, Domain(sender[1])),
            dkim=[DKIMResult(status, Domain(name)) for status, name in signed],
        )
        self.assertEqual(result.author is None, not authors)
        if result.rejects:
            self.assertIs(result.status, Status.FAIL)
            self.assertIn(result.policy, {Policy.QUARANTINE, Policy.REJECT})
            assert result.record is not None
            self.assertFalse(result.record.testing)
        if result.status is Status.PASS:
            self.assertIn(result.alignment, {Alignment.STRICT, Alignment.DMARC})
        elif len(authors) == 1:
            self.assertIsNot(result.alignment, Alignment.DMARC)
        self.assertEqual(
            result.policy is None,
            result.status in {Status.NONE, Status.PERMERROR}
            or (result.status is Status.TEMPERROR and result.record is None),
        )
        self.assertEqual(
            bool(result.problem), result.status in {Status.TEMPERROR, Status.PERMERROR}
        )
        if result.author and result.organizational_domain:
            self.assertTrue(is_below(result.author.ascii, result.organizational_domain.ascii))
        identities = len(authors) + 1 + len(signed)
        self.assertLessEqual(len(resolver.asked), 8 * identities + len(authors))
