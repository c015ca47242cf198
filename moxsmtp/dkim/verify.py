"""
Signatures of a message, verified while it comes in.  RFC 6376 section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from twisted.internet.defer import Deferred

from moxsmtp.dkim.body import BodyHash, BodyHashes
from moxsmtp.dkim.fields import Section, split_message
from moxsmtp.dkim.key import InvalidKey, KeyRecord, parse_key_record
from moxsmtp.dkim.result import Result, Results, Status
from moxsmtp.dkim.signature import (
    MAXIMUM_FIELD,
    Claim,
    InvalidSignature,
    Signature,
    parse_claim,
    parse_signature,
)
from moxsmtp.dkim.tags import InvalidTags, parse_tags
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain

__all__ = ["MAXIMUM_SIGNATURES", "Verifier", "verify"]

#: Signatures of a message that are evaluated.
MAXIMUM_SIGNATURES: Final = 10

#: Records of an answer among which the key is looked for.
_MAXIMUM_RECORDS: Final = 32


@dataclass(frozen=True, slots=True)
class _Check:
    """@ivar place: Of the signature's field in the section."""

    place: int
    claim: Claim
    signature: Signature
    body: BodyHash


@dataclass(frozen=True, slots=True)
class _NoKey:
    status: Status
    reason: str
    authentic: bool = False


@dataclass(frozen=True, slots=True)
class _Key:
    record: KeyRecord
    authentic: bool


class Verifier:
    """
    Verifies what a message is signed with.

    Look-ups of keys begin at once, each name's once; hashing goes on while
    the body is fed.  Whoever does not come to L{finish} has to L{cancel}.

    @param header: The header section as it was received, lines ending with
        CRLF, with or without the empty line.  Signatures of one that is
        longer than 256 KiB or 5000 lines are C{PERMERROR}.
    @param is_public_suffix: Whether a domain is one below which others have
        theirs; nobody signs for those.
    """

    def __init__(
        self,
        resolver: IResolver,
        header: bytes,
        *,
        now: datetime,
        is_public_suffix: Callable[[Domain], bool],
    ) -> None:
        self._now = now
        self._is_public_suffix = is_public_suffix
        self._section = Section(header)
        self._body = BodyHashes()
        places = self._section.places(b"dkim-signature")
        self._omitted = max(0, len(places) - MAXIMUM_SIGNATURES)
        self._begun = [self._begin(place) for place in places[:MAXIMUM_SIGNATURES]]
        self._lookups: dict[str, Deferred[Answer]] = {}
        for check in self._begun:
            if isinstance(check, _Check):
                name = check.signature.key_name
                if name not in self._lookups:
                    self._lookups[name] = resolver.lookup(Question(name, RRType.TXT))

    def feed(self, body: bytes) -> None:
        """More of the body, cut anywhere, lines ending with CRLF."""
        self._body.feed(body)

    def cancel(self) -> None:
        """Nobody wants the result any more.  May be repeated."""
        for lookup in self._lookups.values():
            _ = lookup.addErrback(lambda _: None)
            lookup.cancel()

    async def finish(self) -> Results:
        """
        The body is whole.  Once.

        @return: A status for every signature: DNS that fails is C{TEMPERROR}.
        """
        self._body.finish()
        keys = {}
        try:
            for name, lookup in self._lookups.items():
                keys[name] = await _key(lookup)
        except BaseException:
            self.cancel()
            raise
        # They are over: there is nothing left to cancel.
        self._lookups.clear()
        return Results(
            tuple(
                self._evaluated(one, keys[one.signature.key_name])
                if isinstance(one, _Check)
                else one
                for one in self._begun
            ),
            self._omitted,
        )

    def _begin(self, place: int) -> _Check | Result:
        """All that can be said of a signature without its key."""
        try:
            tags = self._tags(place)
        except InvalidTags as error:
            return Result(Status.PERMERROR, reason=str(error))
        claim = parse_claim(tags)
        try:
            signature = self._signature(tags, claim)
        except InvalidSignature as error:
            return _result(claim, Status.PERMERROR, str(error))
        body = self._body.wanted(relaxed=signature.body_relaxed, limit=signature.limit)
        return _Check(place, claim, signature, body)

    def _tags(self, place: int) -> dict[bytes, bytes]:
        if self._section.is_cut:
            raise InvalidTags("header section is too long")
        value = self._section.value(place)
        if len(value) > MAXIMUM_FIELD:
            raise InvalidTags("signature is longer than 16 kB")
        return parse_tags(value)

    def _signature(self, tags: dict[bytes, bytes], claim: Claim) -> Signature:
        signature = parse_signature(tags, claim)
        if signature.has_expired(self._now):
            raise InvalidSignature("signature has expired")
        if self._is_public_suffix(signature.domain):
            raise InvalidSignature("d= is a public suffix")
        return signature

    def _evaluated(self, check: _Check, key: _Key | _NoKey) -> Result:
        if isinstance(key, _NoKey):
            return _result(check.claim, key.status, key.reason, authentic=key.authentic)
        record = key.record
        problem = _problem(check.signature, record)
        if problem:
            status, reason = Status.PERMERROR, problem
        else:
            status, reason = self._verified(check, record)
        if record.testing and status in {Status.FAIL, Status.PERMERROR}:
            status = Status.NONE  # RFC 6376 section 3.6.1: as if it were not signed
        return _result(check.claim, status, reason, record=record, authentic=key.authentic)

    def _verified(self, check: _Check, record: KeyRecord) -> tuple[Status, str]:
        signature = check.signature
        if check.body.is_short:
            return Status.FAIL, "body is shorter than l="
        if check.body.digest() != signature.body_hash:
            return Status.FAIL, "body hash differs"
        section, relaxed = self._section, signature.header_relaxed
        chosen = section.chosen(signature.signed, but=check.place)
        octets = section.canonical(chosen, relaxed=relaxed)
        octets += section.canonical_signature(check.place, relaxed=relaxed)
        if not record.has_signed(signature.signature, octets):
            return Status.FAIL, "signature differs"
        reason = self._objection(signature)
        return (Status.POLICY, reason) if reason else (Status.PASS, "")

    def _objection(self, signature: Signature) -> str:
        """Why a good signature says too little (I-17); empty if it does not."""
        if signature.limit is not None:
            return "l= leaves the end of the body unsigned"
        for name in (b"from", b"subject"):
            signed = signature.signed.count(name)
            if signed < max(1, len(self._section.places(name))):
                return f"a {name.decode().capitalize()} field is not signed"
        return ""


async def verify(
    resolver: IResolver,
    message: bytes,
    *,
    now: datetime,
    is_public_suffix: Callable[[Domain], bool] = lambda _: False,
) -> Results:
    """
    Verify a whole message, lines ending with CRLF.

    It is hashed in one go, some milliseconds for each MB; feed a L{Verifier}
    where others wait.
    """
    header, body = split_message(message)
    verifier = Verifier(resolver, header, now=now, is_public_suffix=is_public_suffix)
    verifier.feed(body)
    return await verifier.finish()


async def _key(lookup: Deferred[Answer]) -> _Key | _NoKey:
    """
    The one key record of an answer.  RFC 6376 section 3.6.2.2.

    Records that are none, such as those of a wildcard, are passed over; of
    several keys nobody knows which is meant.
    """
    try:
        answer = await lookup
    except LookupFailed:
        return _NoKey(Status.TEMPERROR, "DNS failed to give the key")
    found, problem = [], "no key record"
    for record in answer.records[:_MAXIMUM_RECORDS]:
        try:
            if isinstance(record, bytes):
                found.append(parse_key_record(record))
        except InvalidKey as error:
            problem = f"no key record: {error}"
    if len(found) == 1:
        return _Key(found[0], answer.authentic)
    reason = "several key records" if found else problem
    return _NoKey(Status.PERMERROR, reason, answer.authentic)


def _problem(signature: Signature, record: KeyRecord) -> str:
    """Why the key is not one for this signature; empty if it is.  RFC 6376 section 6.1.2."""
    if record.services and not {"*", "email"} & set(record.services):
        return "key is not for mail"
    if record.hashes and "sha256" not in record.hashes:
        return "key is not for SHA-256"
    if record.problem:
        return record.problem
    if record.type != signature.key_type:
        return "key is of another type than the signature"
    if record.strict and signature.identity_domain != signature.domain:
        return "i= is a subdomain, which the key does not allow"
    return ""


def _result(
    claim: Claim,
    status: Status,
    reason: str,
    *,
    record: KeyRecord | None = None,
    authentic: bool = False,
) -> Result:
    return Result(
        status,
        claim.domain,
        claim.selector,
        claim.algorithm,
        claim.identity,
        claim.signature,
        reason,
        key_bits=record.bits if record else 0,
        services=record.services if record else ("*",),
        has_limit=claim.has_limit,
        testing=record.testing if record else False,
        authentic=authentic,
    )
