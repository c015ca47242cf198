"""
What both kinds of receiver share: the envelope grows, one command at a time.

L{moxsmtp.receive.delivery} takes mail from outside, L{moxsmtp.receive.submission}
mail from our own users; they differ in whom they let in and what becomes of the
message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Final

from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import (
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
    LocalRecipient,
    Login,
    LoginSecrets,
    PasswordAttempt,
    RoleAddress,
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
from moxsmtp.smtp.notification import Wishes
from moxsmtp.smtp.reply import Refused, Reply, without_space

__all__ = [
    "MAXIMUM_HOPS", "MAXIMUM_RECIPIENTS", "TOO_MANY_HOPS", "Envelope", "House", "Receiver",
    "Recipient", "storage_refusals",
]  # fmt: skip

#: RFC 5321 section 4.5.3.1.10 asks for 100 at least.
MAXIMUM_RECIPIENTS: Final = 1000

#: More Received fields than this are a loop.  RFC 5321 section 6.3.
MAXIMUM_HOPS: Final = 100

TOO_MANY_HOPS: Final = Reply(550, "4.6", f"more than {MAXIMUM_HOPS} Received fields: a mail loop")

_NO_STORAGE: Final = Reply(451, "3.0", "storage is not available, try again later")
_NO_SECRETS: Final = Reply(454, "3.0", "storage is not available, try again later")


class storage_refusals:  # noqa: N801 - used as those of contextlib, whose decorator costs 4 us a message more
    """
    Within, a store that cannot take more says so to the peer (S-112).

    @raise Refused: Without a database or space.
    """

    __slots__ = ("_usual",)

    def __init__(self, usual: Reply = _NO_STORAGE) -> None:
        """@param usual: What to say without a database; without space, what it becomes."""
        self._usual = usual

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, InsufficientStorage):
            raise Refused(without_space(self._usual), str(error), is_ours=True) from error
        if isinstance(error, StorageUnavailable):
            raise Refused(self._usual, str(error), is_ours=True) from error


_RECIPIENT_ACCEPTED: Final = Reply(250, "1.0", "recipient accepted")
_TOO_MANY_RECIPIENTS: Final = Reply(
    452, "5.3", f"at most {MAXIMUM_RECIPIENTS} recipients in a transaction"
)


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
    @ivar pedantic: What many clients do against the standards is refused (S-111).
    @ivar strict_mime: So is what is not MIME throughout.
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
    pedantic: bool = False
    strict_mime: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    @ivar command: As given.
    @ivar local: Who reads it here; L{None}: nobody here does.
    """

    command: Rcpt
    local: LocalRecipient | None

    @property
    def path(self) -> Path:
        """As given."""
        return self.command.forward_path


@dataclass(frozen=True, slots=True)
class Envelope:
    """What MAIL and RCPT have said so far.  RFC 5321 section 2.3.1."""

    mail: Mail
    recipients: tuple[Recipient, ...] = ()

    @property
    def reverse_path(self) -> Path | None:
        """L{None} for the null reverse-path."""
        return self.mail.reverse_path

    def wishes(self, command: Rcpt) -> Wishes:
        """What the sender wants to hear about one of the recipients."""
        mail = self.mail
        return Wishes(mail.returns, mail.envelope_id, command.notify, command.original_recipient)


class Receiver(ABC):
    """One connection's transactions; see L{moxsmtp.interfaces.IReceiver}."""

    def __init__(self, house: House, log: SessionLog, *, tls_required: bool) -> None:
        """@param tls_required: RCPT is refused without TLS (S-4)."""
        self.house = house
        self.log = log
        self._tls_required = tls_required
        self._envelope: Envelope | None = None
        #: Canonical paths of the recipients, once there are several.
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
        if not await self.may_exist(command.name):
            raise Refused(Reply(550, "5.0", "your host name is not known to the DNS"))

    async def may_exist(self, name: Domain) -> bool:
        """Whether a host has an address, or the DNS does not say that it has none."""
        for rrtype in (RRType.A, RRType.AAAA):
            try:
                answer = await self.house.resolver.lookup(Question(name.ascii, rrtype))
            except LookupFailed:
                return True
            if answer.records:
                return True
        return False

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
        with storage_refusals(_NO_SECRETS):
            return await self.house.credentials.secrets(wanted)

    async def mail(self, client: Client, command: Mail) -> Reply:
        """Begin a transaction (S-67)."""
        self.check_sender(client, command.reverse_path)
        try:
            await self.house.policy.sender(command.reverse_path)
        except Refused:
            self.count_policy_refusal()
            raise
        self.reset()
        self._envelope = Envelope(command)
        return Reply(250, "1.0", "sender accepted")

    async def recipient(self, client: Client, command: Rcpt) -> Reply:
        """
        Add a recipient (S-69 to S-74); one that is there already is not added
        again.
        """
        envelope, path = self.envelope, command.forward_path
        if self._tls_required and client.tls is None and not self._takes_tls_reports(path):
            raise Refused(Reply(530, "7.0", "give STARTTLS first"))
        others = envelope.recipients
        if others:
            if self._is_known(others, path):
                return _RECIPIENT_ACCEPTED
            if len(others) >= MAXIMUM_RECIPIENTS:
                raise Refused(_TOO_MANY_RECIPIENTS)
            await self.admit_another(others)
        recipient = Recipient(command, self.find(client, path))
        try:
            await self.house.policy.recipient(path)
        except Refused:
            self.count_policy_refusal()
            raise
        if others:
            self._known.add(self.house.accounts.canonical(path))
        self._envelope = Envelope(envelope.mail, (*others, recipient))
        return _RECIPIENT_ACCEPTED

    def _takes_tls_reports(self, path: Path) -> bool:
        """Who cannot use TLS with us shall be able to say so (S-69).  RFC 8460 section 3."""
        found = self.house.accounts.recipient_of(path)
        return isinstance(found, RoleAddress) and found.takes_tls_reports

    def _is_known(self, others: tuple[Recipient, ...], path: Path) -> bool:
        canonical = self.house.accounts.canonical
        if not self._known:
            self._known.update(canonical(other.path) for other in others)
        return canonical(path) in self._known

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

    def count_policy_refusal(self) -> None:
        """At every step, on every port (S-110)."""
        self.house.metrics.count(
            "mox_smtpserver_delivery_total",
            result="delivererror",
            reason=self.house.policy.reason,
        )

    async def admit_another(self, others: tuple[Recipient, ...]) -> None:  # noqa: B027 - any number, if nobody objects
        """@raise Refused: Beside C{others}, there may be no recipient more."""

    @abstractmethod
    def check_sender(self, client: Client, path: Path | None) -> None:
        """@raise Refused: Nobody may send as C{path} here."""

    @abstractmethod
    def find(self, client: Client, path: Path) -> LocalRecipient | None:
        """
        Who reads mail for C{path} here; L{None} if nobody does but it is taken.

        @raise Refused: It is not taken.
        """
