"""
What all SASL mechanisms have in common, the server's side.  RFC 4422, RFC 4954.

A mechanism is a machine: it is given one response after the other, decoded, and
says what comes next.  It asks nobody: what a claim is verified with is asked
for by a value, and given to it with C{supply}.
"""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from moxsmtp.interfaces import (
    CertificateAttempt,
    Client,
    Login,
    LoginSecrets,
    PasswordAttempt,
)
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply

__all__ = [
    "BAD_CHANNEL_BINDING", "BAD_CREDENTIALS", "MALFORMED", "TLS_FIRST", "Mechanism", "Rejected",
    "Scene", "Step", "Terms", "decoded", "encoded", "nfc",
]  # fmt: skip

#: The same for a wrong password and for a user that is none.
BAD_CREDENTIALS: Final = Reply(535, "7.8", "bad user or password")

#: The client saw another TLS connection than we did (S-51).
BAD_CHANNEL_BINDING: Final = Reply(535, "7.7", "your TLS connection is not ours")

MALFORMED: Final = Reply(501, "5.4", "that is no message of this mechanism")
TLS_FIRST: Final = Reply(538, "7.11", "start TLS before you log in this way")

_NOT_BASE64: Final = Reply(501, "5.2", "that is not base64")

# base64 with its padding and nothing else; RFC 4648 section 4.
_BASE64 = re.compile(
    rb"(?:[A-Za-z0-9+/]{4})*+(?>(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What logging in rests on, the same for all sessions of a server.

    @ivar hostname: The global one, in challenges (S-2).
    @ivar random_bytes: So many octets that nobody can guess.
    @ivar seconds: Since the epoch.
    @ivar cram_md5: CRAM-MD5 is there.
    """

    hostname: str
    random_bytes: Callable[[int], bytes]
    seconds: Callable[[], float]
    cram_md5: bool = True


@dataclass(frozen=True, slots=True)
class Scene:
    """
    Where an exchange takes place.

    @ivar is_secret: Nobody else can read a password that is sent now (S-45).
    """

    client: Client
    terms: Terms
    is_secret: bool

    @property
    def has_tls(self) -> bool:
        """The connection is encrypted."""
        return self.client.tls is not None


@dataclass(frozen=True, slots=True)
class Rejected:
    """
    The claim is refused, which the mechanism has a message of its own for
    (S-51): the client's answer to it counts for nothing.

    @ivar reason: For the log.
    """

    challenge: bytes
    reply: Reply
    reason: str


#: What comes next: a challenge, something to be verified or asked for, or the end.
Step = bytes | PasswordAttempt | CertificateAttempt | SecretsWanted | Login | Rejected


class Mechanism(ABC):
    """
    One exchange.

    @cvar name: As in the EHLO reply.
    """

    __slots__ = ()
    name: str

    @abstractmethod
    def step(self, response: bytes | None) -> Step:
        """
        Take the client's next response.

        @param response: L{None} at first, if there was no initial response.
        @raise Refused: The exchange is over.
        """

    def supply(self, secrets: LoginSecrets) -> bytes | Login:
        """
        What the claim is verified with, after L{SecretsWanted}.

        @raise Refused: The exchange is over.
        """
        raise RuntimeError(f"{self.name} wants no secrets: {type(secrets)}")


def decoded(response: bytes) -> bytes:
    """
    A response line, without its line end.

    @raise Refused: It is not base64 (S-44).
    """
    if not _BASE64.fullmatch(response):
        raise Refused(_NOT_BASE64)
    return binascii.a2b_base64(response)


def encoded(challenge: bytes) -> Reply:
    """The 334 that carries a challenge.  RFC 4954 section 4."""
    return Reply(334, None, base64.b64encode(challenge).decode("ascii"))


def nfc(octets: bytes) -> str:
    """
    A name or password in the one spelling that we compare (S-46).

    @raise Refused: It is not UTF-8.
    """
    try:
        return normalize("NFC", octets.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused(MALFORMED, "not UTF-8") from None
