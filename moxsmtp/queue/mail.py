"""
What the queue's runner does for mail: take a batch that is due, attempt to
deliver it, settle what became of each recipient.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.interfaces import IAccounts, StorageUnavailable
from moxsmtp.names import Domain
from moxsmtp.queue.job import Attempt, Batch, Failed, Job, Lease, Retry, Settlement
from moxsmtp.queue.schedule import Randint, next_attempt
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.settle import (
    Circumstances,
    bounces,
    in_trouble,
    outcome_of,
    returns_all,
    settle,
    settle_silently,
)
from moxsmtp.queue.storage import IJobStore

__all__ = ["MailWork"]

#: Octets of a header section that are sent back in a DSN.
_HEADER: Final = 256 * 1024

#: Octets of whole messages in the reports on one attempt; they are written at once.
_RETURNED: Final = 4 << 20

_PIECE: Final = 16 * 1024


class MailWork:
    """Queued mail as work for a runner."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IJobStore,
        deliver: Callable[[Batch], Awaitable[Attempt]],
        accounts: IAccounts,
        *,
        settings: QueueSettings,
        hostname: Domain,
        randint: Randint,
        unique: Callable[[], str],
    ) -> None:
        """
        @param deliver: Tries once, and says what each job of the batch met; if
            it is cancelled, what is known of some.
        @param hostname: Who reports in DSNs.
        @param unique: Unguessable letters and digits, different in each call.
        """
        self._clock = clock
        self._store = store
        self._deliver = deliver
        self._accounts = accounts
        self._settings = settings
        self._hostname = hostname
        self._randint = randint
        self._unique = unique

    async def take(self, lease: Lease) -> Batch | None:
        """What is due; counts and next times are saved first (Q-10)."""
        now = self._now()
        return await self._store.take(
            lease,
            now,
            lambda job: next_attempt(now, job.attempts, self._settings, self._randint),
        )

    async def attempt(self, task: Batch) -> Attempt:
        """Try to deliver.  Cancelled, it tells the fates that are known, if any."""
        return await self._deliver(task)

    def unfinished(self, task: Batch, error: str, known: Attempt | None = None) -> Attempt:
        """An attempt that was cut or broke down: a transient failure for all the rest."""
        known = known or Attempt({})
        failed = Failed(permanent=False, error=error)
        return replace(
            known, outcomes={job.id: known.outcomes.get(job.id, failed) for job in task.jobs}
        )

    async def settle(self, lease: Lease, task: Batch, found: Attempt) -> bool:
        """
        Record what became of each job that C{found} knows of, in one
        transaction; the others stay under way.

        @return: Whether the destination is in trouble.
        """
        now = self._now()
        jobs = [job for job in task.jobs if job.id in found.outcomes]
        header = b""
        told = [job for job in jobs if bounces(job, outcome_of(job, found), self._settings)]
        if told:
            whole = returns_all(told[0]) and len(told) * told[0].size <= _RETURNED
            header = await self._original(task.leader, whole=whole)
        settlements = [
            self._settlement(job, found, self._circumstances(job, task.started, now, header))
            for job in jobs
        ]
        await self._store.settle(lease, settlements)
        for settlement in settlements:
            self._report(settlement)
        return in_trouble(found)

    def _circumstances(
        self, job: Job, started: datetime, now: datetime, header: bytes
    ) -> Circumstances:
        return Circumstances(
            hostname=self._hostname,
            settings=self._settings,
            started=started,
            now=now,
            account=self._accounts.account(job.account) if job.account else None,
            postmaster=self._accounts.postmaster(),
            header=header,
            unique=self._unique(),
        )

    def _settlement(self, job: Job, attempt: Attempt, around: Circumstances) -> Settlement:
        try:
            return settle(job, attempt, around)
        except Exception:  # noqa: BLE001 - what cannot be told must still be recorded
            self._log.failure("cannot compose DSN or webhook of job {job}", job=job.id)
            return settle_silently(job, attempt, around)

    async def _original(self, job: Job, *, whole: bool) -> bytes:
        """
        The header section that was sent, or as much of it as can be had.

        @param whole: All of the message is to be sent back.
        """
        content = self._store.content(job)
        header = job.prefix
        most = job.size if whole else _HEADER
        try:
            while len(header) < most and (whole or b"\r\n\r\n" not in header[-_PIECE - 3 :]):
                piece = await content.read(len(header) - len(job.prefix), _PIECE)
                if not piece:
                    break
                header += piece
        except (CancelledError, StorageUnavailable):
            raise
        except Exception:  # noqa: BLE001 - a DSN without the header is better than none
            self._log.failure("cannot read the content of job {job}", job=job.id)
        return header[:most]

    def _report(self, settlement: Settlement) -> None:
        job, result = settlement.job, settlement.result
        if isinstance(settlement.fate, Retry):
            word, until = "delayed", f", next attempt {settlement.fate.next_attempt:%H:%M:%S}"
        else:
            word, until = settlement.fate.event.value, ""
        self._log.info(
            "{word} {recipient}, job {job}, attempt {attempt}: {code} {error}{until}",
            word=word,
            recipient=job.forward_path.unicode,
            job=job.id,
            attempt=job.attempts,
            code=result.code,
            error=result.error or "ok",
            until=until,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), UTC)
