"""What is known of a batch while it is being delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from moxsmtp.names import IPAddress
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.queue.job import (
    TRACE_LINE,
    TRACE_LINES,
    Attempt,
    Batch,
    Delivered,
    Failed,
    Job,
    Outcome,
    RemoteMTA,
)
from moxsmtp.smtp.mailing import Accepted, Fate, Mailing, Refusal
from moxsmtp.smtp.notification import NO_WISHES

__all__ = ["Progress"]


class Progress:
    """
    Of one attempt at a batch.

    @ivar left: Jobs that another host may still take.
    @ivar visited: Names of hosts that had their say.
    @ivar dialed: Addresses that it went to, by host.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.left = list(batch.jobs)
        self.visited: set[str] = set()
        self.dialed: dict[str, tuple[IPAddress, ...]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._trace: list[str] = []
        self._rests_until: datetime | None = None

    # -- what is to be sent

    def mailing(self, *, require_tls: bool) -> Mailing:
        """The message, to those who are left."""
        leader = self.batch.leader
        wishes = tuple(job.wishes for job in self.left)
        return Mailing(
            reverse_path=leader.reverse_path,
            forward_paths=tuple(job.forward_path for job in self.left),
            size=leader.size,
            has_8bit=leader.has_8bit or not leader.prefix.isascii(),
            smtputf8=leader.smtputf8,
            wishes=wishes if any(wish is not NO_WISHES for wish in wishes) else (),
            require_tls=require_tls,
            alternative_size=None if leader.alternative is None else leader.alternative_size,
        )

    # -- what became of it

    def heed(self, fates: Sequence[Fate | None], remote: RemoteMTA, *, other_family: bool) -> None:
        """
        What a host said to those who are left; nothing of whom it said nothing.

        @param other_family: A refusal on policy may be meant for the address
            that we came from; the next attempt comes from one of the other
            family (Q-33).
        """
        for job, fate in zip(tuple(self.left), fates, strict=False):
            if fate is None:
                continue
            outcome = _outcome(fate, remote)
            # What we found out ourselves has nothing to do with where we come from.
            if (
                other_family
                and isinstance(outcome, Failed)
                and outcome.reply
                and outcome.status.startswith("7.")
            ):
                outcome = replace(outcome, permanent=False)
            if isinstance(fate, Refusal) and fate.elsewhere:
                self._put_down_to_host(job, outcome)
            else:
                self._record(job, outcome)

    def refuse(self, found: Unreachable) -> None:
        """One host gets nothing, or cannot be reached; another one may."""
        failed = _failed(found)
        for job in self.left:
            self._put_down_to_host(job, failed)

    def fail(self, found: Unreachable) -> None:
        """There is no way at all for those who are left."""
        failed = _failed(found)
        for job in tuple(self.left):
            self._record(job, failed)

    def _record(self, job: Job, outcome: Outcome) -> None:
        """The latest outcome counts; only transient failures leave a job to be done (Q-34)."""
        self._outcomes[job.id] = outcome
        if isinstance(outcome, Delivered) or outcome.permanent:
            self.left.remove(job)

    def _put_down_to_host(self, job: Job, outcome: Outcome) -> None:
        """For good is what a host says of itself if all before it said the same (Q-61, Q-95)."""
        before = self._outcomes.get(job.id)
        if isinstance(outcome, Failed) and isinstance(before, Failed) and not before.permanent:
            outcome = replace(outcome, permanent=False)
        self._outcomes[job.id] = outcome

    def note_dialed(self, name: str, address: IPAddress) -> None:
        """It goes there: over a new connection, or one that stood already."""
        self.dialed[name] = (*self.dialed.get(name, ()), address)

    # -- the trace

    def note(self, *lines: str) -> None:
        """Lines for people; what is too much is left out."""
        room = TRACE_LINES - len(self._trace)
        self._trace += [_tidy(line) for line in lines[: max(0, room)]]

    @property
    def trace(self) -> tuple[str, ...]:
        """So far."""
        return tuple(self._trace)

    # -- the end

    def postpone(self, until: datetime) -> None:
        """There is no room: who has met nothing yet is put back, uncounted (Q-93)."""
        self._rests_until = until

    def attempt(self) -> Attempt:
        """What all met."""
        if self._rests_until is not None and any(j.id not in self._outcomes for j in self.left):
            return Attempt(self._outcomes, self.dialed, self.trace, self._rests_until)
        for job in self.left:
            self._outcomes.setdefault(job.id, Failed(permanent=False, error="not tried"))
        return Attempt(self._outcomes, self.dialed, self.trace)

    def final(self) -> Attempt:
        """Only what no other host can change."""
        left = {job.id for job in self.left}
        outcomes = {n: outcome for n, outcome in self._outcomes.items() if n not in left}
        return Attempt(outcomes, self.dialed, self.trace)


def _tidy(line: str) -> str:
    """One line that any terminal can show: what a server says may be anything."""
    line = line[:TRACE_LINE].replace("\n", " ")
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else " " for character in line)


def _failed(found: Unreachable) -> Failed:
    return Failed(
        permanent=found.permanent, error=found.error, code=found.code, status=found.status
    )


def _outcome(fate: Fate, remote: RemoteMTA) -> Outcome:
    match fate:
        case Accepted(reply=reply, status=status, handed_on=handed_on):
            return Delivered(
                remote, code=reply.code, status=status, reply=reply.text, handed_on=handed_on
            )
        case Refusal():
            return Failed(
                permanent=fate.permanent,
                error=fate.error,
                code=fate.code,
                status=fate.status,
                remote=remote,
                reply=fate.reply.text if fate.reply is not None else "",
            )
