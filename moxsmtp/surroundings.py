"""What a server has around it: the internet, or in localserve nothing but itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from moxsmtp.config import Settings
from moxsmtp.dns.records import LookupFailed, Question, RRType
from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.system import upstreams
from moxsmtp.interfaces import IOwnResolver, IResolver
from moxsmtp.names import Domain
from moxsmtp.outbound.next_hop import FixedRoute, NextHops
from moxsmtp.receive.checks import Checks, dns_checks
from moxsmtp.receive.policy import IPolicy, Welcome

__all__ = ["Internet", "Surroundings"]


class Surroundings(Protocol):
    """
    @ivar allow_loopback: Whether webhooks may call this machine itself.
    @ivar passwords: Set at the start, by account, where there is none yet.
    @ivar strict_mime: Whether the pedantic refuse what is not MIME throughout, too.
    """

    allow_loopback: bool
    passwords: Mapping[str, str]
    strict_mime: bool

    def prepare(self, settings: Settings, now: datetime) -> Settings:
        """
        Make what has to be there before the start.

        @return: With what was made.
        """

    def resolver(
        self, settings: Settings, reactor: Any, is_public_suffix: Callable[[Domain], bool]
    ) -> IOwnResolver:
        """Who is asked for names."""

    def checks(
        self,
        settings: Settings,
        resolver: IResolver,
        reactor: Any,
        is_public_suffix: Callable[[Domain], bool],
    ) -> Checks:
        """What mail from outside goes through."""

    def route(self, settings: Settings, resolver: IResolver, reactor: Any) -> NextHops | FixedRoute:
        """Where queued mail goes."""

    def policy(self, reactor: Any) -> IPolicy:
        """What is taken."""

    async def resolver_trouble(self, resolver: IResolver) -> str | None:
        """What is wrong with the resolver, for C{/readyz}; L{None}: nothing."""

    def announcement(self, settings: Settings) -> str:
        """What a user at a terminal is told once all runs; empty: nothing."""


class Internet:
    """The world: mail servers found by MX, a real DNS."""

    allow_loopback = False
    passwords: Mapping[str, str] = {}
    strict_mime = False

    def prepare(self, settings: Settings, now: datetime) -> Settings:  # noqa: ARG002 - as localserve's
        """The operator has prepared everything."""
        return settings

    def resolver(
        self, settings: Settings, reactor: Any, is_public_suffix: Callable[[Domain], bool]
    ) -> StubResolver:
        """Those configured, or the system's."""
        return StubResolver(
            reactor=reactor,
            servers=upstreams(settings.resolver),
            settings=settings.resolver,
            randbelow=secrets.randbelow,
            is_public_suffix=is_public_suffix,
        )

    def checks(
        self,
        settings: Settings,  # noqa: ARG002 - localserve needs the domains
        resolver: IResolver,
        reactor: Any,
        is_public_suffix: Callable[[Domain], bool],
    ) -> Checks:
        """By what the DNS says."""
        return dns_checks(
            resolver,
            clock=reactor,
            now=lambda: datetime.fromtimestamp(reactor.seconds(), UTC),
            is_public_suffix=is_public_suffix,
        )

    def route(self, settings: Settings, resolver: IResolver, reactor: Any) -> NextHops:
        """By MX."""
        return NextHops(
            resolver=resolver,
            clock=reactor,
            randbelow=secrets.randbelow,
            port=settings.queue.outbound_port,
        )

    def policy(self, reactor: Any) -> IPolicy:  # noqa: ARG002 - localserve needs a clock
        """What the accounts allow."""
        return Welcome()

    async def resolver_trouble(self, resolver: IResolver) -> str | None:
        """Ask it for what every resolver answers by itself, and none has cached."""
        # RFC 6761 section 6.4: names under "invalid" do not exist.
        name = f"{secrets.token_hex(8)}.invalid"
        try:
            await resolver.lookup(Question(name, RRType.A))
        except LookupFailed as failure:
            return str(failure) or "no answer"
        return None

    def announcement(self, settings: Settings) -> str:  # noqa: ARG002 - as localserve's
        """Operators read the log."""
        return ""
