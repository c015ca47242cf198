"""
Who may ask now: turns at something scarce, shared fairly between sites.

A domain whose servers never answer holds each turn for as long as we have
patience.  So no site gets more than a part of the turns, those who wait are
served site by site, and nobody waits without end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from moxsmtp.dns.records import LookupFailed
from moxsmtp.names import Domain

__all__ = ["Clock", "Turns", "site_of"]

#: Labels of a site, at most: those of the registry, and one more.
_MOST_LABELS: Final = 4

#: Below these zones of addresses (RFC 1035 section 3.5, RFC 3596 section 2.5) a
#: site is what a network of some size has: an IPv4 /16, an IPv6 /32.
_NETWORKS: Final = {".in-addr.arpa": 4, ".ip6.arpa": 10}

#: Who waits may be so many times as many as may ask.
_PATIENCE: Final = 4


class Clock(Protocol):
    """What of a reactor is used: IReactorTime."""

    def callLater(
        self, delay: float, later: Callable[..., object], /, *args: object
    ) -> IDelayedCall:
        """See C{IReactorTime}."""


def site_of(name: str, is_public_suffix: Callable[[Domain], bool]) -> str:
    """
    Whose name that is, as far as turns are concerned: the last two labels of
    it, more where those are a registry's.

    @param name: Lower case, no dot at the end; anything may stand in it.
    """
    if name.endswith(".arpa"):
        for zone, labels in _NETWORKS.items():
            if name.endswith(zone):
                return ".".join(name.rsplit(".", labels)[-labels:])
    for labels in range(2, _MOST_LABELS):
        parts = name.rsplit(".", labels)
        if len(parts) <= labels:
            return name
        site = ".".join(parts[1:])
        if not is_public_suffix(Domain(site)):
            return site
    return ".".join(name.rsplit(".", _MOST_LABELS)[-_MOST_LABELS:])


class Turns:
    """
    At most so many at once, and of one site at most its share.

    A turn that is free goes to the site that has waited longest among those
    that do not hold their share already; within a site, first come, first served.
    """

    def __init__(self, clock: Clock, *, most: int, share: int, seconds: float) -> None:
        """@param seconds: How long one waits for a turn at most."""
        self._clock = clock
        self._most = most
        self._share = share
        self._seconds = seconds
        self._taken = 0
        self._held: dict[str, int] = {}
        self._waiting: OrderedDict[str, OrderedDict[Deferred[None], IDelayedCall]] = OrderedDict()

    def taken(self, site: str) -> bool:
        """Take a turn if there is one at once; then L{give} it back."""
        held = self._held.get(site, 0)
        if self._taken >= self._most or held >= self._share:
            return False
        self._taken += 1
        self._held[site] = held + 1
        return True

    async def take(self, site: str) -> None:
        """
        Wait for a turn; then L{give} it back.

        @raise LookupFailed: There was none in time, or too many of the site wait.
        """
        if self.taken(site):
            return
        queue = self._waiting.setdefault(site, OrderedDict())
        if len(queue) >= self._share * _PATIENCE:
            raise LookupFailed(f"too many look-ups in {site} at once")
        waiter: Deferred[None] = Deferred(lambda waiter: self._leave(site, waiter))
        queue[waiter] = self._clock.callLater(self._seconds, self._too_late, site, waiter)
        await waiter

    def give(self, site: str) -> None:
        """Give a turn back."""
        if self._waiting:
            # Not at once: a row of look-ups that each fail at once would nest.
            self._clock.callLater(0, self._release, site)
        else:
            self._release(site)

    def _grant(self, site: str) -> None:
        self._taken += 1
        self._held[site] = self._held.get(site, 0) + 1

    def _release(self, site: str) -> None:
        self._taken -= 1
        held = self._held.pop(site)
        if held > 1:
            self._held[site] = held - 1
        # Only the few that hold their share are passed over.
        for waiting in self._waiting:
            if self._held.get(waiting, 0) < self._share:
                self._call(waiting)
                return

    def _call(self, site: str) -> None:
        """It is the turn of who waits longest in this site."""
        queue = self._waiting[site]
        waiter, timer = queue.popitem(last=False)
        timer.cancel()
        if queue:
            self._waiting.move_to_end(site)
        else:
            del self._waiting[site]
        self._grant(site)
        waiter.callback(None)

    def _leave(self, site: str, waiter: Deferred[None]) -> None:
        queue = self._waiting[site]
        timer = queue.pop(waiter)
        if timer.active():
            timer.cancel()
        if not queue:
            del self._waiting[site]

    def _too_late(self, site: str, waiter: Deferred[None]) -> None:
        self._leave(site, waiter)
        waiter.errback(
            LookupFailed(f"no turn within {self._seconds:g} s: too many look-ups under way")
        )
