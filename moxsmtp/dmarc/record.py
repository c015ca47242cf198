"""A domain's DMARC record.  RFC 9989 section 4.7; tags of RFC 7489 are read."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Mode", "Policy", "PublicSuffix", "Record"]


class Policy(enum.StrEnum):
    """What a domain asks to be done with a message that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class Mode(enum.StrEnum):
    """How equal two domains have to be."""

    RELAXED = "r"
    STRICT = "s"


class PublicSuffix(enum.StrEnum):
    """C{psd=}: whether the domain is one under which others register."""

    YES = "y"
    NO = "n"
    UNKNOWN = "u"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    @ivar policy: C{p=}.
    @ivar subdomain_policy: C{sp=}; L{None} if it was not given.
    @ivar nonexistent_policy: C{np=}, likewise.
    @ivar testing: C{t=y}, or C{pct=0} of RFC 7489 without C{t}.
    @ivar dkim_mode: C{adkim=}.
    @ivar spf_mode: C{aspf=}.
    @ivar aggregate_reports: C{rua=}: URIs as written, size suffixes and all.
    @ivar failure_reports: C{ruf=}, likewise.
    @ivar failure_options: C{fo=}.
    """

    policy: Policy
    subdomain_policy: Policy | None = None
    nonexistent_policy: Policy | None = None
    public_suffix: PublicSuffix = PublicSuffix.UNKNOWN
    testing: bool = False
    dkim_mode: Mode = Mode.RELAXED
    spf_mode: Mode = Mode.RELAXED
    aggregate_reports: tuple[str, ...] = ()
    failure_reports: tuple[str, ...] = ()
    failure_options: tuple[str, ...] = ("0",)
