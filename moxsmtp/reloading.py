"""What a reload may replace while everybody holds on to it."""

from __future__ import annotations

from zope.interface import implementer

from moxsmtp.directory import Directory
from moxsmtp.interfaces import Account, IAccounts, LocalRecipient
from moxsmtp.names import Host
from moxsmtp.smtp.address import Path

__all__ = ["LiveAccounts"]


@implementer(IAccounts)
class LiveAccounts:
    """
    The accounts of the configuration in force.

    @ivar directory: Replaced as a whole by a reload.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def account(self, name: str) -> Account | None:
        """By account name."""
        return self.directory.account(name)

    def recipient_of(self, path: Path) -> LocalRecipient | None:
        """Who receives mail for C{path}."""
        return self.directory.recipient_of(path)

    def owner_of(self, path: Path) -> Account | None:
        """Who logs in as C{path}."""
        return self.directory.owner_of(path)

    def is_local(self, domain: Host | None) -> bool:
        """Whether we are a final destination of C{domain}."""
        return self.directory.is_local(domain)

    def postmaster(self) -> Account | None:
        """Who reads the postmaster's mail."""
        return self.directory.postmaster()

    def may_send_as(self, account: str, path: Path) -> bool:
        """Whether C{account} owns C{path}."""
        return self.directory.may_send_as(account, path)

    def canonical(self, path: Path) -> Path:
        """The same mailbox in one spelling."""
        return self.directory.canonical(path)

    def separators_of(self, domain: Host | None) -> tuple[str, ...]:
        """What parts local-parts of a domain."""
        return self.directory.separators_of(domain)
