"""Tests for L{moxsmtp.store.echoes}: what comes back is matched with what was sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from moxsmtp.interfaces import Echo, HookTarget, NewMessage, OutgoingEvent
from moxsmtp.message.delivery_status import RecipientStatus
from moxsmtp.message.reports import Action
from moxsmtp.queue.job import Retired, Settlement
from tests.store.contract import NOW, Contract, new_hook, new_job, new_message, result, spooled

TARGET = HookTarget("https://out.example/")
INCOMING = "https://in.example/"
FAILED = RecipientStatus(Action.FAILED, 550, "1.1", "550 5.1.1 no such user")
FULL = RecipientStatus(Action.FAILED, 552, "2.2", "552 5.2.2 full")
DAY = timedelta(days=1)


class EchoContract(Contract):
    """Messages that were sent, and what comes back."""

    def sent(
        self,
        from_id: str = "f1",
        *,
        account: str = "ann",
        recipient: str = "b@example.org",
        event: OutgoingEvent = OutgoingEvent.DELIVERED,
        kept: bool = True,
    ) -> int:
        """One that left the queue."""
        new = new_job(recipient, from_id=from_id, account=account, extra={"Order": "7"})
        (number,) = self.result(self.jobs.add(spooled(), [new]))
        (lease,) = self.result(self.jobs.claim(1, self.time, self.time + DAY, troubled=False))
        batch = self.result(self.jobs.take(lease, self.time, lambda _: self.time + DAY))
        assert batch is not None
        fate = Retired(event, NOW + 30 * DAY if kept else None)
        done = result(success=event is OutgoingEvent.DELIVERED, error="")
        self.result(self.jobs.settle(lease, [Settlement(batch.leader, fate, done)]))
        self.result(self.jobs.release(lease, troubled=False))
        self.time += timedelta(seconds=10)
        return number

    def echo(
        self, status: RecipientStatus | None = FAILED, account: str = "ann", **changes: Any
    ) -> NewMessage:
        """A DSN to C{f1}, with the webhook that it would have if it were other mail."""
        usual = Echo("f1", is_dsn=True, status=status, target=TARGET)
        return new_message(
            account,
            reverse_path=None,
            echo=replace(usual, **changes),
            hook=new_hook(account, INCOMING, event=None, payload=b'{"MsgID":\0}'),
        )

    def comes(self, *messages: NewMessage) -> Sequence[int]:
        """They are stored."""
        return self.result(self.mail.deliver(spooled(), messages))

    def urls(self) -> list[str]:
        """Of waiting webhook calls."""
        return [row["url"] for row in self.rows("hook")]


class MatchTests(EchoContract):
    """What it is about."""

    def test_history(self) -> None:
        """
        Q-39, Q-40, Q-42: a DSN of failure is found by its from-id; the history
        says that the message failed, and when, and the account hears of it by
        the outgoing webhook, never by that for incoming mail.
        """
        number = self.sent()
        self.comes(self.echo())
        (row,) = self.rows("retired_job")
        self.assertEqual((row["success"], row["event"]), (0, "failed"))
        self.assertEqual(len(json.loads(row["results"])), 2)
        self.assertIn("no such user", row["results"])
        retired = self.result(self.admin.job(number))
        self.assertEqual(getattr(retired, "last_activity", None), self.time)
        (hook,) = self.rows("hook")
        self.assertEqual(
            (hook["url"], hook["event"], hook["queue_id"], hook["from_id"]),
            (TARGET.url, "failed", number, "f1"),
        )
        payload = json.loads(hook["payload"])
        self.assertEqual(
            (payload["Suppressing"], payload["Extra"], payload["DSN"]), (True, {"Order": "7"}, True)
        )
        self.assertEqual(len(self.rows("message")), 1)

    def test_other_actions(self) -> None:
        """Q-42: other actions leave the message as successful as it was."""
        self.sent()
        actions = (Action.DELAYED, Action.DELIVERED, Action.RELAYED, Action.EXPANDED)
        for number, action in enumerate(actions):
            self.comes(self.echo(replace(FAILED, action=action)))
            (row,) = self.rows("retired_job")
            self.assertEqual((row["success"], row["event"]), (1, "delivered"))
            self.assertEqual(len(json.loads(row["results"])), 2 + number)
        self.comes(self.echo())
        self.comes(self.echo(replace(FAILED, action=Action.DELIVERED)))
        self.assertEqual(self.rows("retired_job")[0]["success"], 0)

    def test_unrecognized(self) -> None:
        """Q-40, Q-41: what is no DSN, or not understood, is told as unrecognized."""
        self.sent()
        for is_dsn in (True, False):
            self.comes(self.echo(None, is_dsn=is_dsn))
            payload = json.loads(self.rows("hook")[-1]["payload"])
            self.assertEqual((payload["Event"], payload["DSN"]), ("unrecognized", is_dsn))
        self.assertEqual(self.rows("suppression"), [])

    def test_no_match(self) -> None:
        """Q-39: what is about nothing that was sent is incoming mail like other mail."""
        self.sent("other")
        self.comes(self.echo())
        (hook,) = self.rows("hook")
        self.assertEqual((hook["url"], hook["event"]), (INCOMING, ""))
        self.assertEqual(hook["payload"], b'{"MsgID":1}')
        self.assertEqual(self.rows("suppression"), [])
        self.assertEqual(self.rows("retired_job")[0]["event"], "delivered")

    def test_spelling(self) -> None:
        """Q-39: a from-id is compared as it is; an empty one is none."""
        self.sent("f1")
        self.sent("")
        for other in ("F1", "f1 ", "f", ""):
            self.comes(self.echo(from_id=other))
        self.assertEqual(set(self.urls()), {INCOMING})

    def test_of_another_account(self) -> None:
        """Q-39: who knows another account's from-id learns nothing, and changes nothing."""
        self.sent(account="bob")
        before = self.rows("retired_job")
        self.comes(self.echo(account="ann"))
        self.assertEqual(self.rows("retired_job"), before)
        self.assertEqual((self.urls(), self.rows("suppression")), ([INCOMING], []))
        self.assertNotIn(b"Order", self.rows("hook")[0]["payload"])

    def test_without_history(self) -> None:
        """Q-77: without history nothing is found."""
        self.sent(kept=False)
        self.comes(self.echo())
        self.assertEqual(self.urls(), [INCOMING])

    def test_no_webhook(self) -> None:
        """Q-40: the account's history is kept true though it has no outgoing webhook."""
        self.sent()
        self.comes(self.echo(target=None))
        self.assertEqual(self.urls(), [])
        self.assertEqual(self.rows("retired_job")[0]["event"], "failed")

    def test_two_copies(self) -> None:
        """Q-40: copies of one message for one account tell of it once."""
        self.sent()
        self.comes(self.echo(), self.echo())
        self.assertEqual(self.urls(), [TARGET.url])
        self.assertEqual(len(json.loads(self.rows("retired_job")[0]["results"])), 2)
        self.assertEqual(len(self.rows("message")), 2)

    def test_superseded(self) -> None:
        """Q-76: the event takes the place of one of the same message that waits."""
        self.sent()
        self.comes(self.echo(replace(FAILED, action=Action.DELAYED), keep_hooks=DAY))
        self.comes(self.echo(keep_hooks=DAY))
        (waiting,) = self.rows("hook")
        self.assertEqual(waiting["event"], "failed")
        (retired,) = self.rows("retired_hook")
        self.assertEqual(retired["superseded_by"], waiting["id"])

    def test_one_transaction(self) -> None:
        """Q-39: message, history, webhook and suppression are stored together, or nothing is."""
        self.sent()
        self.assertAllOrNothing(lambda: self.mail.deliver(spooled(), [self.echo()]))
        self.assertEqual(
            [len(self.rows(table)) for table in ("message", "hook", "suppression")], [1, 1, 1]
        )

    def test_woken(self) -> None:
        """The account's webhooks are called at once."""
        self.sent()
        self.stored.clear()
        self.comes(self.echo())
        self.assertEqual(self.stored, [frozenset({"ann"})])

    def test_many(self) -> None:
        """However many come back, the history of the message stays bounded."""
        self.sent()
        for _ in range(70):
            self.comes(self.echo(None, target=None))
        self.assertLessEqual(len(json.loads(self.rows("retired_job")[0]["results"])), 64)


class SuppressionTests(EchoContract):
    """What goes on the list."""

    def suppressed(self) -> list[tuple[str, str, int]]:
        """All entries."""
        return [
            (row["account"], row["base_address"], row["manual"]) for row in self.rows("suppression")
        ]

    def test_refused(self) -> None:
        """Q-31, Q-42: a DSN with 550 suppresses, once."""
        self.sent()
        self.comes(self.echo())
        self.comes(self.echo())
        self.assertEqual(self.suppressed(), [("ann", "b@example.org", 0)])

    def test_third_failure(self) -> None:
        """Q-31: a bounce of another kind suppresses if the last two others failed, too."""
        self.sent("f0")
        self.sent("f2")
        self.sent()
        self.comes(self.echo(FULL, from_id="f0"))
        self.assertEqual(self.suppressed(), [])
        self.comes(self.echo(FULL))
        self.assertEqual(self.suppressed(), [])
        self.comes(self.echo(FULL, from_id="f2"))
        self.assertEqual(self.suppressed(), [("ann", "b@example.org", 0)])

    def test_failures_elsewhere(self) -> None:
        """Q-31: failures of other accounts, or to other addresses, count for nothing."""
        failed = OutgoingEvent.FAILED
        for number in range(2):
            self.sent(f"a{number}", account="bob", event=failed)
            self.sent(f"b{number}", recipient="b+x@example.org", event=failed)
        self.sent()
        self.comes(self.echo(FULL))
        self.assertEqual(self.suppressed(), [])
        self.comes(self.echo())
        self.assertEqual(self.suppressed(), [("ann", "b@example.org", 0)])
