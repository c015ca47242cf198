"""
What a server keeps of a password so that it can verify other proofs than the
password itself.  RFC 5802, RFC 2195.

None of it is the password.  Who steals it can log in with CRAM-MD5, and guess
at passwords; not log in with SCRAM.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from moxsmtp.smtp.hmac_md5 import BLOCK, hmac_md5, key_states

__all__ = ["ITERATIONS", "CramKeys", "ScramHash", "ScramKeys", "SecretsWanted"]

#: A modern machine takes a moment for them, an old telephone bears them.
#: RFC 7677 section 4.
ITERATIONS: Final = 15_000


class ScramHash(enum.StrEnum):
    """The hash functions that SCRAM is used with.  RFC 5802, RFC 7677."""

    SHA256 = "SCRAM-SHA-256"
    SHA1 = "SCRAM-SHA-1"

    @property
    def algorithm(self) -> str:
        """As C{hashlib} calls it."""
        return "sha256" if self is ScramHash.SHA256 else "sha1"

    @property
    def length(self) -> int:
        """Octets."""
        return 32 if self is ScramHash.SHA256 else 20


@dataclass(frozen=True, slots=True)
class SecretsWanted:
    """
    The client claims to be somebody; what can the claim be verified with?

    @ivar login: NFC.
    @ivar kind: The SCRAM hash, or L{None} for CRAM-MD5.
    """

    login: str
    kind: ScramHash | None


_BASE64: Final = r"((?:[A-Za-z0-9+/]{4})*+(?>(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?))"
_SCRAM: Final = re.compile(
    rf"(SCRAM-SHA-256|SCRAM-SHA-1)\$([1-9][0-9]{{0,8}}):{_BASE64}\${_BASE64}:{_BASE64}"
)
_CRAM: Final = re.compile(r"([0-9a-f]{32}):([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """
    Of one password with one salt.  RFC 5802 section 3.

    @ivar stored: Verifies the client's proof.
    @ivar server: Proves to the client that we know the password.
    """

    hash: ScramHash
    iterations: int
    salt: bytes
    stored: bytes = field(repr=False)
    server: bytes = field(repr=False)

    @classmethod
    def derived(cls, kind: ScramHash, password: bytes, salt: bytes, iterations: int) -> ScramKeys:
        """
        From a password in its prepared form.  Takes milliseconds on purpose:
        call it in a thread.
        """
        salted = hashlib.pbkdf2_hmac(kind.algorithm, password, salt, iterations)
        client = hmac.digest(salted, b"Client Key", kind.algorithm)
        server = hmac.digest(salted, b"Server Key", kind.algorithm)
        stored = hashlib.new(kind.algorithm, client).digest()
        return cls(kind, iterations, salt, stored, server)

    @classmethod
    def from_text(cls, text: str) -> ScramKeys:
        """@raise ValueError: It is not what L{text} gives."""
        match = _SCRAM.fullmatch(text)
        if match is None:
            raise ValueError("no secrets of SCRAM")
        kind = ScramHash(match.group(1))
        salt, stored, server = (binascii.a2b_base64(match.group(at)) for at in (3, 4, 5))
        if not (salt and len(stored) == len(server) == kind.length):
            raise ValueError("secrets of SCRAM of another length")
        return cls(kind, int(match.group(2)), salt, stored, server)

    def judged(self, said: bytes, proof: bytes) -> tuple[bool, bytes]:
        """
        The same work, whether the proof is one or not.

        @param said: What both have said before it, C{AuthMessage}.
        @return: Whether the client has proven that it knows the password; and
            what proves to it that we do.
        """
        algorithm = self.hash.algorithm
        signature = hmac.digest(self.stored, said, algorithm)
        client = bytes(x ^ y for x, y in zip(signature, proof, strict=False))
        is_proof = hmac.compare_digest(hashlib.new(algorithm, client).digest(), self.stored)
        ours = hmac.digest(self.server, said, algorithm)
        return is_proof and len(proof) == len(signature), ours

    @property
    def text(self) -> str:
        """How it is kept; the form of RFC 5803 section 3."""
        salt, stored, server = (
            base64.b64encode(octets).decode("ascii")
            for octets in (self.salt, self.stored, self.server)
        )
        return f"{self.hash}${self.iterations}:{salt}${stored}:{server}"


@dataclass(frozen=True, slots=True)
class CramKeys:
    """The two states that a password leaves in HMAC-MD5.  RFC 2195 section 3."""

    inner: bytes = field(repr=False)
    outer: bytes = field(repr=False)

    @classmethod
    def derived(cls, password: bytes) -> CramKeys:
        """From a password in its prepared form."""
        if len(password) > BLOCK:
            password = hashlib.md5(password, usedforsecurity=False).digest()
        return cls(*key_states(password))

    @classmethod
    def from_text(cls, text: str) -> CramKeys:
        """@raise ValueError: It is not what L{text} gives."""
        match = _CRAM.fullmatch(text)
        if match is None:
            raise ValueError("no secrets of CRAM-MD5")
        return cls(bytes.fromhex(match.group(1)), bytes.fromhex(match.group(2)))

    @property
    def text(self) -> str:
        """How it is kept: the inner state and the outer, in hexadecimal."""
        return f"{self.inner.hex()}:{self.outer.hex()}"

    def digest(self, challenge: bytes) -> str:
        """What the client has to answer, in lower-case hexadecimal."""
        return hmac_md5(self.inner, self.outer, challenge).hex()
