"""Who lives here, and where their mail and news of it go."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from zope.interface import Interface

from moxsmtp.names import Host
from moxsmtp.smtp.address import Path

__all__ = [
    "INBOX",
    "Account",
    "AddressRole",
    "Alias",
    "HookTarget",
    "IAccounts",
    "LocalRecipient",
    "MailboxKind",
    "Maildir",
    "Member",
    "OutgoingEvent",
    "RoleAddress",
]

#: The mailbox where mail for an account arrives.
INBOX: Final = "Inbox"


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
    @ivar secrets: Keys that each call is signed with (Q-92); none: unsigned.
    @ivar events: Only these; empty means all.  Unused for incoming mail.
    """

    url: str
    authorization: str = field(default="", repr=False)
    events: frozenset[OutgoingEvent] = frozenset()
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


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
    @ivar max_queued_messages: Recipients whose mail may wait at one time (Q-95);
        0: unlimited.
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
    max_queued_messages: int = 0
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
