"""Tests for L{moxsmtp.store.accounts}."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IPasswordHashes
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
        self.assertIsNone(self.result(self.credentials.password_hash("ann")))

    def test_last_one_counts(self) -> None:
        """The derivative of each account is the last one set."""
        for account, phc in (("ann", "$argon2id$1"), ("bob", "$argon2id$2"), ("ann", "$x$3")):
            self.result(self.credentials.set_password_hash(account, phc))
        self.assertEqual(self.result(self.credentials.password_hash("ann")), "$x$3")
        self.assertEqual(self.result(self.credentials.password_hash("bob")), "$argon2id$2")

    def test_changed(self) -> None:
        """When it was changed is known."""
        self.result(self.credentials.set_password_hash("ann", "$argon2id$1"))
        ((row),) = self.rows("credential")
        self.assertEqual(row["changed"], write_time(NOW))


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
