"""
A resolver for tests that are not about the DNS: it knows that senders at
C{.test} can be answered, and fails for all else.
"""

from __future__ import annotations

import functools
import socket
import threading
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

__all__ = ["names_port"]

_TEST: Final = dns.name.from_text("test.")

#: What is asked to find out whether a sender can be answered (S-65).  The queue
#: asks for a CNAME first, and learns nothing.
_KNOWN: Final = {dns.rdatatype.MX, dns.rdatatype.A, dns.rdatatype.AAAA}


def _answer(octets: bytes) -> bytes:
    """@raise DNSException: It is no question."""
    query = dns.message.from_wire(octets)
    (question,) = query.question
    reply = dns.message.make_response(query, recursion_available=True)
    if not question.name.is_subdomain(_TEST) or question.rdtype not in _KNOWN:
        reply.set_rcode(dns.rcode.SERVFAIL)
    elif question.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(question.name, 3600, "IN", "A", "192.0.2.1"))
    return reply.to_wire()


def _serve(listener: socket.socket) -> None:
    while True:
        octets, client = listener.recvfrom(4096)
        try:
            listener.sendto(_answer(octets), client)
        except (dns.exception.DNSException, ValueError):
            continue


@functools.cache
def names_port() -> int:
    """Where it listens on the loopback, as long as this process runs."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener,), name="names", daemon=True).start()
    port: int = listener.getsockname()[1]
    return port
