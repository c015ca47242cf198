"""
One attempt to deliver a batch: hosts in order, addresses in order, until every
recipient is delivered or refused for good.  RFC 5321 section 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxsmtp.interfaces import IContent, IMetrics, RequireTLS
from moxsmtp.names import Host, IPAddress
from moxsmtp.outbound.connection import ESMTPClient, Unverified
from moxsmtp.outbound.next_hop import FixedRoute, NextHops, Unreachable
from moxsmtp.queue.job import Attempt, Batch, Delivered, Failed, Job, Outcome, RemoteMTA
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import Accepted, Fate, Mailing, Refusal, StartTLS

__all__ = ["Connect", "Deliver", "dialer"]

#: Seconds to find and reach one host, over all of its addresses (Q-50).
_DIAL_LIMIT: Final = 30.0
#: However many they are, each address gets this long.
_SHORTEST_DIAL: Final = 1.0

#: Connects a protocol to an address and port within so many seconds.
Connect = Callable[[Protocol, IPAddress, int, float], Deferred[None]]


class _Dial(ClientFactory):
    """Connects one protocol once; Twisted's endpoints make a class for each connection."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._connector: Any = None
        self.connected: Deferred[None] = Deferred(lambda _: self._connector.disconnect())

    def startedConnecting(self, connector: IConnector) -> None:
        self._connector = connector

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002 -- Twisted's
        self.connected.callback(None)
        return self._protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002 -- Twisted's
        if not self.connected.called:
            self.connected.errback(reason)


def dialer(reactor: Any) -> Connect:
    """@param reactor: IReactorTCP."""

    def connect(
        protocol: Protocol, address: IPAddress, port: int, seconds: float
    ) -> Deferred[None]:
        dial = _Dial(protocol)
        reactor.connectTCP(str(address), port, dial, timeout=seconds)
        return dial.connected

    return connect


@dataclass(frozen=True, slots=True)
class _Connection:
    """Where a session takes place.  @ivar name: The host's, for people."""

    host: Host
    name: str
    address: IPAddress
    port: int

    @property
    def remote(self) -> RemoteMTA:
        return RemoteMTA(self.name, self.address)


class _Work:
    """
    What is known of a batch so far.

    @ivar sessions: Those begun; some may be taking leave.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.left = list(batch.jobs)
        self.dialed: dict[str, tuple[IPAddress, ...]] = {}
        self.sessions: list[ESMTPClient] = []
        self._outcomes: dict[int, Outcome] = {}

    def record(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """The latest outcome counts; only transient failures leave a job to be done (Q-34)."""
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._outcomes[job.id] = outcome
            if isinstance(outcome, Delivered) or outcome.permanent:
                self.left.remove(job)

    def heed(self, fates: Sequence[Fate | None], remote: RemoteMTA) -> None:
        """What a host said to those that are left."""
        for job, fate in zip(tuple(self.left), fates, strict=False):
            if isinstance(fate, Refusal) and fate.elsewhere:
                self._outcomes[job.id] = self._of_host(job, _outcome(fate, remote))
            elif fate is not None:
                self.record([job], [_outcome(fate, remote)])

    def _of_host(self, job: Job, outcome: Outcome) -> Outcome:
        """A host that wants no session is the last word if all before it said the same (Q-95)."""
        before = self._outcomes.get(job.id)
        if isinstance(outcome, Failed) and isinstance(before, Failed) and not before.permanent:
            return replace(outcome, permanent=False)
        return outcome

    def fail(self, failed: Failed) -> None:
        """For all that are left."""
        self.record(tuple(self.left), [failed] * len(self.left))

    def note_dialed(self, name: str, address: IPAddress) -> None:
        self.dialed[name] = (*self.dialed.get(name, ()), address)

    @property
    def attempt(self) -> Attempt:
        for job in self.left:
            self._outcomes.setdefault(job.id, Failed(permanent=False, error="not tried"))
        return Attempt(self._outcomes, self.dialed)

    @property
    def final(self) -> Attempt:
        """Only what no other host can change."""
        left = {job.id for job in self.left}
        outcomes = {n: outcome for n, outcome in self._outcomes.items() if n not in left}
        return Attempt(outcomes, self.dialed)


#: RFC 8689 section 4.2.1.
_NO_REQUIRED_TLS: Final = Failed(
    permanent=True, error="REQUIRETLS is not possible on the way out", code=554, status="7.30"
)


class _Ending:
    """@ivar word: How something that is measured ended; empty: it goes on elsewhere."""

    word = "error"


class Deliver:
    """Delivers batches; L{attempt} is what the queue's runner calls."""

    _log = Logger()

    def __init__(
        self,
        *,
        route: NextHops | FixedRoute,
        clock: IReactorTime,
        connect: Connect,
        content: Callable[[Job], IContent],
        metrics: IMetrics,
        hostname: str,
        tls: Callable[[Host], IOpenSSLClientConnectionCreator] | None,
    ) -> None:
        """
        @param connect: See L{dialer}.
        @param content: What stands behind a job's prefix.
        @param hostname: What EHLO says.
        @param tls: Makes TLS connections to a host that verify nothing, for
            opportunistic STARTTLS; L{None}: never use it.
        """
        self._clock = clock
        self._connect = connect
        self._content = content
        self._metrics = metrics
        self._hostname = hostname
        self._tls = tls
        self._route = route

    async def attempt(self, batch: Batch) -> Attempt:
        """
        Try once.  Answers for every job of the batch, whatever happens.

        Cancelling it cuts the connection.  Then the answer is for those jobs
        alone that were delivered or refused for good; if there are none, the
        attempt ends in L{CancelledError}.
        """
        work = _Work(batch)
        try:
            await self._deliver(work)
        except CancelledError:
            for client in work.sessions:
                client.abort()
            if not work.final.outcomes:
                raise
            return work.final
        except Exception:  # noqa: BLE001 -- a bug must not lose track of the batch; cancelling passes above
            self._log.failure("an attempt to deliver went wrong", job=batch.leader.id)
            self._metrics.count("mox_panic_total", pkg="outbound")
            work.fail(Failed(permanent=False, error="local error", status="3.0"))
        return work.attempt

    # -- hosts and addresses --

    async def _deliver(self, work: _Work) -> None:
        route = self._route
        if not isinstance(route, FixedRoute):
            _keep_from_clear_text(work)
            if not work.left:
                return
        with self._measured(work, self._tlsmode) as ending:
            next_hop = await route.hosts(work.batch.leader.destination)
            if isinstance(next_hop, Unreachable):
                ending.word = _unreachable(work, next_hop)
                return
            ending.word = ""
        for host in next_hop.hosts:
            await self._try_host(work, route, host)
            if not work.left:
                return

    async def _try_host(self, work: _Work, route: NextHops | FixedRoute, host: Host) -> None:
        """Hand over; where TLS fails, once more over a new connection without it (Q-60)."""
        with self._measured(work, self._tlsmode) as ending:
            reached = await self._reach(work, route, host, ending)
            if reached is None:
                return
            connection, client = reached
            await self._exchange(work, connection, client, ending)
        failed = client.exchange.tls_failed
        if not failed:
            return
        self._log.info(
            "TLS with {host} failed, going on without: {error}", host=connection.name, error=failed
        )
        with self._measured(work, "skip") as ending:
            client = self._client(connection, starttls=False)
            error = await self._dial(client, connection, _DIAL_LIMIT)
            if error:
                ending.word = _unreached(work, error)
                return
            await self._exchange(work, connection, client, ending)

    async def _reach(
        self, work: _Work, route: NextHops | FixedRoute, host: Host, ending: _Ending
    ) -> tuple[_Connection, ESMTPClient] | None:
        """The first address that can be connected to decides (Q-50)."""
        started = self._clock.seconds()
        located = await route.addresses(host)
        if isinstance(located, Unreachable):
            ending.word = _unreachable(work, located)
            return None
        addresses = located.addresses
        name = route.name if isinstance(route, FixedRoute) else host.ascii
        left = _DIAL_LIMIT - (self._clock.seconds() - started)
        share = max(left / len(addresses), _SHORTEST_DIAL)
        for address in addresses:
            connection = _Connection(host, name, address, route.port)
            client = self._client(connection, starttls=self._tls is not None)
            error = await self._dial(client, connection, share)
            if not error:
                work.note_dialed(name, address)
                return connection, client
            ending.word = _unreached(work, error)
        return None

    async def _dial(self, client: ESMTPClient, connection: _Connection, seconds: float) -> str:
        """@return: Why it cannot be connected to; empty if it is."""
        result = "error"
        try:
            await self._connect(client, connection.address, connection.port, seconds)
            result = "ok"
        except CancelledError:
            result = "canceled"
            raise
        except ConnectTimeout:
            result = "timeout"
            return f"no connection to {connection.name} ({connection.address}) in time"
        except (ConnectError, OSError) as error:
            return f"no connection to {connection.name} ({connection.address}): {error}"
        finally:
            self._metrics.count("mox_queue_connection_total", result=result)
        return ""

    # -- one session --

    def _client(self, connection: _Connection, *, starttls: bool) -> ESMTPClient:
        security = None
        if starttls and self._tls is not None:
            security = Unverified(self._tls(connection.host))
        wanted = StartTLS.NEVER if security is None else StartTLS.IF_OFFERED
        return ESMTPClient(
            exchange=Exchange(hostname=self._hostname, starttls=wanted),
            security=security,
            clock=self._clock,
        )

    async def _exchange(
        self, work: _Work, connection: _Connection, client: ESMTPClient, ending: _Ending
    ) -> None:
        """Fates are recorded, when this is cancelled those that are known; not if TLS failed."""
        work.sessions.append(client)
        leader = work.batch.leader
        try:
            await client.deliver(_mailing(work), leader.prefix, self._content(leader))
        finally:
            if not client.exchange.tls_failed:
                work.heed(client.exchange.fates, connection.remote)
        client.leave()
        fates = client.exchange.fates
        ending.word = "timeout" if client.is_late else _result(fates)

    @property
    def _tlsmode(self) -> str:
        return "skip" if self._tls is None else "opportunistic"

    @contextmanager
    def _measured(self, work: _Work, tlsmode: str) -> Iterator[_Ending]:
        """
        The time until a host's answer is known or there is none (Q-91).

        @param tlsmode: What would be used, also where it does not come to that.
        """
        started = self._clock.seconds()
        ending = _Ending()
        try:
            yield ending
        except CancelledError:
            ending.word = "canceled"
            raise
        except BaseException:
            ending.word = "error"
            raise
        finally:
            if ending.word:
                self._metrics.observe(
                    "mox_queue_delivery_duration_seconds",
                    self._clock.seconds() - started,
                    attempt=str(work.batch.leader.attempts),
                    transport="",
                    tlsmode=tlsmode,
                    result=ending.word,
                )


def _mailing(work: _Work) -> Mailing:
    leader = work.batch.leader
    return Mailing(
        reverse_path=leader.reverse_path,
        forward_paths=tuple(job.forward_path for job in work.left),
        size=leader.size,
        has_8bit=leader.has_8bit or not leader.prefix.isascii(),
        smtputf8=leader.smtputf8,
        wishes=tuple(job.wishes for job in work.left),
    )


def _keep_from_clear_text(work: _Work) -> None:
    """
    What demands TLS all the way does not leave: nothing here makes sure of the
    name behind a certificate yet.  RFC 8689 section 4.2.1.
    """
    demanding = [job for job in work.left if job.require_tls is RequireTLS.YES]
    work.record(demanding, [_NO_REQUIRED_TLS] * len(demanding))


def _unreachable(work: _Work, found: Unreachable) -> str:
    """@return: The word for the metric."""
    work.fail(Failed(permanent=found.permanent, error=found.error, status=found.status))
    return "permerror" if found.permanent else "temperror"


def _unreached(work: _Work, error: str) -> str:
    """@return: The word for the metric."""
    work.fail(Failed(permanent=False, error=error, status="4.1"))
    return "temperror"


def _outcome(fate: Fate, remote: RemoteMTA) -> Outcome:
    match fate:
        case Accepted(reply=reply, status=status):
            return Delivered(
                remote,
                code=reply.code,
                status=status,
                reply=reply.text,
                handed_on=fate.handed_on,
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


def _result(fates: Sequence[Fate | None]) -> str:
    """The word for the metric (Q-91)."""
    accepted = sum(isinstance(fate, Accepted) for fate in fates)
    if accepted:
        return "ok" if accepted == len(fates) else "okpartial"
    refusals = [fate for fate in fates if isinstance(fate, Refusal)]
    return "permerror" if all(refusal.permanent for refusal in refusals) else "temperror"
