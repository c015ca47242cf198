"""
An SMTP session over a transport: octets to and from L{Exchange}, its time
limits kept, its content streamed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.interfaces import IContent
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import AwaitReply, BeginTLS, Over, Refusal, SendContent, Write
from moxsmtp.smtp.stuffing import BareLineEnd, DotStuffer

__all__ = ["PIECE", "ESMTPClient"]

#: Octets of content read and sent at a time.
PIECE: Final = 65_536

#
_SESSION_LIMIT: Final = timedelta(minutes=30)
_HANDSHAKE_LIMIT: Final = timedelta(seconds=60)
_WRITE_LIMIT: Final = timedelta(seconds=30)
# From the last fate to the end of the session; nothing depends on it.
_LEAVE_LIMIT: Final = timedelta(seconds=5)
# A peer may never answer our close_notify.
_CLOSE_LIMIT: Final = timedelta(seconds=5)


class _ShortContent(Exception):
    """The store gave less than it promised."""


@implementer(IHandshakeListener, IPushProducer)
class ESMTPClient(Protocol):
    """
    One session, from connecting to QUIT.

    @ivar exchange: What is said, and the fates of the recipients.
    @ivar over: Fires once every fate is known, and never fails; cancelling it
        cuts the connection.  QUIT is answered, or not, after that: a result
        that waits for it is one that a crash forgets (Q-68).
    @ivar is_late: A time limit ended the session.
    """

    _log = Logger()

    transport: Any  # an ITCPTransport with startTLS, which Twisted's Protocol does not promise

    def __init__(
        self,
        *,
        exchange: Exchange,
        prefix: bytes,
        content: IContent,
        creator: IOpenSSLClientConnectionCreator | None,
        clock: IReactorTime,
    ) -> None:
        """
        @param prefix: Sent before the content.
        @param creator: For STARTTLS, where the exchange may use it.
        """
        self.exchange = exchange
        self.over: Deferred[None] = Deferred(self._cancel)
        self.is_late = False
        self._prefix = prefix
        self._content = content
        self._creator = creator
        self._clock = clock
        self._awaited: AwaitReply | None = None
        self._timer: IDelayedCall | None = None
        self._session_timer: IDelayedCall | None = None
        self._busy = False
        self._sending: Deferred[None] | None = None
        self._writable: Deferred[None] | None = None
        self._is_finished = False
        self._is_connected = False

    # -- Twisted's side --

    def connectionMade(self) -> None:
        """See C{IProtocol}."""
        self._is_connected = True
        if self._is_finished:
            self.transport.abortConnection()
            return
        self._session_timer = self._later(_SESSION_LIMIT, "the session took too long")
        self._advance()

    def dataReceived(self, data: bytes) -> None:
        """See C{IProtocol}."""
        if self._is_finished:
            return
        self.exchange.receive(data)
        if not self._busy or self.exchange.is_over:
            self._advance()

    def handshakeCompleted(self) -> None:
        """See C{IHandshakeListener}."""
        if self._is_finished:
            return
        self.exchange.secured()
        self._busy = False
        self._advance()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # always given
        """See C{IProtocol}."""
        self._is_connected = False
        self._stop_timers()
        if not self._is_finished:
            self._give_up(f"the connection was lost: {reason.getErrorMessage()}")

    def pauseProducing(self) -> None:
        """See C{IPushProducer}: the peer reads more slowly than we write."""
        if self._writable is None:
            self._writable = Deferred()
            self._set_timer(_WRITE_LIMIT, "the server does not take the message")

    def resumeProducing(self) -> None:
        """See C{IPushProducer}."""
        writable, self._writable = self._writable, None
        if writable is not None:
            self._stop_timer()
            writable.callback(None)

    def stopProducing(self) -> None:
        """See C{IPushProducer}: L{connectionLost} follows."""

    # -- the steps --

    def _advance(self) -> None:
        """Take steps until one has to be waited for."""
        self._busy = True
        while True:
            step = self.exchange.step()
            match step:
                case Write(octets):
                    self.transport.write(octets)
                case AwaitReply(limit):
                    if step is not self._awaited:
                        self._awaited = step
                        self._set_timer(limit, "no reply in time")
                    self._busy = False
                    if self.exchange.is_decided and not self.over.called:
                        self._take_leave()
                    return
                case BeginTLS():
                    self._set_timer(_HANDSHAKE_LIMIT, "no TLS handshake in time")
                    self.transport.startTLS(self._creator)
                    return
                case SendContent():
                    self._stop_timer()
                    self._sending = Deferred.fromCoroutine(self._send())
                    _ = self._sending.addErrback(self._broken)
                    return
                case Over(clean):
                    self._finish(clean=clean)
                    return

    async def _send(self) -> None:
        """Prefix and content in pieces; there is never more than one in memory."""
        stuffer = DotStuffer()
        self.transport.registerProducer(self, True)
        try:
            piece = self._prefix
            offset, size = 0, self._content.size
            while offset < size:
                # One write for what is small.
                wanted = min(size - offset, max(1, PIECE - len(piece)))
                read = await self._content.read(offset, wanted)
                if not read:
                    raise _ShortContent(f"it ends after {offset} of {size} octets")
                offset += len(read)
                piece += read
                if offset < size:
                    self.transport.write(stuffer.encode(piece))
                    piece = b""
                    if self._writable is not None:
                        await self._writable
            self.transport.write(stuffer.encode(piece) + stuffer.finish())
            if self._writable is not None:
                await self._writable
        finally:
            if self._is_connected:
                self.transport.unregisterProducer()
        self._sending = None
        self._advance()

    def _broken(self, failure: Failure) -> None:
        """The content did not go out whole; without its end the server has to drop it."""
        self._sending = None
        if failure.check(CancelledError):
            return
        if failure.check(BareLineEnd):
            # RFC 5321 section 2.3.8; RFC 3463 section 3.7.
            refusal = Refusal(
                permanent=True, error=failure.getErrorMessage(), code=554, status="6.0"
            )
        else:
            self._log.failure("the content of a message cannot be read", failure)
            refusal = Refusal(permanent=False, error="local error", status="3.0")
        self._abandon(refusal)

    # -- the end --

    def abort(self) -> None:
        """Cut the connection, whatever is under way."""
        if not self.over.called:
            self.over.cancel()
        elif self._is_connected:
            self.transport.abortConnection()

    def _take_leave(self) -> None:
        """Nobody has to wait any more; what is left to be said has little time."""
        self._stop_session_timer()
        self._session_timer = self._later(_LEAVE_LIMIT, "the session took too long")
        self.over.callback(None)

    def _give_up(self, error: str) -> None:
        self._abandon(Refusal(permanent=False, error=error, status="4.2"))

    def _abandon(self, refusal: Refusal) -> None:
        self.exchange.abandon(refusal)
        self._finish(clean=False)

    def _finish(self, *, clean: bool) -> None:
        """All is known.  Close; the peer gets no more than a moment for its part."""
        if self._is_finished:
            return
        self._is_finished = True
        self._stop_timers()
        if self._sending is not None:
            self._sending.cancel()
        if self._is_connected:
            if clean:
                self.transport.loseConnection()
                self._timer = self._clock.callLater(
                    _CLOSE_LIMIT.total_seconds(), self.transport.abortConnection
                )
            else:
                self.transport.abortConnection()
        if not self.over.called:
            self.over.callback(None)

    def _cancel(self, over: Deferred[None]) -> None:
        del over
        self.exchange.drop()
        self._is_finished = True
        self._stop_timers()
        if self._sending is not None:
            self._sending.cancel()
        if self._is_connected:
            self.transport.abortConnection()

    # -- time --

    def _later(self, limit: timedelta, error: str) -> IDelayedCall:
        return self._clock.callLater(limit.total_seconds(), self._late, error)

    def _late(self, error: str) -> None:
        self.is_late = not self.exchange.is_decided
        self._give_up(error)

    def _set_timer(self, limit: timedelta, error: str) -> None:
        self._stop_timer()
        self._timer = self._later(limit, error)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _stop_timers(self) -> None:
        self._stop_timer()
        self._stop_session_timer()

    def _stop_session_timer(self) -> None:
        timer, self._session_timer = self._session_timer, None
        if timer is not None and timer.active():
            timer.cancel()
