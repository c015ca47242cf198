"""
One server: packets to it over UDP, and over TCP where UDP is too small.

Each UDP socket is connected, so that the kernel drops what others send, and is
replaced after some hundred queries: with a random identity on a random port of
several, a forger has to guess both.  RFC 5452 section 9.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
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
from moxsmtp.dns.wire import NotAReply, Response, response
from moxsmtp.dns.wire import query as packet

__all__ = ["Query", "Reactor", "Server"]

#: UDP sockets to one server, a power of two.
_SOCKETS: Final = 64

#: Queries after which a socket is replaced.
_QUERIES_PER_SOCKET: Final = 300

#: Bits of a number that was drawn: above those of the identity stands the socket's place.
_IDENTITY: Final = 0xFFFF
_PLACE: Final = 16

#: Octets that a socket reads in one turn of the reactor where more is expected of it.
_AT_ONCE: Final = 4096

#: Numbers that are drawn at once.
_DRAW: Final = struct.Struct("!64I")


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


class Query(ABC):
    """
    A question under way to a server over UDP.  Nothing limits the time.

    @ivar section: The question as it stands in a packet.
    @ivar socket: Where an answer is waited for, by its C{identity}; L{None}: nowhere.
    """

    __slots__ = ("identity", "question", "section", "socket")

    def __init__(self, question: Question, section: bytes = b"") -> None:
        """@param section: To be set before it is sent."""
        self.question = question
        self.section = section
        self.socket: _Socket | None = None
        self.identity = 0

    @abstractmethod
    def said(self, response: Response) -> None:
        """The server did."""

    @abstractmethod
    def failed(self, why: str) -> None:
        """Nothing will be said."""

    def drop(self) -> None:
        """Nobody wants to know any more.  May be repeated, and come after the end."""
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.forget(self.identity)


class _Awaited(Query):
    """One whose answer is a L{Deferred}'s."""

    __slots__ = ("answered",)

    def __init__(self, question: Question, section: bytes) -> None:
        super().__init__(question, section)
        self.answered: Deferred[Response] = Deferred(lambda _: self.drop())

    def said(self, response: Response) -> None:
        self.answered.callback(response)

    def failed(self, why: str) -> None:
        self.answered.errback(LookupFailed(why))


class _Draws:
    """
    Where each query leaves from, and its identity: as unpredictable as the numbers
    that they are taken from, many at once.
    """

    __slots__ = ("_drawn", "_randbelow")

    def __init__(self, randbelow: Callable[[int], int]) -> None:
        self._randbelow = randbelow
        self._drawn: list[int] = []

    def draw(self) -> int:
        """A number below 2**32; no two have anything to do with each other."""
        if not self._drawn:
            octets = self._randbelow(1 << 8 * _DRAW.size).to_bytes(_DRAW.size, "big")
            self._drawn += _DRAW.unpack(octets)
        return self._drawn.pop()


class _Socket(DatagramProtocol):
    """One connected UDP socket."""

    #: Twisted would write two lines to the log for each.
    noisy = False
    transport: Any  # an IUDPTransport, whose write() wants no address once connected

    def __init__(self, upstream: Upstream, draws: _Draws) -> None:
        self._upstream = upstream
        self._trust_ad = believes_ad(upstream)
        self._draws = draws
        self._pending: dict[int, Query] = {}
        self._queries = 0
        #: It takes no more queries.
        self.is_spent = False
        self.closed = False

    def startProtocol(self) -> None:
        self.transport.connect(str(self._upstream.address), self._upstream.port)

    def ask(self, query: Query, identity: int) -> None:
        """
        Send it; then it is told the answer, a failure, or drops it.

        @param identity: If it is free; else another is drawn.
        """
        while identity in self._pending:
            identity = self._draws.draw() & _IDENTITY
        self._queries += 1
        if self._queries >= _QUERIES_PER_SOCKET:
            self.is_spent = True
        self._pending[identity] = query
        query.socket, query.identity = self, identity
        try:
            self.transport.write(packet(identity, query.section))
        except (OSError, MessageLengthError) as error:
            self.forget(identity)
            query.socket = None
            query.failed(f"cannot send: {error}")

    def forget(self, identity: int) -> None:
        """What is said to it does not matter any more."""
        self._pending.pop(identity, None)
        if self.is_spent and not self._pending:
            self.close()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:  # noqa: ARG002 -- Twisted's
        # Twisted looks for one more packet until it has read so much.  With one a turn,
        # many replies to a busy process would come too late, and forgeries before them.
        self.transport.maxThroughput = _AT_ONCE
        identity = int.from_bytes(datagram[:2], "big")
        query = self._pending.get(identity)
        if query is None:
            return
        try:
            answer = response(datagram, query.section, query.question, trust_ad=self._trust_ad)
        except NotAReply:
            return  # perhaps forged: the true one may follow
        if len(self._pending) == 1:
            # It was the last that is waited for: to look for one more is in vain.
            self.transport.maxThroughput = 1
        self.forget(identity)
        query.socket = None
        query.said(answer)

    def connectionRefused(self) -> None:
        self._refuse()

    def stopProtocol(self) -> None:
        # A refusal by ICMP closes the socket, and this is all we hear of it.
        self.closed = self.is_spent = True
        self._refuse()

    def _refuse(self) -> None:
        for identity, query in list(self._pending.items()):
            # One that fails may have others dropped.
            if self._pending.get(identity) is query:
                self.forget(identity)
                query.socket = None
                query.failed("connection refused")

    def close(self) -> Deferred[None] | None:
        """No more of it; whoever still waits is refused."""
        if self.closed:
            return None
        self.closed = self.is_spent = True
        stopped: Deferred[None] | None = self.transport.stopListening()
        return stopped


class _Asked:
    """
    A question over TCP, and who waits for the answer.

    @ivar connector: Of the connection that is made for it.
    """

    __slots__ = ("_is_dropped", "answered", "connector", "question", "section", "trust_ad")

    def __init__(self, question: Question, section: bytes, *, trust_ad: bool) -> None:
        self.question = question
        self.section = section
        self.trust_ad = trust_ad
        self.connector: IConnector | None = None
        self.answered: Deferred[Response] = Deferred(lambda _: self._drop())
        self._is_dropped = False

    def read(self, octets: bytes) -> Response:
        """@raise NotAReply: It is none to this."""
        return response(octets, self.section, self.question, trust_ad=self.trust_ad)

    def failed(self, reason: Failure) -> None:
        """There will be no answer; if there was one, or nobody wants it, that is no matter."""
        if not self._is_dropped and not self.answered.called:
            self.answered.errback(LookupFailed(f"over TCP: {reason.getErrorMessage()}"))

    def _drop(self) -> None:
        # A connection that is not made yet fails at once, which is no failure of the
        # server's: with it whoever asked would go on to the next.
        self._is_dropped = True
        if self.connector is not None:
            self.connector.disconnect()


class _Stream(StreamProtocol):
    """One query over TCP.  RFC 1035 section 4.2.2, RFC 7766."""

    transport: Any  # an ITCPTransport, which Twisted's Protocol does not promise

    def __init__(self, asked: _Asked, identity: int) -> None:
        self._asked = asked
        self._identity = identity
        self._buffer = bytearray()

    def connectionMade(self) -> None:
        octets = packet(self._identity, self._asked.section)
        self.transport.write(len(octets).to_bytes(2, "big") + octets)

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
        self._asked.failed(reason)


class _StreamFactory(ClientFactory):
    noisy = False

    def __init__(self, asked: _Asked, identity: int) -> None:
        self._asked = asked
        self._identity = identity

    def buildProtocol(self, addr: IAddress | None) -> _Stream:  # noqa: ARG002 -- Twisted's
        return _Stream(self._asked, self._identity)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002 -- Twisted's
        self._asked.failed(reason)


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
        self._draws = _Draws(randbelow)
        self._sockets: list[_Socket | None] = [None] * _SOCKETS
        self._retired: list[_Socket] = []

    def send(self, query: Query) -> None:
        """Ask over UDP.  The query hears of everything, even before this returns."""
        drawn = self._draws.draw()
        socket = self._sockets[place := drawn >> _PLACE & _SOCKETS - 1]
        if socket is None or socket.is_spent:
            try:
                socket = self._fresh(place)
            except (OSError, CannotListenError) as error:
                query.failed(f"no socket: {error}")
                return
        socket.ask(query, drawn & _IDENTITY)

    def ask(self, question: Question, section: bytes) -> Deferred[Response]:
        """
        Ask over UDP.  Nothing limits the time; cancel the result instead.

        @raise LookupFailed: The server cannot be sent to (through the Deferred).
        """
        query = _Awaited(question, section)
        self.send(query)
        return query.answered

    def ask_stream(self, question: Question, section: bytes, seconds: float) -> Deferred[Response]:
        """
        Ask over TCP.  C{seconds} limits the connecting; cancel the result to
        limit the rest.

        @raise LookupFailed: The server cannot be reached, or answered nothing
            readable (through the Deferred).
        """
        asked = _Asked(question, section, trust_ad=self._trust_ad)
        asked.connector = self._reactor.connectTCP(
            str(self._upstream.address),
            self._upstream.port,
            _StreamFactory(asked, self._draws.draw() & _IDENTITY),
            timeout=seconds,
        )
        return asked.answered

    def _fresh(self, place: int) -> _Socket:
        old = self._sockets[place]
        if old is not None and not old.closed:
            self._retired = [one for one in self._retired if not one.closed] + [old]
        fresh = _Socket(self._upstream, self._draws)
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
