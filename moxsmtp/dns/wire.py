"""
Questions as packets, packets as answers.  RFC 1035 section 4, RFC 6891.

Queries are made by hand: they always have the same shape.  Replies come from
the network and are read by dnspython.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from moxsmtp.dns.records import MX, TLSA, Answer, Question, Record, RRType

__all__ = ["NotAReply", "Response", "query", "question_section", "response"]

#: EDNS0: we take 1232 octets over UDP (no fragments); DO is not set, since AD
#: comes without the signatures.  RFC 6891 section 6.1.2.
_OPT: Final = bytes.fromhex("00002904d0000000000000")

#: RD and AD.  RFC 1035 section 4.1.1, RFC 6840 section 5.7.
_QUERY_FLAGS: Final = 0x0120

#: Nothing is kept for longer, whatever the zone says: a day.
_LONGEST_TTL: Final = 86_400

#: The same for "no such records" and "no such name".  RFC 2308 section 5.
_LONGEST_NEGATIVE_TTL: Final = 10_800

_MAXIMUM_NAME: Final = 255


class NotAReply(ValueError):
    """A packet that does not answer the question: forged, late or damaged."""


@dataclass(frozen=True, slots=True)
class Response:
    """
    What one server said.

    @ivar answer: L{None} if it gave none.
    @ivar truncated: Ask again over TCP.
    @ivar failure: Why there is no answer, C{SERVFAIL}; empty if there is one.
    """

    answer: Answer | None = None
    truncated: bool = False
    failure: str = ""


def question_section(question: Question) -> bytes:
    """
    The question as it stands in a packet.

    @raise ValueError: The name is none that can be asked for.
    """
    if "\\" in question.name:
        raise ValueError("a label has an escaped octet")
    wire = bytearray()
    if question.name:
        for label in question.name.encode("ascii").split(b"."):
            if not 0 < len(label) < 64:
                raise ValueError("a label is empty or too long")
            wire.append(len(label))
            wire += label
    wire.append(0)
    if len(wire) > _MAXIMUM_NAME:
        raise ValueError("the name is too long")
    return bytes(wire) + struct.pack("!HH", dns.rdatatype.RdataType[question.type.value], 1)


def query(identity: int, section: bytes) -> bytes:
    """A packet that asks, with AD set so that AD is answered (RFC 6840 section 5.7)."""
    return struct.pack("!6H", identity, _QUERY_FLAGS, 1, 0, 0, 1) + section + _OPT


def response(packet: bytes, section: bytes, question: Question, *, trust_ad: bool) -> Response:
    """
    Read a reply to C{question}; the caller has compared the identity.

    @raise NotAReply: It is none, or none to this question.
    """
    if len(packet) < 12 or packet[2] & 0xF8 != 0x80 or packet[4:6] != b"\0\1":
        raise NotAReply("not a reply")
    if packet[12 : 12 + len(section)].lower() != section:
        raise NotAReply("the reply to another question")
    if packet[2] & 0x02:
        return Response(truncated=True)
    try:
        message = dns.message.from_wire(packet, ignore_trailing=True)
        return _response(message, question, trust_ad=trust_ad)
    except (dns.exception.DNSException, ValueError, LookupError, struct.error) as error:
        raise NotAReply(f"unreadable: {type(error).__name__}") from None


def _response(message: dns.message.Message, question: Question, *, trust_ad: bool) -> Response:
    rcode = message.rcode()
    if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return Response(failure=_failure(message, rcode))
    if not isinstance(message, dns.message.QueryMessage):
        raise NotAReply("not a reply")
    try:
        chain = message.resolve_chaining()
    except dns.message.ChainTooLong:
        return Response(failure="CNAME chain too long")
    read = _READERS[question.type]
    records = tuple(read(data) for data in chain.answer or ())
    longest = _LONGEST_TTL
    if not records:
        # Without an SOA nothing says how long that may be believed.
        known = any(rrset.rdtype == dns.rdatatype.SOA for rrset in message.authority)
        longest = _LONGEST_NEGATIVE_TTL if known else 0
    return Response(
        Answer(
            records=records,
            authentic=trust_ad and bool(message.flags & dns.flags.AD),
            exists=rcode == dns.rcode.NOERROR,
            canonical_name=_name(chain.canonical_name),
            ttl=min(chain.minimum_ttl, longest),
        )
    )


def _failure(message: dns.message.Message, rcode: dns.rcode.Rcode) -> str:
    """The rcode, and what RFC 8914 tells about it."""
    details = [str(error.to_text()).removeprefix("EDE ") for error in message.extended_errors()]
    return ", ".join([dns.rcode.to_text(rcode), *details[:2]])


def _name(name: dns.name.Name) -> str:
    """In lower case, no dot at the end; unusual octets stay escaped."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


#: How dnspython's record data become ours.
_READERS: Final[Mapping[RRType, Callable[[Any], Record]]] = {
    RRType.A: lambda data: str(data.address),
    RRType.AAAA: lambda data: str(data.address),
    RRType.CNAME: lambda data: _name(data.target),
    RRType.PTR: lambda data: _name(data.target),
    RRType.MX: lambda data: MX(data.preference, _name(data.exchange)),
    RRType.TXT: lambda data: b"".join(data.strings),
    RRType.TLSA: lambda data: TLSA(data.usage, data.selector, data.mtype, data.cert),
}
