"""What users prove who they are with."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from zope.interface import Interface

from moxsmtp.interfaces.clients import Login
from moxsmtp.smtp.login_secrets import CramKeys, ScramKeys, SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply

__all__ = [
    "CertificateAttempt",
    "IClientKeys",
    "ICredentials",
    "IPasswordHashes",
    "LoginSecrets",
    "PasswordAttempt",
    "PasswordSecrets",
]


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """What PLAIN and LOGIN end in (S-46).  Text is NFC."""

    authorization_id: str
    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateAttempt:
    """
    A TLS client certificate, and who its owner wants to be (S-37, S-52).

    @ivar fingerprint: As L{TLSInfo.client_key}.
    @ivar authorization_id: NFC; empty: whoever the key is registered for.
    """

    fingerprint: str
    authorization_id: str = ""


@dataclass(frozen=True, slots=True)
class LoginSecrets:
    """
    What a claim to be somebody is verified with.

    @ivar login: Who it is, if the claim proves true; L{None}: nobody, and
        C{keys} are made up.
    @ivar refusal: What to answer all the same; L{None}: nothing stands against it.
    """

    login: Login | None
    keys: ScramKeys | CramKeys = field(repr=False)
    refusal: Reply | None = None

    def admitted(self) -> Login:
        """
        The claim is true.

        @raise Refused: But the account may not log in (S-55).
        """
        if self.login is None:
            raise RuntimeError("nobody can prove this")
        if self.refusal is not None:
            raise Refused(self.refusal, f"{self.login.account} may not log in")
        return self.login


class ICredentials(Interface):
    """Who may log in as whom."""

    def verify(attempt: PasswordAttempt | CertificateAttempt) -> Awaitable[Login | None]:
        """
        Check a password, with the same work whether or not the user exists, or
        a certificate.

        @return: L{None} for a wrong password and for an unknown user alike.
        @raise Refused: It is right, and the account may not log in (S-55); or
            too many wait already.
        """

    def secrets(wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        """
        What to verify a claim with.  For an unknown user, and for one without
        such secrets, they are made up, always the same, by the same work (S-50).
        """


@dataclass(frozen=True, slots=True)
class PasswordSecrets:
    """
    All that is kept of a password, each as text that only its owner reads.

    @ivar password: Argon2id in PHC string form.
    @ivar scram_sha256: As L{ScramKeys.text}; empty: none were derived.
    @ivar scram_sha1: The same.
    @ivar cram_md5: As L{CramKeys.text}; empty: none were derived.
    """

    password: str = field(repr=False)
    scram_sha256: str = field(default="", repr=False)
    scram_sha1: str = field(default="", repr=False)
    cram_md5: str = field(default="", repr=False)


class IPasswordHashes(Interface):
    """Where derivatives of passwords are kept; never the passwords."""

    def password_secrets(account: str) -> Awaitable[PasswordSecrets | None]:
        """L{None} if the account has no password."""

    def set_password_secrets(account: str, secrets: PasswordSecrets) -> Awaitable[None]:
        """Keep them in place of all others; when this answers, they are on disk."""

    def complete_password_secrets(account: str, secrets: PasswordSecrets) -> Awaitable[None]:
        """Keep them, if C{secrets.password} is still the account's hash."""


class IClientKeys(Interface):
    """Which keys of TLS client certificates are registered, and for whom."""

    def login_of(fingerprint: str) -> Awaitable[Login | None]:
        """Whom a key was registered for; whether the address still is theirs, is not said."""

    def remembered() -> Mapping[str, Login] | None:
        """
        All of them, as of a few seconds ago and without asking the store; L{None}: what is
        remembered is older, or nothing is.
        """
