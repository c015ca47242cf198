"""Whose mail is passed on without a login."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from moxsmtp.names import Domain

__all__ = ["RelaySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """
    Networks of our own whose mail is queued for anybody (RFC 5321 section 7.9).

    @ivar networks: At least one.
    @ivar from_domains: Of whose senders; empty: any.
    @ivar account: In whose name it is sent, with that account's limits, and who
        gets its DSNs; empty: nobody's, and DSNs go to the sender.
    @ivar max_messages_per_hour: Counted per recipient, over all of C{networks};
        0: unlimited.
    @ivar public: They may be as wide as they are.
    """

    name: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    from_domains: tuple[Domain, ...] = ()
    account: str = ""
    max_messages_per_hour: int = 1000
    public: bool = False
