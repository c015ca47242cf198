"""Session numbers in a form that people may see (S-10)."""

from __future__ import annotations

import base64
import re
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["ReplyIds"]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")


class ReplyIds:
    """
    Hides the session number in replies and Received fields, so that nobody
    counts our sessions, while we can look a reply up in our log.

    One block of AES-128: eight octets of this installation, then the number.
    """

    __slots__ = ("_decrypted", "_encrypted", "_prefix")

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
        self._decrypted = cipher.decryptor().update
        self._prefix = prefix

    def encode(self, session_id: int) -> str:
        """22 characters of base64url, without padding."""
        block = self._encrypted(self._prefix + session_id.to_bytes(8, "big"))
        return base64.urlsafe_b64encode(block)[:22].decode("ascii")

    def decode(self, text: str) -> int:
        """
        The session's number.

        @raise ValueError: This is none of ours.
        """
        if not _ID.fullmatch(text):
            raise ValueError("a reply id has 22 letters, digits, hyphens and underscores")
        block = self._decrypted(base64.urlsafe_b64decode(f"{text}=="))
        if block[:8] != self._prefix:
            raise ValueError("this reply id is not from this server")
        return int.from_bytes(block[8:], "big")
