"""Who gets a copy of a message for several recipients, aliases among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moxsmtp.interfaces import INBOX, Account, Alias, RoleAddress
from moxsmtp.receive.receiver import Recipient
from moxsmtp.smtp.address import Path

__all__ = ["Copy", "copies_for", "in_order"]


@dataclass(frozen=True, slots=True)
class Copy:
    """
    One copy of a message.

    @ivar path: The recipient as given.
    @ivar member: Of the alias that it is.
    """

    account: Account
    mailbox: str
    path: Path
    member: Path | None = None


def in_order(recipients: Sequence[Recipient]) -> Sequence[Recipient]:
    """Accounts before aliases before the unknown (I-38)."""
    return sorted(recipients, key=_order) if len(recipients) > 1 else recipients


def _order(recipient: Recipient) -> int:
    match recipient.local:
        case None:
            return 2
        case Alias():
            return 1
        case _:
            return 0


def copies_for(
    accepted: Sequence[Recipient],
    recipients: Sequence[Recipient],
    author: Path | None,
    canonical: Callable[[Path], Path],
) -> list[Copy]:
    """
    One for each account, and for each member of an alias who is neither a
    recipient by himself nor the author (I-36).

    @param accepted: Those of C{recipients} who may have it.
    @param author: Canonical; L{None}: not known.
    """
    copies: list[Copy] = []
    for recipient in accepted:
        match recipient.local:
            case Account() as account:
                copies.append(Copy(account, INBOX, recipient.path))
            case RoleAddress(account=account, mailbox=mailbox):
                copies.append(Copy(account, mailbox, recipient.path))
            case Alias(members=members):
                served: set[Path | None] = {author, *_named(recipients, canonical)}
                copies += (
                    Copy(member.account, INBOX, recipient.path, member.path)
                    for member in members
                    if member.path not in served
                )
    return copies


def _named(recipients: Sequence[Recipient], canonical: Callable[[Path], Path]) -> set[Path]:
    """Whom the message is addressed to by themselves."""
    return {
        canonical(recipient.path)
        for recipient in recipients
        if isinstance(recipient.local, Account | RoleAddress)
    }
