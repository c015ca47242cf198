"""
The resolvers that this machine is set up to use.  resolv.conf(5).
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Final

from moxsmtp.dns.settings import ResolverSettings, Upstream
from moxsmtp.names import IPAddress

__all__ = ["RESOLV_CONF", "believes_ad", "parse_resolv_conf", "upstreams"]

RESOLV_CONF: Final = "/etc/resolv.conf"

#: More are ignored, as by the C library.
_MOST_SERVERS: Final = 3

#: On this machine, but only forwarding to resolvers elsewhere: systemd-resolved
#: and the one inside containers.
_FORWARDERS: Final = frozenset({IPv4Address("127.0.0.53"), IPv4Address("127.0.0.11")})


def parse_resolv_conf(text: str) -> tuple[Upstream, ...]:
    """
    The servers in it, in order; what cannot be read is passed over.  Without
    any, the one on this machine.

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
        for address in (addresses or [ip_address("127.0.0.1")])[:_MOST_SERVERS]
    )


def upstreams(settings: ResolverSettings, path: str = RESOLV_CONF) -> tuple[Upstream, ...]:
    """The servers configured, else those of the system."""
    if settings.servers:
        return settings.servers
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return parse_resolv_conf(text)


def believes_ad(upstream: Upstream) -> bool:
    """Whether the AD bit of this server means anything.  RFC 6840 section 5.8."""
    return upstream.trust_ad or (
        upstream.address.is_loopback and upstream.address not in _FORWARDERS
    )
