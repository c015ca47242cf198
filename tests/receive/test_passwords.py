"""Tests for L{moxsmtp.receive.passwords}."""

from __future__ import annotations

import hashlib
import hmac

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import PasswordSecrets
from moxsmtp.receive.passwords import (
    InvalidPassword,
    Pretence,
    completed,
    derive,
    hash_of_nobody,
    hash_password,
    is_password,
)
from moxsmtp.smtp.login_secrets import ITERATIONS, CramKeys, ScramHash, ScramKeys


class HashTests(SynchronousTestCase):
    """New hashes."""

    def test_parameters(self) -> None:
        """19 MiB, two passes, a salt of its own each time."""
        first, second = hash_password("secret"), hash_password("secret")
        self.assertNotEqual(first, second)
        self.assertTrue(first.startswith("$argon2id$v=19$m=19456,t=2,p=1$"), first)

    def test_of_nobody(self) -> None:
        """
        What is compared for users who do not exist is in the form of a real hash, with
        its parameters, anew each time, and no password's (S-50).
        """
        real, made = hash_password("secret"), hash_of_nobody()
        self.assertNotEqual(made, hash_of_nobody())
        self.assertEqual(
            [len(each) for each in real.split("$")], [len(each) for each in made.split("$")]
        )
        self.assertEqual(real.split("$")[:-2], made.split("$")[:-2])
        for password in ("secret", "", made):
            self.assertFalse(is_password(password, made))

    def test_forbidden(self) -> None:
        """Nothing and control characters are no password."""
        for password in ("", "a\0b", "a\nb"):
            error = self.assertRaises(InvalidPassword, hash_password, password)
            self.assertIn("control characters", str(error))
            self.assertRaises(InvalidPassword, derive, password, cram_md5=True)


class DerivationTests(SynchronousTestCase):
    """All that is kept of a password."""

    made = derive("caf\u00e9 au lait", cram_md5=True)

    def test_each_is_of_the_password(self) -> None:
        """
        Every mechanism can verify the prepared password with what is kept for
        it (S-46, S-48, S-51).
        """
        prepared = "caf\u00e9 au lait".encode()
        self.assertTrue(is_password("cafe\u0301\u2003au lait", self.made.password))
        for kind, text in (
            (ScramHash.SHA256, self.made.scram_sha256),
            (ScramHash.SHA1, self.made.scram_sha1),
        ):
            keys = ScramKeys.from_text(text)
            self.assertEqual(
                keys, ScramKeys.derived(kind, prepared, keys.salt, max(ITERATIONS, 4096))
            )
        self.assertEqual(
            CramKeys.from_text(self.made.cram_md5).digest(b"<1.2@x>"),
            hmac.digest(prepared, b"<1.2@x>", hashlib.md5).hex(),
        )

    def test_spellings(self) -> None:
        """Another spelling of the password leaves the same secrets of CRAM-MD5 (S-46)."""
        other = completed(self.made_without(), "cafe\u0301\u00a0au\u2003lait", cram_md5=True)
        self.assertEqual(other.cram_md5, self.made.cram_md5)

    def made_without(self) -> PasswordSecrets:
        return PasswordSecrets(self.made.password)

    def test_salts(self) -> None:
        """Each has a salt of 16 octets of its own."""
        other = completed(self.made_without(), "caf\u00e9 au lait", cram_md5=False)
        salts = {
            ScramKeys.from_text(text).salt
            for text in (
                self.made.scram_sha256, self.made.scram_sha1, other.scram_sha256, other.scram_sha1
            )
        }  # fmt: skip
        self.assertEqual((4, {16}), (len(salts), {len(salt) for salt in salts}))

    def test_cram_md5_off(self) -> None:
        """Where CRAM-MD5 is off, nothing is kept for it, nor what was kept."""
        self.assertEqual("", completed(self.made, "caf\u00e9 au lait", cram_md5=False).cram_md5)
        self.assertEqual("", derive("x", cram_md5=False).cram_md5)

    def test_complete(self) -> None:
        """What is there already is not made anew."""
        self.assertIs(self.made, completed(self.made, "caf\u00e9 au lait", cram_md5=True))

    def test_hidden(self) -> None:
        """None of it shows where a value is printed."""
        for text in (self.made.password, self.made.scram_sha256, self.made.cram_md5):
            self.assertNotIn(text, repr(self.made))
        keys = ScramKeys.from_text(self.made.scram_sha256)
        self.assertNotIn(repr(keys.stored), repr(keys))
        self.assertNotIn(repr(keys.server), repr(keys))
        self.assertEqual("CramKeys()", repr(CramKeys.from_text(self.made.cram_md5)))


class PretenceTests(SynchronousTestCase):
    """Secrets of users that there are none of."""

    def test_stable(self) -> None:
        """They are always the same, and another login's or installation's are others (S-50)."""
        kinds = (ScramHash.SHA256, ScramHash.SHA1, None)
        texts = [
            Pretence(secret).text(login, kind)
            for secret in (b"one", b"two")
            for login in ("a@x", "b@x", "\ud800")
            for kind in kinds
        ]
        self.assertEqual(len(texts), len(set(texts)))
        self.assertEqual(texts[0], Pretence(b"one").text("a@x", ScramHash.SHA256))

    def test_alike(self) -> None:
        """They look like those of others: iterations and length of the salt (S-50)."""
        made = derive("secret", cram_md5=False)
        for kind, text in (
            (ScramHash.SHA256, made.scram_sha256),
            (ScramHash.SHA1, made.scram_sha1),
        ):
            true, pretended = (
                ScramKeys.from_text(each) for each in (text, Pretence(b"s").text("a@x", kind))
            )
            self.assertEqual(
                (true.iterations, len(true.salt)), (pretended.iterations, len(pretended.salt))
            )
            self.assertEqual(len(text), len(Pretence(b"s").text("a@x", kind)))
