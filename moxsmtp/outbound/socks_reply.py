"""
What is said to a SOCKS5 proxy until the connection behind it stands.  RFC 1928.

A machine: it is fed what the proxy sends, in whatever pieces, and gives what to
send.  Without authentication; the proxy is asked to connect to an address,
never to a name, for what the DNS says is judged here.
"""

from __future__ import annotations

from typing import Final

from moxsmtp.names import IPAddress

__all__ = ["SocksRefused", "SocksRequest"]

_VERSION: Final = 5
_NO_AUTHENTICATION: Final = 0
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4

#: Octets of a bound address with its port, by its type; a name's length is in
#: its first octet.
_BOUND: Final = {_IPV4: 4 + 2, _IPV6: 16 + 2}

#: REP.  RFC 1928 section 6.
_REASONS: Final = {
    1: "general failure of the proxy",
    2: "not allowed by the proxy's rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "the proxy does not know the command",
    8: "the proxy does not know this kind of address",
}


class SocksRefused(Exception):
    """There will be no connection; the text says why."""


class SocksRequest:
    """
    One request.

    @ivar is_open: The connection stands.
    @ivar rest: What came behind the reply, which is from the other end.
    """

    #: What is said first: one method is offered, no authentication.  Section 3.
    greeting: Final = bytes((_VERSION, 1, _NO_AUTHENTICATION))

    def __init__(self, address: IPAddress, port: int) -> None:
        self.is_open = False
        self.rest = b""
        kind = _IPV4 if address.version == 4 else _IPV6
        # Section 4: VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT.
        self._request = (
            bytes((_VERSION, _CONNECT, 0, kind)) + address.packed + port.to_bytes(2, "big")
        )
        self._octets = b""
        self._is_asked = False

    def receive(self, octets: bytes) -> bytes:
        """
        @return: What to send; may be empty.
        @raise SocksRefused: It comes to nothing.
        """
        if self.is_open:
            raise RuntimeError("the connection stands; this is not for the proxy")
        # Never more than one piece of what the transport reads, and a reply.
        self._octets += octets
        if self._is_asked:
            self._read_reply()
            return b""
        return self._read_method()

    def _read_method(self) -> bytes:
        """Section 3: VER, METHOD."""
        if self._octets and self._octets[0] != _VERSION:
            raise SocksRefused("this is no SOCKS5 proxy")
        if len(self._octets) < 2:
            return b""
        if self._octets[1] != _NO_AUTHENTICATION:
            raise SocksRefused("the proxy wants a login")
        if len(self._octets) > 2:
            raise SocksRefused("the proxy answers what it was not asked")
        self._octets = b""
        self._is_asked = True
        return self._request

    def _read_reply(self) -> None:
        """Section 6: VER, REP, RSV, ATYP, BND.ADDR, BND.PORT."""
        octets = self._octets
        if octets and octets[0] != _VERSION:
            raise SocksRefused("this is no SOCKS5 proxy")
        if len(octets) >= 2 and octets[1] != 0:
            raise SocksRefused(_REASONS.get(octets[1], f"the proxy says {octets[1]}"))
        if len(octets) < 5:
            return
        kind = octets[3]
        if kind == _NAME:
            end = 4 + 1 + octets[4] + 2
        elif kind in _BOUND:
            end = 4 + _BOUND[kind]
        else:
            raise SocksRefused(f"the proxy replies with an address of unknown kind {kind}")
        if len(octets) >= end:
            self.is_open = True
            self.rest = octets[end:]
            self._octets = b""
