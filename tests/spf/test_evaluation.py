"""Evaluating records: terms, limits, and what a hostile DNS can do."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.dns.records import MX, LookupFailed, Question, Record, RRType
from moxsmtp.names import Domain
from moxsmtp.spf import Status, verify
from moxsmtp.spf.evaluation import Evaluation, Subject
from moxsmtp.spf.lookups import Lookups
from tests.spf.asking import LimitlessResolver, SlowResolver, Zone, identity, resolver, result
from tests.spf.test_record import RECORD_TEXT

#: One policy, ten terms with eleven look-ups each, the client's names, an explanation.
MOST_LOOKUPS = 1 + 10 * 11 + 11 + 1


class MatchTests(unittest.SynchronousTestCase):
    """Which clients a mechanism means.  RFC 7208 section 5."""

    def matches(self, term: str, address: str, zone: Zone | None = None) -> bool:
        """Whether C{term} means the client at C{address}."""
        found = result({"example.org": f"v=spf1 {term} -all", **(zone or {})}, identity(address))
        self.assertIn(found.status, {Status.PASS, Status.FAIL})
        return found.status is Status.PASS

    def test_networks(self) -> None:
        """Networks begin and end where their length says, in both families."""
        self.assertTrue(self.matches("ip4:192.0.2.0/25", "192.0.2.127"))
        self.assertFalse(self.matches("ip4:192.0.2.0/25", "192.0.2.128"))
        self.assertTrue(self.matches("ip4:192.0.2.77/0", "203.0.113.1"))
        self.assertTrue(self.matches("ip6:2001:db8::/32", "2001:db8:ffff::1"))
        self.assertFalse(self.matches("ip6:2001:db8::/32", "2001:db9::1"))
        self.assertFalse(self.matches("ip6:::/0", "192.0.2.1"))
        self.assertFalse(self.matches("ip4:0.0.0.0/0", "2001:db8::1"))

    def test_mapped_client(self) -> None:
        """A client in an IPv4-mapped address is one with IPv4 (RFC 7208 section 5)."""
        self.assertTrue(self.matches("ip4:192.0.2.1", "::ffff:192.0.2.1"))
        self.assertFalse(self.matches("ip6:::ffff:0:0/96", "::ffff:192.0.2.1"))

    def test_hosts_in_the_clients_family(self) -> None:
        """C{a} and C{mx} ask for addresses of the client's family, with its prefix length."""
        zone: Zone = {
            "example.org A": ("192.0.2.1",),
            "example.org AAAA": ("2001:db8::1",),
            "example.org MX": (MX(10, "example.org"),),
        }
        for name in ("a", "mx"):
            self.assertTrue(self.matches(f"{name}/24//64", "192.0.2.99", zone))
            self.assertTrue(self.matches(f"{name}/24//64", "2001:db8::99", zone))
            self.assertFalse(self.matches(f"{name}//64", "192.0.2.99", zone))
            self.assertFalse(self.matches(f"{name}/0", "2001:db8::99", zone))

    def test_exists_asks_for_ipv4(self) -> None:
        """C{exists} asks for A whatever the client's family is (RFC 7208 section 5.7)."""
        zone: Zone = {"x.example A": ("127.0.0.2",)}
        self.assertTrue(self.matches("exists:x.example", "2001:db8::1", zone))

    def test_null_mx(self) -> None:
        """A domain that takes no mail has no hosts that send."""
        asked = resolver({"example.org": "v=spf1 mx -all", "example.org MX": (MX(0, ""),)})
        self.assertEqual(result(asked).status, Status.FAIL)
        self.assertEqual(len(asked.asked), 2)

    def test_client_name(self) -> None:
        """The macro C{p} prefers the record's domain, then a name below it, then any."""
        reverse = "1.2.0.192.in-addr.arpa PTR"
        names = {f"{name} A": ("192.0.2.1",) for name in ("a.example", "m.example.org")}
        zone: Zone = {
            "example.org": "v=spf1 -all exp=why.example",
            "why.example": "%{p}",
            reverse: ("forged.example.org", "a.example"),
            **names,
        }
        self.assertEqual(result(zone).explanation, "a.example")
        below = {**zone, reverse: ("a.example", "m.example.org")}
        self.assertEqual(result(below).explanation, "m.example.org")
        same = {**below, reverse: ("m.example.org", "Example.Org"), "example.org A": ("192.0.2.1",)}
        self.assertEqual(result(same).explanation, "example.org")
        failing = {**zone, reverse: LookupFailed("timeout")}
        self.assertEqual(result(failing).explanation, "unknown")


class AgainTests(unittest.SynchronousTestCase):
    """An evaluation that is run more than once."""

    def test_same_each_time(self) -> None:
        """Result, mechanism and explanation are the same, in whichever order they are asked."""
        zone: Zone = {
            "example.org": "v=spf1 redirect=b.example",
            "b.example": "v=spf1 mx -all exp=why.example",
            "why.example": "%{d}",
        }
        subject = Subject(
            address=ip_address("192.0.2.1"),
            local_part="user",
            domain="example.org",
            hello=None,
            hostname="mx.example",
            now=0,
        )
        lookups = Lookups(resolver(zone), Clock())
        evaluation = Evaluation(subject, lookups)
        for _ in range(3):
            self.assertEqual(evaluation.result(), "fail")
            self.assertEqual(evaluation.lookups, 2)
            self.assertEqual(evaluation.mechanism, "-all")
            self.assertEqual(evaluation.explanation(), "b.example")


class LimitTests(unittest.SynchronousTestCase):
    """RFC 7208 section 4.6.4."""

    def status(self, zone: Zone) -> str:
        """What a check of the usual envelope says."""
        return result(zone).status

    def hosts(self, count: int) -> Zone:
        """So many names with an address that is not the client's."""
        return {f"h{number}.example A": ("203.0.113.1",) for number in range(count)}

    def test_terms(self) -> None:
        """Ten terms may ask the DNS; the eleventh is a mistake, but only if it is reached."""
        terms = [f"a:h{number}.example" for number in range(11)]
        hosts = self.hosts(11)
        ten = {"example.org": f"v=spf1 {' '.join(terms[:10])} ~all", **hosts}
        self.assertEqual(self.status(ten), "softfail")
        eleven = {"example.org": f"v=spf1 {' '.join(terms)} ~all", **hosts}
        self.assertEqual(self.status(eleven), "permerror")
        early = {**eleven, "h9.example A": ("192.0.2.1",)}
        self.assertEqual(self.status(early), "pass")

    def test_equal_terms(self) -> None:
        """A term counts each time it stands there."""
        zone: Zone = {"example.org": "v=spf1" + " a" * 11, "example.org A": ("203.0.113.1",)}
        self.assertEqual(self.status(zone), "permerror")

    def test_redirect_counts_when_followed(self) -> None:
        """C{redirect} is the eleventh term only where it is followed."""
        terms = " ".join(f"a:h{number}.example" for number in range(10))
        zone = {
            "example.org": f"v=spf1 redirect=b.example {terms}",
            "b.example": "v=spf1 +all",
            **self.hosts(10),
        }
        self.assertEqual(self.status(zone), "permerror")
        self.assertEqual(self.status({**zone, "h9.example A": ("192.0.2.1",)}), "pass")
        nine = zone | {"example.org": f"v=spf1 {terms[: terms.rindex(' ')]} redirect=b.example"}
        self.assertEqual(self.status(nine), "pass")

    def test_counts_through_includes(self) -> None:
        """Terms of included records count with the others."""
        zone: Zone = {
            "example.org": "v=spf1 include:b.example include:b.example -all",
            "b.example": "v=spf1 a:h0.example a:h0.example a:h0.example a:h0.example -all",
            **self.hosts(1),
        }
        self.assertEqual(self.status(zone), "fail")
        more = {**zone, "b.example": "v=spf1" + " a:h0.example" * 5}
        self.assertEqual(self.status(more), "permerror")

    def test_void_terms(self) -> None:
        """Two terms may find nothing; the third is a mistake."""
        self.assertEqual(self.status({"example.org": "v=spf1 a:x.example mx -all"}), "fail")
        three = {"example.org": "v=spf1 a:x.example a:y.example exists:z.example -all"}
        self.assertEqual(self.status(three), "permerror")

    def test_hosts_without_address(self) -> None:
        """An C{mx} whose hosts have no address is one term that finds nothing, not many."""
        zone: Zone = {
            "example.org": "v=spf1 mx -all",
            "example.org MX": tuple(MX(10, f"mx{number}.example") for number in range(5)),
        }
        self.assertEqual(self.status(zone), "fail")

    def test_mx_records(self) -> None:
        """Ten MX records are looked through, eleven are a mistake."""
        hosts = tuple(MX(number, f"h{number}.example") for number in range(11))
        addresses = self.hosts(11)
        ten = {
            "example.org": "v=spf1 mx -all",
            "example.org MX": hosts[:10],
            **addresses,
            "h9.example A": ("192.0.2.1",),
        }
        self.assertEqual(self.status(ten), "pass")
        self.assertEqual(self.status({**ten, "example.org MX": hosts}), "permerror")

    def test_client_names(self) -> None:
        """Of a client's names the first ten are looked at, the others ignored."""
        names = [f"h{number}.example.org" for number in range(11)]
        zone: Zone = {
            "example.org": "v=spf1 ptr -all",
            "1.2.0.192.in-addr.arpa PTR": names,
            "h9.example.org A": ("192.0.2.1",),
            "h10.example.org A": ("192.0.2.1",),
        }
        self.assertEqual(self.status(zone), "pass")
        tenth: Zone = {
            **zone,
            "1.2.0.192.in-addr.arpa PTR": [*names[:9], "h8.example.org", "h10.example.org"],
        }
        self.assertEqual(self.status(tenth), "fail")


class HostileTests(unittest.SynchronousTestCase):
    """Whatever a DNS says, there is a status, and an end."""

    def test_circles(self) -> None:
        """Includes and redirects in a circle are a mistake after ten of them."""
        for term in ("include:%s", "redirect=%s"):
            asked = resolver(
                {
                    "example.org": f"v=spf1 {term % 'b.example'}",
                    "b.example": f"v=spf1 {term % 'example.org'}",
                }
            )
            self.assertEqual(result(asked).status, Status.PERMERROR)
            own = resolver({"example.org": f"v=spf1 {term % 'example.org'}"})
            self.assertEqual(result(own).status, Status.PERMERROR)

    def test_several_records(self) -> None:
        """Several records are a mistake, at the domain and behind an include."""
        two: list[Record] = [b"v=spf1 -all", b"v=spf1 +all"]
        self.assertEqual(result({"example.org": two}).status, Status.PERMERROR)
        zone: Zone = {"example.org": "v=spf1 include:b.example +all", "b.example": two}
        self.assertEqual(result(zone).status, Status.PERMERROR)

    def test_huge_records(self) -> None:
        """TXT of 64 KiB: a mistake if it is a policy, nothing if it is not."""
        policy = (b"v=spf1 " + b"a " * 32764)[:65535]
        asked = resolver({"example.org": (policy,)})
        self.assertEqual(result(asked).status, Status.PERMERROR)
        self.assertEqual(len(asked.asked), 1)
        self.assertEqual(result({"example.org": (b"x" * 65535,)}).status, Status.NONE)

    def test_huge_answers(self) -> None:
        """Lists as long as an answer may be end in a status after few look-ups."""
        hostile = LimitlessResolver(
            {
                RRType.TXT: (b"v=spf1 mx ptr a exists:%{p}.example include:%{ir}.example",),
                RRType.MX: tuple(MX(1, f"h{number}.example") for number in range(4000)),
                RRType.PTR: tuple(f"h{number}.example" for number in range(4000)),
                RRType.A: ("203.0.113.1",) * 4000,
            }
        )
        self.assertEqual(result(hostile).status, Status.PERMERROR)
        self.assertLessEqual(len(hostile.asked), MOST_LOOKUPS)

    def test_most_lookups(self) -> None:
        """The record that asks most asks no more than ten terms can."""
        hosts = tuple(MX(1, f"h{number}.%{{d}}.example") for number in range(10))
        terms = " ".join(f"mx:m{number}.%{{p}}.example" for number in range(20))
        hostile = LimitlessResolver(
            {
                RRType.TXT: (f"v=spf1 {terms} -all exp=why.example".encode(),),
                RRType.MX: hosts,
                RRType.PTR: tuple(f"h{number}.example" for number in range(20)),
                RRType.A: ("203.0.113.1",),
            }
        )
        self.assertEqual(result(hostile).status, Status.PERMERROR)
        self.assertLessEqual(len(hostile.asked), MOST_LOOKUPS)

    def test_names_that_dns_cannot_take(self) -> None:
        """Hosts with names that cannot be asked for are like names that do not exist."""
        zone: Zone = {
            "example.org": "v=spf1 a:%{l}.example mx -all",
            "example.org MX": (MX(1, "a..b"), MX(2, "a\\000b"), MX(3, "x" * 300), MX(4, "\xe9")),
        }
        for local_part in ("a..b", "x" * 128, "\\", "."):
            asked = resolver(zone)
            self.assertEqual(result(asked, identity(local_part=local_part)).status, Status.FAIL)
            self.assertEqual(len(asked.asked), 2)

    @settings(deadline=None, max_examples=200)
    @given(
        RECORD_TEXT,
        RECORD_TEXT,
        st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]),
        st.text(max_size=130),
        st.text(max_size=300),
    )
    def test_any_records(
        self, first: str, second: str, address: str, local_part: str, domain: str
    ) -> None:
        """Any records, senders and domains have a status, and few look-ups."""
        zone: Zone = {
            "example.org": (f"v=spf1 {first}".encode(),),
            "x.example": (f"v=spf1 {second}".encode(),),
            "x.example A": ("192.0.2.1", "not an address"),
            "x.example MX": (MX(1, "x.example"), MX(2, "")),
        }
        for name in (Domain("example.org"), Domain(domain)):
            asked = resolver(zone)
            found = result(asked, identity(address, local_part=local_part, domain=name))
            self.assertIsInstance(found.status, Status)
            self.assertLessEqual(len(asked.asked), MOST_LOOKUPS)
            self.assertTrue(found.problem.isascii() and found.explanation.isascii())

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.sampled_from(
        ["a:h0.example", "mx:h1.example", "ptr", "exists:%{p}.example", "include:h2.example",
         "redirect=h3.example", "exp=h4.example", "-all", "?a:h5.example"]
    ), max_size=12))  # fmt: skip
    def test_slow_as_fast(self, terms: list[str]) -> None:
        """Answers that come one by one give what answers at once give, each asked for once."""
        zone: Zone = {
            "example.org": f"v=spf1 {' '.join(terms)}",
            "h1.example MX": tuple(MX(1, f"m{number}.example") for number in range(4)),
            "h2.example": "v=spf1 a:h0.example ~all",
            "h3.example": "v=spf1 include:h2.example -all exp=h4.example",
            "h4.example": "%{p} and %{i}",
            "h0.example A": ("203.0.113.1",),
            "m2.example A": ("203.0.113.1",),
            "1.2.0.192.in-addr.arpa PTR": ("m0.example", "m1.example", "m3.example"),
            "m3.example A": ("192.0.2.1",),
        }
        slow = SlowResolver(zone)
        checking = Deferred.fromCoroutine(verify(slow, identity(), clock=Clock()))
        rounds = 0
        while slow.waiting:
            slow.answer()
            rounds += 1
            self.assertLessEqual(rounds, MOST_LOOKUPS)
        self.assertEqual(self.successResultOf(checking), result(zone))
        self.assertEqual(len(slow.asked), len(set(slow.asked)))
        self.assertNotIn(Question("h5.example", RRType.TXT), slow.asked)
