"""What an attempt means."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from twisted.trial import unittest

from moxsmtp.interfaces import Account, HookTarget, OutgoingEvent
from moxsmtp.names import parse_domain
from moxsmtp.queue.fate import Circumstances, in_trouble
from moxsmtp.queue.job import (
    Attempt,
    Delivered,
    Failed,
    Job,
    Outcome,
    RemoteMTA,
    Retired,
    Retry,
    Settlement,
)
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.settle import SUPPRESSED, asks_history, settle, settle_silently
from moxsmtp.smtp.address import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGAIN = NOON + timedelta(minutes=15)
SENDER = Path("alice", parse_domain("ours.example"))
RECIPIENT = Path("bob", parse_domain("theirs.example"))
REMOTE = RemoteMTA("mx.theirs.example", ip_address("192.0.2.7"))
HEADER = b"Received: from here\r\nSubject: hello\r\nMessage-ID: <1@ours.example>\r\n\r\n"

DELIVERED = Delivered(REMOTE, code=250, status="0.0", reply="250 2.0.0 ok")
TRANSIENT = Failed(
    permanent=False,
    error="greylisted",
    code=451,
    status="7.1",
    remote=REMOTE,
    reply="451-4.7.1 come\n451 4.7.1 again",
)
PERMANENT = Failed(
    permanent=True,
    error="no such user",
    code=550,
    status="1.1",
    remote=REMOTE,
    reply="550 5.1.1 no such user",
)
UNREACHED = Failed(permanent=False, error="no connection")


def job(**changes: object) -> Job:
    """One that was taken for its second attempt."""
    usual = Job(
        id=17,
        base_id=0,
        account="alice",
        reverse_path=SENDER,
        forward_path=RECIPIENT,
        queued=NOON - timedelta(hours=1),
        next_attempt=AGAIN,
        content=1,
        size=100,
        message_id="<1@ours.example>",
        subject="hello",
        attempts=2,
        last_attempt=NOON - timedelta(seconds=3),
        from_id="f1",
        extra={"Order": "7"},
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # a test's choice of fields


def around(**changes: object) -> Circumstances:
    """An account without webhook and history."""
    usual = Circumstances(
        hostname=parse_domain("mx.ours.example"),
        settings=QueueSettings(),
        started=NOON - timedelta(seconds=3),
        now=NOON,
        account=Account("alice"),
        postmaster=Account("postmaster"),
        header=HEADER,
        unique="u1",
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # a test's choice of fields


def settled(outcome: Outcome, one: Job | None = None, **changes: object) -> Settlement:
    """What comes of one outcome."""
    taken = one or job()
    return settle(taken, Attempt({taken.id: outcome}), around(**changes))


class FateTests(unittest.SynchronousTestCase):
    """Stay or leave."""

    def test_delivered(self) -> None:
        """Q-77: a delivered message leaves the queue as delivered."""
        self.assertEqual(settled(DELIVERED).fate, Retired(OutgoingEvent.DELIVERED, None))

    def test_transient(self) -> None:
        """Q-32: after a transient failure it stays, and keeps the time that was saved before."""
        for outcome in (TRANSIENT, UNREACHED):
            self.assertEqual(settled(outcome).fate, Retry(AGAIN))

    def test_permanent(self) -> None:
        """Q-12: after a permanent failure it leaves as failed."""
        self.assertEqual(settled(PERMANENT).fate, Retired(OutgoingEvent.FAILED, None))

    def test_last_attempt(self) -> None:
        """Q-12: after a transient failure of the last attempt it leaves as failed."""
        last = job(attempts=8)
        self.assertEqual(settled(TRANSIENT, last).fate, Retired(OutgoingEvent.FAILED, None))
        own = job(attempts=5, max_attempts=5)
        self.assertEqual(settled(TRANSIENT, own).fate, Retired(OutgoingEvent.FAILED, None))

    def test_no_outcome(self) -> None:
        """A job that an attempt says nothing of is tried again."""
        self.assertEqual(settle(job(), Attempt({}), around()).fate, Retry(AGAIN))

    def test_each_has_its_own(self) -> None:
        """Q-19: recipients of one attempt are settled apart."""
        one, two = job(), job(id=18)
        attempt = Attempt({17: DELIVERED, 18: PERMANENT})
        self.assertEqual(
            [settle(each, attempt, around()).fate for each in (one, two)],
            [Retired(OutgoingEvent.DELIVERED, None), Retired(OutgoingEvent.FAILED, None)],
        )

    def test_result(self) -> None:
        """Q-7: the history gets start, duration, success, codes and error."""
        good, bad = settled(DELIVERED).result, settled(TRANSIENT).result
        self.assertEqual((good.success, good.code, good.status, good.error), (True, 250, "0.0", ""))
        self.assertEqual(
            (bad.success, bad.code, bad.status, bad.error), (False, 451, "7.1", "greylisted")
        )
        self.assertEqual(
            (bad.start, bad.duration), (NOON - timedelta(seconds=3), timedelta(seconds=3))
        )

    def test_dialed(self) -> None:
        """Q-6: addresses that were connected to are recorded with whichever outcome."""
        dialed = {"mx.theirs.example": (ip_address("192.0.2.7"),)}
        self.assertEqual(settle(job(), Attempt({}, dialed), around()).dialed, dialed)


class HistoryTests(unittest.SynchronousTestCase):
    """How long it is remembered."""

    def keep_until(self, one: Job, **changes: object) -> datetime | None:
        """Of a delivered message."""
        fate = settled(DELIVERED, one, **changes).fate
        assert isinstance(fate, Retired)
        return fate.keep_until

    def test_of_account(self) -> None:
        """Q-77: as long as the account says from now on; nothing by default."""
        keeps = Account("alice", keep_retired_messages=timedelta(days=3))
        self.assertEqual(self.keep_until(job(), account=keeps), NOON + timedelta(days=3))
        self.assertIsNone(self.keep_until(job()))

    def test_of_nobody(self) -> None:
        """Q-77: seven days if the account does not exist any more."""
        self.assertEqual(self.keep_until(job(), account=None), NOON + timedelta(days=7))

    def test_of_the_server(self) -> None:
        """Mail of the server itself goes by the postmaster's setting."""
        keeps = Account("postmaster", keep_retired_messages=timedelta(days=2))
        mine = job(account="")
        self.assertEqual(
            self.keep_until(mine, account=None, postmaster=keeps), NOON + timedelta(days=2)
        )


class SuppressionTests(unittest.SynchronousTestCase):
    """The list of addresses that nothing is sent to."""

    def suppressed(self, outcome: Outcome, one: Job | None = None, **changes: object) -> str | None:
        """The base address that is added, if one is."""
        suppress = settled(outcome, one, **changes).suppress
        return suppress.base_address if suppress is not None else None

    def test_refusal(self) -> None:
        """Q-31: a remote's final word on an address puts it on the account's list."""
        one = job(forward_path=Path("Bo.b+x", RECIPIENT.domain))
        suppress = settled(PERMANENT, one).suppress
        assert suppress is not None
        self.assertEqual(
            (suppress.account, suppress.base_address, suppress.original_address, suppress.manual),
            ("alice", "bob@theirs.example", "Bo.b+x@theirs.example", False),
        )
        self.assertEqual((suppress.created, suppress.reason), (NOON, "550 5.1.1 no such user"))

    def test_codes_of_ours(self) -> None:
        """Q-31: codes that were made here never count, whichever they are."""
        for made in (
            Failed(permanent=True, error="fail transport", code=550, status="7.0"),
            Failed(permanent=True, error="no REQUIRETLS", code=554, status="7.1", remote=REMOTE),
            Failed(permanent=True, error="null MX", status="1.10"),
            Failed(permanent=True, error="cancelled by admin"),
        ):
            self.assertIsNone(self.suppressed(made))
            self.assertFalse(asks_history(job(), made, QueueSettings()))
            self.assertIsNone(self.suppressed(made, failed_before=True))

    def test_only_what_is_final(self) -> None:
        """Q-31: neither delay nor delivery suppresses; the last of many delays may."""
        self.assertIsNone(self.suppressed(TRANSIENT, failed_before=True))
        self.assertIsNone(self.suppressed(DELIVERED, failed_before=True))
        last = job(attempts=8)
        self.assertIsNone(self.suppressed(TRANSIENT, last))
        self.assertEqual(self.suppressed(TRANSIENT, last, failed_before=True), "bob@theirs.example")

    def test_history(self) -> None:
        """Q-31: history is asked only of a final code that alone does not suffice."""
        content = replace(PERMANENT, code=554, status="6.0")
        settings = QueueSettings()
        self.assertTrue(asks_history(job(), content, settings))
        self.assertTrue(asks_history(job(attempts=8), TRANSIENT, settings))
        for outcome in (PERMANENT, TRANSIENT, DELIVERED, UNREACHED):
            self.assertFalse(asks_history(job(), outcome, settings))
        self.assertFalse(asks_history(job(attempts=8), UNREACHED, settings))
        self.assertIsNone(self.suppressed(content))
        self.assertIsNotNone(self.suppressed(content, failed_before=True))

    def test_login(self) -> None:
        """Q-31: a smarthost that refuses our password suppresses nobody."""
        refused = replace(PERMANENT, code=535, status="7.8", reply="535 5.7.8 no")
        for one in (job(), job(attempts=8)):
            self.assertIsNone(self.suppressed(refused, one, failed_before=True))
            self.assertFalse(asks_history(one, refused, QueueSettings()))

    def test_nobody(self) -> None:
        """Q-28: a list is an account's: the server's own mail and accounts gone have none."""
        self.assertIsNone(self.suppressed(PERMANENT, job(account=""), account=None))
        self.assertIsNone(self.suppressed(PERMANENT, account=None))

    def test_bounce_that_bounces(self) -> None:
        """Q-31: who refuses the null reverse-path is not suppressed: he may take other mail."""
        null = job(reverse_path=None)
        self.assertIsNone(self.suppressed(PERMANENT, null, failed_before=True))
        self.assertFalse(asks_history(null, replace(PERMANENT, code=554), QueueSettings()))

    def test_told(self) -> None:
        """Q-31: the webhook says when the address goes on the list."""
        account = Account("alice", outgoing_webhook=HookTests.ALL)
        for outcome, is_told in ((PERMANENT, True), (replace(PERMANENT, reply=""), False)):
            hook = settled(outcome, account=account).hook
            assert hook is not None
            self.assertIs(json.loads(hook.payload)["Suppressing"], is_told)

    def test_hostile_reason(self) -> None:
        """What the remote said is kept on one line, and bounded."""
        error = "no\r\nsuch " * 1000
        suppress = settled(replace(PERMANENT, error=error)).suppress
        assert suppress is not None
        self.assertLessEqual(len(suppress.reason), 500)
        self.assertEqual(len(suppress.reason.splitlines()), 1)

    def test_fails_at_once(self) -> None:
        """Q-30: who is on it fails for good, as suppressed, with a DSN of failure and no code."""
        listed = job(attempts=1, suppressed=True)
        account = Account("alice", outgoing_webhook=HookTests.ALL)
        settlement = settled(SUPPRESSED, listed, account=account)
        self.assertEqual(settlement.fate, Retired(OutgoingEvent.SUPPRESSED, None))
        self.assertEqual((settlement.result.success, settlement.result.code), (False, 0))
        assert settlement.bounce is not None
        self.assertIn(b"Action: failed", settlement.bounce[1])
        self.assertIn(b"suppression list", settlement.bounce[1])
        assert settlement.hook is not None
        body = json.loads(settlement.hook.payload)
        self.assertEqual((body["Event"], body["SMTPCode"]), ("suppressed", 0))
        self.assertIsNone(settlement.suppress)


class HookTests(unittest.SynchronousTestCase):
    """Webhooks."""

    ALL = HookTarget("https://hooks.example/", authorization="Bearer x")

    def body(self, outcome: Outcome, one: Job | None = None) -> dict[str, object]:
        """What is posted."""
        hook = settled(outcome, one, account=Account("alice", outgoing_webhook=self.ALL)).hook
        assert hook is not None
        body = json.loads(hook.payload)
        assert isinstance(body, dict)
        return body

    def test_events(self) -> None:
        """Q-69: delivered, delayed after every transient failure, failed after the last."""
        cases: dict[str, tuple[Outcome, Job]] = {
            "delivered": (DELIVERED, job()),
            "delayed": (TRANSIENT, job(attempts=1)),
            "failed": (TRANSIENT, job(attempts=8)),
        }
        self.assertEqual(
            {event: self.body(*case)["Event"] for event, case in cases.items()},
            {event: event for event in cases},
        )
        self.assertEqual(self.body(TRANSIENT, job(attempts=7))["Event"], "delayed")
        self.assertEqual(self.body(PERMANENT)["Event"], "failed")

    def test_body(self) -> None:
        """Q-70: the body names message and error; codes are for errors only."""
        failed = self.body(PERMANENT)
        self.assertEqual(
            (failed["QueueMsgID"], failed["FromID"], failed["MessageID"], failed["Subject"]),
            (17, "f1", "<1@ours.example>", "hello"),
        )
        self.assertEqual(
            (failed["SMTPCode"], failed["SMTPEnhancedCode"], failed["Error"], failed["Extra"]),
            (550, "5.1.1", "no such user", {"Order": "7"}),
        )
        delivered = self.body(DELIVERED)
        self.assertEqual((delivered["SMTPCode"], delivered["SMTPEnhancedCode"]), (0, ""))

    def test_row(self) -> None:
        """The call goes to the account's target and is tied to the message."""
        hook = settled(DELIVERED, account=Account("alice", outgoing_webhook=self.ALL)).hook
        assert hook is not None
        self.assertEqual(
            (hook.account, hook.target, hook.event, hook.queue_id, hook.extra),
            ("alice", self.ALL, OutgoingEvent.DELIVERED, 17, {"Order": "7"}),
        )

    def test_chosen_events(self) -> None:
        """Q-69: an account that names events gets those only."""
        target = HookTarget("https://hooks.example/", events=frozenset({OutgoingEvent.FAILED}))
        account = Account("alice", outgoing_webhook=target)
        self.assertIsNone(settled(DELIVERED, account=account).hook)
        self.assertIsNotNone(settled(PERMANENT, account=account).hook)

    def test_none(self) -> None:
        """No webhook without a target, nor for an account that is gone."""
        self.assertIsNone(settled(PERMANENT).hook)
        self.assertIsNone(settled(PERMANENT, account=None).hook)


class SilentTests(unittest.SynchronousTestCase):
    """Without telling."""

    def test_same_fate(self) -> None:
        """The silent settlement differs only in what it tells."""
        account = Account("alice", outgoing_webhook=HookTests.ALL)
        for outcome in (DELIVERED, TRANSIENT, PERMANENT):
            attempt = Attempt({17: outcome})
            whole = settle(job(), attempt, around(account=account))
            silent = settle_silently(job(), attempt, around(account=account))
            self.assertEqual(silent, replace(whole, bounce=None, hook=None))


class TroubleTests(unittest.SynchronousTestCase):
    """Is the destination in trouble?"""

    def test_in_trouble(self) -> None:
        """It is if somebody was put off and nobody served; refusing for good is healthy."""
        cases: dict[tuple[Outcome, ...], bool] = {
            (DELIVERED,): False,
            (PERMANENT,): False,
            (TRANSIENT,): True,
            (PERMANENT, UNREACHED): True,
            (DELIVERED, TRANSIENT): False,
        }
        self.assertEqual(
            {case: in_trouble(Attempt(dict(enumerate(case)))) for case in cases}, cases
        )
