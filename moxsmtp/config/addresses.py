"""Domains, and whose each address in them is: one owner for each, and none out of reach."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from moxsmtp.config.mistakes import Findings, KeyPath, key_name
from moxsmtp.config.tables import AliasTable, FileTable, HostReportTable, ReportTable
from moxsmtp.directory import (
    POSTMASTER,
    DomainSettings,
    InvalidAddress,
    canonical_local_part,
    parse_address,
)
from moxsmtp.names import Domain, InvalidName, parse_domain
from moxsmtp.smtp.address import Path

__all__ = ["check_addresses"]

# What may cut a local-part: never a letter, whose case could matter.
_SEPARATOR: Final = re.compile(r"[!#$%&'*+/=?^_`{|}~-]{1,8}")


def check_addresses(table: FileTable, findings: Findings, *, accounts: Collection[str]) -> None:
    """
    Look at domains and all addresses (I-26, I-27, I-33, I-111).

    @param accounts: All names in the file, those of unusable accounts too.
    """
    book = _Book(table, findings, accounts)
    book.accounts()
    # Members of aliases are looked for among what is known by now.
    members = frozenset(book.owners)
    book.reports()
    book.aliases(members)
    book.from_ids()


class _Book:
    """
    Who owns what.

    @ivar owners: By canonical path, the key that says so.
    """

    def __init__(self, table: FileTable, findings: Findings, accounts: Collection[str]) -> None:
        self._table = table
        self._findings = findings
        self._names = accounts
        self._domains = dict(_domains(table, findings))
        self.owners: dict[Path, KeyPath] = {}

    def accounts(self) -> None:
        """I-111: in a domain of ours, without its separator, and of one owner."""
        for name, account in self._table.account.items():
            for number, text in enumerate(account.addresses):
                self._own(text, ("account", name, "addresses", number), catch_all=True)

    def reports(self) -> None:
        """Where reports go: to an account, at an address that can be reached."""
        for name, domain in self._table.domain.items():
            for key in ("dmarc_reports", "tls_reports"):
                report: ReportTable | None = getattr(domain, key)
                if report is not None:
                    at: KeyPath = ("domain", name, key)
                    self._account(report, at)
                    host = report.domain or name
                    place = (*at, "domain" if report.domain else "local_part")
                    self._own(f"{report.local_part}@{host}", place)
        host_report = self._table.host_tls_reports
        if host_report is None or self._table.hostname is None:
            return
        at = ("host_tls_reports",)
        self._account(host_report, at)
        path = self._path(
            f"{host_report.local_part}@{self._table.hostname.unicode}", (*at, "local_part")
        )
        if path is None:
            return
        if not path.local_part:
            self._findings.add((*at, "local_part"), 'is empty; write "tls-reports"')
        if path.local_part.lower() == POSTMASTER:
            text = "is the postmaster's address (RFC 5321); take another"
            self._findings.add((*at, "local_part"), text)
        settings = self._domains.get(self._table.hostname)
        self._take(path if settings is None else _canonical(path, settings), (*at, "local_part"))

    def aliases(self, members: Collection[Path]) -> None:
        """I-33."""
        for name, domain in self._table.domain.items():
            for local_part, alias in domain.alias.items():
                at: KeyPath = ("domain", name, "alias", local_part)
                self._own(f"{local_part}@{name}", at)
                if not alias.addresses and not self._findings.touches(*at):
                    text = 'is empty; write the addresses of accounts, ["alice@example.org"]'
                    self._findings.add((*at, "addresses"), text)
                self._members(alias, members, at)

    def _members(self, alias: AliasTable, known: Collection[Path], at: KeyPath) -> None:
        seen: dict[Path, int] = {}
        for number, text in enumerate(alias.addresses):
            place: KeyPath = (*at, "addresses", number)
            path = self._canonical(text, place)
            if path is None:
                continue
            if path not in known or not path.local_part:
                wrong = f'"{text}" is no address of an account; write one from this file'
                if not self._findings.touches("account"):
                    self._findings.add(place, wrong)
            elif seen.setdefault(path, number) != number:
                self._findings.add(place, f'"{text}" is there already; keep one of them')

    def from_ids(self) -> None:
        """S-98: an identifier needs a separator before it."""
        for name, account in self._table.account.items():
            for number, text in enumerate(account.from_id_login_addresses):
                at: KeyPath = ("account", name, "from_id_login_addresses", number)
                path = self._canonical(text, at)
                if path is None or not isinstance(path.domain, Domain):
                    continue
                owner = self.owners.get(path) or self.owners.get(Path("", path.domain))
                if owner is None or owner[:2] != ("account", name):
                    self._findings.add(at, f'"{text}" is not an address of this account')
                elif not self._domains[path.domain].separators:
                    wrong = f'{path.domain} has no separator; write separator = "+" there'
                    self._findings.add(at, wrong)
                elif not account.keep_retired_messages:
                    wrong = 'bounces find no message: write keep_retired_messages = "7d", say'
                    self._findings.warn(at, wrong)

    def _account(self, report: HostReportTable, at: KeyPath) -> None:
        if report.account not in self._names:
            text = f'there is no account "{report.account}"; write the name of one from this file'
            self._findings.add((*at, "account"), text)

    def _own(self, text: str, at: KeyPath, *, catch_all: bool = False) -> None:
        path = self._canonical(text, at)
        if path is None:
            return
        if path.local_part or catch_all:
            self._take(path, at)
        else:
            self._findings.add(at, "no local-part")

    def _take(self, path: Path, at: KeyPath) -> None:
        other = self.owners.setdefault(path, at)
        if other != at:
            text = f'"{path}" is the same address as {key_name(other)}; keep one of them'
            self._findings.add(at, text)

    def _canonical(self, text: str, at: KeyPath) -> Path | None:
        """L{None}: it cannot be an address here, which is reported."""
        path = self._path(text, at)
        if path is None or not isinstance(path.domain, Domain):
            return None
        settings = self._domains.get(path.domain)
        if settings is None:
            if not self._findings.touches("domain"):
                wrong = f'{path.domain} is not ours; add [domain."{path.domain}"]'
                self._findings.add(at, f'"{text}": {wrong}')
            return None
        if settings.reports_only:
            wrong = f'"{text}": nobody lives in {path.domain}, it has reports_only = true'
            self._findings.add(at, wrong)
            return None
        for separator in settings.separators:
            if separator in path.local_part:
                wrong = f'"{text}" has the separator "{separator}" of its domain; leave it out'
                self._findings.add(at, wrong)
                return None
        return _canonical(path, settings)

    def _path(self, text: str, at: KeyPath) -> Path | None:
        try:
            return parse_address(text)
        except InvalidAddress as error:
            wrong = f'"{text}" is no address: {error}; write "alice@example.org"'
            self._findings.add(at, wrong)
            return None


def _canonical(path: Path, settings: DomainSettings) -> Path:
    return Path(canonical_local_part(path.local_part, settings), path.domain)


def _domains(table: FileTable, findings: Findings) -> Iterator[tuple[Domain, DomainSettings]]:
    """Those with a usable name."""
    seen: dict[Domain, str] = {}
    for name, domain_table in table.domain.items():
        try:
            domain = parse_domain(name)
        except InvalidName as error:
            text = f'not a domain: {error}; write [domain."example.org"]'
            findings.add(("domain", name), text)
            continue
        other = seen.setdefault(domain, name)
        if other != name:
            findings.add(("domain", name), f'the same domain as "{other}"; keep one of them')
            continue
        settings = domain_table.settings()
        at: KeyPath = ("domain", name, "separator")
        if not _are_separators(settings.separators, at, findings):
            settings = replace(settings, separators=())
        yield domain, settings


def _are_separators(separators: tuple[str, ...], at: KeyPath, findings: Findings) -> bool:
    """Whether they can be used; what cannot is reported."""
    for number, separator in enumerate(separators):
        if not _SEPARATOR.fullmatch(separator):
            text = 'write some of !#$%&\'*+/=?^_`{|}~- or leave it out; "+" is usual'
            findings.add(at, text)
        elif separator in separators[:number]:
            findings.add(at, f'"{separator}" is there twice; keep one of them')
    return not findings.touches(*at)
