"""Runs a session that agrees to everything it is asked."""

from __future__ import annotations

from ipaddress import IPv4Address

from moxsmtp.interfaces import Client, Login, LoginSecrets, PasswordAttempt, Role
from moxsmtp.smtp.commands import Ehlo, Helo, Verb
from moxsmtp.smtp.events import (
    Challenge,
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
from moxsmtp.smtp.session import Session, Station

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
            else:
                said += self.session.answer(self._reply(event))
        return said

    def _reply(self, event: Event) -> Reply:
        match event:
            case Refusal() | Challenge():
                reply = event.reply
            case LoginAttempt(attempt=PasswordAttempt() as attempt):
                reply = BAD_CREDENTIALS
                if attempt.password == "secret":
                    reply = self.session.log_in(Login("a", attempt.login))
            case LoginAttempt():
                certificate = self.session.client.certificate
                reply = self.session.log_in(certificate) if certificate else BAD_CREDENTIALS
            case LoginProven(login=login):
                reply = self.session.log_in(login)
            case SecretsRequest(wanted=wanted):
                self.events.append(self.session.supply(secrets_of(wanted)))
                reply = self._reply(self.events[-1])
            case ContentEnd(refusal=refusal):
                content, self._content = self._content, b""
                reply = refusal or Reply(250, "2.0", "stored")
                if refusal is None:
                    self.contents.append(content)
            case Content():
                raise AssertionError("content wants no answer")
            case Ehlo() | Helo():
                reply = self.session.hello_reply(event)
            case _:
                reply = Reply(_CODES.get(event.verb, 250), None, event.verb, event.verb == "QUIT")
                if event.verb in self.refuse:
                    reply = Reply(451, "3.0", "not now")
        return reply
