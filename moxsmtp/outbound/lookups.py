"""What is asked of the DNS on the way out: within a time, and told on one line each."""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.defer import TimeoutError as LookupTimeout
from twisted.internet.interfaces import IReactorTime

from moxsmtp.dns.records import MX, TLSA, Answer, LookupFailed, Question, Record
from moxsmtp.interfaces import IResolver

__all__ = ["LOOKUP_LIMIT", "ask", "is_bogus", "shortened", "told"]

#: Seconds for one look-up (Q-47).
LOOKUP_LIMIT: Final = 30.0

#: Records, octets of each, and characters, that one line tells.
_MOST_TOLD: Final = 8
_LONGEST_ASSOCIATION: Final = 16
_LONGEST_STEP: Final = 300

# What validators call signatures that are wrong, or missing where there have to be
# some; RFC 8914 sections 4.6 to 4.13.
_BOGUS = re.compile(r"(?i)\b(?:[5-9]|1[0-2]) \((?:DNSSEC|Signature|DNSKEY|RRSIGs|No Zone|NSEC)")


async def ask(resolver: IResolver, clock: IReactorTime, question: Question) -> Answer:
    """
    Look up.

    @raise LookupFailed: The DNS failed, or did not answer in time.
    """
    asking = resolver.lookup(question).addTimeout(LOOKUP_LIMIT, clock)
    try:
        return await asking
    except LookupTimeout:
        raise LookupFailed(
            f"{question.type} of {question.name}: no answer in {LOOKUP_LIMIT:g} s"
        ) from None


def told(question: Question, answer: Answer) -> str:
    """An answer on one line."""
    if not answer.exists:
        said = "no such name"
    elif not answer.records:
        said = "none"
    else:
        said = ", ".join(map(_record, answer.records[:_MOST_TOLD]))
        more = len(answer.records) - _MOST_TOLD
        if more > 0:
            said += f" and {more} more"
    dnssec = "authentic" if answer.authentic else "not authentic"
    return shortened(f"{question.type} of {question.name}: {said} ({dnssec})")


def _record(record: Record) -> str:
    match record:
        case MX(preference=preference, host=host):
            return f"{preference} {host or '.'}"
        case TLSA(association=octets):
            data = octets[:_LONGEST_ASSOCIATION].hex()
            data += "..." if len(octets) > _LONGEST_ASSOCIATION else ""
            return f"{record.usage} {record.selector} {record.matching_type} {data}"
    return str(record)


def shortened(text: str) -> str:
    """At most so much of it as one line of a trace has."""
    return text if len(text) <= _LONGEST_STEP else f"{text[: _LONGEST_STEP - 3]}..."


def is_bogus(error: str) -> bool:
    """Whether a look-up failed as signatures are wrong, by what its L{LookupFailed} says."""
    return _BOGUS.search(error) is not None
