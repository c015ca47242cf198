"""Tests for L{moxsmtp.privileges}."""

from __future__ import annotations

import os
import pwd
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxsmtp.privileges import acting_as

#: A user of every system who owns nothing.
_USER: Final = "nobody"

_Identity = tuple[tuple[int, ...], tuple[int, ...], set[int]]


def identity() -> _Identity:
    """Who we are: users, groups, all groups."""
    return os.getresuid(), os.getresgid(), set(os.getgroups())


class ActingTests(SynchronousTestCase):
    """Being somebody else for a while, as root."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can be somebody else")
        self.user = pwd.getpwnam(_USER)
        self.before = identity()

    def test_user(self) -> None:
        """We are the user, in the user's groups, with the way back to root open."""
        user, group = self.user.pw_uid, self.user.pw_gid
        with acting_as(user, None):
            self.assertEqual(((0, user, 0), group), (os.getresuid(), os.getegid()))
            self.assertEqual(set(os.getgrouplist(_USER, group)), set(os.getgroups()))
        self.assertEqual(self.before, identity())

    def test_unknown_user(self) -> None:
        """A number that is nobody's has the group that is given, and no other."""
        with acting_as(54_321, 54_322):
            self.assertEqual((54_321, 54_322), (os.geteuid(), os.getegid()))
            self.assertEqual([], os.getgroups())
        self.assertEqual(self.before, identity())

    def test_group(self) -> None:
        """A group may be changed alone."""
        with acting_as(None, self.user.pw_gid):
            self.assertEqual((0, self.user.pw_gid), (os.geteuid(), os.getegid()))
        self.assertEqual(self.before, identity())

    def test_failure(self) -> None:
        """Whatever happens meanwhile, we are root again."""

        def fail() -> None:
            with acting_as(self.user.pw_uid, None):
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assertEqual(self.before, identity())

    def test_nobody(self) -> None:
        """Without a user nothing changes, nor for who is not root and could not change back."""
        with acting_as(None, None):
            self.assertEqual(self.before, identity())
        with acting_as(self.user.pw_uid, None):
            within = identity()
            with acting_as(54_321, 54_322):
                self.assertEqual(within, identity())
            self.assertEqual(within, identity())
