"""
Key records: public keys in the DNS.  RFC 6376 section 3.6.1, RFC 8301, RFC 8463.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import load_der_public_key

from moxsmtp.dkim.tags import InvalidTags, base64_octets, parse_tags, words

__all__ = ["MAXIMUM_BITS", "MINIMUM_BITS", "InvalidKey", "KeyRecord", "parse_key_record"]

#: An RSA key that is shorter proves nothing.  RFC 8301 section 3.2.
MINIMUM_BITS: Final = 1024

#: A longer one costs too much; RFC 8301 asks for 4096.
MAXIMUM_BITS: Final = 8192

#: Octets of a key that is looked at, so that its length can be told: 16384 bits.
_MAXIMUM_DER: Final = 2200

#: OpenSSL has the same bound, but for long keys only.
_MAXIMUM_EXPONENT_BITS: Final = 64

#: Octets of a record that is read; a key of 8192 bits needs 1400.
_MAXIMUM_RECORD: Final = 8192

#: Octets of a record whose key is kept; those of usual keys have 450 to 800.
_USUAL_RECORD: Final = 1600


_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()


class InvalidKey(ValueError):
    """What was given holds no key; the text says why."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """
    A key and what it is for.

    @ivar type: C{k=}, lower case; may be one that nobody knows.
    @ivar key: L{None} if it was revoked, or is of no use; then C{problem} tells.
    @ivar bits: Of an RSA key; 0 for others.
    @ivar hashes: C{h=}; empty allows all.
    @ivar services: C{s=}.
    @ivar testing: C{t=y}.
    @ivar strict: C{t=s}: C{i=} may not be a subdomain.
    """

    type: str
    key: RSAPublicKey | Ed25519PublicKey | None
    problem: str = ""
    bits: int = 0
    hashes: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    testing: bool = False
    strict: bool = False

    def has_signed(self, signature: bytes, octets: bytes) -> bool:
        """Whether the owner of the private key made C{signature} of C{octets}."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, octets, _PADDING, _HASH)
            elif isinstance(self.key, Ed25519PublicKey):
                digest = Hash(SHA256())
                digest.update(octets)
                self.key.verify(signature, digest.finalize())
            else:
                return False
        except InvalidSignature:
            return False
        return True


def parse_key_record(record: bytes) -> KeyRecord:
    """
    Read a TXT record.

    @raise InvalidKey: It is no key record, of another version, or its key
        cannot be decoded.
    """
    if len(record) > _MAXIMUM_RECORD:
        raise InvalidKey("longer than 8 kB")
    return _parsed_before(record) if len(record) <= _USUAL_RECORD else _parsed(record)


def _parsed(record: bytes) -> KeyRecord:
    try:
        tags = parse_tags(record)
    except InvalidTags as error:
        raise InvalidKey(str(error)) from None
    if b"v" in tags and (tags[b"v"] != b"DKIM1" or next(iter(tags)) != b"v"):
        raise InvalidKey("not version DKIM1")
    if b"p" not in tags:
        raise InvalidKey("no p= tag")
    type_ = tags.get(b"k", b"rsa").decode("ascii", "replace").lower()
    flags = words(tags.get(b"t", b""))
    key, problem, bits = _key(type_, tags[b"p"])
    return KeyRecord(
        type_,
        key,
        problem,
        bits,
        hashes=words(tags[b"h"]) if b"h" in tags else (),
        services=words(tags.get(b"s", b"*")),
        testing="y" in flags,
        strict="s" in flags,
    )


# Reading DER costs as much as a verification; what raises is not kept.
_parsed_before = functools.lru_cache(maxsize=4096)(_parsed)


def _key(type_: str, p: bytes) -> tuple[RSAPublicKey | Ed25519PublicKey | None, str, int]:
    """The key, or why there is none to verify with; and its length."""
    if not p:
        return None, "key is revoked", 0
    if type_ not in {"rsa", "ed25519"}:
        return None, "unknown type of key", 0
    try:
        octets = base64_octets(p)
    except InvalidTags as error:
        raise InvalidKey(f"p= is {error}") from None
    return _rsa(octets) if type_ == "rsa" else (_ed25519(octets), "", 0)


def _ed25519(octets: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(octets)
    except ValueError:
        raise InvalidKey("p= is no Ed25519 key") from None


def _rsa(der: bytes) -> tuple[RSAPublicKey | None, str, int]:
    """From SubjectPublicKeyInfo or RSAPublicKey; both are in use (erratum 3017 of RFC 6376)."""
    if len(der) > _MAXIMUM_DER:
        return None, "key is too long", 0
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("p= is no RSA key") from None
    if not isinstance(key, RSAPublicKey):
        raise InvalidKey("p= is no RSA key")
    bits = key.key_size
    if bits < MINIMUM_BITS:
        return None, f"key of {bits} bits is too short", bits
    if bits > MAXIMUM_BITS or key.public_numbers().e.bit_length() > _MAXIMUM_EXPONENT_BITS:
        return None, "key is too long", bits
    return key, "", bits
