"""
One call of a webhook over HTTP (Q-73).  RFC 9110 section 9.3.3.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from moxsmtp.dns.records import LookupFailed
from moxsmtp.interfaces import IResolver
from moxsmtp.queue.job import Hook, HookResult
from moxsmtp.webhooks.endpoint import (
    AddressRefused,
    CheckedEndpoints,
    IReactorTCPTime,
    TLSFor,
)
from moxsmtp.webhooks.policy import AddressPolicy
from moxsmtp.webhooks.settings import WebhookSettings

__all__ = ["Poster", "mistake_in_url"]

T = TypeVar("T")

#: Octets of an answer that are kept.
_KEPT: Final = 512

#: Octets of an answer that are read at all, so that the connection may be used again.
_READ: Final = 64 * 1024

#: Characters of an error that are kept.
_ERROR: Final = 300


class _TooSlow(Exception):
    """There was no whole answer in time."""


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


class Poster:
    """Calls webhooks."""

    def __init__(
        self,
        reactor: IReactorTCPTime,
        resolver: IResolver,
        tls_for: TLSFor,
        settings: WebhookSettings,
        *,
        user_agent: str,
        allow_loopback: bool,
    ) -> None:
        """
        @param tls_for: TLS that proves the name of the host given.
        @param allow_loopback: Whether this machine itself may be called.
        """
        self._clock: IReactorTime = reactor
        self._limit = settings.time_limit
        self._user_agent = user_agent
        self._pool = HTTPConnectionPool(reactor)
        # A request may have been carried out though no answer came; we repeat it our way.
        self._pool.retryAutomatically = False
        policy = AddressPolicy(settings.allow_private, allow_loopback=allow_loopback)
        endpoints = CheckedEndpoints(reactor, resolver, tls_for, policy)
        self._agent = _AsSent(Agent.usingEndpointFactory(reactor, endpoints, self._pool))

    def close(self) -> Deferred[None]:
        """Let go of idle connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def post(self, hook: Hook) -> HookResult:
        """
        Call once.  Only status 200 is a success; redirects are not followed.

        @param hook: Its C{attempts} include this call.
        """
        start = datetime.fromtimestamp(self._clock.seconds(), UTC)
        code, error, kept = 0, "", b""
        try:
            call = Deferred.fromCoroutine(self._call(hook))
            code, kept = await _within(self._clock, self._limit, call)
        except CancelledError:
            raise
        except _TooSlow:
            error = f"no whole answer within {self._limit.total_seconds():g} s"
        except Exception as failure:  # noqa: BLE001 - whatever keeps a call from success is its result
            error = _in_words(failure)
        if code and code != 200:
            error = f"HTTP status {code}, not 200"
        return HookResult(
            start=start,
            duration=datetime.fromtimestamp(self._clock.seconds(), UTC) - start,
            url=hook.url,
            success=code == 200,
            code=code,
            error=error,
            response=kept.decode("utf-8", "replace"),
        )

    async def _call(self, hook: Hook) -> tuple[int, bytes]:
        mistake = mistake_in_url(hook.url)
        if mistake:
            raise AddressRefused(f"URL {mistake}")
        # A client of its own for each call: it keeps cookies, and accounts share nothing.
        client = HTTPClient(self._agent, data_to_body_producer=_Body)
        response = await client.request(
            "POST",
            hook.url,
            headers=self._headers(hook),
            data=hook.payload,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,  # type: ignore[arg-type]  # unused without its time limit
        )
        start = _Start()
        response.deliverBody(start)
        return response.code, await start.kept

    def _headers(self, hook: Hook) -> Headers:
        headers = Headers(
            {
                "Content-Type": ["application/json; charset=utf-8"],
                "User-Agent": [self._user_agent],
                "X-Mox-Webhook-ID": [str(hook.id)],
                "X-Mox-Webhook-Attempt": [str(hook.attempts)],
            }
        )
        if hook.authorization:
            headers.addRawHeader("Authorization", hook.authorization)
        return headers


def _in_words(error: BaseException | None) -> str:
    """What went wrong, for people."""
    reasons = getattr(error, "reasons", None)
    if isinstance(reasons, list) and reasons and isinstance(reasons[0], Failure):
        return _in_words(reasons[0].value)
    if isinstance(error, SSL.Error):
        details = error.args[0] if error.args else ()
        return "TLS: " + ("; ".join(str(detail[-1]) for detail in details) or "connection lost")
    if isinstance(error, LookupFailed):
        return f"DNS: {error}" if str(error) else "DNS: no answer"
    return (str(error) or type(error).__name__)[:_ERROR]


def _within(clock: IReactorTime, limit: timedelta, call: Deferred[T]) -> Deferred[T]:
    """
    C{call}, which ends with C{_TooSlow} after C{limit} and with
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
    timer = clock.callLater(limit.total_seconds(), end, _TooSlow())
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


class _Start(StreamProtocol):
    """
    Keeps the start of an answer, reads a little more, and then hangs up.

    @ivar kept: Fires when enough was read, or when the answer ends in
        whichever way: the status has come, and it decides.
    """

    def __init__(self) -> None:
        self.kept: Deferred[bytes] = Deferred()
        self._start = b""
        self._seen = 0

    def dataReceived(self, data: bytes) -> None:
        """More of the answer."""
        self._seen += len(data)
        self._start = (self._start + data[:_KEPT])[:_KEPT]
        if self._seen > _READ:
            transport: _Closable | None = self.transport
            if transport is not None:
                transport.loseConnection()
            self._finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - any end will do
        """No more."""
        self._finish()

    def _finish(self) -> None:
        if not self.kept.called:
            self.kept.callback(self._start)
