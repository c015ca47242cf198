"""SCRAM, the client's side, written anew from RFC 5802 so that it can also break the rules."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass

__all__ = ["Client"]


@dataclass
class Client:
    """
    One exchange.

    @ivar header: The GS2 header.
    @ivar binding: Data of the channel.
    """

    algorithm: str
    name: str
    password: bytes
    header: str = "n,,"
    binding: bytes = b""
    nonce: str = "fyko+d2lbbFgONRv9qkxdawL"
    signature: bytes = b""

    @property
    def bare(self) -> str:
        escaped = self.name.replace("=", "=3D").replace(",", "=2C")
        return f"n={escaped},r={self.nonce}"

    @property
    def first(self) -> bytes:
        """Client-first."""
        return (self.header + self.bare).encode()

    def final(self, server_first: bytes, **changes: str) -> bytes:
        """
        Client-final.

        @param changes: C{c}, C{r} or C{p} as they should not be.
        """
        said = server_first.decode()
        fields = dict(field.split("=", 1) for field in said.split(","))
        salted = hashlib.pbkdf2_hmac(
            self.algorithm, self.password, b64decode(fields["s"]), int(fields["i"])
        )
        channel = b64encode(self.header.encode() + self.binding).decode()
        unproven = f"c={changes.get('c', channel)},r={changes.get('r', fields['r'])}"
        unproven += changes.get("more", "")
        message = f"{self.bare},{said},{unproven}".encode()
        key = hmac.digest(salted, b"Client Key", self.algorithm)
        stored = hashlib.new(self.algorithm, key).digest()
        signed = hmac.digest(stored, message, self.algorithm)
        proof = bytes(x ^ y for x, y in zip(key, signed, strict=True))
        server_key = hmac.digest(salted, b"Server Key", self.algorithm)
        self.signature = hmac.digest(server_key, message, self.algorithm)
        return f"{unproven},p={changes.get('p', b64encode(proof).decode())}".encode()
