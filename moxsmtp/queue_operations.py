"""What operators may do to the queue of mail, joined from the parts that do it.  Q-23."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from moxsmtp.interfaces import IAccounts, IContent, NewHook, OutgoingEvent
from moxsmtp.names import Domain
from moxsmtp.queue.change import Change
from moxsmtp.queue.fate import Circumstances, postmaster_mailbox, unsigned
from moxsmtp.queue.filter import JobFilter
from moxsmtp.queue.job import Attempt, Failed, Job, Retired, Settlement
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.queue.settle import settle, settle_silently
from moxsmtp.store.queue_admin import CANCELED, QueueAdmin
from moxsmtp.webhooks.payload import outgoing_payload, wants

__all__ = ["QueueOperations"]

#: What an administrator does counts as no remote's word on the recipient.
_CANCELED = Failed(permanent=True, error=CANCELED)


class QueueOperations:
    """See L{moxsmtp.admin.ports.QueueAdmin}."""

    def __init__(
        self,
        admin: QueueAdmin,
        accounts: IAccounts,
        *,
        content: Callable[[Job], IContent],
        settings: QueueSettings,
        hostname: Domain,
        now: Callable[[], datetime],
        unique: Callable[[], str],
        sign: Callable[[bytes], bytes] = unsigned,
    ) -> None:
        """
        @param content: What stands behind a job's prefix.
        @param hostname: Who reports in DSNs.
        @param unique: Unguessable letters and digits, different in each call.
        @param sign: See L{Circumstances.sign}.
        """
        self._admin = admin
        self._accounts = accounts
        self._settings = settings
        self._hostname = hostname
        self._now = now
        self._unique = unique
        self._sign = sign
        self.content = content
        self.job = admin.job
        self.jobs = admin.jobs
        self.retired_jobs = admin.retired_jobs
        self.find_jobs = admin.find_jobs
        self.find_retired = admin.find_retired
        self.last_number = admin.last_number
        self.numbers = admin.numbers

    async def change(
        self, numbers: Sequence[int], wanted: JobFilter, change: Change
    ) -> Sequence[int]:
        """@return: Numbers of those that were changed."""
        return await self._admin.change(numbers, change, wanted)

    async def drop(self, numbers: Sequence[int], wanted: JobFilter) -> Sequence[int]:
        """
        Take jobs out of the queue, without a DSN: event C{canceled}.

        @return: Numbers of those that waited.
        """
        now = self._now()
        return await self._admin.end(numbers, lambda job, _: self._dropped(job, now), wanted)

    async def fail(self, numbers: Sequence[int], wanted: JobFilter) -> Sequence[int]:
        """
        Have jobs fail now, with a DSN to the sender: event C{failed}.

        @return: Numbers of those that waited.
        """
        now = self._now()
        return await self._admin.end(
            numbers,
            lambda job, original: self._failed(job, original, now),
            wanted,
            with_original=True,
        )

    def _circumstances(self, job: Job, now: datetime, original: bytes = b"") -> Circumstances:
        return Circumstances(
            hostname=self._hostname,
            settings=self._settings,
            started=now,
            now=now,
            account=self._accounts.account(job.account) if job.account else None,
            postmaster=self._accounts.postmaster(),
            postmaster_mailbox=postmaster_mailbox(self._accounts),
            header=original,
            unique=self._unique(),
            sign=self._sign,
        )

    def _failed(self, job: Job, original: bytes, now: datetime) -> Settlement:
        attempt = Attempt({job.id: _CANCELED})
        return settle(job, attempt, self._circumstances(job, now, original))

    def _dropped(self, job: Job, now: datetime) -> Settlement:
        silent = settle_silently(job, Attempt({job.id: _CANCELED}), self._circumstances(job, now))
        keep_until = silent.fate.keep_until if isinstance(silent.fate, Retired) else None
        return replace(
            silent,
            fate=Retired(OutgoingEvent.CANCELED, keep_until),
            hook=self._hook(job, now),
        )

    def _hook(self, job: Job, now: datetime) -> NewHook | None:
        account = self._accounts.account(job.account)
        target = account.outgoing_webhook if account else None
        if target is None or not wants(target, OutgoingEvent.CANCELED):
            return None
        return NewHook(
            account=job.account,
            target=target,
            event=OutgoingEvent.CANCELED,
            payload=outgoing_payload(job, OutgoingEvent.CANCELED, queued=now, failure=_CANCELED),
            queue_id=job.id,
            from_id=job.from_id,
            message_id=job.message_id,
            subject=job.subject,
            extra=job.extra,
        )
