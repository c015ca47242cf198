"""
Lists of addresses in the DNS, and whether they can be believed.  RFC 5782.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IReactorTime

from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import Domain, IPAddress

__all__ = [
    "HEALTH_KEPT", "LIMIT", "TROUBLE_KEPT", "Condition", "Health", "Listing", "Lists", "look_up",
]  # fmt: skip

#: Seconds that one list may take (I-2).
LIMIT: Final = 30.0

#: Seconds for which it is remembered how healthy a list is (I-73).
HEALTH_KEPT: Final = 4 * 3600.0

#: The same, where the check failed: the list has shown nothing yet.
TROUBLE_KEPT: Final = 300.0

#: Characters of a list's explanation that are kept.
_LONGEST_EXPLANATION: Final = 255

#: What each kind of list has to hold, and what it must not.  RFC 5782 section 5.
_IPV4_TEST: Final = (IPv4Address("127.0.0.2"), IPv4Address("127.0.0.1"))
_IPV6_TEST: Final = (IPv6Address("::ffff:127.0.0.2"), IPv6Address("::ffff:127.0.0.1"))


@dataclass(frozen=True, slots=True)
class Listing:
    """
    What one list says of one address.

    @ivar zone: The list.
    @ivar listed: It holds the address; never if the look-up failed.
    @ivar explanation: Its words, for the log: printable ASCII, at most 255
        characters, not to be believed; empty if it gives none.
    @ivar problem: Why it could not be asked; empty: it was.
    """

    zone: Domain
    listed: bool
    explanation: str = ""
    problem: str = ""


async def look_up(resolver: IResolver, zone: Domain, address: IPAddress) -> Listing:
    """
    Ask a list for an address (I-72).  Whatever address it answers with, listed
    is listed; a DNS that fails is not.
    """
    name = _name(zone, address)
    try:
        answer = await resolver.lookup(Question(name, RRType.A))
    except LookupFailed as error:
        return Listing(zone, listed=False, problem=_told(error))
    if not answer.records:
        return Listing(zone, listed=False)
    return Listing(zone, listed=True, explanation=await _explanation(resolver, name))


@dataclass(frozen=True, slots=True)
class Condition:
    """
    How a list is.

    @ivar healthy: It can be believed; also if it could not be asked.
    @ivar problem: What is wrong with it, or why it could not be asked; empty: nothing.
    """

    healthy: bool
    problem: str = ""


class Health:
    """Which lists can be believed at present (I-73)."""

    def __init__(self, resolver: IResolver, clock: IReactorTime) -> None:
        self._resolver = resolver
        self._clock = clock
        self._known: dict[Domain, tuple[float, float, Condition]] = {}

    async def is_healthy(self, zone: Domain) -> bool:
        """Whether a list can be believed: see L{condition}."""
        return (await self.condition(zone)).healthy

    async def condition(self, zone: Domain) -> Condition:
        """
        Whether the list holds its test entry and not its opposite.

        A list without entries of IPv4 is one of IPv6 if it has the test entry
        of those.  A list that cannot be asked counts as healthy.
        """
        known = self._known.get(zone)
        # No longer than that, where the clock was set back.
        if known is not None and 0 <= self._clock.seconds() - known[0] < known[1]:
            return known[2]
        kept = HEALTH_KEPT
        try:
            condition = await self._examine(zone)
        except LookupFailed as error:
            condition, kept = Condition(healthy=True, problem=_told(error)), TROUBLE_KEPT
        self._known[zone] = (self._clock.seconds(), kept, condition)
        return condition

    async def _examine(self, zone: Domain) -> Condition:
        for test, opposite in (_IPV4_TEST, _IPV6_TEST):
            if await self._holds(zone, opposite):
                return Condition(
                    healthy=False, problem=f"it lists {opposite}, so perhaps everybody"
                )
            if await self._holds(zone, test):
                return Condition(healthy=True)
        return Condition(healthy=False, problem=f"it does not list {_IPV4_TEST[0]} as it should")

    async def _holds(self, zone: Domain, address: IPAddress) -> bool:
        answer = await self._resolver.lookup(Question(_name(zone, address), RRType.A))
        return bool(answer.records)


class Lists:
    """
    The lists of a listener, in the order in which they are asked.

    @ivar zones: May be changed between messages.
    """

    def __init__(
        self,
        resolver: IResolver,
        clock: IReactorTime,
        zones: Sequence[Domain],
        health: Health | None = None,
    ) -> None:
        """@param health: Where several share what they know of it; L{None}: one of its own."""
        self.zones = tuple(zones)
        self._resolver = resolver
        self._clock = clock
        self._health = Health(resolver, clock) if health is None else health

    async def first_listing(self, address: IPAddress) -> Listing | None:
        """What the first list says that holds C{address}; L{None}: none does."""
        last = (await self.search(address))[-1:]
        return last[0] if last and last[0].listed else None

    async def search(self, address: IPAddress) -> tuple[Listing, ...]:
        """
        Ask list after list, and none after the first that holds C{address} (I-72).

        @return: What each says that was reached, for the trace.  One that is
            not healthy was not asked (I-73); one that takes more than
            L{LIMIT} seconds (I-2) says nothing.
        """
        found: list[Listing] = []
        for zone in self.zones:
            asking = Deferred.fromCoroutine(self._ask(zone, address))
            try:
                listing = await asking.addTimeout(LIMIT, self._clock)
            except TooLate:
                listing = Listing(zone, listed=False, problem=f"not done within {LIMIT:g} s")
            found.append(listing)
            if listing.listed:
                break
        return tuple(found)

    async def _ask(self, zone: Domain, address: IPAddress) -> Listing:
        condition = await self._health.condition(zone)
        if not condition.healthy:
            return Listing(zone, listed=False, problem=f"not asked: {condition.problem}")
        return await look_up(self._resolver, zone, address)


def _name(zone: Domain, address: IPAddress) -> str:
    """RFC 5782 sections 2.1 and 2.4: octets or nibbles from the last to the first."""
    if isinstance(address, IPv4Address):
        parts = [str(octet) for octet in reversed(address.packed)]
    else:
        parts = list(reversed(address.packed.hex()))
    return f"{'.'.join(parts)}.{zone.ascii}"


async def _explanation(resolver: IResolver, name: str) -> str:
    try:
        answer = await resolver.lookup(Question(name, RRType.TXT))
    except LookupFailed:
        return ""
    for one in answer.records:
        if isinstance(one, str | bytes):
            text = one[: _LONGEST_EXPLANATION + 1]
            return _printable(text if isinstance(text, str) else text.decode("latin-1"))
    return ""


def _told(error: LookupFailed) -> str:
    return _printable(str(error)) or "the look-up failed"


def _printable(text: str) -> str:
    """C{text} as a log may hold it."""
    text = "".join(c if " " <= c <= "~" else "?" for c in text)
    if len(text) > _LONGEST_EXPLANATION:
        text = f"{text[: _LONGEST_EXPLANATION - 3]}..."
    return text
