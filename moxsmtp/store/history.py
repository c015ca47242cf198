"""The end of history (Q-1, Q-77), and the size of what waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Table, bindparam, delete, func, select, text
from sqlalchemy.sql.expression import Executable

from moxsmtp.store.columns import read_time, write_time
from moxsmtp.store.database import Database
from moxsmtp.store.schema import hook, job, retired_hook, retired_job
from moxsmtp.store.transaction import Transaction

__all__ = ["History", "Waiting"]


def _remove_old(table: Table) -> Executable:
    oldest = (
        select(table.c.id)
        .where(table.c.keep_until < bindparam("now"))
        .order_by(table.c.keep_until)
        .limit(bindparam("limit"))
    )
    return delete(table).where(table.c.id.in_(oldest))


_REMOVE_JOBS: Final = _remove_old(retired_job)
_REMOVE_HOOKS: Final = _remove_old(retired_hook)

# Each is answered by an index, however long the queue is.
_JOBS: Final = select(func.count()).select_from(job)
_UNHELD: Final = select(func.count()).select_from(job).where(text("hold = 0"))
_OLDEST_JOB: Final = select(job.c.queued).order_by(job.c.id).limit(1)
_HOOKS: Final = select(func.count()).select_from(hook)
_OLDEST_HOOK: Final = select(hook.c.submitted).order_by(hook.c.id).limit(1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    What waits.

    @ivar held: How many of C{jobs} are on hold.
    @ivar oldest_job: When it was queued; L{None}: there is none.
    @ivar oldest_hook: When it was submitted; L{None}: there is none.
    """

    jobs: int
    held: int
    oldest_job: datetime | None
    hooks: int
    oldest_hook: datetime | None


class History:
    """What cleaners and meters ask for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remove_retired_jobs(self, now: datetime, limit: int = 1000) -> int:
        """
        Forget jobs whose time is over, the longest over first.

        @param limit: At most so many at once, for others wait meanwhile.
        @return: How many; less than C{limit}: that was all.
        """
        return await self._remove(_REMOVE_JOBS, now, limit)

    async def remove_retired_hooks(self, now: datetime, limit: int = 1000) -> int:
        """As L{remove_retired_jobs}, of webhooks."""
        return await self._remove(_REMOVE_HOOKS, now, limit)

    async def _remove(self, statement: Executable, now: datetime, limit: int) -> int:
        def work(tx: Transaction) -> int:
            tx.execute(statement, {"now": write_time(now), "limit": limit})
            return tx.changed

        return await self._database.transact(work)

    async def waiting(self) -> Waiting:
        """Count."""

        def work(tx: Transaction) -> Waiting:
            ((jobs,),) = tx.execute(_JOBS)
            ((unheld,),) = tx.execute(_UNHELD)
            ((hooks,),) = tx.execute(_HOOKS)
            return Waiting(
                jobs=jobs,
                held=jobs - unheld,
                oldest_job=_first_time(tx, _OLDEST_JOB),
                hooks=hooks,
                oldest_hook=_first_time(tx, _OLDEST_HOOK),
            )

        return await self._database.read(work)


def _first_time(tx: Transaction, statement: Executable) -> datetime | None:
    rows = tx.execute(statement)
    return read_time(rows[0][0]) if rows else None
