"""A protocol on a wire that is none, with a receiver that does as it is told."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.interfaces import (
    CertificateAttempt,
    Client,
    IReceiver,
    ISpool,
    Login,
    LoginSecrets,
    PasswordAttempt,
    Role,
    Spooled,
    TLSInfo,
)
from moxsmtp.names import parse_domain
from moxsmtp.receive.connections import Connections
from moxsmtp.receive.entrance import Entrance
from moxsmtp.receive.factory import ESMTPFactory
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.settings import TimeLimits
from moxsmtp.smtp.commands import Ehlo, Helo, Mail, Rcpt
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Reply
from moxsmtp.testing import MemoryMetrics, MemorySpool
from tests.dialog import Dialogue
from tests.smtp.driver import TERMS, secrets_of

__all__ = ["TLS", "Creator", "Line", "Told", "Wire", "WireCase"]

TLS = TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256")

T = TypeVar("T")


@implementer(IOpenSSLServerConnectionCreator)
class Creator:
    """Never asked: the wire has no real TLS."""

    def serverConnectionForTLS(self, tlsProtocol: object) -> Any:
        raise AssertionError(tlsProtocol)


class Wire(StringTransport):
    """
    A transport that shows each write, and says when TLS would begin.

    @ivar writes: What was written, write by write.
    @ivar tls: What TLS was started with.
    @ivar beneath: What was given to the TLS layer by hand.
    @ivar is_full: It asks for a pause with each write.
    """

    def __init__(self) -> None:
        super().__init__(IPv4Address("TCP", "192.0.2.1", 25), IPv4Address("TCP", "192.0.2.2", 9))
        self.writes: list[bytes] = []
        self.tls: object = None
        self.beneath = b""
        self.is_full = False
        self.protocol = self

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)
        if self.is_full:
            producer = self.producer
            assert producer is not None
            producer.pauseProducing()

    def startTLS(self, creator: object) -> None:
        self.tls = creator

    def dataReceived(self, data: bytes) -> None:
        """Of the TLS layer, which stands in the protocol's place."""
        self.beneath += data

    def getHandle(self) -> object:
        return "the connection"


class Line(FileDescriptor):
    """
    A wire that lies on a socket itself, as Twisted's TCP does.

    @ivar lost: Why, once it is.
    """

    def __init__(self, handle: socket.socket, protocol: Protocol) -> None:
        super().__init__(MemoryReactorClock())
        self.handle = handle
        self.protocol = protocol
        self.connected = 1
        self.lost: list[Failure] = []

    def getHandle(self) -> socket.socket:
        return self.handle

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 25)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 9)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.lost.append(reason)
        self.protocol.connectionLost(reason)


@implementer(IReceiver)
class Told:
    """
    Answers as it is told, and tells what it was asked.

    @ivar asked: The methods, in order.
    @ivar outcomes: By method: what it gives, an exception it raises, or a
        Deferred that it waits for first.
    @ivar contents: The messages taken.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.outcomes: dict[str, object] = {}
        self.contents: list[bytes] = []
        self.clients: list[Client] = []
        self.spool: ISpool = MemorySpool()

    async def _outcome(self, method: str, usual: T) -> T:
        self.asked.append(method)
        outcome = self.outcomes.get(method)
        if isinstance(outcome, Deferred):
            outcome = await outcome
        if isinstance(outcome, Exception):
            raise outcome
        return usual if outcome is None else outcome  # type: ignore[return-value]  # told by the test

    def hello(self, client: Client, command: Helo | Ehlo) -> Awaitable[None]:
        self.clients.append(client)
        return self._outcome("hello", None)

    def authenticate(
        self, client: Client, attempt: PasswordAttempt | CertificateAttempt
    ) -> Awaitable[Login | None]:
        login = None
        if isinstance(attempt, CertificateAttempt):
            login = Login("a", "a@x.example") if attempt.fingerprint == "known" else None
        elif attempt.password == "secret":
            login = Login("a", attempt.login)
        return self._outcome("authenticate", login)

    def secrets(self, client: Client, wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        return self._outcome("secrets", secrets_of(wanted))

    def mail(self, client: Client, command: Mail) -> Awaitable[Reply]:
        self.clients.append(client)
        return self._outcome("mail", Reply(250, "1.0", "sender accepted"))

    def recipient(self, client: Client, command: Rcpt) -> Awaitable[Reply]:
        return self._outcome("recipient", Reply(250, "1.0", "recipient accepted"))

    def data(self, client: Client) -> Awaitable[ISpool]:
        return self._outcome("data", self.spool)

    async def message(self, client: Client, spooled: Spooled) -> Reply:
        reply = await self._outcome("message", Reply(250, "2.0", "stored"))
        self.contents.append(spooled.inline or b"")
        return reply

    def reset(self) -> None:
        self.asked.append("reset")


class WireCase(Dialogue):
    """Each test has a factory, and one connection to it."""

    role = Role.SMTP

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = MemoryMetrics()
        self.connections = Connections(1000)
        self.entrance = Entrance(
            listener="public",
            role=self.role,
            hostname=parse_domain("mx.example"),
            maximum_size=1000,
            clear_passwords=True,
            limits=TimeLimits(),
            tls=Creator() if self.role is not Role.SUBMISSIONS else None,
            tls_info=lambda _connection: TLS,
            receiver=self.made,
            connections=self.connections,
            session_ids=itertools.count(7),
            reply_id=lambda number: f"id{number}",
            clock=self.clock,
            metrics=self.metrics,
            slow_delay=timedelta(),
            terms=TERMS,
        )
        self.start()

    def made(self, log: SessionLog) -> Told:
        self.told = Told()
        return self.told

    def start(self, **changes: Any) -> None:
        """A new factory with other settings, and a connection to it."""
        self.entrance = replace(self.entrance, **changes)
        self.factory = ESMTPFactory(self.entrance)
        self.connect()

    def connect(self) -> None:
        self.wire = Wire()
        self.server = self.factory.buildProtocol(None)
        self.server.makeConnection(self.wire)
        self.greeting = self.said()

    def said(self) -> bytes:
        """What was written since this was asked last."""
        said: bytes = self.wire.value()
        self.wire.clear()
        return said

    def speak(self, octets: bytes) -> bytes:
        self.server.dataReceived(octets)
        return self.said()

    def drop(self) -> None:
        self.server.connectionLost(Failure(ConnectionDone()))

    def begin(self) -> None:
        """A transaction that wants its content."""
        self.speak(b"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n")
        self.assertTrue(self.speak(b"DATA\r\n").startswith(b"354 "))
