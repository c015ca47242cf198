"""
Replies as values, and their form on the wire.  RFC 5321 section 4.2, RFC 2034.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Refused", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One server reply.  RFC 5321 section 4.2, RFC 2034.

    @ivar code: 200 to 599.
    @ivar status: Subject and detail of the enhanced status code, C{"7.26"};
        the class is the first digit of C{code}, so the two cannot disagree.
        L{None} where none may be sent: greeting, EHLO, 3xx.
    @ivar text: What the peer may read.  ASCII; a newline starts another line.
    @ivar close: The connection ends once this is written.
    """

    code: int
    status: str | None
    text: str
    close: bool = False

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"not a reply code: {self.code}")

    @property
    def enhanced_status(self) -> str | None:
        """For example C{"5.7.26"}."""
        return self.status and f"{self.code // 100}.{self.status}"

    @property
    def is_positive(self) -> bool:
        """Whether the command was accepted: 2xx or 3xx."""
        return self.code < 400


class Refused(Exception):
    """
    A command that cannot be carried out.  Caught in one place, the protocol.

    @ivar reply: What to answer.
    @ivar reason: For the log, not for the peer; empty if the reply says it all.
    """

    def __init__(self, reply: Reply, reason: str = "") -> None:
        super().__init__(reply, reason)
        self.reply = reply
        self.reason = reason
