"""
A transport's octets into a session, and its answers back.

A coroutine runs while there is an event to answer; an idle connection has none.
One timer a connection is enough: when it fires, it looks what is waited for now.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.interfaces import Client, IKeyJudge, Role
from moxsmtp.outlet import Outlet
from moxsmtp.receive.admission import SHUTTING_DOWN, TOO_EARLY, Admission
from moxsmtp.receive.alarm import Alarm
from moxsmtp.receive.begin import begin
from moxsmtp.receive.company import Company
from moxsmtp.receive.conversation import Conversation
from moxsmtp.receive.entrance import host_of
from moxsmtp.receive.pace import Pace
from moxsmtp.receive.proxy import Relayed
from moxsmtp.receive.tracing import Trace
from moxsmtp.smtp.commands import Command
from moxsmtp.smtp.events import UNANSWERED, Event, Refusal
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.session import Session, State

__all__ = ["ESMTPServer"]

#: Octets that may wait behind an unanswered command before reading stops.
_READ_AHEAD: Final = 65_536

#: So many events are answered before other connections have their turn.
_TURN: Final = 100

#: Seconds for a peer to take our last words.
_LINGER: Final = 5.0


@implementer(IHandshakeListener, IKeyJudge, IPushProducer)
class ESMTPServer(Protocol):
    """One connection."""

    #: TCP, TLS or a double: what they have in common has no interface of its own.
    transport: Any

    def __init__(self, company: Company, relayed: Relayed | None = None) -> None:
        """
        @param company: The connections of the same socket.
        @param relayed: Who is there, where a proxy has said so.
        """
        self._company = company
        self._relayed = relayed
        self._entrance = company.entrance
        self._answering: Deferred[None] | None = None
        self._output: list[bytes] = []
        self._outlet: Outlet
        self._pace: Pace
        self._trace: Trace
        self._admission: Admission
        self._alarm = Alarm(self._entrance.clock, self._look)
        self._since = self._entrance.clock.seconds()
        self._blocked: float | None = None
        self._paused = False
        self._closing = False

    # -- the connection's life ---------------------------------------------------------

    def connectionMade(self) -> None:
        """S-11: counted, secured where TLS comes first, then greeted."""
        company, entrance, transport = self._company, self._entrance, self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._outlet = Outlet(transport)
        self._pace = Pace(entrance.clock, self._outlet.write)
        ends = self._relayed or Relayed(host_of(transport.getPeer()), host_of(transport.getHost()))
        client = Client(next(entrance.session_ids), entrance.role, ends.client, ends.local)
        self._session = Session(company.station, client)
        self._conversation = Conversation(company.circumstances, self._session, entrance.receiver)
        self._trace = Trace(self._session, self._conversation.log)
        company.joined(self)
        self._admission = Admission(entrance, client)
        transport.registerProducer(self, True)
        if entrance.role is Role.SUBMISSIONS:
            self._session.secure()
            self._arm()
        else:
            self._greet()

    def is_welcome(self, client_key: str) -> bool:
        """See L{IKeyJudge.is_welcome}."""
        return not self._closing and self._conversation.logins.is_welcome(client_key)

    def handshakeCompleted(self) -> None:
        """TLS is up: after STARTTLS a fresh session, else the greeting at last."""
        if self._closing:
            return
        tls = self._entrance.tls_info(self.transport.getHandle())
        self._session.secured(tls)
        self._since = self._entrance.clock.seconds()
        if tls.client_key and self._entrance.role.is_submission:
            self._run(self._certify())
        elif self._entrance.role is Role.SUBMISSIONS:
            self._greet()
        else:
            self._arm()

    async def _certify(self) -> None:
        """
        A client that shows a certificate is let in by it, or not at all (S-37);
        in a resumed session too (S-39).  Whatever it says meanwhile waits.
        """
        if not await self._conversation.logins.certificate_is_good():
            self._session.close()
        elif self._entrance.role is Role.SUBMISSIONS:
            self._greet()
        await self._answer_from(self._session.next())

    def _greet(self) -> None:
        """S-13, or why there is no place (S-11)."""
        refusal = self._admission.refusal(is_draining=self._company.is_draining)
        if refusal is not None:
            self._send_away(refusal)
            return
        if self._company.debugging:
            peer = str(self._session.client.address)
            self._conversation.log.write(LogLevel.debug, "connection from {peer}", peer=peer)
        if not self._admission.listens(self._company.seconds.greeting, self._welcome):
            self._welcome()

    def _welcome(self) -> None:
        self._output.append(self._session.greeting())
        self._flush()
        self._since = self._entrance.clock.seconds()
        self._arm()

    def _send_away(self, reply: Reply) -> None:
        """Before it has begun."""
        self._admission.hear()
        self._session.close()
        self._output.append(reply.encode())
        self._flush()
        self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """However it ended: nothing of it goes on."""
        self._closing = True
        self._pace.end()
        if self._answering is not None:
            self._answering.cancel()
        self._admission.leave()
        self._company.left(self)
        if self._session.state is State.HANDSHAKE:
            self._conversation.handshake_failed(reason.value)
        self._conversation.abandon()
        # A connection is a circle: what waited would live until garbage is collected.
        self._session.close()
        if self._company.debugging:
            why = str(reason.value)
            self._conversation.log.write(LogLevel.debug, "connection closed: {why}", why=why)
        # These lead back to us: all is freed now, not when the garbage is collected.
        self._alarm.forget()
        self._outlet.forget()
        self.transport = None

    # -- in ----------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Answer what can be answered."""
        if self._closing:
            return
        if self._admission.is_listening:
            # RFC 5321 section 4.3.1: a client waits for the greeting.
            self._entrance.metrics.count("moxsmtp_early_talkers_total")
            self._conversation.log.write(LogLevel.info, "spoke before it was greeted")
            self._send_away(TOO_EARLY)
            return
        self._session.receive(data)
        if self._conversation.deadline is not None:
            # More of a message has come: its next block may take as long again.
            self._since = self._entrance.clock.seconds()
        if self._answering is None and not self._is_stuck:
            if not self._proceed() and self._session.is_slow:
                self._await_more()
        elif not self._paused and self._session.buffered > _READ_AHEAD:
            self._paused = True
            self.transport.pauseProducing()

    def _proceed(self) -> bool:
        """Answer what waits; C{False} if nothing does."""
        event = self._session.next()
        if event is None:
            return False
        self._run(self._answer_from(event))
        return True

    def _run(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Nothing else is answered until it is done."""
        answering = begin(work)
        if answering is None:
            self._answered(None)
            return
        self._answering = answering
        answering.addCallbacks(self._answered, self._broken)  # type: ignore[unused-awaitable]  # _answering owns it
        if self._answering is not None:
            self._arm()

    async def _answer_from(self, event: Event | None) -> None:
        """Answer events until there are none, or until the peer must do something."""
        session, conversation, tracing = self._session, self._conversation, self._company.tracing
        turns = _TURN
        while event is not None:
            if tracing:
                self._trace.heard(event, tracing)
            if isinstance(event, UNANSWERED):
                await conversation.keep(event)
            else:
                if self._company.is_draining and isinstance(event, Command | Refusal):
                    reply = SHUTTING_DOWN
                else:
                    reply = await conversation.reply(event)
                self._output.append(session.answer(reply))
                conversation.answered(event, reply)
                if not session.may_wait(event, reply):
                    self._flush()
                    if self._is_stuck:
                        return
            turns -= 1
            if not turns:
                turns = _TURN
                self._flush()
                if self._is_stuck:
                    return
                await deferLater(self._entrance.clock, 0)
            event = session.next()
        self._flush()

    def _answered(self, _result: None) -> None:
        self._answering = None
        if self._closing or self._pace.is_saying:
            return
        self._since = self._entrance.clock.seconds()
        state = self._session.state
        if state is State.CLOSED:
            self._close()
        elif state is State.HANDSHAKE:
            self._start_tls()
        else:
            self._await_more()

    def _broken(self, failure: Failure) -> None:
        """Cancelled by us; else a bug of ours: only this connection ends (S-14)."""
        self._answering = None
        if self._closing:
            failure.trap(CancelledError)
            # Its traceback holds us, and what it was about.
            failure.cleanFailure()
            return
        self._conversation.panic("the session broke", failure)
        self.abort()

    def _await_more(self) -> None:
        step = self._company.seconds.slow
        if step and self._session.is_slow:
            if not self._pace.is_resting:
                self._paused = True
                self.transport.pauseProducing()
                self._pace.rest(step, self._read_on)
        else:
            self._read_on()
        self._arm()

    def _read_on(self) -> None:
        if self._paused and self._blocked is None and not self._closing:
            self._paused = False
            self.transport.resumeProducing()

    def _start_tls(self) -> None:
        """S-34, S-35: what came behind the command is TLS, or an attack that it ends."""
        entrance = self._entrance
        rest = self._session.take_rest()
        if entrance.role is Role.SMTP:
            entrance.metrics.count("mox_smtpserver_delivery_starttls_total")
        self._await_more()
        self._outlet.wrap()
        self.transport.startTLS(entrance.tls)
        if rest:
            self.transport.protocol.dataReceived(rest)

    # -- out -----------------------------------------------------------------------------

    @property
    def _is_stuck(self) -> bool:
        """Nothing is to be answered until what was said before has left."""
        return self._blocked is not None or self._pace.is_saying

    def _flush(self) -> None:
        if not self._output:
            return
        octets = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        if self._company.tracing:
            self._trace.said(octets)
        seconds = self._company.seconds
        if seconds.slow and self._session.is_slow:
            self._pace.say(octets, seconds.slow, seconds.write, self._said)
        else:
            self._outlet.write(octets)

    def _said(self) -> None:
        """All of a slow answer has left."""
        if self._answering is None and not self._closing:
            if self._blocked is None and self._proceed():
                return
            self._answered(None)

    def pauseProducing(self) -> None:
        """The peer does not read: no more answers, so nothing piles up."""
        if not self._closing:
            self._blocked = self._entrance.clock.seconds()
            self._arm()

    def resumeProducing(self) -> None:
        """It has read all of it."""
        self._blocked = None
        if self._closing or self._answering is not None or self._pace.is_saying:
            return
        if not self._proceed():
            self._await_more()

    def stopProducing(self) -> None:
        """The connection is gone; C{connectionLost} follows."""

    def _close(self) -> None:
        """Close, but wait neither for a TLS peer nor for a slow one for ever (S-14)."""
        self._closing = True
        if self._outlet.close():
            return
        self._alarm.set_anew(_LINGER)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def hurry(self) -> None:
        """We are about to stop: nobody is kept waiting on purpose any more."""
        if self._admission.is_listening:
            self._send_away(SHUTTING_DOWN)
        self._pace.hurry()

    def abort(self) -> None:
        """Stop whatever is under way, and the connection."""
        self._closing = True
        if self._answering is not None:
            self._answering.cancel()
        self.transport.abortConnection()

    # -- time ------------------------------------------------------------------------------

    def _due(self) -> float:
        """When we have waited long enough for what is waited for now (S-16)."""
        limits, conversation = self._company.seconds, self._conversation
        due = math.inf if conversation.deadline is None else conversation.deadline
        if self._blocked is not None:
            return min(due, self._blocked + limits.write)
        if self._answering is not None or self._pace.is_saying:
            return due
        if self._session.state is State.HANDSHAKE:
            return self._since + limits.handshake
        if conversation.deadline is not None:
            return min(due, self._since + limits.block)
        return self._since + (limits.busy if self._entrance.connections.is_busy else limits.command)

    def _arm(self) -> None:
        """Look in time, and often enough to see that the listener got busy."""
        due = self._due()
        if not self._alarm.rings_by(due):
            self._alarm.set(min(due - self._entrance.clock.seconds(), self._company.seconds.busy))

    def _look(self) -> None:
        if self._closing:
            self.transport.abortConnection()
        elif self._due() > self._entrance.clock.seconds():
            self._arm()
        else:
            self._conversation.log.write(LogLevel.debug, "waited too long")
            is_idle = self._conversation.deadline is None and self._blocked is None
            if is_idle and self._session.state is not State.HANDSHAKE:
                self._session.close()
                self._close()
            else:
                self.abort()
