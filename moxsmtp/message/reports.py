"""
What a delivery status notification says, before it is written.  RFC 3464, RFC 3461.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from moxsmtp.names import Domain, Host, IPAddress
from moxsmtp.smtp.address import Path

__all__ = ["SUBJECTS", "Action", "Dsn", "Form", "RecipientReport"]


class Action(enum.StrEnum):
    """What became of the message for a recipient.  RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


#: The worst that is told gives the subject.
SUBJECTS: Final[Mapping[Action, str]] = {
    Action.FAILED: "Mail delivery failed",
    Action.DELAYED: "Mail delivery delayed",
    Action.RELAYED: "Mail relayed",
    Action.EXPANDED: "Mail passed on to several",
    Action.DELIVERED: "Mail delivered",
}


class Form(enum.Enum):
    """The three ways of writing a DSN (Q-36): ours, and what it reports on."""

    ASCII = "ASCII on an ASCII message"
    UTF8 = "UTF-8 on an SMTPUTF8 message"
    ASCII_OF_UTF8 = "ASCII on an SMTPUTF8 message"

    @classmethod
    def leaving(cls, *, smtputf8: bool) -> tuple[Form, ...]:
        """
        Of a report for a sender elsewhere: ASCII, which every host takes, and on an
        SMTPUTF8 message UTF-8 beside it, for hosts that take that.  RFC 6533 section 6.

        @param smtputf8: What it reports on is an SMTPUTF8 message.
        """
        return (cls.ASCII_OF_UTF8, cls.UTF8) if smtputf8 else (cls.ASCII,)

    @property
    def is_utf8(self) -> bool:
        """Whether anything but ASCII may stand in it."""
        return self is Form.UTF8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """
    What became of one recipient.

    @ivar status: Subject and detail of the enhanced status code, C{1.1}; the
        class follows the action.  Empty if it is not known.
    @ivar error: For people; may quote the remote.
    @ivar original_recipient: As in ORCPT, decoded: C{rfc822;a@b.example}.
        RFC 3461 section 6.3.
    @ivar remote_name: Who answered; empty if nobody did.
    @ivar reply: All lines of the remote's answer joined by newlines.
    @ivar retry_until: Of a delay: when we shall give up.
    @ivar retry_intervals: Of a delay: between the attempts still to come.
    """

    recipient: Path
    action: Action
    status: str = ""
    error: str = ""
    original_recipient: str = ""
    remote_name: str = ""
    remote_address: IPAddress | None = None
    reply: str = ""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None
    retry_intervals: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dsn:
    """
    A notification to be composed.

    @ivar hostname: Who reports.
    @ivar postmaster: The author.
    @ivar sender: Who gets it: the reverse-path of the message.
    @ivar boundary: Random.
    @ivar message_id: Its own, new, with angle brackets.
    @ivar references: The original's Message-ID, empty if it has none.
    @ivar arrival: When the original came to us.
    @ivar reports: At least one.
    @ivar original: The header section of the message; a body behind it is sent
        back only if this is wanted.
    @ivar full: C{original} is the whole message and, where a DSN can hold it, is
        sent back so (RFC 3461 section 4.3).
    @ivar received_from: Who gave us the message, if that is to be told.
    @ivar future_release: C{for;3600}, C{until;2026-01-02T03:04:05Z} (RFC 4865).
    """

    hostname: Domain
    postmaster: Path
    sender: Path | None
    date: datetime
    boundary: str
    message_id: str
    arrival: datetime
    reports: tuple[RecipientReport, ...]
    original: bytes
    full: bool = False
    form: Form = Form.ASCII
    references: str = ""
    envelope_id: str = ""
    gateway: Domain | None = None
    received_from: Host | None = None
    future_release: str = ""
