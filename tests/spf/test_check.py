"""Checks of SPF from envelope to result."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.names import AddressLiteral, Domain, parse_domain
from moxsmtp.smtp.address import Path
from moxsmtp.spf import Identity, Result, Scope, Status, verify
from tests.spf.asking import SlowResolver, Zone, identity, resolver, result

LITERAL = AddressLiteral(ip_address("192.0.2.1"))


class IdentityTests(unittest.SynchronousTestCase):
    """Whose policy is looked at."""

    ZONE: Final[Zone] = {
        "example.org": "v=spf1 exists:%{l}.%{o}.l.example -all",
        "client.example": "v=spf1 exists:%{l}.%{o}.l.example -all",
        "user.example.org.l.example A": ("127.0.0.2",),
        "postmaster.client.example.l.example A": ("127.0.0.2",),
        "postmaster.example.org.l.example A": ("127.0.0.2",),
    }

    def checked(self, envelope: Identity) -> tuple[Status, Scope | None, str]:
        """Status, scope and domain."""
        found = result(self.ZONE, envelope)
        return found.status, found.scope, found.domain.ascii if found.domain else ""

    def test_mail_from(self) -> None:
        """MAIL FROM's domain is checked where there is one, and EHLO's is not (I-14, I-15)."""
        mail_from = (Status.PASS, Scope.MAIL_FROM, "example.org")
        self.assertEqual(self.checked(identity()), mail_from)
        self.assertEqual(self.checked(identity(hello=LITERAL)), mail_from)
        self.assertEqual(self.checked(identity(hello=None)), mail_from)

    def test_null_reverse_path(self) -> None:
        """With the null reverse-path, EHLO's domain is, as postmaster's (I-14, I-15)."""
        helo = (Status.PASS, Scope.HELO, "client.example")
        self.assertEqual(self.checked(identity(domain=None)), helo)

    def test_reverse_path_without_domain(self) -> None:
        """A reverse-path at an address literal is like the null one (I-14)."""
        helo = (Status.PASS, Scope.HELO, "client.example")
        self.assertEqual(self.checked(identity(domain=LITERAL)), helo)
        nowhere = Identity(LITERAL.address, Path("postmaster", None), None, Domain("mx.example"))
        self.assertEqual(self.checked(nowhere), (Status.NONE, None, ""))

    def test_nothing_to_check(self) -> None:
        """EHLO with a literal, or nothing usable, and no sender: none, of nobody (I-14)."""
        for hello in (LITERAL, None):
            found = result(self.ZONE, identity(domain=None, hello=hello))
            self.assertEqual(found, Result(Status.NONE))

    def test_no_local_part(self) -> None:
        """A sender without local-part is the domain's postmaster (RFC 7208 section 4.3)."""
        self.assertEqual(self.checked(identity(local_part=""))[0], Status.PASS)

    def test_single_label(self) -> None:
        """A name of one label has no policy and is not asked for; localhost is the operator's."""
        asked = resolver({"com": "v=spf1 +all", "localhost": "v=spf1 ip4:127.0.0.0/8 ~all"})
        found = result(asked, identity(domain="com"))
        self.assertEqual(found, Result(Status.NONE, Scope.MAIL_FROM, parse_domain("com")))
        self.assertEqual(asked.asked, [])
        self.assertEqual(result(asked, identity("127.0.0.1", domain="localhost")).status, "pass")

    def test_impossible_domains(self) -> None:
        """Domains that cannot be asked for have no policy (RFC 7208 section 4.3)."""
        for name in ("a..example", "x" * 64 + ".example", ".example", "\xe9.example", "a\\.example",
                     ".".join(["x" * 60] * 5)):  # fmt: skip
            asked = resolver({})
            found = result(asked, identity(domain=Domain(name)))
            self.assertEqual((found.status, asked.asked), (Status.NONE, []), name)

    def test_internationalized_domain(self) -> None:
        """A domain in U-labels is asked for, and put into macros, in A-labels."""
        zone: Zone = {
            "xn--bcher-kva.example": "v=spf1 exists:%{d}.l.example -all",
            "xn--bcher-kva.example.l.example A": ("127.0.0.2",),
        }
        found = result(zone, identity(domain="b\xfccher.example"))
        self.assertEqual(found.status, Status.PASS)

    def test_internationalized_local_part(self) -> None:
        """Terms with a local-part that is not ASCII match nothing, and ask nothing (RFC 8616)."""
        terms = "include:%{l}.example exists:%{s} exists:%{l}.example a:x.example"
        asked = resolver({"example.org": f"v=spf1 {terms}", "x.example A": ("192.0.2.1",)})
        found = result(asked, identity(local_part="\xfcser"))
        self.assertEqual((found.status, found.mechanism), (Status.PASS, "a:x.example"))
        self.assertEqual([question.name for question in asked.asked], ["example.org", "x.example"])

    def test_unusable_hello(self) -> None:
        """The macro C{h} is a literal with its brackets, and C{unknown} for nothing usable."""
        zone: Zone = {"example.org": "v=spf1 -all exp=e.example", "e.example": "%{h}"}
        told = [result(zone, identity(hello=hello)).explanation for hello in (LITERAL, None)]
        self.assertEqual(told, ["[192.0.2.1]", "unknown"])


class MechanismTests(unittest.SynchronousTestCase):
    """The mechanism that decided, as RFC 7208 section 9.1 wants it."""

    def decided(self, zone: Zone) -> tuple[str, str]:
        """Status and mechanism."""
        found = result(zone)
        return found.status, found.mechanism

    def test_as_written(self) -> None:
        """It is given as it stands in the record, with its qualifier and macros."""
        self.assertEqual(
            self.decided({"example.org": "v=spf1 mx ~IP4:192.0.2.0/24 -all"}),
            ("softfail", "~IP4:192.0.2.0/24"),
        )
        zone: Zone = {"example.org": "v=spf1 +a:%{d2}", "example.org A": ("192.0.2.1",)}
        self.assertEqual(self.decided(zone), ("pass", "+a:%{d2}"))

    def test_default(self) -> None:
        """Where none matches it is C{default}."""
        self.assertEqual(self.decided({"example.org": "v=spf1"}), ("neutral", "default"))
        self.assertEqual(self.decided({"example.org": "v=spf1 ?all"}), ("neutral", "?all"))

    def test_include(self) -> None:
        """Of an include that matches, it is the include."""
        zone: Zone = {
            "example.org": "v=spf1 include:a.example -all",
            "a.example": "v=spf1 redirect=b.example",
            "b.example": "v=spf1 ip4:192.0.2.1 -all",
        }
        self.assertEqual(self.decided(zone), ("pass", "include:a.example"))

    def test_redirect(self) -> None:
        """Of a redirect, it is what matched where it leads."""
        zone: Zone = {
            "example.org": "v=spf1 redirect=a.example",
            "a.example": "v=spf1 include:b.example ~all",
            "b.example": "v=spf1 -all",
        }
        self.assertEqual(self.decided(zone), ("softfail", "~all"))
        zone = {"example.org": "v=spf1 redirect=a.example", "a.example": "v=spf1"}
        self.assertEqual(self.decided(zone), ("neutral", "default"))

    def test_none_decided(self) -> None:
        """Without a decision there is none."""
        zones: list[Zone] = [
            {},
            {"example.org": "v=spf1 a:b.example -all", "b.example A": LookupFailed()},
            {"example.org": "v=spf1 -all oops"},
        ]
        self.assertEqual(
            [self.decided(zone) for zone in zones],
            [("none", ""), ("temperror", ""), ("permerror", "")],
        )


class ExplanationTests(unittest.SynchronousTestCase):
    """What the domain wants the sender to be told (I-16)."""

    def told(self, explanation: str | bytes, local_part: str = "user") -> str:
        """The explanation that is given of a published one."""
        text = explanation if isinstance(explanation, bytes) else explanation.encode()
        zone: Zone = {"example.org": "v=spf1 -all exp=why.%{d}", "why.example.org": (text,)}
        return result(zone, identity(local_part=local_part)).explanation

    def test_expanded(self) -> None:
        """Macros are expanded, those for explanations too (RFC 7208 sections 6.2 and 7.2)."""
        self.assertEqual(
            self.told("%{s} may not: %{c} at %{t}, says %{R}.%%"),
            "user@example.org may not: 192.0.2.1 at 0, says mx.receiver.example.%",
        )

    def test_only_for_fail(self) -> None:
        """It is looked up for a fail only (I-16)."""
        for qualifier in "+?~":
            asked = resolver({"example.org": f"v=spf1 {qualifier}all exp=%{{p}}.example"})
            result(asked)
            self.assertEqual([question.name for question in asked.asked], ["example.org"])

    def test_printable_ascii_only(self) -> None:
        """Anything but printable ASCII, published or expanded, discards it (I-16)."""
        for text in (b"a\x1fb", b"a\x7fb", b"a\tb", b"a\r\nb", b"\xc3\xa9", b"a\xff", b"a\x00"):
            self.assertEqual(self.told(text), "", text)
        self.assertEqual(self.told(b" ~"), " ~")
        self.assertEqual(self.told("%{l}", local_part="\xfcser"), "")

    def test_cut(self) -> None:
        """800 octets stay; of more, 797 and three dots (I-16)."""
        self.assertEqual(self.told("x" * 800), "x" * 800)
        self.assertEqual(self.told("x" * 801), "x" * 797 + "...")
        self.assertEqual(self.told("%{d}" * 16000)[:20], "example.orgexample.o")
        self.assertEqual(len(self.told("%{d}" * 16000)), 800)

    def test_troubles(self) -> None:
        """Whatever goes wrong with it, the sender fails all the same."""
        texts: list[Zone] = [
            {},
            {"why.example": LookupFailed("timeout")},
            {"why.example": (b"one", b"two")},
            {"why.example": "%{x}"},
            {"why.example": "%"},
            {"why.example": ()},
        ]
        for zone in texts:
            found = result({"example.org": "v=spf1 -all exp=why.example", **zone})
            self.assertEqual((found.status, found.explanation), (Status.FAIL, ""), zone)

    def test_whose(self) -> None:
        """An include's explanation is not used, a redirect's target has its own."""
        zone: Zone = {
            "example.org": "v=spf1 -include:a.example exp=mine.example",
            "a.example": "v=spf1 +all exp=theirs.example",
            "mine.example": "mine, %{d}",
            "theirs.example": "theirs, %{d}",
        }
        self.assertEqual(result(zone).explanation, "mine, example.org")
        zone = {**zone, "example.org": "v=spf1 redirect=b.example exp=mine.example"}
        plain = {**zone, "b.example": "v=spf1 -all"}
        self.assertEqual(result(plain).explanation, "")
        explained = {**zone, "b.example": "v=spf1 -all exp=theirs.example"}
        self.assertEqual(result(explained).explanation, "theirs, b.example")


class TroubleTests(unittest.SynchronousTestCase):
    """A DNS that fails is never a domain without policy."""

    def test_temporary(self) -> None:
        """Whichever look-up fails, it is C{temperror} with the reason, never C{none}."""
        failed = LookupFailed("SERVFAIL (192.0.2.53)")
        zones: list[Zone] = [
            {"example.org": failed},
            {"example.org": "v=spf1 a:b.example -all", "b.example A": failed},
            {"example.org": "v=spf1 mx -all", "example.org MX": failed},
            {"example.org": "v=spf1 exists:b.example -all", "b.example A": failed},
            {"example.org": "v=spf1 include:b.example -all", "b.example": failed},
            {"example.org": "v=spf1 redirect=b.example", "b.example": failed},
        ]
        for zone in zones:
            found = result(zone)
            self.assertEqual(found.status, Status.TEMPERROR, zone)
            self.assertIn("SERVFAIL", found.problem)
            self.assertEqual(found.scope, Scope.MAIL_FROM)

    def test_failing_ptr(self) -> None:
        """C{ptr} matches nothing where the DNS fails, and skips names (RFC 7208 section 5.5)."""
        zone: Zone = {
            "example.org": "v=spf1 ptr -all",
            "1.2.0.192.in-addr.arpa PTR": LookupFailed("timeout"),
        }
        self.assertEqual(result(zone).status, Status.FAIL)
        zone = {
            **zone,
            "1.2.0.192.in-addr.arpa PTR": ("a.example.org", "B.Example.Org"),
            "a.example.org A": LookupFailed("timeout"),
            "b.example.org A": ("192.0.2.1",),
        }
        self.assertEqual(result(zone).status, Status.PASS)

    def test_alias_loop(self) -> None:
        """CNAMEs in a circle are a DNS that fails."""
        zone: Zone = {
            "example.org CNAME": ("www.example.org",),
            "www.example.org CNAME": ("example.org",),
        }
        self.assertEqual(result(zone).status, Status.TEMPERROR)

    def test_no_record(self) -> None:
        """No such name and a name without such a record are C{none}."""
        self.assertEqual(result({}).status, Status.NONE)
        self.assertEqual(result({"example.org": "hello"}).status, Status.NONE)

    def test_problem_is_printable(self) -> None:
        """What is told of a mistake is short printable ASCII, whatever the record holds."""
        for term in ("a:\x07\x1b[2J", "\x00", "moo" * 2000):
            found = result({"example.org": f"v=spf1 {term}"})
            self.assertEqual(found.status, Status.PERMERROR)
            self.assertTrue(found.problem.isascii() and found.problem.isprintable())
            self.assertLessEqual(len(found.problem), 200)


class WaitingTests(unittest.SynchronousTestCase):
    """Checks whose answers take their time."""

    ZONE: Final[Zone] = {
        "example.org": "v=spf1 mx include:a.example -all exp=why.example",
        "example.org MX": (),
        "a.example": "v=spf1 ip4:203.0.113.1 -all",
        "why.example": "because",
    }

    def setUp(self) -> None:
        self.clock = Clock()
        self.slow = SlowResolver(self.ZONE)
        self.checking = Deferred.fromCoroutine(verify(self.slow, identity(), clock=self.clock))

    def test_answers_later(self) -> None:
        """The result is the same as with answers that are there, each asked for once."""
        for _ in range(4):
            self.assertNoResult(self.checking)
            self.slow.answer()
        self.assertEqual(self.successResultOf(self.checking), result(self.ZONE))
        self.assertEqual(len(self.slow.asked), 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_out_of_time(self) -> None:
        """After 20 s in all it is C{temperror} (RFC 7208 section 4.6.4), and nobody waits."""
        self.clock.advance(19)
        self.slow.answer()
        self.assertNoResult(self.checking)
        self.clock.advance(1)
        found = self.successResultOf(self.checking)
        self.assertEqual(
            (found.status, found.scope, found.problem),
            (Status.TEMPERROR, Scope.MAIL_FROM, "no result within 20 s"),
        )
        self.assertEqual(self.slow.waiting, {})

    def test_explanation_out_of_time(self) -> None:
        """A fail stays one if only its explanation takes too long."""
        for _ in range(3):
            self.slow.answer()
        self.clock.advance(20)
        found = self.successResultOf(self.checking)
        self.assertEqual((found.status, found.explanation), (Status.FAIL, ""))

    def test_thrown_away(self) -> None:
        """A check that nobody will resume ends quietly, with its timer."""
        coroutine = verify(SlowResolver(self.ZONE), identity(), clock=self.clock)
        thrown_away = Deferred.fromCoroutine(coroutine)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        coroutine.close()
        self.assertNoResult(thrown_away)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_cancelled(self) -> None:
        """Cancelling gives up the look-up that is under way, and the timer."""
        self.slow.answer()
        self.checking.cancel()
        self.failureResultOf(self.checking, CancelledError)
        self.assertEqual(self.slow.waiting, {})
        self.assertEqual(self.slow.cancelled, [Question("example.org", RRType.MX)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hosts_together(self) -> None:
        """Hosts of an C{mx} that have to be waited for are asked for together."""
        names = [f"mx{number}.example" for number in range(10)]
        slow = SlowResolver(
            {
                "example.org": "v=spf1 ptr -all",
                "1.2.0.192.in-addr.arpa PTR": names,
                **{f"{name} A": ("192.0.2.2",) for name in names},
            }
        )
        checking = Deferred.fromCoroutine(verify(slow, identity(), clock=self.clock))
        slow.answer()
        slow.answer()
        self.assertEqual(sorted(question.name for question in slow.waiting), names)
        checking.cancel()
        self.failureResultOf(checking, CancelledError)
        self.assertEqual(len(slow.cancelled), 10)


class AuthenticTests(unittest.SynchronousTestCase):
    """Whether DNSSEC vouches for a result."""

    def is_authentic(self, zone: Zone) -> bool:
        """For a check of the usual envelope."""
        return result(zone).authentic

    def test_all_answers(self) -> None:
        """Every answer that was used has to be validated."""
        secure = Answer((b"v=spf1 include:a.example -all",), authentic=True)
        target = Answer((b"v=spf1 ip4:192.0.2.1 -all",), authentic=True)
        self.assertTrue(self.is_authentic({"example.org": secure, "a.example": target}))
        insecure = "v=spf1 ip4:192.0.2.1 -all"
        self.assertFalse(self.is_authentic({"example.org": secure, "a.example": insecure}))
        self.assertFalse(self.is_authentic({"example.org": insecure}))

    def test_denial(self) -> None:
        """That there is no record may be validated too; that nothing was asked, not."""
        denied = Answer((), authentic=True, exists=False)
        self.assertTrue(self.is_authentic({"example.org": denied}))
        self.assertFalse(result({}, identity(domain=None, hello=None)).authentic)

    def test_explanation(self) -> None:
        """An explanation counts if it can be told."""
        zone: Zone = {
            "example.org": Answer((b"v=spf1 -all exp=why.example",), authentic=True),
        }
        self.assertTrue(self.is_authentic(zone))
        self.assertFalse(self.is_authentic({**zone, "why.example": "because"}))
