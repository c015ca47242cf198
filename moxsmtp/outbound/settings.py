"""What mail to other domains obeys beside the queue's settings."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

__all__ = ["OutboundSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """
    @ivar certificates: A PEM file of the authorities that are trusted where
        certificates count: HTTPS, MTA-STS, smarthosts; empty: those of the
        system.
    @ivar allow_private: Networks that are not public, and from which policies
        (MTA-STS) are fetched all the same; loopback never, except in
        localserve.
    """

    certificates: str = ""
    allow_private: tuple[IPv4Network | IPv6Network, ...] = ()
