"""
How a client hands over one message: MAIL, RCPT, DATA or BDAT, as often as its
recipients need.  RFC 5321 section 3.3, RFC 2920, RFC 3030, RFC 9422.

Every recipient ends with a fate of its own: that of its RCPT where this was
refused, else that of the message (Q-19).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Final

from moxsmtp.smtp.conversation import COMMAND_LIMIT, Conversation, Ended, Part
from moxsmtp.smtp.envelope import mail_command, rcpt_command
from moxsmtp.smtp.mailing import (
    Accepted,
    Fate,
    Mailing,
    Refusal,
    SendContent,
    Step,
    Write,
)
from moxsmtp.smtp.objections import is_of_form, objection_to
from moxsmtp.smtp.remote_reply import ProtocolError, RemoteReply
from moxsmtp.smtp.stuffing import BareLineEnd, in_lines, stuffed

__all__ = ["Transactions"]

# RFC 5321 section 4.5.3.2.
_DATA_LIMIT: Final = timedelta(minutes=2)
_END_OF_DATA_LIMIT: Final = timedelta(minutes=10)

#: "Too many recipients", unless it is said to the first.  RFC 5321 section 4.5.3.1.10.
_TOO_MANY: Final = frozenset({452, 552})


class Transactions:
    """
    All that one mailing needs.

    @ivar fates: By recipient, in the order of the mailing; L{None}: not known yet.
    @ivar is_unheard: The server has answered nothing of it so far, or has refused RSET
        and all of it with that.
    @ivar is_streaming: Content that was not at hand is being sent.
    @ivar is_chunk_unknown: The server announced CHUNKING, and did not know BDAT.
    @ivar is_in_utf8: The form in UTF-8 was chosen.
    @ivar was_refused_in_utf8: It was, and refused: who was refused gets that in ASCII.
    """

    def __init__(
        self,
        talk: Conversation,
        mailing: Mailing,
        whole: bytes | None,
        *,
        alternative: bytes | None = None,
        objection: Refusal | None = None,
    ) -> None:
        """
        @param whole: The content, if it is at hand; else it is sent step by step.
        @param alternative: Likewise, in the form that is in UTF-8.
        @param objection: Why it is not to be sent at all.
        """
        self.fates: list[Fate | None] = [None] * len(mailing.forward_paths)
        self.is_unheard = True
        self.is_streaming = False
        self.is_chunk_unknown = False
        self.is_in_utf8 = False
        self.was_refused_in_utf8 = False
        self._talk = talk
        self._mailing = mailing
        self._smtputf8 = mailing.needs_smtputf8
        self._most = len(mailing.forward_paths) or 1
        self._mail_refusal: Refusal | None = None
        self._is_stale = False
        self._whole = whole
        self._alternative = alternative
        #: The form in ASCII, while that in UTF-8 is tried; and who is to have it.
        self._plain: tuple[Mailing, bytes | None] | None = None
        self._again: list[int] = []
        if whole is not None and objection is None:
            try:
                self._whole = in_lines(whole)
            except BareLineEnd as error:
                # RFC 5321 section 2.3.8; RFC 3463 section 3.7.
                objection = Refusal(permanent=True, error=str(error), code=554, status="6.0")
        if objection is not None:
            self._object(objection)

    @property
    def is_decided(self) -> bool:
        """Every recipient has its fate; replies may still be due."""
        return None not in self.fates

    # -- fates --

    def settle(self, fate: Fate, recipients: Sequence[int] | None = None) -> None:
        """The fate of those without one; a refused MAIL stays the reason for all."""
        if recipients is None:
            recipients = range(len(self.fates))
            fate = self._mail_refusal or fate
        for number in recipients:
            if self.fates[number] is None:
                self.fates[number] = fate

    def _object(self, objection: Refusal) -> None:
        """No server has to be asked."""
        self.is_unheard = False
        self.settle(objection)

    def drop(self) -> None:
        """
        Nothing more is heard.  What the server has said already counts: a
        refused MAIL (Q-66), and a refusal in the middle of the content.
        """
        if self.is_streaming:
            self._heed_early_reply()
        if self._mail_refusal is not None:
            self.settle(self._mail_refusal)

    def _heed_early_reply(self) -> None:
        try:
            reply = self._talk.reader.next_reply()
        except ProtocolError:
            return
        if reply is not None and reply.code >= 400:
            self.settle(self._talk.refusal(reply))

    # -- the conversation --

    def run(self, *, reset: bool) -> Generator[Step, None, bool]:
        """
        One transaction after the other, until every recipient has its fate (Q-18).

        @param reset: Something was said before, and RSET has to come first.
        @return: The same for whatever comes next.
        """
        self._is_stale = reset
        if self.is_decided:
            return reset
        self._choose()
        objection = objection_to(self._mailing, self._talk.capabilities)
        if objection is not None:
            self._object(objection)
            return reset
        self._talk.refresh(len(self.fates))
        self._most = min(self._most, self._talk.capabilities.recipients or self._most)
        yield from self._hand_over(range(len(self.fates)))
        again, self._again = self._again, []
        if self._plain is not None and again:
            self._turn_to(*self._plain)
            yield from self._hand_over(again)
        # The session may wait long for another mailing.
        self._whole = self._alternative = self._plain = None
        return True

    def _hand_over(self, left: Sequence[int]) -> Part:
        while left:
            yield from self._transaction(left[: self._most])
            self._spare()
            left = [n for n in left if self.fates[n] is None and n not in self._again]

    def _choose(self) -> None:
        """
        The form in UTF-8, if there is one, where nothing speaks against it: it wants
        8BITMIME and SMTPUTF8, and may be too large.  RFC 6533 section 6.
        """
        mailing, whole = self._mailing.in_utf8, self._alternative
        if mailing is None or objection_to(mailing, self._talk.capabilities) is not None:
            return
        if whole is not None:
            try:
                whole = in_lines(whole)
            except BareLineEnd:
                return
        if objection_to(self._mailing, self._talk.capabilities) is None:
            self._plain = self._mailing, self._whole
        self._mailing, self._whole = mailing, whole
        self._smtputf8 = self.is_in_utf8 = True

    def _spare(self) -> None:
        """
        Whose form in UTF-8 was refused for good is open again, as the other form may do,
        which says the same: a server may announce what those behind it do not take.
        """
        if not self.is_in_utf8 or self._plain is None:
            return
        for number, fate in enumerate(self.fates):
            if isinstance(fate, Refusal) and is_of_form(fate):
                self.fates[number] = None
                self._again.append(number)

    def _turn_to(self, mailing: Mailing, whole: bytes | None) -> None:
        """The form in ASCII, once and for the rest of this mailing."""
        self._mailing, self._whole = mailing, whole
        self._smtputf8 = mailing.needs_smtputf8
        self.is_in_utf8 = False
        self.was_refused_in_utf8 = True
        self._mail_refusal = None
        self._talk.reader.allow(len(self.fates))

    def _transaction(self, group: Sequence[int]) -> Part:
        """
        RFC 5321 section 3.3; with PIPELINING, from RSET to DATA in one go (RFC
        2920 section 3.1), or to the end of a content that is at hand where the
        server takes chunks (RFC 3030 section 4.2).  Those of C{group} that have
        no fate afterwards were too many.
        """
        talk, mailing = self._talk, self._mailing
        pipelining = talk.capabilities.pipelining
        rset = b"RSET\r\n" if self._is_stale else b""
        mail = mail_command(mailing, talk.capabilities, smtputf8=self._smtputf8)
        rcpts = [
            rcpt_command(mailing, number, talk.capabilities, smtputf8=self._smtputf8)
            for number in group
        ]
        if pipelining:
            yield talk.say(b"".join((rset, mail, *rcpts, self._content_command)))
        elif rset:
            yield talk.say(rset)
        unreset: Ended | None = None
        if rset:
            unreset = yield from self._reset(pipelining=pipelining)
        self._is_stale = True
        if not pipelining:
            yield talk.say(mail)
        reply = yield from self._reply("MAIL", COMMAND_LIMIT)
        if not talk.is_success(reply):
            if unreset is not None:
                self._hear_nothing()
                raise unreset
            self._mail_refusal = talk.refusal(reply)
            if not pipelining:
                self.settle(self._mail_refusal)
                return
        accepted = yield from self._recipients(group, rcpts)
        if accepted or pipelining:
            yield from self._content(accepted)
        if self._mail_refusal is not None:
            self.settle(self._mail_refusal)

    def _reset(self, *, pipelining: bool) -> Generator[Step, None, Ended | None]:
        """
        Whatever stands between us and a refused RSET, it is not this message.

        @return: What to end with where RSET was refused, unless MAIL, which is on its
            way already, is taken: then all behind it counts, up to a content that the
            server has by then.
        """
        reply = yield from self._reply("RSET", COMMAND_LIMIT)
        self._hear_nothing()
        if not self._talk.is_success(reply):
            refused = Ended(
                Refusal(permanent=False, error=f"RSET was refused: {reply.text}", status="5.0"),
                # What was sent behind it is still to be answered.
                quit_=not pipelining,
            )
            if not pipelining:
                raise refused
            return refused
        return None

    def _hear_nothing(self) -> None:
        """
        What was said tells of the session, and nothing of this mailing; between two
        transactions of one mailing it is no news.
        """
        self.is_unheard = all(fate is None for fate in self.fates)

    def _recipients(
        self, group: Sequence[int], rcpts: Sequence[bytes]
    ) -> Generator[Step, None, list[int]]:
        """@return: Those that the server takes."""
        talk = self._talk
        pipelining = talk.capabilities.pipelining
        accepted: list[int] = []
        for position, number in enumerate(group):
            if not pipelining:
                yield talk.say(rcpts[position])
            reply = yield from self._reply("RCPT", COMMAND_LIMIT)
            if self._mail_refusal is not None:
                continue
            if talk.is_success(reply):
                accepted.append(number)
            elif position and reply.code in _TOO_MANY:
                self._most = min(self._most, position)
                if not pipelining:
                    break
            else:
                # 552 is 452 here: RFC 5321 section 4.5.3.1.10.
                permanent = reply.is_permanent and reply.code != 552
                self.fates[number] = talk.refusal(reply, permanent=permanent)
        return accepted

    # -- the content --

    @property
    def _takes_chunk(self) -> bool:
        return self._whole is not None and self._talk.capabilities.chunking

    @property
    def _content_command(self) -> bytes:
        """DATA, or the whole content where that is possible."""
        if self._whole is None or not self._takes_chunk:
            return b"DATA\r\n"
        return b"BDAT %d LAST\r\n%b" % (len(self._whole), self._whole)

    def _content(self, accepted: list[int]) -> Part:
        if not self._talk.capabilities.pipelining:
            yield self._talk.say(self._content_command)
        if self._takes_chunk:
            yield from self._chunk(accepted)
        else:
            yield from self._data(accepted)

    def _chunk(self, accepted: list[int]) -> Part:
        """The reply to BDAT.  RFC 3030 section 2."""
        reply = yield from self._reply("BDAT", _END_OF_DATA_LIMIT)
        if 500 <= reply.code <= 502:
            # It was announced, and yet the content was taken for commands.
            self.is_chunk_unknown = True
            raise Ended(
                Refusal(permanent=False, error=f"BDAT is not known after all: {reply.text}"),
                quit_=False,
            )
        self._ended_by(reply, accepted)

    def _data(self, accepted: list[int]) -> Part:
        """The reply to DATA, and the content.  RFC 5321 section 4.1.1.4."""
        reply = yield from self._reply("DATA", _DATA_LIMIT)
        if reply.code != 354:
            if reply.code < 400:
                raise ProtocolError(f"the server answered {reply.code} to DATA")
            self.settle(self._talk.refusal(reply), accepted)
            return
        if not accepted:
            # It takes a message for nobody: RFC 2920 section 3.1 has us send none.
            yield Write(b".\r\n")
            yield from self._reply("end of data", _END_OF_DATA_LIMIT)
            return
        if self._whole is not None:
            yield self._talk.say(stuffed(self._whole))
        else:
            yield from self._stream()
        reply = yield from self._reply("end of data", _END_OF_DATA_LIMIT)
        self._ended_by(reply, accepted)

    def _stream(self) -> Part:
        """What is said before the end of data is no answer to it, but may be a refusal."""
        self.is_streaming = True
        yield SendContent()
        if self._talk.reader.has_unread:
            self._heed_early_reply()
            raise ProtocolError("the server spoke before the content had ended")
        self.is_streaming = False
        yield Write(b".\r\n")

    def _ended_by(self, reply: RemoteReply, accepted: list[int]) -> None:
        """The message's fate is that of those who were accepted; of nobody, if there are none."""
        talk = self._talk
        if not talk.is_success(reply):
            self.settle(talk.refusal(reply), accepted)
            return
        self._is_stale = not accepted
        handed_on = talk.capabilities.dsn
        self.settle(Accepted(reply, talk.status(reply), handed_on), accepted)

    def _reply(self, command: str, limit: timedelta) -> Generator[Step, None, RemoteReply]:
        reply = yield from self._talk.reply(command, limit)
        self.is_unheard = False
        return reply
