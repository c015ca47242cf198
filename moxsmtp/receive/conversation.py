"""
What a connection's events are answered with: the session asks, the receiver decides.

Knows no transport.  Every failure ends in a reply here, so that the connection
goes on; only being cancelled does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from moxsmtp.interfaces import (
    InsufficientStorage,
    IReceiver,
    ISpool,
    StorageUnavailable,
)
from moxsmtp.receive.circumstances import Circumstances
from moxsmtp.receive.handshake import handshake_failure, handshake_trouble
from moxsmtp.receive.logins import Logins
from moxsmtp.receive.refusals import Refusals, verb_of
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.commands import (
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTLS,
    Verb,
    Vrfy,
)
from moxsmtp.smtp.events import (
    ENDS,
    Challenge,
    ChunkBegin,
    ChunkEnd,
    Content,
    ContentEnd,
    Event,
    LoginAttempt,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.reply import LOCAL_ERROR, NO_SPACE, Refused, Rejected, Reply, Unjudged
from moxsmtp.smtp.session import Session, State

__all__ = ["Conversation"]

#: Commands that end a transaction.  A tuple: a union would be made anew each time.
_RESETS: Final = (Helo, Ehlo, Rset, StartTLS)

_GO_AHEAD: Final = Reply(354, None, "go ahead, end with a dot on a line of its own")
_NOT_TOLD: Final = Reply(252, "7.0", "that is not told; send a message and see")

_PLAIN: Final[Mapping[type, Reply]] = {
    Noop: Reply(250, "0.0", "done"),
    Rset: Reply(250, "0.0", "forgotten"),
    Help: Reply(214, "0.0", "the commands are those of RFC 5321"),
    Vrfy: _NOT_TOLD,
    Expn: _NOT_TOLD,
    Quit: Reply(221, "0.0", "goodbye", close=True),
    StartTLS: Reply(220, "0.0", "go ahead with TLS"),
}


class Transfer:
    """
    A message that streams in.

    @ivar spool: Keeps it; L{None}: there is no place for it.
    @ivar failure: Why it is read but not kept, once that is so.
    """

    __slots__ = ("failure", "spool")

    def __init__(self, spool: ISpool | None, failure: Reply | None = None) -> None:
        self.spool = spool
        self.failure = failure

    def abort(self) -> None:
        """Nobody takes it."""
        if self.spool is not None:
            self.spool.abort()


class Conversation:
    """
    Answers the events of one session, one after the other.

    @ivar deadline: When DATA must be over, by the clock; L{None} outside of it.
    @ivar log: For all lines about this session.
    @ivar logins: Answers and counts those who want to log in.
    """

    __slots__ = (
        "_begun", "_circumstances", "_receiver", "_refusals", "_session", "_transfer", "deadline",
        "log", "logins",
    )  # fmt: skip

    def __init__(
        self,
        circumstances: Circumstances,
        session: Session,
        receiver: Callable[[SessionLog], IReceiver],
    ) -> None:
        self._circumstances = circumstances
        self._session = session
        self.log = SessionLog(circumstances.clock, session, circumstances.wall)
        self._refusals = Refusals(session, self.log)
        self._receiver = receiver(self.log)
        self.logins = Logins(circumstances, session, self._receiver, self.log)
        self._transfer: Transfer | None = None
        self._begun = circumstances.clock.seconds()
        self.deadline: float | None = None

    # -- what is asked ---------------------------------------------------------------

    async def reply(self, event: Event) -> Reply:
        """Whatever happens, there is an answer, unless this is cancelled."""
        if not isinstance(event, ENDS) and self._session.state is not State.EXCHANGE:
            self._begun = self._circumstances.clock.seconds()
        try:
            reply = await self._outcome(event)
        except Refused as refused:
            self._refusals.tell(event, refused.reply, refused.reason, is_ours=refused.is_ours)
            return refused.reply
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a bug costs this command, not the connection
            self.panic("unexpected failure")
            return LOCAL_ERROR
        if reply.code >= 400:
            self._refusals.tell(event, reply, _reason(event))
        return reply

    async def keep(self, content: ChunkBegin | Content) -> None:
        """Put content where it belongs; a failure is told at the end of it (S-75)."""
        if isinstance(content, ChunkBegin):
            await self._begin_chunk()
            return
        transfer = self._transfer
        if transfer is None or transfer.spool is None or transfer.failure is not None:
            return
        try:
            wait = transfer.spool.write(content.octets)
            if wait is not None:
                await wait
        except InsufficientStorage as error:
            self._give_up(transfer, NO_SPACE, error)
        except (StorageUnavailable, OSError) as error:
            self._give_up(transfer, LOCAL_ERROR, error)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the rest must be read all the same
            self.panic("unexpected failure")
            self._give_up(transfer, LOCAL_ERROR, None)

    def answered(self, event: Event, reply: Reply) -> None:
        """The reply is under way: count it, and end the transaction where it does."""
        self._observe(event, reply)
        if isinstance(event, ContentEnd):
            self.deadline = None
            self._receiver.reset()
            self._refusals.forget()
        elif isinstance(event, ChunkEnd):
            if not reply.is_positive:
                self._reset()
        elif isinstance(event, Data):
            if not reply.is_positive:
                self.deadline = None
        elif reply.is_positive:
            if isinstance(event, _RESETS):
                self._reset()
        elif isinstance(event, Mail):
            self._receiver.reset()
            self._refusals.forget()
        ended = self._session.ended
        if ended is not None:
            self.logins.count(ended.variant, ended.result)

    def handshake_failed(self, error: BaseException | None) -> None:
        """The connection is gone, before TLS was up (S-114)."""
        self.logins.handshake_failed()
        self.log.write(LogLevel.info, "TLS handshake failed: {why}", why=handshake_trouble(error))
        if not self._session.client.role.is_submission:
            self._circumstances.metrics.count(
                "mox_smtpserver_delivery_starttls_errors_total", reason=handshake_failure(error)
            )

    def abandon(self) -> None:
        """The connection is gone."""
        self._reset()
        self._refusals.end()
        variant = self._session.exchange
        if variant is not None:
            self.logins.count(variant, LoginResult.ERROR)

    def _reset(self) -> None:
        """The transaction is over, and so is a message that is not whole."""
        self.deadline = None
        transfer, self._transfer = self._transfer, None
        if transfer is not None:
            transfer.abort()
        self._receiver.reset()
        self._refusals.forget()

    # -- each of them ------------------------------------------------------------------

    async def _outcome(self, event: Event) -> Reply:
        client = self._session.client
        match event:
            case Mail():
                reply = await self._receiver.mail(client, event)
                self._refusals.begin(event)
            case Rcpt():
                reply = await self._receiver.recipient(client, event)
                if reply.is_positive:
                    self._refusals.add(event)
            case Data():
                reply = await self._data()
            case ChunkEnd():
                reply = self._chunk(event)
            case ContentEnd():
                reply = await self._message(event)
            case Helo() | Ehlo():
                await self._receiver.hello(client, event)
                reply = self._session.hello_reply(event)
            case Challenge() | SecretsRequest() | LoginAttempt() | LoginProven() | Refusal():
                reply = await self.logins.outcome(event)
            case _:
                reply = _PLAIN[type(event)]
        return reply

    async def _data(self) -> Reply:
        self._limit()
        self._transfer = Transfer(await self._receiver.data(self._session.client))
        return _GO_AHEAD

    def _limit(self) -> None:
        circumstances = self._circumstances
        self.deadline = circumstances.clock.seconds() + circumstances.data_limit

    async def _begin_chunk(self) -> None:
        """
        The first BDAT is what DATA is elsewhere; but its octets come whether or
        not there is a place for them, so that is told at their end.
        """
        self._begun = self._circumstances.clock.seconds()
        if self._transfer is not None:
            return
        self._limit()
        try:
            self._transfer = Transfer(await self._receiver.data(self._session.client))
        except Refused as refused:
            self._transfer = Transfer(None, refused.reply)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the octets must be read all the same
            self.panic("unexpected failure")
            self._transfer = Transfer(None, LOCAL_ERROR)

    def _chunk(self, end: ChunkEnd) -> Reply:
        transfer = self._transfer
        assert transfer is not None  # noqa: S101 - a chunk has begun
        return transfer.failure or Reply(250, "0.0", f"{end.size} octets received")

    async def _message(self, end: ContentEnd) -> Reply:
        transfer = self._transfer
        assert transfer is not None  # noqa: S101 - content has come
        reply = None
        try:
            reply = end.refusal or transfer.failure
            if reply is None:
                assert transfer.spool is not None  # noqa: S101 - else there is a failure
                reply = await self._finished(transfer.spool)
            return reply
        finally:
            # Where nobody took it; cancelled, it is abandon that tidies up.
            if reply is None or not reply.is_positive:
                transfer.abort()
            self._transfer = None

    async def _finished(self, spool: ISpool) -> Reply:
        """
        Hand a whole message over.  From here on it counts as a good or bad one,
        unless it was no message at all (S-113).  What we could not take for
        reasons of our own is nothing that its sender may be refused for later.
        """
        try:
            spooled = await spool.finish()
        except InsufficientStorage as error:
            raise Refused(NO_SPACE, str(error), is_ours=True) from error
        except (StorageUnavailable, OSError) as error:
            raise Refused(LOCAL_ERROR, str(error), is_ours=True) from error
        try:
            reply = await self._receiver.message(self._session.client, spooled)
        except Refused as refused:
            if not (refused.is_ours or isinstance(refused, Unjudged)):
                self._session.judged(good=False)
            if isinstance(refused, Rejected):
                self._session.slow_down()
            raise
        self._session.judged(good=reply.is_positive)
        return reply

    def _give_up(self, transfer: Transfer, reply: Reply, error: Exception | None) -> None:
        transfer.failure = reply
        transfer.abort()
        if error is not None:
            self.log.write(LogLevel.warn, "content cannot be kept: {error}", error=str(error))

    # -- counting and telling ----------------------------------------------------------

    def _observe(self, event: Event, reply: Reply) -> None:
        """Count a reply and the time since its command; DATA's content is included (S-114)."""
        if reply.code in {334, 354}:
            return
        circumstances = self._circumstances
        command, code, status = _labels(verb_of(event), reply.code, reply.enhanced_status)
        circumstances.metrics.observe(
            "mox_smtpserver_command_duration_seconds",
            circumstances.clock.seconds() - self._begun,
            kind=circumstances.kind,
            cmd=command,
            code=code,
            ecode=status,
        )

    def panic(self, text: str, failure: Failure | None = None) -> None:
        """Tell and count what should never happen; within C{except}, or with a failure (S-112)."""
        failure = Failure() if failure is None else failure
        self._circumstances.metrics.count("mox_panic_total", pkg="smtpserver")
        self.log.write(LogLevel.critical, text + ": {failure}", failure=failure,
                 log_failure=failure)  # fmt: skip


@lru_cache(maxsize=512)
def _labels(verb: Verb | None, code: int, enhanced_status: str | None) -> tuple[str, str, str]:
    """Of a command and its reply, for the metric of commands; few differ."""
    return "(unknown)" if verb is None else verb.lower(), str(code), enhanced_status or ""


def _reason(event: Event) -> str:
    """Why the session itself refuses; of who logs in, L{Logins} tells."""
    return event.reason if isinstance(event, Refusal) and event.exchange is None else ""
