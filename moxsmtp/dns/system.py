"""
The resolvers that this machine is set up to use.  resolv.conf(5).
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Final

from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.names import IPAddress

__all__ = [
    "RESOLV_CONF",
    "Trust",
    "believes_ad",
    "parse_resolv_conf",
    "system_servers",
    "trust",
    "upstreams",
]

RESOLV_CONF: Final = "/etc/resolv.conf"

#: More are ignored, as by the C library.
_MOST_SERVERS: Final = 3

#: On this machine, but only forwarding to resolvers elsewhere: systemd-resolved
#: and the one inside containers.
_FORWARDERS: Final = frozenset({IPv4Address("127.0.0.53"), IPv4Address("127.0.0.11")})

#: Where a resolver on this machine is, if nothing else is said.  resolv.conf(5).
_DEFAULT: Final = (Upstream(address=IPv4Address("127.0.0.1")),)


def parse_resolv_conf(text: str) -> tuple[Upstream, ...]:
    """
    The servers in it, in order; what cannot be read is passed over.

    C{options trust-ad} is the administrator's word that the way to the servers
    is safe; software that forwards writes it too, so for forwarders on
    loopback addresses it says nothing.
    """
    addresses: list[IPAddress] = []
    trusted = False
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            try:
                addresses.append(ip_address(words[1]))
            except ValueError:
                continue
        elif words[0] == "options":
            trusted = trusted or "trust-ad" in words[1:]
    return tuple(
        Upstream(address=address, trust_ad=trusted and address not in _FORWARDERS)
        for address in addresses[:_MOST_SERVERS]
    )


def system_servers(path: str = RESOLV_CONF) -> tuple[Upstream, ...]:
    """Those that the system names; empty if it names none."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return parse_resolv_conf(text)


def upstreams(settings: ResolverSettings, path: str = RESOLV_CONF) -> tuple[Upstream, ...]:
    """The servers configured, else those of the system, else the one on this machine."""
    return settings.servers or system_servers(path) or _DEFAULT


class Trust(enum.Enum):
    """Why the AD bit of a server is believed or not, as words behind "because"."""

    CONFIGURED = "trust_ad is set for it"
    LOOPBACK = "it is on this machine"
    FORWARDER = "it only forwards to resolvers elsewhere, and trust_ad is not set for it"
    ELSEWHERE = "it is not on this machine, and trust_ad is not set for it"


def trust(upstream: Upstream) -> Trust:
    """Who vouches for a server.  RFC 6840 section 5.8."""
    if upstream.trust_ad:
        return Trust.CONFIGURED
    if upstream.address in _FORWARDERS:
        return Trust.FORWARDER
    return Trust.LOOPBACK if upstream.address.is_loopback else Trust.ELSEWHERE


def believes_ad(upstream: Upstream) -> bool:
    """Whether the AD bit of this server means anything."""
    return trust(upstream) in {Trust.CONFIGURED, Trust.LOOPBACK}
