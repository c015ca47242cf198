"""What the resolver obeys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moxsmtp.names import IPAddress

__all__ = ["ResolverSettings", "Upstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """
    A resolver that we ask.

    @ivar trust_ad: Believe its AD bit although it is not on this machine.
    """

    address: IPAddress
    port: int = 53
    trust_ad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSettings:
    """
    @ivar servers: In order of preference; empty: those of C{/etc/resolv.conf}.
    @ivar time_limit: For one server to answer once.
    @ivar attempts: How often the list of servers is gone through.
    @ivar cache: Answers kept at most.
    """

    servers: tuple[Upstream, ...] = ()
    time_limit: timedelta = timedelta(seconds=5)
    attempts: int = 2
    cache: int = 10_000
