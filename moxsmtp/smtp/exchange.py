"""
The client's side of an SMTP session, as a machine that moves no bytes.

The caller asks for the next L{Step}, does it, and asks again; what the server
sends goes into L{Exchange.receive}.  The order of steps is written down as the
conversation itself: each generator below reads from top to bottom as one part
of RFC 5321 section 3, and waits where it says C{yield}.

Every recipient ends with a fate of its own: that of its RCPT where this was
refused, else that of the message.  Whatever ends a session early is the fate
of those still without one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Final

from moxsmtp.smtp.address import Path
from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.mailing import (
    Accepted,
    AwaitReply,
    BeginTLS,
    Fate,
    Mailing,
    Over,
    Refusal,
    SendContent,
    Step,
    Write,
)
from moxsmtp.smtp.remote_reply import ProtocolError, RemoteReply, ReplyReader

__all__ = ["Exchange"]

# How long each reply is waited for; RFC 5321 section 4.5.3.2.
_COMMAND_LIMIT: Final = timedelta(minutes=5)
_DATA_LIMIT: Final = timedelta(minutes=2)
_END_OF_DATA_LIMIT: Final = timedelta(minutes=10)
# Nothing depends on the answer to QUIT.
_QUIT_LIMIT: Final = timedelta(seconds=5)

#: The server is about to close.  RFC 5321 section 3.8.
_CLOSING: Final = 421

#: "Too many recipients", unless it is said to the first.  RFC 5321 section 4.5.3.1.10.
_TOO_MANY: Final = frozenset({452, 552})


_Part = Generator[Step, None, None]


class _Ended(Exception):
    """
    The session goes no further.

    @ivar refusal: The fate of all recipients without one.
    @ivar quit: The server still listens.
    """

    def __init__(self, refusal: Refusal, *, quit_: bool) -> None:
        super().__init__(refusal.error)
        self.refusal = refusal
        self.quit = quit_


class Exchange:
    """
    One session.

    @ivar fates: By recipient, in the order of the mailing; L{None}: not known
        yet.  Complete once L{is_decided}.
    @ivar capabilities: As last announced.
    @ivar uses_tls: TLS is on, and the server has spoken under it.
    @ivar tls_failed: Why TLS was tried in vain; empty if it was not.  The
        mailing may be repeated over a new connection without it.
    """

    def __init__(self, mailing: Mailing, *, hostname: str, starttls: bool) -> None:
        """
        @param hostname: What EHLO says.
        @param starttls: Use it if it is offered.
        """
        self.fates: list[Fate | None] = [None] * len(mailing.forward_paths)
        self.capabilities = Capabilities()
        self.uses_tls = False
        self.tls_failed = ""
        self._mailing = mailing
        self._hostname = hostname.encode("ascii")
        self._starttls = starttls
        self._reader = ReplyReader()
        self._begun_tls = False
        self._secured = False
        self._sending = False
        self._mail_refusal: Refusal | None = None
        self._most = len(mailing.forward_paths) or 1
        self._stale = False
        self._over: Over | None = None
        self._session = self._converse()

    # -- the caller's side --

    @property
    def is_over(self) -> bool:
        """Nothing will happen any more; all fates are known unless it was L{drop}ped."""
        return self._over is not None

    @property
    def is_decided(self) -> bool:
        """Every recipient has its fate; at most leave is to be taken."""
        return None not in self.fates

    def receive(self, data: bytes) -> None:
        """Octets of the server."""
        if self._over is None:
            try:
                self._reader.feed(data)
            except ProtocolError as error:
                self.abandon(Refusal(permanent=False, error=str(error)))

    def step(self) -> Step:
        """What to do now."""
        if self._over is None:
            step = next(self._session)
            if not isinstance(step, Over):
                return step
            self._over = step
        return self._over

    def secured(self) -> None:
        """The handshake is done."""
        self._secured = True

    def abandon(self, refusal: Refusal) -> None:
        """
        Nothing more can be exchanged: the connection broke, time is up, the
        content cannot be read.  Replies that came before count.
        """
        if self._over is not None:
            return
        if self._begun_tls and not self.uses_tls and not self.is_decided:
            self.tls_failed = refusal.error
        self.drop()
        self._settle(refusal)

    def drop(self) -> None:
        """
        We have ended the session ourselves.  Fates that the server has not told
        stay unknown; replies that came before count.
        """
        if self._over is not None:
            return
        if self._sending:
            self._heed_early_reply()
        if self._mail_refusal is not None:
            self._settle(self._mail_refusal)
        self._over = Over(clean=False)
        self._session.close()

    def _heed_early_reply(self) -> None:
        """A refusal in the middle of the content is the fate of the message."""
        try:
            reply = self._reader.next_reply()
        except ProtocolError:
            return
        if reply is not None and reply.code >= 400:
            self._settle(self._refusal(reply))

    def _settle(self, fate: Fate, recipients: Sequence[int] | None = None) -> None:
        for number in range(len(self.fates)) if recipients is None else recipients:
            if self.fates[number] is None:
                self.fates[number] = fate

    # -- the conversation --

    def _converse(self) -> _Part:
        try:
            yield from self._open()
            yield from self._hand_over()
        except ProtocolError as error:
            if self._begun_tls and not self.uses_tls and self._secured:
                self.tls_failed = str(error)
            self._settle(self._mail_refusal or Refusal(permanent=False, error=str(error)))
            yield Over(clean=False)
        except _Ended as ended:
            self._settle(ended.refusal)
            if ended.quit:
                yield from self._quit()
            yield Over(clean=ended.quit)
        else:
            yield from self._quit()
            yield Over(clean=True)

    def _open(self) -> _Part:
        """Greeting, EHLO, and TLS where it is offered.  RFC 5321 section 3.1, RFC 3207."""
        reply = yield from self._reply(_COMMAND_LIMIT)
        if reply.code != 220:
            raise self._ended(reply)
        yield from self._hello()
        if not (self._starttls and self.capabilities.starttls):
            return
        self._begun_tls = True
        yield self._say(b"STARTTLS\r\n")
        reply = yield from self._reply(_COMMAND_LIMIT)
        if reply.code != 220:
            self.tls_failed = f"STARTTLS was refused: {reply.text}"
            raise self._ended(reply)
        if self._reader.has_unread:
            # Somebody put it there to have it believed under TLS.
            raise ProtocolError("the server sent clear text behind its answer to STARTTLS")
        yield BeginTLS()
        if not self._secured:
            raise RuntimeError("the next step was taken before the handshake was done")
        yield from self._hello()
        self.uses_tls = True

    def _hello(self) -> _Part:
        """EHLO, or HELO for a server that does not know it; never behind STARTTLS (Q-63)."""
        self.capabilities = Capabilities()
        yield self._say(b"EHLO " + self._hostname + b"\r\n")
        reply = yield from self._reply(_COMMAND_LIMIT)
        if reply.is_success:
            self.capabilities = Capabilities.of(reply)
            return
        if not 500 <= reply.code <= 504 or self._begun_tls:
            raise self._ended(reply)
        yield self._say(b"HELO " + self._hostname + b"\r\n")
        reply = yield from self._reply(_COMMAND_LIMIT)
        if not reply.is_success:
            raise self._ended(reply)

    def _hand_over(self) -> _Part:
        """One transaction after the other, until every recipient has its fate (Q-18)."""
        objection = self._objection()
        if objection is not None:
            raise _Ended(objection, quit_=True)
        left = list(range(len(self.fates)))
        self._most = min(self._most, self.capabilities.recipients or self._most)
        while left:
            if self._stale:
                yield self._say(b"RSET\r\n")
                reply = yield from self._reply(_COMMAND_LIMIT)
                if not reply.is_success:
                    raise self._ended(reply)
            yield from self._transaction(left[: self._most])
            left = [number for number in left if self.fates[number] is None]

    def _objection(self) -> Refusal | None:
        """What is known before MAIL.  RFC 1870 section 5, RFC 6531 section 3.1, RFC 6152."""
        size = self.capabilities.size
        if size and self._mailing.size > size:
            return Refusal(
                permanent=True,
                error=f"the message has {self._mailing.size} octets, the server takes {size}",
                status="3.4",
            )
        if self._mailing.needs_smtputf8 and not self.capabilities.smtputf8:
            return Refusal(
                permanent=False,
                error="the message needs SMTPUTF8, which the server does not offer",
                status="6.7",
            )
        if self._mailing.has_8bit and not self.capabilities.eight_bit:
            return Refusal(
                permanent=True,
                error="the message has 8-bit content, the server does not offer 8BITMIME",
                code=554,
                status="6.3",
            )
        return None

    def _transaction(self, group: Sequence[int]) -> _Part:
        """
        RFC 5321 section 3.3; with PIPELINING, MAIL to DATA in one go (RFC 2920
        section 3.1).  Those of C{group} that have no fate afterwards were too
        many.
        """
        pipelining = self.capabilities.pipelining
        self._stale = True
        rcpts = [self._rcpt(number) for number in group]
        mail = self._mail()
        yield self._say(b"".join((mail, *rcpts, b"DATA\r\n")) if pipelining else mail)
        reply = yield from self._reply(_COMMAND_LIMIT)
        if not self._is_success(reply):
            self._mail_refusal = self._refusal(reply)
            if not pipelining:
                self._settle(self._mail_refusal)
                return
        accepted = yield from self._recipients(group, rcpts)
        if accepted or pipelining:
            yield from self._data(accepted)
        if self._mail_refusal is not None:
            self._settle(self._mail_refusal)

    def _recipients(
        self, group: Sequence[int], rcpts: Sequence[bytes]
    ) -> Generator[Step, None, list[int]]:
        """@return: Those that the server takes."""
        accepted: list[int] = []
        for position, number in enumerate(group):
            if not self.capabilities.pipelining:
                yield self._say(rcpts[position])
            reply = yield from self._reply(_COMMAND_LIMIT)
            if self._mail_refusal is not None:
                continue
            if self._is_success(reply):
                accepted.append(number)
            elif position and reply.code in _TOO_MANY:
                self._most = min(self._most, position)
                if not self.capabilities.pipelining:
                    break
            else:
                # 552 is 452 here: RFC 5321 section 4.5.3.1.10.
                permanent = reply.is_permanent and reply.code != 552
                self.fates[number] = self._refusal(reply, permanent=permanent)
        return accepted

    def _data(self, accepted: list[int]) -> _Part:
        """DATA and the content.  RFC 5321 section 4.1.1.4."""
        if not self.capabilities.pipelining:
            yield self._say(b"DATA\r\n")
        reply = yield from self._reply(_DATA_LIMIT)
        if reply.code != 354:
            if reply.code < 400:
                raise ProtocolError(f"the server answered {reply.code} to DATA")
            self._settle(self._refusal(reply), accepted)
            return
        if not accepted:
            # It takes a message for nobody: RFC 2920 section 3.1 has us send none.
            yield Write(b".\r\n")
            yield from self._reply(_END_OF_DATA_LIMIT)
            return
        self._sending = True
        yield SendContent()
        self._sending = False
        reply = yield from self._reply(_END_OF_DATA_LIMIT)
        self._stale = False
        fate = (
            Accepted(reply, self._status(reply))
            if self._is_success(reply)
            else self._refusal(reply)
        )
        self._settle(fate, accepted)

    def _quit(self) -> _Part:
        """Take leave; whatever comes back, all is decided.  RFC 5321 section 4.1.1.10."""
        yield Write(b"QUIT\r\n")
        try:
            yield from self._reply(_QUIT_LIMIT)
        except (ProtocolError, _Ended):
            return

    # -- commands and replies --

    def _mail(self) -> bytes:
        capabilities, mailing = self.capabilities, self._mailing
        words = [f"MAIL FROM:<{self._address(mailing.reverse_path)}>"]
        if capabilities.size is not None:
            words.append(f"SIZE={mailing.size}")
        if capabilities.eight_bit:
            words.append("BODY=8BITMIME" if mailing.has_8bit else "BODY=7BIT")
        if mailing.needs_smtputf8:
            words.append("SMTPUTF8")
        return " ".join(words).encode() + b"\r\n"

    def _rcpt(self, number: int) -> bytes:
        return f"RCPT TO:<{self._address(self._mailing.forward_paths[number])}>\r\n".encode()

    def _address(self, path: Path | None) -> str:
        if path is None:
            return ""
        return path.unicode if self._mailing.needs_smtputf8 else path.ascii

    def _say(self, octets: bytes) -> Write:
        """A command, for which the server has to have been silent so far."""
        if self._reader.has_unread:
            reply = self._reader.next_reply()
            if reply is not None and reply.code == _CLOSING:
                raise _Ended(self._refusal(reply), quit_=False)
            raise ProtocolError("the server spoke before it was asked")
        return Write(octets)

    def _reply(self, limit: timedelta) -> Generator[Step, None, RemoteReply]:
        """The reply that is due next.  A server that closes ends the session."""
        wait: AwaitReply | None = None
        while (reply := self._reader.next_reply()) is None:
            wait = wait or AwaitReply(limit)
            yield wait
        if reply.code == _CLOSING:
            raise _Ended(self._mail_refusal or self._refusal(reply), quit_=False)
        return reply

    def _is_success(self, reply: RemoteReply) -> bool:
        if reply.code // 100 == 3:
            raise ProtocolError(f"the server answered {reply.code} out of place")
        return reply.is_success

    def _refusal(self, reply: RemoteReply, *, permanent: bool | None = None) -> Refusal:
        return Refusal(
            permanent=reply.is_permanent if permanent is None else permanent,
            error=f"the server said: {reply.text}",
            code=reply.code,
            status=self._status(reply),
            reply=reply,
        )

    def _status(self, reply: RemoteReply) -> str:
        return reply.status if self.capabilities.enhanced_status else ""

    def _ended(self, reply: RemoteReply) -> _Ended:
        if reply.code < 400:
            raise ProtocolError(f"the server answered {reply.code} out of place")
        return _Ended(self._refusal(reply), quit_=True)
