"""Mail that is accepted, and where it lives."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from mmap import mmap
from typing import Final, TypeVar

from zope.interface import Interface

from moxsmtp.interfaces.accounts import INBOX, HookTarget, OutgoingEvent
from moxsmtp.interfaces.clients import TLSInfo
from moxsmtp.interfaces.content import ISpool, Spooled
from moxsmtp.message.delivery_status import RecipientStatus
from moxsmtp.names import Domain, IPAddress
from moxsmtp.smtp.address import Path

__all__ = [
    "UNCHECKED",
    "Echo",
    "IMailStore",
    "NewHook",
    "NewMessage",
    "Provenance",
    "RequireTLS",
    "Validation",
]


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
class Echo:
    """
    What came to the from-id of a message that the account may have sent (Q-39,
    Q-40).

    @ivar from_id: As the recipient has it; whether it is one, the history knows.
    @ivar is_dsn: It reports on delivery, understood or not.
    @ivar status: What it says of the recipient; L{None}: nothing that we
        understand.
    @ivar target: Where the account hears what becomes of its messages.
    @ivar keep_hooks: How long its history has a call whose place another takes.
    """

    from_id: str
    is_dsn: bool
    status: RecipientStatus | None
    target: HookTarget | None
    keep_hooks: timedelta = timedelta()


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
    @ivar flags: Maildir flag letters, sorted: C{S}, it counts as read.
    @ivar hook: The incoming webhook, stored in the same transaction.
    @ivar provenance: What is known of its sender.
    @ivar echo: If it proves to be about a message that the account sent, this
        is told in C{hook}'s place.
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
    flags: str = ""
    hook: NewHook | None = None
    provenance: Provenance = UNCHECKED
    echo: Echo | None = None


T = TypeVar("T")


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
