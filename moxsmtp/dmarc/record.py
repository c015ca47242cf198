"""
A domain's DMARC record.  RFC 9989 sections 4.7 and 4.8; tags of RFC 7489 are read.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["InvalidRecord", "Mode", "Policy", "PublicSuffix", "Record", "parse_record"]


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


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """
    A DMARC record that asks for nothing that could be done.  It still marks a
    domain in a tree walk.

    @ivar problem: What is wrong with it.
    """

    problem: str
    public_suffix: PublicSuffix = PublicSuffix.UNKNOWN


#: Octets of a record that is remembered; a usual one has less than 200.
_LONGEST_REMEMBERED: Final = 1024

# dmarc-version = "v" equals %s"DMARC1"; white space around as DKIM's tag lists have it.
_VERSION = re.compile(r"[ \t\r\n]*[vV][ \t\r\n]*=[ \t\r\n]*DMARC1[ \t\r\n]*(?:;|\Z)")

_SPACE: Final = " \t\r\n"

#: Tags that mean something here; C{pct} is of RFC 7489.
_TAGS: Final = frozenset(
    {"p", "sp", "np", "psd", "t", "adkim", "aspf", "rua", "ruf", "fo", "pct"}
)  # fmt: skip

_POLICIES: Final[Mapping[str, Policy]] = {one.value: one for one in Policy}
_MODES: Final[Mapping[str, Mode]] = {one.value: one for one in Mode}
_SUFFIXES: Final[Mapping[str, PublicSuffix]] = {one.value: one for one in PublicSuffix}

# URI of RFC 3986 without comma, semicolon and exclamation mark, which have to be
# encoded, and obs-dmarc-report-size behind it.
_URI = re.compile(
    r"[a-z][a-z0-9+.-]*:[a-z0-9._~:/?#\[\]@$&'()*+=%-]+(?:![0-9]+[kmgt]?)?",
    re.ASCII | re.IGNORECASE,
)

# dmarc-fo, each option at most once, "0" and "1" not both.
_FAILURE_OPTIONS = frozenset({"0", "1", "d", "s"})


def parse_record(text: str | bytes) -> Record | InvalidRecord | None:
    """
    Read one TXT record, its strings joined.

    Tags may stand in any order behind the version.  Unknown ones are ignored; a
    value that is not valid, and a tag given twice, counts as not given (RFC 9989
    section 4.8).  Without a valid C{p}, or with an invalid C{sp} or C{np}, the
    record stands for C{p=none} if reports can be sent somewhere, else for
    nothing (section 4.10.1).

    @return: L{None} if it is no DMARC record.
    """
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _parse(text)


def _parse(text: str | bytes) -> Record | InvalidRecord | None:
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    version = _VERSION.match(text)
    if version is None:
        return None
    tags = _tags(text[version.end() :])
    policy, problem = _policy(tags, "p")
    subdomain, bad_subdomain = _policy(tags, "sp")
    nonexistent, bad_nonexistent = _policy(tags, "np")
    problem = problem or bad_subdomain or bad_nonexistent
    aggregate = _uris(tags.get("rua"))
    public_suffix = _SUFFIXES.get(tags.get("psd", "").lower(), PublicSuffix.UNKNOWN)
    if policy is None and not problem:
        problem = "no p="
    if problem:
        if not aggregate:
            return InvalidRecord(problem, public_suffix)
        policy, subdomain, nonexistent = Policy.NONE, None, None
    return Record(
        policy=policy or Policy.NONE,
        subdomain_policy=subdomain,
        nonexistent_policy=nonexistent,
        public_suffix=public_suffix,
        testing=_is_testing(tags),
        dkim_mode=_MODES.get(tags.get("adkim", "").lower(), Mode.RELAXED),
        spf_mode=_MODES.get(tags.get("aspf", "").lower(), Mode.RELAXED),
        aggregate_reports=aggregate,
        failure_reports=_uris(tags.get("ruf")),
        failure_options=_failure_options(tags.get("fo", "")),
    )


_remembered = functools.lru_cache(maxsize=2048)(_parse)


def _tags(text: str) -> dict[str, str]:
    """The tags that we know; one given twice has no value, which is never valid."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        name = name.strip(_SPACE).lower()
        if name in _TAGS:
            tags[name] = "" if name in tags else value.strip(_SPACE)
    return tags


def _policy(tags: Mapping[str, str], name: str) -> tuple[Policy | None, str]:
    """The policy, and what is wrong if there is none though there should be."""
    value = tags.get(name)
    if value is None:
        return None, ""
    policy = _POLICIES.get(value.lower())
    return policy, "" if policy is not None else f"{name}= has no valid value"


def _uris(value: str | None) -> tuple[str, ...]:
    """Those of a list that are valid; one of mailto needs an address."""
    if value is None:
        return ()
    uris = (uri.strip(_SPACE) for uri in value.split(","))
    return tuple(
        uri
        for uri in uris
        if _URI.fullmatch(uri) and (uri[:7].lower() != "mailto:" or "@" in uri[8:])
    )


def _is_testing(tags: Mapping[str, str]) -> bool:
    """RFC 9989 appendix A.6: C{t=y} is what C{pct=0} was."""
    testing = tags.get("t", "").lower()
    if testing in {"y", "n"}:
        return testing == "y"
    return tags.get("pct", "") in {"0", "00", "000"}


def _failure_options(value: str) -> tuple[str, ...]:
    options = tuple(option.strip(_SPACE) for option in value.lower().split(":", 4))
    known = frozenset(options)
    if len(known) < len(options) or not known <= _FAILURE_OPTIONS or known >= {"0", "1"}:
        return ("0",)
    return options
