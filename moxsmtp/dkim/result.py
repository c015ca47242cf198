"""What became of each signature of a message.  RFC 6376 section 6, RFC 8601 section 2.7.1."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from moxsmtp.names import Domain

__all__ = ["Result", "Results", "Status"]


class Status(enum.StrEnum):
    """RFC 8601 section 2.7.1."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    POLICY = "policy"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Result:
    """
    One signature's.

    @ivar domain: C{d=}; L{None} if it cannot be read.
    @ivar selector: C{s=}, as A-labels, lower case.
    @ivar algorithm: C{a=}, lower case; may name one that nobody knows.
    @ivar identity: C{i=}; empty if it was not given.
    @ivar signature: C{b=} without white space; may be empty or no base64.
    @ivar reason: Why it did not pass, in our words; empty with C{PASS}.
    @ivar key_bits: Of an RSA key; 0 for other keys and where there is no key.
    @ivar services: C{s=} of the key record; C{("*",)} is all.
    @ivar has_limit: C{l=} was given, so the body may have been added to.
    @ivar testing: C{t=y} of the key record.
    @ivar authentic: The key record was validated (DNSSEC).
    """

    status: Status
    domain: Domain | None = None
    selector: str = ""
    algorithm: str = ""
    identity: str = ""
    signature: str = ""
    reason: str = ""
    key_bits: int = 0
    services: tuple[str, ...] = ("*",)
    has_limit: bool = False
    testing: bool = False
    authentic: bool = False


@dataclass(frozen=True, slots=True)
class Results:
    """
    A message's.

    @ivar signatures: In their order in the message, at most 10; empty: not signed.
    @ivar omitted: So many more were not evaluated.
    """

    signatures: tuple[Result, ...] = ()
    omitted: int = 0

    @property
    def verified_domains(self) -> tuple[Domain, ...]:
        """C{d=} of those that passed, each once, in order (I-18)."""
        return tuple(
            dict.fromkeys(
                one.domain
                for one in self.signatures
                if one.status is Status.PASS and one.domain is not None
            )
        )
