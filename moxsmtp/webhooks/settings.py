"""What webhook calls obey."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

__all__ = ["WebhookSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """
    @ivar allow_private: Networks that are not public but may be called all the
        same; loopback never, except in localserve.
    @ivar max_calls: Calls under way at once (Q-75).
    @ivar time_limit: For one call, its answer included (Q-73).
    """

    allow_private: tuple[IPv4Network | IPv6Network, ...] = ()
    max_calls: int = 10
    time_limit: timedelta = timedelta(seconds=60)
