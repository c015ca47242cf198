"""
SCRAM, the client's side.  RFC 5802, RFC 7677, RFC 9266, RFC 5929.

The password is not sent, and the server has to prove that it knows it, or
what was derived from it.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final
from unicodedata import category, normalize

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.smtp.login_secrets import ScramHash

__all__ = [
    "MOST_ITERATIONS", "SASLFailed", "ScramClient", "prepared_name", "prepared_password",
]  # fmt: skip

#: Octets of randomness in our nonce.
_NONCE: Final = 18

#: With fewer, who pretends to be the server could guess at the password too
#: cheaply.  RFC 5802 section 5.1, RFC 7677 section 4.
_FEWEST_ITERATIONS: Final = 4096

#: Some 25 ms of reckoning, in which nothing else happens; servers ask for a
#: tenth of it.  What asks for more is refused.
MOST_ITERATIONS: Final = 100_000

#: Octets of a message, and of a salt in it.
_LONGEST: Final = 4096
_LONGEST_SALT: Final = 1024

# server-first-message: [reserved-mext ","] nonce "," salt "," iteration-count
# ["," extensions]; server-final-message: (server-error / verifier) [","
# extensions].  RFC 5802 section 7.  An extension that has to be understood,
# reserved-mext, is none of ours.
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*+(?>(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)"
_MORE = r"(?:,[A-Za-z]=[^\0,][^\0,]*+)*+"
_FIRST = re.compile(
    rf"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]++),s=(?P<salt>{_BASE64}),i=(?P<count>[1-9][0-9]*+){_MORE}"
)
_FINAL = re.compile(rf"(?:e=(?P<error>[^\0,]++)|v=(?P<verifier>{_BASE64})){_MORE}")


class SASLFailed(Exception):
    """We are not logged in: the server broke the rules, or is not the one that knows us."""


def prepared_name(name: str) -> str:
    """A user's name in the one spelling that is sent: NFC."""
    return normalize("NFC", name)


def prepared_password(password: str) -> str:
    """A password likewise: any space is a space, and NFC.  RFC 8265 section 4.2."""
    return normalize("NFC", "".join(" " if category(c) == "Zs" else c for c in password))


class ScramClient:
    """
    One exchange.

    @ivar is_done: The server has proven that it knows the password.
    """

    __slots__ = (
        "_bare", "_binding", "_header", "_kind", "_nonce", "_password", "_signature", "is_done",
        "name",
    )  # fmt: skip

    def __init__(
        self,
        kind: ScramHash,
        *,
        username: str,
        password: str,
        binding: ChannelBinding | None,
        sees_no_binding: bool,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """
        @param binding: L{None}: without, the mechanism is not C{-PLUS}.
        @param sees_no_binding: We could, but the server does not offer it;
            if it did and somebody took that away, it learns so.  RFC 5802
            section 6.
        """
        self.name = f"{kind.value}-PLUS" if binding is not None else kind.value
        self.is_done = False
        self._kind = kind
        self._binding = binding.data if binding is not None else b""
        flag = f"p={binding.type}" if binding is not None else "y" if sees_no_binding else "n"
        self._header = f"{flag},,"
        self._nonce = base64.b64encode(random_bytes(_NONCE)).decode("ascii")
        escaped = prepared_name(username).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={escaped},r={self._nonce}"
        self._password = prepared_password(password).encode()
        self._signature: bytes | None = None

    def first(self) -> bytes:
        """The client-first-message."""
        return f"{self._header}{self._bare}".encode()

    def respond(self, challenge: bytes) -> bytes:
        """
        The client-final-message, and an empty one once the server is proven.

        @raise SASLFailed: The server asks for what is not given to it, or is
            not the one that knows us.
        """
        if self.is_done:
            raise SASLFailed("the server goes on after its final message")
        if len(challenge) > _LONGEST:
            raise SASLFailed(f"a message of {len(challenge)} octets")
        try:
            text = challenge.decode("utf-8")
        except UnicodeDecodeError:
            raise SASLFailed("a message that is not UTF-8") from None
        if self._signature is None:
            return self._proof(text)
        self._verify(text, self._signature)
        self.is_done = True
        return b""

    def _proof(self, server_first: str) -> bytes:
        match = _FIRST.fullmatch(server_first)
        if match is None:
            raise SASLFailed("that is no first message of SCRAM")
        nonce, salt = match["nonce"], binascii.a2b_base64(match["salt"])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise SASLFailed("the server did not add to our nonce")
        if not 0 < len(salt) <= _LONGEST_SALT:
            raise SASLFailed(f"a salt of {len(salt)} octets")
        count = _iterations(match["count"])
        algorithm = self._kind.algorithm
        salted = _salted(algorithm, self._password, salt, count)
        key = hmac.digest(salted, b"Client Key", algorithm)
        channel = base64.b64encode(self._header.encode() + self._binding).decode("ascii")
        unproven = f"c={channel},r={nonce}"
        said = f"{self._bare},{server_first},{unproven}".encode()
        signed = hmac.digest(hashlib.new(algorithm, key).digest(), said, algorithm)
        proof = bytes(x ^ y for x, y in zip(key, signed, strict=True))
        self._signature = hmac.digest(
            hmac.digest(salted, b"Server Key", algorithm), said, algorithm
        )
        return f"{unproven},p={base64.b64encode(proof).decode('ascii')}".encode()

    def _verify(self, server_final: str, expected: bytes) -> None:
        """RFC 5802 section 3: ServerSignature."""
        match = _FINAL.fullmatch(server_final)
        if match is None:
            raise SASLFailed("that is no final message of SCRAM")
        if match["error"] is not None:
            raise SASLFailed(f"the server says {match['error'][:64]!a}")
        if not hmac.compare_digest(binascii.a2b_base64(match["verifier"]), expected):
            raise SASLFailed("the server did not prove that it knows the password")


def _iterations(digits: str) -> int:
    """@raise SASLFailed: Too few or too many."""
    # Ten digits are too many whatever they say; they are not made a number of.
    count = int(digits) if len(digits) < 10 else MOST_ITERATIONS + 1
    if count < _FEWEST_ITERATIONS:
        raise SASLFailed(f"{count} iterations are fewer than {_FEWEST_ITERATIONS}")
    if count > MOST_ITERATIONS:
        raise SASLFailed(f"{digits[:12]} iterations are more than {MOST_ITERATIONS}")
    return count


@functools.lru_cache(maxsize=64)
def _salted(algorithm: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """SaltedPassword.  Servers keep their salts, so it is reckoned once.  RFC 5802 section 5.1."""
    return hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
