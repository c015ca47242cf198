"""
What a message handed in by a user must have, and what we add.  RFC 6409 sections 6 and 8.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from moxsmtp.message.addresses import from_fields
from moxsmtp.message.dates import format_date
from moxsmtp.message.header import Header, message_id
from moxsmtp.names import Domain
from moxsmtp.smtp.address import Path

__all__ = ["Acceptable", "Unacceptable", "examine", "new_message_id"]


@dataclass(frozen=True, slots=True)
class Acceptable:
    """
    @ivar author: Whether the user may write in this name is for others to say
        (S-90).
    @ivar author_name: For people; may be empty.
    @ivar message_id: With angle brackets; ours if the message had none.
    @ivar subject: Decoded, on one line.
    @ivar missing: Header fields to be put in front, each with its line end.
    """

    author: Path
    author_name: str
    message_id: str
    subject: str
    missing: bytes


@dataclass(frozen=True, slots=True)
class Unacceptable:
    """@ivar text: What is wrong, for the user; ASCII, one line."""

    text: str


def examine(
    header: Header, *, hostname: Domain, token: Callable[[], bytes], when: datetime
) -> Acceptable | Unacceptable:
    """
    Check the header section strictly (S-89) and say what it lacks (S-93).

    @param token: Gives 16 random octets, for a Message-ID if there is none.
    """
    if header.problems:
        return Unacceptable("message cannot be parsed: " + header.problems[0])
    fields = from_fields(header)
    if fields.count != 1:
        return Unacceptable(f"message has {fields.count} From fields instead of one")
    found = fields.mailboxes
    if any(author.path is None for author in found):
        return Unacceptable("message has a From field that cannot be parsed")
    if len(found) != 1 or found[0].path is None:
        return Unacceptable(f"message has {len(found)} addresses in From instead of one")
    missing = b""
    identifier = message_id(header)
    if not header.first("Message-ID"):
        identifier = new_message_id(hostname, token())
        missing += f"Message-Id: {identifier}\r\n".encode("ascii")
    if not header.first("Date"):
        missing += f"Date: {format_date(when)}\r\n".encode("ascii")
    return Acceptable(
        author=found[0].path,
        author_name=found[0].name,
        message_id=identifier,
        subject=header.text("Subject"),
        missing=missing,
    )


def new_message_id(hostname: Domain, token: bytes) -> str:
    """A Message-ID of ours, with angle brackets."""
    left = base64.urlsafe_b64encode(token).rstrip(b"=").decode("ascii")
    return f"<{left}@{hostname.ascii}>"
