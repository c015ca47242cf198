"""Tests for L{moxsmtp.smtp.hmac_md5}."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.hmac_md5 import BLOCK, hmac_md5, key_states


class ResumedTests(SynchronousTestCase):
    """HMAC-MD5 from the states of its key (T-14)."""

    def test_rfc_2202(self) -> None:
        """The examples of RFC 2202 section 2 whose key fits a block (T-14)."""
        for key, message, expected in (
            (b"\x0b" * 16, b"Hi There", "9294727a3638bb1c13f48ef8158bfc9d"),
            (b"Jefe", b"what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738"),
            (b"\xaa" * 16, b"\xdd" * 50, "56be34521d144c88dbb8c733f0e8b3f6"),
        ):
            self.assertEqual(hmac_md5(*key_states(key), message).hex(), expected)

    def test_rfc_2195(self) -> None:
        """The example of RFC 2195 section 2 (S-48)."""
        challenge = b64decode("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")
        digest = hmac_md5(*key_states(b"tanstaaftanstaaf"), challenge)
        self.assertEqual(digest.hex(), "b913a602c7eda7a495b4e6e7334d3890")

    def test_lengths(self) -> None:
        """Messages of every length round the edges of blocks, as C{hashlib} has them (T-14)."""
        states = key_states(b"key")
        for length in range(3 * BLOCK + 2):
            message = bytes(range(256))[:length]
            self.assertEqual(
                hmac_md5(*states, message), hmac.digest(b"key", message, hashlib.md5), length
            )

    @settings(deadline=None, max_examples=150)
    @given(st.binary(max_size=BLOCK), st.binary(max_size=300))
    def test_any(self, key: bytes, message: bytes) -> None:
        """Whatever key and message: the same as C{hashlib} (T-14)."""
        self.assertEqual(
            hmac_md5(*key_states(key), message), hmac.digest(key, message, hashlib.md5)
        )

    def test_long_key(self) -> None:
        """A key longer than a block is hashed by who calls; it is not cut."""
        self.assertRaises(ValueError, key_states, b"k" * 65)
