"""
What both kinds of receiver share: the envelope grows, one command at a time.

L{moxsmtp.receive.delivery} takes mail from outside, L{moxsmtp.receive.submission}
mail from our own users; they differ in whom they let in and what becomes of the
message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import (
    Account,
    CertificateAttempt,
    Client,
    IAccounts,
    ICredentials,
    IMailStore,
    IMetrics,
    InsufficientStorage,
    IQueue,
    IResolver,
    ISpool,
    Login,
    LoginSecrets,
    PasswordAttempt,
    Spooled,
    StorageUnavailable,
)
from moxsmtp.names import Domain
from moxsmtp.receive.checks import Checks
from moxsmtp.receive.intake import Room
from moxsmtp.receive.policy import IPolicy
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.signing import Signers
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Ehlo, Helo, Mail, Rcpt
from moxsmtp.smtp.login_secrets import SecretsWanted
from moxsmtp.smtp.reply import Refused, Reply, without_space

__all__ = ["MAXIMUM_RECIPIENTS", "Envelope", "House", "Receiver", "Recipient", "storage_refusals"]

#: RFC 5321 section 4.5.3.1.10 asks for 100 at least.
MAXIMUM_RECIPIENTS: Final = 1000

_NO_STORAGE: Final = Reply(451, "3.0", "storage is not available, try again later")
_NO_SECRETS: Final = Reply(454, "3.0", "storage is not available, try again later")


@contextmanager
def storage_refusals(usual: Reply = _NO_STORAGE) -> Iterator[None]:
    """
    Within, a store that cannot take more says so to the peer (S-112).

    @param usual: What to say without a database.
    @raise Refused: With it, or what it becomes without space.
    """
    try:
        yield
    except InsufficientStorage as error:
        raise Refused(without_space(usual), str(error), is_ours=True) from error
    except StorageUnavailable as error:
        raise Refused(usual, str(error), is_ours=True) from error


@dataclass(frozen=True, slots=True)
class House:
    """
    What all receivers of a server work with.

    @ivar hostname: The global one, for Received and Message-ID (S-2).
    @ivar reply_id: A session's number in its opaque form (S-10).
    @ivar now: Aware, UTC.
    @ivar random_bytes: So many octets that nobody can guess.
    @ivar checks: What mail from outside goes through.
    @ivar organizational_domain: By the public suffix list.
    @ivar header_room: For long header sections of mail from outside.
    @ivar signers: What mail of our domains is signed with at present.
    """

    hostname: Domain
    accounts: IAccounts
    credentials: ICredentials
    store: IMailStore
    queue: IQueue
    resolver: IResolver
    policy: IPolicy
    metrics: IMetrics
    reply_id: Callable[[int], str]
    now: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]
    checks: Checks
    organizational_domain: Callable[[Domain], Domain]
    signers: Callable[[], Signers] = dict
    header_room: Room = field(default_factory=Room)


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    @ivar path: As given.
    @ivar account: Who reads it here; L{None}: nobody here does.
    """

    path: Path
    account: Account | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What MAIL and RCPT have said so far.  RFC 5321 section 2.3.1."""

    mail: Mail
    recipients: tuple[Recipient, ...] = ()

    @property
    def reverse_path(self) -> Path | None:
        """L{None} for the null reverse-path."""
        return self.mail.reverse_path


class Receiver(ABC):
    """One connection's transactions; see L{moxsmtp.interfaces.IReceiver}."""

    def __init__(self, house: House, log: SessionLog, *, tls_required: bool) -> None:
        """@param tls_required: RCPT is refused without TLS (S-4)."""
        self.house = house
        self.log = log
        self._tls_required = tls_required
        self._envelope: Envelope | None = None
        self._known: set[Path] = set()

    @property
    def envelope(self) -> Envelope:
        """Of the transaction under way; the session lets nobody ask without one."""
        if self._envelope is None:
            raise RuntimeError("no transaction")
        return self._envelope

    async def hello(self, client: Client, command: Helo | Ehlo) -> None:  # noqa: ARG002 - the port's form
        """
        A name given with HELO must not be known to be wrong (S-30).  RFC 5321
        section 2.3.5.

        @raise Refused: The DNS says that there is no such host.
        """
        if not isinstance(command, Helo) or not isinstance(command.name, Domain):
            return
        for rrtype in (RRType.A, RRType.AAAA):
            try:
                answer = await self.house.resolver.lookup(Question(command.name.ascii, rrtype))
            except LookupFailed:
                return
            if answer.records:
                return
        raise Refused(Reply(550, "5.0", "your host name is not known to the DNS"))

    async def authenticate(
        self,
        client: Client,  # noqa: ARG002 - the port's form
        attempt: PasswordAttempt | CertificateAttempt,
    ) -> Login | None:
        """L{None}: the credentials are wrong."""
        with storage_refusals():
            return await self.house.credentials.verify(attempt)

    async def secrets(self, client: Client, wanted: SecretsWanted) -> LoginSecrets:  # noqa: ARG002 - the port's form
        """What the client's claim to be somebody is verified with (S-48, S-50)."""
        try:
            return await self.house.credentials.secrets(wanted)
        except StorageUnavailable as error:
            raise Refused(_NO_SECRETS, str(error)) from error

    async def mail(self, client: Client, command: Mail) -> Reply:
        """Begin a transaction (S-67)."""
        self.check_sender(client, command.reverse_path)
        with self.policy_refusals():
            await self.house.policy.sender(command.reverse_path)
        self.reset()
        self._envelope = Envelope(command)
        return Reply(250, "1.0", "sender accepted")

    async def recipient(self, client: Client, command: Rcpt) -> Reply:
        """Add a recipient; one that is there already is not added again (S-74)."""
        envelope = self.envelope
        if self._tls_required and client.tls is None:
            raise Refused(Reply(530, "7.0", "give STARTTLS first"))
        if len(envelope.recipients) >= MAXIMUM_RECIPIENTS:
            raise Refused(
                Reply(452, "5.3", f"at most {MAXIMUM_RECIPIENTS} recipients in a transaction")
            )
        recipient = Recipient(command.forward_path, self.account_of(client, command.forward_path))
        with self.policy_refusals():
            await self.house.policy.recipient(command.forward_path)
        canonical = self.house.accounts.canonical(command.forward_path)
        if canonical not in self._known:
            self._known.add(canonical)
            self._envelope = replace(envelope, recipients=(*envelope.recipients, recipient))
        return Reply(250, "1.0", "recipient accepted")

    async def data(self, client: Client) -> ISpool:  # noqa: ARG002 - the port's form
        """A place for the content, so that 354 may be said (S-75)."""
        with storage_refusals():
            return self.house.store.spool()

    @abstractmethod
    async def message(self, client: Client, spooled: Spooled) -> Reply:
        """The content is whole; take it or refuse it."""

    def reset(self) -> None:
        """Forget the transaction, if there is one."""
        self._envelope = None
        self._known = set()

    @contextmanager
    def policy_refusals(self) -> Iterator[None]:
        """Within, the policy may refuse; who counts that says so here."""
        yield

    @abstractmethod
    def check_sender(self, client: Client, path: Path | None) -> None:
        """@raise Refused: Nobody may send as C{path} here."""

    @abstractmethod
    def account_of(self, client: Client, path: Path) -> Account | None:
        """
        Who reads mail for C{path} here; L{None} if nobody does but it is taken.

        @raise Refused: It is not taken.
        """
