"""The shape of the file, where it differs from the settings that come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from moxsmtp.config.settings import HTTPSettings, LogSettings
from moxsmtp.directory import DomainSettings
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.interfaces import MailboxKind, OutgoingEvent
from moxsmtp.names import Domain
from moxsmtp.queue.settings import QueueSettings
from moxsmtp.receive.settings import ListenerSettings
from moxsmtp.store.settings import StoreSettings
from moxsmtp.webhooks.settings import WebhookSettings

__all__ = [
    "AccountTable", "DomainTable", "FileTable", "IncomingHookTable", "OutgoingHookTable",
    "SelectorTable",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainTable(DomainSettings):
    """
    C{[domain.NAME]}.

    @ivar dkim: By selector as written.
    """

    dkim: Mapping[str, SelectorTable] = field(default_factory=dict)

    def settings(self) -> DomainSettings:
        """Without what concerns signing."""
        return DomainSettings(separator=self.separator, case_sensitive=self.case_sensitive)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingHookTable:
    """C{[account.NAME.incoming_webhook]}."""

    url: str
    authorization: str = field(default="", repr=False)
    authorization_file: str = ""


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
    outgoing_webhook: OutgoingHookTable | None = None
    incoming_webhook: IncomingHookTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """
    All of it.

    @ivar hostname: L{None}: it is missing.
    @ivar listener: By their number in the file.
    @ivar domain: By name as written.
    """

    hostname: Domain | None = None
    postmaster: str = ""
    data_directory: str = ""
    maildir: str = ""
    maildir_mode: int = 0o700
    cram_md5: bool = True
    listener: Mapping[int, ListenerSettings] = field(default_factory=dict)
    domain: Mapping[str, DomainTable] = field(default_factory=dict)
    account: Mapping[str, AccountTable] = field(default_factory=dict)
    queue: QueueSettings = field(default_factory=QueueSettings)
    resolver: ResolverSettings = field(default_factory=ResolverSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    http: HTTPSettings = field(default_factory=HTTPSettings)
    log: LogSettings = field(default_factory=LogSettings)
