"""Listeners and their sockets: where the configuration says that we are reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from moxsmtp.config import Settings
from moxsmtp.interfaces import IMetrics, IReceiver, Role
from moxsmtp.judge.limiters import Limiters
from moxsmtp.names import Domain, IPAddress, parse_domain
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.entrance import Entrance
from moxsmtp.receive.factory import ESMTPFactory
from moxsmtp.receive.proxy import ProxyFactory
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.settings import (
    MAXIMUM_MESSAGE_SIZE,
    ListenerSettings,
    ServiceSettings,
    SubmissionSettings,
    UnknownName,
)
from moxsmtp.smtp.sasl import Terms
from moxsmtp.sockets import PassedSockets, Socket
from moxsmtp.steady_timers import steady_clock
from moxsmtp.tls.ciphers import tls_info
from moxsmtp.tls.server import CertificateError, Manners, ServerTLS

__all__ = ["Door", "Entrances", "Hall", "Place", "ReceiverMaker"]

#: Makes receivers for one socket: by role, the listener's host name, whether RCPT
#: needs TLS, and whether mail from outside is checked.
ReceiverMaker = Callable[[Role, Domain, bool, bool], Callable[[SessionLog], IReceiver]]


@dataclass(frozen=True, slots=True)
class Hall:
    """
    What all entrances share.

    @ivar receivers: Makes receivers for one socket.
    @ivar session_ids: See L{Entrance}.
    @ivar random_bytes: So many octets that nobody can guess.
    @ivar limiters: What one network may do, over all listeners (S-12).
    @ivar objection: See L{Entrance}.
    @ivar connections: Counts those of a listener, given its name and how many
        may be open.
    """

    receivers: ReceiverMaker
    session_ids: Iterator[int]
    reply_id: Callable[[int], str]
    random_bytes: Callable[[int], bytes]
    reactor: Any
    metrics: IMetrics
    limiters: Limiters
    objection: Callable[[str], str] = lambda _: ""
    connections: Callable[[str, int], Connections] = lambda _, maximum: Connections(maximum)


class Place(Protocol):
    """
    Where connections come from: a bound socket, or in a worker process the
    parent that accepts them.
    """

    address: IPAddress
    port: int

    def serve(self, factory: IProtocolFactory, reactor: Any) -> None:
        """Hand connections to C{factory}, those that wait first."""

    def unbind(self) -> None:
        """Let go of it, if it is not served yet.  May be repeated."""

    async def close(self) -> None:
        """Take no more connections.  May be repeated."""


@dataclass(slots=True)
class Door:
    """One place and what serves it, once it is served."""

    listener: str
    role: Role
    socket: Place
    factory: ESMTPFactory | None = None
    proxies: ProxyFactory | None = None
    tls: ServerTLS | None = None


class Entrances:
    """All sockets for mail."""

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        passed: PassedSockets | None = None,
        doors: Sequence[Door] | None = None,
    ) -> None:
        """
        Bind them.

        @param passed: Taken where they are bound already.
        @param doors: Nothing is to be bound: these are they.
        @raise CannotListenError: One cannot be bound; none stays bound.
        """
        self._doors: list[Door] = []
        self._connections: dict[str, Connections] = {}
        if doors is not None:
            self._doors.extend(doors)
            return
        try:
            for listener in settings.listeners:
                for role, service in _services(listener):
                    for address in listener.addresses:
                        socket = Socket(address, service.port, passed)
                        self._doors.append(Door(listener.name, role, socket))
        except BaseException:
            self.unbind()
            raise

    @property
    def doors(self) -> Sequence[Door]:
        """Each socket."""
        return self._doors

    def unbind(self) -> None:
        """Let go of sockets that are not served yet."""
        for door in self._doors:
            door.socket.unbind()

    def serve(self, settings: Settings, hall: Hall) -> None:
        """
        Let people in.

        @raise CertificateError: A listener's certificate cannot be used.
        """
        secured = self._secured(settings)
        for listener in settings.listeners:
            self._connections[listener.name] = hall.connections(
                listener.name, listener.max_connections
            )
        for door, tls in zip(self._doors, secured, strict=True):
            door.tls = tls
            listener = _named(settings, door.listener)
            door.factory = ESMTPFactory(self._entrance(settings, listener, door, hall))
            if door.role is not Role.SUBMISSIONS:
                door.proxies = ProxyFactory(door.factory, hall.reactor)
            elif tls is not None:
                secure = TLSMemoryBIOFactory(tls, False, door.factory, hall.reactor)
                door.proxies = ProxyFactory(secure, hall.reactor)
            else:
                # A reload has taken the service and its certificate away; the port stays
                # until a restart, and this process has begun after that.
                door.socket.serve(_Closed(self._connections[listener.name]), hall.reactor)
                continue
            door.proxies.networks = listener.proxy.networks
            door.proxies.missed = self._connections[listener.name].missed
            door.socket.serve(door.proxies, hall.reactor)

    def reload(self, settings: Settings, hall: Hall) -> Sequence[str]:
        """
        Obey new settings from the next connection on.

        @return: What needs a restart, in words.
        @raise CertificateError: A listener's certificate cannot be used; then
            nothing has changed.
        """
        secured = self._secured(settings)
        for door, tls in zip(self._doors, secured, strict=True):
            listener = next((one for one in settings.listeners if one.name == door.listener), None)
            if listener is None or door.factory is None:
                continue
            if door.tls is not None and tls is not None:
                door.tls.obey(tls)
            elif door.role is not Role.SUBMISSIONS:
                door.tls = tls
            self._connections[listener.name].maximum = listener.max_connections
            door.factory.obey(self._entrance(settings, listener, door, hall))
            if door.proxies is not None:
                door.proxies.networks = listener.proxy.networks
        return self.unserved(settings)

    def check(self, settings: Settings) -> None:
        """@raise CertificateError: These settings could not be obeyed."""
        self._secured(settings)

    def unserved(self, settings: Settings) -> Sequence[str]:
        """What of these settings needs a restart, in words."""
        wanted = {
            (listener.name, role, str(address), service.port)
            for listener in settings.listeners
            for role, service in _services(listener)
            for address in listener.addresses
        }
        bound = {
            (door.listener, door.role, str(door.socket.address), door.socket.port)
            for door in self._doors
        }
        return sorted(
            f"listener {name}, {role.value} on {address} port {port}"
            for name, role, address, port in wanted ^ bound
        )

    async def renew_tickets(self) -> None:
        """
        Give each socket new ticket keys (S-7).  Its certificates are read again
        with that; where one cannot be used any more, all stays as it is there.
        """
        for door in self._doors:
            if door.tls is None:
                continue
            try:
                door.tls.obey(door.tls.renewed())
            except CertificateError as error:
                self._log.error(
                    "TLS on {where} goes on as it was: {error}", where=str(door.socket), error=error
                )

    def listening(self) -> Sequence[str]:
        """Each socket in words."""
        return [f"{door.role.value} on {door.socket}" for door in self._doors]

    async def close(self) -> None:
        """
        End the connections that are open; who comes meanwhile is told so, too
        (S-15).  Then take no more.
        """
        await gatherResults(
            [door.factory.drain() for door in self._doors if door.factory is not None]
        )
        await gatherResults([Deferred.fromCoroutine(door.socket.close()) for door in self._doors])

    def _secured(self, settings: Settings) -> Sequence[ServerTLS | None]:
        """
        For each socket; each has ticket keys of its own (S-7).

        @raise CertificateError: A certificate cannot be used.
        """
        named = {listener.name: listener for listener in settings.listeners}
        return [
            _tls(settings, named[door.listener], door.role) if door.listener in named else None
            for door in self._doors
        ]

    def _entrance(
        self, settings: Settings, listener: ListenerSettings, door: Door, hall: Hall
    ) -> Entrance:
        role = door.role
        clear = {
            Role.SMTP: True,
            Role.SUBMISSION: listener.submission.no_require_starttls,
            Role.SUBMISSIONS: False,
        }[role]
        requires_tls = listener.smtp.require_starttls if role is Role.SMTP else not clear
        hostname = _hostname(settings, listener)
        return Entrance(
            listener=listener.name,
            role=role,
            hostname=hostname,
            maximum_size=listener.max_message_size or MAXIMUM_MESSAGE_SIZE,
            clear_passwords=clear,
            pedantic=settings.pedantic,
            limits=listener.limits,
            tls=door.tls,
            tls_info=tls_info,
            receiver=hall.receivers(role, hostname, requires_tls, not listener.smtp.no_checks),
            connections=self._connections[listener.name],
            session_ids=hall.session_ids,
            reply_id=hall.reply_id,
            clock=steady_clock(hall.reactor),
            wall_clock=hall.reactor,
            metrics=hall.metrics,
            offers_require_tls=role.is_submission or not listener.smtp.no_require_tls,
            limiters=hall.limiters,
            objection=hall.objection,
            authentication_delay=settings.delays.authentication,
            slow_delay=settings.delays.slow_client,
            greeting_delay=listener.smtp.greeting_delay if role is Role.SMTP else timedelta(),
            tracing=settings.log.level.tracing,
            debugging=settings.log.level.is_debugging,
            terms=Terms(
                hostname=settings.hostname.ascii,
                random_bytes=hall.random_bytes,
                seconds=hall.reactor.seconds,
                cram_md5=settings.cram_md5,
            ),
        )


class _Closed(Factory):
    """Speaks with nobody."""

    noisy = False

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def buildProtocol(self, addr: IAddress | None) -> None:  # noqa: ARG002 - the interface has it
        """None: it is closed at once."""
        self._connections.missed()


def _services(
    listener: ListenerSettings,
) -> Sequence[tuple[Role, ServiceSettings | SubmissionSettings]]:
    """Those that are enabled."""
    services: Sequence[tuple[Role, ServiceSettings | SubmissionSettings]] = (
        (Role.SMTP, listener.smtp),
        (Role.SUBMISSION, listener.submission),
        (Role.SUBMISSIONS, listener.submissions),
    )
    return [(role, service) for role, service in services if service.enabled]


def _tls(settings: Settings, listener: ListenerSettings, role: Role) -> ServerTLS | None:
    """
    How a new socket of a listener's service shakes hands; L{None}: not at all (S-4).

    @raise CertificateError: A certificate cannot be used.
    """
    tls = listener.tls
    if tls is None or (role is Role.SMTP and listener.smtp.no_starttls):
        return None
    manners = Manners(
        minimum_version=tls.minimum_version,
        tickets=role.is_submission or listener.smtp.session_tickets,
        asks_client=role.is_submission and tls.client_certificates,
        strict=role.is_submission and tls.sni is UnknownName.STRICT,
    )
    return ServerTLS(tls.pairs, _hostname(settings, listener), manners)


def _hostname(settings: Settings, listener: ListenerSettings) -> Domain:
    """S-2."""
    return parse_domain(listener.hostname) if listener.hostname else settings.hostname


def _named(settings: Settings, name: str) -> ListenerSettings:
    return next(listener for listener in settings.listeners if listener.name == name)
