"""
The part of a session between AUTH and its outcome.  RFC 4954.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from moxsmtp.interfaces import (
    CertificateAttempt,
    Client,
    Login,
    LoginSecrets,
    PasswordAttempt,
)
from moxsmtp.smtp.commands import Auth, Verb
from moxsmtp.smtp.events import (
    Challenge,
    Exchange,
    LoginAttempt,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import (
    BAD_CHANNEL_BINDING,
    BAD_CREDENTIALS,
    Mechanism,
    Rejected,
    Scene,
    Step,
    Terms,
    decoded,
    encoded,
)
from moxsmtp.smtp.sasl_scram import ScramSHA1, ScramSHA1Plus, ScramSHA256, ScramSHA256Plus
from moxsmtp.smtp.sasl_simple import CramMD5, External, NameAndPassword, Plain

__all__ = ["MECHANISMS", "Authentication", "Turn", "result_of"]

#: What an exchange may come to next.
Turn = Challenge | SecretsRequest | LoginAttempt | LoginProven | Refusal

#: In the order of the EHLO reply, strongest first (S-32).
MECHANISMS: Final[Mapping[str, Callable[[Scene], Mechanism]]] = {
    External.name: External,
    ScramSHA256Plus.name: ScramSHA256Plus,
    ScramSHA256.name: ScramSHA256,
    ScramSHA1Plus.name: ScramSHA1Plus,
    ScramSHA1.name: ScramSHA1,
    CramMD5.name: CramMD5,
    Plain.name: Plain,
    NameAndPassword.name: NameAndPassword,
}

#: So many failures are answered at once; each one more costs a delay (S-42).
_FREE_ATTEMPTS: Final = 3

_NO_SUCH_MECHANISM: Final = Reply(504, "5.4", "no such mechanism")
_ABORTED: Final = Reply(501, "5.0", "authentication aborted")


def result_of(reply: Reply) -> LoginResult:
    """How an AUTH came out that ended in this reply."""
    if reply.is_positive:
        return LoginResult.OK
    if reply is BAD_CREDENTIALS:
        return LoginResult.BAD_CREDENTIALS
    if reply is BAD_CHANNEL_BINDING:
        return LoginResult.BAD_CHANNEL_BINDING
    return LoginResult.ABORTED if reply is _ABORTED else LoginResult.ERROR


class Authentication:
    """
    One exchange at a time, and how many have failed on this connection.

    @ivar failures: Attempts since the last success, one under way included.
    @ivar delay: So many steps of delay are due before the next answer (S-42).
    @ivar variant: The mechanism, in lower case, of an exchange under way; else
        L{None}.
    """

    __slots__ = ("_mechanism", "_rejected", "_terms", "delay", "failures", "variant")

    def __init__(self, terms: Terms | None) -> None:
        """@param terms: L{None}: nobody can log in."""
        self._terms = terms
        self._mechanism: Mechanism | None = None
        self._rejected: Rejected | None = None
        self.failures = 0
        self.delay = 0
        self.variant: str | None = None

    def usable(self, client: Client, *, is_secret: bool) -> Sequence[str]:
        """
        The mechanisms that would work now, to be announced (S-32).

        Where a password may not be sent, none is: in clear, the others prove
        nothing about what follows.
        """
        terms = self._terms
        if terms is None or not is_secret:
            return ()
        binding = client.tls.channel_binding if client.tls is not None else None
        unusable = {
            External.name: client.certificate is None,
            ScramSHA256Plus.name: binding is None,
            ScramSHA1Plus.name: binding is None,
            CramMD5.name: not terms.cram_md5,
        }
        return [name for name in MECHANISMS if not unusable.get(name, False)]

    def count(self) -> None:
        """An attempt begins.  It has failed until it succeeds, whatever ends it."""
        self.delay = max(0, self.failures - _FREE_ATTEMPTS)
        self.failures += 1

    def begin(self, wanted: Auth, client: Client, *, is_secret: bool) -> Turn:
        """@param is_secret: Nobody else can read a password that is sent now (S-45)."""
        terms, make = self._terms, MECHANISMS.get(wanted.mechanism)
        if terms is None or make is None or (make is CramMD5 and not terms.cram_md5):
            exchange = Exchange("", LoginResult.ERROR)
            return Refusal(Verb.AUTH, _NO_SUCH_MECHANISM, wanted.mechanism, exchange)
        self.variant = wanted.mechanism.lower()
        initial = wanted.initial_response
        try:
            self._mechanism = make(Scene(client, terms, is_secret))
            if initial is None:
                return self._turn(self._mechanism.step(None))
            response = b"" if initial == "=" else decoded(initial.encode())
            return self._turn(self._mechanism.step(response))
        except Refused as refused:
            return self._failed(refused.reply, refused.reason)

    def respond(self, line: bytes) -> Turn:
        """A line behind a 334, without its line end (S-44)."""
        mechanism, rejected = self._mechanism, self._rejected
        if mechanism is None:
            raise RuntimeError("no exchange is under way")
        if rejected is not None:
            # Whatever the client makes of it (S-51).
            return self._failed(rejected.reply, rejected.reason)
        if line == b"*":
            return self._failed(_ABORTED)
        try:
            return self._turn(mechanism.step(decoded(line)))
        except Refused as refused:
            return self._failed(refused.reply, refused.reason)

    def supply(self, secrets: LoginSecrets) -> Turn:
        """What the L{SecretsRequest} asked for."""
        if self._mechanism is None:
            raise RuntimeError("no exchange is under way")
        try:
            return self._turn(self._mechanism.supply(secrets))
        except Refused as refused:
            return self._failed(refused.reply, refused.reason)

    def end(self) -> None:
        """The exchange is over."""
        self._mechanism = None
        self._rejected = None
        self.variant = None
        self.delay = 0

    def _turn(self, step: Step) -> Turn:
        variant = self.variant or ""
        match step:
            case bytes():
                return Challenge(encoded(step))
            case Rejected():
                self._rejected = step
                return Challenge(encoded(step.challenge))
            case SecretsWanted():
                return SecretsRequest(variant, step)
            case PasswordAttempt() | CertificateAttempt():
                return LoginAttempt(variant, step)
            case Login():
                return LoginProven(variant, step)

    def _failed(self, reply: Reply, reason: str = "") -> Refusal:
        return Refusal(Verb.AUTH, reply, reason, Exchange(self.variant or "", result_of(reply)))
