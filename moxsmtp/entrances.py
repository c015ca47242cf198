"""Listeners and their sockets: where the configuration says that we are reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, gatherResults
from twisted.protocols.tls import TLSMemoryBIOFactory

from moxsmtp.config import Settings
from moxsmtp.interfaces import IMetrics, IReceiver, Role
from moxsmtp.names import Domain, parse_domain
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.entrance import Entrance
from moxsmtp.receive.factory import ESMTPFactory
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.settings import (
    MAXIMUM_MESSAGE_SIZE,
    ListenerSettings,
    ServiceSettings,
    SubmissionSettings,
)
from moxsmtp.sockets import Socket
from moxsmtp.tls.ciphers import tls_info
from moxsmtp.tls.server import ServerTLS, server_context

__all__ = ["Entrances", "Hall", "ReceiverMaker"]

#: Makes receivers for one socket: by role, the listener's host name, and whether
#: RCPT needs TLS.
ReceiverMaker = Callable[[Role, Domain, bool], Callable[[SessionLog], IReceiver]]


@dataclass(frozen=True, slots=True)
class Hall:
    """
    What all entrances share.

    @ivar receivers: Makes receivers for one socket.
    @ivar session_ids: See L{Entrance}.
    """

    receivers: ReceiverMaker
    session_ids: Iterator[int]
    reply_id: Callable[[int], str]
    reactor: Any
    metrics: IMetrics


@dataclass(slots=True)
class _Door:
    """One bound socket and what serves it, once it is served."""

    listener: str
    role: Role
    socket: Socket
    factory: ESMTPFactory | None = None
    tls: ServerTLS | None = None


class Entrances:
    """All sockets for mail."""

    def __init__(self, settings: Settings) -> None:
        """
        Bind them.

        @raise CannotListenError: One cannot be bound; none stays bound.
        """
        self._doors: list[_Door] = []
        self._connections: dict[str, Connections] = {}
        try:
            for listener in settings.listeners:
                for role, service in _services(listener):
                    for address in listener.addresses:
                        socket = Socket(address, service.port)
                        self._doors.append(_Door(listener.name, role, socket))
        except BaseException:
            self.unbind()
            raise

    def unbind(self) -> None:
        """Let go of sockets that are not served yet."""
        for door in self._doors:
            door.socket.unbind()

    def serve(self, settings: Settings, hall: Hall) -> None:
        """
        Let people in.

        @raise CertificateError: A listener's certificate cannot be used.
        """
        contexts = _contexts(settings)
        for listener in settings.listeners:
            self._connections[listener.name] = Connections(listener.max_connections)
        for door in self._doors:
            listener = _named(settings, door.listener)
            context = contexts.get((door.listener, door.role))
            door.tls = ServerTLS(context) if context is not None else None
            door.factory = ESMTPFactory(self._entrance(settings, listener, door, hall))
            if door.role is Role.SUBMISSIONS and door.tls is not None:
                secure = TLSMemoryBIOFactory(door.tls, False, door.factory, hall.reactor)
                door.socket.serve(secure, hall.reactor)
            else:
                door.socket.serve(door.factory, hall.reactor)

    def reload(self, settings: Settings, hall: Hall) -> Sequence[str]:
        """
        Obey new settings from the next connection on.

        @return: What needs a restart, in words.
        @raise CertificateError: A listener's certificate cannot be used; then
            nothing has changed.
        """
        contexts = _contexts(settings)
        for door in self._doors:
            listener = next((one for one in settings.listeners if one.name == door.listener), None)
            if listener is None or door.factory is None:
                continue
            context = contexts.get((door.listener, door.role))
            if door.tls is not None and context is not None:
                door.tls.replace(context)
            self._connections[listener.name].maximum = listener.max_connections
            door.factory.obey(self._entrance(settings, listener, door, hall))
        wanted = {
            (listener.name, role, str(address), service.port, _has_tls(listener, role))
            for listener in settings.listeners
            for role, service in _services(listener)
            for address in listener.addresses
        }
        bound = {
            (door.listener, door.role, str(door.socket.address), door.socket.port,
             door.tls is not None)
            for door in self._doors
        }  # fmt: skip
        return sorted(
            f"listener {name}, {role.value} on {address} port {port}"
            for name, role, address, port, _ in wanted ^ bound
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

    def _entrance(
        self, settings: Settings, listener: ListenerSettings, door: _Door, hall: Hall
    ) -> Entrance:
        role = door.role
        clear = {
            Role.SMTP: True,
            Role.SUBMISSION: listener.submission.no_require_starttls,
            Role.SUBMISSIONS: False,
        }[role]
        requires_tls = listener.smtp.require_starttls if role is Role.SMTP else not clear
        hostname = parse_domain(listener.hostname) if listener.hostname else settings.hostname
        return Entrance(
            listener=listener.name,
            role=role,
            hostname=hostname,
            maximum_size=listener.max_message_size or MAXIMUM_MESSAGE_SIZE,
            clear_passwords=clear,
            limits=listener.limits,
            tls=door.tls,
            tls_info=tls_info,
            receiver=hall.receivers(role, hostname, requires_tls),
            connections=self._connections[listener.name],
            session_ids=hall.session_ids,
            reply_id=hall.reply_id,
            clock=hall.reactor,
            metrics=hall.metrics,
        )


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


def _has_tls(listener: ListenerSettings, role: Role) -> bool:
    """Whether TLS is to be had there (S-8)."""
    return listener.tls is not None and not (role is Role.SMTP and listener.smtp.no_starttls)


def _contexts(settings: Settings) -> dict[tuple[str, Role], SSL.Context]:
    """
    A context for each listener's service that has TLS (S-4).

    @raise CertificateError: A certificate cannot be used.
    """
    return {
        (listener.name, role): server_context(
            certificate=listener.tls.certificate,
            key=listener.tls.key,
            tickets=role.is_submission,
        )
        for listener in settings.listeners
        for role, _ in _services(listener)
        if listener.tls is not None and _has_tls(listener, role)
    }


def _named(settings: Settings, name: str) -> ListenerSettings:
    return next(listener for listener in settings.listeners if listener.name == name)
