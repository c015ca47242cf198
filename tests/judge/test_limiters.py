"""Tests for L{moxsmtp.judge.limiters}."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.judge.limiters import Limiters, LimitSettings

ONE = ip_address("192.0.2.1")
NEIGHBOUR = ip_address("192.0.2.2")


def limiters(**limits: Any) -> Limiters:
    return Limiters(LimitSettings(**limits))


class LimitersTests(SynchronousTestCase):
    """All that one network may do."""

    def test_defaults(self) -> None:
        """Without settings the limits of S-12 hold for an address."""
        usual = limiters()
        self.assertEqual([usual.count_connection(ONE, 0) for _ in range(301)].index(False), 300)
        self.assertEqual([usual.open(ONE) for _ in range(31)].index(False), 30)
        for _ in range(10):
            self.assertTrue(usual.may_log_in(ONE, 0))
            usual.login_failed(ONE, 0)
        self.assertFalse(usual.may_log_in(ONE, 0))

    def test_failures_of_a_day(self) -> None:
        """Who fails slowly meets the limit of the day (S-12)."""
        usual = limiters()
        minutes = 0
        while usual.may_log_in(ONE, 60 * minutes):
            usual.login_failed(ONE, 60 * minutes)
            minutes += 1
        self.assertEqual(minutes, 50)
        self.assertTrue(usual.may_log_in(ONE, 86_400))

    def test_success(self) -> None:
        """A success takes away what failed before it, of its own address only (S-12)."""
        few = limiters(failed_logins_per_minute=(2, 3, 9))
        few.login_failed(NEIGHBOUR, 0)
        few.login_failed(NEIGHBOUR, 0)
        few.login_failed(ONE, 0)
        self.assertFalse(few.may_log_in(ONE, 0))
        few.logged_in(ONE, 0)
        self.assertTrue(few.may_log_in(ONE, 0))
        self.assertFalse(few.may_log_in(NEIGHBOUR, 0))

    def test_exempt(self) -> None:
        """Networks that are exempt are never short of attempts to log in (S-12)."""
        exempt = limiters(limits_exempt=(ip_network("192.0.2.1"), ip_network("fd00::/8")))
        for _ in range(100):
            exempt.login_failed(ONE, 0)
        self.assertTrue(exempt.may_log_in(ONE, 0))
        self.assertEqual(
            [exempt.is_exempt(ip_address(each)) for each in ("192.0.2.1", "192.0.2.2", "fd00::1")],
            [True, False, True],
        )

    def test_reload(self) -> None:
        """Other limits count what has happened under the old ones, too."""
        changed = limiters()
        for _ in range(5):
            changed.count_connection(ONE, 0)
            changed.open(ONE)
            changed.login_failed(ONE, 0)
        changed.obey(
            LimitSettings(
                connections_per_minute=(6, 9, 9),
                open_connections=(6, 9, 9),
                failed_logins_per_minute=(6, 9, 9),
                limits_exempt=(ip_network("192.0.2.2"),),
            )
        )
        self.assertEqual([changed.count_connection(ONE, 0) for _ in range(2)], [True, False])
        self.assertEqual([changed.open(ONE) for _ in range(2)], [True, False])
        self.assertTrue(changed.may_log_in(ONE, 0))
        changed.login_failed(ONE, 0)
        self.assertFalse(changed.may_log_in(ONE, 0))
        self.assertTrue(changed.is_exempt(NEIGHBOUR))
        for _ in range(6):
            changed.close(ONE)
        self.assertTrue(changed.open(ONE))

    def test_three_numbers(self) -> None:
        """A limit has a number for each of the three networks."""
        for name in ("connections_per_minute", "open_connections", "failed_logins_per_day"):
            with self.assertRaisesRegex(ValueError, f"{name}: three numbers are needed"):
                LimitSettings(**{name: (1, 2)})  # type: ignore[arg-type]  # a limit by its name
