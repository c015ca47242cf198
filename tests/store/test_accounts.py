"""Tests for L{moxsmtp.store.accounts}."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IPasswordHashes, PasswordSecrets
from moxsmtp.store.accounts import Credentials, Identity
from moxsmtp.store.columns import write_time
from tests.store.contract import NOW, Contract


class CredentialsTests(Contract):
    """Derivatives of passwords."""

    def setUp(self) -> None:
        """None yet."""
        super().setUp()
        self.credentials = Credentials(self.database, now=self.now)

    def test_interface(self) -> None:
        """It is what the checking of passwords asks for."""
        verifyObject(IPasswordHashes, self.credentials)

    def test_no_password(self) -> None:
        """An account may have none."""
        self.assertIsNone(self.result(self.credentials.password_secrets("ann")))

    def test_last_one_counts(self) -> None:
        """The derivatives of each account are the last ones set, all of them at once."""
        first = PasswordSecrets("$argon2id$1", "s256", "s1", "cram")
        second = PasswordSecrets("$argon2id$2")
        for account, secrets in (("ann", first), ("bob", first), ("ann", second)):
            self.result(self.credentials.set_password_secrets(account, secrets))
        self.assertEqual(self.result(self.credentials.password_secrets("ann")), second)
        self.assertEqual(self.result(self.credentials.password_secrets("bob")), first)

    def test_changed(self) -> None:
        """When it was changed is known."""
        self.result(self.credentials.set_password_secrets("ann", PasswordSecrets("$argon2id$1")))
        ((row),) = self.rows("credential")
        self.assertEqual(row["changed"], write_time(NOW))

    def test_completed(self) -> None:
        """
        What is derived later is kept beside the hash it belongs to; not if the
        password has been changed meanwhile, nor for an account without one.
        """
        old, new = PasswordSecrets("$argon2id$1"), PasswordSecrets("$argon2id$1", "a", "b", "c")
        for kept in (old, PasswordSecrets("$argon2id$2")):
            self.result(self.credentials.set_password_secrets("ann", kept))
            self.result(self.credentials.complete_password_secrets("ann", new))
            expected = new if kept is old else kept
            self.assertEqual(self.result(self.credentials.password_secrets("ann")), expected)
        self.result(self.credentials.complete_password_secrets("bob", new))
        self.assertIsNone(self.result(self.credentials.password_secrets("bob")))

    def test_cram_md5_off(self) -> None:
        """Where CRAM-MD5 is turned off, nothing of it is kept for anybody (S-48)."""
        for account in ("ann", "bob"):
            full = PasswordSecrets("$argon2id$1", "a", "b", "c")
            self.result(self.credentials.set_password_secrets(account, full))
        self.result(self.credentials.forget_cram_md5())
        self.assertEqual({row["cram_md5"] for row in self.rows("credential")}, {""})
        self.assertEqual(
            self.result(self.credentials.password_secrets("bob")),
            PasswordSecrets("$argon2id$1", "a", "b", ""),
        )


class IdentityTests(Contract):
    """Secrets of the installation."""

    def test_made_once(self) -> None:
        """Whoever asks first makes it; all others get the same (S-10)."""
        identity = Identity(self.database)
        self.assertEqual(
            self.result(identity.secret("reply_id", lambda: b"\x00one\xff")), b"\x00one\xff"
        )
        again = Identity(self.database)
        self.assertEqual(self.result(again.secret("reply_id", lambda: b"two")), b"\x00one\xff")
        self.assertEqual(self.result(again.secret("other", lambda: b"two")), b"two")
