"""
The part of a session between AUTH and its outcome.  RFC 4954.
"""

from __future__ import annotations

from typing import Final

from moxsmtp.interfaces import PasswordAttempt
from moxsmtp.smtp.commands import Auth, Verb
from moxsmtp.smtp.events import Challenge, Exchange, LoginAttempt, LoginResult, Refusal
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import BAD_CREDENTIALS, MECHANISMS, Mechanism, decoded, encoded

__all__ = ["Authentication"]

#: So many failures are answered at once; each one more costs a delay (S-42).
_FREE_ATTEMPTS: Final = 3

_NO_SUCH_MECHANISM: Final = Reply(504, "5.4", "no such mechanism")
_TLS_FIRST: Final = Reply(538, "7.11", "start TLS before you send a password")
_ABORTED: Final = Reply(501, "5.0", "authentication aborted")


class Authentication:
    """
    One exchange at a time, and how many have failed on this connection.

    @ivar failures: Attempts since the last success, one under way included.
    @ivar delay: So many steps of delay are due before the next answer (S-42).
    """

    __slots__ = ("_mechanism", "delay", "failures")

    def __init__(self) -> None:
        self._mechanism: Mechanism | None = None
        self.failures = 0
        self.delay = 0

    @property
    def variant(self) -> str | None:
        """The mechanism, in lower case, of an exchange under way; else L{None}."""
        return self._mechanism.name.lower() if self._mechanism is not None else None

    def count(self) -> None:
        """An attempt begins.  It has failed until it succeeds, whatever ends it."""
        self.delay = max(0, self.failures - _FREE_ATTEMPTS)
        self.failures += 1

    def begin(self, wanted: Auth, *, is_secret: bool) -> Challenge | LoginAttempt | Refusal:
        """@param is_secret: Nobody else can read a password that is sent now (S-45)."""
        make = MECHANISMS.get(wanted.mechanism)
        if make is None:
            exchange = Exchange("", LoginResult.ERROR)
            return Refusal(Verb.AUTH, _NO_SUCH_MECHANISM, wanted.mechanism, exchange)
        self._mechanism = make()
        if not is_secret:
            return self._failed(_TLS_FIRST)
        if wanted.initial_response is None:
            return self._step(self._mechanism, None)
        initial = wanted.initial_response.encode()
        return self.respond(b"" if initial == b"=" else initial)

    def respond(self, line: bytes) -> Challenge | LoginAttempt | Refusal:
        """A line behind a 334, without its line end (S-44)."""
        if line == b"*":
            return self._failed(_ABORTED, result=LoginResult.ABORTED)
        if self._mechanism is None:
            raise RuntimeError("no exchange is under way")
        try:
            response = decoded(line)
        except Refused as refused:
            return self._failed(refused.reply)
        return self._step(self._mechanism, response)

    def end(self) -> None:
        """The exchange is over."""
        self._mechanism = None
        self.delay = 0

    def _step(
        self, mechanism: Mechanism, response: bytes | None
    ) -> Challenge | LoginAttempt | Refusal:
        try:
            outcome = mechanism.step(response)
        except Refused as refused:
            bad = refused.reply is BAD_CREDENTIALS
            result = LoginResult.BAD_CREDENTIALS if bad else LoginResult.ERROR
            return self._failed(refused.reply, refused.reason, result)
        if isinstance(outcome, PasswordAttempt):
            return LoginAttempt(mechanism.name.lower(), outcome)
        return Challenge(encoded(outcome))

    def _failed(
        self, reply: Reply, reason: str = "", result: LoginResult = LoginResult.ERROR
    ) -> Refusal:
        return Refusal(Verb.AUTH, reply, reason, Exchange(self.variant or "", result))
