"""Addresses looked up and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import Answer, LookupFailed, Question, Record, RRType
from moxsmtp.iprev import MAXIMUM_NAMES, Result, Status, verify
from moxsmtp.testing import MemoryResolver
from tests.dmarc.zones import FAILED, SilentResolver

V4 = "192.0.2.1"
V6 = "2001:db8::1"
REVERSE = Question("1.2.0.192.in-addr.arpa", RRType.PTR)
REVERSE6 = Question(f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa", RRType.PTR)

Zone = Mapping[Question, Sequence[Record] | Answer | LookupFailed]


def a(name: str) -> Question:
    """For IPv4 addresses."""
    return Question(name, RRType.A)


def aaaa(name: str) -> Question:
    """For IPv6 addresses."""
    return Question(name, RRType.AAAA)


class IPrevTests(SynchronousTestCase):
    """RFC 8601 section 3."""

    def verify(self, zone: Zone, address: str = V4) -> Result:
        """With a DNS that is C{zone}."""
        return self.successResultOf(
            Deferred.fromCoroutine(verify(MemoryResolver(zone), ip_address(address)))
        )

    def test_pass(self) -> None:
        """I-11: a name that leads back to the address passes, in either family."""
        zone = {REVERSE: ("mx.example",), a("mx.example"): ("192.0.2.7", V4)}
        self.assertEqual(self.verify(zone), Result(Status.PASS, "mx.example", ("mx.example",)))
        zone6 = {REVERSE6: ("mx.example",), aaaa("mx.example"): ("2001:db8:0:0::1",)}
        self.assertEqual(self.verify(zone6, V6), Result(Status.PASS, "mx.example", ("mx.example",)))

    def test_no_name(self) -> None:
        """I-11: an address without a name is C{permerror}, whether NXDOMAIN or no data."""
        for zone in ({}, {REVERSE: ()}, {REVERSE: Answer((), exists=False)}, {REVERSE: ("",)}):
            self.assertEqual(self.verify(zone), Result(Status.PERMERROR))

    def test_reverse_fails(self) -> None:
        """I-11: where the name cannot be looked up, it is C{temperror}."""
        self.assertEqual(self.verify({REVERSE: FAILED}), Result(Status.TEMPERROR))

    def test_second_name(self) -> None:
        """I-11, I-13: the first name that leads back is the one, whatever the others do."""
        zone: Zone = {
            REVERSE: ("broken.example", "other.example", "mx.example", "too.example"),
            a("broken.example"): FAILED,
            a("other.example"): ("192.0.2.9",),
            a("mx.example"): (V4,),
            a("too.example"): (V4,),
        }
        result = self.verify(zone)
        self.assertEqual((result.status, result.name), (Status.PASS, "mx.example"))
        self.assertEqual(len(result.names), 4)

    def test_no_match(self) -> None:
        """I-11, I-13: names that lead elsewhere or nowhere fail, and the first is shown."""
        names = ("gone.example", "other.example")
        for zone in ({}, {a("other.example"): ("192.0.2.9",)}, {aaaa("other.example"): (V6,)}):
            result = self.verify({REVERSE: names} | dict(zone))
            self.assertEqual(result, Result(Status.FAIL, "gone.example", names))

    def test_forward_fails(self) -> None:
        """I-11: without a match, a forward look-up that failed makes it C{temperror}."""
        names = ("one.example", "two.example")
        for question in (a("one.example"), a("two.example"), aaaa("one.example")):
            result = self.verify({REVERSE: names, question: FAILED})
            self.assertEqual(result, Result(Status.TEMPERROR, "one.example", names))

    def test_no_host_name(self) -> None:
        """
        I-11: a name that no resolver can be asked for leads nowhere: that is no
        trouble which will pass, and names beside it count all the same.
        """
        odd = r"my\032host.example"
        zone: Zone = {REVERSE: (odd,), a(odd): FAILED, aaaa(odd): FAILED}
        self.assertEqual(self.verify(zone), Result(Status.FAIL, odd, (odd,)))
        zone = {REVERSE: (odd, "mx.example"), a("mx.example"): (V4,)}
        self.assertIs(self.verify(zone).status, Status.PASS)

    def test_number_of_names(self) -> None:
        """So many names are looked up and no more; each but once."""
        names = [f"n{number}.example" for number in range(2000)]
        for place, expected in ((MAXIMUM_NAMES - 1, Status.PASS), (MAXIMUM_NAMES, Status.FAIL)):
            resolver = MemoryResolver({REVERSE: names, a(names[place]): (V4,)})
            result = self.successResultOf(Deferred.fromCoroutine(verify(resolver, ip_address(V4))))
            self.assertIs(result.status, expected)
            self.assertLessEqual(len(resolver.asked), 1 + 2 * MAXIMUM_NAMES)
        repeated = {REVERSE: ["n.example"] * 2000 + ["mx.example"], a("mx.example"): (V4,)}
        self.assertIs(self.verify(repeated).status, Status.PASS)

    def test_own_family_first(self) -> None:
        """A match costs two questions: for the name, and for the client's own kind of address."""
        resolver = MemoryResolver({REVERSE: ("mx.example",), a("mx.example"): (V4,)})
        self.successResultOf(Deferred.fromCoroutine(verify(resolver, ip_address(V4))))
        self.assertEqual(resolver.asked, [REVERSE, a("mx.example")])

    def test_dot(self) -> None:
        """I-13: the name is shown without the dot at its end."""
        result = self.verify({REVERSE: ("mx.example.",), a("mx.example"): (V4,)})
        self.assertEqual((result.status, result.name), (Status.PASS, "mx.example"))

    def test_authentic(self) -> None:
        """I-12: authentic only if all answers that were consulted were."""

        def sure(*records: Record) -> Answer:
            return Answer(records, authentic=True)

        name, other = "mx.example", "other.example"
        cases: dict[str, tuple[Zone, bool]] = {
            "both": ({REVERSE: sure(name), a(name): sure(V4)}, True),
            "reverse": ({REVERSE: sure(name), a(name): (V4,)}, False),
            "forward": ({REVERSE: (name,), a(name): sure(V4)}, False),
            "other name": ({REVERSE: sure(other, name), a(name): sure(V4)}, False),
            "other failed": (
                {REVERSE: sure(other, name), a(other): FAILED, a(name): sure(V4)}, False,
            ),
            "all of them": (
                {REVERSE: sure(other, name), a(other): sure(), aaaa(other): sure(),
                 a(name): sure(V4)}, True,
            ),
            "no name": ({REVERSE: sure()}, True),
            "fail": ({REVERSE: sure(name), a(name): sure(), aaaa(name): sure()}, True),
            "temperror": ({REVERSE: sure(name), a(name): FAILED, aaaa(name): sure()}, False),
        }  # fmt: skip
        self.assertEqual(
            {title: self.verify(zone).authentic for title, (zone, _) in cases.items()},
            {title: expected for title, (_, expected) in cases.items()},
        )

    def test_zone_of_address(self) -> None:
        """A link-local address is looked up without its zone."""
        resolver = MemoryResolver()
        result = self.successResultOf(
            Deferred.fromCoroutine(verify(resolver, ip_address("fe80::1%eth0")))
        )
        self.assertIs(result.status, Status.PERMERROR)
        self.assertEqual(resolver.asked[0].name, f"1.{'0.' * 28}8.e.f.ip6.arpa")

    def test_cancelled(self) -> None:
        """Whoever cancels the check cancels its question."""
        resolver = SilentResolver()
        checking = Deferred.fromCoroutine(verify(resolver, ip_address(V4)))
        checking.cancel()
        self.failureResultOf(checking, CancelledError)
        self.assertEqual(resolver.cancelled, [REVERSE])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.text(max_size=12), max_size=12),
        st.one_of(st.just(FAILED), st.lists(st.text(max_size=12) | st.just(V4), max_size=3)),
        st.booleans(),
    )
    def test_anything(
        self, names: list[str], addresses: list[str] | LookupFailed, exists: bool
    ) -> None:
        """Whatever the DNS holds, there is a status, and pass only for the client's address."""
        zone: dict[Question, Sequence[Record] | Answer | LookupFailed] = {REVERSE: names}
        if exists and names:
            zone[a(names[0])] = addresses
        result = self.verify(zone)
        self.assertIn(result.status, set(Status))
        if result.status is Status.PASS:
            assert not isinstance(addresses, LookupFailed)
            self.assertIn(V4, addresses)
