"""C{[[relay]]}: nobody shall become an open relay by a slip of the pen."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from moxsmtp.config.mistakes import Findings, KeyPath
from moxsmtp.config.tables import FileTable

__all__ = ["check_relays"]

#: Of networks that are nobody's on the internet; RFC 1918, RFC 4193 and others.
_INSIDE: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
        "100.64.0.0/10", "198.18.0.0/15", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip

#: The widest public network that one organization may well have: fewer bits
#: need a word more.
_WIDEST: Final = {4: 16, 6: 32}


def check_relays(table: FileTable, findings: Findings, *, accounts: Collection[str]) -> None:
    """Look at all of them."""
    seen: set[str] = set()
    for number, relay in table.relay.items():
        at: KeyPath = ("relay", number)
        if not relay.name.strip():
            findings.add((*at, "name"), 'is empty; write a name, like "printers"')
        elif relay.name in seen:
            text = f'another relay is named "{relay.name}" already; choose a name of its own'
            findings.add((*at, "name"), text)
        seen.add(relay.name)
        if not relay.networks and not findings.touches(*at, "networks"):
            findings.add((*at, "networks"), 'is empty; write networks, like ["10.1.0.0/16"]')
        for place, network in enumerate(relay.networks):
            if not relay.public and _is_wide(network):
                text = (
                    f"{network} lets half the internet send spam through here; write a network "
                    "of your own, or public = true if it really is yours"
                )
                findings.add((*at, "networks", place), text)
        if relay.account and relay.account not in accounts:
            text = f'there is no account "{relay.account}"; write the name of one from this file'
            findings.add((*at, "account"), text)
    has_port = any(listener.smtp.enabled for listener in table.listener.values())
    if table.relay and not has_port and not findings.touches("listener"):
        text = "has no use: no listener has [listener.smtp] with enabled = true"
        findings.add(("relay", 0), text)


def _is_wide(network: IPv4Network | IPv6Network) -> bool:
    """Whether so many addresses of the internet belong to nobody alone."""
    inside = any(
        network.version == other.version
        and network.network_address in other
        and network.broadcast_address in other
        for other in _INSIDE
    )
    return not inside and network.prefixlen < _WIDEST[network.version]
