"""Whether a message's author is who it says, and what its domain asks for.  RFC 9989."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from moxsmtp.dmarc.record import Policy, Record
from moxsmtp.names import Domain

__all__ = ["Alignment", "Result", "Status", "Step"]


class Status(enum.StrEnum):
    """RFC 8601 section 2.7.4 (registered by RFC 7489 section 11.2)."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Alignment(enum.StrEnum):
    """How well the author's domain is vouched for, whatever its policy asks (I-19, I-20)."""

    STRICT = "strict"
    DMARC = "dmarc"
    RELAXED = "relaxed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Step:
    """
    One question of a tree walk, for the trace.

    @ivar name: What was asked, C{_dmarc.} and all.
    @ivar outcome: What was found, for people: the record, or why there is none.
    """

    name: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Result:
    """
    @ivar alignment: Of several authors, the weakest.
    @ivar author: The author's domain; L{None} where there is none to judge (I-7).
        Of several, the one whose outcome is the strictest.
    @ivar policy: What applies to this author domain (C{p}, C{sp} or C{np});
        L{None}: no record, or none that is valid or could be had.
    @ivar rejects: The policy asks for the message to be refused; C{quarantine}
        counts as C{reject} (I-22), a record in testing refuses nothing.
    @ivar record: That of C{policy_domain}; L{None} also if it is not valid.
    @ivar organizational_domain: By tree walk; L{None} as C{author} is, or if the walk failed.
    @ivar problem: What is wrong, with C{TEMPERROR} and C{PERMERROR}.
    @ivar walk: What was asked and found, in order.
    @ivar authentic: The record, or its absence, was validated (DNSSEC).
    """

    status: Status
    alignment: Alignment = Alignment.NONE
    author: Domain | None = None
    policy: Policy | None = None
    rejects: bool = False
    record: Record | None = None
    policy_domain: Domain | None = None
    organizational_domain: Domain | None = None
    problem: str = ""
    walk: tuple[Step, ...] = ()
    authentic: bool = False

    def doubted(self, problem: str) -> Result:
        """
        What is left of it where there may be authors beside those judged.

        The pass of one must not be the cover of another, and C{NONE} would say
        that there is nobody to judge.  What fails, or asks to be refused, does so
        still: any author is reason enough for that.

        @param problem: Why there may be.
        """
        if self.status in {Status.PASS, Status.NONE}:
            return replace(self, status=Status.PERMERROR, alignment=Alignment.NONE, problem=problem)
        if self.alignment is Alignment.NONE:
            return self
        return replace(self, alignment=Alignment.NONE)
