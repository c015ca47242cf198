"""Policies, and a store of them in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from moxsmtp.mtasts.policy import Policy, parse_policy
from moxsmtp.mtasts.storage import Failure, Kept, Known
from moxsmtp.names import Domain

__all__ = ["MemoryPolicies", "policy"]


def policy(mode: str = "enforce", host: str = "mx.a.example", age: int = 86400) -> Policy:
    """One."""
    return parse_policy(f"version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: {age}\n")


class MemoryPolicies:
    """
    See L{moxsmtp.mtasts.storage.IPolicyStore}.

    @ivar trouble: Raised, if it is there.
    @ivar writes: What was done to it.
    """

    def __init__(self) -> None:
        self.rows: dict[Domain, Known] = {}
        self.trouble: Exception | None = None
        self.writes: list[str] = []

    async def known(self, domain: Domain) -> Known:
        """What is kept."""
        if self.trouble is not None:
            raise self.trouble
        return self.rows.get(domain, Known())

    def _write(self, what: str) -> None:
        self.writes.append(what)
        if self.trouble is not None:
            raise self.trouble

    async def keep(self, domain: Domain, kept: Kept) -> None:
        """Instead of what there was."""
        self._write("keep")
        used = self.rows.get(domain, Known()).used or kept.fetched
        self.rows[domain] = Known(kept, used)

    async def keep_failure(self, domain: Domain, failure: Failure, when: datetime) -> None:
        """A fetch failed."""
        self._write("keep_failure")
        known = self.rows.get(domain, Known())
        self.rows[domain] = replace(known, failure=failure, failed_at=when)

    async def mark_used(self, domain: Domain, when: datetime) -> None:
        """Mail went by it."""
        self._write("mark_used")
        self.rows[domain] = replace(self.rows[domain], used=when)

    async def extend(self, domain: Domain, kept: Kept) -> None:
        """It was found to be unchanged."""
        self._write("extend")
        self.rows[domain] = Known(kept, self.rows[domain].used)

    async def due(self, before: datetime) -> Sequence[Domain]:
        """Those that grow old."""
        return [
            domain
            for domain, known in self.rows.items()
            if known.kept is not None and known.kept.fetched < before
        ]

    async def remove(self, domain: Domain, kept: Kept) -> None:
        """Forget it."""
        del kept
        self._write("remove")
        del self.rows[domain]

    async def remove_old(self, *, unused: datetime, failed: datetime) -> int:
        """Nothing is forgotten, but it is told that it was asked."""
        self._write(f"remove_old {unused:%Y-%m-%d} {failed:%H:%M}")
        return 0
