"""How a conversation's attempts to log in are answered, delayed and counted (S-37 to S-55)."""

from __future__ import annotations

import enum

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from moxsmtp.interfaces import CertificateAttempt, IReceiver, Login, PasswordAttempt
from moxsmtp.receive.circumstances import Circumstances
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.events import (
    Challenge,
    LoginAttempt,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.reply import Refused, Reply
from moxsmtp.smtp.sasl import BAD_CREDENTIALS
from moxsmtp.smtp.session import Session

__all__ = ["Logins"]


class _Shown(enum.Enum):
    """
    What became, in the handshake, of the certificate that a client showed.

    @cvar NOTHING: It showed none, or nobody was asked.
    @cvar UNCHECKED: Nobody looked at it (S-38).
    @cvar WELCOME: Its key is registered, as far as is remembered.
    """

    NOTHING = enum.auto()
    UNCHECKED = enum.auto()
    WELCOME = enum.auto()


class Logins:
    """Of one session."""

    __slots__ = ("_circumstances", "_log", "_receiver", "_session", "_shown")

    def __init__(
        self,
        circumstances: Circumstances,
        session: Session,
        receiver: IReceiver,
        log: SessionLog,
    ) -> None:
        self._circumstances = circumstances
        self._session = session
        self._receiver = receiver
        self._log = log
        self._shown = _Shown.NOTHING

    async def outcome(
        self, event: Challenge | SecretsRequest | LoginAttempt | LoginProven | Refusal
    ) -> Reply:
        """What a step of an exchange is answered with; a refusal may be of anything else."""
        await self.delay()
        if isinstance(event, SecretsRequest):
            client = self._session.client
            secrets = await self._receiver.secrets(client, event.wanted)
            supplied = self._session.supply(secrets)
            if not isinstance(supplied, Challenge | LoginProven | Refusal):
                raise TypeError(f"no answer to secrets: {type(supplied)}")
            event = supplied
        match event:
            case Challenge():
                return event.reply
            case LoginAttempt():
                return await self._verified(event)
            case LoginProven():
                return self._logged_in(event.variant, event.login)
            case Refusal():
                self._tell(event)
                return event.reply

    async def _verified(self, event: LoginAttempt) -> Reply:
        attempt = event.attempt
        login = await self._receiver.authenticate(self._session.client, attempt)
        if login is not None:
            return self._logged_in(event.variant, login)
        who = attempt.login if isinstance(attempt, PasswordAttempt) else attempt.authorization_id
        self._log.write(LogLevel.info, "login failed for {login}", login=who)
        return BAD_CREDENTIALS

    def _logged_in(self, variant: str, login: Login) -> Reply:
        reply = self._session.log_in(login)
        if reply.is_positive:
            self._log.write(LogLevel.info, "logged in with {variant}", variant=variant)
        else:
            self._log.write(
                LogLevel.info,
                "login failed for {login}: the certificate is of another account",
                login=login.address,
            )
        return reply

    def _tell(self, event: Refusal) -> None:
        exchange = event.exchange
        if exchange is not None and exchange.result is LoginResult.BAD_CHANNEL_BINDING:
            self._log.write(
                LogLevel.warn,
                "{login} is on another TLS connection: possible man in the middle",
                login=event.reason,
            )
        elif exchange is not None and exchange.result is LoginResult.BAD_CREDENTIALS:
            self._log.write(LogLevel.info, "login failed: {reason}", reason=event.reason)
        elif exchange is not None and event.reason:
            self._log.write(
                LogLevel.debug, "refused {verb}: {reason}", verb=event.verb, reason=event.reason
            )

    async def delay(self) -> None:
        """Those who keep guessing passwords wait longer and longer (S-42)."""
        seconds = self._session.delay * self._circumstances.authentication_delay
        if seconds:
            await deferLater(self._circumstances.clock, seconds)

    # -- certificates ----------------------------------------------------------------------

    def is_welcome(self, client_key: str) -> bool:
        """
        Whether a handshake goes on in which this key is shown (S-37), as is
        remembered; see L{certificate_is_good}.

        Where too many have failed, it is not looked at (S-38): the client is
        then as good as without.
        """
        if not self._may_fail():
            self._shown = _Shown.UNCHECKED
            return True
        why = self._circumstances.objection(client_key)
        if not why:
            self._shown = _Shown.WELCOME
            return True
        self._session.count_certificate()
        self.count("tlsclientauth", LoginResult.BAD_CREDENTIALS)
        self._tell_no_login(client_key, why)
        return False

    def handshake_failed(self) -> None:
        """
        There was none.  A key that was welcome was not proven to be the client's,
        who has learnt that it is registered: that counts as an attempt.
        """
        if self._shown is _Shown.WELCOME:
            self._shown = _Shown.NOTHING
            self.count("tlsclientauth", LoginResult.ERROR)

    def _may_fail(self) -> bool:
        """There is room for one more failure from there."""
        circumstances, address = self._circumstances, self._session.client.address
        return circumstances.limiters.may_log_in(address, circumstances.clock.seconds())

    async def certificate_is_good(self) -> bool:
        """
        Whether the client's TLS certificate, which it has shown, lets it in
        (S-37 to S-40), by the store and not by what is remembered.  If not, the
        connection has to end.

        @raise CancelledError: The connection is gone; that counts as a failure.
        """
        session = self._session
        tls = session.client.tls
        assert tls is not None  # noqa: S101 - there was a handshake
        shown, self._shown = self._shown, _Shown.NOTHING
        if shown is _Shown.NOTHING and not tls.resumed and not self._may_fail():
            shown = _Shown.UNCHECKED
        if shown is _Shown.UNCHECKED:
            return True
        session.count_certificate()
        result, why = LoginResult.ERROR, "it could not be checked"
        try:
            await self.delay()
            attempt = CertificateAttempt(tls.client_key)
            login = await self._receiver.authenticate(session.client, attempt)
            if login is None:
                result, why = LoginResult.BAD_CREDENTIALS, "it is not registered"
            else:
                session.certify(login)
                result = LoginResult.OK
        except Refused as refused:
            why = refused.reason or refused.reply.text
        except CancelledError:
            why = "the client has gone"
            raise
        finally:
            self.count("tlsclientauth", result)
            if result is LoginResult.OK:
                self._log.write(LogLevel.info, "logged in with a certificate")
            else:
                self._tell_no_login(tls.client_key, why)
        return result is LoginResult.OK

    def _tell_no_login(self, client_key: str, why: str) -> None:
        self._log.write(
            LogLevel.info,
            "no login with the certificate of key {key}: {why}",
            key=client_key,
            why=why,
        )

    # -- counting --------------------------------------------------------------------------

    def count(self, variant: str, result: LoginResult) -> None:
        """An attempt is over; all of them come by here (S-12, S-114)."""
        circumstances = self._circumstances
        circumstances.metrics.count(
            "mox_authentication_total",
            kind=circumstances.kind,
            variant=variant,
            result=result.value,
        )
        address = self._session.client.address
        seconds = circumstances.clock.seconds()
        if result is LoginResult.OK:
            circumstances.limiters.logged_in(address, seconds)
        else:
            circumstances.limiters.login_failed(address, seconds)
