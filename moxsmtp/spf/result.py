"""What a check of SPF is asked and what it says.  RFC 7208 sections 2.6 and 4.1."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from moxsmtp.names import Domain, Host, IPAddress
from moxsmtp.smtp.address import Path

__all__ = ["Identity", "Result", "Scope", "Status"]


class Status(enum.StrEnum):
    """RFC 7208 section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Scope(enum.StrEnum):
    """Which name was checked, in Received-SPF's words.  RFC 7208 section 9.1."""

    MAIL_FROM = "mailfrom"
    HELO = "helo"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A client, and who it says it is.

    @ivar reverse_path: L{None} for the null reverse-path; then C{hello} is
        checked (I-14).
    @ivar hello: What HELO or EHLO gave; L{None} if that was nothing usable.
    @ivar hostname: Our own name, for the macro C{r}.
    """

    address: IPAddress
    reverse_path: Path | None
    hello: Host | None
    hostname: Domain


@dataclass(frozen=True, slots=True)
class Result:
    """
    @ivar scope: What was checked; L{None} where there was no domain to check.
    @ivar domain: The domain of that identity.
    @ivar mechanism: The one that decided, as written in the record, or
        C{default}; empty where none did.
    @ivar explanation: With C{FAIL}: what the domain wants to be told, printable
        ASCII of at most 800 octets, not to be believed (I-16); else empty.
    @ivar problem: What is wrong, with C{TEMPERROR} and C{PERMERROR}.
    @ivar authentic: All answers that were used were validated (DNSSEC).
    """

    status: Status
    scope: Scope | None = None
    domain: Domain | None = None
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""
    authentic: bool = False
