"""The statements of the store, by the same tests as on SQLite, on PostgreSQL."""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from moxsmtp.interfaces import OutgoingEvent
from moxsmtp.queue.job import Lease, Retired, Settlement
from moxsmtp.store.database import Database
from moxsmtp.store.files import ContentFiles
from moxsmtp.store.jobs import JobStore
from moxsmtp.store.postgresql import PostgreSQLDatabase, prepare_postgresql
from moxsmtp.store.spool import Contents
from tests.doubles import InlinePool
from tests.peers.postgresql import PostgreSQL
from tests.peers.process import PeerTestCase
from tests.store import (
    test_accounts,
    test_hand_overs,
    test_history,
    test_hooks,
    test_jobs,
    test_leases,
    test_messages,
    test_queue_admin,
    test_queue_model,
)
from tests.store.contract import Contract, new_hook, new_job, result, spooled
from tests.store.engine import CountingReactor


class _Cluster:
    """One for all tests, each with a database of its own."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="mox"))
        folder.chmod(0o755)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self._server = PostgreSQL(folder / "postgresql")
        atexit.register(self._server.end)
        self._numbers = itertools.count()

    def database(self) -> str:
        """The URL of an empty one."""
        url = self._server.database(f"statements{next(self._numbers)}")
        prepare_postgresql(url)
        return url


@functools.cache
def _cluster() -> _Cluster:
    return _Cluster()


class OnPostgreSQL(PeerTestCase):
    """In front of a contract: makes its database on PostgreSQL."""

    programs = ("initdb", "postgres", "psql")
    reactor: CountingReactor

    def setUp(self) -> None:
        """The programs, then the stores."""
        super().setUp()
        # What the contract does; that of a peer test calls no other.
        super(PeerTestCase, self).setUp()

    def make_database(self) -> tuple[Database, Contents]:
        """On the server."""
        self.reactor = CountingReactor()
        files = ContentFiles(self.folder)
        database = PostgreSQLDatabase(self.reactor, _cluster().database(), files)
        contents = Contents(
            self.reactor,
            InlinePool(),
            files,
            memory=2**20,
            keep_files=False,
            has_room=lambda: True,
        )
        return database, contents


class MailStoreTests(OnPostgreSQL, test_messages.MailStoreTests):
    """Accepted mail."""


class HandOversTests(OnPostgreSQL, test_hand_overs.HandOversTests):
    """Messages on their way into a Maildir."""


class LeasesTests(OnPostgreSQL, test_leases.LeasesTests):
    """Who owns a destination."""


class AddTests(OnPostgreSQL, test_jobs.AddTests):
    """Jobs into the queue."""


class TakeTests(OnPostgreSQL, test_jobs.TakeTests):
    """Jobs out for an attempt."""


class SettleTests(OnPostgreSQL, test_jobs.SettleTests):
    """What attempts meant."""


class QueueModelTests(OnPostgreSQL, test_queue_model.QueueModelTests):
    """Random work."""


class QueueAdminTests(OnPostgreSQL, test_queue_admin.QueueAdminTests):
    """The queue, for people."""


class HookStoreTests(OnPostgreSQL, test_hooks.HookStoreTests):
    """Webhook calls."""


class CredentialsTests(OnPostgreSQL, test_accounts.CredentialsTests):
    """Derivatives of passwords."""


class IdentityTests(OnPostgreSQL, test_accounts.IdentityTests):
    """Secrets of the installation."""


class HistoryTests(OnPostgreSQL, test_history.HistoryTests):
    """The end of history."""


class AtOnceTests(OnPostgreSQL, Contract):
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
