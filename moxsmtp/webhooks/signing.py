"""
Webhook calls that prove where they come from, as "Standard Webhooks" has it
(Q-92): HMAC-SHA256 over identifier, time and body.  RFC 2104.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from moxsmtp.queue.job import Hook

__all__ = ["InvalidSecret", "parse_secret", "signature", "signature_headers"]

#: What a secret begins with, so that people know one when they see it.
_PREFIX: Final = "whsec_"

#: Octets of a key.
_SHORTEST: Final = 24
_LONGEST: Final = 64

#: Hexadecimal digits that tell calls of different servers apart.
_DIGITS: Final = 16


class InvalidSecret(ValueError):
    """It is no secret of the kind; the text says why, and not what it is."""


def parse_secret(text: str) -> bytes:
    """
    The key in C{whsec_} and base64.

    @raise InvalidSecret: There is none.
    """
    encoded = text.removeprefix(_PREFIX)
    if encoded == text:
        raise InvalidSecret(f'a secret begins with "{_PREFIX}"')
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecret(f'behind "{_PREFIX}" stands base64') from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise InvalidSecret(f"a secret has {_SHORTEST} to {_LONGEST} octets")
    return key


def signature_headers(hook: Hook, now: datetime) -> Mapping[str, str]:
    """
    The header fields that sign one attempt of a call; none without secrets.

    The identifier stays the same over attempts, so that who gets a call twice
    can tell; the time is that of the attempt, so that who overheard one cannot
    repeat it for ever.
    """
    if not hook.secrets:
        return {}
    identifier, timestamp = _identifier(hook), int(now.timestamp())
    signatures = (signature(secret, identifier, timestamp, hook.payload) for secret in hook.secrets)
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        # One with each, so that a receiver may know the old secret or the new one.
        "webhook-signature": " ".join(signatures),
    }


def signature(secret: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """
    One signature, its version before it.

    @param timestamp: Seconds since the epoch.
    """
    signed = f"{identifier}.{timestamp}.".encode("ascii") + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode("ascii")


def _identifier(hook: Hook) -> str:
    """
    Our number alone would be that of another call at another server, whose
    receiver may be the same.
    """
    told = f"{hook.submitted.isoformat()}\n{hook.account}\n{hook.url}\n".encode()
    return f"msg_{hook.id}_{hashlib.sha256(told + hook.payload).hexdigest()[:_DIGITS]}"
