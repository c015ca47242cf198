"""Tests for L{moxsmtp.receive.from_id}: which message a bounce is about."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import Account, Login
from moxsmtp.receive.from_id import IdentifiedSender, identified_senders, wants_from_id
from moxsmtp.smtp.address import MAXIMUM_LOCAL_PART, Path
from moxsmtp.smtp.reply import Refused
from tests.receive.houses import HouseTestCase, path

ALICE = path("alice@ours.example")


def octets() -> itertools.count[int]:
    """For as many identifiers as are wanted, each another."""
    return itertools.count(1)


class IdentifiedTests(SynchronousTestCase):
    """As whom each copy is sent."""

    def senders(
        self, sender: Path, *, count: int = 1, separators: tuple[str, ...] = ("+", "-")
    ) -> list[IdentifiedSender]:
        """One for each recipient."""
        numbers = octets()
        return identified_senders(
            sender,
            separators,
            count=count,
            random_bytes=lambda length: next(numbers).to_bytes(length, "big"),
        )

    def test_made(self) -> None:
        """Each recipient has an identifier of its own, of 16 octets, in base64url (Q-25, S-98)."""
        self.assertEqual(
            [
                ("alice+AAAAAAAAAAAAAAAAAAAAAQ@ours.example", "AAAAAAAAAAAAAAAAAAAAAQ"),
                ("alice+AAAAAAAAAAAAAAAAAAAAAg@ours.example", "AAAAAAAAAAAAAAAAAAAAAg"),
            ],
            [(str(each.reverse_path), each.from_id) for each in self.senders(ALICE, count=2)],
        )

    def test_given(self) -> None:
        """What stands behind the first separator is the identifier (Q-25, S-98)."""
        for text, wanted in {"alice+x1": "x1", "alice-x+y": "x+y", "a+b-c": "b-c"}.items():
            sender = path(f"{text}@ours.example")
            self.assertEqual([IdentifiedSender(sender, wanted)], self.senders(sender), text)

    def test_given_for_several(self) -> None:
        """Several recipients cannot share the client's own identifier (Q-25, S-98)."""
        sender = path("alice+x1@ours.example")
        refused = self.assertRaises(Refused, self.senders, sender, count=2)
        self.assertEqual((554, "5.3"), (refused.reply.code, refused.reply.status))

    def test_nothing_behind(self) -> None:
        """A separator with nothing behind it is no identifier: one is made (Q-25, S-98)."""
        (made,) = self.senders(path("alice-@ours.example"))
        self.assertEqual(
            "alice+" + made.from_id, made.reverse_path and made.reverse_path.local_part
        )

    def test_no_separator(self) -> None:
        """Where the domain has none, nothing is changed (Q-25, S-98)."""
        self.assertEqual([IdentifiedSender(ALICE)] * 2, self.senders(ALICE, count=2, separators=()))

    @settings(deadline=None, max_examples=60)
    @given(st.text("ab\u00e9+-.", min_size=1, max_size=128))
    def test_any_sender(self, local_part: str) -> None:
        """No sender becomes too long; what is made is read again as it was meant."""
        (made,) = self.senders(Path(local_part, ALICE.domain))
        assert made.reverse_path is not None
        if made.reverse_path.local_part != local_part:
            self.assertLessEqual(len(made.reverse_path.local_part.encode()), MAXIMUM_LOCAL_PART)
        if made.from_id:
            (again,) = self.senders(made.reverse_path)
            self.assertEqual(made, again)


class WantedTests(HouseTestCase):
    """Whose mail gets identifiers."""

    def test_login(self) -> None:
        """Mail of those who log in with a listed address, in any spelling (Q-25, S-98)."""
        account = replace(self.accounts[0], from_id_login_addresses=("A2@ours.example",))
        logins = {
            "a2@ours.example": True,
            "A2+x@ours.example": True,
            "alice@ours.example": False,
            "not an address": False,
        }
        self.assertEqual(
            logins,
            {
                text: wants_from_id(self.house.accounts, account, Login("alice", text))
                for text in logins
            },
        )

    def test_nobody(self) -> None:
        """By default nobody's does (Q-25, S-98)."""
        login = Login("alice", "alice@ours.example")
        accounts: tuple[Account | None, ...] = (None, self.accounts[0])
        for account in accounts:
            self.assertFalse(wants_from_id(self.house.accounts, account, login))
