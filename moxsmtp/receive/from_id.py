"""
An identifier in the sender of a message, by which a bounce is known to be about
it (S-98).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from moxsmtp.directory import InvalidAddress, parse_address, split_local_part
from moxsmtp.interfaces import Account, IAccounts, Login
from moxsmtp.smtp.address import MAXIMUM_LOCAL_PART, Path
from moxsmtp.smtp.reply import Refused, Reply

__all__ = ["IdentifiedSender", "identified_senders", "wants_from_id"]

_OWN_FOR_ALL: Final = Reply(
    554, "5.3", "a message with an identifier of your own has one recipient"
)

_OCTETS: Final = 16


@dataclass(frozen=True, slots=True)
class IdentifiedSender:
    """
    @ivar reverse_path: What one recipient's copy is sent as.
    @ivar from_id: Empty if it has none.
    """

    reverse_path: Path | None
    from_id: str = ""


def wants_from_id(accounts: IAccounts, account: Account | None, login: Login) -> bool:
    """Whether mail of who logged in so gets identifiers."""
    if account is None or not account.from_id_login_addresses:
        return False
    try:
        used = accounts.canonical(parse_address(login.address))
        listed = [parse_address(address) for address in account.from_id_login_addresses]
    except InvalidAddress:
        return False
    return used in map(accounts.canonical, listed)


def identified_senders(
    sender: Path,
    separators: Sequence[str],
    *,
    count: int,
    random_bytes: Callable[[int], bytes],
) -> list[IdentifiedSender]:
    """
    One for each of C{count} recipients: all as the client gave it, if it has an
    identifier already, else each with one that nobody can guess.

    @param separators: Of the sender's domain: that is where bounces are read.
    @raise Refused: There are several recipients for the client's own.
    """
    base, _, own = split_local_part(sender.local_part, separators)
    if own:
        if count > 1:
            raise Refused(_OWN_FOR_ALL)
        return [IdentifiedSender(sender, own)]
    if not separators:
        return [IdentifiedSender(sender)] * count
    made = []
    for _ in range(count):
        from_id = base64.urlsafe_b64encode(random_bytes(_OCTETS)).rstrip(b"=").decode("ascii")
        local_part = f"{base}{separators[0]}{from_id}"
        if len(local_part.encode()) > MAXIMUM_LOCAL_PART:
            made.append(IdentifiedSender(sender))
        else:
            made.append(IdentifiedSender(Path(local_part, sender.domain), from_id))
    return made
