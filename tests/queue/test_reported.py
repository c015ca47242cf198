"""What it means when something comes back to a from-id."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import Echo, HookTarget, OutgoingEvent
from moxsmtp.message.delivery_status import RecipientStatus
from moxsmtp.message.reports import Action
from moxsmtp.queue.job import Result
from moxsmtp.queue.reported import (
    MAXIMUM_RESULTS,
    Reported,
    needs_history,
    reported,
    results_with,
)
from tests.queue.test_settle import NOON, job

TARGET = HookTarget("https://hooks.example/")
FAILED = RecipientStatus(Action.FAILED, 550, "1.1", "550 5.1.1 no such user")


def echo(status: RecipientStatus | None = FAILED, **changes: object) -> Echo:
    """A DSN on the job of these tests."""
    usual = Echo("f1", is_dsn=True, status=status, target=TARGET)
    return replace(usual, **changes)  # type: ignore[arg-type]  # a test's choice of fields


def body(found: Reported) -> dict[str, object]:
    """What is posted."""
    assert found.hook is not None
    read = json.loads(found.hook.payload)
    assert isinstance(read, dict)
    return read


class EventTests(SynchronousTestCase):
    """The event and the history."""

    def test_events(self) -> None:
        """Q-42: each action has its event; what is not understood is unrecognized (Q-40, Q-41)."""
        expected = {
            "failed": (True, False), "delayed": (False, False), "delivered": (False, True),
            "relayed": (False, True), "expanded": (False, True),
        }  # fmt: skip
        found = {}
        for action in Action:
            one = reported(job(), echo(RecipientStatus(action, 250, "0.0", "x")), NOON)
            self.assertEqual(body(one)["Event"], action.value)
            found[action.value] = (one.failed, one.result.success)
        self.assertEqual(found, expected)
        for is_dsn in (True, False):
            one = reported(job(), echo(None, is_dsn=is_dsn), NOON)
            read = body(one)
            self.assertEqual((read["Event"], read["DSN"]), ("unrecognized", is_dsn))
            self.assertEqual((one.failed, one.result.success, one.suppress), (False, False, None))

    def test_body(self) -> None:
        """Q-70: the event copies the claim of the DSN, and names the message that was sent."""
        read = body(reported(job(), echo(), NOON))
        self.assertEqual(
            {name: read[name] for name in (
                "DSN", "QueueMsgID", "FromID", "MessageID", "Subject", "SMTPCode",
                "SMTPEnhancedCode", "Error", "Extra",
            )},
            {
                "DSN": True, "QueueMsgID": 17, "FromID": "f1", "MessageID": "<1@ours.example>",
                "Subject": "hello", "SMTPCode": 550, "SMTPEnhancedCode": "5.1.1",
                "Error": "550 5.1.1 no such user", "Extra": {"Order": "7"},
            },
        )  # fmt: skip
        good = echo(RecipientStatus(Action.DELIVERED, 250, "1.5", "250 2.1.5 ok"))
        read = body(reported(job(), good, NOON))
        self.assertEqual(
            (read["SMTPCode"], read["SMTPEnhancedCode"], read["Error"]), (250, "2.1.5", "")
        )

    def test_row(self) -> None:
        """Q-76: the call belongs to the message that was sent, so that it supersedes older ones."""
        hook = reported(job(), echo(), NOON).hook
        assert hook is not None
        self.assertEqual(
            (hook.account, hook.target, hook.event, hook.queue_id, hook.from_id),
            ("alice", TARGET, OutgoingEvent.FAILED, 17, "f1"),
        )

    def test_chosen_events(self) -> None:
        """Q-69: an account without webhook, or that wants other events, is not called."""
        only = replace(TARGET, events=frozenset({OutgoingEvent.DELIVERED}))
        for target in (None, only):
            found = reported(job(), echo(target=target), NOON)
            self.assertIsNone(found.hook)
            self.assertTrue(found.failed)

    def test_result(self) -> None:
        """Q-40: a result goes into the history, with code and words."""
        found = reported(job(), echo(), NOON).result
        self.assertEqual(
            (found.start, found.duration, found.code, found.status),
            (NOON, timedelta(), 550, "1.1"),
        )
        self.assertIn("no such user", found.error)
        self.assertEqual(reported(job(), echo(replace(FAILED, action=Action.RELAYED)), NOON)
                         .result.error, "")  # fmt: skip

    def test_results_are_bounded(self) -> None:
        """Who knows a from-id cannot make the history longer without end."""
        results: tuple[Result, ...] = ()
        for number in range(200):
            new = reported(job(), echo(), NOON + timedelta(seconds=number)).result
            results = results_with(results, new)
            self.assertEqual(results[-1], new)
        self.assertEqual(len(results), MAXIMUM_RESULTS)
        self.assertEqual(results[0].start, NOON)


class SuppressionTests(SynchronousTestCase):
    """Q-31 for what is reported later."""

    def test_refusal(self) -> None:
        """Q-42: an action of failure suppresses as a remote's reply would; no other does."""
        found = reported(job(), echo(), NOON)
        assert found.suppress is not None
        self.assertEqual(
            (found.suppress.account, found.suppress.base_address, found.suppress.created),
            ("alice", "bob@theirs.example", NOON),
        )
        self.assertIs(body(found)["Suppressing"], True)
        for action in set(Action) - {Action.FAILED}:
            found = reported(job(), echo(replace(FAILED, action=action)), NOON, failed_before=True)
            self.assertIsNone(found.suppress)
            self.assertIs(body(found)["Suppressing"], False)

    def test_history(self) -> None:
        """Q-31: a code that does not suffice needs two failures before."""
        full = echo(RecipientStatus(Action.FAILED, 552, "2.2", "full"))
        self.assertTrue(needs_history(full))
        self.assertIsNone(reported(job(), full, NOON).suppress)
        self.assertIsNotNone(reported(job(), full, NOON, failed_before=True).suppress)
        for other in (echo(), echo(None), echo(RecipientStatus(Action.FAILED)),
                      echo(RecipientStatus(Action.DELAYED, 452, "2.2"))):  # fmt: skip
            self.assertFalse(needs_history(other))

    def test_without_code(self) -> None:
        """Q-31: without a code of a remote nothing is suppressed."""
        bare = echo(RecipientStatus(Action.FAILED))
        self.assertIsNone(reported(job(), bare, NOON, failed_before=True).suppress)
