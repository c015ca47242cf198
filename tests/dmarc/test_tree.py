"""The walk up the tree."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dmarc.record import InvalidRecord, PublicSuffix, parse_record
from moxsmtp.dmarc.result import Step
from moxsmtp.dmarc.tree import Tree, Walk, is_below
from moxsmtp.dns.asking import Asking
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.testing import MemoryResolver
from tests.dmarc.zones import FAILED, SilentResolver, asked, dmarc_zone

PLAIN = "v=DMARC1; p=reject"
TOP = "v=DMARC1; p=reject; psd=y"
END = "v=DMARC1; p=reject; psd=n"


class TreeTestCase(SynchronousTestCase):
    """Cases that walk."""

    def walk(self, resolver: MemoryResolver, start: str) -> Walk:
        """From C{start} up."""
        return self.successResultOf(Deferred.fromCoroutine(Tree(Asking(resolver)).walk(start)))


class QuestionTests(TreeTestCase):
    """What is asked, and when it ends."""

    def asked(self, zone: Mapping[str, str | bytes | Answer | LookupFailed], start: str) -> str:
        """The domains asked for, in order."""
        resolver = dmarc_zone(zone)
        self.walk(resolver, start)
        return " ".join(name.removeprefix("_dmarc.") for name in asked(resolver))

    def test_deep(self) -> None:
        """I-117: The example of RFC 9989 section 4.10: eight questions for thirteen labels."""
        self.assertEqual(
            self.asked({}, "a.b.c.d.e.f.g.h.i.j.mail.example.com"),
            "a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com h.i.j.mail.example.com "
            "i.j.mail.example.com j.mail.example.com mail.example.com example.com com",
        )

    def test_number(self) -> None:
        """Each label costs one question, up to eight; from eight labels on the second has seven."""
        found = {
            labels: [
                len(name.split(".")) for name in self.asked({}, ".".join("x" * labels)).split()
            ]
            for labels in range(1, 12)
        }
        self.assertEqual(
            found,
            {labels: [labels, *range(min(labels - 1, 7), 0, -1)] for labels in range(1, 12)},
        )
        self.assertLessEqual(max(map(len, found.values())), 8)

    def test_stops(self) -> None:
        """A record that says where an organization ends is the last that is asked for."""
        cases = {
            "v=DMARC1; p=none; psd=y": "a.b.example b.example",
            "v=DMARC1; p=none; psd=n": "a.b.example b.example",
            "v=DMARC1; psd=n": "a.b.example b.example",
            "v=DMARC1; p=none; psd=u": "a.b.example b.example example",
            "v=DMARC1; p=none": "a.b.example b.example example",
            "v=spf1; psd=y": "a.b.example b.example example",
        }
        self.assertEqual(
            {text: self.asked({"b.example": text}, "a.b.example") for text in cases}, cases
        )

    def test_stops_at_start(self) -> None:
        """So is such a record of the domain itself."""
        self.assertEqual(self.asked({"a.b.example": END}, "a.b.example"), "a.b.example")
        self.assertEqual(self.asked({"a.b.example": TOP}, "a.b.example"), "a.b.example")

    def test_several_records(self) -> None:
        """I-21: Several records at one name count as none, and do not stop a walk."""
        both = Answer((END.encode(), PLAIN.encode(), b"something else"))
        self.assertEqual(self.asked({"b.example": both}, "b.example"), "b.example example")
        self.assertEqual(self.walk(dmarc_zone({"b.example": both}), "b.example").found, ())

    def test_other_texts(self) -> None:
        """Texts that are no DMARC records do not count."""
        mixed = Answer((b"v=spf1 -all", PLAIN.encode(), b"", b"v=DMARC2"))
        walk = self.walk(dmarc_zone({"b.example": mixed}), "b.example")
        self.assertEqual([one.domain for one in walk.found], ["b.example"])

    def test_failure_ends(self) -> None:
        """I-21: A failing look-up is no missing record: nothing above it is asked for."""
        walk = self.walk(dmarc_zone({"c.example": PLAIN, "b.c.example": FAILED}), "a.b.c.example")
        self.assertEqual(
            (walk.failure, walk.organizational_domain, walk.policy, walk.found),
            ("SERVFAIL", None, None, ()),
        )

    def test_too_long(self) -> None:
        """
        A domain that leaves no room for C{_dmarc.} has no record, and what is
        above it is asked: a long name is no way round a policy.
        """
        start = ".".join(["x" * 60] * 4) + ".v.example"
        self.assertLessEqual(len(start), 253)
        resolver = dmarc_zone({"v.example": PLAIN})
        walk = self.walk(resolver, start)
        self.assertEqual((walk.failure, walk.organizational_domain), ("", "v.example"))
        self.assertLessEqual(max(len(name) for name in asked(resolver)), 253)

    def test_shared(self) -> None:
        """Two walks ask for no name twice."""
        resolver = dmarc_zone({"example.com": PLAIN, "x.example.com": FAILED})
        tree = Tree(Asking(resolver))
        for start in ("a.example.com", "b.example.com", "a.example.com", "x.example.com",
                      "y.x.example.com"):  # fmt: skip
            self.successResultOf(Deferred.fromCoroutine(tree.walk(start)))
        names = asked(resolver)
        self.assertEqual(len(names), len(set(names)), names)

    def test_cancelled(self) -> None:
        """Whoever cancels a walk cancels its question."""
        resolver = SilentResolver()
        walking = Deferred.fromCoroutine(Tree(Asking(resolver)).walk("example.com"))
        walking.cancel()
        self.failureResultOf(walking, CancelledError)
        self.assertEqual(resolver.cancelled, [Question("_dmarc.example.com", RRType.TXT)])


class OrganizationTests(TreeTestCase):
    """Which domain is the organization's, and whose record applies."""

    def test_examples(self) -> None:
        """I-117: The examples of RFC 9989 section 4.10.2 and appendix B.4."""
        deep = "a.b.c.d.e.f.g.h.i.j.k.example.com"
        bank = {"bank.example": TOP, "giant.bank.example": PLAIN}
        signing = {"example.com": PLAIN, "signing.example.com": PLAIN}
        cases: dict[tuple[str, str], dict[str, str]] = {
            ("a.mail.example.com", "example.com"): {
                "mail.example.com": PLAIN,
                "example.com": PLAIN,
            },
            ("a.mail.example.com", "mail.example.com"): {"mail.example.com": END},
            ("a.mail.example.com", "example.com "): {"com": TOP},
            ("example.com", "example.com"): signing,
            ("signing.example.com", "example.com"): signing,
            (deep, "example.com"): signing,
            ("giant.bank.example", "giant.bank.example"): bank,
            ("mail.giant.bank.example", "giant.bank.example"): bank,
            ("mail.mega.bank.example", "mega.bank.example"): bank,
        }
        found = {
            (start, name): self.walk(dmarc_zone(zone), start).organizational_domain
            for (start, name), zone in cases.items()
        }
        self.assertEqual(found, {(start, name): name.strip() for start, name in cases})

    def test_rules(self) -> None:
        """
        C{psd=n} decides, then C{psd=y} above the start, then the fewest labels;
        without any record, the start.  The record that applies is the start's
        own, the organization's, or the public suffix's.
        """
        # zone, start: organizational domain, where the record is that applies
        cases: dict[str, tuple[dict[str, str], str, str | None]] = {
            "b.c.example": ({}, "b.c.example", None),
            "example": ({"example": PLAIN}, "example", "example"),
            "b.example": ({"b.example": TOP, "example": TOP}, "b.example", "b.example"),
            "c.example": ({"c.example": END, "example": PLAIN}, "c.example", "c.example"),
            "a.d.example": ({"a.d.example": PLAIN, "example": TOP}, "d.example", "a.d.example"),
            "e.example": ({"example": TOP}, "e.example", "example"),
            "a.e.example": ({"example": TOP}, "e.example", "example"),
            "a.b.f.example": (
                {"b.f.example": PLAIN, "f.example": PLAIN}, "f.example", "f.example",
            ),
            "a.b.g.example": ({"b.g.example": PLAIN, "example": TOP}, "g.example", "example"),
            "a.b.h.example": ({"b.h.example": END, "h.example": PLAIN}, "b.h.example",
                              "b.h.example"),
            "1.2.3.4.5.6.7.8.9.example": ({"5.6.7.8.9.example": TOP}, "4.5.6.7.8.9.example",
                                          "5.6.7.8.9.example"),
        }  # fmt: skip
        found = {}
        for start, (zone, _, _) in cases.items():
            walk = self.walk(dmarc_zone(zone), start)
            applying = walk.policy
            found[start] = (walk.organizational_domain, applying and applying.domain)
        self.assertEqual(found, {start: (name, where) for start, (_, name, where) in cases.items()})

    def test_invalid_marks(self) -> None:
        """A record that asks for nothing still says where an organization ends."""
        walk = self.walk(dmarc_zone({"b.example": "v=DMARC1; psd=n"}), "a.b.example")
        self.assertEqual(walk.organizational_domain, "b.example")
        assert walk.policy is not None
        self.assertIsInstance(walk.policy.record, InvalidRecord)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.sampled_from("ab"), min_size=1, max_size=10).map(".".join),
        st.dictionaries(
            st.lists(st.sampled_from("ab"), min_size=1, max_size=10).map(".".join),
            st.sampled_from([PLAIN, TOP, END, "v=DMARC1;", "v=DMARC2; p=none"]),
            max_size=8,
        ),
    )
    def test_as_written(self, start: str, zone: dict[str, str]) -> None:
        """I-117: The organizational domain is that of the RFC's steps, followed to the letter."""
        # Names at the start's own end are the ones that matter.
        zone |= {start[-len(name) :]: text for name, text in zone.items() if len(name) % 2}
        zone = {name: text for name, text in zone.items() if not name.startswith(".")}
        walk = self.walk(dmarc_zone(zone), start)
        self.assertEqual(walk.organizational_domain, to_the_letter(start, zone))


def to_the_letter(start: str, zone: Mapping[str, str]) -> str:
    """RFC 9989 sections 4.10 and 4.10.2, step by step, for a DNS that never fails."""
    labels = start.split(".")
    targets = [labels]
    rest = labels[1:] if len(labels) < 8 else labels[-7:]
    while rest:
        targets.append(rest)
        rest = rest[1:]
    retrieved: list[tuple[str, PublicSuffix]] = []
    for target in targets:
        name = ".".join(target)
        record = parse_record(zone.get(name, ""))
        if record is not None:
            retrieved.append((name, record.public_suffix))
            if record.public_suffix is not PublicSuffix.UNKNOWN:
                break
    for name, suffix in retrieved:
        if suffix is PublicSuffix.NO:
            return name
        if suffix is PublicSuffix.YES and name != start:
            return ".".join(labels[-len(name.split(".")) - 1 :])
    return min(retrieved, key=lambda one: len(one[0].split(".")))[0] if retrieved else start


class StepTests(TreeTestCase):
    """What the trace shows."""

    def steps(
        self, zone: Mapping[str, str | bytes | Answer | LookupFailed], start: str
    ) -> list[Step]:
        """Of one walk."""
        tree = Tree(Asking(dmarc_zone(zone)))
        self.successResultOf(Deferred.fromCoroutine(tree.walk(start)))
        return list(tree.steps.values())

    def test_outcomes(self) -> None:
        """Each question is shown with what came of it."""
        zone: dict[str, str | bytes | Answer | LookupFailed] = {
            "b.c.d.example": "v=DMARC1; p=now",
            "c.d.example": Answer((PLAIN.encode(), PLAIN.encode())),
            "d.example": PLAIN,
            "example": FAILED,
        }
        self.assertEqual(
            self.steps(zone, "a.b.c.d.example"),
            [
                Step("_dmarc.a.b.c.d.example", "no record"),
                Step("_dmarc.b.c.d.example", "v=DMARC1; p=now (p= has no valid value)"),
                Step("_dmarc.c.d.example", "2 records, so none counts"),
                Step("_dmarc.d.example", PLAIN),
                Step("_dmarc.example", "SERVFAIL"),
            ],
        )

    def test_harmless(self) -> None:
        """A record is shown as printable ASCII of bounded length."""
        text = b"v=DMARC1; p=none; x=\r\n\x1b\xff\x00" + b"y" * 65000
        step = self.steps({"example": text}, "example")[0]
        self.assertEqual(step.outcome[:27], "v=DMARC1; p=none; x=?????yy")
        self.assertTrue(step.outcome.endswith("y..."))
        self.assertLess(len(step.outcome), 600)


class BelowTests(SynchronousTestCase):
    """Names below names."""

    def test_whole_labels(self) -> None:
        """Only whole labels count."""
        cases = {
            ("example", "example"): True, ("a.example", "example"): True,
            ("aexample", "example"): False, ("example", "a.example"): False,
            ("example.com", "example"): False,
        }  # fmt: skip
        self.assertEqual({case: is_below(*case) for case in cases}, cases)
