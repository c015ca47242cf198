"""
What a proxy says of the client that it speaks for: the header of the PROXY
protocol, versions 1 and 2.

U{https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from moxsmtp.names import IPAddress

__all__ = ["BadHeader", "ProxyHeader", "read_proxy_header"]

_BEGIN_1: Final = b"PROXY "
_BEGIN_2: Final = b"\r\n\r\n\0\r\nQUIT\n"

#: Octets of a header of version 1 with its line end.
_MAXIMUM_1: Final = 107

#: Octets of version 2 in front of the addresses.
_FIXED_2: Final = 16

# "TCP4" or "TCP6", source and destination address, source and destination port.
_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_TCP = re.compile(
    rb"(?:TCP4 ([0-9.]{7,15}) ([0-9.]{7,15})|TCP6 ([0-9a-fA-F:.]{2,39}) ([0-9a-fA-F:.]{2,39}))"
    rb" (" + _PORT + rb") (" + _PORT + rb")"
)

_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31


class BadHeader(ValueError):
    """The octets begin with no header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """
    @ivar length: Octets that it took; the client's begin behind them.
    @ivar client: Who is there; L{None}: whoever has connected, the proxy itself.
    @ivar local: Which address of ours, or of the proxy, the client connected to.
    """

    length: int
    client: IPAddress | None = None
    local: IPAddress | None = None


def read_proxy_header(octets: bytes | bytearray) -> ProxyHeader | None:
    """
    Read the header that a connection begins with.  What it tells of TLS and all
    other extensions of version 2 are passed over.

    @param octets: All that has come by now.
    @return: L{None}: more of it must come.
    @raise BadHeader: This becomes none, whatever follows.
    """
    begin = bytes(octets[: len(_BEGIN_2)])
    if begin.startswith(_BEGIN_1):
        return _version_1(octets)
    if begin == _BEGIN_2:
        return _version_2(octets)
    if _BEGIN_1.startswith(begin) or _BEGIN_2.startswith(begin):
        return None
    raise BadHeader("no PROXY header")


def _version_1(octets: bytes | bytearray) -> ProxyHeader | None:
    end = octets.find(b"\r\n", 0, _MAXIMUM_1)
    if end < 0:
        if len(octets) >= _MAXIMUM_1:
            raise BadHeader("the line has no end")
        return None
    line, length = bytes(octets[len(_BEGIN_1) : end]), end + 2
    if line.partition(b" ")[0] == b"UNKNOWN":
        return ProxyHeader(length)
    match = _TCP.fullmatch(line)
    if match is None or int(match[5]) > 0xFFFF or int(match[6]) > 0xFFFF:
        raise BadHeader("the line is none")
    try:
        if match[1] is not None:
            return ProxyHeader(length, _ipv4(match[1]), _ipv4(match[2]))
        return ProxyHeader(length, _ipv6(match[3]), _ipv6(match[4]))
    except ValueError:
        raise BadHeader("an address is none") from None


def _version_2(octets: bytes | bytearray) -> ProxyHeader | None:
    if len(octets) < _FIXED_2:
        return None
    command, family = octets[12], octets[13]
    size = int.from_bytes(octets[14:_FIXED_2], "big")
    if command not in {_LOCAL, _PROXY}:
        raise BadHeader("unknown version or command")
    least = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}.get(family)
    if command == _PROXY and (least is None or size < least):
        raise BadHeader("unknown family, or too short for it")
    length = _FIXED_2 + size
    if len(octets) < length:
        return None
    if command == _PROXY and family in {_TCP4, _TCP6}:
        half = 4 if family == _TCP4 else 16
        addresses = bytes(octets[_FIXED_2 : _FIXED_2 + 2 * half])
        return ProxyHeader(length, _packed(addresses[:half]), _packed(addresses[half:]))
    return ProxyHeader(length)


def _ipv4(text: bytes) -> IPAddress:
    return IPv4Address(text.decode("ascii"))


def _ipv6(text: bytes) -> IPAddress:
    return _plain(IPv6Address(text.decode("ascii")))


def _packed(octets: bytes) -> IPAddress:
    return IPv4Address(octets) if len(octets) == 4 else _plain(IPv6Address(octets))


def _plain(address: IPv6Address) -> IPAddress:
    """Limits and SPF know an IPv4 client by its IPv4 address."""
    return address.ipv4_mapped or address
