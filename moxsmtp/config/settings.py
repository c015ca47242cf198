"""The whole configuration as one value."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

from moxsmtp.directory import AliasSettings, Directory, DomainSettings, ReportSettings
from moxsmtp.dkim.sign import Signer
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.interfaces import INBOX, Account
from moxsmtp.judge.limiters import LimitSettings
from moxsmtp.names import Domain, IPAddress, parse_domain
from moxsmtp.outbound.route import NO_ROUTING, Routing
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.receive.settings import DelaySettings, ListenerSettings
from moxsmtp.receive.tracing import Tracing
from moxsmtp.store.settings import StoreSettings
from moxsmtp.webhooks.settings import WebhookSettings

__all__ = ["HTTPSettings", "LogLevel", "LogSettings", "Selector", "Settings"]


class LogLevel(enum.StrEnum):
    """
    The least important that is logged; the names are those of C{twisted.logger}.
    Tracing is beyond debugging: all that is said in sessions (S-23).
    """

    TRACE_DATA = "tracedata"
    TRACE_AUTH = "traceauth"
    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"

    @property
    def tracing(self) -> Tracing:
        """How much of sessions is logged."""
        return _TRACING.get(self, Tracing.NONE)

    @property
    def is_debugging(self) -> bool:
        """Whether lines for debugging are logged."""
        return self is LogLevel.DEBUG or self in _TRACING


_TRACING: Final[Mapping[LogLevel, Tracing]] = {
    LogLevel.TRACE: Tracing.TRACE,
    LogLevel.TRACE_AUTH: Tracing.CREDENTIALS,
    LogLevel.TRACE_DATA: Tracing.DATA,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged."""

    level: LogLevel = LogLevel.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """
    Where metrics and health are served.

    @ivar addresses: Empty: nowhere.
    """

    addresses: tuple[IPAddress, ...] = (IPv4Address("127.0.0.1"),)
    port: int = 8025


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """
    A key of a domain of ours.

    @ivar record: What the DNS says of it.
    @ivar active: Mail is signed with it; otherwise its record may be in the DNS
        already, or still be.
    """

    signer: Signer
    record: str
    active: bool = True

    @property
    def name(self) -> str:
        """Where the DNS says so."""
        return f"{self.signer.selector}._domainkey.{self.signer.domain.ascii}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Everything that the server obeys.

    @ivar postmaster: Name of the account that reads the postmaster's mail.
    @ivar postmaster_mailbox: Where mail for it goes that comes to our hosts.
    @ivar data_directory: Absolute.
    @ivar default_account: Takes what is for nobody; set by localserve only,
        empty otherwise (S-73, I-113).
    @ivar selectors: What mail of each domain is signed with; domains without
        any may be left out.
    @ivar cram_md5: Users may log in with CRAM-MD5, and what it needs is kept.
    @ivar pedantic: What many clients do against the standards is refused (S-111).
    @ivar workers: Processes that speak with clients; 1: all is done in one process.
    """

    hostname: Domain
    postmaster: str
    data_directory: str
    listeners: tuple[ListenerSettings, ...]
    domains: Mapping[Domain, DomainSettings]
    accounts: tuple[Account, ...]
    http: HTTPSettings = field(default_factory=HTTPSettings)
    resolver: ResolverSettings = field(default_factory=ResolverSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    delays: DelaySettings = field(default_factory=DelaySettings)
    log: LogSettings = field(default_factory=LogSettings)
    default_account: str = ""
    postmaster_mailbox: str = INBOX
    aliases: tuple[AliasSettings, ...] = ()
    reports: tuple[ReportSettings, ...] = ()
    relays: tuple[RelaySettings, ...] = ()
    routing: Routing = NO_ROUTING
    selectors: Mapping[Domain, tuple[Selector, ...]] = field(default_factory=dict)
    cram_md5: bool = True
    pedantic: bool = False
    workers: int = 1

    def signers(self) -> Mapping[Domain, tuple[Signer, ...]]:
        """Every domain of ours with what its mail is signed with now, which may be nothing."""
        return {
            domain: tuple(one.signer for one in self.selectors.get(domain, ()) if one.active)
            for domain in self.domains
        }

    def key_records(self) -> Mapping[str, str]:
        """What the DNS has to say of all keys: TXT records by name."""
        return {one.name: one.record for found in self.selectors.values() for one in found}

    def directory(self) -> Directory:
        """The accounts, ready for look-ups."""
        hosts = {self.hostname} | {
            parse_domain(listener.hostname)
            for listener in self.listeners
            if listener.hostname and listener.smtp.enabled
        }
        return Directory(
            self.accounts,
            domains=self.domains,
            hosts=hosts,
            postmaster=self.postmaster,
            postmaster_mailbox=self.postmaster_mailbox,
            aliases=self.aliases,
            reports=self.reports,
            default_account=self.default_account,
        )
