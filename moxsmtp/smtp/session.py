"""
The server's machine.  RFC 5321 section 4, RFC 2920, RFC 3207, RFC 4954.

Feed it octets with C{receive}, pull events with C{next}, C{answer} each but
L{Content}.  At most one event is unanswered; what was pipelined behind it waits.
Only C{answer} and C{secured} change the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from moxsmtp.interfaces import Client, Hello, Login, LoginSecrets, TLSInfo
from moxsmtp.smtp.authentication import Authentication, result_of
from moxsmtp.smtp.body import Body, Offence
from moxsmtp.smtp.commands import Auth, Command, Ehlo, Expn, Helo, Mail, StartTLS, Verb, Vrfy
from moxsmtp.smtp.events import (
    Challenge,
    Content,
    ContentEnd,
    Event,
    Exchange,
    LoginAttempt,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.future_release import future_release
from moxsmtp.smtp.grammar import VERBS, BadSyntax, Dialect, command
from moxsmtp.smtp.order import MISSING, TRANSITIONS, State
from moxsmtp.smtp.parameters import DEFAULT_MAXIMUM_SIZE
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import BAD_CREDENTIALS, Terms

__all__ = ["DEFAULT_MAXIMUM_SIZE", "MAXIMUM_LINE", "Session", "State", "Station"]

#: Octets of a line with its end.  More than RFC 5321 section 4.5.3.1.4 asks for (S-18).
MAXIMUM_LINE: Final = 2048

#: So many refused messages, and none taken, make a connection a nuisance (S-56).
_BAD_TRANSACTIONS: Final = 10


_LINE_TOO_LONG: Final = Reply(500, "5.0", "line too long", close=True)
_NO_SMTP: Final = Reply(500, "5.2", "this is an SMTP server, and that is no SMTP", close=True)
_UNKNOWN: Final = Reply(500, "5.1", "no such command")
_NO_HELLO: Final = Reply(503, "5.1", "say EHLO or HELO first")
_NO_LOGIN: Final = Reply(530, "7.0", "log in first")
_NO_LOGIN_HERE: Final = Reply(503, "5.1", "nobody can log in here")
_LOGGED_IN: Final = Reply(503, "5.1", "logged in already")
_NO_TLS_HERE: Final = Reply(503, "5.1", "TLS cannot be started here")
_TOO_MANY_BAD: Final = Reply(550, "1.0", "too many messages were refused", close=True)
_SMUGGLING: Final = Reply(
    500, "5.2", "bare CR or LF round the end of data: possible SMTP smuggling, not taken"
)

#: What makes a transaction; only users may where users hand in mail (S-25).
_TRANSACTION: Final = frozenset({Verb.MAIL, Verb.RCPT, Verb.DATA})

#: Successes that may wait for those behind them (S-22).  RFC 2920 section 3.2.
_BUFFERED: Final = frozenset({Verb.MAIL, Verb.RCPT, Verb.RSET, Verb.NOOP, Verb.HELP})


@dataclass(frozen=True, slots=True)
class Station:
    """
    What all sessions of a socket share.

    @ivar hostname: A-labels; in greeting and EHLO (S-2).
    @ivar product: Behind C{ESMTP} in the greeting.
    @ivar maximum_size: Octets of a message (S-3).
    @ivar offers_tls: STARTTLS can be obeyed.
    @ivar clear_passwords: PLAIN and LOGIN are possible without TLS (S-4).
    @ivar reply_id: A session's number in its opaque form (S-10).
    @ivar offers_require_tls: REQUIRETLS can be obeyed (S-4).
    @ivar pedantic: What many clients do against the grammar is refused (S-111).
    @ivar now: Aware, UTC, to say until when mail can be held (RFC 4865); L{None}:
        that is not announced.
    @ivar terms: What logging in rests on; L{None}: nobody can.
    """

    hostname: str
    maximum_size: int
    offers_tls: bool
    clear_passwords: bool
    reply_id: Callable[[int], str]
    product: str = "moxsmtp"
    offers_require_tls: bool = True
    pedantic: bool = False
    now: Callable[[], datetime] | None = None
    terms: Terms | None = None


class Session:
    """
    One connection's conversation.

    @ivar client: What is known of the peer by now.
    @ivar state: Where the session stands.
    @ivar ended: The AUTH that the last answer ended; L{None}: it ended none.
    """

    __slots__ = (
        "_authentication", "_bad", "_body", "_buffer", "_good", "_position", "_smtputf8",
        "_spoke_smtp", "_station", "_unanswered", "_used_sasl", "client", "ended", "state",
    )  # fmt: skip

    def __init__(self, station: Station, client: Client) -> None:
        self._station = station
        self._buffer = b""
        self._position = 0
        self._unanswered: Event | None = None
        self._body: Body | None = None
        self._authentication = Authentication(station.terms)
        self._used_sasl = False
        self.ended: Exchange | None = None
        self._smtputf8 = False
        self._spoke_smtp = False
        self._bad = 0
        self._good = 0
        self.client = client
        self.state = State.INITIAL

    # -- octets in, events out ---------------------------------------------------

    @property
    def buffered(self) -> int:
        """Octets that wait."""
        return len(self._buffer) - self._position

    @property
    def has_line(self) -> bool:
        """Whether another complete line waits (S-22)."""
        return self._buffer.find(b"\n", self._position) >= 0

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
        if self._position:
            self._buffer = self._buffer[self._position :] + data
            self._position = 0
        else:
            self._buffer = self._buffer + data if self._buffer else data

    def take_rest(self) -> bytes:
        """What waits, which then is not ours any more: TLS begins with it (S-35)."""
        rest, self._buffer, self._position = self._buffer[self._position :], b"", 0
        return rest

    def next(self) -> Event | None:
        """
        What happens next; L{None} while more must come, or an answer is due.

        Content wants no answer, so there is more to ask for behind it.
        """
        if self._unanswered is not None:
            return None
        if self.state is State.CONTENT:
            return self._content()
        if self.state is State.HANDSHAKE or self.state is State.CLOSED:
            return None
        end = self._buffer.find(b"\n", self._position)
        # Without its end, a line of this length is one octet too long already.
        length = end + 1 - self._position if end >= 0 else self.buffered + 1
        if length > MAXIMUM_LINE:
            self._unanswered = Refusal(None, _LINE_TOO_LONG)
            return self._unanswered
        if end < 0:
            return None
        line = self._buffer[self._position : end]
        self._position = end + 1
        if line.endswith(b"\r"):
            line = line[:-1]
        self._unanswered = event = (
            self._authentication.respond(line)
            if self.state is State.EXCHANGE
            else self._command(line)
        )
        return event

    # -- commands ------------------------------------------------------------------

    def _command(self, line: bytes) -> Event:
        word, space, rest = line.partition(b" ")
        verb = VERBS.get(word.upper())
        if verb is None:
            return Refusal(None, _UNKNOWN if self._spoke_smtp else _NO_SMTP)
        self._spoke_smtp = True
        unmet = self._unmet(verb)
        if unmet is not None:
            return Refusal(verb, unmet)
        if verb is Verb.AUTH:
            # An attempt counts before it is read (S-42).
            self._authentication.count()
        try:
            wanted = self._read(verb, space + rest)
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
        """What must come before this verb (S-25, S-41)."""
        state, client = self.state, self.client
        is_submission, is_logged_in = client.role.is_submission, client.login is not None
        unmet = None
        if state is State.INITIAL and (state, verb) not in TRANSITIONS:
            unmet = _NO_HELLO
        elif is_submission and not is_logged_in and verb in _TRANSACTION:
            unmet = _NO_LOGIN
        elif verb is Verb.AUTH and (not is_submission or self._used_sasl):
            unmet = _LOGGED_IN if is_submission else _NO_LOGIN_HERE
        elif verb is Verb.MAIL and self._bad > _BAD_TRANSACTIONS and not self._good:
            unmet = _TOO_MANY_BAD
        elif (state, verb) not in TRANSITIONS:
            unmet = Reply(503, "5.1", MISSING[state, verb])
        return unmet

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

    @property
    def _dialect(self) -> Dialect:
        """What the next line's arguments are read by."""
        client, station = self.client, self._station
        return Dialect(
            client.role.is_submission,
            self._smtputf8,
            pedantic=station.pedantic,
            secure=client.tls is not None,
            require_tls=station.offers_require_tls,
            maximum_size=station.maximum_size,
        )

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

    def _content(self) -> Event | None:
        body = self._body
        assert body is not None  # noqa: S101 - there is one behind 354
        if self.buffered and not (body.ended or body.is_hopeless):
            octets = body.feed(self.take_rest())
            self._buffer = body.take_rest()
            if octets:
                return Content(octets)
        if body.ended or body.is_hopeless:
            self._unanswered = ContentEnd(self._verdict(body))
            return self._unanswered
        return None

    def _verdict(self, body: Body) -> Reply | None:
        if body.ended and body.offence is None:
            return None
        if body.offence is Offence.SMUGGLING:
            return _SMUGGLING if body.ended else replace(_SMUGGLING, close=True)
        status = "2.3" if self._station.maximum_size < DEFAULT_MAXIMUM_SIZE else "3.4"
        return Reply(552, status, "message too large", close=not body.ended)

    def judged(self, *, good: bool) -> None:
        """A message that came whole was taken, or refused for what it is (S-113)."""
        if good:
            self._good += 1
        else:
            self._bad += 1

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
        lines = [station.hostname, "PIPELINING", f"SIZE {station.maximum_size}"]
        if self._may_start_tls():
            lines.append("STARTTLS")
        elif client.tls is not None and station.offers_require_tls:
            lines.append("REQUIRETLS")
        if client.role.is_submission:
            is_secret = client.tls is not None or station.clear_passwords
            mechanisms = self._authentication.usable(client, is_secret=is_secret)
            if mechanisms:
                lines.append("AUTH " + " ".join(mechanisms))
            if station.now is not None:
                lines.append(future_release(station.now()))
        lines += ["ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "LIMITS RCPTMAX=1000", "SMTPUTF8"]
        return Reply(250, None, "\n".join(lines))

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
        # S-21: what is refused, and what else one may want to ask us about.
        signed = (
            isinstance(event, ContentEnd) or not reply.close
            if reply.code >= 400
            else isinstance(event, StartTLS | Vrfy | Expn)
        )
        return reply.encode(self._station.reply_id(self.client.session_id) if signed else "")

    def may_wait(self, event: Event, reply: Reply) -> bool:
        """Whether the answer may stay unsent while another line waits (S-22)."""
        return reply.code < 400 and getattr(event, "verb", None) in _BUFFERED and self.has_line

    def _advance(self, event: Event, reply: Reply) -> None:
        self.ended = None
        match event:
            case ContentEnd():
                self._body = None
                self._smtputf8 = False
                self.state = State.GREETED
            case Challenge():
                self._authentication.delay = 0
                self.state = State.EXCHANGE
            case Refusal(exchange=Exchange() as exchange):
                self._end_exchange(exchange)
            case LoginAttempt() | LoginProven() | SecretsRequest():
                self._end_exchange(Exchange(event.variant, result_of(reply)))
            case Refusal() | Content():
                pass
            case _ if reply.is_positive:
                self._accept(event)

    def _end_exchange(self, ended: Exchange) -> None:
        self._authentication.end()
        self.ended = ended
        self.state = State.GREETED

    def _accept(self, wanted: Command) -> None:
        verb = wanted.verb
        self.state = TRANSITIONS[self.state, verb]
        if isinstance(wanted, Helo | Ehlo):
            hello = Hello(wanted.name, isinstance(wanted, Ehlo))
            self.client = replace(self.client, hello=hello)
            self._smtputf8 = False
        elif isinstance(wanted, Mail):
            self._smtputf8 = wanted.smtputf8
        elif verb is Verb.RSET:
            self._smtputf8 = False
        elif verb is Verb.DATA:
            self._body = Body(self._station.maximum_size)

    def close(self) -> None:
        """Nothing more is understood or said."""
        self.state = State.CLOSED
        self._buffer, self._position = b"", 0

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
        self._buffer, self._position = b"", 0
        self._smtputf8 = False
        self.state = State.INITIAL
