"""Which addresses may be called: by default none but public ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from moxsmtp.names import IPAddress

__all__ = ["AddressPolicy"]

#: All public addresses of IPv6 (RFC 4291 section 2.4, IANA).  The rest is not told apart by
#: all versions of Python: site-local addresses, and those that stand for IPv4 where a
#: translator is (RFC 6052, RFC 8215), behind which anything may be.
_UNICAST: Final = IPv6Network("2000::/3")

#: In documents only (RFC 9637), and between protocols (RFC 6890): the same goes for them.
_SPECIAL: Final = (IPv6Network("3fff::/20"), IPv4Network("192.0.0.0/24"))


class AddressPolicy:
    """Which addresses may be called."""

    def __init__(
        self, allow_private: Iterable[IPv4Network | IPv6Network], *, allow_loopback: bool
    ) -> None:
        """
        @param allow_private: Networks that may be called though not public.
        @param allow_loopback: Whether this machine itself may be called, which
            no network above allows.
        """
        self._allow_private = tuple(allow_private)
        self.allow_loopback = allow_loopback

    def allows(self, address: IPAddress) -> bool:
        """Whether C{address}, and any IPv4 address that it stands for, may be called."""
        return all(self._allows_one(one) for one in (address, *_embedded(address)))

    def _allows_one(self, address: IPAddress) -> bool:
        # Connecting to the unspecified address reaches this machine.
        if address.is_loopback or address.is_unspecified:
            return self.allow_loopback
        if any(address in network for network in self._allow_private):
            return True
        return address.is_global and not address.is_multicast and not _is_special(address)


def _is_special(address: IPAddress) -> bool:
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return True
    return any(address in network for network in _SPECIAL)


def _embedded(address: IPAddress) -> Sequence[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return ()
    teredo = address.teredo or ()
    return [one for one in (address.ipv4_mapped, address.sixtofour, *teredo) if one is not None]
