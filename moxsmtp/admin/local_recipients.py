"""Who reads the mail of an address here, as the operator is told."""

from __future__ import annotations

from moxsmtp.directory import POSTMASTER, InvalidAddress, parse_address
from moxsmtp.interfaces import Account, Alias, IAccounts, RoleAddress
from moxsmtp.names import Host
from moxsmtp.smtp.address import Path

__all__ = ["local_domain", "local_recipient"]


def local_recipient(accounts: IAccounts, path: Path) -> dict[str, object] | None:
    """
    As JSON has it.

    @return: L{None}: it is an address elsewhere.
    """
    found = accounts.recipient_of(path)
    match found:
        case None:
            return {"kind": "nobody", "accounts": []} if accounts.is_local(path.domain) else None
        case Alias(members=members):
            names = dict.fromkeys(member.account.name for member in members)
            return {"kind": "alias", "accounts": list(names)}
        case RoleAddress(role=role, account=account):
            return {"kind": role.value, "accounts": [account.name]}
        case Account() as account:
            return {"kind": _kind(accounts, account, path), "accounts": [account.name]}


def local_domain(accounts: IAccounts, domain: Host) -> dict[str, object] | None:
    """The same of a whole domain."""
    return {"kind": "domain", "accounts": []} if accounts.is_local(domain) else None


def _kind(accounts: IAccounts, account: Account, path: Path) -> str:
    """How it comes to an account."""
    canonical = accounts.canonical(path)
    own = list(map(_address, account.addresses))
    if any(each is not None and accounts.canonical(each) == canonical for each in own):
        return "account"
    if any(each == Path("", path.domain) for each in own):
        return "catch-all"
    return POSTMASTER if canonical.local_part.lower() == POSTMASTER else "default"


def _address(text: str) -> Path | None:
    try:
        return parse_address(text)
    except InvalidAddress:
        return None
