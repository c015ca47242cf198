"""
Requests over HTTP, one answer each, bounded in time and size.  RFC 9110.

Redirects are not followed, answers are not inflated, cookies are not kept.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionClosed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from moxsmtp.dns.records import LookupFailed
from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.https.endpoint import AddressRefused, CheckedEndpoints, IReactorTCPTime, TLSFor
from moxsmtp.interfaces import IResolver

__all__ = [
    "Answer", "Client", "Ending", "Request", "TooSlow", "in_words", "is_untrusted",
    "mistake_in_url",
]  # fmt: skip

T = TypeVar("T")

#: Characters of an error that are kept.
_ERROR: Final = 300

#: What OpenSSL says of a certificate that no authority vouches for, or not for that name.
_UNTRUSTED: Final = "certificate verify failed"


class TooSlow(Exception):
    """There was no whole answer in time."""


class Ending(enum.Enum):
    """
    How the body of an answer ended: C{OPEN} is with its connection, since
    nothing told its length, so that some may be missing; C{LARGE} is more than
    was to be read.
    """

    WHOLE = enum.auto()
    OPEN = enum.auto()
    BROKEN = enum.auto()
    LARGE = enum.auto()


_ENDINGS: Final = {ResponseDone: Ending.WHOLE, PotentialDataLoss: Ending.OPEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    @ivar body: L{None}: there is none, and no word of it.
    @ivar time_limit: For all of it, from the DNS to the last octet.
    @ivar kept: Octets of the answer's body that are kept.
    @ivar read: Octets of it that are read at all.
    """

    method: str
    url: str
    headers: Headers
    body: bytes | None = None
    time_limit: timedelta
    kept: int
    read: int


@dataclass(frozen=True, slots=True)
class Answer:
    """@ivar body: What was kept of it."""

    code: int
    body: bytes
    ending: Ending


def mistake_in_url(url: str) -> str | None:
    """What keeps C{url} from being called, for people; L{None}: nothing."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    mistakes = {
        "has a space or a control character in it": not url.isprintable() or " " in url,
        "is neither http:// nor https://": parts.scheme not in {"http", "https"},
        "names no host": not host,
        "names port 0": port == 0,
        "has an IPv6 address for a host, where only a name or an IPv4 address works": ":"
        in (host or ""),
        "has a user name in it, which belongs into authorization": "@" in parts.netloc,
    }
    return next((mistake for mistake, made in mistakes.items() if made), None)


class Client:
    """Calls whom its policy allows."""

    def __init__(
        self,
        reactor: IReactorTCPTime,
        resolver: IResolver,
        tls_for: TLSFor,
        policy: AddressPolicy,
        *,
        persistent: bool = True,
    ) -> None:
        """
        @param tls_for: TLS that proves the name of the host given.
        @param persistent: Whether connections are kept for the next request.
        """
        self._clock: IReactorTime = reactor
        self._pool = HTTPConnectionPool(reactor, persistent)
        # A request may have been carried out though no answer came; who asks repeats it.
        self._pool.retryAutomatically = False
        endpoints = CheckedEndpoints(reactor, resolver, tls_for, policy)
        self._agent = _AsSent(Agent.usingEndpointFactory(reactor, endpoints, self._pool))

    def close(self) -> Deferred[None]:
        """Let go of idle connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def call(self, request: Request) -> Answer:
        """
        Ask once.

        @raise TooSlow: There was no whole answer in time.
        @raise Exception: Anything that the DNS, TLS and HTTP may fail with; see
            L{in_words}.
        """
        return await _within(
            self._clock, request.time_limit, Deferred.fromCoroutine(self._call(request))
        )

    async def _call(self, request: Request) -> Answer:
        mistake = mistake_in_url(request.url)
        if mistake:
            raise AddressRefused(f"URL {mistake}")
        # A client of its own for each call: it keeps cookies, and accounts share nothing.
        client = HTTPClient(self._agent, data_to_body_producer=_Body)
        response = await client.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,  # type: ignore[arg-type]  # unused without its time limit
        )
        reading = _Reading(kept=request.kept, read=request.read)
        response.deliverBody(reading)
        ending = await reading.ended
        return Answer(response.code, bytes(reading.start), ending)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a call failed since the host did not prove its name."""
    error = _cause(error)
    return isinstance(error, SSL.Error) and any(
        detail[-1] == _UNTRUSTED for detail in _details(error)
    )


def in_words(error: BaseException | None) -> str:
    """What went wrong with a call, for people."""
    error = _cause(error)
    if isinstance(error, SSL.Error):
        reasons = "; ".join(str(detail[-1]) for detail in _details(error))
        return f"TLS: {reasons or 'connection lost'}"[:_ERROR]
    if isinstance(error, LookupFailed):
        return (f"DNS: {error}" if str(error) else "DNS: no answer")[:_ERROR]
    if isinstance(error, ConnectionAborted):
        return "we hung up: what came was too long for an answer, or none of HTTP"
    if isinstance(error, (ConnectionClosed, ResponseNeverReceived)):
        return "the server hung up before its answer was whole"
    return (str(error) or type(error).__name__)[:_ERROR]


def _cause(error: BaseException | None) -> BaseException | None:
    """An agent wraps what went wrong."""
    while isinstance(reasons := getattr(error, "reasons", None), list):
        if not (reasons and isinstance(reasons[0], Failure)):
            break
        error = reasons[0].value
    return error


def _details(error: SSL.Error) -> list[tuple[str, ...]]:
    details = error.args[0] if error.args else []
    return details if isinstance(details, list) else []


def _within(clock: IReactorTime, limit: timedelta, call: Deferred[T]) -> Deferred[T]:
    """
    C{call}, which ends with L{TooSlow} after C{limit} and with
    C{CancelledError} if it is cancelled, whatever the request makes of it.
    """

    def end(error: Exception) -> None:
        if not outcome.called:
            outcome.errback(error)
        call.cancel()

    def ended(result: T | Failure) -> None:
        if timer.active():
            timer.cancel()
        if not outcome.called:
            outcome.callback(result)  # a Failure takes the error path

    outcome: Deferred[T] = Deferred(lambda _: end(CancelledError()))
    text = f"no whole answer within {limit.total_seconds():g} s"
    timer = clock.callLater(limit.total_seconds(), end, TooSlow(text))
    _ = call.addBoth(ended)
    return outcome


@implementer(IAgent)
class _AsSent:
    """
    An agent whose answers are not inflated: a few octets of gzip may hide
    gigabytes.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Ask without Accept-Encoding, and hide Content-Encoding."""
        asked = headers.copy() if headers is not None else Headers()
        asked.removeHeader(b"accept-encoding")
        return self._agent.request(method, uri, asked, bodyProducer).addCallback(_plain)


def _plain(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"content-encoding")
    return response


@implementer(IBodyProducer)
class _Body:
    """A request's body that is in memory already."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is written."""

    def resumeProducing(self) -> None:
        """It is written."""

    def stopProducing(self) -> None:
        """It is written."""


class _Closable(Protocol):
    """What an HTTP answer is read from."""

    def loseConnection(self) -> None:
        """Read no more."""


class _Reading(StreamProtocol):
    """
    Keeps the start of a body, reads a little more, and then hangs up.

    @ivar start: What was kept.
    @ivar ended: Fires when enough was read, or when the body ends in
        whichever way.  Cancelling it hangs up.
    """

    def __init__(self, *, kept: int, read: int) -> None:
        self.ended: Deferred[Ending] = Deferred(lambda _: self._hang_up())
        self.start = bytearray()
        self._kept = kept
        self._left = read

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._left -= len(data)
        self.start += data[: max(self._kept - len(self.start), 0)]
        if self._left < 0:
            self._hang_up()
            self._finish(Ending.LARGE)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No more."""
        ending = reason.check(ResponseDone, PotentialDataLoss)
        self._finish(_ENDINGS.get(ending, Ending.BROKEN))

    def _hang_up(self) -> None:
        transport: _Closable | None = self.transport
        if transport is not None:
            transport.loseConnection()

    def _finish(self, ending: Ending) -> None:
        if not self.ended.called:
            self.ended.callback(ending)
