"""
One attempt to deliver a batch, from top to bottom: its transport, the hosts of
its destination in order, what each of them demands, a session, the message, and
what became of every recipient.  RFC 5321 section 5.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Protocol

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moxsmtp.interfaces import IMetrics
from moxsmtp.names import Host
from moxsmtp.outbound.content import Forms
from moxsmtp.outbound.lately import Key, Lately
from moxsmtp.outbound.progress import Progress
from moxsmtp.outbound.route import Consignment, Router, failure_of
from moxsmtp.outbound.transport import Direct, Fail, Smarthost, Socks
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.outbound.visit import Visit, Visits
from moxsmtp.outbound.ways import Environment, Target, Way, way_of
from moxsmtp.queue.job import Attempt, Batch, Job
from moxsmtp.queue.shaping import Shaper
from moxsmtp.tlsrpt import TLSResult

__all__ = ["Deliver", "Records"]

#: Where an attempt is that has not come to a host yet.
_NOWHERE: Final = Visit()

#: Until there may be room at a site that has none (Q-93).
_CROWDED: Final = timedelta(seconds=1)


class Records(Protocol):
    """What is remembered of sessions."""

    def results(self, results: Sequence[TLSResult]) -> None:
        """For reports (Q-85)."""

    def seen(self, job: Job, *, starttls: bool, require_tls: bool) -> Awaitable[None]:
        """What a recipient domain's server announced (Q-62)."""


class _Measured:
    """
    Measures the time until a host's answer is known or there is none (Q-91).

    @ivar word: How it ended; empty: it goes on elsewhere.
    """

    def __init__(
        self, metrics: IMetrics, clock: IReactorTime, transport: str, attempts: int
    ) -> None:
        self.word = "error"
        self.tlsmode = "opportunistic"
        self._metrics = metrics
        self._clock = clock
        self._transport = transport
        self._attempts = attempts
        self._started = clock.seconds()

    def __enter__(self) -> _Measured:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.word = "canceled" if isinstance(error, CancelledError) else "error"
        if self.word:
            self._metrics.observe(
                "mox_queue_delivery_duration_seconds",
                self._clock.seconds() - self._started,
                attempt=str(self._attempts),
                transport=self._transport,
                tlsmode=self.tlsmode,
                result=self.word,
            )


class Deliver:
    """Delivers batches; L{attempt} is what the queue's runner calls."""

    _log = Logger()

    def __init__(  # noqa: PLR0913 - ports and clocks that have nothing in common
        self,
        *,
        router: Router,
        environment: Environment,
        visits: Visits,
        shaper: Shaper,
        clock: IReactorTime,
        forms: Callable[[Batch], Forms],
        metrics: IMetrics,
        records: Records,
        steady: IReactorTime | None = None,
    ) -> None:
        """
        @param clock: Knows what time it is.
        @param forms: What is to be sent of a batch.
        @param steady: For how long things take, the one of C{visits} and of who else asks
            C{shaper}; nobody sets it; L{None}: C{clock}.
        """
        self._router = router
        self._environment = environment
        self._visits = visits
        self._shaper = shaper
        self._clock = clock
        self._steady = steady or clock
        self._forms = forms
        self._metrics = metrics
        self._records = records
        self._lately = Lately()
        #: The visit that each attempt is at, by the number of its leader.
        self._under_way: dict[int, Visit] = {}

    async def attempt(self, batch: Batch) -> Attempt:
        """
        Try once.  Answers for every job of the batch, whatever happens.

        Cancelling it cuts the connection.  Then the answer is for those jobs
        alone that were delivered or refused for good; if there are none, the
        attempt ends in L{CancelledError}.
        """
        progress = Progress(batch)
        self._under_way[batch.leader.id] = _NOWHERE
        try:
            await self._route(progress)
        except CancelledError:
            if not progress.final().outcomes:
                raise
            return progress.final()
        except Exception:  # noqa: BLE001 -- a bug must not lose track of the batch; cancelling passes above
            self._log.failure("an attempt to deliver went wrong", job=batch.leader.id)
            self._metrics.count("mox_panic_total", pkg="outbound")
            progress.fail(Unreachable(permanent=False, status="3.0", error="local error"))
        finally:
            self._under_way.pop(batch.leader.id, None)
        return progress.attempt()

    def is_waiting(self, batch: Batch, seconds: float) -> bool:
        """
        Whether an attempt at it, or at some of it, costs no more than a socket: it
        has no session yet, or a server that has owed it a word for so long.
        """
        for job in batch.jobs:
            visit = self._under_way.get(job.id)
            if visit is not None:
                return visit.session is None or visit.session.client.is_silent(seconds)
        return False

    # -- transport --

    async def _route(self, progress: Progress) -> None:
        """Q-14, Q-43."""
        chosen = self._router.chosen(Consignment.of(progress.batch.leader))
        if isinstance(chosen, Unreachable):
            progress.fail(chosen)
            return
        transport = chosen.transport
        if transport.name:
            progress.note(f"transport {transport.name}: {chosen.why}")
        if isinstance(transport, Fail):
            progress.fail(failure_of(transport))
            return
        if await self._shortcut(progress, transport):
            return
        way = way_of(self._environment, transport, progress.batch.leader)
        try:
            await self._hosts(progress, way, transport.name)
        finally:
            results = way.results()
            if results:
                self._records.results(results)

    async def _shortcut(self, progress: Progress, transport: Direct | Socks | Smarthost) -> bool:
        """
        Over a session that waits, to where the message before this one went a
        moment ago: what was asked then need not be asked again.  A message that was
        at a host before has an order of addresses of its own (Q-49), and goes the long way.

        @return: Nobody is left.
        """
        if progress.batch.leader.dialed:
            return False
        target = self._lately.get(_key(progress, transport), self._steady.seconds())
        if target is None:
            return False
        visit = self._visit(progress)
        with self._measured(progress, transport.name) as ending:
            ending.tlsmode = target.demand.mode
            ending.word = ""
            if await self._visits.again(visit, progress, target, self._forms(progress.batch)):
                ending.word = visit.word
                await self._remember(progress, target, visit)
                progress.visited.add(target.name)
        return not progress.left

    # -- hosts --

    async def _hosts(self, progress: Progress, way: Way, transport: str) -> None:
        """One after the other, until nobody is left whom another may take (Q-34)."""
        domain = progress.batch.leader.destination.ascii
        with self._measured(progress, transport) as ending:
            next_hop = await way.hosts()
            if isinstance(next_hop, Unreachable):
                ending.word = "permerror" if next_hop.permanent else "temperror"
                progress.note(*next_hop.steps, next_hop.error)
                progress.fail(next_hop)
                return
            ending.word = ""
        progress.note(*next_hop.steps)
        self._shaper.learn(domain, [host.ascii for host in next_hop.hosts])
        if self._shaper.is_crowded(domain):
            self._postpone(progress, _CROWDED)
            return
        objection = self._shaper.objection(domain, self._steady.seconds())
        if objection:
            progress.note(objection)
            progress.fail(Unreachable(permanent=False, status="4.1", error=objection))
            return
        is_reached = False
        errors: list[str] = []
        for host in next_hop.hosts:
            if host.ascii in progress.visited:
                continue
            visit = await self._host(progress, way, transport, host)
            is_reached = is_reached or visit.session is not None
            errors += visit.errors
            if not progress.left or visit.is_put_off:
                break
        if errors and not is_reached:
            self._shaper.unconnected(domain, self._steady.seconds(), errors[-1])

    async def _host(self, progress: Progress, way: Way, transport: str, host: Host) -> Visit:
        """Hand over; where TLS fails, perhaps once more over a new connection (Q-60)."""
        visit = self._visit(progress)
        with self._measured(progress, transport) as ending:
            began = self._steady.seconds()
            target, steps = await way.target(host, progress.batch.leader.dialed)
            progress.note(*steps)
            if isinstance(target, Unreachable):
                ending.word = "permerror" if target.permanent else "temperror"
                progress.note(target.error)
                progress.refuse(target)
                return visit
            ending.tlsmode = target.demand.mode
            forms = self._forms(progress.batch)
            if not await self._visits.again(visit, progress, target, forms):
                if self._put_off(visit, progress):
                    ending.word = ""
                    return visit
                await self._visits.anew(visit, progress, target, forms, began=began)
            ending.word = visit.word
        if visit.word == "ok":
            self._lately.put(_key(progress, target.transport), target, self._steady.seconds())
        failed = visit.session
        if failed is not None and failed.is_to_be_repeated:
            with self._measured(progress, transport) as ending:
                ending.tlsmode = target.plain.mode
                await self._visits.in_the_clear(visit, progress, target, forms, failed)
                ending.word = visit.word
        await self._remember(progress, target, visit)
        return visit

    def _visit(self, progress: Progress) -> Visit:
        visit = self._under_way[progress.batch.leader.id] = Visit()
        return visit

    def _put_off(self, visit: Visit, progress: Progress) -> bool:
        """The site may have no more connections in this minute (Q-93)."""
        domain = progress.batch.leader.destination.ascii
        wait = self._shaper.connecting(domain, self._steady.seconds())
        if wait:
            visit.is_put_off = True
            self._postpone(progress, timedelta(seconds=wait))
        return visit.is_put_off

    def _postpone(self, progress: Progress, wait: timedelta) -> None:
        progress.postpone(datetime.fromtimestamp(self._clock.seconds(), UTC) + wait)

    async def _remember(self, progress: Progress, target: Target, visit: Visit) -> None:
        session = visit.session
        if session is None:
            return
        leader = progress.batch.leader
        domain = leader.destination.ascii
        if visit.is_new:
            self._shaper.connected(domain)
        # First: an attempt that is cut while something is written leaves no session behind.
        self._visits.finish(visit, most=self._shaper.rule(domain).messages_per_connection)
        exchange = session.client.exchange
        if visit.is_new and exchange.is_open and not target.is_limited:
            await self._records.seen(
                leader,
                starttls=exchange.opening.starttls_offered,
                require_tls=exchange.capabilities.require_tls,
            )

    def _measured(self, progress: Progress, transport: str) -> _Measured:
        return _Measured(self._metrics, self._steady, transport, progress.batch.leader.attempts)


def _key(progress: Progress, transport: Direct | Socks | Smarthost) -> Key:
    leader = progress.batch.leader
    return transport, leader.destination, leader.require_tls, leader.report
