"""What a server says of itself: its name, and what can be used now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from moxsmtp.interfaces import Client
from moxsmtp.smtp.dialect import Dialect
from moxsmtp.smtp.future_release import future_release
from moxsmtp.smtp.sasl import Terms

__all__ = ["Station"]

_ALWAYS: Final = (
    "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "LIMITS RCPTMAX=1000", "CHUNKING", "SMTPUTF8",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Station:
    """
    What all sessions of a socket share.

    @ivar hostname: A-labels; in greeting and EHLO (S-2).
    @ivar product: Behind C{ESMTP} in the greeting.
    @ivar maximum_size: Octets of a message (S-3).
    @ivar offers_tls: STARTTLS can be obeyed.
    @ivar clear_passwords: PLAIN and LOGIN are possible without TLS (S-4).
    @ivar reply_id: A session's number in its opaque form (S-10).
    @ivar offers_require_tls: REQUIRETLS can be obeyed (S-4).
    @ivar pedantic: What many clients do against the grammar is refused (S-111).
    @ivar now: Aware, UTC, to say until when mail can be held (RFC 4865); L{None}:
        that is not announced.
    @ivar terms: What logging in rests on; L{None}: nobody can.
    """

    hostname: str
    maximum_size: int
    offers_tls: bool
    clear_passwords: bool
    reply_id: Callable[[int], str]
    product: str = "moxsmtp"
    offers_require_tls: bool = True
    pedantic: bool = False
    now: Callable[[], datetime] | None = None
    terms: Terms | None = None

    def extensions(
        self, client: Client, mechanisms: Sequence[str], *, may_start_tls: bool
    ) -> Sequence[str]:
        """
        What can be used now, as EHLO lists it (S-32).

        @param mechanisms: Those that would work now.
        """
        lines = ["PIPELINING", f"SIZE {self.maximum_size}"]
        if may_start_tls:
            lines.append("STARTTLS")
        elif client.tls is not None and self.offers_require_tls:
            lines.append("REQUIRETLS")
        if client.role.is_submission:
            if mechanisms:
                lines.append("AUTH " + " ".join(mechanisms))
            if self.now is not None:
                lines.append(future_release(self.now()))
        return [*lines, *_ALWAYS]

    def dialect(self, client: Client, *, smtputf8: bool = False) -> Dialect:
        """
        What the arguments of a line are read by.

        @param smtputf8: The transaction's MAIL had it.
        """
        # Few differ, and each session needs one.
        return _dialect(
            client.role.is_submission,
            smtputf8,
            pedantic=self.pedantic,
            secure=client.tls is not None,
            require_tls=self.offers_require_tls,
            maximum_size=self.maximum_size,
            now=self.now,
        )


_dialect: Final = lru_cache(maxsize=64)(Dialect)
