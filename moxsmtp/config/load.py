"""From a file's name to L{Settings}."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from moxsmtp.config.checks import check, maildir_path
from moxsmtp.config.files import check_authorities, check_tls
from moxsmtp.config.folders import default_data_directory
from moxsmtp.config.mistakes import ConfigError, Findings, KeyPath, Mistake
from moxsmtp.config.routing import routing
from moxsmtp.config.schema import file_table
from moxsmtp.config.settings import Selector, Settings
from moxsmtp.config.signing import selectors
from moxsmtp.config.sources import read
from moxsmtp.config.tables import AccountTable, FileTable, HostReportTable
from moxsmtp.config.webhooks import hook_target
from moxsmtp.directory import AliasSettings, ReportSettings
from moxsmtp.interfaces import Account, AddressRole, MailboxKind, Maildir
from moxsmtp.names import Domain, InvalidName, parse_domain
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.receive.settings import ListenerSettings, TLSFiles

__all__ = ["data_directory", "load"]

_Files = TypeVar("_Files", bound=TLSFiles)


def load(path: str | Path, warn: Callable[[Mistake], object] | None = None) -> Settings:
    """
    Read the configuration.

    @param path: A TOML file, or a folder of them.
    @param warn: Hears what can be used but should not stay as it is; by
        default nobody does.
    @raise ConfigError: It cannot be used; holds all that is wrong with it.
    """
    name = os.fspath(path)
    source = read(name)
    table, problems = file_table(source.tree)
    findings = Findings(problems=problems)
    accounts = source.tree.get("account")
    check(table, findings, accounts=accounts if isinstance(accounts, dict) else ())
    given = Path(name).absolute()
    assembly = _Assembly(table, findings, given if given.is_dir() else given.parent)
    settings = assembly.settings()
    if warn is not None:
        for warning in findings.warnings:
            warn(source.mistake(warning))
    if findings.problems or settings is None:
        raise ConfigError(map(source.mistake, findings.problems))
    return settings


def data_directory(path: str | Path) -> str:
    """
    The data folder that a configuration names, whatever else is wrong with it:
    an operator's command needs no more, and may not read keys and secrets.

    @raise ConfigError: It cannot be read.
    """
    name = os.fspath(path)
    given = Path(name).absolute()
    value = read(name).tree.get("data_directory")
    folder = value if isinstance(value, str) and value else ""
    parent = given if given.is_dir() else given.parent
    return str(parent / (folder or default_data_directory(os.environ, sys.platform)))


class _Assembly:
    """
    Builds the settings from the file's tables, files that they name included.

    @param folder: Where relative names start.
    """

    def __init__(self, table: FileTable, findings: Findings, folder: Path) -> None:
        self._table = table
        self._findings = findings
        self._folder = folder

    def settings(self) -> Settings | None:
        """L{None} if something is missing, which has been reported."""
        table = self._table
        listeners = tuple(self._listener(*item) for item in table.listener.items())
        accounts = tuple(self._account(*item) for item in table.account.items())
        keys = self._selectors()
        outbound = self._outbound()
        ways = routing(table, self._folder, self._findings)
        if table.hostname is None or self._findings.problems:
            return None
        directory = table.data_directory or default_data_directory(os.environ, sys.platform)
        return Settings(
            hostname=table.hostname,
            postmaster=table.postmaster or accounts[0].name,
            postmaster_mailbox=table.postmaster_mailbox,
            data_directory=self._file(directory),
            listeners=listeners,
            domains={
                parse_domain(name): domain.settings() for name, domain in table.domain.items()
            },
            accounts=accounts,
            aliases=tuple(self._aliases()),
            reports=tuple(self._reports(table.hostname)),
            relays=tuple(table.relay.values()),
            routing=ways,
            http=table.http,
            resolver=table.resolver,
            queue=table.queue,
            outbound=outbound,
            webhooks=table.webhooks,
            store=table.store,
            limits=table.limits,
            delays=table.delays,
            log=table.log,
            selectors=keys,
            cram_md5=table.cram_md5,
            pedantic=table.pedantic,
            workers=table.workers,
        )

    def _outbound(self) -> OutboundSettings:
        """With the authorities' file by its absolute name, and looked at."""
        outbound = self._table.outbound
        name = self._file(outbound.certificates)
        if name:
            check_authorities(name, ("outbound", "certificates"), self._findings)
        return replace(outbound, certificates=name)

    def _file(self, name: str) -> str:
        return str(self._folder / name) if name else ""

    def _aliases(self) -> Iterator[AliasSettings]:
        for name, domain in self._table.domain.items():
            for local_part, alias in domain.alias.items():
                yield AliasSettings(
                    address=f"{local_part}@{name}",
                    addresses=alias.addresses,
                    post_public=alias.post_public,
                    list_members=alias.list_members,
                    allow_message_from=alias.allow_message_from,
                )

    def _reports(self, hostname: Domain) -> Iterator[ReportSettings]:
        host = self._table.host_tls_reports
        if host is not None:
            yield _report(AddressRole.HOST_TLS_REPORTS, host, hostname.unicode)
        for name, domain in self._table.domain.items():
            for role, report in (
                (AddressRole.DMARC_REPORTS, domain.dmarc_reports),
                (AddressRole.TLS_REPORTS, domain.tls_reports),
            ):
                if report is not None:
                    yield _report(role, report, report.domain or name)

    def _selectors(self) -> Mapping[Domain, tuple[Selector, ...]]:
        """Those of each domain that has any."""
        found: dict[Domain, tuple[Selector, ...]] = {}
        for name, table in self._table.domain.items():
            try:
                domain = parse_domain(name)
            except InvalidName:
                continue
            at: KeyPath = ("domain", name, "dkim")
            if table.dkim:
                found[domain] = selectors(domain, table.dkim, self._folder, at, self._findings)
        return found

    def _listener(self, number: int, listener: ListenerSettings) -> ListenerSettings:
        tls = listener.tls
        if tls is None:
            return listener
        at: KeyPath = ("listener", number, "tls")
        tls = replace(
            self._pair(tls, at),
            other=tuple(
                self._pair(pair, (*at, "other", place)) for place, pair in enumerate(tls.other)
            ),
        )
        return replace(listener, tls=tls)

    def _pair(self, files: _Files, at: KeyPath) -> _Files:
        """Certificate and key by their absolute names, and looked at."""
        files = replace(files, certificate=self._file(files.certificate), key=self._file(files.key))
        check_tls(files, at, self._findings)
        return files

    def _account(self, name: str, account: AccountTable) -> Account:
        maildir = None
        if account.mailbox is MailboxKind.MAILDIR:
            mode = account.maildir_mode
            maildir = Maildir(
                path=maildir_path(self._table, name, account),
                mode=self._table.maildir_mode if mode is None else mode,
            )
        at: KeyPath = ("account", name)
        return Account(
            name=name,
            addresses=account.addresses,
            maildir=maildir,
            outgoing_webhook=hook_target(
                account.outgoing_webhook, self._file, (*at, "outgoing_webhook"), self._findings
            ),
            incoming_webhook=hook_target(
                account.incoming_webhook, self._file, (*at, "incoming_webhook"), self._findings
            ),
            keep_retired_messages=account.keep_retired_messages,
            keep_retired_webhooks=account.keep_retired_webhooks,
            max_outgoing_messages_per_day=account.max_outgoing_messages_per_day,
            max_first_time_recipients_per_day=account.max_first_time_recipients_per_day,
            max_queued_messages=account.max_queued_messages,
            from_id_login_addresses=account.from_id_login_addresses,
            login_disabled=account.login_disabled,
        )


def _report(role: AddressRole, table: HostReportTable, domain: str) -> ReportSettings:
    return ReportSettings(
        role=role,
        address=f"{table.local_part}@{domain}",
        account=table.account,
        mailbox=table.mailbox,
    )
