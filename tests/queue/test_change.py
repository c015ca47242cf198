"""Tests for L{moxsmtp.queue.change}."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import RequireTLS
from moxsmtp.queue.change import EARLIEST, LATEST, Change
from tests.queue.test_filter import HOUR, JOB, NOON


class ChangeTests(SynchronousTestCase):
    """What administrators change (Q-23)."""

    def test_each(self) -> None:
        """Each change changes what it says and nothing else (Q-23)."""
        for change, expected in (
            (Change(), JOB),
            (Change(hold=True), replace(JOB, hold=True)),
            (Change(hold=False), JOB),
            (Change(next_attempt=NOON), replace(JOB, next_attempt=NOON)),
            (Change(delay=-HOUR), replace(JOB, next_attempt=NOON)),
            (Change(transport=""), replace(JOB, transport="")),
            (Change(require_tls=RequireTLS.NO), replace(JOB, require_tls=RequireTLS.NO)),
        ):
            self.assertEqual(change.applied(JOB, NOON), expected)

    def test_far(self) -> None:
        """No sum gets out of what times can be."""
        far = datetime.max.replace(tzinfo=NOON.tzinfo)
        for change, expected in (
            (Change(next_attempt=far), NOON + LATEST),
            (Change(next_attempt=far, delay=timedelta.max), NOON + LATEST),
            (Change(delay=timedelta.max), NOON + LATEST),
            (Change(delay=timedelta.min), NOON + EARLIEST),
        ):
            changed = change.applied(replace(JOB, next_attempt=NOON), NOON)
            self.assertEqual(changed.next_attempt, expected)
