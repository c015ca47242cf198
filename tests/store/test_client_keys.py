"""Tests for L{moxsmtp.store.client_keys}."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from zope.interface.verify import verifyObject

from moxsmtp.interfaces import IClientKeys, Login
from moxsmtp.store.client_keys import ClientKey, ClientKeys
from tests.store.contract import NOW, Contract

#: The second has both characters that base64 has others for.
F1, F2, F3 = "A" * 43, "-_8" + "A" * 40, "B" * 42 + "A"

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
        self.assertIsNone(self.result(self.keys.login_of(F1)))
        added = self.result(self.keys.add(F1, BOB, "laptop"))
        self.assertEqual(added, ClientKey(F1, "bob", BOB.address, "laptop", NOW))
        self.assertEqual(self.result(self.keys.login_of(F1)), BOB)
        self.assertIsNone(self.result(self.keys.login_of(F2)))
        self.assertEqual(self.result(self.keys.remove(F1)), added)
        self.assertIsNone(self.result(self.keys.login_of(F1)))
        self.assertIsNone(self.result(self.keys.remove(F1)))

    def test_one_owner(self) -> None:
        """A key has one owner, who was there first."""
        first = self.result(self.keys.add(F1, ANN, "a"))
        self.assertEqual(self.result(self.keys.add(F1, BOB, "b")), first)
        self.assertEqual(self.result(self.keys.login_of(F1)), ANN)

    def test_list(self) -> None:
        """All keys, or those of one account."""
        for fingerprint, login in ((F1, BOB), (F2, ANN), (F3, BOB)):
            self.result(self.keys.add(fingerprint, login, ""))
        found = self.result(self.keys.registered())
        self.assertEqual({key.fingerprint for key in found}, {F1, F2, F3})
        self.assertEqual([key.account for key in found], ["ann", "bob", "bob"])
        of_bob = self.result(self.keys.registered("bob"))
        self.assertEqual({key.fingerprint for key in of_bob}, {F1, F3})
        self.assertEqual(self.result(self.keys.registered("eve")), [])

    def test_column(self) -> None:
        """In the table a key stands in hexadecimal, as versions wrote it that wrote no other."""
        self.result(self.keys.add(F2, BOB, ""))
        kept = text("SELECT fingerprint FROM tls_public_key")
        rows = self.result(self.database.read(lambda tx: tx.execute(kept)))
        self.assertEqual([row.fingerprint for row in rows], ["fbff" + "00" * 30])


class MemoryTests(Contract):
    """What is known of them without asking the store."""

    def setUp(self) -> None:
        """None yet; another process has the same store."""
        super().setUp()
        self.keys = ClientKeys(self.database, now=self.now)
        self.others = ClientKeys(self.database, now=self.now)

    def look(self) -> None:
        """As happens every few seconds."""
        self.result(self.keys.look())

    def test_own(self) -> None:
        """What is added or removed here counts here at once (S-37)."""
        self.look()
        self.assertEqual(self.keys.remembered(), {})
        self.result(self.keys.add(F1, BOB, ""))
        self.assertEqual(self.keys.remembered(), {F1: BOB})
        self.result(self.keys.add(F2, ANN, ""))
        self.assertEqual(self.keys.remembered(), {F1: BOB, F2: ANN})
        self.result(self.keys.remove(F1))
        self.assertEqual(self.keys.remembered(), {F2: ANN})

    def test_others(self) -> None:
        """What another process does counts with the next look (S-37)."""
        self.look()
        self.result(self.others.add(F1, BOB, ""))
        self.assertEqual(self.keys.remembered(), {})
        self.look()
        self.assertEqual(self.keys.remembered(), {F1: BOB})
        self.time += timedelta(seconds=1)
        self.result(self.others.remove(F1))
        self.result(self.others.add(F2, ANN, ""))
        self.look()
        self.assertEqual(self.keys.remembered(), {F2: ANN})
        self.result(self.others.remove(F2))
        self.look()
        self.assertEqual(self.keys.remembered(), {})

    def test_glance(self) -> None:
        """Where nothing has changed at a glance the keys are read anew every 30 looks only."""
        self.look()
        self.result(self.others.add(F1, BOB, ""))
        self.look()
        # The clock stands still: as many as before, and none is newer.
        self.result(self.others.remove(F1))
        self.result(self.others.add(F2, ANN, ""))
        remembered = []
        for _ in range(30):
            self.look()
            remembered.append(self.keys.remembered())
        self.assertEqual(remembered[0], {F1: BOB})
        self.assertEqual(remembered[-1], {F2: ANN})

    def test_old(self) -> None:
        """What nobody has looked at for ten seconds counts no more, nor by a clock set back."""
        self.assertIsNone(self.keys.remembered())
        self.look()
        self.time += timedelta(seconds=10)
        self.assertEqual(self.keys.remembered(), {})
        self.time += timedelta(seconds=0.1)
        self.assertIsNone(self.keys.remembered())
        self.look()
        self.assertEqual(self.keys.remembered(), {})
        self.time += timedelta(seconds=-1)
        self.assertIsNone(self.keys.remembered())
