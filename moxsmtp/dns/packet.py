"""
The parts of a reply that we look at.  RFC 1035 section 4.1, RFC 3597.

Read here and not by dnspython, which reads every record of every section: that
was three quarters of the cost of a look-up, and one TLSA record that it refuses
made all of them unreadable.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import Final

import dns.edns

from moxsmtp.dns.records import MX, TLSA, Record, RRType

__all__ = ["NUMBERS", "NotAReply", "Reply", "read"]

#: RFC 1035 section 3.2.2, RFC 3596, RFC 6698.
NUMBERS: Final[Mapping[RRType, int]] = {
    RRType.A: 1,
    RRType.NS: 2,
    RRType.CNAME: 5,
    RRType.PTR: 12,
    RRType.MX: 15,
    RRType.TXT: 16,
    RRType.AAAA: 28,
    RRType.TLSA: 52,
}

_NS: Final = 2
_CNAME: Final = 5
_SOA: Final = 6
_OPT: Final = 41
_INTERNET: Final = 1

#: Extended DNS error, an option of OPT.  RFC 8914 section 2.
_EXTENDED_ERROR: Final = 15

#: What is kept of extended errors, which may come from strangers.
_MOST_ERRORS: Final = 4
_LONGEST_ERROR: Final = 200

#: A name may have this many octets in a packet.  RFC 1035 section 2.3.4.
_LONGEST_NAME: Final = 255

#: A larger one means zero.  RFC 2181 section 8.
_LARGEST_TTL: Final = 0x7FFFFFFF

#: Two names, of one octet each at least, and five numbers.  RFC 1035 section 3.3.13.
_SHORTEST_SOA: Final = 22

#: The first octet of a pointer to another place.  RFC 1035 section 4.1.4.
_POINTER: Final = 0xC0

_HEADER: Final = struct.Struct("!HHHHHH")
_RECORD: Final = struct.Struct("!HHIH")
_PAIR: Final = struct.Struct("!HH")
_NUMBER: Final = struct.Struct("!I")

#: Octets of a label that stand for themselves in text.
_PLAIN: Final = bytes(sorted(frozenset(range(0x21, 0x7F)) - frozenset(b'"().;\\@$')))


class NotAReply(ValueError):
    """A packet that does not answer the question: forged, late or damaged."""


@dataclass(slots=True)
class Reply:
    """
    One packet, taken apart.  Owners are names as text: in lower case, no dot at
    the end, unusual octets escaped.

    @ivar name: What was asked for, as an owner is written.
    @ivar rcode: All twelve bits of it.  RFC 6891 section 6.1.3.
    @ivar records: Of the type asked for, by owner.
    @ivar ttls: The least of them, by owner.
    @ivar aliases: Target and time to live of the first CNAME of each owner.
    @ivar negative_ttls: How long each zone named in the authority section lets
        us believe that something is not there.  RFC 2308 section 5.
    @ivar delegates: The authority section names other servers.
    @ivar extended_errors: RFC 8914, on one line each.
    """

    name: str
    rcode: int
    records: dict[str, list[Record]]
    ttls: dict[str, int]
    aliases: dict[str, tuple[str, int]]
    negative_ttls: dict[str, int]
    extended_errors: tuple[str, ...]
    delegates: bool = False


class _Names:
    """
    Reads the names of a packet, each part of it once however often it is
    pointed at, so that the work is linear.
    """

    __slots__ = ("_known", "packet")

    def __init__(self, packet: bytes, asked: str | None) -> None:
        """@param asked: The name behind the header, if it is known."""
        self.packet = packet
        #: Text and length of the names that were read, by where they begin.
        self._known: dict[int, tuple[str, int]] = {}
        if asked:
            self._known[_HEADER.size] = asked, len(asked) + 2

    def read(self, start: int) -> tuple[str, int]:
        """The name at C{start}, in lower case without a dot at the end, and the place behind it."""
        packet = self.packet
        octet = packet[start]
        if octet == 0:
            return "", start + 1
        if octet >= _POINTER:
            # Nearly all owners are the name that was asked for.
            at = (octet & 0x3F) << 8 | packet[start + 1]
            if at < start and at in self._known:
                return self._known[at][0], start + 2
        return self._read(start)

    def _read(self, start: int) -> tuple[str, int]:
        packet = self.packet
        places: list[int] = []
        at = bound = start
        behind = 0
        text, length = "", 1
        while octet := packet[at]:
            places.append(at)
            if octet < 64:
                at += octet + 1
                continue
            if octet < _POINTER:
                raise NotAReply("a label of an unknown kind")
            behind = behind or at + 2
            at = (octet & 0x3F) << 8 | packet[at + 1]
            if at >= bound:
                raise NotAReply("a name that points forward")
            bound = at
            known = self._known.get(at)
            if known is not None:
                text, length = known
                break
        else:
            behind = behind or at + 1
        for place in reversed(places):
            size = packet[place]
            if size < _POINTER:
                label = _label(packet[place + 1 : place + 1 + size])
                text = f"{label}.{text}" if text else label
                length += size + 1
                if length > _LONGEST_NAME:
                    raise NotAReply("a name that is too long")
            self._known[place] = text, length
        return text, behind


def _label(octets: bytes) -> str:
    """As text; unusual octets are escaped.  RFC 1035 section 5.1, RFC 4343 section 2.1."""
    if not octets.translate(None, _PLAIN):
        return octets.decode("ascii").lower()
    return "".join(
        chr(octet)
        if octet in _PLAIN
        else f"\\{octet:c}"
        if 0x21 <= octet < 0x7F
        else f"\\{octet:03d}"
        for octet in octets
    ).lower()


def read(packet: bytes, type_: RRType, asked: str | None = None) -> Reply:
    """
    Read a reply with one question.

    @param type_: Records of other types are passed over, CNAMEs apart.
    @param asked: The name in the question, if that was looked at before: as an
        owner is written, and not that of the root.
    @raise NotAReply: It cannot be read.
    """
    try:
        return _read(packet, type_, asked)
    except (IndexError, struct.error):
        raise NotAReply("it ends too early") from None


def _read(packet: bytes, type_: RRType, asked: str | None) -> Reply:
    _, flags, _, answers, authorities, more = _HEADER.unpack_from(packet)
    names = _Names(packet, asked)
    if asked:
        name, at = asked, _HEADER.size + len(asked) + 2
    else:
        name, at = names.read(_HEADER.size)
    _PAIR.unpack_from(packet, at)
    reply = Reply(name, flags & 0xF, {}, {}, {}, {}, ())
    at = _answers(reply, names, at + _PAIR.size, answers, type_)
    if authorities:
        at = _authorities(reply, names, at, authorities)
    if more:
        _additional(reply, names, at, more)
    return reply


def _answers(reply: Reply, names: _Names, at: int, count: int, type_: RRType) -> int:
    packet = names.packet
    number = NUMBERS[type_]
    reader = _READERS[type_]
    for _ in range(count):
        owner, at = names.read(at)
        rtype, rclass, ttl, size = _RECORD.unpack_from(packet, at)
        start, at = at + 10, at + 10 + size
        if at > len(packet):
            raise NotAReply("a record is cut")
        if rclass != _INTERNET:
            continue
        if ttl > _LARGEST_TTL:
            ttl = 0
        if rtype == number:
            record = reader(names, start, at)
            if owner in reply.records:
                reply.records[owner].append(record)
                reply.ttls[owner] = min(ttl, reply.ttls[owner])
            else:
                reply.records[owner] = [record]
                reply.ttls[owner] = ttl
        elif rtype == _CNAME and owner not in reply.aliases:
            reply.aliases[owner] = _name(names, start, at), ttl
    return at


def _authorities(reply: Reply, names: _Names, at: int, count: int) -> int:
    for _ in range(count):
        owner, at = names.read(at)
        rtype, rclass, ttl, size = _RECORD.unpack_from(names.packet, at)
        at += 10 + size
        if rtype == _SOA and rclass == _INTERNET and size >= _SHORTEST_SOA:
            # The last of its numbers is what RFC 2308 section 4 calls MINIMUM.
            (minimum,) = _NUMBER.unpack_from(names.packet, at - 4)
            seconds = min(ttl, minimum)
            reply.negative_ttls[owner] = seconds if max(ttl, minimum) <= _LARGEST_TTL else 0
        elif rtype == _NS and rclass == _INTERNET:
            reply.delegates = True
    return at


def _additional(reply: Reply, names: _Names, at: int, count: int) -> None:
    for _ in range(count):
        _, at = names.read(at)
        rtype, _, flags, size = _RECORD.unpack_from(names.packet, at)
        at += 10 + size
        if at > len(names.packet):
            raise NotAReply("a record is cut")
        if rtype == _OPT:
            reply.rcode |= flags >> 24 << 4
            # The last of several counts.
            errors = _extended_errors(names.packet, at - size, at) if size else ()
            reply.extended_errors = tuple(errors)


def _extended_errors(packet: bytes, at: int, end: int) -> list[str]:
    found: list[str] = []
    while at < end:
        code, size = _PAIR.unpack_from(packet, at)
        data = packet[at + 4 : at + 4 + size]
        at += 4 + size
        if at > end:
            raise NotAReply("an option is cut")
        if code == _EXTENDED_ERROR and size >= 2 and len(found) < _MOST_ERRORS:
            found.append(_extended_error(int.from_bytes(data[:2], "big"), data[2:]))
    return found


def _extended_error(code: int, text: bytes) -> str:
    """On one line, as C{6 (DNSSEC Bogus): text}."""
    told = "".join(
        character if character.isprintable() else " "
        for character in text.rstrip(b"\0").decode("utf-8", "replace")[:_LONGEST_ERROR]
    )
    named = dns.edns.EDEOption(dns.edns.EDECode.make(code)).to_text().removeprefix("EDE ")
    # From Python 3.12 on, dnspython takes the number of an unknown one for its name.
    named = named.removesuffix(f" ({code})")
    return f"{named}: {told}" if told else named


# -- data of records ------------------------------------------------------------------


def _name(names: _Names, at: int, end: int) -> str:
    text, behind = names.read(at)
    if behind != end:
        raise NotAReply("a name does not fill its record")
    return text


def _a(names: _Names, at: int, end: int) -> str:
    if end - at != 4:
        raise NotAReply("an IPv4 address is too long or short")
    return inet_ntoa(names.packet[at:end])


def _aaaa(names: _Names, at: int, end: int) -> str:
    if end - at != 16:
        raise NotAReply("an IPv6 address is too long or short")
    return inet_ntop(AF_INET6, names.packet[at:end])


def _mx(names: _Names, at: int, end: int) -> MX:
    return MX(int.from_bytes(names.packet[at : at + 2], "big"), _name(names, at + 2, end))


def _txt(names: _Names, at: int, end: int) -> bytes:
    packet = names.packet
    strings = []
    while at < end:
        size = packet[at]
        strings.append(packet[at + 1 : at + 1 + size])
        at += 1 + size
    if at != end or not strings:
        raise NotAReply("a character-string is cut")
    return b"".join(strings)


def _tlsa(names: _Names, at: int, end: int) -> TLSA:
    packet = names.packet
    if end - at < 3:
        # Unusable, but there: without it the host would seem to have none.
        return TLSA(255, 255, 255, packet[at:end])
    return TLSA(packet[at], packet[at + 1], packet[at + 2], packet[at + 3 : end])


_READERS: Final[Mapping[RRType, Callable[[_Names, int, int], Record]]] = {
    RRType.A: _a,
    RRType.AAAA: _aaaa,
    RRType.NS: _name,
    RRType.CNAME: _name,
    RRType.PTR: _name,
    RRType.MX: _mx,
    RRType.TXT: _txt,
    RRType.TLSA: _tlsa,
}
