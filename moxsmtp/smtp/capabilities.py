"""
What a server says it can do.  RFC 5321 section 4.1.1.1, RFC 1870, RFC 4954, RFC 9422.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from moxsmtp.smtp.remote_reply import RemoteReply

__all__ = ["Capabilities"]

# limits = "LIMITS" SP limit *(SP limit); limit = name "=" value; RFC 9422 section 4.
_LIMIT = re.compile(r"([A-Z][A-Z0-9_-]{0,63})=([1-9][0-9]{0,5})", re.IGNORECASE)

# size-value = 1*20DIGIT; RFC 1870 section 3.
_SIZE = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """
    The extensions of one EHLO reply; none of them after HELO.

    @ivar size: The largest message in octets, 0 for no limit; L{None} if SIZE
        was not announced.
    @ivar recipients: How many one transaction may have; L{None}: not said.
    @ivar auth: Names of SASL mechanisms, in upper case.
    """

    starttls: bool = False
    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    enhanced_status: bool = False
    chunking: bool = False
    dsn: bool = False
    require_tls: bool = False
    size: int | None = None
    recipients: int | None = None
    auth: frozenset[str] = frozenset()

    @classmethod
    def of(cls, reply: RemoteReply) -> Self:
        """Read an EHLO reply; what is unknown or malformed is passed over."""
        words: dict[str, str] = {}
        for line in reply.lines[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            words.setdefault(keyword.upper(), parameters.strip())
        size = words.get("SIZE")
        return cls(
            starttls="STARTTLS" in words,
            pipelining="PIPELINING" in words,
            eight_bit="8BITMIME" in words,
            smtputf8="SMTPUTF8" in words,
            enhanced_status="ENHANCEDSTATUSCODES" in words,
            chunking="CHUNKING" in words,
            dsn="DSN" in words,
            require_tls="REQUIRETLS" in words,
            size=None if size is None else int(size) if _SIZE.fullmatch(size) else 0,
            recipients=_limits(words.get("LIMITS", "")).get("RCPTMAX"),
            auth=frozenset(words.get("AUTH", "").upper().split()),
        )


def _limits(parameters: str) -> dict[str, int]:
    """All limits, or none where a single one is malformed or said twice (Q-67)."""
    limits: dict[str, int] = {}
    for word in parameters.split():
        match = _LIMIT.fullmatch(word)
        if match is None or match[1].upper() in limits:
            return {}
        limits[match[1].upper()] = int(match[2])
    return limits
