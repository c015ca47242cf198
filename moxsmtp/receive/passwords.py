"""
From a password to what is kept of it, and back to whether it is the one.

All of it takes a while on purpose: call it in a thread.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from precis_i18n import get_profile

from moxsmtp.interfaces import PasswordSecrets
from moxsmtp.smtp.login_secrets import ITERATIONS, CramKeys, ScramHash, ScramKeys

__all__ = [
    "InvalidPassword", "Pretence", "completed", "derive", "hash_of_nobody",
    "hash_password", "is_password",
]  # fmt: skip

#: 19 MiB and two passes: what OWASP asks for as the least.
_MEMORY_KIB: Final = 19 * 1024
_PASSES: Final = 2
_LANES: Final = 1
_LENGTH: Final = 32

#: Of Argon2.  RFC 9106 section 3.1.
_VERSION: Final = 0x13

#: Octets of any salt.
_SALT: Final = 16


class InvalidPassword(ValueError):
    """No password can be made of it; the text says why."""


def _prepared(password: str) -> bytes:
    """PRECIS OpaqueString.  RFC 8265 section 4.2."""
    try:
        prepared: str = get_profile("OpaqueString").enforce(password)
    except UnicodeError:
        raise InvalidPassword(
            "a password may hold neither control characters nor nothing at all"
        ) from None
    return prepared.encode()


def hash_password(password: str) -> str:
    """
    A new hash in PHC string form, with its parameters and salt.  Some 30 ms.

    @raise InvalidPassword: RFC 8265 forbids the password.
    """
    argon = Argon2id(
        salt=secrets.token_bytes(_SALT),
        length=_LENGTH,
        iterations=_PASSES,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )
    return argon.derive_phc_encoded(_prepared(password))


def hash_of_nobody() -> str:
    """One of the same form, which costs as much to compare with and is no password's; at once."""
    salt, made = (
        base64.b64encode(secrets.token_bytes(length)).decode("ascii").rstrip("=")
        for length in (_SALT, _LENGTH)
    )
    return f"$argon2id$v={_VERSION}$m={_MEMORY_KIB},t={_PASSES},p={_LANES}${salt}${made}"


def derive(password: str, *, cram_md5: bool) -> PasswordSecrets:
    """
    All that is kept of a new password.  Some 50 ms.

    @param cram_md5: What CRAM-MD5 needs is kept too.
    @raise InvalidPassword: RFC 8265 forbids the password.
    """
    return completed(PasswordSecrets(hash_password(password)), password, cram_md5=cram_md5)


def completed(known: PasswordSecrets, password: str, *, cram_md5: bool) -> PasswordSecrets:
    """The same, with all that was not derived when the password was set; else C{known} itself."""
    prepared = _prepared(password)
    found = PasswordSecrets(
        known.password,
        known.scram_sha256 or _scram(ScramHash.SHA256, prepared),
        known.scram_sha1 or _scram(ScramHash.SHA1, prepared),
        (known.cram_md5 or CramKeys.derived(prepared).text) if cram_md5 else "",
    )
    return known if found == known else found


def _scram(kind: ScramHash, prepared: bytes) -> str:
    salt = secrets.token_bytes(_SALT)
    return ScramKeys.derived(kind, prepared, salt, ITERATIONS).text


def is_password(password: str, phc: str) -> bool:
    """Whether a hash is of this password."""
    try:
        prepared = _prepared(password)
        valid = True
    except InvalidPassword:
        # The work is done all the same, so that time tells nothing.
        prepared, valid = b"\0", False
    try:
        Argon2id.verify_phc_encoded(prepared, phc)
    except InvalidKey:
        return False
    return valid


class Pretence:
    """
    Secrets of those who have none, always the same for one login, so that
    nobody can tell them from others (S-50).
    """

    def __init__(self, secret: bytes) -> None:
        """@param secret: Of the installation."""
        self._secret = secret

    def text(self, login: str, kind: ScramHash | None) -> str:
        """In the form in which those of others are kept."""
        if kind is None:
            return CramKeys(self._octets("inner", login, 16), self._octets("outer", login, 16)).text
        return ScramKeys(
            kind,
            ITERATIONS,
            self._octets(f"{kind} salt", login, _SALT),
            self._octets(f"{kind} stored", login, kind.length),
            self._octets(f"{kind} server", login, kind.length),
        ).text

    def _octets(self, purpose: str, login: str, length: int) -> bytes:
        said = f"{purpose}\0{login}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, said, hashlib.sha256)[:length]
