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

from moxsmtp.interfaces import Account, IAccounts
from moxsmtp.names import Domain, Host, parse_host
from moxsmtp.smtp.address import Path, parse_mailbox

__all__ = [
    "Directory", "DomainSettings", "InvalidAddress", "canonical_local_part", "parse_address",
]  # fmt: skip

POSTMASTER: Final = "postmaster"


class InvalidAddress(ValueError):
    """What was given is no address; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """
    How a domain of ours reads its local-parts.

    @ivar separator: What follows it in a local-part is ignored; empty: nothing is.
    @ivar case_sensitive: C{Alice} and C{alice} are two people.
    """

    separator: str = ""
    case_sensitive: bool = False


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


def canonical_local_part(local_part: str, settings: DomainSettings) -> str:
    """The one spelling of a local-part (I-28)."""
    text = unicodedata.normalize("NFC", local_part)
    if settings.separator:
        text = text.partition(settings.separator)[0]
    if not settings.case_sensitive:
        text = unicodedata.normalize("NFC", text.lower())
    return text


@implementer(IAccounts)
class Directory:
    """
    Accounts by name and by address.  Replaced whole when the configuration is.

    @param accounts: Their addresses are in C{domains} and do not collide;
        whoever loads them checks that (I-111).
    @param hosts: Names of the server itself and of its listeners: only
        C{postmaster} is a mailbox there (I-25), unless the name is one of
        C{domains} as well.
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
        default_account: str = "",
    ) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._domains = dict(domains)
        self._hosts = frozenset(hosts)
        self._postmaster = self._accounts.get(postmaster)
        self._default = self._accounts.get(default_account)
        self._exact: dict[Path, Account] = {}
        self._catch_all: dict[Host, Account] = {}
        for account in accounts:
            for address in account.addresses:
                self._add(account, parse_address(address))

    def _add(self, account: Account, path: Path) -> None:
        if path.local_part:
            self._exact.setdefault(self.canonical(path), account)
        elif path.domain is not None:
            self._catch_all.setdefault(path.domain, account)

    @property
    def accounts(self) -> Collection[Account]:
        """All of them."""
        return self._accounts.values()

    def account(self, name: str) -> Account | None:
        """By account name."""
        return self._accounts.get(name)

    def account_of(self, path: Path) -> Account | None:
        """Who receives mail for C{path}; L{None}: nobody."""
        owner = self.owner_of(path)
        if owner is None and isinstance(path.domain, Domain):
            return self._default
        return owner

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
        ours is not: C{postmaster} there is found by L{account_of}, and nobody
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
        may be its sender.  The default account owns what it is given by
        address only.
        """
        owner = self.owner_of(path)
        return owner is not None and owner.name == account

    def canonical(self, path: Path) -> Path:
        """The same mailbox in one spelling (I-28); foreign local-parts are left alone."""
        if self._is_host_postmaster(path):
            return Path(POSTMASTER, path.domain)
        settings = self._settings(path.domain)
        if settings is None:
            return path
        return Path(canonical_local_part(path.local_part, settings), path.domain)

    def _settings(self, domain: Host | None) -> DomainSettings | None:
        return self._domains.get(domain) if isinstance(domain, Domain) else None

    def _is_host_postmaster(self, path: Path) -> bool:
        """RFC 5321 section 4.5.1: the reserved mailbox, in any case (I-25)."""
        at_host = path.domain is None or path.domain in self._hosts
        return at_host and path.local_part.lower() == POSTMASTER

    def owner_of(self, path: Path) -> Account | None:
        """Whose address it is by configuration, in the order of I-25 and I-28."""
        if self._is_host_postmaster(path):
            return self._postmaster
        if path.domain is None or self._settings(path.domain) is None:
            return None
        exact = self._exact.get(self.canonical(path))
        if exact is not None:
            return exact
        catch_all = self._catch_all.get(path.domain)
        if catch_all is not None:
            return catch_all
        is_postmaster = self.canonical(path).local_part.lower() == POSTMASTER
        return self._postmaster if is_postmaster else None
