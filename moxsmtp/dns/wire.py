"""
Questions as packets, packets as answers.  RFC 1035 section 4, RFC 6891.

Queries always have the same shape.  Of a reply, L{moxsmtp.dns.packet} reads the
octets; here is what they mean.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

import dns.rcode

from moxsmtp.dns.packet import NUMBERS, NotAReply, Reply, read
from moxsmtp.dns.records import Answer, Question

__all__ = ["MOST_ALIASES", "NotAReply", "Response", "query", "question_section", "response"]

#: EDNS0: we take 1232 octets over UDP (no fragments); DO is not set, since AD
#: comes without the signatures.  RFC 6891 section 6.1.2.
_OPT: Final = bytes.fromhex("00002904d0000000000000")

#: RD and AD.  RFC 1035 section 4.1.1, RFC 6840 section 5.7.
_QUERY_FLAGS: Final = 0x0120

#: Nothing is kept for longer, whatever the zone says: a day.
_LONGEST_TTL: Final = 86_400

#: The same for "no such records" and "no such name".  RFC 2308 section 5.
_LONGEST_NEGATIVE_TTL: Final = 10_800

_LONGEST_NAME: Final = 255

#: CNAMEs in one reply, and questions more where a reply ends with a CNAME.
MOST_ALIASES: Final = 16

#: Of the flags, in their first octet and in their second.  RFC 1035 section 4.1.1.
_AA: Final = 0x04
_RA: Final = 0x80
_AD: Final = 0x20

_NOERROR: Final = int(dns.rcode.NOERROR)
_NXDOMAIN: Final = int(dns.rcode.NXDOMAIN)

_HEADER: Final = struct.Struct("!6H")

#: Each size that a label may have, as an octet.
_SIZES: Final = [bytes([size]) for size in range(64)]

# Names that are read as they were written.
_PLAIN: Final = re.compile(r"[a-z0-9._-]+")

#: Type and class at the end of a question.
_KINDS: Final = {kind: struct.pack("!HH", number, 1) for kind, number in NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class Response:
    """
    What one server said.

    @ivar answer: L{None} if it gave none.
    @ivar is_partial: The chain of CNAMEs ends at C{answer.canonical_name}, and
        nothing is said of that name: it is to be asked for.
    @ivar truncated: Ask again over TCP.
    @ivar failure: Why there is no answer, C{SERVFAIL}; empty if there is one.
    """

    answer: Answer | None = None
    is_partial: bool = False
    truncated: bool = False
    failure: str = ""


def question_section(question: Question) -> bytes:
    """
    The question as it stands in a packet.

    @raise ValueError: The name is none that can be asked for.
    """
    if "\\" in question.name:
        raise ValueError("a label has an escaped octet")
    if not question.name.isascii():
        raise ValueError("a label is not in ASCII")
    labels = question.name.encode("ascii").split(b".") if question.name else []
    if not all(labels) or (labels and len(max(labels, key=len)) > 63):
        raise ValueError("a label is empty or too long")
    wire = b"".join([_SIZES[len(label)] + label for label in labels])
    if len(wire) >= _LONGEST_NAME:
        raise ValueError("the name is too long")
    return b"%b\0%b" % (wire, _KINDS[question.type])


def query(identity: int, section: bytes) -> bytes:
    """A packet that asks, with AD set so that AD is answered (RFC 6840 section 5.7)."""
    return _HEADER.pack(identity, _QUERY_FLAGS, 1, 0, 0, 1) + section + _OPT


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
    # These octets have just been compared.
    asked = question.name if _PLAIN.fullmatch(question.name) else None
    reply = read(packet, question.type, asked)
    if reply.rcode not in {_NOERROR, _NXDOMAIN}:
        return Response(failure=_failure(reply))
    if reply.rcode == _NOERROR and reply.name not in reply.records:
        nonsense = _nonsense(reply, packet)
        if nonsense:
            return Response(failure=", ".join([nonsense, *reply.extended_errors]))
    return _response(reply, authentic=trust_ad and bool(packet[3] & _AD))


def _nonsense(reply: Reply, packet: bytes) -> str:
    """
    Why a reply without the records means nothing; empty: it means that there
    are none, or leads on.

    Forwarders in use say that there are none with no SOA, which is believed of
    who recurses or has authority, unless it is a referral.  RFC 2308 section 2.2.
    """
    if reply.name in reply.aliases:
        return ""
    if packet[6:8] != b"\0\0":
        return "the answer is about something else"
    if reply.negative_ttls or packet[2] & _AA:
        return ""
    if reply.delegates:
        return "a referral, no answer"
    return "" if packet[3] & _RA else "no answer from a server that does not recurse"


def _response(reply: Reply, *, authentic: bool) -> Response:
    """Follow the CNAMEs.  RFC 1034 section 3.6.2, RFC 6604."""
    name, ttl = reply.name, _LONGEST_TTL
    aliases = 0
    while name not in reply.records and name in reply.aliases:
        name, alias_ttl = reply.aliases[name]
        ttl = min(ttl, alias_ttl)
        aliases += 1
        if aliases > MOST_ALIASES:
            return Response(failure="CNAME chain too long")
    exists = reply.rcode == _NOERROR
    records = reply.records.get(name, ())
    is_partial = False
    if records:
        if not exists:
            return Response(failure="NXDOMAIN, but with records")
        ttl = min(ttl, reply.ttls[name])
    else:
        denied = _negative_ttl(reply, name)
        is_partial = bool(aliases) and exists and denied is None
        if not is_partial:
            # Without an SOA nothing says how long that may be believed.
            ttl = min(ttl, denied or 0, _LONGEST_NEGATIVE_TTL)
    answer = Answer(
        records=tuple(records if len(records) == 1 else dict.fromkeys(records)),
        authentic=authentic,
        exists=exists,
        canonical_name=name,
        ttl=ttl,
        extended_errors=reply.extended_errors,
    )
    return Response(answer, is_partial=is_partial)


def _negative_ttl(reply: Reply, name: str) -> int | None:
    """That of the zone that C{name} is in; L{None}: the reply says nothing about it."""
    if not reply.negative_ttls:
        return None
    zone: str | None = name
    while zone is not None and zone not in reply.negative_ttls:
        zone = zone.partition(".")[2] if zone else None
    return None if zone is None else reply.negative_ttls[zone]


def _failure(reply: Reply) -> str:
    """The rcode, and what RFC 8914 tells about it."""
    return ", ".join([dns.rcode.to_text(dns.rcode.Rcode.make(reply.rcode)), *reply.extended_errors])
