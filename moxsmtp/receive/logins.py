"""How a conversation's attempts to log in are answered, delayed and counted (S-37 to S-55)."""

from __future__ import annotations

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


class Logins:
    """Of one session."""

    __slots__ = ("_circumstances", "_log", "_receiver", "_session")

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
        elif event.reason:
            self._log.write(
                LogLevel.debug, "refused {verb}: {reason}", verb=event.verb, reason=event.reason
            )

    async def delay(self) -> None:
        """Those who keep guessing passwords wait longer and longer (S-42)."""
        seconds = self._session.delay * self._circumstances.authentication_delay
        if seconds:
            await deferLater(self._circumstances.clock, seconds)

    # -- certificates ----------------------------------------------------------------------

    async def certificate_is_good(self) -> bool:
        """
        Whether the client's TLS certificate, which it has shown, lets it in
        (S-37 to S-40).  If not, the connection has to end.

        Where too many have failed, one that is shown anew is not looked at
        (S-38): the client is then as good as without.

        @raise CancelledError: The connection is gone; that counts as a failure.
        """
        session = self._session
        tls = session.client.tls
        assert tls is not None  # noqa: S101 - there was a handshake
        circumstances, address = self._circumstances, session.client.address
        seconds = circumstances.clock.seconds()
        if not tls.resumed and not circumstances.limiters.may_log_in(address, seconds):
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
                self._log.write(
                    LogLevel.info,
                    "no login with the certificate of key {key}: {why}",
                    key=tls.client_key,
                    why=why,
                )
        return result is LoginResult.OK

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
