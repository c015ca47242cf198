"""
Servers to connect to without a socket: they hear and say octets, over a wire
that can do TLS.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.interfaces import IContent, IMetrics


@implementer(IContent)
class Text:
    """Content in memory.  @ivar reads: The length of each piece asked for."""

    def __init__(self, text: bytes, size: int | None = None) -> None:
        self.text = text
        self.size = len(text) if size is None else size
        self.reads: list[int] = []

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See L{IContent.read}."""
        self.reads.append(length)
        return succeed(self.text[offset : offset + length])


@implementer(IMetrics)
class Counts:
    """What was counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []

    def count(self, name: str, **labels: str) -> None:
        """See L{IMetrics.count}."""
        self.counted.append((name, labels))

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """See L{IMetrics.observe}."""
        del seconds
        self.counted.append((name, labels))

    def move(self, name: str, step: int, **labels: str) -> None:
        """See L{IMetrics.move}."""
        raise AssertionError((name, step, labels))


class Wire:
    """
    A client's transport; the test is at the other end.

    @ivar sent: What left, as it left: encrypted once TLS has begun.
    @ivar blocked: Written octets are held, and producers paused.
    """

    TLS = False

    def __init__(self, protocol: Protocol, clock: Clock) -> None:
        self.protocol: Any = protocol
        self.clock = clock
        self.sent = b""
        self.closed = ""
        self.blocked = False
        self.producer: Any = None
        self.largest_write = 0
        protocol.makeConnection(self)

    # -- the client's side --

    def write(self, data: bytes) -> None:
        """See C{ITransport}."""
        if self.TLS:
            self.protocol.write(data)
        else:
            self.raw_write(data)

    def raw_write(self, data: bytes) -> None:
        """Below TLS."""
        self.largest_write = max(self.largest_write, len(data))
        self.sent += data
        if self.blocked and self.producer is not None:
            self.producer.pauseProducing()

    def loseConnection(self) -> None:
        """See C{ITransport}."""
        if self.TLS:
            self.protocol.loseConnection()
        else:
            self.closed = self.closed or "closed"

    def abortConnection(self) -> None:
        """See C{ITCPTransport}."""
        self.closed = self.closed or "aborted"

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See C{IConsumer}."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """See C{IConsumer}."""
        self.producer = None

    def getHandle(self) -> Any:
        """See C{ISSLTransport} and C{ITCPTransport}: there is no socket."""
        return self.protocol.getHandle() if self.TLS else None

    def startTLS(self, creator: Any) -> None:
        """See C{ITLSTransport}."""
        factory = TLSMemoryBIOFactory(creator, True, Factory(), clock=self.clock)
        self.protocol = factory.protocol(factory, self.protocol, False)
        self.TLS = True
        self.protocol.makeConnection(_Below(self))

    # -- the test's side --

    def say(self, data: bytes) -> None:
        """The server sends."""
        self.protocol.dataReceived(data)

    def take(self) -> bytes:
        """What was sent since last asked."""
        sent, self.sent = self.sent, b""
        return sent

    def drain(self) -> None:
        """The server reads what was held."""
        self.blocked = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def lose(self, *, clean: bool = True) -> None:
        """The connection ends."""
        self.protocol.connectionLost(Failure(ConnectionDone() if clean else ConnectionLost()))


class _Below:
    """What TLS writes to."""

    disconnecting = False

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def write(self, data: bytes) -> None:
        self._wire.raw_write(data)

    def writeSequence(self, data: list[bytes]) -> None:
        self._wire.raw_write(b"".join(data))

    def loseConnection(self) -> None:
        self._wire.closed = self._wire.closed or "closed"

    def abortConnection(self) -> None:
        self._wire.closed = self._wire.closed or "aborted"


# -- TLS ---------------------------------------------------------------------------------


@functools.cache
def certificate(*names: str) -> tuple[crypto.X509, crypto.PKey]:
    """Signed by itself, with these names in its subjectAltName; none: without one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.there.example")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return (
        crypto.load_certificate(crypto.FILETYPE_PEM, pem),
        crypto.load_privatekey(crypto.FILETYPE_PEM, secret),
    )


@implementer(IOpenSSLServerConnectionCreator)
class ServerCreator:
    """@ivar context: May be changed before its first connection."""

    def __init__(self, *names: str) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.connection: SSL.Connection | None = None
        leaf, key = certificate(*names)
        self.context.use_certificate(leaf)
        self.context.use_privatekey(key)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See C{IOpenSSLServerConnectionCreator}."""
        self.connection = SSL.Connection(self.context, None)
        return self.connection


class _Heard(Protocol):
    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class Unverified:
    """A C{Security} to which any certificate is good enough."""

    def __init__(self, creator: Any) -> None:
        self.creator = creator
        self.announced = ""

    def verdict(self, transport: Any) -> str:
        """See C{Security}."""
        del transport
        return ""

    def handshake_failed(self, reason: Failure, timed_out: bool) -> None:
        """See C{Security}."""


class TLSServer:
    """The other end of a wire on which TLS was begun."""

    def __init__(self, wire: Wire, creator: ServerCreator) -> None:
        self.wire = wire
        self._inner = _Heard()
        factory = TLSMemoryBIOFactory(creator, False, Factory(), clock=wire.clock)
        self._tls: Any = factory.protocol(factory, self._inner, False)
        self._out: list[bytes] = []
        self._tls.makeConnection(self)
        self.pump()

    disconnecting = False

    def write(self, data: bytes) -> None:
        """What TLS writes, on its way to the client."""
        self._out.append(data)

    def loseConnection(self) -> None:
        """See C{ITransport}."""

    abortConnection = loseConnection

    def pump(self) -> None:
        """Carry octets both ways until there are none."""
        while True:
            self.wire.clock.advance(0)
            data = self.wire.take()
            if data:
                self._tls.dataReceived(data)
            out, self._out = self._out, []
            if out and self.wire.closed != "aborted":
                self.wire.say(b"".join(out))
            if not data and not out:
                return

    def say(self, data: bytes) -> None:
        """The server sends."""
        self._tls.write(data)
        self.pump()

    def take(self) -> bytes:
        """What the client said since last asked."""
        self.pump()
        heard, self._inner.heard = self._inner.heard, b""
        return heard
