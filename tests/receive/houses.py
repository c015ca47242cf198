"""A server's insides without a server, for tests of receivers."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxsmtp import spf
from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.interfaces import (
    Account,
    CertificateAttempt,
    Client,
    Hello,
    ICredentials,
    IReceiver,
    ISpool,
    Login,
    LoginSecrets,
    Maildir,
    PasswordAttempt,
    Role,
    Spooled,
    TLSInfo,
)
from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.receive.policy import Welcome
from moxsmtp.receive.receiver import House
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Mail, Rcpt
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply, Unjudged
from moxsmtp.smtp.session import Session, Station
from moxsmtp.testing import (
    MemoryChecks,
    MemoryMetrics,
    MemoryQueue,
    MemoryResolver,
    MemoryStore,
)
from tests.smtp.driver import secrets_of

#: What the double of the checks says where the sender shall be who it says.
SPF_PASSES = spf.Result(spf.Status.PASS, spf.Scope.MAIL_FROM, parse_domain("away.example"))

NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)

CLIENT = Client(
    session_id=7,
    role=Role.SMTP,
    address=IPv4Address("192.0.2.7"),
    local_address=IPv4Address("192.0.2.1"),
    hello=Hello(parse_domain("client.example"), extended=True),
)

USER = replace(
    CLIENT,
    role=Role.SUBMISSION,
    tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"),
    login=Login("alice", "alice@ours.example"),
)


@implementer(ICredentials)
class Nobody:
    """Lets nobody in."""

    def verify(self, attempt: PasswordAttempt | CertificateAttempt) -> Awaitable[Login | None]:
        return succeed(None)

    def secrets(self, wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        return succeed(secrets_of(wanted, b"nobody knows this one"))


def path(text: str) -> Path:
    """C{local-part@domain}, C{postmaster} alone, or with an address literal."""
    local_part, at, name = text.rpartition("@")
    if not at:
        return Path(text, None)
    literal = name.startswith("[")
    domain = AddressLiteral(IPv4Address(name[1:-1])) if literal else parse_domain(name)
    return Path(local_part, domain)


def session_log(client: Client = CLIENT) -> SessionLog:
    """Where a receiver logs."""
    station = Station(
        hostname="mx.ours.example",
        maximum_size=1,
        offers_tls=False,
        clear_passwords=False,
        reply_id=str,
    )
    return SessionLog(Clock(), Session(station, client))


class HouseTestCase(SynchronousTestCase):
    """
    A house with two accounts: alice, who is postmaster too, and mike, who
    reads his mail in a Maildir.
    """

    def setUp(self) -> None:
        self.accounts = (
            Account("alice", addresses=("alice@ours.example", "a2@ours.example")),
            Account("mike", addresses=("mike@ours.example",), maildir=Maildir("/mail/mike")),
        )
        self.store = MemoryStore()
        self.queue = MemoryQueue()
        self.metrics = MemoryMetrics()
        self.resolver = MemoryResolver()
        self.checks = MemoryChecks()
        self.house = self.made()

    def made(self, *accounts: Account) -> House:
        """The house, with other accounts if some are given."""
        return House(
            hostname=parse_domain("mx.ours.example"),
            accounts=Directory(
                accounts or self.accounts,
                domains={parse_domain("ours.example"): DomainSettings(separators=("+",))},
                hosts={parse_domain("mx.ours.example")},
                postmaster="alice",
            ),
            credentials=Nobody(),
            store=self.store,
            queue=self.queue,
            resolver=self.resolver,
            policy=Welcome(),
            metrics=self.metrics,
            reply_id=lambda number: f"reply-{number}",
            now=lambda: NOW,
            random_bytes=lambda count: b"r" * count,
            checks=self.checks.checks(),
            organizational_domain=lambda domain: parse_domain(
                ".".join(domain.ascii.split(".")[-2:])
            ),
        )

    def ask(self, asked: Awaitable[Reply]) -> Reply:
        """The reply, or what the refusal says; it is there at once."""

        async def answered() -> Reply:
            try:
                return await asked
            except Refused as refused:
                return refused.reply

        return self.successResultOf(Deferred.fromCoroutine(answered()))

    def codes(self, asked: Awaitable[Reply]) -> str:
        """Code and enhanced status code."""
        reply = self.ask(asked)
        return f"{reply.code} {reply.enhanced_status}"

    def begin(
        self, receiver: IReceiver, client: Client, sender: str | None, *recipients: str
    ) -> list[str]:
        """MAIL and RCPTs; the codes of all replies."""
        mail = Mail(path(sender) if sender else None)
        codes = [self.codes(receiver.mail(client, mail))]
        return codes + [
            self.codes(receiver.recipient(client, Rcpt(path(recipient))))
            for recipient in recipients
        ]

    def send(
        self, receiver: IReceiver, client: Client, content: bytes, sender: str | None, *rcpt: str
    ) -> Reply:
        """A whole transaction; the last reply."""
        self.begin(receiver, client, sender, *rcpt)
        return self.ask(receiver.message(client, self.spooled(receiver, client, content)))

    def refused_at_end(self, spool: ISpool) -> Reply:
        """What is said of content that is whole and cannot be judged."""

        async def ended() -> Spooled:
            return await spool.finish()

        reply: Reply = self.failureResultOf(Deferred.fromCoroutine(ended()), Unjudged).value.reply
        return reply

    def spooled(
        self, receiver: IReceiver, client: Client, content: bytes, piece: int = 0
    ) -> Spooled:
        """
        The content of a transaction, when it has come whole.

        @param piece: Octets that come at once; 0: all of them.
        """

        async def come() -> Spooled:
            spool = await receiver.data(client)
            size = piece or max(1, len(content))
            for start in range(0, len(content), size):
                waiting = spool.write(content[start : start + size])
                if waiting is not None:
                    await waiting
            return await spool.finish()

        return self.successResultOf(Deferred.fromCoroutine(come()))
