"""
How hard the servers of one site are worked (Q-93).

A B{site} is what several domains have in common: the set of their MX hosts.
What is known of it is what this process has met: the domains that lead to it, its
connections and messages of the last minute, how many connections failed in a
row.  Only the number of workers on one domain holds over all processes, for it
is the store that leases them.

B{Back-off.}  After some failed connections in a row, attempts fail at once
without a connection, so that a site that is down holds up nobody; when the pause
is over, one attempt finds out whether it is up again.  Each pause is twice as
long as the one before, up to five minutes, which is less than the first interval
of the usual schedule.  An attempt in a pause counts as any other: of many messages
for a site that stays down few are tried by themselves, and what is given up may have
met with the pause alone, whose error says what was met a few minutes before.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

__all__ = ["Shaper", "ShapingRule"]

#: Domains, and sites, of which something is remembered.
_MOST: Final = 10_000

#: Seconds over which rates are counted.
_PERIOD: Final = 60.0

#: Seconds that whoever finds out has the site to himself.
_PROBE: Final = 60.0

#: Seconds that a pause lasts at most.
_LONGEST_PAUSE: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapingRule:
    """
    What holds for some sites.

    @ivar sites: Names of domains or of their MX hosts, in lower case;
        C{.example.com} is C{example.com} and all below it.  Empty: any.
    @ivar connections: At once to one domain.
    @ivar site_connections: At once to all domains of a site; 0: no limit but
        those of its domains.
    @ivar messages_per_connection: Then a new one is made.
    @ivar messages_per_minute: To a site; 0: no limit.
    @ivar connections_per_minute: Likewise.
    @ivar failures: Connections that failed in a row until there is a pause; 0:
        there is never one.
    @ivar pause: How long the first one is.
    """

    sites: tuple[str, ...] = ()
    connections: int = 1
    site_connections: int = 0
    messages_per_connection: int = 100
    messages_per_minute: int = 0
    connections_per_minute: int = 0
    failures: int = 5
    pause: timedelta = timedelta(minutes=1)

    def covers(self, names: Sequence[str]) -> bool:
        """Whether it is for a site of these names."""
        return not self.sites or any(
            name == pattern.lstrip(".") or (pattern.startswith(".") and name.endswith(pattern))
            for pattern in self.sites
            for name in names
        )


_ANY: Final = ShapingRule()


class _Rate:
    """How often something happened in the last minute."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def note(self, now: float, limit: int) -> None:
        if limit:
            self._times.append(now)

    def wait(self, now: float, limit: int) -> float:
        """Seconds until it may happen again."""
        times = self._times
        # A clock that was set back would let what happened later block for ever.
        while times and not 0 <= now - times[0] < _PERIOD:
            times.popleft()
        if not limit or len(times) < limit:
            return 0.0
        return times[len(times) - limit] + _PERIOD - now


@dataclass(slots=True)
class _Site:
    """
    @ivar under_way: Attempts.
    @ivar failures: Connections that failed in a row.
    @ivar paused_until: Nobody connects before; 0: there is no pause.
    @ivar full_until: Somebody needed a connection, and no more may be made before.
    """

    rule: ShapingRule
    under_way: int = 0
    failures: int = 0
    pauses: int = 0
    paused_at: float = 0.0
    paused_until: float = 0.0
    full_at: float = 0.0
    full_until: float = 0.0
    error: str = ""
    messages: _Rate = field(default_factory=_Rate)
    connections: _Rate = field(default_factory=_Rate)


class Shaper:
    """Answers for one process.  Every C{now} is in seconds, by a clock that nobody should set."""

    def __init__(self, rules: Sequence[ShapingRule] = ()) -> None:
        """@param rules: The first that covers a site counts."""
        self._rules = (*rules, _ANY)
        self._names: OrderedDict[str, str] = OrderedDict()
        self._sites: OrderedDict[str, _Site] = OrderedDict()
        self._under_way: dict[str, int] = {}

    # -- what is known

    def learn(self, domain: str, hosts: Sequence[str]) -> None:
        """Mail for C{domain} goes to these hosts."""
        name = " ".join(sorted(hosts)) or domain
        if self._names.get(domain) == name:
            self._names.move_to_end(domain)
            return
        count = self._under_way.get(domain, 0)
        self._site(domain).under_way -= count
        self._names[domain] = name
        self._names.move_to_end(domain)
        self._forget_a_name()
        if name not in self._sites:
            self._add(name, (domain, *hosts))
        self._sites[name].under_way += count

    def _site(self, domain: str) -> _Site:
        """Before anything is known of it, a domain is a site by itself."""
        name = self._names.get(domain, domain)
        site = self._sites.get(name)
        if site is None:
            return self._add(name, (domain, *name.split()))
        self._sites.move_to_end(name)
        return site

    def _add(self, name: str, names: Sequence[str]) -> _Site:
        rule = next(rule for rule in self._rules if rule.covers(names))
        while len(self._sites) >= _MOST and self._forget_one():
            pass
        site = self._sites[name] = _Site(rule)
        return site

    def _forget_a_name(self) -> None:
        """Whoever is at work keeps his: he ends where he began."""
        if len(self._names) > _MOST:
            idle = next((name for name in self._names if name not in self._under_way), None)
            if idle is not None:
                del self._names[idle]

    def _forget_one(self) -> bool:
        for name, site in self._sites.items():
            if not site.under_way:
                del self._sites[name]
                return True
        return False

    def rule(self, domain: str) -> ShapingRule:
        """What holds for it."""
        return self._site(domain).rule

    def connections(self, domain: str) -> int:
        """
        How many may work on the domain.  One until its hosts are known, and
        while it is not known to be up.
        """
        site = self._site(domain)
        if domain not in self._names or site.failures:
            return 1
        rule = site.rule
        return min(rule.connections, rule.connections_per_minute or rule.connections)

    # -- messages

    def wait(self, domain: str, now: float) -> float:
        """Seconds until a message for the domain may be taken; 0: now."""
        site = self._site(domain)
        limit = site.rule.site_connections
        if limit and site.under_way >= limit:
            return 1.0
        # A clock that was set back must not make it any longer.
        is_full = site.full_at <= now < site.full_until
        return max(
            site.messages.wait(now, site.rule.messages_per_minute),
            site.full_until - now if is_full else 0.0,
        )

    def begin(self, domain: str, now: float) -> None:
        """An attempt begins; L{end} follows."""
        site = self._site(domain)
        site.under_way += 1
        self._under_way[domain] = self._under_way.get(domain, 0) + 1
        site.messages.note(now, site.rule.messages_per_minute)

    def end(self, domain: str) -> None:
        """It is over."""
        self._site(domain).under_way -= 1
        self._under_way[domain] -= 1
        if not self._under_way[domain]:
            del self._under_way[domain]

    def is_crowded(self, domain: str) -> bool:
        """More is under way at its site than may be, as nobody knew that it is of that site."""
        site = self._site(domain)
        limit = site.rule.site_connections
        return bool(limit) and site.under_way > limit

    # -- connections

    def objection(self, domain: str, now: float) -> str:
        """
        Why nobody should connect now; empty: nothing is against it.  Whoever
        asks when a pause is over finds out for all.
        """
        site = self._site(domain)
        if not site.paused_until:
            return ""
        # A clock that was set back must not make the pause any longer.
        if not site.paused_at <= now < site.paused_until:
            site.paused_at, site.paused_until = now, now + _PROBE
            return ""
        return (
            f"not tried: {site.failures} connections in a row have failed, "
            f"the last one with: {site.error}"
        )

    def connecting(self, domain: str, now: float) -> float:
        """
        Somebody wants to connect, as no session waits for him.

        @return: Seconds until he may; 0: now, and it counts.
        """
        site = self._site(domain)
        limit = site.rule.connections_per_minute
        wait = site.connections.wait(now, limit)
        if wait:
            site.full_at, site.full_until = now, now + wait
        else:
            site.connections.note(now, limit)
        return wait

    def connected(self, domain: str) -> None:
        """A connection stands."""
        site = self._site(domain)
        site.failures = site.pauses = 0
        site.paused_until = 0.0

    def unconnected(self, domain: str, now: float, error: str) -> None:
        """No host of it could be connected to."""
        site = self._site(domain)
        site.failures += 1
        site.error = error
        if not site.rule.failures or site.failures < site.rule.failures:
            return
        pause = site.rule.pause.total_seconds() * 2**site.pauses
        site.pauses = min(site.pauses + 1, 16)
        site.paused_at = now
        site.paused_until = now + min(pause, _LONGEST_PAUSE)
