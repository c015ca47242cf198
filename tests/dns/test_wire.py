"""Packets of friends, strangers and enemies."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import MX, TLSA, Answer, Question, Record, RRType
from moxsmtp.dns.wire import NotAReply, Response, query, question_section, response
from tests.dns.packets import reply

SOA = "example. 600 IN SOA ns.example. root.example. 1 2 3 4 60"


def asked(name: str, type_: RRType = RRType.A) -> tuple[Question, bytes, bytes]:
    """A question, its section, and its packet."""
    question = Question(name, type_)
    section = question_section(question)
    return question, section, query(7, section)


def answered(name: str, type_: RRType, *answer: str, trust_ad: bool = True) -> Answer | None:
    """What a reply with these records means."""
    question, section, packet = asked(name, type_)
    return response(reply(packet, answer), section, question, trust_ad=trust_ad).answer


class QueryTests(SynchronousTestCase):
    """What we send."""

    def test_query(self) -> None:
        """RD and AD set, EDNS without DO, 1232 octets."""
        _, _, packet = asked("Mail.Example.")
        message = dns.message.from_wire(packet)
        self.assertEqual(message.flags, dns.flags.RD | dns.flags.AD)
        self.assertEqual((message.id, message.edns, message.payload), (7, 0, 1232))
        self.assertFalse(message.ednsflags & dns.flags.DO)
        self.assertEqual(message.question[0].to_text(), "mail.example. IN A")

    def test_names(self) -> None:
        """A name that cannot be asked for is no packet."""
        for name in (
            "a..b",
            ".a",
            "a" * 64 + ".example",
            "ü.example",
            r"a\.b.example",
            ".".join(["abcdefg"] * 32),
        ):
            with self.assertRaises(ValueError):
                question_section(Question(name, RRType.A))
        self.assertEqual(question_section(Question(".", RRType.MX)), b"\0\0\x0f\0\1")


class AnswerTests(SynchronousTestCase):
    """What replies mean."""

    def test_records(self) -> None:
        """Each type as our values; names in lower case without a dot at the end."""
        expected: dict[tuple[str, RRType, str], Record] = {
            ("a.example", RRType.A, "a.example. 300 IN A 192.0.2.1"): "192.0.2.1",
            ("a.example", RRType.AAAA, "a.example. 300 IN AAAA 2001:DB8::1"): "2001:db8::1",
            ("a.example", RRType.CNAME, "a.example. 300 IN CNAME B.Example."): "b.example",
            ("a.example", RRType.PTR, "a.example. 300 IN PTR B.Example."): "b.example",
            ("a.example", RRType.MX, "a.example. 300 IN MX 10 MX.Example."): MX(10, "mx.example"),
            ("a.example", RRType.MX, "a.example. 300 IN MX 0 ."): MX(0, ""),
            ("a.example", RRType.TXT, 'a.example. 300 IN TXT "v=spf1 " "-all"'): b"v=spf1 -all",
            ("a.example", RRType.TLSA, "a.example. 300 IN TLSA 3 1 1 " + 32 * "ab"): TLSA(
                3, 1, 1, 32 * b"\xab"
            ),
        }
        self.assertEqual(
            {key: answered(*key) for key in expected},
            {
                key: Answer((record,), authentic=True, canonical_name="a.example", ttl=300)
                for key, record in expected.items()
            },
        )

    def test_authentic(self) -> None:
        """AD counts only from a server that is trusted (Q-48)."""
        line = "a.example. 300 IN A 192.0.2.1"
        for trusted in (True, False):
            answer = answered("a.example", RRType.A, line, trust_ad=trusted)
            assert answer is not None
            self.assertIs(answer.authentic, trusted)
        question, section, packet = asked("a.example")
        without = response(reply(packet, (line,), flags=0), section, question, trust_ad=True)
        assert without.answer is not None
        self.assertFalse(without.answer.authentic)

    def test_chain(self) -> None:
        """CNAMEs are followed; the shortest time to live of the chain counts."""
        self.assertEqual(
            answered(
                "a.example",
                RRType.A,
                "a.example. 300 IN CNAME b.example.",
                "b.example. 50 IN CNAME c.example.",
                "c.example. 100 IN A 192.0.2.1",
            ),
            Answer(("192.0.2.1",), authentic=True, canonical_name="c.example", ttl=50),
        )

    def test_chain_loop(self) -> None:
        """CNAMEs in a circle are a failure, not an answer."""
        question, section, packet = asked("a.example")
        looped = reply(
            packet,
            ("a.example. 300 IN CNAME b.example.", "b.example. 300 IN CNAME a.example."),
        )
        self.assertEqual(
            response(looped, section, question, trust_ad=True),
            Response(failure="CNAME chain too long"),
        )

    def test_chain_bound(self) -> None:
        """A chain of 16 CNAMEs is an answer, a longer one a failure."""
        question, section, packet = asked("n0.example")
        for length in (16, 17):
            chain = [f"n{n}.example. 300 IN CNAME n{n + 1}.example." for n in range(length)]
            lines = (*chain, f"n{length}.example. 300 IN A 192.0.2.1")
            said = response(reply(packet, lines), section, question, trust_ad=True)
            self.assertEqual(said.failure, "" if length == 16 else "CNAME chain too long")

    def test_chain_without_end(self) -> None:
        """
        A chain that ends with a name of which nothing is said is half an
        answer; with an SOA around that name, or NXDOMAIN, it is a whole one.
        """
        question, section, packet = asked("a.example")
        line = "a.example. 300 IN CNAME b.other."
        there, elsewhere = (f"{zone}. 600 IN SOA ns. root. 1 2 3 4 60" for zone in ("other", "c"))
        expected = {
            ((), 0): (True, True, 300),
            ((elsewhere,), 0): (True, True, 300),
            ((there,), 0): (False, True, 60),
            ((there,), 3): (False, False, 60),
            ((), 3): (False, False, 0),
        }
        found = {}
        for authority, rcode in expected:
            made = reply(packet, (line,), authority, rcode=rcode)
            said = response(made, section, question, trust_ad=True)
            assert said.answer is not None
            self.assertEqual((said.answer.records, said.answer.canonical_name), ((), "b.other"))
            found[authority, rcode] = (said.is_partial, said.answer.exists, said.answer.ttl)
        self.assertEqual(found, expected)

    def test_contradiction(self) -> None:
        """Records of a name that does not exist are a failure of the server."""
        question, section, packet = asked("a.example")
        made = reply(packet, ("a.example. 300 IN A 192.0.2.1",), rcode=dns.rcode.NXDOMAIN)
        said = response(made, section, question, trust_ad=True)
        self.assertEqual(said, Response(failure="NXDOMAIN, but with records"))

    def test_repeated(self) -> None:
        """A record that stands there twice is one; different ones keep their order."""
        lines = [f"a.example. 300 IN A 192.0.2.{n}" for n in (3, 1, 3, 2)]
        answer = answered("a.example", RRType.A, *lines)
        assert answer is not None
        self.assertEqual(answer.records, ("192.0.2.3", "192.0.2.1", "192.0.2.2"))

    def test_unusual_names(self) -> None:
        """Names with octets that are no letters are answered for, and escaped in answers."""
        lines = (r"a(b.example. 300 IN CNAME a\032\000\.B.example.",)
        answer = answered("a(b.example", RRType.CNAME, *lines)
        assert answer is not None
        self.assertEqual(answer.records, (r"a\032\000\.b.example",))
        self.assertEqual(answer.canonical_name, r"a\(b.example")

    def test_negative(self) -> None:
        """No such name and no such records differ, and are kept as the SOA allows (RFC 2308)."""
        question, section, packet = asked("a.example")
        outcomes = {
            (rcode, authority): response(
                reply(packet, (), authority, rcode=rcode), section, question, trust_ad=False
            ).answer
            for rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            for authority in ((SOA,), ())
        }
        self.assertEqual(
            outcomes,
            {
                (rcode, authority): Answer(
                    (),
                    exists=rcode == dns.rcode.NOERROR,
                    canonical_name="a.example",
                    ttl=60 if authority else 0,
                )
                for rcode, authority in outcomes
            },
        )

    def test_answers_about_something_else(self) -> None:
        """Records that are not of the name, class or type asked for are no "no such records"."""
        question, section, packet = asked("_dmarc.bank.example", RRType.TXT)
        for line in (
            '_dmarc.other.example. 60 IN TXT "v=DMARC1; p=none"',
            '_dmarc.bank.example. 60 CH TXT "v=DMARC1; p=none"',
            "_dmarc.bank.example. 60 IN A 192.0.2.1",
            "bank.example. 60 IN DNAME other.example.",
        ):
            for authority in ((), (SOA,)):
                self.assertEqual(
                    response(reply(packet, (line,), authority), section, question, trust_ad=True),
                    Response(failure="the answer is about something else"),
                )

    def test_referrals(self) -> None:
        """
        Who only names other servers, or does not look names up for others and
        says nothing, has not said "no such records".
        """
        question, section, packet = asked("a.example")
        delegation = "example. 600 IN NS ns.example."
        none, away = "no answer from a server that does not recurse", "a referral, no answer"
        ra, aa = dns.flags.RA, dns.flags.AA
        expected = {
            ((), 0): none,
            ((delegation,), 0): away,
            ((delegation,), ra): away,
            ((), ra): "",
            ((), aa): "",
            ((SOA,), 0): "",
            ((SOA, delegation), 0): "",
            ((delegation,), aa): "",
        }
        found = {}
        for authority, flags in expected:
            message = dns.message.from_wire(reply(packet, (), authority))
            message.flags = message.flags & ~ra | flags
            said = response(message.to_wire(), section, question, trust_ad=True)
            self.assertEqual(said.answer is None, bool(said.failure))
            found[authority, flags] = said.failure
        self.assertEqual(found, expected)

    def test_answers_without_recursion(self) -> None:
        """What a server that does not recurse knows all the same, counts."""
        question, section, packet = asked("a.example")
        for line in ("a.example. 60 IN A 192.0.2.1", "a.example. 60 IN CNAME b.other."):
            message = dns.message.from_wire(reply(packet, (line,)))
            message.flags &= ~dns.flags.RA
            said = response(message.to_wire(), section, question, trust_ad=True)
            self.assertIsNotNone(said.answer)

    def test_longest_ttl(self) -> None:
        """Nothing is kept longer than a day."""
        answer = answered("a.example", RRType.A, "a.example. 2147483647 IN A 192.0.2.1")
        assert answer is not None
        self.assertEqual(answer.ttl, 86_400)

    def test_failures(self) -> None:
        """An error is named, with what the server explains (RFC 8914)."""
        question, section, packet = asked("a.example")
        message = dns.message.make_response(dns.message.from_wire(packet))
        message.set_rcode(dns.rcode.SERVFAIL)
        message.use_edns(options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS)])
        explained = response(message.to_wire(), section, question, trust_ad=True)
        self.assertIn("SERVFAIL", explained.failure)
        self.assertIn("Bogus", explained.failure.title())
        message.set_rcode(dns.rcode.NOERROR)
        message.flags |= dns.flags.RA
        stale = response(message.to_wire(), section, question, trust_ad=True)
        assert stale.answer is not None
        self.assertEqual(stale.answer.extended_errors, ("6 (DNSSEC Bogus)",))
        message.use_edns(0)
        message.set_rcode(dns.rcode.BADVERS)
        unknown = response(message.to_wire(), section, question, trust_ad=True)
        self.assertEqual(unknown, Response(failure="BADVERS"))
        refused = reply(packet, rcode=dns.rcode.REFUSED)
        self.assertEqual(
            response(refused, section, question, trust_ad=True), Response(failure="REFUSED")
        )

    def test_truncated(self) -> None:
        """A truncated reply is no answer, whatever it holds."""
        question, section, packet = asked("a.example")
        cut = reply(packet, ("a.example. 300 IN A 192.0.2.1",), flags=dns.flags.TC)
        self.assertEqual(response(cut, section, question, trust_ad=True), Response(truncated=True))


class HostileTests(SynchronousTestCase):
    """What is not the reply to our question is none."""

    def assertNoReply(self, packet: bytes, name: str = "a.example") -> None:
        """Refused as a reply to an A query for C{name}."""
        question, section, _ = asked(name)
        with self.assertRaises(NotAReply):
            response(packet, section, question, trust_ad=True)

    def test_other_question(self) -> None:
        """Another name, another type, several questions, or our own query back."""
        line = "b.example. 300 IN A 192.0.2.1"
        self.assertNoReply(reply(asked("b.example")[2], (line,)))
        self.assertNoReply(reply(asked("a.example", RRType.AAAA)[2]))
        self.assertNoReply(asked("a.example")[2])
        good = reply(asked("a.example")[2])
        self.assertNoReply(good[:4] + b"\0\2" + good[6:])
        self.assertNoReply(good[:2] + bytes([good[2] | 0x20]) + good[3:])

    def test_case(self) -> None:
        """The question may come back in another case."""
        question, section, packet = asked("a.example")
        good = reply(packet, ("a.example. 300 IN A 192.0.2.1",))
        shouted = (
            good[:12] + good[12 : 12 + len(section) - 4].upper() + good[12 + len(section) - 4 :]
        )
        said = response(shouted, section, question, trust_ad=True)
        assert said.answer is not None
        self.assertEqual(said.answer.records, ("192.0.2.1",))

    def test_compression_loop(self) -> None:
        """A name that points at itself does not run for ever."""
        _, section, _ = asked("a.example")
        header = struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0)
        here = 12 + len(section)
        for pointer in (here, here + 2, 0xFFF):
            loop = struct.pack("!H", 0xC000 | pointer)
            self.assertNoReply(header + section + loop + b"\0\1\0\1\0\0\0\1\0\4abcd")

    def test_every_length(self) -> None:
        """A reply cut anywhere is none."""
        _, _, packet = asked("a.example")
        good = reply(packet, ("a.example. 300 IN CNAME b.example.", "b.example. 1 IN A 192.0.2.1"))
        for length in range(len(good)):
            self.assertNoReply(good[:length])

    @settings(max_examples=80, deadline=None)
    @given(st.binary(max_size=120))
    def test_anything_behind_the_question(self, rest: bytes) -> None:
        """Any octets behind a matching question are a response or none; nothing else happens."""
        question, section, _ = asked("a.example")
        for counts in ((1, 0, 0), (0, 1, 0), (2, 1, 1)):
            header = struct.pack("!6H", 7, 0x8180, 1, *counts)
            try:
                said = response(header + section + rest, section, question, trust_ad=True)
            except NotAReply:
                continue
            self.assertIsInstance(said, Response)

    @settings(max_examples=80, deadline=None)
    @given(st.integers(12, 500), st.binary(min_size=1, max_size=6))
    def test_damaged(self, place: int, damage: bytes) -> None:
        """A good reply of each type with some octets replaced is a response or none."""
        for type_, line in (
            (RRType.MX, "a.example. 300 IN MX 10 mx.a.example."),
            (RRType.TXT, 'a.example. 300 IN TXT "v=spf1 " "-all"'),
            (RRType.TLSA, "a.example. 300 IN TLSA 3 1 1 " + 32 * "ab"),
            (RRType.A, "a.example. 300 IN CNAME b.example."),
        ):
            question, section, packet = asked("a.example", type_)
            good = reply(packet, (line,), (SOA,))
            at = 12 + place % (len(good) - 12)
            bad = good[:at] + damage + good[at + len(damage) :]
            try:
                self.assertIsInstance(response(bad, section, question, trust_ad=True), Response)
            except NotAReply:
                continue
