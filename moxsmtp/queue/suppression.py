"""
Addresses that an account's mail does not go to any more: which failures put
one on the list, and how it is spelled there.  Q-28, Q-29, Q-31.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from moxsmtp.smtp.address import Path

__all__ = ["MAXIMUM_REASON", "Suppression", "base_address", "is_about_us", "refuses_address"]

#: Characters of a reason, which may quote a stranger.
MAXIMUM_REASON: Final = 500

#: Replies that say that the mailbox is not there, or takes nothing.
_CODES: Final = frozenset({521, 550, 551, 553, 556})

#: Likewise, as subject and detail behind any 5.  RFC 3463 section 3.
_STATUSES: Final = frozenset({"1.1", "1.2", "1.3", "1.6", "2.1", "7.1"})

#: Replies to our own login, or the want of one: they say nothing of a
#: recipient.  RFC 4954 sections 4 and 6.
_LOGIN: Final = frozenset({432, 454, 530, 534, 535, 538})


@dataclass(frozen=True, slots=True)
class Suppression:
    """
    An entry of an account's list (Q-28).

    @ivar base_address: See L{base_address}; unique in an account.
    @ivar original_address: As it was written to.
    @ivar manual: A person put it there, no failure.
    @ivar reason: For people; empty if none was given.
    """

    account: str
    base_address: str
    original_address: str
    manual: bool
    reason: str
    created: datetime


def base_address(path: Path) -> str:
    """
    The one spelling for all that reach the same mailbox in many places (Q-29):
    C{A.b-c+d@x} becomes C{ab@x}.

    A local-part of which nothing would be left stays as it is: else one entry
    would be for all of that kind.
    """
    base = path.local_part.partition("+")[0].partition("-")[0].replace(".", "").lower()
    return Path(base or path.local_part, path.domain).unicode


def refuses_address(code: int, status: str) -> bool:
    """
    Whether a remote's final answer alone suppresses (Q-31).

    @param code: Of the remote, 0 if it gave none: codes of our own making
        never count.
    @param status: Subject and detail of the enhanced status code, C{1.1}.
    """
    return code in _CODES or (code // 100 == 5 and status in _STATUSES)


def is_about_us(code: int) -> bool:
    """Whether a reply is to a login of ours, so that nothing follows for the recipient."""
    return code in _LOGIN
