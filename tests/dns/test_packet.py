"""The octets of replies, read by us and, for comparison, by dnspython."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import dns.edns
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.packet import NUMBERS, NotAReply, Reply, read
from moxsmtp.dns.records import MX, TLSA, Question, Record, RRType
from moxsmtp.dns.wire import query, question_section

LABELS: Final = st.one_of(
    st.sampled_from([b"a", b"B", b"mail", b"_dmarc", b"a.b", b'q"(', b"x y", b"\\", b"\0\xff"]),
    st.binary(min_size=1, max_size=8),
)
NAMES: Final = st.lists(LABELS, max_size=4).map(lambda labels: dns.name.Name([*labels, b""]))


def text(name: dns.name.Name) -> str:
    """As we write names."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


#: What dnspython's record data mean to us.
READERS: Final[Mapping[RRType, Callable[[Any], Record]]] = {
    RRType.A: lambda data: str(data.address),
    RRType.AAAA: lambda data: str(data.address),
    RRType.NS: lambda data: text(data.target),
    RRType.CNAME: lambda data: text(data.target),
    RRType.PTR: lambda data: text(data.target),
    RRType.MX: lambda data: MX(data.preference, text(data.exchange)),
    RRType.TXT: lambda data: b"".join(data.strings),
    RRType.TLSA: lambda data: TLSA(data.usage, data.selector, data.mtype, data.cert),
}


@st.composite
def data(draw: st.DrawFn, type_: RRType) -> bytes:
    """The data of a record of that type, without pointers."""
    name = draw(NAMES).to_wire()
    assert name is not None
    octets = draw(st.binary(max_size=40))
    match type_:
        case RRType.A:
            return octets[:4].ljust(4, b"\1")
        case RRType.AAAA:
            return octets[:16].ljust(16, b"\1")
        case RRType.MX:
            return b"\1\2" + name
        case RRType.TXT:
            return bytes([len(octets)]) + octets + b"\2ab"
        case RRType.TLSA:
            return b"\3\1\0" + octets
        case _:
            return name


@st.composite
def messages(draw: st.DrawFn) -> tuple[RRType, bytes]:
    """A reply as dnspython writes it, names compressed, with records of one type and CNAMEs."""
    type_ = draw(st.sampled_from(list(RRType)))
    owners = draw(st.lists(NAMES, min_size=1, max_size=4))
    message = dns.message.make_query(owners[0], dns.rdatatype.RdataType.make(NUMBERS[type_]))
    for owner in owners:
        for kind in draw(st.lists(st.sampled_from([type_, RRType.CNAME]), max_size=3)):
            wire = draw(data(kind))
            rtype = dns.rdatatype.RdataType.make(NUMBERS[kind])
            record = dns.rdata.from_wire(dns.rdataclass.IN, rtype, wire, 0, len(wire))
            ttl = draw(st.integers(0, 0x7FFFFFFF))
            message.answer.append(dns.rrset.from_rdata(owner, ttl, record))
    return type_, message.to_wire()


def by_dnspython(packet: bytes, type_: RRType) -> dict[str, dict[str, Any]]:
    """What L{Reply} says of the answer section, read by another."""
    found: dict[str, dict[str, Any]] = {"records": {}, "ttls": {}, "aliases": {}}
    message = dns.message.from_wire(packet, one_rr_per_rrset=True)
    for rrset in message.answer:
        owner = text(rrset.name)
        if rrset.rdtype == NUMBERS[type_]:
            found["records"].setdefault(owner, []).append(READERS[type_](rrset[0]))
            found["ttls"][owner] = min(rrset.ttl, found["ttls"].get(owner, rrset.ttl))
        else:
            found["aliases"].setdefault(owner, (text(rrset[0].target), rrset.ttl))
    return found


def packet(*parts: bytes, counts: tuple[int, int, int], name: str = "a.example") -> bytes:
    """A reply about the address of C{name} with these octets behind the question."""
    section = question_section(Question(name, RRType.A))
    return struct.pack("!6H", 7, 0x8180, 1, *counts) + section + b"".join(parts)


def record(kind: int, content: bytes, *, owner: bytes = b"\xc0\x0c", ttl: int = 300) -> bytes:
    """A record, by default of the name asked for."""
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(content)) + content


def addresses(*records: bytes) -> Reply:
    """Read a reply with these records in its answer section."""
    return read(packet(*records, counts=(len(records), 0, 0)), RRType.A)


class ReadingTests(SynchronousTestCase):
    """What is in a reply."""

    @settings(max_examples=150, deadline=None)
    @given(messages())
    def test_like_dnspython(self, made: tuple[RRType, bytes]) -> None:
        """Owners, records, times and aliases are those that dnspython finds, in their order."""
        type_, wire = made
        mine = read(wire, type_)
        self.assertEqual(
            {"records": mine.records, "ttls": mine.ttls, "aliases": mine.aliases},
            by_dnspython(wire, type_),
        )

    @settings(max_examples=150, deadline=None)
    @given(messages(), st.data())
    def test_cut(self, made: tuple[RRType, bytes], drawn: st.DataObject) -> None:
        """Without its last octets a reply is none; octets behind it change nothing."""
        type_, wire = made
        with self.assertRaises(NotAReply):
            read(wire[: drawn.draw(st.integers(0, len(wire) - 1))], type_)
        self.assertEqual(read(wire + b"\xff", type_), read(wire, type_))

    def test_other_records(self) -> None:
        """Records of another type or class are passed over, whatever is in them."""
        strange = record(46, b"\xff\xff")
        chaos = b"\xc0\x0c" + struct.pack("!HHIH", 1, 3, 300, 1) + b"\xff"
        mine = addresses(strange, chaos, record(1, bytes(4)))
        self.assertEqual(mine.records, {"a.example": ["0.0.0.0"]})

    def test_times(self) -> None:
        """The least time to live counts; one above 31 bits is zero (RFC 2181 section 8)."""
        some = [record(1, bytes(4), ttl=ttl) for ttl in (300, 20, 0x7FFFFFFF)]
        self.assertEqual(addresses(*some).ttls, {"a.example": 20})
        self.assertEqual(addresses(*some, record(1, bytes(4), ttl=1 << 31)).ttls, {"a.example": 0})

    def test_denials(self) -> None:
        """A zone's SOA says for how long its denials hold, its own time to live at most."""
        expected = {(600, 60): 60, (30, 60): 30, (600, 1 << 31): 0, (1 << 31, 60): 0}
        found = {}
        for ttl, minimum in expected:
            numbers = struct.pack("!5I", 1, 2, 3, 4, minimum)
            soa = record(6, b"\0\0" + numbers, owner=b"\xc0\x0e", ttl=ttl)
            found[ttl, minimum] = read(packet(soa, counts=(0, 1, 0)), RRType.A).negative_ttls
        self.assertEqual(found, {key: {"example": ttl} for key, ttl in expected.items()})

    def test_long_text(self) -> None:
        """64 KiB of character-strings are one text."""
        strings = b"".join(bytes([255]) + bytes([n]) * 255 for n in range(250))
        wire = packet(record(16, strings), counts=(1, 0, 0))
        (found,) = read(wire, RRType.TXT).records["a.example"]
        assert isinstance(found, bytes)
        self.assertEqual(found[254:256] + found[-1:], b"\0\1\xf9")
        self.assertEqual(len(found), 250 * 255)

    def test_unusable_tlsa(self) -> None:
        """
        Data too short or long for its matching type are one unusable record;
        the others stay readable, and the host does not seem to have none.
        """
        expected = {
            b"\3\1\1" + 32 * b"a": True, b"\2\0\2" + 64 * b"a": True, b"\3\1\0a": True,
            b"\3\1\1" + 31 * b"a": False, b"\3\1\2" + 32 * b"a": False, b"\3\1\0": False,
            b"\4\1\0a": False, b"\3\2\0a": False, b"\3\1\3a": False, b"\3\1": False, b"": False,
        }  # fmt: skip
        wire = packet(*(record(52, d) for d in expected), counts=(len(expected), 0, 0))
        found = read(wire, RRType.TLSA).records["a.example"]
        usable = [tlsa.is_usable for tlsa in found if isinstance(tlsa, TLSA)]
        self.assertEqual(dict(zip(expected, usable, strict=True)), expected)


class ExtendedErrorTests(SynchronousTestCase):
    """RFC 8914."""

    def errors(self, *options: tuple[int, bytes]) -> tuple[str, ...]:
        """Those that a reply with these options has."""
        content = b"".join(struct.pack("!HH", code, len(d)) + d for code, d in options)
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(content)) + content
        return read(packet(opt, counts=(0, 0, 1)), RRType.A).extended_errors

    def test_texts(self) -> None:
        """Number, name and text, on one line and not too long, whatever is in them."""
        expected = {
            b"\0\6": "6 (DNSSEC Bogus)",
            b"\0\6no signature\0": "6 (DNSSEC Bogus): no signature",
            b"\0\0a\r\nb\x1b[2J": "0 (Other): a  b [2J",
            b"\0\0\xff": "0 (Other): \ufffd",
            b"\xff\xff": "65535",
            b"\0\0" + 1000 * b"a": "0 (Other): " + 200 * "a",
        }
        self.assertEqual(
            {d: self.errors((15, d)) for d in expected}, {d: (t,) for d, t in expected.items()}
        )

    def test_number(self) -> None:
        """Other options and an empty one are passed over; of very many the first are kept."""
        self.assertEqual(
            self.errors((10, b"cookie"), (15, b""), (15, b"\0\3")), ("3 (Stale Answer)",)
        )
        self.assertEqual(len(self.errors(*[(15, b"\0\6")] * 100)), 4)

    def test_cut(self) -> None:
        """An option that ends behind its record makes no reply."""
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 6) + b"\0\x0f\0\3\0\6"
        with self.assertRaises(NotAReply):
            read(packet(opt, b"more", counts=(0, 0, 1)), RRType.A)


class Counted(bytes):
    """Counts how often an octet of it is looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        """See C{bytes}."""
        type(self).looks += 1
        return super().__getitem__(key)


class HostileTests(SynchronousTestCase):
    """Packets made to harm."""

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=100), st.tuples(*[st.integers(0, 3)] * 3), st.sampled_from(RRType))
    def test_anything(self, rest: bytes, counts: tuple[int, int, int], type_: RRType) -> None:
        """Any octets are a reply or none; nothing else comes of them."""
        for wire in (rest, packet(rest, counts=counts)):
            try:
                self.assertIsInstance(read(wire, type_), Reply)
            except NotAReply:
                continue

    def test_pointers(self) -> None:
        """Pointers lead back only; labels of unknown kinds are none."""
        start = len(packet(counts=(0, 0, 0)))
        for owner in (
            struct.pack("!H", 0xC000 | start),
            struct.pack("!H", 0xC000 | start + 1),
            struct.pack("!H", 0xFFFF),
            b"\1a" + struct.pack("!H", 0xC000 | start),
            b"\x41a\0",
            b"\x81a\0",
        ):
            with self.assertRaises(NotAReply):
                addresses(record(1, bytes(4), owner=owner))

    def test_long_name(self) -> None:
        """A name has 255 octets at most, also in pieces."""
        longest = 25 * (b"\x07" + 7 * b"a") + 2 * (b"\x1a" + 26 * b"b") + b"\0"
        self.assertEqual(len(longest), 255)
        addresses(record(1, bytes(4), owner=longest))
        start = len(packet(counts=(0, 0, 0)))
        more = b"\1c" + struct.pack("!H", 0xC000 | start)
        with self.assertRaises(NotAReply):
            addresses(record(1, bytes(4), owner=longest), record(1, bytes(4), owner=more))
        with self.assertRaises(NotAReply):
            addresses(record(1, bytes(4), owner=b"\x08a" + longest[1:]))

    def test_data(self) -> None:
        """Data too short or long for their type are none of it."""
        name = b"\1a\0"
        for type_, content in (
            (RRType.A, bytes(3)), (RRType.A, bytes(5)), (RRType.A, b""), (RRType.AAAA, bytes(15)),
            (RRType.AAAA, bytes(17)), (RRType.CNAME, name + b"\0"), (RRType.CNAME, name[:-1]),
            (RRType.PTR, b""), (RRType.MX, b"\0"), (RRType.MX, b"\0\1"), (RRType.TXT, b""),
            (RRType.MX, b"\0\1" + name + b"\0"), (RRType.TXT, b"\5abcd"), (RRType.TXT, b"\1a\1"),
        ):  # fmt: skip
            wire = packet(record(NUMBERS[type_], content), bytes(8), counts=(1, 0, 0))
            with self.assertRaises(NotAReply):
                read(wire, type_)

    def test_linear(self) -> None:
        """Names made of long chains of pointers, pointed at by every record, cost linear time."""
        # A name, and pointers each to the one before it, in a record that is passed over.
        begin = len(packet(counts=(0, 0, 0))) + len(record(65280, b"", owner=b"\0"))
        places = [begin, *range(begin + 1, 0x3FFF, 2)]
        chain = b"\0" + b"".join(struct.pack("!H", 0xC000 | place) for place in places[:-1])
        unknown = record(65280, chain, owner=b"\0")
        last = struct.pack("!H", 0xC000 | places[-1])
        many = [record(1, bytes(4), owner=last)] * 3000
        wire = Counted(packet(unknown, *many, counts=(1 + len(many), 0, 0)))
        read(wire, RRType.A)
        self.assertLess(Counted.looks, 2 * len(wire))


class QuestionTests(SynchronousTestCase):
    """What was asked for."""

    def test_unusual_octets(self) -> None:
        """The name is written like owners are, so that it is found among them."""
        for name in ("a.example", "A_b-c.Example", 'q"(.example', "a b.example", "@$;.example", ""):
            section = question_section(Question(name, RRType.A))
            wire = struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0) + section + record(1, bytes(4))
            mine = read(wire, RRType.A)
            self.assertEqual(mine.records, {mine.name: ["0.0.0.0"]})
            self.assertEqual(
                mine.name, text(dns.message.from_wire(query(1, section)).question[0].name)
            )
