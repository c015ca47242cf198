"""
The public key of a client's certificate, by its fingerprint.

What is hashed is the SubjectPublicKeyInfo as it was sent: written anew by a
library, the same key may look otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from typing import Final

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, dump_certificate

__all__ = ["certificate_key", "client_key", "key_fingerprint", "public_key_info"]

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0

#: serialNumber, signature, issuer, validity, subject: what stands before the
#: key.  RFC 5280 section 4.1.
_BEFORE_KEY: Final = 5


def client_key(connection: SSL.Connection) -> str:
    """The L{key_fingerprint} of the key that the client has; empty: it showed none."""
    certificate = connection.get_peer_certificate()
    return certificate_key(certificate) if certificate is not None else ""


def certificate_key(certificate: X509) -> str:
    """
    The L{key_fingerprint} of a certificate's key.

    A certificate whose key cannot be found in it counts whole, so that it is
    unknown rather than absent (T-7).
    """
    octets = dump_certificate(FILETYPE_ASN1, certificate)
    with contextlib.suppress(ValueError):
        octets = public_key_info(octets)
    return key_fingerprint(octets)


def key_fingerprint(key_info: bytes) -> str:
    """SHA-256 of a SubjectPublicKeyInfo, in base64url without padding (S-37)."""
    digest = hashlib.sha256(key_info).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def public_key_info(certificate: bytes) -> bytes:
    """
    The SubjectPublicKeyInfo of a certificate in DER, tag and length included::

        Certificate    ::= SEQUENCE { tbsCertificate TBSCertificate, ... }
        TBSCertificate ::= SEQUENCE { version [0] EXPLICIT Version DEFAULT v1,
            serialNumber, signature, issuer, validity, subject,
            subjectPublicKeyInfo SubjectPublicKeyInfo, ... }

    @raise ValueError: It is none.
    """
    position, _ = _element(certificate, 0, _SEQUENCE)
    position, _ = _element(certificate, position, _SEQUENCE)
    if certificate[position : position + 1] == bytes([_VERSION]):
        _, position = _element(certificate, position)
    for _ in range(_BEFORE_KEY):
        _, position = _element(certificate, position)
    _, end = _element(certificate, position, _SEQUENCE)
    return certificate[position:end]


def _element(octets: bytes, position: int, tag: int | None = None) -> tuple[int, int]:
    """Where the content of the element at C{position} begins and ends.  X.690 section 8.1."""
    head = octets[position : position + 2]
    if len(head) < 2 or (tag is not None and head[0] != tag):
        raise ValueError("not DER, or not a certificate")
    start, length = position + 2, head[1]
    if length > 0x80:
        count = length - 0x80
        length = int.from_bytes(octets[start : start + count], "big")
        start += count
    elif length == 0x80:
        raise ValueError("a length is missing: not DER")
    if start + length > len(octets):
        raise ValueError("cut off")
    return start, start + length
