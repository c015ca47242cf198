"""
Keys to sign with, and the records that publish them.  RFC 6376 section 3.6.1, RFC 8463.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from moxsmtp.dkim.key import MAXIMUM_BITS, MINIMUM_BITS, InvalidKey

__all__ = ["KEY_KINDS", "PrivateKey", "generate_key", "load_private_key", "public_record"]

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

#: What L{generate_key} makes; the bits of an RSA key, 0 for Ed25519.
KEY_KINDS: Final = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096, "ed25519": 0}


def load_private_key(pem: bytes) -> PrivateKey:
    """
    Read a key file: PKCS#8 or PKCS#1, without a passphrase.

    @raise InvalidKey: It is none, or RSA with a length that verifiers refuse.
    """
    try:
        # Proving primes takes 70 ms for 2048 bits and 500 ms for 4096, of a
        # reactor that reloads its configuration; a signature is proof enough.
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # the library's text could quote the file
        raise InvalidKey("no private key in PEM without a passphrase") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise InvalidKey("neither an RSA nor an Ed25519 key")
    if not MINIMUM_BITS <= key.key_size <= MAXIMUM_BITS:
        raise InvalidKey(
            f"RSA key of {key.key_size} bits; {MINIMUM_BITS} to {MAXIMUM_BITS} can be used"
        )
    if not _signs(key):
        raise InvalidKey("RSA key whose numbers do not belong together")
    return key


def _signs(key: RSAPrivateKey) -> bool:
    """Whether what it signs can be verified."""
    try:
        signature = key.sign(b"", PKCS1v15(), SHA256())
        key.public_key().verify(signature, b"", PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def generate_key(kind: str) -> bytes:
    """
    Make a key; PKCS#8 in PEM.  An RSA key takes up to some seconds.

    @param kind: One of L{KEY_KINDS}.
    @raise ValueError: It is another.
    """
    if kind not in KEY_KINDS:
        raise ValueError(f"not a kind of key: {kind}")
    key: PrivateKey
    if kind == "ed25519":
        key = Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_KINDS[kind])
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_record(key: PrivateKey, *, testing: bool = False) -> str:
    """
    The text of the TXT record at C{SELECTOR._domainkey.DOMAIN}.

    Longer than 255 octets with RSA; whoever writes a zone file splits it into
    strings.

    @param testing: Ask verifiers to treat failures as unsigned (C{t=y}).
    """
    if isinstance(key, RSAPrivateKey):
        type_ = "rsa"
        octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        type_ = "ed25519"
        octets = key.public_key().public_bytes_raw()
    flags = " t=y;" if testing else ""
    return f"v=DKIM1; k={type_};{flags} p={base64.b64encode(octets).decode()}"
