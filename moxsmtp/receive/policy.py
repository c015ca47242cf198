"""Who may send what to whom, beyond accounts and grammar."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from zope.interface import Attribute, Interface, implementer

from moxsmtp.smtp.address import Path

__all__ = ["IPolicy", "Welcome"]


class IPolicy(Interface):
    """Asked at each step of a transaction; refuses by raising L{Refused}."""

    reason = Attribute("A label of the metrics for its refusals.")
    reports_refusals = Attribute(
        "Whether a sender is sent a DSN for recipients that were refused after the content."
    )

    def sender(path: Path | None) -> Awaitable[None]:
        """At MAIL."""

    def recipient(path: Path) -> Awaitable[None]:
        """At RCPT."""

    def submission(recipients: Iterable[Path]) -> Awaitable[None]:
        """For a complete submitted message, before it is queued."""

    def delivery(recipient: Path) -> Awaitable[None]:
        """For a complete message from outside, before it is stored for C{recipient}."""


@implementer(IPolicy)
class Welcome:
    """Takes what the accounts allow."""

    reason = ""
    reports_refusals = True

    async def sender(self, path: Path | None) -> None:
        """Anybody."""

    async def recipient(self, path: Path) -> None:
        """Anybody."""

    async def submission(self, recipients: Iterable[Path]) -> None:
        """Anything."""

    async def delivery(self, recipient: Path) -> None:
        """Anything."""
