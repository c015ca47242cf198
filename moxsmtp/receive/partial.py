"""What is said when a message could not be stored for some of its recipients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from moxsmtp.interfaces import Client, RequireTLS, Spooled
from moxsmtp.message.header import Header
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.reply import Reply

__all__ = ["Incoming", "Refusal", "folded"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """
    A message from outside that has come whole.

    @ivar reverse_path: L{None} for the null reverse-path.
    @ivar smtputf8: It is internationalized, whatever was declared (S-80).
    @ivar message_id: With angle brackets, empty if there is none.
    @ivar require_tls: What REQUIRETLS demands or its header waives, for what is said
        about it too.
    """

    client: Client
    spooled: Spooled
    header: Header
    received: datetime
    reverse_path: Path | None
    smtputf8: bool
    message_id: str
    subject: str
    require_tls: RequireTLS = RequireTLS.UNSET


@dataclass(frozen=True, slots=True)
class Refusal:
    """One recipient who does not get the message, and why."""

    path: Path
    reply: Reply


def folded(refusals: Sequence[Refusal]) -> Reply:
    """
    One reply for a message that nobody gets (I-91).

    @param refusals: At least one.
    """
    kinds = {(refusal.reply.code, refusal.reply.status) for refusal in refusals}
    if len(kinds) == 1:
        texts = dict.fromkeys(refusal.reply.text for refusal in refusals)
        first = refusals[0].reply
        return Reply(first.code, first.status, "\n".join(texts))
    lines = [
        f"{refusal.path.ascii if refusal.path.ascii.isascii() else 'a recipient'}: "
        f"{refusal.reply.code} {refusal.reply.enhanced_status or ''} {refusal.reply.text}"
        for refusal in refusals
    ]
    permanent = any(code >= 500 for code, _ in kinds)
    text = "\n".join([*lines, "delivery failed for all recipients"])
    return Reply(554, "3.0", text) if permanent else Reply(451, "3.0", text)
