"""An SMTP session over a transport: octets to and from L{Exchange}, within its time limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import TimeoutError as TooLate
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.interfaces import ChannelBinding, IContent
from moxsmtp.outbound.content import PIECE, streamed, whole
from moxsmtp.outbound.deadlines import Deadlines
from moxsmtp.outlet import Outlet
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import (
    AwaitReply,
    BeginTLS,
    Fate,
    Idle,
    Mailing,
    Over,
    Refusal,
    SendContent,
    Write,
)
from moxsmtp.smtp.stuffing import BareLineEnd

__all__ = ["PIECE", "ESMTPClient", "Security"]

#
_SESSION_LIMIT: Final = timedelta(minutes=30)
_HANDSHAKE_LIMIT: Final = timedelta(seconds=60)
_WRITE_LIMIT: Final = timedelta(seconds=30)
# From the wish to leave to the end of the session; nothing depends on it.
_LEAVE_LIMIT: Final = timedelta(seconds=5)
# A peer may never answer our close_notify.
_CLOSE_LIMIT: Final = 5.0

_LOCAL_ERROR: Final = Refusal(permanent=False, error="local error", status="3.0")


class Security(Protocol):
    """What one connection's TLS has to be."""

    #: What the server calls itself; set before anything is told.
    announced: str

    @property
    def creator(self) -> IOpenSSLClientConnectionCreator:
        """Begins it."""

    def verdict(self, transport: Any) -> str:
        """After the handshake: why it is not good enough; empty if it is."""

    def handshake_failed(self, reason: Failure, timed_out: bool) -> None:
        """The connection ended before the server had spoken under TLS."""


@implementer(IHandshakeListener, IPushProducer)
class ESMTPClient(TwistedProtocol):
    """
    One session, from connecting to QUIT, with one mailing after the other.

    @ivar exchange: What is said, and the fates of the latest mailing.
    @ivar closed: Fires when the connection is gone, for whatever reason.
    @ivar is_late: A time limit ended the session.
    """

    _log = Logger()

    transport: Any  # an ITCPTransport with startTLS, which Twisted's Protocol does not promise

    def __init__(
        self,
        *,
        exchange: Exchange,
        security: Security | None,
        clock: IReactorTime,
        binding: Callable[[SSL.Connection], ChannelBinding | None] | None = None,
    ) -> None:
        """
        @param security: For TLS, where the exchange may use it.
        @param binding: Finds what ties a login to its TLS connection.
        """
        self.exchange = exchange
        self.closed: Deferred[None] = Deferred()
        self.is_late = False
        self._security = security
        self._clock = clock
        self._binding = binding
        self._outlet: Outlet
        self._prefix = b""
        self._content: IContent | None = None
        self._alternative: IContent | None = None
        self._decided: Deferred[None] | None = None
        self._awaited: AwaitReply | None = None
        self._deadlines = Deadlines(clock, self._late)
        self._busy = True
        self._shaking_hands = False
        self._sending: Deferred[None] | None = None
        self._writable: Deferred[None] | None = None
        self._closing: IDelayedCall | None = None
        self._is_finished = False
        self._is_connected = False

    # -- the caller's side --

    @property
    def is_reusable(self) -> bool:
        """L{deliver} may be called; the connection is not known to be gone."""
        return not self._is_finished and self.exchange.is_reusable

    def is_silent(self, seconds: float) -> bool:
        """Whether the server has owed us a word for so long; not, that it takes no more of ours."""
        return self._writable is None and self._deadlines.has_waited(seconds)

    async def deliver(
        self,
        mailing: Mailing,
        prefix: bytes,
        content: IContent,
        alternative: IContent | None = None,
    ) -> list[Fate]:
        """
        Hand one message over, behind those before it.  Known as soon as every
        recipient has its fate: what is still to be said then, QUIT above all, is
        nothing that a result should wait for and be forgotten in a crash (Q-68).

        Cancelling it cuts the connection; what the server has said by then
        stands in C{exchange.fates}.

        @param prefix: Sent before the content.
        @param alternative: The form in UTF-8, where the mailing speaks of one.
        """
        try:
            text, objection = await self._whole(prefix, content)
            other = None
            if alternative is not None:
                other, unreadable = await self._whole(b"", alternative)
                if unreadable is not None:
                    # The other form says it all.
                    mailing, alternative = mailing.in_one_form, None
            self.exchange.begin(mailing, text, alternative=other, objection=objection)
            self._prefix, self._content, self._alternative = prefix, content, alternative
            if self._is_connected:
                self._deadlines.allow(_SESSION_LIMIT)
            if not self._busy:
                self._advance()
            if not self.exchange.is_decided:
                self._decided = Deferred()
                await self._decided
        except CancelledError:
            self._decided = None
            self._cut()
            raise
        finally:
            self._prefix, self._content, self._alternative = b"", None, None
        return [fate for fate in self.exchange.fates if fate is not None]

    def leave(self) -> None:
        """QUIT.  The server has a moment to answer what it still owes and this."""
        if self._is_finished:
            return
        if not self._is_connected:
            self._cut()
            return
        self.exchange.leave()
        self._deadlines.allow(_LEAVE_LIMIT)
        if not self._busy:
            self._advance()

    def abort(self) -> None:
        """Cut the connection, whatever is under way; what is awaited is cancelled."""
        decided, self._decided = self._decided, None
        self._cut()
        if decided is not None:
            decided.cancel()

    # -- Twisted's side --

    def connectionMade(self) -> None:
        """See C{IProtocol}."""
        self._is_connected = True
        self._outlet = Outlet(self.transport)
        if self._is_finished:
            self.transport.abortConnection()
            return
        self._deadlines.allow(_SESSION_LIMIT)
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
        if self._is_finished or self._security is None:
            return
        self._shaking_hands = False
        self._security.announced = self.exchange.opening.announced
        objection = self._security.verdict(self.transport)
        binding = None
        if self._binding is not None and not objection:
            binding = self._binding(self.transport.getHandle())
        self.exchange.secured(objection, binding)
        self._advance()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # always given
        """See C{IProtocol}."""
        self._is_connected = False
        self._outlet.forget()
        self._deadlines.stop()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if not self._is_finished:
            self._tell_security(reason)
            self._give_up(f"the connection was lost: {reason.getErrorMessage()}")
        self.closed.callback(None)

    def pauseProducing(self) -> None:
        """See C{IPushProducer}: the peer reads more slowly than we write."""
        if self._writable is None:
            self._writable = Deferred()
            self._deadlines.set(_WRITE_LIMIT, "the server does not take the message")

    def resumeProducing(self) -> None:
        """See C{IPushProducer}."""
        writable, self._writable = self._writable, None
        if writable is not None:
            self._deadlines.clear()
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
                    self._outlet.write(octets)
                case AwaitReply(limit):
                    if step is not self._awaited:
                        self._awaited = step
                        self._deadlines.set(limit, "no reply in time")
                    self._rest()
                    return
                case Idle():
                    self._deadlines.clear()
                    self._rest()
                    return
                case BeginTLS():
                    self._begin_tls()
                    return
                case SendContent():
                    self._deadlines.clear()
                    self._sending = Deferred.fromCoroutine(self._send())
                    _ = self._sending.addErrback(self._broken)
                    return
                case Over(clean):
                    self._finish(clean=clean)
                    return

    def _rest(self) -> None:
        """The server has to speak, or the caller, who hears now what is known."""
        self._busy = False
        if self._decided is not None and self.exchange.is_decided:
            decided, self._decided = self._decided, None
            decided.callback(None)

    def _begin_tls(self) -> None:
        if self._security is None:
            raise RuntimeError("an exchange that may use TLS needs to know which")
        self._deadlines.set(_HANDSHAKE_LIMIT, "no TLS handshake in time")
        self._shaking_hands = True
        self._outlet.wrap()
        self.transport.startTLS(self._security.creator)

    # -- content --

    async def _whole(self, prefix: bytes, content: IContent) -> tuple[bytes | None, Refusal | None]:
        """A content so short that one write will do, and what is wrong with it."""
        if len(prefix) + content.size > PIECE:
            return None, None
        try:
            return await whole(prefix, content), None
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 -- whatever the store's trouble is, it is not the peer's; cancelling passes
            self._log.failure("the content of a message cannot be read")
            return None, _LOCAL_ERROR

    async def _send(self) -> None:
        """Prefix and content in pieces, or the form in UTF-8."""
        prefix, content = self._prefix, self._content
        if content is None:
            raise RuntimeError("there is no content to be sent")
        if self.exchange.is_in_utf8 and self._alternative is not None:
            prefix, content = b"", self._alternative
        self.transport.registerProducer(self, True)
        try:
            await streamed(prefix, content, self._written)
        finally:
            if self._is_connected:
                self.transport.unregisterProducer()
        self._sending = None
        self._advance()

    async def _written(self, octets: bytes) -> None:
        self._outlet.write(octets)
        if self._writable is not None:
            await self._writable

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
            refusal = _LOCAL_ERROR
        self._abandon(refusal)

    # -- the end --

    def _tell_security(self, reason: Failure) -> None:
        """Nothing came under TLS, although it was begun: RFC 8460 wants to know why."""
        opening = self.exchange.opening
        begun = self._shaking_hands or (opening.is_secured and not opening.uses_tls)
        self._shaking_hands = False
        if begun and not opening.tls_failed and self._security is not None:
            self._security.announced = opening.announced
            self._security.handshake_failed(reason, reason.check(TooLate) is not None)

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
        self._deadlines.stop()
        if self._sending is not None:
            self._sending.cancel()
        if self._is_connected:
            if clean:
                self.transport.loseConnection()
                self._closing = self._clock.callLater(_CLOSE_LIMIT, self.transport.abortConnection)
            else:
                self.transport.abortConnection()
        self._rest()

    def _cut(self) -> None:
        """We end it ourselves; what the server has not told stays unknown."""
        self.exchange.drop()
        self._is_finished = True
        self._deadlines.stop()
        if self._sending is not None:
            self._sending.cancel()
        if self._is_connected:
            self.transport.abortConnection()

    # -- time --

    def _late(self, error: str) -> None:
        self.is_late = not self.exchange.is_decided
        self._tell_security(Failure(TooLate(error)))
        self._give_up(error)
