"""
Which worker speaks with which client.

What limits one network (S-11, S-12) is counted in the process that speaks with
it; so all clients of one network meet the same worker, and the limits hold as
exactly as with one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from zlib import crc32

from moxsmtp.judge.limits import is_within, network_classes
from moxsmtp.names import IPAddress
from moxsmtp.receive.relay_settings import RelaySettings

__all__ = ["Affinity", "in_order"]

Networks = Sequence[IPv4Network | IPv6Network]


class Affinity:
    """
    By the settings in force.

    Relays whose networks overlap count as one: whichever of them a client's
    mail is of, its messages are counted in one place.
    """

    def __init__(self, exempt: Networks, relays: Sequence[RelaySettings]) -> None:
        """@param exempt: Who is never limited."""
        self._exempt = exempt
        self._groups: list[list[IPv4Network | IPv6Network]] = []
        for relay in relays:
            group = list(relay.networks)
            apart = []
            for other in self._groups:
                if _overlap(group, other):
                    group = [*other, *group]
                else:
                    apart.append(other)
            self._groups = [*apart, group]

    def key(self, address: IPAddress, proxies: Networks = ()) -> str:
        """
        Clients of one key meet the same worker; empty: any worker will do.

        @param proxies: Who speaks for others: their clients are known only to
            the worker, so that those of one network of proxies stay together.
        """
        for network in proxies:
            if is_within(address, (network,)):
                return f"proxy {network}"
        for group in self._groups:
            if is_within(address, group):
                return f"relay {min(map(str, group))}"
        if is_within(address, self._exempt):
            return ""
        version, _, bits = network_classes(address)[-1]
        return f"network {version} {bits}"


def _overlap(some: Networks, others: Networks) -> bool:
    return any(
        isinstance(one, IPv4Network) == isinstance(other, IPv4Network)
        and int(one.network_address) <= int(other.broadcast_address)
        and int(other.network_address) <= int(one.broadcast_address)
        for one in some
        for other in others
    )


def in_order(key: str, workers: int) -> Sequence[int]:
    """
    The numbers of all workers, the right one for C{key} first, then who stands
    in for it while it is down.  Always the same for a number of workers.
    """
    first = crc32(key.encode()) % workers
    return [(first + step) % workers for step in range(workers)]
