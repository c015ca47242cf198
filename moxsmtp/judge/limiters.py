"""
What one network may do to this server, over all listeners: who may come in, who
may stay, who may try another password (S-11, S-12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from moxsmtp.judge.limits import (
    AUTHENTICATION,
    CONNECTIONS,
    OPEN,
    ConcurrencyLimiter,
    Limits,
    RateLimiter,
    Window,
    is_within,
)
from moxsmtp.names import IPAddress

__all__ = ["LimitSettings", "Limiters"]

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """
    Each limit is three numbers: for an address, and for the two networks
    around it: of IPv4 the /32, /26 and /21, of IPv6 the /64, /48 and /32.

    @ivar connections_per_minute: New ones.
    @ivar open_connections: At once.
    @ivar failed_logins_per_minute: Failed attempts to log in; a success
        takes away those of its address.
    @ivar limits_exempt: Networks that are never limited.
    """

    connections_per_minute: tuple[int, ...] = CONNECTIONS[0].limits
    open_connections: tuple[int, ...] = OPEN
    failed_logins_per_minute: tuple[int, ...] = AUTHENTICATION[0].limits
    failed_logins_per_day: tuple[int, ...] = AUTHENTICATION[1].limits
    limits_exempt: tuple[IPv4Network | IPv6Network, ...] = ()

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name != "limits_exempt"):
            if len(getattr(self, name)) != len(OPEN):
                example = ", ".join(map(str, _EXAMPLES[name]))
                raise ValueError(
                    f"{name}: three numbers are needed, for an address and the two networks"
                    f" around it; write [{example}]"
                )


_EXAMPLES: Final[Mapping[str, Limits]] = {
    "connections_per_minute": CONNECTIONS[0].limits,
    "open_connections": OPEN,
    "failed_logins_per_minute": AUTHENTICATION[0].limits,
    "failed_logins_per_day": AUTHENTICATION[1].limits,
}


class Limiters:
    """One for a process; times are seconds since the epoch."""

    __slots__ = ("_connections", "_exempt", "_failures", "_open")

    def __init__(self, settings: LimitSettings = LimitSettings()) -> None:
        self._connections = RateLimiter(())
        self._failures = RateLimiter(())
        self._open = ConcurrencyLimiter(OPEN)
        self.obey(settings)

    def obey(self, settings: LimitSettings) -> None:
        """Other limits from now on; what was counted stays."""
        self._exempt = settings.limits_exempt
        self._connections.obey((Window(_MINUTE, _three(settings.connections_per_minute)),))
        self._open.obey(_three(settings.open_connections))
        self._failures.obey((
            Window(_MINUTE, _three(settings.failed_logins_per_minute)),
            Window(_DAY, _three(settings.failed_logins_per_day)),
        ))  # fmt: skip

    def is_exempt(self, address: IPAddress) -> bool:
        """Whether it is never limited; for those, nothing below is to be asked or told."""
        return is_within(address, self._exempt)

    def count_connection(self, address: IPAddress, seconds: float) -> bool:
        """Count a new connection; C{False}: there were too many already."""
        return self._connections.add(address, seconds)

    def open(self, address: IPAddress) -> bool:
        """A connection that stays; C{False}: too many are open.  Else L{close} follows."""
        return self._open.acquire(address)

    def close(self, address: IPAddress) -> None:
        """One that was opened has ended."""
        self._open.release(address)

    def may_log_in(self, address: IPAddress, seconds: float) -> bool:
        """Whether there is room for one more failure."""
        return is_within(address, self._exempt) or self._failures.has_room(address, seconds)

    def login_failed(self, address: IPAddress, seconds: float) -> None:
        """However it came out but well (S-42)."""
        if not is_within(address, self._exempt):
            self._failures.add(address, seconds)

    def logged_in(self, address: IPAddress, seconds: float) -> None:
        """Whoever is there knows a password: what failed before was a slip."""
        self._failures.forgive(address, seconds)


def _three(numbers: tuple[int, ...]) -> Limits:
    first, second, third = numbers
    return first, second, third
