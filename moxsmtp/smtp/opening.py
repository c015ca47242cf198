"""
How a client's session begins: greeting, EHLO, TLS, login.  RFC 5321 section
3.1, RFC 3207, RFC 4954.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as InvalidBase64
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.smtp.capabilities import Capabilities
from moxsmtp.smtp.conversation import COMMAND_LIMIT, Conversation, Ended, Part
from moxsmtp.smtp.mailing import BeginTLS, Refusal, StartTLS
from moxsmtp.smtp.remote_reply import ProtocolError, RemoteReply
from moxsmtp.smtp.sasl_client import ClientMechanism, SASLFailed

__all__ = ["ClientLogin", "Opening"]

#: Chooses a mechanism among those offered and begins it; L{None}: none will do.
ClientLogin = Callable[[frozenset[str], ChannelBinding | None], ClientMechanism | None]

#: No mechanism of ours has so many challenges.
_MOST_CHALLENGES: Final = 8

#: Characters of a domain.  RFC 5321 section 4.5.3.1.2.
_LONGEST_NAME: Final = 255

#: The only success.  RFC 4954 section 6.
_LOGGED_IN: Final = 235

#: Octets of an AUTH command that any server reads.  RFC 5321 section 4.5.3.1.4.
_COMMAND_LENGTH: Final = 512


class Opening:
    """
    What comes before the first message.

    @ivar uses_tls: TLS is on, and the server has spoken under it.
    @ivar tls_failed: Why TLS was tried in vain; empty if it was not.
    @ivar tls_begun: It was asked for.
    @ivar starttls_offered: The server announced STARTTLS, in clear.
    @ivar starttls_refused: The code with which it refused the command, or 0.
    @ivar announced: What the server calls itself, in its greeting or, later, in
        its reply to EHLO or HELO; empty: it has said nothing.
    """

    def __init__(
        self,
        talk: Conversation,
        *,
        hostname: str,
        starttls: StartTLS,
        login: ClientLogin | None,
    ) -> None:
        self.uses_tls = False
        self.tls_begun = False
        self.tls_failed = ""
        self.starttls_offered = False
        self.starttls_refused = 0
        self.announced = ""
        self._talk = talk
        self._hostname = hostname.encode("ascii")
        self._starttls = starttls
        self._login = login
        self._is_secured = False
        self._binding: ChannelBinding | None = None

    def secured(self, objection: str, binding: ChannelBinding | None) -> None:
        """See L{Exchange.secured}."""
        self._is_secured = True
        self._binding = binding
        self.tls_failed = objection

    @property
    def is_secured(self) -> bool:
        """The handshake is done."""
        return self._is_secured

    def broken(self, error: str) -> None:
        """
        Everything ended here.  While TLS was begun and nothing has come under
        it, that is what failed.
        """
        if self.tls_begun and not self.uses_tls and not self.tls_failed:
            self.tls_failed = error

    # -- the conversation --

    def run(self) -> Part:
        """All of it."""
        if self._starttls is StartTLS.IMMEDIATE:
            yield from self._begin_tls()
        reply = yield from self._talk.reply("", COMMAND_LIMIT)
        if reply.code != 220:
            raise self._refused(reply)
        self._note_name(reply)
        yield from self._hello()
        self.uses_tls = self._starttls is StartTLS.IMMEDIATE
        self.starttls_offered = self._talk.capabilities.starttls
        if self._starttls is StartTLS.ALWAYS or (
            self._starttls is StartTLS.IF_OFFERED and self.starttls_offered
        ):
            yield from self._start_tls()
        if self._login is not None:
            yield from self._authenticate(self._login)

    def _hello(self) -> Part:
        """EHLO, or HELO for a server that does not know it; never behind STARTTLS (Q-63)."""
        self._talk.capabilities = Capabilities()
        yield self._talk.say(b"EHLO " + self._hostname + b"\r\n")
        reply = yield from self._talk.reply("EHLO", COMMAND_LIMIT)
        if reply.is_success:
            self._note_name(reply)
            capabilities = Capabilities.of(reply)
            if not self._is_secured:
                # It can only be had, and is only believed, under TLS: RFC 8689 section 2.
                capabilities = replace(capabilities, require_tls=False)
            self._talk.capabilities = capabilities
            return
        if not 500 <= reply.code <= 504 or self.tls_begun:
            raise self._refused(reply)
        yield self._talk.say(b"HELO " + self._hostname + b"\r\n")
        reply = yield from self._talk.reply("HELO", COMMAND_LIMIT)
        if not reply.is_success:
            raise self._refused(reply)
        self._note_name(reply)

    def _note_name(self, reply: RemoteReply) -> None:
        """The first word, where the grammar has the domain.  RFC 5321 sections 4.1.1.1, 4.2."""
        self.announced = next(iter(reply.lines[0].split()), "")[:_LONGEST_NAME] or self.announced

    def _start_tls(self) -> Part:
        """RFC 3207."""
        yield self._talk.say(b"STARTTLS\r\n")
        self.tls_begun = True
        reply = yield from self._talk.reply("STARTTLS", COMMAND_LIMIT)
        if reply.code != 220:
            self.starttls_refused = reply.code
            self.tls_failed = f"STARTTLS was refused: {reply.text}"
            # The server may well take the message in clear, if we do.
            raise Ended(Refusal(permanent=False, error=self.tls_failed, status="7.0"), quit_=True)
        yield from self._begin_tls()
        yield from self._hello()
        self.uses_tls = True

    def _begin_tls(self) -> Part:
        if self._talk.reader.has_unread:
            # Somebody put it there to have it believed under TLS.
            self.tls_begun = False
            raise ProtocolError("the server sent clear text behind its answer to STARTTLS")
        self.tls_begun = True
        yield BeginTLS()
        if not self._is_secured:
            raise RuntimeError("the next step was taken before the handshake was done")
        if self.tls_failed:
            # RFC 3463 section 3.8: cryptographic failure.
            raise Ended(Refusal(permanent=False, error=self.tls_failed, status="7.5"), quit_=False)

    def _refused(self, reply: RemoteReply) -> Ended:
        """The host wants no session, which says nothing of its neighbours (Q-95)."""
        if reply.code < 400:
            raise ProtocolError(f"the server answered {reply.code} out of place")
        return Ended(replace(self._talk.refusal(reply), elsewhere=True), quit_=True)

    # -- login --

    def _authenticate(self, login: ClientLogin) -> Part:
        """
        RFC 4954.  Whatever goes wrong may be mended by who set this up, and is
        no fault of the message: transient, without the server's code (Q-44).
        """
        try:
            mechanism = login(self._talk.capabilities.auth, self._binding)
        except SASLFailed as error:
            raise _not_logged_in(str(error)) from None
        if mechanism is None:
            raise _not_logged_in("the server offers no mechanism that we may use")
        initial = mechanism.first()
        command = b"AUTH " + mechanism.name.encode("ascii")
        if initial is not None:
            with_initial = command + b" " + (b64encode(initial) or b"=")
            if len(with_initial) + 2 <= _COMMAND_LENGTH:
                command, initial = with_initial, None
        yield self._talk.say(command + b"\r\n")
        for _ in range(_MOST_CHALLENGES):
            reply = yield from self._talk.reply("AUTH", COMMAND_LIMIT)
            if reply.code != 334:
                _judge(mechanism, reply, self._talk.status(reply))
                return
            try:
                answer = _answer(mechanism, reply, initial)
            except SASLFailed as error:
                yield self._talk.say(b"*\r\n")
                yield from self._talk.reply("AUTH", COMMAND_LIMIT)
                raise _not_logged_in(str(error)) from None
            initial = None
            yield self._talk.say(b64encode(answer) + b"\r\n")
        raise ProtocolError("the login has no end")


def _answer(mechanism: ClientMechanism, reply: RemoteReply, initial: bytes | None) -> bytes:
    """@param initial: What did not fit behind AUTH, and is said first."""
    try:
        challenge = b64decode(reply.lines[0].encode(), validate=True)
    except InvalidBase64:
        raise SASLFailed("the challenge is not base64") from None
    if initial is None:
        return mechanism.respond(challenge)
    if challenge:
        raise SASLFailed("the server spoke although it was our turn")
    return initial


def _judge(mechanism: ClientMechanism, reply: RemoteReply, status: str) -> None:
    """@raise Ended: It was in vain."""
    if reply.code != _LOGGED_IN:
        # Without the server's words: some repeat the command, and our secret with it.
        said = f"{reply.code} {reply.code // 100}.{status}" if status else str(reply.code)
        raise _not_logged_in(f"the server answered {said} to {mechanism.name}")
    if not mechanism.is_done:
        raise _not_logged_in(f"the server did not prove in {mechanism.name} that it knows us")


def _not_logged_in(error: str) -> Ended:
    return Ended(Refusal(permanent=False, error=f"login failed: {error}", status="7.0"), quit_=True)
