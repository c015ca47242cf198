"""What administrators change about jobs and webhook calls that wait.  Q-23."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.interfaces import RequireTLS
from moxsmtp.queue.job import Job

__all__ = ["EARLIEST", "LATEST", "Change"]

#: Between these, times of attempts stay times that any part can write.
EARLIEST: Final = timedelta(days=-365)
LATEST: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    What is L{None} stays as it is.

    @ivar next_attempt: A time; C{delay} is added to that which a job has.
    @ivar transport: Forced; empty: as the routes say.
    """

    hold: bool | None = None
    next_attempt: datetime | None = None
    delay: timedelta | None = None
    transport: str | None = None
    require_tls: RequireTLS | None = None

    def applied(self, job: Job, now: datetime) -> Job:
        """The job as it is afterwards."""
        return replace(
            job,
            hold=job.hold if self.hold is None else self.hold,
            next_attempt=self.moved(job.next_attempt, now),
            transport=job.transport if self.transport is None else self.transport,
            require_tls=job.require_tls if self.require_tls is None else self.require_tls,
        )

    def moved(self, moment: datetime, now: datetime) -> datetime:
        """The time of the next attempt afterwards; webhook calls have one, too."""
        if self.next_attempt is not None:
            moment = self.next_attempt
        if self.delay is not None:
            # Compared before they are added: sums of far times have no value.
            delay = min(max(self.delay, EARLIEST - LATEST), LATEST - EARLIEST)
            moment = min(max(moment, now + EARLIEST), now + LATEST) + delay
        return min(max(moment, now + EARLIEST), now + LATEST)
