"""Tests for L{moxsmtp.smtp.login_secrets}."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.smtp.login_secrets import CramKeys, ScramHash, ScramKeys


class ScramKeysTests(SynchronousTestCase):
    """RFC 5802 section 3, RFC 5803."""

    def test_rfc_5802(self) -> None:
        """The example of RFC 5802 section 5 (S-49, S-51)."""
        keys = ScramKeys.derived(ScramHash.SHA1, b"pencil", b64decode("QSXCR+Q6sek8bf92"), 4096)
        nonce = b"fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
        said = (
            b"n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=" + nonce + b",s=QSXCR+Q6sek8bf92,i=4096,"
            b"c=biws,r=" + nonce
        )
        proof = b64decode("v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
        self.assertEqual(
            keys.judged(said, proof), (True, b64decode("rmF9pqV8S7suAoZWja4dJRkFsKQ="))
        )

    def test_rfc_7677(self) -> None:
        """The example of RFC 7677 section 3 (S-49, S-51)."""
        salt = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
        keys = ScramKeys.derived(ScramHash.SHA256, b"pencil", salt, 4096)
        nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        said = (
            b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
            b"c=biws,r=" + nonce
        )
        proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        self.assertEqual(
            keys.judged(said, proof),
            (True, b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")),
        )
        for other in (proof + b"\0", proof[:-1], b""):
            self.assertFalse(keys.judged(said, other)[0])

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=40))
    def test_no_proof(self, proof: bytes) -> None:
        """No other octets, fewer or more are a proof."""
        keys = ScramKeys.derived(ScramHash.SHA256, b"x", b"salt", 1)
        is_proof, ours = keys.judged(b"said", proof)
        self.assertEqual((is_proof, len(ours)), (False, 32))

    def test_form(self) -> None:
        """They are kept in the form of RFC 5803 section 3."""
        keys = ScramKeys.derived(ScramHash.SHA1, b"pencil", b64decode("QSXCR+Q6sek8bf92"), 4096)
        self.assertEqual(
            keys.text,
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y="
            ":D+CSWLOshSulAsxiupA+qs2/fTE=",
        )

    @settings(deadline=None, max_examples=40)
    @given(
        st.sampled_from(list(ScramHash)),
        st.binary(),
        st.binary(min_size=1, max_size=40),
        st.integers(1, 20),
    )
    def test_text(self, kind: ScramHash, password: bytes, salt: bytes, iterations: int) -> None:
        """What is kept is read back as it was."""
        keys = ScramKeys.derived(kind, password, salt, iterations)
        self.assertEqual(ScramKeys.from_text(keys.text), keys)

    def test_broken(self) -> None:
        """What is cut off, empty or of another hash's length is no secret."""
        text = ScramKeys.derived(ScramHash.SHA256, b"x", b"salt", 1).text
        for broken in (
            "", text[:-1], text + "\n", text.replace("256", "1", 1), text.replace("$1:", "$0:", 1),
            text.replace("c2FsdA==", ""), text.replace("256", "512", 1),
        ):  # fmt: skip
            self.assertRaises(ValueError, ScramKeys.from_text, broken)

    @settings(deadline=None, max_examples=60)
    @given(st.text(alphabet="SCRAM-H1256$:=ab09f\n", max_size=80))
    def test_any(self, text: str) -> None:
        """Whatever text: keys, or C{ValueError}."""
        for kind in (ScramKeys, CramKeys):
            try:
                self.assertEqual(kind.from_text(text).text, text)
            except ValueError:
                continue


class CramKeysTests(SynchronousTestCase):
    """RFC 2195."""

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=200), st.binary(max_size=100))
    def test_digest(self, password: bytes, challenge: bytes) -> None:
        """Passwords of any length, kept and read back, answer as with the password (T-14)."""
        keys = CramKeys.from_text(CramKeys.derived(password).text)
        self.assertEqual(
            keys.digest(challenge), hmac.new(password, challenge, hashlib.md5).hexdigest()
        )

    def test_broken(self) -> None:
        """What is cut off or in capitals is no secret."""
        text = CramKeys.derived(b"secret").text
        for broken in ("", text[:-1], text.upper(), text + "\n", text.replace(":", "")):
            self.assertRaises(ValueError, CramKeys.from_text, broken)
