"""Session numbers in a form that people may see (S-10)."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["ReplyIds"]


class ReplyIds:
    """
    Hides the session number in replies and Received fields, so that nobody
    counts our sessions, while we can look a reply up in our log.

    One block of AES-128: eight octets of this installation, then the number.
    """

    __slots__ = ("_encrypted", "_prefix")

    def __init__(self, key: bytes, prefix: bytes) -> None:
        """
        @param key: 16 secret octets that outlive a restart.
        @param prefix: Eight octets that outlive a restart.
        """
        if len(key) != 16 or len(prefix) != 8:
            raise ValueError("16 octets of key and 8 of prefix are needed")
        # One block, each different from the others: nothing that a mode could hide.
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - one block
        # No block depends on another: one context serves all.
        self._encrypted = cipher.encryptor().update
        self._prefix = prefix

    def encode(self, session_id: int) -> str:
        """22 characters of base64url, without padding."""
        block = self._encrypted(self._prefix + session_id.to_bytes(8, "big"))
        return base64.urlsafe_b64encode(block)[:22].decode("ascii")
