"""From which of our addresses connections are made (Q-50)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moxsmtp.names import IPAddress
from moxsmtp.outbound.transport import Socks

__all__ = ["ANY_SOURCE", "Sources", "sources_behind", "sources_of"]


@dataclass(frozen=True, slots=True)
class Sources:
    """One address of each family; L{None}: the system chooses, or a proxy."""

    ipv4: IPAddress | None = None
    ipv6: IPAddress | None = None

    def towards(self, address: IPAddress) -> IPAddress | None:
        """What a connection to C{address} is bound to; L{None}: the system chooses."""
        return self.ipv4 if address.version == 4 else self.ipv6


#: Always the system's choice.
ANY_SOURCE = Sources()


def sources_of(listening: Iterable[IPAddress]) -> Sources:
    """
    The addresses at which we take mail from outside: SPF and reverse names are
    likeliest to be in order for them.

    Without all doubt about which these are, the system chooses: where one is
    unspecified (C{0.0.0.0}, C{::}), or a family has several.

    @param listening: At port 25.  Those of the loopback reach nobody outside
        and are passed over.
    """
    found = {address for address in listening if not address.is_loopback}
    ipv4 = [address for address in found if address.version == 4]
    ipv6 = [address for address in found if address.version == 6]
    if any(address.is_unspecified for address in found) or max(len(ipv4), len(ipv6)) > 1:
        return ANY_SOURCE
    return Sources(*(family[0] if family else None for family in (ipv4, ipv6)))


def sources_behind(proxy: Socks) -> Sources:
    """
    From where a proxy connects, to be told: it chooses by itself.  Where it has
    several addresses of a family, nobody here knows which.
    """
    families = (proxy.ipv4, proxy.ipv6)
    return Sources(*(family[0] if len(family) == 1 else None for family in families))
