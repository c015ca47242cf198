"""Tells operators which lists of addresses (DNSBL) cannot be believed (I-73)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.logger import Logger

from moxsmtp.config import Settings
from moxsmtp.dnsbl import Condition, Health
from moxsmtp.names import Domain

__all__ = ["ListWatch", "configured_lists"]


class Gauges(Protocol):
    """What of the metrics is used."""

    def level(self, name: str, value: int, **labels: str) -> None:
        """A gauge now stands at C{value}."""


def configured_lists(settings: Settings) -> tuple[Domain, ...]:
    """Those of all listeners, each once."""
    zones = (zone for listener in settings.listeners for zone in listener.smtp.dnsbls)
    return tuple(dict.fromkeys(zones))


class ListWatch:
    """
    Looks at each configured list, and says so when it is found to have changed.

    How often a list itself is asked is for its L{Health} to say.
    """

    _log = Logger()

    def __init__(
        self, health: Health, zones: Callable[[], Iterable[Domain]], metrics: Gauges
    ) -> None:
        """@param zones: Those configured now."""
        self._health = health
        self._zones = zones
        self._metrics = metrics
        self._known: dict[Domain, Condition] = {}

    async def look(self) -> None:
        """At all of them, one after the other."""
        zones = tuple(self._zones())
        for zone in zones:
            condition = await self._health.condition(zone)
            # One that is configured no more keeps its last level: it is asked no more.
            self._metrics.level("moxsmtp_dnsbl_healthy", int(condition.healthy), zone=zone.ascii)
            if self._known.get(zone) != condition:
                self._tell(zone, condition)
            self._known[zone] = condition
        self._known = {zone: self._known[zone] for zone in zones}

    def _tell(self, zone: Domain, condition: Condition) -> None:
        name = zone.ascii
        if not condition.healthy:
            text = "the DNSBL {zone} is not believed, and so not asked: {problem}"
            self._log.warn(text, zone=name, problem=condition.problem)
        elif condition.problem:
            text = "the DNSBL {zone} cannot be asked at present: {problem}"
            self._log.warn(text, zone=name, problem=condition.problem)
        else:
            self._log.info("the DNSBL {zone} is in order", zone=name)
