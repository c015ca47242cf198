"""What is kept of the policies of other domains, and where (Q-53, Q-54)."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from moxsmtp.mtasts.policy import Policy
from moxsmtp.names import Domain

__all__ = ["Failure", "IPolicyStore", "Kept", "Known", "ResultType"]


class ResultType(enum.StrEnum):
    """What went wrong, in the words of reports.  RFC 8460 section 4.3.2.1."""

    FETCH_ERROR = "sts-policy-fetch-error"
    INVALID = "sts-policy-invalid"
    UNTRUSTED = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True)
class Failure:
    """A policy that could not be had.  @ivar reason: For people."""

    type: ResultType
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """
    A policy as it was fetched.

    @ivar record_id: The C{id} of the record that announced it.
    @ivar fetched: When it was, or was last found to be unchanged.
    @ivar valid_until: It counts for mail before that.
    """

    policy: Policy
    record_id: str
    fetched: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """
    All that is kept of one domain.

    @ivar used: When mail last went by the policy; L{None}: never.
    @ivar failure: Of the last fetch, if it failed, and when that was.
    """

    kept: Kept | None = None
    used: datetime | None = None
    failure: Failure | None = None
    failed_at: datetime | None = None


class IPolicyStore(Protocol):
    """Where that is.  Several processes use it at once."""

    def known(self, domain: Domain) -> Awaitable[Known]:
        """What is kept; all of it may be L{None}."""

    def keep(self, domain: Domain, kept: Kept) -> Awaitable[None]:
        """Instead of what there was; the last fetch has not failed."""

    def keep_failure(self, domain: Domain, failure: Failure, when: datetime) -> Awaitable[None]:
        """A fetch failed.  A policy that is there stays."""

    def mark_used(self, domain: Domain, when: datetime) -> Awaitable[None]:
        """Mail went by the policy."""

    def extend(self, domain: Domain, kept: Kept) -> Awaitable[None]:
        """It was found to be unchanged; nothing is done if another is there by now."""

    def due(self, before: datetime) -> Awaitable[Sequence[Domain]]:
        """Whose policies were last fetched or found unchanged before that."""

    def remove(self, domain: Domain, kept: Kept) -> Awaitable[None]:
        """Forget it, unless another is there by now."""

    def remove_old(self, *, unused: datetime, failed: datetime) -> Awaitable[int]:
        """
        Forget policies that were neither fetched nor used since C{unused}, and
        mere failures from before C{failed}.

        @return: How many.
        """
