"""Queued mail as work for the runner."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.interfaces import (
    Account,
    AddressRole,
    OutgoingEvent,
    RoleAddress,
    StorageUnavailable,
)
from moxsmtp.names import Domain, Host, parse_domain
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.queue.job import Attempt, Batch, Delivered, Failed, Job, LeaseLost, Retired, Retry
from moxsmtp.queue.mail import MailWork
from moxsmtp.queue.runner import Runner
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.notification import ReturnContent, Wishes
from moxsmtp.testing import MemoryMetrics
from tests.queue.doubles import MemoryContent, MemoryJobs
from tests.queue.test_settle import DELIVERED, PERMANENT, TRANSIENT, job

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FewAccounts:
    """
    Alice, and the postmaster.

    @cvar postmaster_mailbox: Where he reads; empty: that is not configured.
    """

    postmaster_mailbox = ""

    def account(self, name: str) -> Account | None:
        """By name."""
        return {"alice": Account("alice"), "root": Account("root")}.get(name)

    def recipient_of(self, path: Path) -> RoleAddress | None:
        """The bare postmaster's, if that is configured."""
        if path.domain is not None or not self.postmaster_mailbox:
            return None
        return RoleAddress(AddressRole.POSTMASTER, Account("root"), self.postmaster_mailbox)

    def is_local(self, domain: Host | None) -> bool:
        """Nothing is."""
        del domain
        return False

    def postmaster(self) -> Account | None:
        """Root."""
        return self.account("root")

    def may_send_as(self, account: str, path: Path) -> bool:
        """Nobody may."""
        del account, path
        return False

    def canonical(self, path: Path) -> Path:
        """Itself."""
        return path

    def separators_of(self, domain: Host | None) -> tuple[str, ...]:
        """None."""
        del domain
        return ()


class MailTestCase(unittest.SynchronousTestCase):
    """Work over storage in memory, and a runner that runs it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.store = MemoryJobs(self.clock.seconds)
        self.store.contents[1] = MemoryContent(b"Subject: in content\r\n\r\nbody\r\n")
        self.answers: list[Attempt | Deferred[Attempt]] = []
        self.attempted: list[Batch] = []
        self.hostname: Domain = parse_domain("mx.ours.example")
        self.work = MailWork(
            self.clock,
            self.store,
            self.deliver,
            FewAccounts(),  # type: ignore[arg-type]  # has its methods
            settings=QueueSettings(),
            hostname=self.hostname,
            randint=lambda low, high: min(max(0, low), high),
            unique=lambda: "u1",
        )
        # What a test queues next is claimed anew.
        self.work.linger = 0.0

    def deliver(self, batch: Batch) -> Awaitable[Attempt]:
        """The next answer."""

        async def answer() -> Attempt:
            self.attempted.append(batch)
            found = self.answers.pop(0)
            return await found if isinstance(found, Deferred) else found

        return answer()

    def start(self, *jobs: Job) -> Runner[Batch, Attempt]:
        """Queue them as one batch, and run."""
        self.store.batches.append(Batch(jobs, NOW))
        self.store.add("theirs.example", self.clock.seconds())
        runner: Runner[Batch, Attempt] = Runner(self.clock, self.store, self.work, limit=2)
        runner.startService()
        self.addCleanup(self.end, runner)
        return runner

    def end(self, runner: Runner[Batch, Attempt]) -> None:
        """Stop it."""
        self.store.failing = None
        self.store.destinations.clear()
        stopped = runner.stopService()
        for _ in range(50):
            self.clock.advance(0.5)
        self.successResultOf(stopped)


class SuppressedTests(MailTestCase):
    """Recipients on the account's suppression list."""

    def test_no_connection(self) -> None:
        """Q-14, Q-30: who is suppressed fails at the first attempt, and nobody is connected to."""
        self.start(job(attempts=1, suppressed=True))
        self.assertEqual(self.attempted, [])
        ((one,),) = self.store.settlements
        self.assertEqual(one.fate, Retired(OutgoingEvent.SUPPRESSED, None))
        self.assertIn("suppression list", one.result.trace[0])
        assert one.bounce is not None
        self.assertIn(b"Subject: in content", one.bounce[1])

    def test_detained_first(self) -> None:
        """Q-14: a sender's domain that is disabled is looked at before the list."""
        disabled = Unreachable(permanent=False, status="3.2", error="it is disabled")
        self.patch(self.work, "_detained", lambda _: disabled)
        self.start(job(suppressed=True))
        ((one,),) = self.store.settlements
        self.assertIsInstance(one.fate, Retry)
        self.assertIsNone(one.bounce)

    def test_each_by_himself(self) -> None:
        """Q-17: of several recipients those are left out who are suppressed, be it the leader."""
        self.answers = [Attempt({18: DELIVERED})]
        self.start(job(suppressed=True), job(id=18), job(id=19, suppressed=True))
        self.assertEqual([one.id for one in self.attempted[0].jobs], [18])
        (settlements,) = self.store.settlements
        self.assertEqual(
            {one.job.id: one.fate for one in settlements},
            {
                17: Retired(OutgoingEvent.SUPPRESSED, None),
                18: Retired(OutgoingEvent.DELIVERED, None),
                19: Retired(OutgoingEvent.SUPPRESSED, None),
            },
        )

    def test_broken_attempt(self) -> None:
        """Q-30: the others' attempt breaks down, and who is suppressed has failed all the same."""
        broken: Deferred[Attempt] = Deferred()
        self.answers = [broken]
        self.start(job(suppressed=True), job(id=18))
        broken.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        ((one, two),) = self.store.settlements
        self.assertEqual(one.fate, Retired(OutgoingEvent.SUPPRESSED, None))
        self.assertIsInstance(two.fate, Retry)

    def test_healthy(self) -> None:
        """A destination that nobody connected to is in no trouble."""
        self.start(job(suppressed=True))
        self.assertFalse(self.store.destinations["theirs.example"].troubled)


class HistoryTests(MailTestCase):
    """What failed before."""

    UNSURE = replace(PERMANENT, code=554, status="6.0", reply="554 5.6.0 content")

    def test_third_in_a_row(self) -> None:
        """Q-31: the third failure in a row suppresses the address; the first does not."""
        self.store.failed.add(18)
        self.answers = [Attempt({17: self.UNSURE, 18: self.UNSURE})]
        self.start(job(), job(id=18))
        ((one, two),) = self.store.settlements
        self.assertIsNone(one.suppress)
        assert two.suppress is not None
        self.assertEqual(two.suppress.base_address, "bob@theirs.example")

    def test_asked_only_where_it_decides(self) -> None:
        """Q-31: history is not asked about delivery, delay, or what suppresses by itself."""
        self.answers = [Attempt({1: DELIVERED, 2: TRANSIENT, 3: PERMANENT, 4: self.UNSURE})]
        self.start(*(job(id=number) for number in (1, 2, 3, 4)))
        self.assertEqual(self.store.asked, [4])


class SignatureTests(MailTestCase):
    """Reports that leave."""

    def test_signed(self) -> None:
        """A report that is queued to a sender elsewhere is signed, all of it."""
        signed: list[bytes] = []

        def sign(content: bytes) -> bytes:
            signed.append(content)
            return b"DKIM-Signature: x\r\n"

        self.patch(self.work, "_sign", sign)
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job(account=""))
        ((one,),) = self.store.settlements
        assert one.report is not None
        new, content = one.report
        self.assertEqual((new.prefix, [content]), (b"DKIM-Signature: x\r\n", signed))

    def test_for_the_inbox(self) -> None:
        """What goes into an Inbox here is not."""
        self.patch(self.work, "_sign", lambda _: self.fail("was signed"))
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job())
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertIsNotNone(self.store.settlements[0][0].bounce)


class CountTests(MailTestCase):
    """What is counted."""

    def test_failed_reports(self) -> None:
        """Q-91: DMARC reports of ours that fail for good are counted once, nothing else is."""
        metrics = MemoryMetrics()
        self.patch(self.work, "_metrics", metrics)
        counts = []
        for kind in ("", "tls", "dmarc"):
            self.answers = [Attempt({17: PERMANENT, 18: TRANSIENT, 19: DELIVERED})]
            self.start(*(job(id=number, report=kind) for number in (17, 18, 19)))
            counts.append(dict(metrics.counts))
        self.assertEqual(counts, [{}, {}, {"mox_queue_dmarcreport_failure_total": 1}])


class PostmasterTests(MailTestCase):
    """Where the postmaster reads."""

    def test_mailbox(self) -> None:
        """Q-35: what is for the postmaster goes into the mailbox that is configured for him."""
        for name, expected in (("Admin", "Admin/tlsrpt"), ("", "Inbox/tlsrpt")):
            self.patch(FewAccounts, "postmaster_mailbox", name)
            self.store.settlements.clear()
            self.answers = [Attempt({17: PERMANENT})]
            self.start(job(account="", report="tls"))
            bounce = self.store.settlements[0][0].bounce
            assert bounce is not None
            self.assertEqual((bounce[0].account, bounce[0].mailbox), ("root", expected))


class MailWorkTests(MailTestCase):
    """What becomes of a batch."""

    def test_delay_brings_the_header_only(self) -> None:
        """Q-13: a notice of delay brings back the header, also with RET=FULL (RFC 3461 4.3)."""
        content = b"Subject: x\r\n\r\nbody\r\n"
        self.store.contents[1] = MemoryContent(content)
        self.answers = [Attempt({17: TRANSIENT})]
        full = Wishes(returns=ReturnContent.FULL)
        self.start(job(attempts=5, size=len(content), wishes=full))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(b"Subject: x", bounce[1])
        self.assertNotIn(b"body", bounce[1])

    def test_settles_each(self) -> None:
        """Each recipient's outcome is settled, all of a batch in one transaction."""
        self.answers = [Attempt({17: DELIVERED, 18: TRANSIENT})]
        self.start(job(), job(id=18))
        ((one, two),) = self.store.settlements
        self.assertEqual(one.fate, Retired(OutgoingEvent.DELIVERED, None))
        self.assertEqual(two.fate, Retry(two.job.next_attempt))

    def test_next_time_is_planned_first(self) -> None:
        """Q-11: the store is told the next time when the attempt begins."""
        waiting: Deferred[Attempt] = Deferred()
        self.answers = [waiting]
        self.start(job(attempts=3))
        self.assertEqual(self.store.planned, [NOW + timedelta(minutes=30)])
        waiting.callback(Attempt({}))

    def test_dsn_has_the_header(self) -> None:
        """Q-36: the DSN returns the header that was sent: our prefix, then that of the content."""
        self.answers = [Attempt({17: PERMANENT})]
        prefix = b"Received: by us\r\n"
        self.start(job(prefix=prefix))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(b"Received: by us\r\nSubject: in content\r\n", bounce[1])
        self.assertNotIn(b"body", bounce[1])

    def test_whole_message(self) -> None:
        """Q-36: with RET=FULL all that was sent comes back.  RFC 3461 section 4.3."""
        content = b"Subject: x\r\n\r\n" + b"body " * 10_000 + b"\r\n"
        self.store.contents[1] = MemoryContent(content)
        self.answers = [Attempt({17: PERMANENT})]
        prefix = b"Received: by us\r\n"
        full = Wishes(returns=ReturnContent.FULL)
        self.start(job(prefix=prefix, size=len(prefix + content), wishes=full))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertNotIn(b"body body", bounce[1])  # One of its lines is too long for a DSN.
        content = content.replace(b"body ", b"body\r\n")
        self.store.contents[1] = MemoryContent(content)
        self.store.settlements.clear()
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job(prefix=prefix, size=len(prefix + content), wishes=full))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(prefix + content, bounce[1])

    def test_whole_large_message(self) -> None:
        """It does also where that is longer than any header section that comes back."""
        content = b"Subject: x\r\n\r\n" + b"body\r\n" * 60_000
        self.store.contents[1] = MemoryContent(content)
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job(size=len(content), wishes=Wishes(returns=ReturnContent.FULL)))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(content, bounce[1])

    def test_whole_messages_have_a_limit(self) -> None:
        """A thousand recipients that fail at once do not bring back a thousand messages."""
        content = b"Subject: x\r\n\r\n" + b"body\r\n" * 20_000
        self.store.contents[1] = MemoryContent(content)
        jobs = [
            job(id=number, size=len(content), wishes=Wishes(returns=ReturnContent.FULL))
            for number in range(1, 101)
        ]
        self.answers = [Attempt({one.id: PERMANENT for one in jobs})]
        self.start(*jobs)
        octets = sum(len(one.bounce[1]) for one in self.store.settlements[0] if one.bounce)
        self.assertLess(octets, 1 << 20)

    def test_header_is_read_only_for_dsns(self) -> None:
        """Without a final failure the content is not read."""
        self.store.contents[1].failing = AssertionError("was read")
        self.answers = [Attempt({17: TRANSIENT})]
        self.start(job())
        self.assertEqual(len(self.store.settlements), 1)

    def test_long_header(self) -> None:
        """A header without end is cut, in linear time."""
        self.store.contents[1] = MemoryContent(b"x" * 10_000_000)
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job(size=10_000_000))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertLess(len(bounce[1]), 600_000)

    def test_header_only(self) -> None:
        """A message without a body, and without the line before it, is sent back as it is."""
        self.store.contents[1] = MemoryContent(b"Subject: all of it\r\n")
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job())
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(b"Subject: all of it\r\n", bounce[1])

    def test_header_end_between_pieces(self) -> None:
        """The end of a header is seen also where it lies across two pieces."""
        for length in range(16 * 1024 - 8, 16 * 1024 + 2):
            header = b"A: " + b"a" * (length - 3)
            self.store.contents[1] = MemoryContent(header + b"\r\n\r\n" + b"body " * 10_000)
            self.store.settlements.clear()
            self.answers = [Attempt({17: PERMANENT})]
            self.start(job())
            bounce = self.store.settlements[0][0].bounce
            assert bounce is not None
            self.assertNotIn(b"body", bounce[1])

    def test_missing_content(self) -> None:
        """Content that is gone costs the DSN its header, not the sender the DSN."""
        self.store.contents[1].failing = LookupError("gone")
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job(prefix=b"Subject: hello\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(b"Subject: hello", bounce[1])

    def test_dropped_meanwhile(self) -> None:
        """
        What an administrator dropped while it was tried has no content any more: that is
        nobody's error, and nothing is logged (Q-23).
        """
        self.store.contents[1].failing = LookupError("gone")
        self.store.gone = {17}
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job())
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.store.settlements), 1)

    def test_store_away_while_reading(self) -> None:
        """A store that is away while the header is read is waited for."""
        self.store.contents[1].failing = StorageUnavailable("locked")
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job())
        self.assertEqual(self.store.settlements, [])
        self.store.contents[1].failing = None
        self.clock.advance(1)
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertIn(b"in content", bounce[1])

    def test_what_cannot_be_told_is_recorded(self) -> None:
        """A DSN that cannot be composed is logged, and the job settled without it."""
        self.patch(self.work, "_unique", lambda: "not a boundary \0")
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        ((one,),) = self.store.settlements
        self.assertEqual(one.fate, Retired(OutgoingEvent.FAILED, None))
        self.assertIsNone(one.bounce)

    def test_account_that_is_gone(self) -> None:
        """Q-35: the postmaster gets the DSN of an account that does not exist any more."""
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job(account="gone"))
        bounce = self.store.settlements[0][0].bounce
        assert bounce is not None
        self.assertEqual(bounce[0].account, "root")

    def test_trouble(self) -> None:
        """A destination that put everybody off is given back as troubled."""
        self.answers = [Attempt({17: TRANSIENT})]
        self.start(job())
        self.assertTrue(self.store.destinations["theirs.example"].troubled)

    def test_health(self) -> None:
        """A destination that delivers, or refuses for good, is in good health."""
        self.answers = [Attempt({17: PERMANENT})]
        self.start(job())
        self.assertFalse(self.store.destinations["theirs.example"].troubled)

    def test_broken_attempt(self) -> None:
        """An attempt that breaks down is a transient failure for each job of the batch."""
        broken: Deferred[Attempt] = Deferred()
        self.answers = [broken]
        self.start(job(), job(id=18))
        broken.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        ((one, two),) = self.store.settlements
        self.assertIsInstance(one.fate, Retry)
        self.assertIsInstance(two.fate, Retry)
        self.assertIn("internal error", one.result.error)

    def test_lost_lease(self) -> None:
        """What is known of a destination that was lost is dropped without an error."""
        waiting: Deferred[Attempt] = Deferred()
        self.answers = [waiting]
        self.start(job())
        self.store.lost.add("theirs.example")
        waiting.callback(Attempt({17: DELIVERED}))
        self.assertEqual(self.store.settlements, [])
        self.assertEqual(self.flushLoggedErrors(LeaseLost), [])

    def test_stopped(self) -> None:
        """Q-1: an attempt cut by the end of the process is not settled at all."""
        self.answers = [Deferred()]
        runner = self.start(job())
        stopped = runner.stopService()
        for _ in range(21):
            self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.store.settlements, [])

    def test_stopped_with_known_fates(self) -> None:
        """
        Q-1, Q-10: of an attempt cut by the end of the process, the fates that are
        known are settled; the other jobs stay under way.
        """
        self.answers = [
            Deferred(lambda answer: answer.callback(Attempt({17: DELIVERED, 19: PERMANENT})))
        ]
        runner = self.start(job(), job(id=18), job(id=19))
        stopped = runner.stopService()
        for _ in range(21):
            self.clock.advance(1)
        self.successResultOf(stopped)
        (settlements,) = self.store.settlements
        self.assertEqual(
            [(each.job.id, each.fate) for each in settlements],
            [
                (17, Retired(OutgoingEvent.DELIVERED, None)),
                (19, Retired(OutgoingEvent.FAILED, None)),
            ],
        )

    def test_cut_counts(self) -> None:
        """A slow attempt that is cut is a transient failure with words for the history."""
        attempt = self.work.unfinished(Batch((job(), job(id=18)), NOW), "cut")
        cut = Failed(permanent=False, error="cut")
        self.assertEqual(attempt, Attempt({17: cut, 18: cut}))
        self.assertNotIsInstance(cut, Delivered)

    def test_cut_keeps_known_fates(self) -> None:
        """Q-19: whom the server took before an attempt was cut stays delivered."""
        known = Attempt({18: DELIVERED}, {"mx.example": ()})
        attempt = self.work.unfinished(Batch((job(), job(id=18)), NOW), "cut", known)
        self.assertEqual(
            attempt,
            Attempt({17: Failed(permanent=False, error="cut"), 18: DELIVERED}, {"mx.example": ()}),
        )


class DetainedTests(MailTestCase):
    """Mail of senders that may send nothing at present."""

    def test_before_all_else(self) -> None:
        """
        A transient failure for every recipient, without a connection, also for
        one who is on the suppression list (Q-14).
        """
        reason = Unreachable(permanent=False, status="3.2", error="example is disabled")
        detained: list[Job] = []

        def why(job: Job) -> Unreachable:
            detained.append(job)
            return reason

        work = MailWork(
            self.clock,
            self.store,
            self.deliver,
            FewAccounts(),  # type: ignore[arg-type]  # has its methods
            settings=QueueSettings(),
            hostname=self.hostname,
            randint=lambda low, high: min(max(0, low), high),
            unique=lambda: "u1",
            detained=why,
        )
        jobs = (job(), job(id=18, suppressed=True))
        attempting = Deferred.fromCoroutine(work.attempt(Batch(jobs, NOW)))
        failed = Failed(permanent=False, error="example is disabled", status="3.2")
        self.assertEqual(Attempt({17: failed, 18: failed}), self.successResultOf(attempting))
        self.assertEqual([], self.attempted)
        self.assertEqual([jobs[0]], detained)
