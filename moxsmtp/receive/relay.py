"""
Mail of our own machines, which cannot log in: printers, monitors, other mail
servers.  It is taken on port 25 as if a user had handed it in.

RFC 5321 section 7.9.  A client's address is all that vouches for it, so that
only networks that the operator has named are trusted, and they only so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from zope.interface import implementer

from moxsmtp.interfaces import (
    CertificateAttempt,
    Client,
    IReceiver,
    ISpool,
    Login,
    LoginSecrets,
    NewJob,
    PasswordAttempt,
    Spooled,
)
from moxsmtp.judge.limits import is_within
from moxsmtp.names import AddressLiteral
from moxsmtp.receive.receiver import MAXIMUM_HOPS, TOO_MANY_HOPS, Envelope, House
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Ehlo, Helo, Mail, Rcpt
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["Port25", "Relay", "Relays"]

#: Seconds for which a relay's limit is given.
_PERIOD: Final = 3600

_NO_SENDER: Final = Reply(550, "7.0", "a sender's domain may not be an address literal")


@dataclass(slots=True)
class _Used:
    """What a relay has sent in one hour, by its number since the epoch."""

    hour: int = -1
    count: int = 0


class Relays:
    """
    Which machines may relay, and how much of it they have used.

    @ivar settings: In the order of the configuration; replaced by a reload,
        which forgets nothing that was counted.
    """

    def __init__(self, settings: Sequence[RelaySettings]) -> None:
        self.settings = settings
        self._used: dict[str, _Used] = {}

    def serves(self, client: Client) -> bool:
        """Whether the client is in a network of any of them."""
        return any(is_within(client.address, relay.networks) for relay in self.settings)

    def relay_for(self, client: Client, sender: Path | None) -> RelaySettings | None:
        """
        The first that takes mail of C{sender} from the client.  The null sender
        has no domain; of its mail the author's counts later.
        """
        for relay in self.settings:
            if is_within(client.address, relay.networks) and (
                sender is None or not relay.from_domains or sender.domain in relay.from_domains
            ):
                return relay
        return None

    def use(self, relay: RelaySettings, count: int, seconds: float) -> bool:
        """
        Count messages.

        @param seconds: Since the epoch.
        @return: Whether they may be sent; if not, none is counted.
        """
        used = self._used.setdefault(relay.name, _Used())
        hour = int(seconds // _PERIOD)
        if used.hour != hour:
            used.hour, used.count = hour, 0
        limit = relay.max_messages_per_hour
        if limit and used.count + count > limit:
            return False
        used.count += count
        return True

    def give_back(self, relay: RelaySettings, count: int) -> None:
        """They were not sent after all."""
        used = self._used[relay.name]
        used.count = max(0, used.count - count)


@implementer(IReceiver)
class Relay(Submission):
    """Takes mail of one relay's machines."""

    def __init__(
        self,
        house: House,
        log: SessionLog,
        relays: Relays,
        relay: RelaySettings,
        *,
        tls_required: bool,
    ) -> None:
        super().__init__(house, log, tls_required=tls_required)
        self._relays = relays
        self._relay = relay

    def check_sender(self, client: Client, path: Path | None) -> None:  # noqa: ARG002 - the base's form
        """Its domain is one of the relay's: that was asked before."""
        if path is not None and isinstance(path.domain, AddressLiteral):
            raise Refused(_NO_SENDER)

    def may_write_as(self, client: Client, author: Path) -> bool:  # noqa: ARG002 - the base's form
        """
        Lists and forwarders pass on what others wrote; only where there is no
        sender, nothing else says whose mail it is.
        """
        allowed = self._relay.from_domains
        return self.envelope.reverse_path is not None or not allowed or author.domain in allowed

    def account_name(self, client: Client) -> str:  # noqa: ARG002 - the base's form
        """That of the configuration; empty: nobody's."""
        return self._relay.account

    def owner_name(self, client: Client) -> str:
        """The relay, and its account if it has one."""
        name = f"relay {self._relay.name}"
        return f"{name}, {super().owner_name(client)}" if self._relay.account else name

    def login_result(self, envelope: Envelope, *, smtputf8: bool) -> bytes:  # noqa: ARG002 - the base's form
        """Nobody has logged in."""
        return b""

    async def message(self, client: Client, spooled: Spooled) -> Reply:
        """As the base, unless it goes in circles: other mail servers may send it."""
        if self.header.count("Received") > MAXIMUM_HOPS:
            raise Refused(TOO_MANY_HOPS)
        return await super().message(client, spooled)

    async def queued(
        self, client: Client, spooled: Spooled, jobs: Sequence[NewJob]
    ) -> Sequence[int]:
        """As the base, if the relay may send so much."""
        relay, count = self._relay, len(jobs)
        if not self._relays.use(relay, count, self.house.now().timestamp()):
            self.count("messagelimiterror")
            limit = relay.max_messages_per_hour
            text = f"no more than {limit} messages in an hour (max_messages_per_hour of the relay)"
            raise Refused(Reply(451, "7.1", f"{text}, try later"), f"limit of relay {relay.name}")
        try:
            return await super().queued(client, spooled, jobs)
        except BaseException:
            self._relays.give_back(relay, count)
            raise


@implementer(IReceiver)
class Port25:
    """
    Mail from outside, and of machines that may relay: which of both a
    transaction is, its sender decides.
    """

    def __init__(
        self, delivery: IReceiver, relays: Relays, relay: Callable[[RelaySettings], IReceiver]
    ) -> None:
        """@param relay: Makes the receiver of a relay's mail."""
        self._delivery = delivery
        self._relays = relays
        self._relay = relay
        self._current = delivery

    async def hello(self, client: Client, command: Helo | Ehlo) -> None:
        """Names of machines inside are in no DNS (S-30)."""
        if not self._relays.serves(client):
            await self._delivery.hello(client, command)

    async def authenticate(
        self, client: Client, attempt: PasswordAttempt | CertificateAttempt
    ) -> Login | None:
        """See L{IReceiver}."""
        login: Login | None = await self._delivery.authenticate(client, attempt)
        return login

    async def secrets(self, client: Client, wanted: SecretsWanted) -> LoginSecrets:
        """See L{IReceiver}."""
        secrets: LoginSecrets = await self._delivery.secrets(client, wanted)
        return secrets

    async def mail(self, client: Client, command: Mail) -> Reply:
        """Begin a transaction with whom it concerns."""
        relay = self._relays.relay_for(client, command.reverse_path)
        self._current = self._delivery if relay is None else self._relay(relay)
        reply: Reply = await self._current.mail(client, command)
        return reply

    async def recipient(self, client: Client, command: Rcpt) -> Reply:
        """See L{IReceiver}."""
        reply: Reply = await self._current.recipient(client, command)
        return reply

    async def data(self, client: Client) -> ISpool:
        """See L{IReceiver}."""
        spool: ISpool = await self._current.data(client)
        return spool

    async def message(self, client: Client, spooled: Spooled) -> Reply:
        """See L{IReceiver}."""
        reply: Reply = await self._current.message(client, spooled)
        return reply

    def reset(self) -> None:
        """See L{IReceiver}."""
        self._current.reset()
