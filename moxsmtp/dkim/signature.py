"""
The DKIM-Signature field, read.  RFC 6376 section 3.5, RFC 8301, RFC 8463, RFC 8616.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dkim.canonicalization import (  # type: ignore[import-untyped]  # no stubs
    CanonicalizationPolicy,
    InvalidCanonicalizationPolicyError,
)

from moxsmtp.dkim.tags import InvalidTags, base64_octets, without_space, words
from moxsmtp.names import MAXIMUM_DOMAIN, Domain, InvalidName, parse_domain

__all__ = [
    "FIELD_NAME", "MAXIMUM_FIELD", "Claim", "InvalidSignature", "Signature", "parse_claim",
    "parse_selector", "parse_signature",
]  # fmt: skip

#: Octets of a field that are read.
MAXIMUM_FIELD: Final = 16 << 10

#: What a signature may be made with, and the type of key it needs.
_KEY_TYPES: Final = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}

# selector = sub-domain *( "." sub-domain ); underscores are in use.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_SELECTOR: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_SECONDS: Final = re.compile(rb"[0-9]{1,12}")
_LIMIT: Final = re.compile(rb"[0-9]{1,76}")

# hdr-name = field-name, without a semicolon.
FIELD_NAME: Final = re.compile(rb"[!-9<-~]+")

#: Octets of C{h=} up to which it is kept.
_USUAL_NAMES: Final = 1024

#: Octets of C{i=} and C{b=} that are kept to be shown.
_SHOWN: Final = 1024


class InvalidSignature(ValueError):
    """The field is no signature that can be verified; the text says why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a field says of itself, as far as it can be read; the ivars are those
    of L{moxsmtp.dkim.result.Result}.
    """

    domain: Domain | None = None
    selector: str = ""
    algorithm: str = ""
    identity: str = ""
    signature: str = ""
    has_limit: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """
    A signature in its syntax.  Nothing is verified.

    @ivar key_type: C{k=} of the key it needs.
    @ivar identity_domain: Of C{i=}; the C{domain} where there is no C{i=}.
    @ivar signed: C{h=}, lower case.
    @ivar limit: C{l=}; L{None} if all of the body is signed.
    @ivar expires: Seconds since 1970 (C{x=}).
    """

    domain: Domain
    selector: str
    key_type: str
    identity_domain: Domain
    signed: tuple[bytes, ...]
    header_relaxed: bool
    body_relaxed: bool
    limit: int | None
    expires: int | None
    body_hash: bytes
    signature: bytes

    @property
    def key_name(self) -> str:
        """Where the key record is.  RFC 6376 section 3.6.2.1."""
        return _key_name(self.selector, self.domain)

    def has_expired(self, now: datetime) -> bool:
        """Whether C{x=} is past."""
        return self.expires is not None and self.expires < now.timestamp()


def parse_claim(tags: dict[bytes, bytes]) -> Claim:
    """Read what can be shown of a signature that may be invalid."""
    try:
        domain = _domain(tags.get(b"d", b""))
    except InvalidSignature:
        domain = None
    try:
        selector = parse_selector(_text(tags.get(b"s", b"")))
    except InvalidSignature:
        selector = ""
    return Claim(
        domain,
        selector,
        _shown(tags.get(b"a", b"")).lower(),
        _shown(tags.get(b"i", b"")),
        _shown(tags.get(b"b", b"")),
        b"l" in tags,
    )


def parse_signature(tags: dict[bytes, bytes], claim: Claim | None = None) -> Signature:
    """
    Read a field's tags.

    @param claim: What L{parse_claim} has read of them, if that is known.

    C{t=} is read for its syntax and for C{x=}: clocks differ, so a time to
    come is no fault (RFC 6376 section 3.5 leaves it open).

    @raise InvalidSignature: It cannot be verified by anybody, or was made in
        a way that RFC 8301 forbids.
    """
    for name in (b"v", b"a", b"b", b"bh", b"d", b"h", b"s"):
        if name not in tags:
            raise InvalidSignature(f"no {name.decode()}= tag")
    if tags[b"v"] != b"1":
        raise InvalidSignature("unknown version in v=")
    key_type = _key_type(tags[b"a"])
    header_relaxed, body_relaxed = _canonicalization(tags.get(b"c"))
    if b"q" in tags and "dns/txt" not in words(tags[b"q"]):
        raise InvalidSignature("unknown query method in q=")
    claim = claim or Claim()
    # What could not be read says why if it is read again.
    domain = claim.domain or _domain(tags[b"d"])
    selector = claim.selector or parse_selector(_text(tags[b"s"]))
    if len(_key_name(selector, domain)) > MAXIMUM_DOMAIN:
        raise InvalidSignature("s= and d= are too long for a name")
    return Signature(
        domain=domain,
        selector=selector,
        key_type=key_type,
        identity_domain=_identity_domain(tags.get(b"i"), domain),
        signed=_signed(tags[b"h"]),
        header_relaxed=header_relaxed,
        body_relaxed=body_relaxed,
        limit=_limit(tags.get(b"l")),
        expires=_expires(tags),
        body_hash=_octets("bh", tags[b"bh"]),
        signature=_octets("b", tags[b"b"]),
    )


def parse_selector(text: str) -> str:
    """
    Read C{s=} in any spelling into lower-case A-labels.

    @raise InvalidSignature: It is none.
    """
    lower = text.lower()
    if not text.isascii():
        try:
            lower = parse_domain(text).ascii
        except InvalidName:
            raise InvalidSignature("s= is no selector") from None
    if len(lower) > MAXIMUM_DOMAIN or not _SELECTOR.fullmatch(lower):
        raise InvalidSignature("s= is no selector")
    return lower


def _key_name(selector: str, domain: Domain) -> str:
    return f"{selector}._domainkey.{domain.ascii}"


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSignature("no UTF-8 in a name") from None


def _shown(value: bytes) -> str:
    return without_space(value)[:_SHOWN].decode("utf-8", "replace")


def _domain(value: bytes) -> Domain:
    try:
        return parse_domain(_text(value))
    except InvalidName:
        raise InvalidSignature("d= is no domain") from None


def _key_type(value: bytes) -> str:
    algorithm = value.lower().decode("ascii", "replace")
    if algorithm == "rsa-sha1":
        raise InvalidSignature("rsa-sha1 is no longer accepted")
    if algorithm not in _KEY_TYPES:
        raise InvalidSignature("unknown algorithm in a=")
    return _KEY_TYPES[algorithm]


@functools.lru_cache(maxsize=32)
def _canonicalization(value: bytes | None) -> tuple[bool, bool]:
    try:
        policy = CanonicalizationPolicy.from_c_value(value and value.lower())
    except InvalidCanonicalizationPolicyError:
        raise InvalidSignature("unknown canonicalization in c=") from None
    return policy.header_algorithm.name == b"relaxed", policy.body_algorithm.name == b"relaxed"


def _identity_domain(value: bytes | None, domain: Domain) -> Domain:
    """Of C{i=}, which is the signing domain or below it.  RFC 6376 section 3.5."""
    if value is None:
        return domain
    _, at, name = _text(without_space(value)).rpartition("@")
    try:
        found = parse_domain(name) if at else None
    except InvalidName:
        found = None
    if found is None:
        raise InvalidSignature("i= has no domain")
    if found != domain and not found.ascii.endswith(f".{domain.ascii}"):
        raise InvalidSignature("i= is not within d=")
    return found


def _signed(value: bytes) -> tuple[bytes, ...]:
    return _names_before(value) if len(value) <= _USUAL_NAMES else _names(value)


def _names(value: bytes) -> tuple[bytes, ...]:
    names = tuple([name.strip() for name in value.lower().split(b":")])
    if not all(map(FIELD_NAME.fullmatch, names)):
        raise InvalidSignature("h= is no list of header fields")
    if b"from" not in names:
        raise InvalidSignature("From is not signed")
    return names


# The same in all mail of a sender; what raises is not kept.
_names_before = functools.lru_cache(maxsize=512)(_names)


def _limit(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not _LIMIT.fullmatch(value):
        raise InvalidSignature("l= is no number")
    return int(value)


def _expires(tags: dict[bytes, bytes]) -> int | None:
    for name in (b"t", b"x"):
        if name in tags and not _SECONDS.fullmatch(tags[name]):
            raise InvalidSignature(f"{name.decode()}= is no time")
    if b"x" not in tags:
        return None
    expires = int(tags[b"x"])
    if b"t" in tags and expires <= int(tags[b"t"]):
        raise InvalidSignature("x= is not later than t=")
    return expires


def _octets(name: str, value: bytes) -> bytes:
    try:
        octets = base64_octets(value)
    except InvalidTags as error:
        raise InvalidSignature(f"{name}= is {error}") from None
    if not octets:
        raise InvalidSignature(f"{name}= is empty")
    return octets
