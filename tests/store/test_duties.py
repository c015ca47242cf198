"""Tests for L{moxsmtp.store.duties}."""

from __future__ import annotations

from datetime import timedelta

from zope.interface.verify import verifyObject

from moxsmtp.mailbox.duty import IDuty
from moxsmtp.store.clock import given_clock
from moxsmtp.store.duties import Duty
from tests.store.contract import Contract

SECOND = timedelta(seconds=1)


class DutyTests(Contract):
    """Which process has a duty."""

    def duty(self, owner: str, name: str = "hand-over") -> Duty:
        """As a process sees it."""
        return Duty(self.database, name, owner=owner, now=lambda: self.time, clock=given_clock)

    def taken(self, duty: Duty) -> bool:
        """Ask for it."""
        return bool(self.result(duty.take()))

    def test_interface(self) -> None:
        """It is what a hand-over asks for."""
        verifyObject(IDuty, self.duty("a"))

    def test_one_at_a_time(self) -> None:
        """Who has it keeps it as long as it is taken again in time."""
        first, second = self.duty("a"), self.duty("b")
        self.assertFalse(first.is_held())
        self.assertEqual((self.taken(first), self.taken(second)), (True, False))
        self.time += 29 * SECOND
        self.assertEqual((self.taken(first), first.is_held()), (True, True))
        self.time += 29 * SECOND
        self.assertEqual((self.taken(second), second.is_held()), (False, False))

    def test_end(self) -> None:
        """Who was away too long finds it gone, whether or not another has it by then."""
        first, second = self.duty("a"), self.duty("b")
        self.taken(first)
        self.time += 30 * SECOND
        self.assertFalse(first.is_held())
        self.time += SECOND
        self.assertTrue(self.taken(second))
        self.assertEqual((self.taken(first), first.is_held()), (False, False))

    def test_given_up(self) -> None:
        """What is given up is to be had at once; who does not have it gives nothing up."""
        first, second = self.duty("a"), self.duty("b")
        self.taken(first)
        self.result(second.give_up())
        self.assertFalse(self.taken(second))
        self.result(first.give_up())
        self.assertFalse(first.is_held())
        self.assertTrue(self.taken(second))

    def test_names(self) -> None:
        """Duties of other names are other duties, and none is a destination of mail."""
        self.assertTrue(self.taken(self.duty("a")))
        self.assertTrue(self.taken(self.duty("b", "other")))
        self.assertEqual(self.claim(), [])
