"""Runs a session that agrees to everything it is asked."""

from __future__ import annotations

from ipaddress import IPv4Address

from moxsmtp.interfaces import (
    CertificateAttempt,
    Client,
    Login,
    LoginSecrets,
    PasswordAttempt,
    Role,
)
from moxsmtp.smtp.commands import Ehlo, Helo, Verb
from moxsmtp.smtp.events import (
    Challenge,
    ChunkBegin,
    ChunkEnd,
    Content,
    ContentEnd,
    Event,
    LoginAttempt,
    LoginProven,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.login_secrets import CramKeys, ScramKeys, SecretsWanted
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.sasl import BAD_CREDENTIALS, Terms
from moxsmtp.smtp.session import Session, State, Station

__all__ = ["TERMS", "Driver", "secrets_of", "session"]

#: Whatever is random is always the same: C{r} and C{r}.
TERMS = Terms("mx.example", lambda count: b"r" * count, lambda: 1_700_000_000.5)

_CODES = {
    Verb.MAIL: 250, Verb.RCPT: 250, Verb.DATA: 354, Verb.QUIT: 221, Verb.STARTTLS: 220,
    Verb.HELP: 214, Verb.VRFY: 252, Verb.EXPN: 252,
}  # fmt: skip


def session(
    role: Role = Role.SMTP,
    *,
    maximum_size: int = 1000,
    offers_tls: bool = False,
    clear_passwords: bool = True,
) -> Session:
    """A session as it is when a client has connected."""
    return Session(
        Station(
            hostname="mx.example",
            maximum_size=maximum_size,
            offers_tls=offers_tls,
            clear_passwords=clear_passwords,
            reply_id=lambda number: f"id{number}",
            terms=TERMS,
        ),
        Client(7, role, IPv4Address("192.0.2.2"), IPv4Address("192.0.2.1")),
    )


def secrets_of(wanted: SecretsWanted, password: bytes = b"secret") -> LoginSecrets:
    """Everybody whose name begins with C{a} has the same password, and nobody else has one."""
    known = wanted.login.startswith("a")
    password = password if known else b"nobody knows"
    keys = (
        CramKeys.derived(password)
        if wanted.kind is None
        else ScramKeys.derived(wanted.kind, password, b"salt" * 4, 4096)
    )
    return LoginSecrets(Login("a", wanted.login) if known else None, keys)


class Driver:
    """
    @ivar events: All that the session asked.
    @ivar contents: Messages that came whole.
    @ivar refuse: Verbs that are answered with 451.
    """

    def __init__(self, driven: Session) -> None:
        self.session = driven
        self.events: list[Event] = []
        self.contents: list[bytes] = []
        self.refuse: set[Verb] = set()
        self._content = b""

    def speak(self, octets: bytes) -> bytes:
        """Send octets; what the session says to them."""
        self.session.receive(octets)
        said = b""
        while (event := self.session.next()) is not None:
            self.events.append(event)
            if isinstance(event, Content):
                self._content += event.octets
            elif isinstance(event, ChunkBegin):
                if self.session.state is State.RCPT:
                    self._content = b""
            else:
                said += self.session.answer(self._reply(event))
        return said

    def _logged_in(self, event: LoginAttempt | LoginProven | SecretsRequest) -> Reply:
        match event:
            case LoginAttempt(attempt=PasswordAttempt() as attempt):
                if attempt.password == "secret":
                    return self.session.log_in(Login("a", attempt.login))
                return BAD_CREDENTIALS
            case LoginAttempt(attempt=attempt):
                # Addresses that begin with an a are the account's.
                address = attempt.authorization_id or "a@x.example"
                assert isinstance(attempt, CertificateAttempt)
                if attempt.fingerprint == "key" and address.startswith("a"):
                    return self.session.log_in(Login("a", address))
                return BAD_CREDENTIALS
            case LoginProven(login=login):
                return self.session.log_in(login)
            case _:
                self.events.append(self.session.supply(secrets_of(event.wanted)))
                return self._reply(self.events[-1])

    def _reply(self, event: Event) -> Reply:
        match event:
            case Refusal() | Challenge():
                reply = event.reply
            case LoginAttempt() | LoginProven() | SecretsRequest():
                reply = self._logged_in(event)
            case ContentEnd(refusal=refusal):
                content, self._content = self._content, b""
                reply = refusal or Reply(250, "2.0", "stored")
                if refusal is None:
                    self.contents.append(content)
            case ChunkEnd(size=size):
                reply = Reply(250, "0.0", f"{size} octets")
            case Content() | ChunkBegin():
                raise AssertionError("content wants no answer")
            case Ehlo() | Helo():
                reply = self.session.hello_reply(event)
            case _:
                if event.verb is Verb.DATA:
                    self._content = b""
                reply = Reply(_CODES.get(event.verb, 250), None, event.verb, event.verb == "QUIT")
                if event.verb in self.refuse:
                    reply = Reply(451, "3.0", "not now")
        return reply
