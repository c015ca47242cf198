"""
What the parts of a client's session have in common: commands and replies.
RFC 5321 sections 4.2 and 4.5.3.2.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Final

from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.mailing import AwaitReply, Refusal, Step, Write
from moxsmtp.smtp.remote_reply import ProtocolError, RemoteReply, ReplyReader

__all__ = ["CLOSING", "COMMAND_LIMIT", "Conversation", "Ended", "Part"]

#: How long the reply to most commands is waited for; RFC 5321 section 4.5.3.2.
COMMAND_LIMIT: Final = timedelta(minutes=5)

#: The server is about to close.  RFC 5321 section 3.8.
CLOSING: Final = 421

#: Replies that are kept for people to read later.
_MOST_HEARD: Final = 64

Part = Generator[Step, None, None]


class Ended(Exception):
    """
    The session goes no further.

    @ivar refusal: The fate of all recipients without one.
    @ivar quit: The server still listens.
    """

    def __init__(self, refusal: Refusal, *, quit_: bool) -> None:
        super().__init__(refusal.error)
        self.refusal = refusal
        self.quit = quit_


class Conversation:
    """
    What was said so far, and what the server can do.

    @ivar capabilities: As last announced.
    @ivar heard: The first replies since last L{refresh}ed, each with what it
        answered.
    """

    def __init__(self) -> None:
        self.capabilities = Capabilities()
        self.reader = ReplyReader()
        self.heard: list[tuple[str, RemoteReply]] = []

    def refresh(self, replies: int) -> None:
        """Another part begins, in which so many replies are due."""
        self.heard = []
        self.reader.allow(replies)

    def say(self, octets: bytes) -> Write:
        """A command, for which the server has to have been silent so far."""
        if self.reader.has_unread:
            self.heed_unasked()
        return Write(octets)

    def heed_unasked(self) -> None:
        """@raise Ended: The server said something, and it was not its turn."""
        reply = self.reader.next_reply()
        if reply is not None and reply.code == CLOSING:
            self._note("", reply)
            raise Ended(self.refusal(reply), quit_=False)
        raise ProtocolError("the server spoke before it was asked")

    def reply(self, command: str, limit: timedelta) -> Generator[Step, None, RemoteReply]:
        """The reply that is due next.  A server that closes ends the session."""
        reply = self.reader.next_reply()
        if reply is None:
            wait = AwaitReply(limit)
            while reply is None:
                yield wait
                reply = self.reader.next_reply()
        self._note(command, reply)
        if reply.code == CLOSING:
            raise Ended(self.refusal(reply), quit_=False)
        return reply

    def _note(self, command: str, reply: RemoteReply) -> None:
        if len(self.heard) < _MOST_HEARD:
            # Some servers repeat what they do not understand: here, a secret.
            kept = RemoteReply(reply.code, ("",)) if command == "AUTH" else reply
            self.heard.append((command, kept))

    def is_success(self, reply: RemoteReply) -> bool:
        """@raise ProtocolError: The server goes on where there is nothing to go on with."""
        if reply.code // 100 == 3:
            raise ProtocolError(f"the server answered {reply.code} out of place")
        return reply.is_success

    def refusal(self, reply: RemoteReply, *, permanent: bool | None = None) -> Refusal:
        """What a reply means for a recipient."""
        return Refusal(
            permanent=reply.is_permanent if permanent is None else permanent,
            error=f"the server said: {reply.text}",
            code=reply.code,
            status=self.status(reply),
            reply=reply,
        )

    def status(self, reply: RemoteReply) -> str:
        """Only where the server says that it means them (Q-64)."""
        return reply.status if self.capabilities.enhanced_status else ""
