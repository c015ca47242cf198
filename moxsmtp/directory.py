"""
Whose address is this?  Accounts, domains and the mailboxes they make.

RFC 5321 section 2.3.11 leaves the meaning of a local-part to its domain; here
it is: NFC, cut at the domain's separator, lower case unless the domain says
otherwise (I-28).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zope.interface import implementer

from moxsmtp.interfaces import (
    INBOX,
    Account,
    AddressRole,
    Alias,
    IAccounts,
    LocalRecipient,
    Member,
    RoleAddress,
)
from moxsmtp.names import Domain, Host, parse_host
from moxsmtp.smtp.address import Path, parse_mailbox

__all__ = [
    "POSTMASTER", "AliasSettings", "Directory", "DomainSettings", "InvalidAddress",
    "ReportSettings", "canonical_local_part", "parse_address", "split_local_part",
]  # fmt: skip

POSTMASTER: Final = "postmaster"


class InvalidAddress(ValueError):
    """What was given is no address; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """
    How a domain of ours reads its local-parts.

    @ivar separators: What follows any of them in a local-part is ignored; the
        first is the one that we write ourselves.
    @ivar case_sensitive: C{Alice} and C{alice} are two people.
    @ivar reports_only: It is here for its reports' addresses, which are
        elsewhere; nobody lives in it (I-27).
    @ivar disabled: Its mail does not leave for the time being (Q-14).
    """

    separators: tuple[str, ...] = ()
    case_sensitive: bool = False
    reports_only: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSettings:
    """
    An address whose mail goes to several (I-33).

    @ivar addresses: Of its members: addresses of accounts, no catch-all.
    """

    address: str
    addresses: tuple[str, ...]
    post_public: bool = False
    list_members: bool = False
    allow_message_from: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """
    An address to which others send reports about our mail.

    @ivar account: Its name.
    """

    role: AddressRole
    address: str
    account: str
    mailbox: str = INBOX


def parse_address(text: str) -> Path:
    """
    Read C{local-part@domain} as people write it.  An empty local-part is the
    catch-all C{@domain}.  Address literals are none of ours.

    @raise InvalidAddress: The text is none; the message says what is wrong.
    """
    try:
        path = Path("", parse_host(text[1:])) if text.startswith("@") else parse_mailbox(text)
    except ValueError as error:
        raise InvalidAddress(str(error)) from None
    if not isinstance(path.domain, Domain):
        raise InvalidAddress("a domain is needed behind the @, not an IP address")
    if not path.local_part and not text.startswith("@"):
        raise InvalidAddress("no local-part")
    return path


def split_local_part(local_part: str, separators: Sequence[str]) -> tuple[str, str, str]:
    """
    Part a local-part at the first separator in it; of two that begin at the
    same place, the longer one counts.

    @return: What stands before it, the separator, what follows; the latter two
        empty if there is none.
    """
    first, found = len(local_part), ""
    for separator in separators:
        at = local_part.find(separator)
        if at >= 0 and (at, -len(separator)) < (first, -len(found)):
            first, found = at, separator
    return local_part[:first], found, local_part[first + len(found) :]


def canonical_local_part(local_part: str, settings: DomainSettings) -> str:
    """The one spelling of a local-part (I-28)."""
    text = local_part if local_part.isascii() else unicodedata.normalize("NFC", local_part)
    if settings.separators:
        text = split_local_part(text, settings.separators)[0]
    if not settings.case_sensitive:
        text = text.lower()
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
    return text


@implementer(IAccounts)
class Directory:
    """
    Accounts, aliases and special addresses, by address.  Replaced whole when
    the configuration is.

    @param accounts: Their addresses are in C{domains}, and those of aliases and
        reports too, and none collides with another; whoever loads them checks
        that (I-33, I-111).
    @param hosts: Names of the server itself and of its listeners: only
        C{postmaster} is a mailbox there (I-25), and where the host's own
        reports go (I-26), unless the name is one of C{domains} as well.
    @param postmaster: Name of an account.
    @param default_account: Name of the account that takes what is for nobody,
        at any domain; empty: nobody does (S-73, I-113).
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        domains: Mapping[Domain, DomainSettings],
        hosts: Collection[Domain],
        postmaster: str,
        postmaster_mailbox: str = INBOX,
        default_account: str = "",
        aliases: Sequence[AliasSettings] = (),
        reports: Sequence[ReportSettings] = (),
    ) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._domains = {
            domain: settings for domain, settings in domains.items() if not settings.reports_only
        }
        self._hosts: frozenset[Domain | None] = frozenset({None, *hosts})
        self._postmaster = self._accounts.get(postmaster)
        self._host_postmaster = self._postmaster and RoleAddress(
            AddressRole.POSTMASTER, self._postmaster, postmaster_mailbox
        )
        self._default = self._accounts.get(default_account)
        self._exact: dict[Path, LocalRecipient] = {}
        self._owned: dict[Path, Account] = {}
        self._host_reports: dict[Path, RoleAddress] = {}
        self._catch_all: dict[Host, Account] = {}
        for account in accounts:
            for address in account.addresses:
                self._add(account, parse_address(address))
        self._owned.update(self._exact)  # type: ignore[arg-type]  # nothing but accounts so far
        for report in reports:
            self._add_report(report)
        for alias in aliases:
            self._add_alias(alias)

    def _add(self, account: Account, path: Path) -> None:
        if path.local_part:
            self._exact.setdefault(self.canonical(path), account)
        elif path.domain is not None:
            self._catch_all.setdefault(path.domain, account)

    def _add_report(self, report: ReportSettings) -> None:
        path = parse_address(report.address)
        found = RoleAddress(report.role, self._accounts[report.account], report.mailbox)
        if report.role is AddressRole.HOST_TLS_REPORTS:
            self._host_reports[path] = found
        else:
            self._exact.setdefault(self.canonical(path), found)

    def _add_alias(self, alias: AliasSettings) -> None:
        path = self.canonical(parse_address(alias.address))
        members = [self.canonical(parse_address(address)) for address in alias.addresses]
        self._exact.setdefault(
            path,
            Alias(
                path,
                tuple(Member(member, self._owned[member]) for member in members),
                post_public=alias.post_public,
                list_members=alias.list_members,
                allow_message_from=alias.allow_message_from,
            ),
        )

    @property
    def accounts(self) -> Collection[Account]:
        """All of them."""
        return self._accounts.values()

    def account(self, name: str) -> Account | None:
        """By account name."""
        return self._accounts.get(name)

    def recipient_of(self, path: Path) -> LocalRecipient | None:
        """Who receives mail for C{path}; L{None}: nobody."""
        found = self._configured(path)
        if found is None and isinstance(path.domain, Domain):
            return self._default
        return found

    def owner_of(self, path: Path) -> Account | None:
        """Whose own address it is by configuration: no alias's, nor the default account's."""
        match self._configured(path):
            case Account() as account:
                return account
            case RoleAddress(account=account):
                return account
            case _:
                return None

    def named(self, text: str) -> Account | None:
        """By account name or, with an C{@} in it, by address."""
        if "@" not in text:
            return self.account(text)
        try:
            return self.owner_of(parse_address(text))
        except InvalidAddress:
            return None

    def is_local(self, domain: Host | None) -> bool:
        """
        Whether we are a final destination of C{domain}.  A mere host name of
        ours is not: C{postmaster} there is found by L{recipient_of}, and nobody
        else lives there (I-25, I-27).
        """
        if domain is None or domain in self._domains:
            return True
        return self._default is not None and isinstance(domain, Domain)

    def postmaster(self) -> Account | None:
        """Who reads the postmaster's mail."""
        return self._postmaster

    def may_send_as(self, account: str, path: Path) -> bool:
        """
        Whether mail for C{path} is configured to reach C{account}, so that it
        may be its sender: its own address, or an alias that lets its members.
        The default account owns what it is given by address only.
        """
        match self._configured(path):
            case Account(name=name):
                return name == account
            case RoleAddress(account=owner):
                return owner.name == account
            case Alias() as alias:
                return alias.allow_message_from and any(
                    member.account.name == account for member in alias.members
                )
            case _:
                return False

    def canonical(self, path: Path) -> Path:
        """The same mailbox in one spelling (I-28); foreign local-parts are left alone."""
        if self._is_host_postmaster(path):
            return Path(POSTMASTER, path.domain)
        settings = self._domains.get(path.domain)  # type: ignore[arg-type]  # others are no keys
        if settings is None:
            return path
        return Path(canonical_local_part(path.local_part, settings), path.domain)

    def separators_of(self, domain: Host | None) -> tuple[str, ...]:
        """What parts local-parts of a domain; nothing does where it is not ours."""
        settings = self._domains.get(domain)  # type: ignore[arg-type]  # others are no keys
        return settings.separators if settings is not None else ()

    def _is_host_postmaster(self, path: Path) -> bool:
        """RFC 5321 section 4.5.1: the reserved mailbox, in any case (I-25)."""
        return path.domain in self._hosts and path.local_part.lower() == POSTMASTER

    def _configured(self, path: Path) -> LocalRecipient | None:
        """Who it is by configuration, in the order of I-25, I-26 and I-28."""
        domain = path.domain
        if domain in self._hosts:
            if path.local_part.lower() == POSTMASTER:
                return self._host_postmaster
            report = self._host_reports.get(path)
            if report is not None:
                return report
        settings = self._domains.get(domain)  # type: ignore[arg-type]  # others are no keys
        if settings is None or domain is None:
            return None
        local_part = canonical_local_part(path.local_part, settings)
        exact = self._exact.get(Path(local_part, domain))
        if exact is not None:
            return exact
        catch_all = self._catch_all.get(domain)
        if catch_all is not None:
            return catch_all
        return self._postmaster if local_part.lower() == POSTMASTER else None
