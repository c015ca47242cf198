"""The statements of the store, by the same tests as on SQLite, on PostgreSQL."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import bindparam, insert, select, text
from twisted.internet.defer import Deferred, gatherResults

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.job import Job, Lease, Retired, Retry, Settlement
from moxsmtp.store import postgresql
from moxsmtp.store.database import Database, Transaction
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.jobs import JobStore
from moxsmtp.store.postgresql import PostgreSQLDatabase
from moxsmtp.store.schema import identity, job
from moxsmtp.store.spool import Contents
from tests.doubles import InlinePool
from tests.peers.postgresql import OnPostgreSQL, cluster
from tests.peers.process import PATIENCE, until
from tests.store import (
    test_accounts,
    test_client_keys,
    test_duties,
    test_echoes,
    test_hand_overs,
    test_history,
    test_hold_rules,
    test_hook_admin,
    test_hook_pages,
    test_hooks,
    test_jobs,
    test_leases,
    test_messages,
    test_queue_admin,
    test_queue_model,
    test_queue_pages,
    test_queueing,
    test_sending,
    test_sts_policies,
    test_suppressions,
    test_taking,
    test_tls_results,
    test_tls_seen,
)
from tests.store.contract import NOW, Contract, new_hook, new_job, result, spooled
from tests.store.engine import CountingReactor

_LOCK = select(job.c.id).where(job.c.id == bindparam("id")).with_for_update()
_LOCK_AT_ONCE = select(job.c.id).where(job.c.id == bindparam("id")).with_for_update(nowait=True)
_ADD = insert(identity).values(name=bindparam("name"), value=b"")
_LOCK_TIMEOUT = text("SET LOCAL deadlock_timeout = '50ms'")

#: Who waits for a lock; what those who write have locked.
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)
_WRITTEN = (
    "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
    " WHERE mode = 'RowExclusiveLock' AND relnamespace = 'public'::regnamespace"
)


class StoreOnPostgreSQL(OnPostgreSQL, Contract):
    """Makes a contract's database on PostgreSQL."""

    def make_database(self) -> tuple[Database, Contents]:
        """Content goes into rows, through files that do not stay."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.reactor = CountingReactor()
        files = ContentFiles(Path(folder.name))
        database = PostgreSQLDatabase(self.reactor, self.url, files)
        contents = Contents(
            self.reactor,
            InlinePool(),
            files,
            memory=2**20,
            keep_files=False,
            has_room=lambda: True,
        )
        return database, contents


class MailStoreTests(StoreOnPostgreSQL, test_messages.MailStoreTests):
    """Accepted mail."""


class MatchTests(StoreOnPostgreSQL, test_echoes.MatchTests):
    """What comes back, and what it is about."""


class SuppressionTests(StoreOnPostgreSQL, test_echoes.SuppressionTests):
    """What it puts on lists."""


class HandOversTests(StoreOnPostgreSQL, test_hand_overs.HandOversTests):
    """Messages on their way into a Maildir."""


class TLSResultsTests(StoreOnPostgreSQL, test_tls_results.TLSResultsTests):
    """What deliveries came to as regards TLS."""


class TLSSeenTests(StoreOnPostgreSQL, test_tls_seen.TLSSeenTests):
    """What domains offered."""


class LeasesTests(StoreOnPostgreSQL, test_leases.LeasesTests):
    """Who owns a destination."""


class DutyTests(StoreOnPostgreSQL, test_duties.DutyTests):
    """Which process has a duty."""


class AddTests(StoreOnPostgreSQL, test_jobs.AddTests):
    """Jobs into the queue."""


class SeveralTests(StoreOnPostgreSQL, test_taking.SeveralTests):
    """Jobs are taken, several at once."""


class SlotTests(StoreOnPostgreSQL, test_taking.SlotTests):
    """Several workers on one destination."""


class TakeTests(StoreOnPostgreSQL, test_jobs.TakeTests):
    """Jobs out for an attempt."""


class SettleTests(StoreOnPostgreSQL, test_jobs.SettleTests):
    """What attempts meant."""


class QueueModelTests(StoreOnPostgreSQL, test_queue_model.QueueModelTests):
    """Random work."""


class ChangeTests(StoreOnPostgreSQL, test_queue_admin.ChangeTests):
    """What administrators change."""


class EndTests(StoreOnPostgreSQL, test_queue_admin.EndTests):
    """What they take out."""


class PageTests(StoreOnPostgreSQL, test_queue_pages.PageTests):
    """The queue, searched."""


class RetiredTests(StoreOnPostgreSQL, test_queue_pages.RetiredTests):
    """Its history, searched."""


class HookPageTests(StoreOnPostgreSQL, test_hook_pages.HookPageTests):
    """Webhook calls, searched."""


class HookAdminTests(StoreOnPostgreSQL, test_hook_admin.HookAdminTests):
    """What administrators do to them."""


class HoldRuleTests(StoreOnPostgreSQL, test_hold_rules.HoldRuleTests):
    """Rules by which mail is held."""


class ListTests(StoreOnPostgreSQL, test_suppressions.SuppressionTests):
    """Suppression lists."""


class FailedBeforeTests(StoreOnPostgreSQL, test_suppressions.FailedBeforeTests):
    """What the history says of a recipient."""


class QuotaTests(StoreOnPostgreSQL, test_queueing.QuotaTests):
    """What an account may have waiting."""


class AlternativeTests(StoreOnPostgreSQL, test_queueing.AlternativeTests):
    """Messages that have a second form."""


class HookStoreTests(StoreOnPostgreSQL, test_hooks.HookStoreTests):
    """Webhook calls."""


class CredentialsTests(StoreOnPostgreSQL, test_accounts.CredentialsTests):
    """Derivatives of passwords."""


class ClientKeysTests(StoreOnPostgreSQL, test_client_keys.ClientKeysTests):
    """Keys of TLS client certificates."""


class ClientKeyMemoryTests(StoreOnPostgreSQL, test_client_keys.MemoryTests):
    """What is known of them without asking the store."""


class StsPoliciesTests(StoreOnPostgreSQL, test_sts_policies.StsPoliciesTests):
    """MTA-STS policies of other domains."""


class PrefixedContentTests(StoreOnPostgreSQL, test_messages.PrefixedContentTests):
    """Header fields of ours before content."""


class IdentityTests(StoreOnPostgreSQL, test_accounts.IdentityTests):
    """Secrets of the installation."""


class SendingTests(StoreOnPostgreSQL, test_sending.SendingTests):
    """Limits on sending."""


class HistoryTests(StoreOnPostgreSQL, test_history.HistoryTests):
    """The end of history."""


class AtOnceTests(StoreOnPostgreSQL):
    """Several transactions at a time."""

    def test_nothing_lost(self) -> None:
        """
        While some add jobs and others claim, take, settle and give back the
        same few destinations, each job is taken once.
        """
        self.taken: list[int] = []
        added = [Deferred.fromCoroutine(self.add_some(number)) for number in range(60)]
        nodes = [self.job_store(owner) for owner in ("one", "two", "three", "four")]
        work = [Deferred.fromCoroutine(self.work(node, 180)) for node in nodes]
        self.wait(gatherResults([*added, *work]))
        self.assertEqual(sorted(self.taken), list(range(1, 181)))
        self.assertEqual((self.rows("job"), self.rows("content")), ([], []))
        self.assertEqual([row["owner"] for row in self.rows("destination")], [None])

    async def add_some(self, number: int) -> None:
        """Three jobs, their destinations in any order."""
        names = [f"a@{'abcde'[(number * step) % 5]}.example" for step in (1, 2, 3)]
        await self.jobs.add(spooled(), [new_job(name) for name in names])

    async def work(self, node: JobStore, total: int) -> None:
        """Until all is done."""
        while len(self.taken) < total:
            until = self.time + timedelta(hours=1)
            for lease in await node.claim(2, self.time, until, troubled=True):
                await self.deliver(node, lease)

    async def deliver(self, node: JobStore, lease: Lease) -> None:
        """One batch of a destination."""
        batch = await node.take(lease, self.time, self.in_ten_minutes)
        if batch is not None:
            done = Retired(OutgoingEvent.DELIVERED, None)
            self.taken += [job.id for job in batch.jobs]
            await node.settle(
                lease,
                [
                    Settlement(job, done, result(), hook=new_hook(queue_id=job.id))
                    for job in batch.jobs
                ],
            )
        await node.release(lease, troubled=False)


class OrderTests(StoreOnPostgreSQL):
    """What two transactions have in common they lock in one order."""

    def setUp(self) -> None:
        """One that waits for us to see another waiting is not taken for frozen."""
        self.patch(postgresql, "SILENCE", int(PATIENCE))
        super().setUp()

    def query(self, statement: str) -> str:
        """What it gives."""
        return cluster().query(self.url.rpartition("/")[2], statement)

    def wait_for_waiting(self) -> None:
        """Until somebody waits for a lock."""
        until(lambda: self.query(_WAITING) == "1", what="somebody waits for a lock")

    def two_taken(self) -> tuple[Lease, Sequence[Job]]:
        """Two jobs of a batch."""
        self.add(new_job("a@example.org"), new_job("b@example.org"))
        (lease,) = self.claim()
        return lease, self.take(lease)

    def locks_both(self, numbers: Sequence[int]) -> Deferred[None]:
        """A transaction that has the first, and wants the second when somebody waits for it."""
        has_first = threading.Event()

        def work(tx: Transaction) -> None:
            tx.execute(_LOCK, {"id": numbers[0]})
            has_first.set()
            self.wait_for_waiting()
            tx.execute(_LOCK_AT_ONCE, {"id": numbers[1]})

        locked = self.database.transact(work)
        self.assertTrue(has_first.wait(PATIENCE))
        return locked

    def test_settlement(self) -> None:
        """
        A settlement in which the later job is done with and the earlier one waits locks the
        earlier one first, as administrators do: none of them waits for the other in turn.
        """
        lease, (first, second) = self.two_taken()
        locked = self.locks_both([first.id, second.id])
        settled = Deferred.fromCoroutine(
            self.jobs.settle(
                lease,
                [
                    Settlement(first, Retry(NOW + timedelta(hours=1)), result()),
                    Settlement(second, Retired(OutgoingEvent.DELIVERED, None), result()),
                ],
            )
        )
        self.wait(gatherResults([locked, settled]))
        self.successResultOf(locked)
        self.assertEqual([row["id"] for row in self.rows("job")], [first.id])

    def test_history(self) -> None:
        """
        What an administrator ends while it is being settled gets one line of the history,
        his; until he is done, the settlement has written nothing that he would wait for.
        """
        lease, (_, ours) = self.two_taken()
        kept = Retired(OutgoingEvent.DELIVERED, NOW + timedelta(days=1))
        written: list[str] = []
        is_ending = threading.Event()

        def ended(found: Job, _: bytes) -> Settlement:
            is_ending.set()
            self.wait_for_waiting()
            written.append(self.query(_WRITTEN))
            return Settlement(found, Retired(OutgoingEvent.CANCELED, kept.keep_until), result())

        end = Deferred.fromCoroutine(self.admin.end([ours.id], ended))
        self.assertTrue(is_ending.wait(PATIENCE))
        settled = Deferred.fromCoroutine(
            self.jobs.settle(lease, [Settlement(ours, kept, result())])
        )
        self.wait(gatherResults([end, settled]))
        self.assertEqual(written, ["0"])
        self.assertEqual([row["event"] for row in self.rows("retired_job")], ["canceled"])

    def test_deadlock(self) -> None:
        """
        Of two that wait for each other all the same, the one that the server chooses runs
        again from its start: both are done, once.
        """
        _, (first, second) = self.two_taken()
        both = threading.Barrier(2)
        runs: list[str] = []

        def locks(name: str, numbers: Sequence[int]) -> Callable[[Transaction], None]:
            def work(tx: Transaction) -> None:
                tx.execute(_LOCK_TIMEOUT)
                tx.execute(_ADD, {"name": name})
                tx.execute(_LOCK, {"id": numbers[0]})
                runs.append(name)
                if len(runs) <= both.parties:
                    both.wait(PATIENCE)
                tx.execute(_LOCK, {"id": numbers[1]})

            return work

        ids = [first.id, second.id]
        self.wait(
            gatherResults(
                [
                    self.database.transact(locks("one", ids)),
                    self.database.transact(locks("two", ids[::-1])),
                ]
            )
        )
        self.assertEqual(len(runs), 3)
        self.assertEqual([row["name"] for row in self.rows("identity")], ["one", "two"])
