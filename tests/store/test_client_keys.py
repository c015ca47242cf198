"""Tests for L{moxsmtp.store.client_keys}."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IClientKeys, Login
from moxsmtp.store.client_keys import ClientKey, ClientKeys
from tests.store.contract import NOW, Contract

ANN, BOB = Login("ann", "ann@x.example"), Login("bob", "b\u00f6b@x.example")


class ClientKeysTests(Contract):
    """Keys of TLS client certificates."""

    def setUp(self) -> None:
        """None yet."""
        super().setUp()
        self.keys = ClientKeys(self.database, now=self.now)

    def test_interface(self) -> None:
        """It is what the checking of certificates asks for."""
        verifyObject(IClientKeys, self.keys)

    def test_registered(self) -> None:
        """A key is its login's from when it is added until it is removed (S-37)."""
        self.assertIsNone(self.result(self.keys.login_of("f1")))
        added = self.result(self.keys.add("f1", BOB, "laptop"))
        self.assertEqual(added, ClientKey("f1", "bob", BOB.address, "laptop", NOW))
        self.assertEqual(self.result(self.keys.login_of("f1")), BOB)
        self.assertIsNone(self.result(self.keys.login_of("f")))
        self.assertEqual(self.result(self.keys.remove("f1")), added)
        self.assertIsNone(self.result(self.keys.login_of("f1")))
        self.assertIsNone(self.result(self.keys.remove("f1")))

    def test_one_owner(self) -> None:
        """A key has one owner, who was there first."""
        first = self.result(self.keys.add("f1", ANN, "a"))
        self.assertEqual(self.result(self.keys.add("f1", BOB, "b")), first)
        self.assertEqual(self.result(self.keys.login_of("f1")), ANN)

    def test_list(self) -> None:
        """All keys, or those of one account."""
        for fingerprint, login in (("f1", BOB), ("f2", ANN), ("f3", BOB)):
            self.result(self.keys.add(fingerprint, login, ""))
        found = self.result(self.keys.registered())
        self.assertEqual({key.fingerprint for key in found}, {"f1", "f2", "f3"})
        self.assertEqual([key.account for key in found], ["ann", "bob", "bob"])
        of_bob = self.result(self.keys.registered("bob"))
        self.assertEqual({key.fingerprint for key in of_bob}, {"f1", "f3"})
        self.assertEqual(self.result(self.keys.registered("eve")), [])
