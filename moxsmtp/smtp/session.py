"""
The server's machine.  RFC 5321 section 4, RFC 2920, RFC 3207, RFC 4954.

Feed it octets with C{receive}, pull events with C{next}, C{answer} each but
L{Content}.  At most one event is unanswered; what was pipelined behind it waits.
Only C{answer} and C{secured} change the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from moxsmtp.interfaces import Client, Hello, Login, LoginSecrets, TLSInfo
from moxsmtp.smtp.authentication import Authentication, result_of
from moxsmtp.smtp.commands import Auth, Bdat, Command, Ehlo, Expn, Helo, Mail, StartTLS, Verb, Vrfy
from moxsmtp.smtp.events import (
    NO_COMMANDS,
    UNANSWERED,
    Challenge,
    ChunkEnd,
    ContentEnd,
    Event,
    Exchange,
    LoginAttempt,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.grammar import VERBS, BadSyntax, command
from moxsmtp.smtp.incoming import Incoming
from moxsmtp.smtp.input import Input, LineTooLong
from moxsmtp.smtp.order import TRANSITIONS, State
from moxsmtp.smtp.prerequisites import unmet
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import BAD_CREDENTIALS
from moxsmtp.smtp.station import Station

__all__ = ["MAXIMUM_LINE", "MAXIMUM_RESPONSE", "Session", "State", "Station"]

#: Octets of a line with its end.  More than RFC 5321 section 4.5.3.1.4 asks for (S-18).
MAXIMUM_LINE: Final = 2048

#: The same behind a 334.  RFC 4954 section 4.
MAXIMUM_RESPONSE: Final = 12_288

#: So many octets of a line that is too long are known as L{Session.line}.
_SHOWN: Final = 80

#: At so many failed log-ins a session becomes slow (S-17, S-42).
_SLOW_FAILURES: Final = 3

#: So many refused messages, and none taken, make a connection a nuisance (S-56).
_BAD_TRANSACTIONS: Final = 10

_LINE_TOO_LONG: Final = Reply(500, "5.0", "line too long", close=True)
_RESPONSE_TOO_LONG: Final = Reply(500, "5.6", "authentication response too long", close=True)
_NO_CHUNK: Final = Reply(501, "5.4", "say how many octets follow, in digits", close=True)
_NO_SMTP: Final = Reply(500, "5.2", "this is an SMTP server, and that is no SMTP", close=True)
_UNKNOWN: Final = Reply(500, "5.1", "no such command")
_NO_TLS_HERE: Final = Reply(503, "5.1", "TLS cannot be started here")

#: Successes that one may want to ask us about (S-21).
_SIGNED: Final = (StartTLS, Vrfy, Expn)

#: Successes that may wait for those behind them (S-22).  RFC 2920 section 3.2.
_BUFFERED: Final = frozenset({Verb.MAIL, Verb.RCPT, Verb.RSET, Verb.NOOP, Verb.HELP})


class Session:
    """
    One connection's conversation.

    @ivar client: What is known of the peer by now.
    @ivar state: Where the session stands.
    @ivar ended: The AUTH that the last answer ended; L{None}: it ended none.
    @ivar line: The last one that was read, without its end.
    @ivar is_slow: The client has given trouble, and is served slowly (S-17).
    """

    __slots__ = (
        "_authentication", "_bad", "_dialect", "_good", "_incoming", "_input", "_spoke_smtp",
        "_station", "_unanswered", "_used_sasl", "client", "ended", "is_slow", "line", "state",
    )  # fmt: skip

    def __init__(self, station: Station, client: Client) -> None:
        self._station = station
        self._input = Input()
        self._unanswered: Event | None = None
        self._incoming = Incoming(self._input, station.maximum_size)
        self._authentication = Authentication(station.terms)
        self._used_sasl = False
        self.ended: Exchange | None = None
        self._spoke_smtp = False
        self._bad = 0
        self._good = 0
        self.client = client
        self._dialect = station.dialect(client)
        self.line = b""
        self.is_slow = False
        self.state = State.INITIAL

    # -- octets in, events out ---------------------------------------------------

    @property
    def buffered(self) -> int:
        """Octets that wait."""
        return len(self._input)

    @property
    def exchange(self) -> str | None:
        """The mechanism, in lower case, of an AUTH under way; else L{None}."""
        return self._authentication.variant

    @property
    def delay(self) -> int:
        """So many steps of delay are due before the event is answered (S-42)."""
        return self._authentication.delay

    def receive(self, data: bytes) -> None:
        """Take what the peer sent, in any pieces."""
        if self.state is State.CLOSED:
            return
        self._input.receive(data)

    def take_rest(self) -> bytes:
        """What waits, which then is not ours any more: TLS begins with it (S-35)."""
        return self._input.take_all()

    def next(self) -> Event | None:
        """
        What happens next; L{None} while more must come, or an answer is due.

        Content and the beginning of a chunk want no answer, so there is more
        to ask for behind them.
        """
        state = self.state
        if self._unanswered is not None or state is State.HANDSHAKE or state is State.CLOSED:
            return None
        if self._incoming.is_due:
            return self._incoming_next()
        in_exchange = state is State.EXCHANGE
        try:
            line = self._input.line(MAXIMUM_RESPONSE if in_exchange else MAXIMUM_LINE)
        except LineTooLong:
            self._unanswered = self._too_long()
            return self._unanswered
        if line is None:
            return None
        self.line = line
        event = self._authentication.respond(line) if in_exchange else self._command(line)
        if event is None:
            return self._incoming_next()
        self._unanswered = event
        return event

    def _too_long(self) -> Refusal:
        """Neither this line nor what follows is understood (S-18)."""
        self.line = self._input.take(_SHOWN)
        if self.state is not State.EXCHANGE:
            return Refusal(None, _LINE_TOO_LONG)
        ended = Exchange(self._authentication.variant or "", LoginResult.ERROR)
        return Refusal(Verb.AUTH, _RESPONSE_TOO_LONG, exchange=ended)

    # -- commands ------------------------------------------------------------------

    def _command(self, line: bytes) -> Event | None:
        """@return: L{None}: a chunk begins."""
        word, space, rest = line.partition(b" ")
        verb = VERBS.get(word.upper())
        if verb is None:
            return Refusal(None, _UNKNOWN if self._spoke_smtp else _NO_SMTP)
        self._spoke_smtp = True
        if verb is Verb.BDAT:
            return self._begin_chunk(space + rest)
        unmet = self._unmet(verb)
        return Refusal(verb, unmet) if unmet is not None else self._wanted(verb, space + rest)

    def _wanted(self, verb: Verb, arguments: bytes) -> Event:
        """What a line asks for whose time has come."""
        if verb is Verb.AUTH:
            # An attempt counts before it is read (S-42).
            self._authentication.count()
        try:
            wanted = self._read(verb, arguments)
        except Refused as refused:
            exchange = Exchange("", LoginResult.ERROR) if verb is Verb.AUTH else None
            return Refusal(verb, refused.reply, refused.reason, exchange)
        if isinstance(wanted, Auth):
            is_secret = self.client.tls is not None or self._station.clear_passwords
            return self._authentication.begin(wanted, self.client, is_secret=is_secret)
        if isinstance(wanted, StartTLS) and not self._may_start_tls():
            return Refusal(verb, _NO_TLS_HERE)
        return wanted

    def _unmet(self, verb: Verb) -> Reply | None:
        return unmet(
            verb,
            self.state,
            self.client,
            used_sasl=self._used_sasl,
            is_nuisance=self._bad > _BAD_TRANSACTIONS and not self._good,
        )

    def _read(self, verb: Verb, arguments: bytes) -> Command:
        """@raise Refused: The line is not taken, whatever the receiver thinks."""
        client = self.client
        try:
            wanted = command(verb, arguments, self._dialect)
        except BadSyntax as error:
            text = "bad syntax"
            if client.login is not None and error.rest:
                text = f"bad syntax, not understood: {error.rest.strip()!a:.100}"
            raise Refused(Reply(501, "5.2", text), f"{error.rest!a:.200}") from None
        return wanted

    def _may_start_tls(self) -> bool:
        client = self.client
        return self._station.offers_tls and client.tls is None and client.login is None

    def supply(self, secrets: LoginSecrets) -> Event:
        """What a L{SecretsRequest} asked for; what is to be answered in its place."""
        self._unanswered = event = self._authentication.supply(secrets)
        return event

    def log_in(self, login: Login) -> Reply:
        """
        The client is who it says: what to answer the L{LoginAttempt} or
        L{LoginProven} (S-54), which is no good if its certificate is of
        another account (S-53).
        """
        certificate = self.client.certificate
        if certificate is not None and certificate.account != login.account:
            return BAD_CREDENTIALS
        self.client = replace(self.client, login=login)
        self._used_sasl = True
        self._authentication.failures = 0
        self.is_slow = False
        return Reply(235, "7.0", "logged in")

    def count_certificate(self) -> None:
        """The client's certificate is about to be checked, which is an attempt (S-40)."""
        self._authentication.count()

    def certify(self, login: Login) -> None:
        """Its key is registered: that is enough to hand in mail (S-37)."""
        self.client = replace(self.client, login=login, certificate=login)
        self._authentication.failures = 0
        self._authentication.delay = 0

    # -- content ---------------------------------------------------------------------

    def _incoming_next(self) -> Event | None:
        event = self._incoming.next()
        if not isinstance(event, UNANSWERED):
            self._unanswered = event
        return event

    def _begin_chunk(self, arguments: bytes) -> Refusal | None:
        """
        A BDAT, whose octets are on their way.

        @return: Nobody knows how many, or too many to wait for: what follows
            cannot be told from commands, so the session ends.
        """
        try:
            chunk = command(Verb.BDAT, arguments, self._dialect)
        except BadSyntax as error:
            return Refusal(Verb.BDAT, _NO_CHUNK, f"{error.rest!a:.200}")
        assert isinstance(chunk, Bdat)  # noqa: S101 - that is what the verb says
        return self._incoming.begin_chunk(chunk, self._unmet(Verb.BDAT))

    def judged(self, *, good: bool) -> None:
        """A message that came whole was taken, or refused for what it is (S-113)."""
        if good:
            self._good += 1
        else:
            self._bad += 1

    def slow_down(self) -> None:
        """The client brought what it should not: it is served slowly from now on (S-17)."""
        self.is_slow = True

    # -- answers -----------------------------------------------------------------------

    def greeting(self) -> bytes:
        """What a connection begins with (S-13).  RFC 5321 section 4.2."""
        station = self._station
        return f"220 {station.hostname} ESMTP {station.product}\r\n".encode("ascii")

    def hello_reply(self, said: Helo | Ehlo) -> Reply:
        """Who we are and what can be used now (S-32, S-33)."""
        station, client = self._station, self.client
        if isinstance(said, Helo):
            return Reply(250, None, station.hostname)
        mechanisms: Sequence[str] = ()
        if client.role.is_submission:
            is_secret = client.tls is not None or station.clear_passwords
            mechanisms = self._authentication.usable(client, is_secret=is_secret)
        lines = station.extensions(client, mechanisms, may_start_tls=self._may_start_tls())
        return Reply(250, None, "\n".join((station.hostname, *lines)))

    def answer(self, reply: Reply) -> bytes:
        """
        Answer the event that C{next} gave last; the state follows.

        @return: What to send.
        """
        event, self._unanswered = self._unanswered, None
        if event is None:
            raise RuntimeError("nothing was asked")
        self._advance(event, reply)
        if reply.close:
            self.close()
        # S-21: what is refused, too.
        signed = (
            isinstance(event, ContentEnd) or not reply.close
            if reply.code >= 400
            else isinstance(event, _SIGNED)
        )
        return reply.encode(self._station.reply_id(self.client.session_id) if signed else "")

    def may_wait(self, event: Event, reply: Reply) -> bool:
        """Whether the answer may stay unsent while another line waits (S-22)."""
        return (
            reply.code < 400 and getattr(event, "verb", None) in _BUFFERED and self._input.has_line
        )

    def _advance(self, event: Event, reply: Reply) -> None:
        self.ended = None
        if not isinstance(event, NO_COMMANDS):
            if reply.is_positive:
                self._accept(event)
            return
        match event:
            case ChunkEnd() if reply.is_positive:
                self.state = State.CHUNKS
            case ContentEnd() | ChunkEnd():
                self._forget_transaction()
                self.state = State.GREETED
            case Challenge():
                self._authentication.delay = 0
                self.state = State.EXCHANGE
            case Refusal(exchange=Exchange() as exchange):
                self._end_exchange(exchange)
            case LoginAttempt() | LoginProven() | SecretsRequest():
                self._end_exchange(Exchange(event.variant, result_of(reply)))

    def _end_exchange(self, ended: Exchange) -> None:
        if self._authentication.failures >= _SLOW_FAILURES:
            self.is_slow = True
        self._authentication.end()
        self.ended = ended
        self.state = State.GREETED

    def _accept(self, wanted: Command) -> None:
        verb = wanted.verb
        self.state = TRANSITIONS[self.state, verb]
        if isinstance(wanted, Helo | Ehlo):
            hello = Hello(wanted.name, isinstance(wanted, Ehlo))
            self.client = replace(self.client, hello=hello)
            self._forget_transaction()
        elif isinstance(wanted, Mail):
            if wanted.smtputf8:
                self._dialect = self._station.dialect(self.client, smtputf8=True)
        elif verb is Verb.RSET:
            self._forget_transaction()
        elif verb is Verb.DATA:
            self._incoming.begin()

    def _forget_transaction(self) -> None:
        """S-27."""
        self._incoming.forget()
        if self._dialect.smtputf8:
            self._dialect = self._station.dialect(self.client)

    def close(self) -> None:
        """Nothing more is understood or said."""
        self.state = State.CLOSED
        self._incoming.forget()
        self._input.take_all()

    def secure(self) -> None:
        """TLS begins with the first octet: nothing is understood before L{secured}."""
        self.state = State.HANDSHAKE

    def secured(self, tls: TLSInfo) -> None:
        """
        The handshake is done: nothing that was said before it counts (S-27).
        RFC 3207 section 4.2.  Failures to log in and bad messages still do.
        """
        self.client = replace(self.client, tls=tls, hello=None, login=None, certificate=None)
        self._used_sasl = False
        self._input.take_all()
        self._forget_transaction()
        self._dialect = self._station.dialect(self.client)
        self.state = State.INITIAL
