"""
Who may log in as whom: by password, by what was derived from it, by certificate.

An unknown user costs the same work as a known one: a password is held against
a hash that nobody knows the password of, a proof against secrets made up (S-50).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from moxsmtp.directory import InvalidAddress, parse_address
from moxsmtp.interfaces import (
    Account,
    CertificateAttempt,
    IAccounts,
    IClientKeys,
    ICredentials,
    InsufficientStorage,
    IPasswordHashes,
    Login,
    LoginSecrets,
    PasswordAttempt,
    PasswordSecrets,
    StorageUnavailable,
)
from moxsmtp.receive.passwords import Pretence, completed, is_password
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.login_secrets import CramKeys, ScramHash, ScramKeys, SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["Credentials", "Disguise", "KeyCheck"]

_log: Final = Logger()

#: Attempts that may wait for the one under way; each may hold a password of a
#: few kilobytes.
_WAITING: Final = 100

_BUSY: Final = Reply(454, "7.0", "too many people are logging in, try again in a minute")


@dataclass(frozen=True, slots=True)
class Disguise:
    """
    What makes unknown users look like known ones.

    @ivar nobody: A hash, as of a password that nobody knows.
    @ivar pretence: What they would prove themselves with.
    """

    nobody: str
    pretence: Pretence


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What is known at once of the key of a client's certificate."""

    accounts: IAccounts
    client_keys: IClientKeys

    def objection(self, fingerprint: str) -> str:
        """
        Why it logs nobody in (S-37, S-55); empty: nothing is known against it, and the
        store has the last word.
        """
        remembered = self.client_keys.remembered()
        if remembered is None:
            return ""
        registered = remembered.get(fingerprint)
        if registered is None:
            return "it is not registered"
        path = _address(registered.address)
        account = self.accounts.owner_of(path) if path else None
        if account is None or account.name != registered.account:
            return f"{registered.address} is not of account {registered.account} any more"
        return f"{account.name} may not log in" if account.login_disabled else ""


@implementer(ICredentials)
class Credentials:
    """Passwords and keys of the configured accounts."""

    def __init__(
        self,
        accounts: IAccounts,
        hashes: IPasswordHashes,
        client_keys: IClientKeys,
        *,
        disguise: Disguise,
        cram_md5: Callable[[], bool],
        reactor: IReactorFromThreads,
        pool: ThreadPool,
    ) -> None:
        """@param cram_md5: Whether CRAM-MD5 is there at present."""
        self._accounts = accounts
        self._hashes = hashes
        self._client_keys = client_keys
        self._disguise = disguise
        self._cram_md5 = cram_md5
        self._reactor = reactor
        self._pool = pool
        self._lock = DeferredLock()

    async def verify(self, attempt: PasswordAttempt | CertificateAttempt) -> Login | None:
        """See L{ICredentials.verify}."""
        if isinstance(attempt, CertificateAttempt):
            return await self._certificate(attempt)
        return await self._password(attempt)

    # -- passwords ---------------------------------------------------------------------

    async def _password(self, attempt: PasswordAttempt) -> Login | None:
        """
        Check a password (S-46).

        @raise Refused: Too many wait already.
        """
        if len(self._lock.waiting) >= _WAITING:
            raise Refused(_BUSY)
        path, account = self._owner(attempt.login)
        # The same look-up for the unknown, who have no hash.
        known = await self._hashes.password_secrets(account.name if account else "")
        password = unicodedata.normalize("NFC", attempt.password)
        phc = known.password if account and known else self._disguise.nobody
        matches = await self._in_turn(password, phc)
        if not (matches and account and known and path):
            return None
        if attempt.authorization_id and _address(attempt.authorization_id) != path:
            return None
        await self._complete(account, known, password)
        return _admitted(account, path)

    async def _in_turn(self, password: str, phc: str) -> bool:
        """
        In a thread, one after the other.  Who goes away while it waits is
        forgotten; a thread at work cannot be called off, so the next has to
        wait for its end all the same: each takes 19 MiB.
        """
        await self._lock.acquire()
        answer: Deferred[bool] = Deferred()

        def told(outcome: bool | Failure) -> None:
            self._lock.release()
            if not answer.called:
                answer.callback(outcome)

        work = deferToThreadPool(self._reactor, self._pool, is_password, password, phc)
        _ = work.addBoth(told)
        return await answer

    async def _complete(self, account: Account, known: PasswordSecrets, password: str) -> None:
        """
        A password that was set before a mechanism was there, or while it was
        off: now that it is known again, derive what is missing.  It is no
        failure of the login if that cannot be kept.
        """
        cram_md5 = self._cram_md5()
        if known.scram_sha256 and known.scram_sha1 and (known.cram_md5 or not cram_md5):
            return
        found = await deferToThreadPool(
            self._reactor, self._pool, lambda: completed(known, password, cram_md5=cram_md5)
        )
        try:
            await self._hashes.complete_password_secrets(account.name, found)
        except (StorageUnavailable, InsufficientStorage) as error:
            _log.warn("secrets of {account} were not kept: {error}",
                      account=account.name, error=str(error))  # fmt: skip

    # -- what was derived from them ------------------------------------------------------

    async def secrets(self, wanted: SecretsWanted) -> LoginSecrets:
        """See L{ICredentials.secrets}."""
        path, account = self._owner(wanted.login)
        known = await self._hashes.password_secrets(account.name if account else "")
        # One login in all of its spellings has one salt, whether it is known or not.
        spelling = self._accounts.canonical(path).unicode if path else wanted.login
        pretended = self._disguise.pretence.text(spelling, wanted.kind)
        kept = _kept(known, wanted.kind) if account and known else ""
        keys = _read_keys(kept or pretended, wanted.kind)
        if not (account and path and kept):
            return LoginSecrets(None, keys)
        return LoginSecrets(Login(account.name, path.unicode), keys, _refusal(account))

    # -- certificates --------------------------------------------------------------------

    async def _certificate(self, attempt: CertificateAttempt) -> Login | None:
        """
        Whether a key is registered, and its address still reaches the account
        (S-37); and whether another address that it wants to be does (S-52).
        """
        registered = await self._client_keys.login_of(attempt.fingerprint)
        if registered is None:
            return None
        path, account = self._owner(registered.address)
        if attempt.authorization_id:
            wanted, owner = self._owner(attempt.authorization_id)
            if owner is None or account is None or owner.name != account.name:
                return None
            path = wanted
        if not (path and account) or account.name != registered.account:
            return None
        return _admitted(account, path)

    def _owner(self, login: str) -> tuple[Path | None, Account | None]:
        path = _address(login)
        return path, self._accounts.owner_of(path) if path else None


def _address(login: str) -> Path | None:
    try:
        return parse_address(unicodedata.normalize("NFC", login))
    except InvalidAddress:
        return None


def _refusal(account: Account) -> Reply | None:
    """What to tell those who are who they say, and may not log in (S-55)."""
    return Reply(525, "7.13", account.login_disabled) if account.login_disabled else None


def _admitted(account: Account, path: Path) -> Login:
    """@raise Refused: The account may not log in (S-55)."""
    refusal = _refusal(account)
    if refusal is not None:
        raise Refused(refusal, f"{account.name} may not log in")
    return Login(account.name, path.unicode)


def _kept(known: PasswordSecrets, kind: ScramHash | None) -> str:
    """In the form of its keys; empty if it was not derived."""
    if kind is None:
        return known.cram_md5
    return known.scram_sha256 if kind is ScramHash.SHA256 else known.scram_sha1


def _read_keys(text: str, kind: ScramHash | None) -> ScramKeys | CramKeys:
    return CramKeys.from_text(text) if kind is None else ScramKeys.from_text(text)
