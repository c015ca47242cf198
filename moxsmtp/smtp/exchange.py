"""
The client's side of an SMTP session, as a machine that moves no bytes.

The caller asks for the next L{Step}, does it, and asks again; what the server
sends goes into L{Exchange.receive}.  The order of steps is written down as the
conversation itself: the generators of L{moxsmtp.smtp.opening} and
L{moxsmtp.smtp.transaction} read from top to bottom as one part of RFC 5321
section 3 each, and wait where they say C{yield}.

One session carries one mailing after the other.  Whatever ends it early is the
fate of all recipients who have none.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.conversation import Conversation, Ended, Part
from moxsmtp.smtp.mailing import Fate, Idle, Mailing, Over, Refusal, StartTLS, Step, Write
from moxsmtp.smtp.opening import ClientLogin, Opening
from moxsmtp.smtp.remote_reply import ProtocolError, RemoteReply
from moxsmtp.smtp.transaction import Transactions

__all__ = ["Exchange"]

#: Nothing depends on the answer to QUIT.
_QUIT_LIMIT: Final = timedelta(seconds=5)

#: Replies that may be due before the first message: greeting, EHLO and HELO
#: twice, STARTTLS, some for AUTH.
_OPENING_REPLIES: Final = 16


class Exchange:
    """
    One session.

    @ivar is_open: The server greeted us, and whatever comes before the first
        message is done.
    @ivar opening: How TLS and login went.
    """

    def __init__(
        self,
        *,
        hostname: str,
        starttls: StartTLS,
        login: ClientLogin | None = None,
        chunking: bool = True,
    ) -> None:
        """
        @param hostname: What EHLO says.
        @param login: With what to log in, where that is needed.
        @param chunking: Use it if it is offered.
        """
        self.is_open = False
        self._talk = Conversation()
        self.opening = Opening(self._talk, hostname=hostname, starttls=starttls, login=login)
        self._chunking = chunking
        self._begun: Transactions | None = None
        self._current: Transactions | None = None
        self._leaving = False
        self._ending: Refusal | None = None
        self._over: Over | None = None
        self._greeting: tuple[tuple[str, RemoteReply], ...] = ()
        self._session = self._converse()

    # -- what is known --

    @property
    def capabilities(self) -> Capabilities:
        """As last announced."""
        return self._talk.capabilities

    @property
    def uses_tls(self) -> bool:
        """TLS is on, and the server has spoken under it."""
        return self.opening.uses_tls

    @property
    def tls_failed(self) -> str:
        """
        Why TLS was tried in vain; empty if it was not.  Where clear text is
        allowed, the mailing may be repeated without it over a new connection.
        """
        return self.opening.tls_failed

    @property
    def fates(self) -> list[Fate | None]:
        """
        Of the latest mailing, by recipient; L{None}: not known yet.  Complete
        once L{is_decided}.
        """
        return self._begun.fates if self._begun is not None else []

    @property
    def heard(self) -> tuple[tuple[str, RemoteReply], ...]:
        """
        The first replies of the opening and of the latest mailing, each with the
        command that it answers; for people, and without secrets.
        """
        return (*self._greeting, *self._talk.heard)

    @property
    def is_over(self) -> bool:
        """Nothing will happen any more; all fates are known unless it was L{drop}ped."""
        return self._over is not None

    @property
    def is_decided(self) -> bool:
        """Every recipient begun with has its fate."""
        return self._begun is None or self._begun.is_decided

    @property
    def is_unheard(self) -> bool:
        """
        The server has said nothing to the latest mailing, or no more than that it
        closes, or refuses the RSET before it: where the session was an old one, a new
        one may do better (Q-94).
        """
        return self._begun is not None and self._begun.is_unheard

    @property
    def is_chunk_unknown(self) -> bool:
        """CHUNKING was announced in vain: do without on the next session."""
        return self._begun is not None and self._begun.is_chunk_unknown

    @property
    def is_in_utf8(self) -> bool:
        """Of the two forms of the latest mailing that in UTF-8 was chosen."""
        return self._begun is not None and self._begun.is_in_utf8

    @property
    def was_refused_in_utf8(self) -> bool:
        """It was chosen, and refused; to whom it was, that in ASCII was sent."""
        return self._begun is not None and self._begun.was_refused_in_utf8

    @property
    def is_reusable(self) -> bool:
        """Another mailing may be begun: the session goes on, and no fate is open."""
        is_ending = self._over is not None or self._leaving or self._ending is not None
        return not is_ending and self.is_decided

    # -- the caller's side --

    def begin(
        self,
        mailing: Mailing,
        whole: bytes | None = None,
        *,
        alternative: bytes | None = None,
        objection: Refusal | None = None,
    ) -> None:
        """
        Hand over this next.

        @param whole: The content, if it is at hand: it needs no L{SendContent}.
        @param alternative: Likewise, in the form that is in UTF-8.
        @param objection: Why it cannot be sent, which is then its fate.
        """
        if not self.is_decided:
            raise RuntimeError("the mailing before this one is under way")
        self._begun = Transactions(
            self._talk, mailing, whole, alternative=alternative, objection=objection
        )
        if self._ending is not None:
            self._begun.settle(self._ending)
        elif self._over is not None or self._leaving:
            self._begun.settle(Refusal(permanent=False, error="the session was left"))

    def leave(self) -> None:
        """There is nothing more to hand over: QUIT as soon as the server is to be spoken to."""
        self._leaving = True

    def receive(self, data: bytes) -> None:
        """Octets of the server."""
        if self._over is None:
            try:
                self._talk.reader.feed(data)
            except ProtocolError as error:
                self.abandon(Refusal(permanent=False, error=str(error)))

    def step(self) -> Step:
        """What to do now."""
        if self._over is None:
            step = next(self._session)
            if not isinstance(step, Over):
                return step
            self._over = step
            # Its frame holds us, and we hold it.
            self._session.close()
        return self._over

    def secured(self, objection: str = "", binding: ChannelBinding | None = None) -> None:
        """
        The handshake is done.

        @param objection: Why it is not good enough; empty if it is.
        @param binding: Of the TLS connection, to tie a login to it.
        """
        self.opening.secured(objection, binding)

    def abandon(self, refusal: Refusal) -> None:
        """
        Nothing more can be exchanged: the connection broke, time is up, the
        content cannot be read.  Replies that came before count.
        """
        if self._over is not None:
            return
        self.opening.broken(refusal.error)
        self.drop()
        self._settle(refusal)

    def drop(self) -> None:
        """
        We have ended the session ourselves.  Fates that the server has not told
        stay unknown; replies that came before count.
        """
        if self._over is not None:
            return
        if self._current is not None:
            self._current.drop()
        self._over = Over(clean=False)
        self._session.close()

    def _settle(self, refusal: Refusal) -> None:
        """This ended the session, and everything that was or will be begun."""
        if self._ending is None:
            self._ending = refusal
        for work in (self._current, self._begun):
            if work is not None:
                work.settle(refusal)

    # -- the conversation --

    def _converse(self) -> Part:
        try:
            yield from self._open()
            yield from self._work()
        except ProtocolError as error:
            if self.opening.is_secured:
                self.opening.broken(str(error))
            self._settle(Refusal(permanent=False, error=str(error)))
            yield Over(clean=False)
        except Ended as ended:
            self._settle(ended.refusal)
            if ended.quit:
                yield from self._quit()
            yield Over(clean=ended.quit)
        else:
            yield from self._quit()
            yield Over(clean=True)

    def _open(self) -> Part:
        self._talk.refresh(_OPENING_REPLIES)
        yield from self.opening.run()
        if not self._chunking:
            self._talk.capabilities = replace(self._talk.capabilities, chunking=False)
        self._greeting = tuple(self._talk.heard)
        self._talk.heard = []
        self.is_open = True

    def _work(self) -> Part:
        """One mailing after the other, RSET between them (Q-68, Q-94)."""
        reset = False
        while True:
            while self._begun is self._current:
                if self._leaving:
                    return
                yield Idle()
                if self._talk.reader.has_unread:
                    self._talk.heed_unasked()
            self._current = self._begun
            if self._current is not None:
                reset = yield from self._current.run(reset=reset)

    def _quit(self) -> Part:
        """Take leave; whatever comes back, all is decided.  RFC 5321 section 4.1.1.10."""
        yield Write(b"QUIT\r\n")
        try:
            yield from self._talk.reply("QUIT", _QUIT_LIMIT)
        except (ProtocolError, Ended):
            return
