"""Signatures of domains under messages, made and verified.  RFC 6376, RFC 8301, RFC 8463."""

from moxsmtp.dkim.key import InvalidKey
from moxsmtp.dkim.private_key import (
    KEY_KINDS,
    PrivateKey,
    generate_key,
    load_private_key,
    public_record,
)
from moxsmtp.dkim.result import Result, Results, Status
from moxsmtp.dkim.sign import SIGNED_FIELDS, CannotSign, Signer, Signing, sign
from moxsmtp.dkim.signature import InvalidSignature
from moxsmtp.dkim.verify import Verifier, verify

__all__ = [
    "KEY_KINDS", "SIGNED_FIELDS", "CannotSign", "InvalidKey", "InvalidSignature", "PrivateKey",
    "Result", "Results", "Signer", "Signing", "Status", "Verifier", "generate_key",
    "load_private_key", "public_record", "sign", "verify",
]  # fmt: skip
