"""
The ports at which the parts meet, and the values that pass through them.

A method that answers later gives an C{Awaitable}: a coroutine or a
C{Deferred}.  Nothing here waits, logs or knows the time.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from mmap import mmap
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

from moxsmtp.dns.records import Answer, Question
from moxsmtp.names import Domain, Host, IPAddress
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Ehlo, Helo, Mail, Rcpt
from moxsmtp.smtp.login_secrets import CramKeys, ScramKeys, SecretsWanted
from moxsmtp.smtp.notification import NO_WISHES, Wishes
from moxsmtp.smtp.reply import Refused, Reply

__all__ = [
    "INBOX", "UNCHECKED", "Account", "AddressRole", "Alias", "Allowance", "CertificateAttempt",
    "ChannelBinding", "Client", "Hello", "HookTarget", "IAccounts", "IClientKeys", "IContent",
    "ICredentials", "IMailStore", "IMetrics", "IOwnResolver", "IPasswordHashes", "IQueue",
    "IReceiver", "IResolver", "ISpool", "InsufficientStorage", "LocalRecipient", "Login",
    "LoginSecrets", "MailboxKind", "Maildir", "Member", "NewHook", "NewJob", "NewMessage",
    "OutgoingEvent", "PasswordAttempt", "PasswordSecrets", "Provenance", "RequireTLS", "Role",
    "RoleAddress", "Spooled", "StorageUnavailable", "TLSInfo", "Validation",
]  # fmt: skip

T = TypeVar("T")

#: The mailbox where mail for an account arrives.
INBOX: Final = "Inbox"


# -- who talks to us -----------------------------------------------------------


class Role(enum.StrEnum):
    """What a listening socket is for."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"

    @property
    def is_submission(self) -> bool:
        """Whether users hand in mail here (RFC 6409), with TLS from the start or not."""
        return self is not Role.SMTP


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """
    What only the two ends of a TLS connection know of it.  RFC 5056.

    @ivar type: C{tls-unique} (RFC 5929 section 3) or C{tls-exporter} (RFC 9266).
    @ivar data: Never to be shown.
    """

    type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """
    What a handshake agreed on.

    @ivar version: C{TLS1.2} or C{TLS1.3}; C{TLS1.0} and C{TLS1.1} where they
        are allowed.
    @ivar cipher: The IANA name of the cipher suite.
    @ivar channel_binding: L{None} where there is none that can be trusted: a
        session of TLS 1.2 or older, resumed without extended master secret
        (RFC 7627).
    @ivar client_key: Of the client's certificate: SHA-256 of the
        SubjectPublicKeyInfo as it was sent, 64 lower-case hexadecimal digits;
        empty if there is no certificate.  Nobody has vouched for it.
    @ivar sni: The host that the client asked for, as lower-case A-labels; empty
        if it named none, or no domain.
    @ivar resumed: The session is that of an earlier connection, its client's
        certificate too.
    """

    version: str
    cipher: str
    channel_binding: ChannelBinding | None = None
    client_key: str = ""
    sni: str = ""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """@ivar address: What the user logged in with, as an address in Unicode."""

    account: str
    address: str


@dataclass(frozen=True, slots=True)
class Hello:
    """@ivar extended: EHLO, not HELO.  @ivar name: L{None} if it was ignored (S-29)."""

    name: Host | None
    extended: bool


@dataclass(frozen=True, slots=True)
class Client:
    """
    The other end of a session, as far as it is known by now.

    @ivar session_id: The connection's number, 64 bits (S-9).
    @ivar login: Who hands in mail: by SASL, else by certificate.
    @ivar certificate: Who the key of the TLS certificate is registered for (S-37).
    """

    session_id: int
    role: Role
    address: IPAddress
    local_address: IPAddress
    hello: Hello | None = None
    tls: TLSInfo | None = None
    login: Login | None = None
    certificate: Login | None = None


# -- DNS -----------------------------------------------------------------------


class IResolver(Interface):
    """The one way to the DNS."""

    def lookup(question: Question) -> Deferred[Answer]:
        """
        Ask, following CNAMEs.  Cancelling the result harms no other waiter.

        @raise LookupFailed: SERVFAIL, time-out, no server (through the Deferred).
        """


class IOwnResolver(IResolver):
    """A resolver with an end, for whoever made it."""

    def close() -> Deferred[None]:
        """Fail what is under way, and everything later."""


# -- content ---------------------------------------------------------------------


class StorageUnavailable(Exception):
    """The store cannot be reached at present: locked too long, gone, closed."""


class InsufficientStorage(Exception):
    """There is no room for the content: disk full, quota, below C{minimum_free}."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """
    A message's content, received whole, not yet anybody's.

    @ivar size: Octets, with CRLF line ends.
    @ivar header: The header section up to and with its empty line, or as much
        of it as fits in 1 MiB; without an empty line, the start of the content.
    @ivar has_8bit: An octet above 127 stands somewhere in it.
    @ivar inline: All of it, if it is small enough for the database.
    @ivar file: Otherwise the name of an fsynced file in the content folder.
    """

    size: int
    header: bytes
    has_8bit: bool
    inline: bytes | None = None
    file: str | None = None


class ISpool(Interface):
    """Takes one message's content while it streams in."""

    def write(data: bytes) -> Deferred[None] | None:
        """
        Take more.  L{None}: go on at once; else wait before the next call.

        @raise InsufficientStorage: directly or through the Deferred.
        """

    def finish() -> Awaitable[Spooled]:
        """The content is whole; if it is a file, it is on disk when this answers."""

    def abort() -> None:
        """Forget it; also after L{finish}, if nobody took it.  May be repeated."""


class IContent(Interface):
    """Stored content, read in pieces."""

    size: int

    def read(offset: int, length: int) -> Awaitable[bytes]:
        """At most C{length} octets from C{offset}; empty only at or behind the end."""


# -- accounts ----------------------------------------------------------------------


class OutgoingEvent(enum.StrEnum):
    """What became of a queued message (Q-69)."""

    DELIVERED = "delivered"
    DELAYED = "delayed"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELED = "canceled"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True)
class HookTarget:
    """
    Where an account's webhooks go (Q-69).

    @ivar url: http or https.
    @ivar authorization: The Authorization header verbatim, empty for none.
    @ivar events: Only these; empty means all.  Unused for incoming mail.
    """

    url: str
    authorization: str = field(default="", repr=False)
    events: frozenset[OutgoingEvent] = frozenset()


class MailboxKind(enum.StrEnum):
    """Where an account's mail is read."""

    STORE = "store"
    MAILDIR = "maildir"


@dataclass(frozen=True, slots=True)
class Maildir:
    """
    @ivar path: The folder that holds C{tmp}, C{new}, C{cur}.
    @ivar mode: Permission bits of the folders that we make.
    """

    path: str
    mode: int = 0o700


@dataclass(frozen=True, slots=True)
class Account:
    """
    One user of the server, as configured.

    @ivar maildir: Set if mail is read in a Maildir, L{None} if in the store.
    @ivar keep_retired_messages: How long the queue's history is kept (Q-77);
        zero keeps nothing.
    @ivar max_outgoing_messages_per_day: Recipients in 24 hours (S-94); 0: unlimited.
    @ivar max_first_time_recipients_per_day: Of these, never written to before.
    @ivar from_id_login_addresses: Mail handed in by these gets an identifier
        into its sender (S-98).
    @ivar login_disabled: What to tell who gives the right password; empty:
        the account may log in (S-55).
    """

    name: str
    addresses: tuple[str, ...] = ()
    maildir: Maildir | None = None
    outgoing_webhook: HookTarget | None = None
    incoming_webhook: HookTarget | None = None
    keep_retired_messages: timedelta = timedelta()
    keep_retired_webhooks: timedelta = timedelta()
    login_disabled: str = ""
    max_outgoing_messages_per_day: int = 1000
    max_first_time_recipients_per_day: int = 200
    from_id_login_addresses: tuple[str, ...] = ()


class AddressRole(enum.StrEnum):
    """What an address is for that is nobody's own (I-25, I-26)."""

    POSTMASTER = "postmaster"
    DMARC_REPORTS = "dmarc-reports"
    TLS_REPORTS = "tls-reports"
    HOST_TLS_REPORTS = "host-tls-reports"


@dataclass(frozen=True, slots=True)
class RoleAddress:
    """
    An address with a purpose, and who takes care of it.

    @ivar mailbox: Where its mail goes.
    """

    role: AddressRole
    account: Account
    mailbox: str = INBOX

    @property
    def takes_tls_reports(self) -> bool:
        """Whether others tell us here that they cannot reach us by TLS (RFC 8460)."""
        return self.role in {AddressRole.TLS_REPORTS, AddressRole.HOST_TLS_REPORTS}


@dataclass(frozen=True, slots=True)
class Member:
    """@ivar path: Canonical."""

    path: Path
    account: Account


@dataclass(frozen=True, slots=True)
class Alias:
    """
    An address whose mail goes to several.  RFC 5321 section 3.9.1, I-33.

    @ivar path: Canonical.
    @ivar members: At least one.
    @ivar post_public: Anybody may write to it, not its members alone.
    @ivar list_members: Members may know who the others are.
    @ivar allow_message_from: Members may write in its name.
    """

    path: Path
    members: tuple[Member, ...]
    post_public: bool = False
    list_members: bool = False
    allow_message_from: bool = False

    def admits(self, author: Path | None) -> bool:
        """
        Whether mail of C{author} may be posted (I-34).

        @param author: Canonical; L{None}: not known.
        """
        if author is not None:
            if any(member.path == author for member in self.members):
                return True
            if author == self.path:
                return self.allow_message_from
        return self.post_public


#: Who receives mail here.
LocalRecipient = Account | Alias | RoleAddress


class IAccounts(Interface):
    """Whose address is this?  Pure look-up over the configuration in force."""

    def account(name: str) -> Account | None:
        """By account name."""

    def recipient_of(path: Path) -> LocalRecipient | None:
        """Who receives mail for C{path}; L{None}: nobody here."""

    def owner_of(path: Path) -> Account | None:
        """
        Who logs in as C{path}: an alias is nobody, and so is an account that
        takes what is for nobody.
        """

    def is_local(domain: Host | None) -> bool:
        """Whether we are a final destination of C{domain}; L{None} is the bare postmaster's."""

    def postmaster() -> Account | None:
        """Who reads the postmaster's mail."""

    def may_send_as(account: str, path: Path) -> bool:
        """Whether C{account} owns C{path} as an author or sender (S-66, S-90)."""

    def canonical(path: Path) -> Path:
        """The same mailbox in one spelling, so that duplicates fold (I-28)."""

    def separators_of(domain: Host | None) -> tuple[str, ...]:
        """
        What parts a local-part of a domain of ours from words behind it, the
        usual one first (I-28); nothing at other domains.
        """


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """What PLAIN and LOGIN end in (S-46).  Text is NFC."""

    authorization_id: str
    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateAttempt:
    """
    A TLS client certificate, and who its owner wants to be (S-37, S-52).

    @ivar fingerprint: As L{TLSInfo.client_key}.
    @ivar authorization_id: NFC; empty: whoever the key is registered for.
    """

    fingerprint: str
    authorization_id: str = ""


@dataclass(frozen=True, slots=True)
class LoginSecrets:
    """
    What a claim to be somebody is verified with.

    @ivar login: Who it is, if the claim proves true; L{None}: nobody, and
        C{keys} are made up.
    @ivar refusal: What to answer all the same; L{None}: nothing stands against it.
    """

    login: Login | None
    keys: ScramKeys | CramKeys = field(repr=False)
    refusal: Reply | None = None

    def admitted(self) -> Login:
        """
        The claim is true.

        @raise Refused: But the account may not log in (S-55).
        """
        if self.login is None:
            raise RuntimeError("nobody can prove this")
        if self.refusal is not None:
            raise Refused(self.refusal, f"{self.login.account} may not log in")
        return self.login


class ICredentials(Interface):
    """Who may log in as whom."""

    def verify(attempt: PasswordAttempt | CertificateAttempt) -> Awaitable[Login | None]:
        """
        Check a password, with the same work whether or not the user exists, or
        a certificate.

        @return: L{None} for a wrong password and for an unknown user alike.
        @raise Refused: It is right, and the account may not log in (S-55); or
            too many wait already.
        """

    def secrets(wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        """
        What to verify a claim with.  For an unknown user, and for one without
        such secrets, they are made up, always the same, by the same work (S-50).
        """


@dataclass(frozen=True, slots=True)
class PasswordSecrets:
    """
    All that is kept of a password, each as text that only its owner reads.

    @ivar password: Argon2id in PHC string form.
    @ivar scram_sha256: As L{ScramKeys.text}; empty: none were derived.
    @ivar scram_sha1: The same.
    @ivar cram_md5: As L{CramKeys.text}; empty: none were derived.
    """

    password: str = field(repr=False)
    scram_sha256: str = field(default="", repr=False)
    scram_sha1: str = field(default="", repr=False)
    cram_md5: str = field(default="", repr=False)


class IPasswordHashes(Interface):
    """Where derivatives of passwords are kept; never the passwords."""

    def password_secrets(account: str) -> Awaitable[PasswordSecrets | None]:
        """L{None} if the account has no password."""

    def set_password_secrets(account: str, secrets: PasswordSecrets) -> Awaitable[None]:
        """Keep them in place of all others; when this answers, they are on disk."""

    def complete_password_secrets(account: str, secrets: PasswordSecrets) -> Awaitable[None]:
        """Keep them, if C{secrets.password} is still the account's hash."""


class IClientKeys(Interface):
    """Which keys of TLS client certificates are registered, and for whom."""

    def login_of(fingerprint: str) -> Awaitable[Login | None]:
        """Whom a key was registered for; whether the address still is theirs, is not said."""


# -- mail in ------------------------------------------------------------------------


class RequireTLS(enum.StrEnum):
    """RFC 8689: demanded by REQUIRETLS, waived by C{TLS-Required: No}, or neither."""

    UNSET = ""
    YES = "yes"
    NO = "no"


class Validation(enum.StrEnum):
    """
    How well a name that a message goes by is vouched for (I-15, I-20): what SPF
    said of HELO's or MAIL FROM's, or how the author's is aligned.
    """

    UNKNOWN = ""
    STRICT = "strict"
    DMARC = "dmarc"
    RELAXED = "relaxed"
    PASS = "pass"  # noqa: S105 - a result, no password
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """
    What the checks found out about where a message is from (I-105).

    @ivar hello: Of HELO's name; one of C{hello} and C{mail_from} is unknown.
    @ivar author: What vouches for C{author_domain}; C{NONE} without one (I-7).
    @ivar author_domain: Of the one author; L{None}: none, several or a bad one (I-6).
    @ivar author_organization: Its organizational domain by the public suffix list.
    @ivar dmarc: The outcome in Authentication-Results' words; of several
        authors, the strictest.
    @ivar dmarc_policy: Of DMARC's record, that which applied; empty: none did.
    @ivar dmarc_rejects: It asks for the message to be refused.
    @ivar dkim_domains: Of signatures that passed, each once, in order (I-18).
    @ivar iprev: The outcome in Authentication-Results' words.
    @ivar reverse_name: What the client's address is called, verified or not.
    @ivar require_tls: C{NO} where the sender waived it (I-10).
    """

    hello: Validation = Validation.UNKNOWN
    mail_from: Validation = Validation.UNKNOWN
    author: Validation = Validation.UNKNOWN
    author_domain: Domain | None = None
    author_organization: Domain | None = None
    dmarc: str = ""
    dmarc_policy: str = ""
    dmarc_rejects: bool = False
    dkim_domains: tuple[Domain, ...] = ()
    iprev: str = ""
    reverse_name: str = ""
    require_tls: RequireTLS = RequireTLS.UNSET

    @property
    def has_valid_sender(self) -> bool:
        """SPF passed for MAIL FROM."""
        return self.mail_from is Validation.PASS

    @property
    def has_valid_author(self) -> bool:
        """The author's domain is vouched for, whatever its policy asks (I-20)."""
        return self.author in {Validation.STRICT, Validation.DMARC, Validation.RELAXED}


#: Of mail that we made ourselves: nothing was checked.
UNCHECKED: Final = Provenance()


@dataclass(frozen=True, slots=True)
class NewHook:
    """
    A webhook call to be made (Q-75).

    @ivar payload: JSON.  One NUL octet, which JSON cannot hold, may stand where
        the stored message's number goes; it is known only with the row.
    @ivar queue_id: The queue's number of the message, 0 for incoming mail.
    """

    account: str
    target: HookTarget
    event: OutgoingEvent | None
    payload: bytes
    queue_id: int = 0
    from_id: str = ""
    message_id: str = ""
    subject: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewMessage:
    """
    A message for one mailbox of one account.

    @ivar prefix: Header fields of ours that stand before the content.
    @ivar remote_address: Who gave it to us; L{None} if we made it.
    @ivar reverse_path: L{None} for the null reverse-path.
    @ivar author: The From address for people, empty if there is none.
    @ivar message_id: With angle brackets, empty if there is none.
    @ivar hand_over: It goes on to the account's Maildir.
    @ivar hook: The incoming webhook, stored in the same transaction.
    @ivar provenance: What is known of its sender.
    """

    account: str
    prefix: bytes
    received: datetime
    reverse_path: Path | None
    forward_path: Path
    mailbox: str = INBOX
    remote_address: IPAddress | None = None
    hello: str = ""
    tls: TLSInfo | None = None
    author: str = ""
    subject: str = ""
    message_id: str = ""
    is_dsn: bool = False
    hand_over: bool = False
    hook: NewHook | None = None
    provenance: Provenance = UNCHECKED


class IMailStore(Interface):
    """Where accepted mail lives first, and durably."""

    def spool() -> ISpool:
        """
        A place for content about to come in.

        @raise InsufficientStorage: There is no room.
        """

    def examine(spooled: Spooled, look: Callable[[bytes | mmap], T]) -> Awaitable[T]:
        """
        What C{look} makes of the whole content: called at once with small
        content, in a thread with large, which it must not keep.
        """

    def deliver(spooled: Spooled, messages: Sequence[NewMessage]) -> Awaitable[Sequence[int]]:
        """
        Store one content for all of C{messages}, all or nothing.  When this
        answers, it is on disk.

        @return: The number of each message.
        @raise InsufficientStorage: There is no room.
        """


# -- mail out -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewJob:
    """
    One recipient of a message for the queue (Q-5).

    @ivar account: Who sends; empty for mail of the server itself.
    @ivar prefix: Header octets sent before the content.
    @ivar message_id: With angle brackets.
    @ivar next_attempt: L{None}: at once.
    @ivar future_release: As a DSN tells why it was held (RFC 4865).
    @ivar wishes: What the sender wants to hear (RFC 3461).
    """

    account: str
    reverse_path: Path | None
    forward_path: Path
    prefix: bytes
    message_id: str
    subject: str = ""
    smtputf8: bool = False
    require_tls: RequireTLS = RequireTLS.UNSET
    next_attempt: datetime | None = None
    from_id: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    future_release: str = ""
    wishes: Wishes = NO_WISHES


@dataclass(frozen=True, slots=True)
class Allowance:
    """
    How much an account may send within 24 hours (S-94, I-108).

    @ivar messages: Counted per recipient; 0: as many as it likes.
    @ivar first_time_recipients: To whom it never wrote before; 0: likewise.
    """

    account: str
    messages: int
    first_time_recipients: int


class IQueue(Interface):
    """Where mail waits to leave."""

    def add(
        spooled: Spooled, jobs: Sequence[NewJob], allowance: Allowance | None = None
    ) -> Awaitable[Sequence[int]]:
        """
        Queue one content for all recipients, all or nothing (Q-3), and wake
        the runner.  When this answers, it is on disk.

        @param allowance: Checked and used up in the same transaction; L{None}:
            nobody counts.
        @return: The number of each job.
        @raise LimitReached: More than the allowance.
        @raise ValueError: No jobs (Q-4).
        @raise FromIdInUse: A from-id is known already (Q-4).
        @raise InsufficientStorage: There is no room.
        """


# -- the session's decisions ----------------------------------------------------------


class IReceiver(Interface):
    """
    Answers one connection's commands.  Each gives a L{Reply}, or raises
    L{Refused}; a refusal changes nothing.  The protocol has checked grammar and
    order before, and never asks a second thing while the first is unanswered.
    """

    def hello(client: Client, command: Helo | Ehlo) -> Awaitable[None]:
        """Is this name acceptable (S-30)?  The protocol writes the reply."""

    def authenticate(
        client: Client, attempt: PasswordAttempt | CertificateAttempt
    ) -> Awaitable[Login | None]:
        """L{None}: the credentials are wrong."""

    def secrets(client: Client, wanted: SecretsWanted) -> Awaitable[LoginSecrets]:
        """What the client's claim to be somebody is verified with."""

    def mail(client: Client, command: Mail) -> Awaitable[Reply]:
        """Begin a transaction."""

    def recipient(client: Client, command: Rcpt) -> Awaitable[Reply]:
        """Add a recipient."""

    def data(client: Client) -> Awaitable[ISpool]:
        """DATA may be answered with 354; the content goes into the result (S-75)."""

    def message(client: Client, spooled: Spooled) -> Awaitable[Reply]:
        """
        The content is whole.  A positive reply means it is on disk.  The
        transaction is over either way; the protocol calls L{reset}.
        """

    def reset() -> None:
        """Forget the transaction, if there is one."""


# -- counting --------------------------------------------------------------------------


class IMetrics(Interface):
    """Counts.  Names and labels are those of the table in C{moxsmtp.metrics}."""

    def count(name: str, **labels: str) -> None:
        """One more."""

    def observe(name: str, seconds: float, **labels: str) -> None:
        """It took this long."""

    def move(name: str, step: int, **labels: str) -> None:
        """A gauge goes up or down."""
