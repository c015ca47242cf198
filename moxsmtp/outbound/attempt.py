"""
One attempt to deliver a batch: hosts in order, addresses in order, until every
recipient is delivered or refused for good.  RFC 5321 section 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

from moxsmtp.interfaces import IContent, IMetrics
from moxsmtp.names import AddressLiteral, Host, IPAddress
from moxsmtp.outbound.connection import ESMTPClient
from moxsmtp.outbound.next_hop import FixedRoute, NextHops, Unreachable
from moxsmtp.queue.job import Attempt, Batch, Delivered, Failed, Job, Outcome, RemoteMTA
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import Accepted, Fate, Mailing, Refusal

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
    """What is known of a batch so far."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.left = list(batch.jobs)
        self.dialed: dict[str, tuple[IPAddress, ...]] = {}
        self._outcomes: dict[int, Outcome] = {}

    def record(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """The latest outcome counts; only transient failures leave a job to be done (Q-34)."""
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._outcomes[job.id] = outcome
            if isinstance(outcome, Delivered) or outcome.permanent:
                self.left.remove(job)

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
        Cancelling it cuts the connection.
        """
        work = _Work(batch)
        try:
            await self._deliver(work)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 -- a bug must not lose track of the batch; cancelling passes above
            self._log.failure("an attempt to deliver went wrong", job=batch.leader.id)
            self._metrics.count("mox_panic_total", pkg="outbound")
            work.fail(Failed(permanent=False, error="local error", status="3.0"))
        return work.attempt

    # -- hosts and addresses --

    async def _deliver(self, work: _Work) -> None:
        route = self._route
        if isinstance(route, FixedRoute):
            literal = AddressLiteral(route.address)
            await self._try_addresses(
                work, literal, route.name, (route.address,), route.port, _DIAL_LIMIT
            )
            return
        next_hop = await route.hosts(work.batch.leader.destination)
        if isinstance(next_hop, Unreachable):
            work.fail(_failed(next_hop))
            return
        for host in next_hop.hosts:
            await self._try_host(work, route, host)
            if not work.left:
                return

    async def _try_host(self, work: _Work, route: NextHops, host: Host) -> None:
        started = self._clock.seconds()
        addresses = await route.addresses(host)
        if isinstance(addresses, Unreachable):
            work.fail(_failed(addresses))
            return
        left = _DIAL_LIMIT - (self._clock.seconds() - started)
        await self._try_addresses(work, host, host.ascii, addresses, route.port, left)

    async def _try_addresses(
        self,
        work: _Work,
        host: Host,
        name: str,
        addresses: Sequence[IPAddress],
        port: int,
        seconds: float,
    ) -> None:
        """The first that can be connected to decides (Q-50)."""
        share = max(seconds / len(addresses), _SHORTEST_DIAL)
        for address in addresses:
            connection = _Connection(host, name, address, port)
            client = self._client(work, connection, starttls=self._tls is not None)
            error = await self._dial(client, connection, share)
            if error:
                work.fail(Failed(permanent=False, error=error, status="4.1"))
                continue
            work.note_dialed(name, address)
            await self._session(work, connection, client)
            return

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

    def _client(self, work: _Work, connection: _Connection, *, starttls: bool) -> ESMTPClient:
        leader = work.batch.leader
        mailing = Mailing(
            reverse_path=leader.reverse_path,
            forward_paths=tuple(job.forward_path for job in work.left),
            size=leader.size,
            has_8bit=leader.has_8bit or not leader.prefix.isascii(),
            smtputf8=leader.smtputf8,
        )
        creator = self._tls(connection.host) if starttls and self._tls is not None else None
        return ESMTPClient(
            exchange=Exchange(mailing, hostname=self._hostname, starttls=creator is not None),
            prefix=leader.prefix,
            content=self._content(leader),
            creator=creator,
            clock=self._clock,
        )

    async def _session(self, work: _Work, connection: _Connection, client: ESMTPClient) -> None:
        """Hand over; where TLS fails, once more over a new connection without it (Q-60)."""
        await self._exchange(work, client, "skip" if self._tls is None else "opportunistic")
        failed = client.exchange.tls_failed
        if failed:
            self._log.info(
                "TLS with {host} failed, going on without: {error}",
                host=connection.name,
                error=failed,
            )
            client = self._client(work, connection, starttls=False)
            error = await self._dial(client, connection, _DIAL_LIMIT)
            if error:
                work.fail(Failed(permanent=False, error=error, status="4.1"))
                return
            await self._exchange(work, client, "skip")
        fates = client.exchange.fates
        work.record(tuple(work.left), [_outcome(fate, connection.remote) for fate in fates])

    async def _exchange(self, work: _Work, client: ESMTPClient, tlsmode: str) -> None:
        started = self._clock.seconds()
        result = "error"
        try:
            await client.over
            result = "timeout" if client.is_late else _result(client.exchange.fates)
        except CancelledError:
            result = "canceled"
            raise
        finally:
            self._metrics.observe(
                "mox_queue_delivery_duration_seconds",
                self._clock.seconds() - started,
                attempt=str(work.batch.leader.attempts),
                transport="",
                tlsmode=tlsmode,
                result=result,
            )


def _failed(unreachable: Unreachable) -> Failed:
    return Failed(
        permanent=unreachable.permanent, error=unreachable.error, status=unreachable.status
    )


def _outcome(fate: Fate | None, remote: RemoteMTA) -> Outcome:
    match fate:
        case Accepted(reply=reply, status=status):
            return Delivered(remote, code=reply.code, status=status, reply=reply.text)
        case Refusal():
            return Failed(
                permanent=fate.permanent,
                error=fate.error,
                code=fate.code,
                status=fate.status,
                remote=remote,
                reply=fate.reply.text if fate.reply is not None else "",
            )
        case None:
            raise ValueError("the session is over and a recipient has no fate")


def _result(fates: Sequence[Fate | None]) -> str:
    """The word for the metric (Q-91)."""
    accepted = sum(isinstance(fate, Accepted) for fate in fates)
    if accepted:
        return "ok" if accepted == len(fates) else "okpartial"
    refusals = [fate for fate in fates if isinstance(fate, Refusal)]
    return "permerror" if all(refusal.permanent for refusal in refusals) else "temperror"
