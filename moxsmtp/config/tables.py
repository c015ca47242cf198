"""The shape of the file, where it differs from the settings that come out of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from moxsmtp.config.settings import HTTPSettings, LogSettings
from moxsmtp.directory import DomainSettings
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.interfaces import INBOX, MailboxKind, OutgoingEvent
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.names import Domain, IPAddress
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.outbound.transport import DEFAULT_MECHANISMS, Families, SmarthostTLS
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.receive.settings import DelaySettings, ListenerSettings
from moxsmtp.store.settings import StoreSettings
from moxsmtp.webhooks.settings import WebhookSettings

__all__ = [
    "AccountTable", "AliasTable", "DomainTable", "FileTable", "HostReportTable",
    "IncomingHookTable", "OutgoingHookTable", "ReportTable", "RouteTable", "SelectorTable",
    "TransportKind", "TransportTable",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorTable:
    """
    C{[domain.NAME.dkim.SELECTOR]}.

    @ivar key: A PEM file.
    @ivar expiration: Zero: signatures do not expire.
    @ivar headers: Names of fields that are signed beside the usual ones.
    """

    key: str
    active: bool = True
    expiration: timedelta = timedelta()
    headers: tuple[str, ...] = ()


class TransportKind(enum.StrEnum):
    """How a transport gets mail away."""

    DIRECT = "direct"
    SOCKS = "socks"
    SMARTHOST = "smarthost"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportTable:
    """
    C{[transport.NAME]}; which keys it may have depends on C{kind}.

    @ivar port: L{None}: the usual one.
    @ivar remote_addresses: From which a SOCKS proxy connects.
    """

    kind: TransportKind
    host: str = ""
    port: int | None = None
    tls: SmarthostTLS = SmarthostTLS.STARTTLS
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    mechanisms: tuple[str, ...] = DEFAULT_MECHANISMS
    families: Families = Families.BOTH
    remote_hostname: Domain | None = None
    remote_addresses: tuple[IPAddress, ...] = ()
    code: int = 554
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """C{[[route]]}, also of a domain and of an account; see L{Route}."""

    transport: str
    from_domains: tuple[str, ...] = ()
    to_domains: tuple[str, ...] = ()
    minimum_attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasTable:
    """C{[domain.NAME.alias.LOCAL_PART]}; see L{AliasSettings}."""

    addresses: tuple[str, ...]
    post_public: bool = False
    list_members: bool = False
    allow_message_from: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReportTable:
    """C{[host_tls_reports]}: at the server's own name."""

    local_part: str
    account: str
    mailbox: str = INBOX


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable(HostReportTable):
    """
    C{[domain.NAME.dmarc_reports]} and C{[domain.NAME.tls_reports]}.

    @ivar domain: Where the address is; empty: in the domain itself.
    """

    domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainTable:
    """
    C{[domain.NAME]}.

    @ivar alias: By local-part as written.
    @ivar dkim: By selector as written.
    """

    separator: tuple[str, ...] = ()
    case_sensitive: bool = False
    reports_only: bool = False
    disabled: bool = False
    route: tuple[RouteTable, ...] = ()
    alias: Mapping[str, AliasTable] = field(default_factory=dict)
    dmarc_reports: ReportTable | None = None
    tls_reports: ReportTable | None = None
    dkim: Mapping[str, SelectorTable] = field(default_factory=dict)

    def settings(self) -> DomainSettings:
        """How it reads local-parts."""
        return DomainSettings(
            separators=self.separator,
            case_sensitive=self.case_sensitive,
            reports_only=self.reports_only,
            disabled=self.disabled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingHookTable:
    """C{[account.NAME.incoming_webhook]}."""

    url: str
    authorization: str = field(default="", repr=False)
    authorization_file: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    secret_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingHookTable(IncomingHookTable):
    """C{[account.NAME.outgoing_webhook]}."""

    events: frozenset[OutgoingEvent] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTable:
    """
    C{[account.NAME]}.

    @ivar maildir: Empty: the file's.
    @ivar maildir_mode: L{None}: the file's.
    """

    addresses: tuple[str, ...] = ()
    mailbox: MailboxKind = MailboxKind.STORE
    maildir: str = ""
    maildir_mode: int | None = None
    login_disabled: str = ""
    keep_retired_messages: timedelta = timedelta()
    keep_retired_webhooks: timedelta = timedelta()
    max_outgoing_messages_per_day: int = 1000
    max_first_time_recipients_per_day: int = 200
    max_queued_messages: int = 0
    from_id_login_addresses: tuple[str, ...] = ()
    route: tuple[RouteTable, ...] = ()
    outgoing_webhook: OutgoingHookTable | None = None
    incoming_webhook: IncomingHookTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """
    All of it.

    @ivar hostname: L{None}: it is missing.
    @ivar listener: By their number in the file, and so are C{relay} and C{route}.
    @ivar domain: By name as written.
    """

    hostname: Domain | None = None
    postmaster: str = ""
    postmaster_mailbox: str = INBOX
    data_directory: str = ""
    maildir: str = ""
    maildir_mode: int = 0o700
    cram_md5: bool = True
    pedantic: bool = False
    workers: int = 1
    listener: Mapping[int, ListenerSettings] = field(default_factory=dict)
    domain: Mapping[str, DomainTable] = field(default_factory=dict)
    account: Mapping[str, AccountTable] = field(default_factory=dict)
    host_tls_reports: HostReportTable | None = None
    relay: Mapping[int, RelaySettings] = field(default_factory=dict)
    transport: Mapping[str, TransportTable] = field(default_factory=dict)
    route: Mapping[int, RouteTable] = field(default_factory=dict)
    queue: QueueSettings = field(default_factory=QueueSettings)
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    resolver: ResolverSettings = field(default_factory=ResolverSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    delays: DelaySettings = field(default_factory=DelaySettings)
    http: HTTPSettings = field(default_factory=HTTPSettings)
    log: LogSettings = field(default_factory=LogSettings)
