"""
What a sender wants to be told about delivery: the values of RFC 3461 section 4.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = ["NO_WISHES", "UNSAID", "Notify", "Occasion", "ReturnContent", "Wishes"]


class ReturnContent(enum.StrEnum):
    """The RET parameter of MAIL: how much of the message a report of failure brings back."""

    UNSET = ""
    FULL = "FULL"
    HEADERS = "HDRS"


class Occasion(enum.StrEnum):
    """The words of NOTIFY, in the order in which we write them."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


#: What a client that did not say is told of.  RFC 3461 section 4.1 leaves delays to us.
_USUAL: Final = frozenset({Occasion.FAILURE, Occasion.DELAY})


@dataclass(frozen=True, slots=True)
class Notify:
    """
    The NOTIFY parameter of RCPT.

    @ivar occasions: As given, C{NEVER} alone; empty if there was no parameter.
    """

    occasions: frozenset[Occasion] = frozenset()

    def __post_init__(self) -> None:
        if Occasion.NEVER in self.occasions and len(self.occasions) > 1:
            raise ValueError("NEVER stands alone")

    @classmethod
    def parse(cls, text: str) -> Notify:
        """
        Read a value, or what C{str} made of one.

        @raise ValueError: It is none.
        """
        if not text:
            return cls()
        # Only ASCII has two cases here: some letters of others become ASCII in upper case.
        words = text.upper().split(",") if text.isascii() else [text]
        return cls(frozenset(Occasion(word) for word in words))

    def wants(self, occasion: Occasion) -> bool:
        """Whether the sender is to be told of it."""
        return occasion in (self.occasions or _USUAL)

    def __str__(self) -> str:
        return ",".join(occasion for occasion in Occasion if occasion in self.occasions)


#: There was no NOTIFY.
UNSAID: Final = Notify()


@dataclass(frozen=True, slots=True)
class Wishes:
    """
    All that a sender said about reports on one recipient.

    @ivar envelope_id: ENVID, decoded; comes back in every report.
    @ivar original_recipient: ORCPT, type and address, C{rfc822;a@b.example}, the
        address decoded.
    """

    returns: ReturnContent = ReturnContent.UNSET
    envelope_id: str = ""
    notify: Notify = UNSAID
    original_recipient: str = ""


#: Nothing was said.
NO_WISHES: Final = Wishes()
