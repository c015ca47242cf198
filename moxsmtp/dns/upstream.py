"""
One server: packets to it over UDP, and over TCP where UDP is too small.

Each UDP socket is connected, so that the kernel drops what others send, and is
replaced after some hundred queries: with a random identity on a random port of
several, a forger has to guess both.  RFC 5452 section 9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure

from moxsmtp.dns.records import LookupFailed, Question
from moxsmtp.dns.settings import Upstream
from moxsmtp.dns.system import believes_ad
from moxsmtp.dns.wire import NotAReply, Response, query, response

__all__ = ["Reactor", "Server"]

#: UDP sockets to one server.
_SOCKETS: Final = 64

#: Queries after which a socket is replaced.
_QUERIES_PER_SOCKET: Final = 300

_IDENTITIES: Final = 65_536


class Reactor(Protocol):
    """What of a reactor the resolver uses: IReactorUDP, IReactorTCP, IReactorTime."""

    def seconds(self) -> float:
        """See C{IReactorTime}."""

    def callLater(self, delay: float, later: Callable[..., object], /, *args: object) -> Any:
        """See C{IReactorTime}."""

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> Any:
        """See C{IReactorUDP}."""

    def connectTCP(self, host: str, port: int, factory: ClientFactory, timeout: float = 30) -> Any:
        """See C{IReactorTCP}."""


class _Question:
    """A query under way: what is asked, and who waits for the answer."""

    __slots__ = ("answered", "question", "section", "trust_ad")

    def __init__(self, question: Question, section: bytes, *, trust_ad: bool) -> None:
        self.question = question
        self.section = section
        self.trust_ad = trust_ad
        self.answered: Deferred[Response] = Deferred()

    def read(self, packet: bytes) -> Response:
        """@raise NotAReply: It is none to this."""
        return response(packet, self.section, self.question, trust_ad=self.trust_ad)


class _Socket(DatagramProtocol):
    """One connected UDP socket."""

    #: Twisted would write two lines to the log for each.
    noisy = False
    transport: Any  # an IUDPTransport, whose write() wants no address once connected

    def __init__(self, upstream: Upstream, randbelow: Callable[[int], int]) -> None:
        self._upstream = upstream
        self._randbelow = randbelow
        self._pending: dict[int, _Question] = {}
        self._queries = 0
        self.closed = False

    @property
    def is_spent(self) -> bool:
        """It takes no more queries."""
        return self.closed or self._queries >= _QUERIES_PER_SOCKET

    def startProtocol(self) -> None:
        self.transport.connect(str(self._upstream.address), self._upstream.port)

    def ask(self, asked: _Question) -> None:
        """Send it; C{asked.answered} fires, or is cancelled by who waits."""
        identity = self._randbelow(_IDENTITIES)
        while identity in self._pending:
            identity = self._randbelow(_IDENTITIES)
        self._queries += 1
        self._pending[identity] = asked
        asked.answered = Deferred(lambda _: self._forget(identity))
        try:
            self.transport.write(query(identity, asked.section))
        except (OSError, MessageLengthError) as error:
            self._forget(identity)
            asked.answered.errback(LookupFailed(f"cannot send: {error}"))

    def _forget(self, identity: int) -> None:
        self._pending.pop(identity, None)
        if not self._pending and self.is_spent:
            self.close()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:  # noqa: ARG002 -- Twisted's
        identity = int.from_bytes(datagram[:2], "big")
        asked = self._pending.get(identity)
        if asked is None:
            return
        try:
            answer = asked.read(datagram)
        except NotAReply:
            return  # perhaps forged: the true one may follow
        self._forget(identity)
        asked.answered.callback(answer)

    def connectionRefused(self) -> None:
        self._refuse()

    def stopProtocol(self) -> None:
        # A refusal by ICMP closes the socket, and this is all we hear of it.
        self.closed = True
        self._refuse()

    def _refuse(self) -> None:
        pending, self._pending = self._pending, {}
        for asked in pending.values():
            asked.answered.errback(LookupFailed("connection refused"))

    def close(self) -> Deferred[None] | None:
        """No more of it; whoever still waits is refused."""
        if self.closed:
            return None
        self.closed = True
        stopped: Deferred[None] | None = self.transport.stopListening()
        return stopped


class _Stream(StreamProtocol):
    """One query over TCP.  RFC 1035 section 4.2.2, RFC 7766."""

    transport: Any  # an ITCPTransport, which Twisted's Protocol does not promise

    def __init__(self, asked: _Question, identity: int) -> None:
        self._asked = asked
        self._identity = identity
        self._buffer = bytearray()

    def connectionMade(self) -> None:
        packet = query(self._identity, self._asked.section)
        self.transport.write(len(packet).to_bytes(2, "big") + packet)

    def dataReceived(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2], "big"):
            return
        packet = bytes(buffer[2 : 2 + int.from_bytes(buffer[:2], "big")])
        buffer.clear()
        self.transport.abortConnection()
        if self._asked.answered.called:
            return
        try:
            if int.from_bytes(packet[:2], "big") != self._identity:
                raise NotAReply("the reply to another query")  # noqa: TRY301 -- one way to refuse
            answer = self._asked.read(packet)
        except NotAReply as error:
            self._asked.answered.errback(LookupFailed(f"over TCP: {error}"))
        else:
            self._asked.answered.callback(answer)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's default argument is no failure of ours
        _fail(self._asked, reason)


class _StreamFactory(ClientFactory):
    noisy = False

    def __init__(self, asked: _Question, identity: int) -> None:
        self._asked = asked
        self._identity = identity

    def buildProtocol(self, addr: IAddress | None) -> _Stream:  # noqa: ARG002 -- Twisted's
        return _Stream(self._asked, self._identity)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002 -- Twisted's
        _fail(self._asked, reason)


def _fail(asked: _Question, reason: Failure) -> None:
    if not asked.answered.called:
        asked.answered.errback(LookupFailed(f"over TCP: {reason.getErrorMessage()}"))


class Server:
    """
    Asks one server.

    @ivar name: For texts: its address, and its port if that is unusual.
    """

    def __init__(
        self, upstream: Upstream, reactor: Reactor, randbelow: Callable[[int], int]
    ) -> None:
        port = "" if upstream.port == 53 else f" port {upstream.port}"
        self.name = f"{upstream.address}{port}"
        self._upstream = upstream
        self._trust_ad = believes_ad(upstream)
        self._reactor = reactor
        self._randbelow = randbelow
        self._sockets: list[_Socket | None] = [None] * _SOCKETS
        self._retired: list[_Socket] = []

    def ask(self, question: Question, section: bytes) -> Deferred[Response]:
        """
        Ask over UDP.  Nothing limits the time; cancel the result instead.

        @raise LookupFailed: The server cannot be sent to (through the Deferred).
        """
        asked = _Question(question, section, trust_ad=self._trust_ad)
        try:
            self._socket().ask(asked)
        except (OSError, CannotListenError) as error:
            asked.answered.errback(LookupFailed(f"no socket: {error}"))
        return asked.answered

    def ask_stream(self, question: Question, section: bytes, seconds: float) -> Deferred[Response]:
        """
        Ask over TCP.  C{seconds} limits the connecting; cancel the result to
        limit the rest.

        @raise LookupFailed: The server cannot be reached, or answered nothing
            readable (through the Deferred).
        """
        asked = _Question(question, section, trust_ad=self._trust_ad)
        connector: Any = None
        asked.answered = Deferred(lambda _: connector and connector.disconnect())
        connector = self._reactor.connectTCP(
            str(self._upstream.address),
            self._upstream.port,
            _StreamFactory(asked, self._randbelow(_IDENTITIES)),
            timeout=seconds,
        )
        return asked.answered

    def _socket(self) -> _Socket:
        place = self._randbelow(_SOCKETS)
        socket = self._sockets[place]
        if socket is not None and not socket.is_spent:
            return socket
        if socket is not None and not socket.closed:
            self._retired = [old for old in self._retired if not old.closed] + [socket]
        fresh = _Socket(self._upstream, self._randbelow)
        interface = "::" if self._upstream.address.version == 6 else ""
        self._reactor.listenUDP(0, fresh, interface=interface)
        self._sockets[place] = fresh
        return fresh

    def close(self) -> list[Deferred[None]]:
        """Close every socket; the results fire when that is done."""
        sockets = [socket for socket in (*self._sockets, *self._retired) if socket is not None]
        self._sockets = [None] * _SOCKETS
        self._retired = []
        return [closing for socket in sockets if (closing := socket.close()) is not None]
