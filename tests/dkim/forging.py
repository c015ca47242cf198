"""
Signatures with any tags, sound in all but what a test changes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from moxsmtp.dkim import PrivateKey, load_private_key
from moxsmtp.dkim.body import BodyHashes
from moxsmtp.dkim.fields import Section, split_message, without_signature
from tests.dkim import keys

__all__ = ["ED25519_KEY", "ED25519_RECORD", "MESSAGE", "RECORD", "RSA_KEY", "TAGS", "forged"]

RSA_KEY: Final = load_private_key(keys.RSA_PKCS8)
ED25519_KEY: Final = load_private_key(keys.ED25519)

RECORD: Final = b"v=DKIM1; k=rsa; p=" + keys.RSA_PUBLIC
ED25519_RECORD: Final = b"v=DKIM1; k=ed25519; p=" + keys.ED25519_PUBLIC

MESSAGE: Final = (
    b"From: Joe <joe@example.org>\r\n"
    b"To: Suzie <suzie@example.net>\r\n"
    b"Subject: Is dinner\r\n  ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n"
    b"\r\n"
    b"We lost  the game. \r\n"
    b"\r\n"
    b"\r\n"
)

#: All that a signature needs but C{bh=} and C{b=}; names and values.
TAGS: Final = {
    "v": "1",
    "a": "rsa-sha256",
    "c": "relaxed/relaxed",
    "d": "example.org",
    "s": "sel",
    "h": "from:to:subject:date",
}


def forged(
    tags: dict[str, str | None],
    *,
    message: bytes = MESSAGE,
    key: PrivateKey = RSA_KEY,
    limit: int | None = None,
) -> bytes:
    """
    C{message} under a signature that has L{TAGS} with these changes.

    @param tags: L{None} leaves a tag out; C{bh} and C{b} may be given too.
    @param limit: So much of the body is hashed; the tag is the caller's.
    """
    known = {name: value for name, value in {**TAGS, **tags}.items() if value is not None}
    header, body = split_message(message)
    c = known.get("c", "").split("/")
    header_relaxed, body_relaxed = c[0] == "relaxed", c[1:] == ["relaxed"]
    if "bh" not in tags:
        hashes = BodyHashes()
        wanted = hashes.wanted(relaxed=body_relaxed, limit=limit)
        hashes.feed(body)
        hashes.finish()
        known["bh"] = base64.b64encode(wanted.digest()).decode()
    if "b" in tags:
        return _field(known) + message
    section = Section(header)
    names = [name.strip().lower().encode() for name in known.get("h", "").split(":")]
    octets = section.canonical(section.chosen(names), relaxed=header_relaxed)
    name, _, value = _field({**known, "b": ""}).partition(b":")
    octets += without_signature(name, value, relaxed=header_relaxed)
    if isinstance(key, RSAPrivateKey):
        signature = key.sign(octets, PKCS1v15(), SHA256())
    else:
        signature = key.sign(hashlib.sha256(octets).digest())
    return _field({**known, "b": base64.b64encode(signature).decode()}) + message


def _field(tags: dict[str, str]) -> bytes:
    text = ";\r\n\t".join(f"{name}={value}" for name, value in tags.items())
    return f"DKIM-Signature: {text}\r\n".encode()
