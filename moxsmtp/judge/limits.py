"""
How much one network may do.

An address counts three times: for itself and for two networks around it, so
that neither one machine nor a whole provider's range can take more than its
part (S-12).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from moxsmtp.names import IPAddress

__all__ = [
    "AUTHENTICATION", "CONNECTIONS", "OPEN", "ConcurrencyLimiter", "Limits", "RateLimiter",
    "Window", "is_within", "network_classes",
]  # fmt: skip

#: Bits that tell networks apart, the narrowest first: an IPv6 customer has a /64 at least.
_PREFIXES: Final = {4: (32, 26, 21), 6: (64, 48, 32)}

_BITS: Final = {4: 32, 6: 128}

#: Networks that are remembered at most in one window; the first that came are
#: forgotten then, for who has so many cannot be counted this way.
_MOST_NETWORKS: Final = 200_000

#: A network: version, number of its class, its leading bits.
Network = tuple[int, int, int]

#: An address, and the two networks around it.
Networks = tuple[Network, Network, Network]

Limits = tuple[int, int, int]


@lru_cache(maxsize=1024)
def network_classes(address: IPAddress) -> Networks:
    """The address and the networks around it: IPv4 /32, /26, /21; IPv6 /64, /48, /32."""
    version, number = address.version, int(address)
    bits = _BITS[version]
    first, second, third = _PREFIXES[version]
    return (
        (version, 0, number >> (bits - first)),
        (version, 1, number >> (bits - second)),
        (version, 2, number >> (bits - third)),
    )


def is_within(address: IPAddress, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether one of them holds it; never true across IP versions."""
    version = address.version
    for each in networks:  # noqa: SIM110 - asked for each connection, and a generator costs as much again
        if each.version == version and address in each:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Window:
    """
    @ivar period: Counts begin anew at multiples of it since the epoch.
    @ivar limits: For an address and the two networks around it.
    """

    period: timedelta
    limits: Limits


#: New connections (S-12).
CONNECTIONS: Final = (Window(timedelta(minutes=1), (300, 900, 2700)),)

#: Connections open at once.
OPEN: Final[Limits] = (30, 90, 270)

#: Log-ins that failed.
AUTHENTICATION: Final = (
    Window(timedelta(minutes=1), (10, 30, 90)),
    Window(timedelta(days=1), (50, 150, 450)),
)


@dataclass(slots=True)
class _Counted:
    """One window's counts, as long as it lasts."""

    window: Window
    number: int = -1
    counts: dict[Network, int] = field(default_factory=dict)

    def turn(self, seconds: float) -> None:
        """Forget all if another window has begun."""
        number = int(seconds // self.window.period.total_seconds())
        if number != self.number:
            self.number = number
            self.counts = {}

    def has_room(self, networks: Networks, count: int) -> bool:
        get, limits = self.counts.get, self.window.limits
        return (
            get(networks[0], 0) + count <= limits[0]
            and get(networks[1], 0) + count <= limits[1]
            and get(networks[2], 0) + count <= limits[2]
        )

    def add(self, networks: Networks, count: int) -> None:
        counts = self.counts
        for network in networks:
            left = counts.get(network, 0) + count
            if left > 0:
                counts[network] = left
            else:
                counts.pop(network, None)
        while len(counts) > _MOST_NETWORKS:
            del counts[next(iter(counts))]


class RateLimiter:
    """
    Counts what happened in windows of time.  What is added counts in all
    windows and classes, or, if one of them has no room, in none.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        self._counted = [_Counted(window) for window in windows]

    def obey(self, windows: Sequence[Window]) -> None:
        """Other limits from now on; what was counted in windows of the same length stays."""
        known = {each.window.period: each for each in self._counted}
        self._counted = []
        for window in windows:
            each = known.get(window.period) or _Counted(window)
            each.window = window
            self._counted.append(each)

    def has_room(self, address: IPAddress, seconds: float, count: int = 1) -> bool:
        """Whether L{add} would count it.  @param seconds: Since the epoch."""
        return self._have_room(network_classes(address), seconds, count)

    def _have_room(self, networks: Networks, seconds: float, count: int) -> bool:
        for each in self._counted:
            each.turn(seconds)
            if not each.has_room(networks, count):
                return False
        return True

    def add(self, address: IPAddress, seconds: float, count: int = 1) -> bool:
        """
        Count something.

        @return: Whether there was room; if not, nothing is counted.
        """
        networks = network_classes(address)
        if not self._have_room(networks, seconds, count):
            return False
        for each in self._counted:
            each.add(networks, count)
        return True

    def forgive(self, address: IPAddress, seconds: float) -> None:
        """Take what the address itself has done from all of its classes."""
        networks = network_classes(address)
        for each in self._counted:
            each.turn(seconds)
            own = each.counts.get(networks[0], 0)
            if own:
                each.add(networks, -own)


class ConcurrencyLimiter:
    """Counts what is going on at once, in all classes or, without room in one, in none."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts: dict[Network, int] = {}

    def obey(self, limits: Limits) -> None:
        """Other limits from now on; nobody is sent away who is there."""
        self._limits = limits

    def acquire(self, address: IPAddress) -> bool:
        """
        Count one more.

        @return: Whether there was room; only then it is to be released.
        """
        networks = network_classes(address)
        counts = self._counts
        for network, limit in zip(networks, self._limits, strict=True):
            if counts.get(network, 0) >= limit:
                return False
        for network in networks:
            counts[network] = counts.get(network, 0) + 1
        return True

    def release(self, address: IPAddress) -> None:
        """One that was acquired has ended."""
        counts = self._counts
        for network in network_classes(address):
            left = counts[network] - 1
            if left:
                counts[network] = left
            else:
                del counts[network]
