"""
Checking passwords: Argon2id, in a thread, one at a time.

An unknown user costs the same work as a known one: the password is held
against a hash that nobody knows the password of.
"""

from __future__ import annotations

import secrets
import unicodedata
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from precis_i18n import get_profile
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from moxsmtp.directory import InvalidAddress, parse_address
from moxsmtp.interfaces import (
    IAccounts,
    ICredentials,
    IPasswordHashes,
    Login,
    PasswordAttempt,
)
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["Credentials", "InvalidPassword", "hash_password"]

#: 19 MiB and two passes: what OWASP asks for as the least.
_MEMORY_KIB: Final = 19 * 1024
_PASSES: Final = 2
_LENGTH: Final = 32

#: Attempts that may wait for the one under way; each may hold a password of a
#: few kilobytes.
_WAITING: Final = 100

_BUSY: Final = Reply(454, "7.0", "too many people are logging in, try again in a minute")


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
    A new hash in PHC string form, with its parameters and salt.  Takes some
    30 ms: call it in a thread.

    @raise InvalidPassword: RFC 8265 forbids the password.
    """
    argon = Argon2id(
        salt=secrets.token_bytes(16),
        length=_LENGTH,
        iterations=_PASSES,
        lanes=1,
        memory_cost=_MEMORY_KIB,
    )
    return argon.derive_phc_encoded(_prepared(password))


def _is_password(password: str, phc: str) -> bool:
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


def _address(login: str) -> Path | None:
    try:
        return parse_address(login)
    except InvalidAddress:
        return None


@implementer(ICredentials)
class Credentials:
    """Passwords of the configured accounts."""

    def __init__(
        self,
        accounts: IAccounts,
        hashes: IPasswordHashes,
        *,
        nobody: str,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
    ) -> None:
        """@param nobody: A hash, as of a password that nobody knows."""
        self._accounts = accounts
        self._hashes = hashes
        self._reactor = reactor
        self._pool = pool
        self._lock = DeferredLock()
        self._nobody = nobody

    async def verify(self, attempt: PasswordAttempt) -> Login | None:
        """
        Check a password (S-46).

        @raise Refused: Too many wait already.
        """
        if len(self._lock.waiting) >= _WAITING:
            raise Refused(_BUSY)
        path = _address(attempt.login)
        account = path and self._accounts.owner_of(path)
        # The same look-up for the unknown, who have no hash.
        phc = await self._hashes.password_hash(account.name if account else "")
        password = unicodedata.normalize("NFC", attempt.password)
        matches = await self._lock.run(
            self._in_thread, password, phc if account and phc else self._nobody
        )
        if not (matches and account and phc and path):
            return None
        if attempt.authorization_id and _address(attempt.authorization_id) != path:
            return None
        return Login(account.name, path.unicode)

    def _in_thread(self, password: str, phc: str) -> Deferred[bool]:
        return deferToThreadPool(self._reactor, self._pool, _is_password, password, phc)
