"""
Which transport a message takes (Q-43), and whether it may leave at all (Q-14).

Asked for at each attempt, so that a message follows the configuration in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from moxsmtp.names import Domain, Host
from moxsmtp.outbound.transport import DIRECT, Fail, Route, Transport
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.queue.job import Job

__all__ = ["NO_ROUTING", "Chosen", "Consignment", "Router", "Routing", "failure_of", "matches"]


@dataclass(frozen=True, slots=True)
class Routing:
    """
    What the configuration says of ways out.

    @ivar transports: By name; all that routes name are there.
    @ivar routes: Of everybody's mail.
    @ivar of_domains: Of mail from a domain, before those of everybody.
    @ivar of_accounts: Of an account's mail, before those of its domain.
    @ivar disabled: Domains whose mail stays here for the time being.
    """

    transports: Mapping[str, Transport] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    of_domains: Mapping[Domain, tuple[Route, ...]] = field(default_factory=dict)
    of_accounts: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    disabled: frozenset[Domain] = frozenset()


#: Everything goes directly.
NO_ROUTING: Final = Routing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """
    What matters of a message for its way.

    @ivar account: Empty for mail of nobody here.
    @ivar sender: L{None} for the null reverse-path.
    @ivar failed_attempts: How often it was tried before.
    @ivar forced: Name of the transport that it has to take; empty: as routes say.
    """

    account: str
    sender: Host | None
    recipient: Host
    failed_attempts: int = 0
    forced: str = ""

    @classmethod
    def of(cls, job: Job) -> Consignment:
        """A job whose attempt has been counted already (Q-10)."""
        return cls(
            account=job.account,
            sender=_sender(job),
            recipient=job.destination,
            failed_attempts=max(job.attempts - 1, 0),
            forced=job.transport,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """@ivar why: For people."""

    transport: Transport
    why: str


class Router:
    """Answers for the configuration in force."""

    def __init__(self, routing: Callable[[], Routing]) -> None:
        """@param routing: Asked each time; a reload replaces it."""
        self._routing = routing

    def detained(self, job: Job) -> Unreachable | None:
        """Why mail of this sender may not leave now, if so: its domain is disabled (Q-14)."""
        return _detained(self._routing(), _sender(job))

    def chosen(self, consignment: Consignment) -> Chosen | Unreachable:
        """
        The transport, and why it is this one.

        @return: L{Unreachable}, never permanent, if the message has to wait.
        """
        routing = self._routing()
        detained = _detained(routing, consignment.sender)
        if detained is not None:
            return detained
        if consignment.forced:
            return _named(routing, consignment.forced, "it was set for this message")
        for route, whose in _routes(routing, consignment):
            if _applies(route, consignment):
                return _named(routing, route.transport, f"a route of {whose} matches")
        return Chosen(DIRECT, "no route matches")


def failure_of(transport: Fail) -> Unreachable:
    """
    What everything meets that takes a transport that fails (Q-43).  The code
    is ours: it says nothing of the recipient.
    """
    return Unreachable(
        permanent=transport.code >= 500,
        status="7.0",
        error=transport.message or f'transport "{transport.name}" sends nothing',
        code=transport.code,
    )


def matches(pattern: str, host: Host | None) -> bool:
    """
    Whether a pattern of a L{Route} is for a domain.

    C{.example.com} is for C{example.com} and all below it, C{.} for no domain.
    """
    name = host.ascii if host is not None else ""
    if pattern == ".":
        return not name
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    return bool(name) and name == pattern


def _applies(route: Route, consignment: Consignment) -> bool:
    return (
        consignment.failed_attempts >= route.minimum_attempts
        and _any_matches(route.from_domains, consignment.sender)
        and _any_matches(route.to_domains, consignment.recipient)
    )


def _any_matches(patterns: tuple[str, ...], host: Host | None) -> bool:
    return not patterns or any(matches(pattern, host) for pattern in patterns)


def _routes(routing: Routing, consignment: Consignment) -> Iterator[tuple[Route, str]]:
    """All that there are for a message, in their order, with a word for whose they are."""
    for route in routing.of_accounts.get(consignment.account, ()):
        yield route, f"account {consignment.account}"
    sender = consignment.sender
    if isinstance(sender, Domain):
        for route in routing.of_domains.get(sender, ()):
            yield route, f"domain {sender}"
    for route in routing.routes:
        yield route, "the server"


def _sender(job: Job) -> Host | None:
    """Its domain."""
    return job.reverse_path.domain if job.reverse_path is not None else None


def _detained(routing: Routing, sender: Host | None) -> Unreachable | None:
    if sender not in routing.disabled:
        return None
    return Unreachable(
        permanent=False, status="3.2", error=f"the sender's domain {sender} is disabled"
    )


def _named(routing: Routing, name: str, why: str) -> Chosen | Unreachable:
    """A name that is unknown may be known again after the next reload."""
    transport = routing.transports.get(name)
    if transport is None:
        return Unreachable(permanent=False, status="3.5", error=f'there is no transport "{name}"')
    return Chosen(transport, why)
