"""
Questions to the DNS and their answers, as values.  RFC 1035, RFC 4035.

Four outcomes are told apart: records; a name without such records; a name
that does not exist; and a look-up that failed, which is never "no records".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["MX", "TLSA", "Answer", "LookupFailed", "Question", "RRType", "Record"]


class RRType(enum.StrEnum):
    """The record types that mail asks for, and C{NS}, which every resolver knows of the root."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    NS = "NS"
    PTR = "PTR"
    TXT = "TXT"
    TLSA = "TLSA"


@dataclass(frozen=True, slots=True)
class Question:
    """@ivar name: A-labels, no dot at the end, any case (compared in lower case)."""

    name: str
    type: RRType

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.rstrip(".").lower())


@dataclass(frozen=True, slots=True)
class MX:
    """@ivar host: No dot at the end; empty for the null MX of RFC 7505."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class TLSA:
    """RFC 6698 section 2.1.  Nothing is checked."""

    usage: int
    selector: int
    matching_type: int
    association: bytes

    @property
    def is_usable(self) -> bool:
        """
        Whether it says something that can be compared with a certificate; if
        not, it is ignored.  RFC 6698 section 4.1, RFC 7671 section 4.

        What its usage is worth to mail (RFC 7672 section 3.1) is not in it.
        """
        lengths = {0: len(self.association) or None, 1: 32, 2: 64}
        return (
            self.usage <= 3
            and self.selector <= 1
            and lengths.get(self.matching_type) == len(self.association)
        )


#: A and AAAA: the address as text.  CNAME, NS and PTR: the name, no dot at the end.
#: TXT: its character-strings joined.
Record = str | bytes | MX | TLSA


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a resolver answered.

    @ivar records: Of the type asked for, at the end of any CNAME chain; empty
        if there are none.
    @ivar authentic: A resolver that we trust has validated all of it (AD bit).
    @ivar exists: Whether the name exists, C{False} for NXDOMAIN.
    @ivar canonical_name: The end of the CNAME chain; the name asked for where
        there was none.
    @ivar ttl: Seconds it may be kept.
    @ivar extended_errors: What the server told about it, such as that it is a
        stale answer; for people.  RFC 8914.
    """

    records: tuple[Record, ...]
    authentic: bool = False
    exists: bool = True
    canonical_name: str = ""
    ttl: int = 0
    extended_errors: tuple[str, ...] = ()


class LookupFailed(Exception):
    """
    The DNS gave no answer: SERVFAIL, time-out, no server.  RFC 8020 apart,
    nothing may be concluded from it about the name.

    Its text is for people: what was asked, and what each server said, the
    extended errors of RFC 8914 included.
    """
