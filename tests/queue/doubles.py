"""Storage of the queue in memory, and work that does what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from moxsmtp.interfaces import IContent, StorageUnavailable
from moxsmtp.queue.job import Batch, Hook, HookResult, Job, Lease, LeaseLost, Settlement
from moxsmtp.queue.storage import IHookStore, IJobStore, ILeases

__all__ = ["Destination", "Errands", "MemoryContent", "MemoryHooks", "MemoryJobs", "MemoryLeases"]


@dataclass
class Destination:
    """@ivar due: When its tasks are due, in seconds, sorted."""

    due: list[float] = field(default_factory=list)
    troubled: bool = False
    owned: bool = False
    fence: int = 0


@implementer(ILeases)
class MemoryLeases:
    """
    Leased destinations with tasks that are only times.

    @ivar failing: Every call ends in it.
    @ivar claims: Time and arguments of each claim.
    @ivar renewed_for: For how long all are renewed, in seconds, each time.
    @ivar rests: Until when nobody is to work on what was given back.
    @ivar lost: Names whose lease is not renewed any more.
    @ivar slot: Which one of a destination is claimed.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.destinations: dict[str, Destination] = {}
        self.failing: Exception | None = None
        self.claims: list[tuple[float, int, bool]] = []
        self.renewals: list[Sequence[Lease]] = []
        self.renewed_for: list[float] = []
        self.lost: set[str] = set()
        self.rests: list[datetime | None] = []
        self.slot = 0
        self.voided = 0
        self.dead = 0
        self._seconds = seconds

    def add(self, name: str, *due: float, troubled: bool = False) -> None:
        """Tasks for C{name}."""
        destination = self.destinations.setdefault(name, Destination(troubled=troubled))
        destination.due = sorted([*destination.due, *(due or (self._seconds(),))])

    def check(self) -> None:
        """@raise Exception: What the test wants."""
        if self.failing is not None:
            raise self.failing

    async def claim(
        self, count: int, now: datetime, until: datetime, *, troubled: bool
    ) -> Sequence[Lease]:
        """The longest due."""
        self.claims.append((self._seconds(), count, troubled))
        self.check()
        if until <= now or count < 1:
            raise ValueError("a lease that ends before it begins, or none")
        ready = [
            (destination.due[0], name)
            for name, destination in self.destinations.items()
            if destination.due
            and destination.due[0] <= now.timestamp()
            and not destination.owned
            and (troubled or not destination.troubled)
        ]
        leases = []
        for _, name in sorted(ready)[:count]:
            destination = self.destinations[name]
            destination.owned = True
            destination.fence += 1
            leases.append(Lease("mail", name, self.slot, destination.fence, destination.troubled))
        return leases

    async def renew(self, leases: Sequence[Lease], until: datetime) -> Sequence[Lease]:
        """All but the lost ones."""
        self.check()
        self.renewed_for.append(until.timestamp() - self._seconds())
        self.renewals.append(leases)
        return [lease for lease in leases if lease.name not in self.lost]

    async def release(
        self, lease: Lease, *, troubled: bool, rests_until: datetime | None = None
    ) -> None:
        """Give it back."""
        self.check()
        self.rests.append(rests_until)
        destination = self.destinations[lease.name]
        destination.owned = False
        destination.troubled = troubled

    async def next_due(self) -> datetime | None:
        """Of those that nobody owns."""
        self.check()
        due = [d.due[0] for d in self.destinations.values() if d.due and not d.owned]
        return datetime.fromtimestamp(min(due), UTC) if due else None

    async def void(self) -> int:
        """End all leases."""
        self.check()
        self.voided += 1
        for destination in self.destinations.values():
            destination.owned = False
        return self.dead


class Errands:
    """
    Work over L{MemoryLeases}: each attempt ends as the test says.

    @ivar behaviour: What an attempt at a destination does; by default it ends
        well at once.  May give a Deferred.
    @ivar settled: Destination and outcome, in order.
    @ivar under_way: Attempts at this moment.
    @ivar most: The most of them at one time.
    @ivar untakeable: Destinations where nothing is to be had.
    @ivar rest: Until when nobody is to work on what is given back.
    @ivar left: Destinations given back, in order.
    @ivar forgotten: Those that were worked on and are not any more.
    @ivar silent: Destinations that say nothing for as long as an attempt lasts.
    @ivar unsettled: How often settling fails before it works.
    """

    def __init__(self, leases: MemoryLeases, seconds: Callable[[], float]) -> None:
        self.behaviour: dict[str, Callable[[], Deferred[str] | str]] = {}
        self.settled: list[tuple[str, str]] = []
        self.settled_at: dict[str, float] = {}
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.under_way: list[str] = []
        self.most = 0
        self.untakeable: set[str] = set()
        self.unsettled = 0
        self.silent: set[str] = set()
        self.most_unrecorded = 0
        self.linger = 0.0
        self.rest: datetime | None = None
        self.left: list[str] = []
        self.forgotten: list[str] = []
        self.retry_after = 1000.0
        self._leases = leases
        self._seconds = seconds

    async def take(self, lease: Lease) -> str | None:
        """Its name, if something is due."""
        self._leases.check()
        if lease.name in self.untakeable:
            return None
        destination = self._leases.destinations[lease.name]
        if destination.due and destination.due[0] <= self._seconds():
            destination.due.pop(0)
            return lease.name
        return None

    async def attempt(self, task: str) -> str:
        """What the test wants."""
        self.started.append(task)
        self.under_way.append(task)
        self.most = max(self.most, len(self.under_way))
        try:
            outcome = self.behaviour.get(task, lambda: "ok")()
            return await outcome if isinstance(outcome, Deferred) else outcome
        except CancelledError:
            self.cancelled.append(task)
            raise
        finally:
            self.under_way.remove(task)

    def is_waiting(self, task: str, seconds: float) -> bool:
        """If it is told to say nothing."""
        del seconds
        return task in self.silent

    def unfinished(self, task: str, error: str, known: str | None = None) -> str:
        """Says so."""
        return f"{known}, failed: {error}" if known else f"failed: {error}"

    async def settle(self, lease: Lease, task: str, found: str) -> None:
        """What failed is due again later."""
        self._leases.check()
        if self.unsettled:
            self.unsettled -= 1
            raise StorageUnavailable("locked")
        if lease.name in self._leases.lost:
            raise LeaseLost(lease.name)
        self.settled.append((task, found))
        self.settled_at[task] = self._seconds()
        if found != "ok":
            self._leases.add(task, self._seconds() + self.retry_after)

    def is_trouble(self, found: str) -> bool:
        """Unless all went well."""
        return found != "ok"

    async def leave(self, lease: Lease) -> datetime | None:
        """Nothing was taken ahead."""
        self.left.append(lease.name)
        return self.rest

    def forget(self, lease: Lease) -> None:
        """It is over."""
        self.forgotten.append(lease.name)


@implementer(IContent)
class MemoryContent:
    """@ivar failing: Reading ends in it."""

    def __init__(self, octets: bytes, failing: Exception | None = None) -> None:
        self.size: int = len(octets)
        self.failing = failing
        self._octets = octets

    async def read(self, offset: int, length: int) -> bytes:
        """A piece."""
        if self.failing is not None:
            raise self.failing
        return self._octets[offset : offset + length]


@implementer(IJobStore)
class MemoryJobs(MemoryLeases):
    """
    @ivar batches: What is taken, in order.
    @ivar wanted: How many batches, and for how many workers, each time.
    @ivar put: What was put back, and until when.
    @ivar gone: Numbers of jobs that are there no more, if they are put back.
    @ivar altered: Numbers of jobs that were changed since they were taken.
    @ivar looked_at: Of which jobs it was asked whether they were, each time.
    @ivar settlements: What was settled, one list for each transaction.
    @ivar failed: Numbers of jobs before which two others failed.
    @ivar asked: Numbers of jobs about which that was asked.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__(seconds)
        self.batches: list[Batch] = []
        self.wanted: list[tuple[int, int]] = []
        self.put: list[tuple[tuple[Batch, ...], datetime]] = []
        self.gone: set[int] = set()
        self.altered: set[int] = set()
        self.looked_at: list[list[int]] = []
        self.planned: list[datetime] = []
        self.settlements: list[Sequence[Settlement]] = []
        self.contents: dict[int, MemoryContent] = {}
        self.failed: set[int] = set()
        self.asked: list[int] = []

    async def take(
        self, lease: Lease, now: datetime, next_attempt: Callable[[int], datetime]
    ) -> Batch | None:
        """The next batch."""
        del lease, now
        self.check()
        if not self.batches:
            return None
        batch = self.batches.pop(0)
        self.planned.append(next_attempt(batch.leader.attempts))
        return batch

    async def take_several(
        self,
        lease: Lease,
        now: datetime,
        next_attempt: Callable[[int], datetime],
        *,
        count: int,
        slots: int,
    ) -> Sequence[Batch]:
        """The next ones."""
        self.wanted.append((count, slots))
        taken: list[Batch] = []
        while len(taken) < count:
            batch = await self.take(lease, now, next_attempt)
            if batch is None:
                break
            taken.append(batch)
        return taken

    async def changed(self, jobs: Sequence[Job]) -> frozenset[int]:
        """Those that were altered, or are gone."""
        self.check()
        self.looked_at.append([job.id for job in jobs])
        return frozenset(job.id for job in jobs if job.id in self.altered | self.gone)

    async def put_back(self, lease: Lease, batches: Sequence[Batch], until: datetime) -> None:
        """They are next again, save what is gone."""
        del lease
        self.check()
        self.put.append((tuple(batches), until))
        self.batches[:0] = [batch for batch in batches if batch.leader.id not in self.gone]

    async def settle(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """Keep them."""
        self.check()
        if lease.name in self.lost:
            raise LeaseLost(lease.name)
        self.settlements.append(settlements)

    async def failed_before(self, job: Job) -> bool:
        """What the test says."""
        self.check()
        self.asked.append(job.id)
        return job.id in self.failed

    def content(self, job: Job) -> IContent:
        """What the test has put there."""
        content: IContent = self.contents[job.content]
        return content

    def alternative(self, job: Job) -> IContent | None:
        """Likewise."""
        return None if job.alternative is None else self.contents[job.alternative]


@implementer(IHookStore)
class MemoryHooks(MemoryLeases):
    """@ivar results: Hook, result, how long it is kept, whether it is repeated."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__(seconds)
        self.hooks: list[Hook] = []
        self.planned: list[datetime] = []
        self.results: list[tuple[Hook, HookResult, object, bool]] = []

    async def take(
        self, lease: Lease, now: datetime, next_attempt: Callable[[Hook], datetime]
    ) -> Hook | None:
        """The next one."""
        del lease, now
        self.check()
        if not self.hooks:
            return None
        hook = self.hooks.pop(0)
        self.planned.append(next_attempt(hook))
        return hook

    async def settle(
        self, lease: Lease, hook: Hook, result: HookResult, *, keep: object, retry: bool
    ) -> None:
        """Keep it."""
        del lease
        self.check()
        self.results.append((hook, result, keep, retry))
